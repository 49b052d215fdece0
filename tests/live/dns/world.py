"""
A small internet in a network namespace: a root, a top-level domain and two zones below it, all
served by one balancer on addresses of their own, and unbound, which knows the root's address only.
"""

from __future__ import annotations

from string import Template

from tests.live.dns.starting import HERE, NameServerTestCase
from tests.live.harness import Process, need, wait_until
from tests.live.namespaces import ip, network

ROOT, TEST, EXAMPLE, SUB = "10.99.0.1", "10.99.0.2", "192.0.2.53", "192.0.2.90"
RESOLVER = "10.99.0.9"
MORE_EXAMPLE = ("192.0.2.54", "192.0.2.55")
"""The other addresses of example.test's name servers."""

WEST, WEST_TOO, EAST, ELSEWHERE = "198.51.100.7", "198.51.100.99", "203.0.113.9", "10.99.0.77"
"""Where clients are."""

ADDRESSES = (ROOT, TEST, EXAMPLE, *MORE_EXAMPLE, SUB, RESOLVER, WEST, WEST_TOO, EAST, ELSEWHERE)

ROOT_ZONE = f"""\
$TTL 86400
.               SOA     a.root. hostmaster.root. 1 7200 3600 1209600 300
.               NS      a.root.
a.root.         A       {ROOT}
test.           NS      ns.test.
ns.test.        A       {TEST}
"""

TEST_ZONE = f"""\
$ORIGIN test.
$TTL 3600
@               SOA     ns hostmaster 1 7200 3600 1209600 300
@               NS      ns
ns              A       {TEST}
example         NS      ns1.example
example         NS      ns2.example
ns1.example     A       {EXAMPLE}
ns2.example     A       {MORE_EXAMPLE[0]}
ns.other        A       {MORE_EXAMPLE[1]}
www.other       A       192.0.2.200
"""

SUB_ZONE = f"""\
$ORIGIN sub.example.test.
$TTL 3600
@               SOA     ns hostmaster 1 7200 3600 1209600 300
@               NS      ns
@               NS      ns.other.test.
ns              A       {SUB}
below           A       192.0.2.91
"""

SITE = """\
[site]
admin = off
control = $directory/lb.sock
state = $directory

[place west]
networks = 198.51.100.0/24

[place east]
networks = 203.0.113.0/24

[pool web]
servers =
    w 192.0.2.111:80 place=west
    e 192.0.2.112:80 place=east
check = none

[dns .]
listen = $root:53
zone = $directory/root.zone

[dns test]
listen = $test:53
zone = $directory/test.zone

[dns example.test]
listen =
    $example
zone = $here/example.test.zone
answers =
    near pool=web policy=geo ttl=600s
    all pool=web policy=all ttl=600s
access-log = $directory/queries.log

[dns sub.example.test]
listen =
    $sub:53
    192.0.2.55:53
zone = $directory/sub.zone
"""

UNBOUND = """\
server:
  directory: "$directory"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  verbosity: 1
  interface: $resolver
  access-control: 0.0.0.0/0 allow
  do-ip6: no
  num-threads: 1
  module-config: "$modules"
  root-hints: "$directory/hints"
  trust-anchor-file: ""
  qname-minimisation: yes
  qname-minimisation-strict: yes
  use-caps-for-id: yes
  harden-glue: yes
  harden-below-nxdomain: yes
  harden-referral-path: yes
  harden-short-bufsize: yes
  harden-algo-downgrade: yes
  local-zone: "test." nodefault
$more
remote-control:
  control-enable: no
"""

SUBNETS = f"""\
  send-client-subnet: {EXAMPLE}
  send-client-subnet: {MORE_EXAMPLE[0]}
  send-client-subnet: {MORE_EXAMPLE[1]}
  max-client-subnet-ipv4: 24
"""


class WorldTestCase(NameServerTestCase):
    """The balancer at all those addresses."""

    def setUp(self) -> None:
        """Make the network and start the balancer in it."""
        super().setUp()
        need("unbound", "dig")
        self.enterContext(network())
        for address in ADDRESSES:
            ip("address", "add", f"{address}/32", "dev", "lo")
        for name, text in (("root", ROOT_ZONE), ("test", TEST_ZONE), ("sub", SUB_ZONE)):
            (self.directory / f"{name}.zone").write_text(text)
        example = "\n    ".join(f"{address}:53" for address in (EXAMPLE, *MORE_EXAMPLE))
        site = self.site_file(SITE, directory=self.directory, here=HERE, root=ROOT, test=TEST,
                              example=example, sub=SUB)
        self.authority = self.twistd(site)
        self.authority.running()

    def resolver(self, modules: str = "iterator", more: str = "") -> Process:
        """unbound, answering."""
        (self.directory / "hints").write_text(
            f". 3600000 NS a.root.\na.root. 3600000 A {ROOT}\n")
        config = self.directory / "unbound.conf"
        config.write_text(Template(UNBOUND).substitute(
            directory=self.directory, resolver=RESOLVER, modules=modules, more=more))
        process = self.start(["unbound", "-d", "-c", str(config)], "unbound")
        wait_until("unbound runs", lambda: "start of service" in process.output)
        return process
