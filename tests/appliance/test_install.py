"""
The package on a Debian machine: installed, upgraded, downgraded, removed, purged.
"""

from __future__ import annotations

import re

from tests.appliance.machine import ApplianceTestCase
from tests.wire.certificates import Authority

INSTALL = "dpkg -i /debs/balancer.deb"

LEFT = r"""
{ find / /run -xdev \( -path /debs -o -path /run/systemd -o -path /run/log -o -path /tmp \
    -o -path /var/tmp \) -prune -o -printf '%p %y %m %u:%g\n' | grep -vE "$ALWAYS"
  cut -d: -f1 /etc/passwd /etc/group
  ip -o link; ip route show table all; ip -6 route show table all; ip nexthop; nft list ruleset
  ps -eo user,args --no-headers | grep -vE ' (ps|grep|sh|sort) ?'
} | sort
"""
"""All that a package may leave: files, users, addresses, routes, tables, processes."""

ALWAYS = (r"^/run/adduser |^/var/(lib/dpkg|cache/(debconf|ldconfig)|log/(dpkg|alternatives))"
          r"|^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-? |^/(etc|run|var/lib|tmp) d ")
"""What any package changes: dpkg's books and those of users, whose names are compared besides."""

HELD = """\
[site]
control = /run/balancer/lb.sock
state = /var/lib/balancer
drain-timeout = 8s
[demo a]
http = 127.0.0.1:9001
tcp = 127.0.0.1:9011
[pool web]
servers = a 127.0.0.1:9001
[pool echo]
servers = a 127.0.0.1:9011
[http front]
listen = 0.0.0.0:80
pool = web
[tcp echo]
listen = 127.0.0.1:8081
pool = echo
"""

TLS = """\
[site]
control = /run/balancer/lb.sock
state = /var/lib/balancer
[pool secure]
servers = a 127.0.0.1:443 tls sni=www.example.test
check = https GET / expect=201
interval = 200ms
tls-ca = /etc/balancer/ca.pem
[http front]
listen = 0.0.0.0:80
pool = secure
[http behind]
listen = 127.0.0.1:443 tls=/etc/balancer/tls
routes = -> respond 201 over TLS
"""


class InstallTests(ApplianceTestCase):
    """A machine without the package."""

    def install(self) -> str:
        """Install it; what it says."""
        return self.does(INSTALL)

    def left(self) -> set[str]:
        """The state of the machine."""
        return set(self.does(f"ALWAYS='{ALWAYS}'\n{LEFT}").splitlines())

    def test_first_site(self) -> None:
        """After the installation port 80 answers with what to do next, and all of the documents'
        commands are there."""
        self.install()
        self.assertEqual(self.show("ActiveState"), "active", self.journal())
        page = self.does("curl -s http://127.0.0.1/")
        self.assertIn("/etc/balancer/site.ini", page)
        self.assertIn("systemctl reload balancer", page)
        self.assertIn("/etc/balancer/site.ini: ok",
                      self.does("twistd lb --config /etc/balancer/site.ini --check"))
        self.assertIn("http:front", self.does("lbctl status"))
        self.assertIn("1 balancers", self.show("StatusText"))
        self.assertNotRegex(self.journal(), "Traceback|Unable to write")

    def test_small(self) -> None:
        """The service is nobody else, may bind low ports and nothing more, and can write to its
        three directories alone."""
        self.install()
        pid = self.pid()
        status = self.does(f"cat /proc/{pid}/status")
        user = self.does("id -u balancer").strip()
        self.assertRegex(status, rf"Uid:\s{user}\s{user}\s{user}\s{user}\n")
        bind = f"{1 << 10:016x}"
        for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertIn(f"{field}:\t{bind}\n", status)
        self.assertIn("NoNewPrivs:\t1\n", status)
        self.assertIn("Seccomp:\t2\n", status)
        self.assertIn("balancer:balancer 660",
                      self.does("stat -c %U:%G\\ %a /run/balancer/lb.sock"))
        self.assertIn("root:balancer 750", self.does("stat -c %U:%G\\ %a /etc/balancer/tls"))
        self.assertRegex(self.does(f"grep ' / ' /proc/{pid}/mounts | tail -n1"), r" ro[, ]")

    def test_reload(self) -> None:
        """`systemctl reload` puts a changed file in force, and fails at a bad one, which it names,
        while the process goes on with the other."""
        self.install()
        pid = self.pid()
        self.write("/etc/balancer/site.ini", HELD)
        self.does("systemctl reload balancer.service")
        self.does("until curl -sf http://127.0.0.1/; do sleep 0.1; done", within=10)
        self.write("/etc/balancer/site.ini", HELD.replace("[tcp", "[tpc"))
        self.assertEqual(self.tries("systemctl reload balancer.service")[0], 1)
        self.says("did you mean 'tcp'?")
        self.assertEqual((self.pid(), self.show("ActiveState")), (pid, "active"))
        self.assertIn("not reloaded", self.show("StatusText"))
        self.does("curl -sf http://127.0.0.1/")

    def test_tls(self) -> None:
        """A key that root and the service alone may read is served, and TLS to servers and in
        checks works where no memory may be written and executed."""
        self.install()
        authority = Authority()
        made = authority.issue("www.example.test").save(self.debs / "www.pem")
        (self.debs / "ca.pem").write_bytes(authority.pem)
        self.does(f"install -o root -g balancer -m 640 /debs/{made.name} /etc/balancer/tls/ && "
                  "install -m 644 /debs/ca.pem /etc/balancer/ca.pem")
        self.write("/etc/balancer/site.ini", TLS)
        self.does("systemctl restart balancer.service")
        self.does("until lbctl status | grep -q ' up '; do sleep 0.1; done", 15)
        self.assertEqual(self.does("curl -sf http://127.0.0.1/"), "over TLS\n")

    def test_upgrade(self) -> None:
        """An upgrade runs the new version once the old process has drained: a connection that was
        there goes on until it ends. A downgrade does the same."""
        self.install()
        self.write("/etc/balancer/site.ini", HELD)
        self.does("systemctl reload balancer.service")
        newer = self.version("9.0", "sed -i 's/__version__ = .*/__version__ = \"9.0\"/' "
                             "usr/lib/python3/dist-packages/balancer/__init__.py")
        for path, version in ((newer, "9.0"), ("/debs/balancer.deb", "0.1.0")):
            pid = self.pid()
            said = self.does(
                "exec 3>/tmp/out; (echo one; sleep 4; echo two) | "
                "timeout 20 python3 -c 'import socket,sys,time\n"
                "s = socket.create_connection((\"127.0.0.1\", 8081))\n"
                "for line in sys.stdin:\n"
                "    s.sendall(line.encode()); sys.stdout.write(s.recv(99).decode())\n"
                "    sys.stdout.flush()' >/tmp/out & client=$!\n"
                "until grep -q one /tmp/out; do sleep 0.05; done\n"
                f"dpkg -i {path}; wait $client; cat /tmp/out; rm /tmp/out")
            self.assertIn("one\ntwo\n", said)
            self.assertNotEqual(self.pid(), pid)
            self.assertEqual(self.show("ActiveState"), "active")
            self.assertIn(f'"version": "{version}"',
                          self.does("curl -sf http://127.0.0.1:9180/api/status"))
        said = self.journal()
        self.assertEqual(said.count("Deactivated successfully"), 2, said)
        self.assertEqual(self.show("NRestarts"), "0")

    def test_refused_upgrade(self) -> None:
        """A new version that refuses the site file does not replace the process: it says which line
        and what to do, and the old one goes on, also with modules that it had not used yet."""
        self.install()
        self.write("/etc/balancer/site.ini", HELD)
        self.does("systemctl reload balancer.service")
        pid = self.pid()
        packages = "usr/lib/python3/dist-packages"
        change = (f"sed -i /^demo/d {packages}/twisted/plugins/balancer_lb.py && "
                  f"for room in dns relay/udp subdomains; do "
                  f"echo 'raise SystemError(\"new\")' >{packages}/balancer/$room/service.py; done")
        said = self.does(f"dpkg -i {self.version('9.0', change)}")
        self.assertIn("/etc/balancer/site.ini:5: ", said)
        self.assertIn("the process of version 0.1.0 goes on", said)
        self.assertIn("systemctl restart balancer", said)
        self.write("/etc/balancer/site.ini", HELD + "[dns example.test]\nlisten = 127.0.0.1:53\n"
                   "answers = www pool=web\n[udp u]\nlisten = 127.0.0.1:8082\npool = echo\n")
        self.does("systemctl reload balancer.service && curl -sf http://127.0.0.1/")
        self.assertIn("dns:example.test", self.does("lbctl status"))
        self.assertEqual(self.pid(), pid)

    def test_refused_files(self) -> None:
        """The same for what the site file names: the new version is asked as the service, in its
        directory and with its groups, what it may read."""
        self.install()
        page = ("pool = web\nerror-page 503 = page.html\n"
                "error-page 502 = /etc/balancer/page.html\n[tcp")
        self.write("/var/lib/balancer/page.html", "soon")
        self.write("/etc/balancer/page.html", "soon")
        self.write("/etc/balancer/site.ini", HELD.replace("pool = web\n[tcp", page))
        self.does("systemctl reload balancer.service")
        pid = self.pid()
        self.does("chgrp adm /etc/balancer/page.html && chmod 640 /etc/balancer/page.html")
        newer = self.version("9.0")
        said = self.does(f"dpkg -i {newer}")
        self.assertIn("/etc/balancer/site.ini:16: [http front] error-page 502: "
                      "/etc/balancer/page.html: cannot be read: permission denied", said)
        self.assertNotIn("site.ini:15", said)
        self.assertIn("the process of version 0.1.0 goes on", said)
        self.assertEqual(self.pid(), pid)
        self.does("adduser balancer adm")
        said = self.does(f"dpkg -i /debs/balancer.deb && dpkg -i {newer}")
        self.assertNotIn("goes on", said)
        self.assertNotEqual(self.pid(), pid)

    def test_kept_configuration(self) -> None:
        """An upgrade keeps a site file that was changed; removing keeps it for another time."""
        self.install()
        self.write("/etc/balancer/site.ini", HELD)
        change = "echo '# new' >>etc/balancer/site.ini"
        self.does(f"dpkg --force-confdef --force-confold -i {self.version('9.0', change)}")
        self.does("dpkg -r balancer")
        self.assertEqual(self.does("cat /etc/balancer/site.ini"), HELD)

    def test_purge(self) -> None:
        """Removed, it has stopped; purged, the machine is as it was before: files, users, routes,
        tables and processes. What the operator put beside is theirs."""
        before = self.left()
        self.install()
        self.does("balancer-setup kernel")
        self.does("ip link add d0 type veth peer name d1 && ip link set d1 up && "
                  "ip link set d0 up && ip address add 10.1.0.1/24 dev d0")
        log = "pool = web\naccess-log = /var/log/balancer/access.log\n[tcp"
        self.write("/etc/balancer/site.ini", HELD.replace("pool = web\n[tcp", log) +
                   "[pool hops]\nservers = a 10.1.0.9\ncheck = exec /usr/bin/true port=1\n"
                   "[ecmp out]\nprefix = 192.0.2.0/24\npool = hops\n")
        self.does("systemctl restart balancer.service")
        self.does("until ip route show proto 196 | grep -q 192.0.2.0; do sleep 0.1; done", 15)
        during = self.left() - before
        for what in (r"^/var/log/balancer/access.log", r"^/var/lib/balancer/verdicts",
                     r"^/run/balancer/lb.sock", r"^balancer$",
                     r"^balancer +/usr/bin/python3", r"^192\.0\.2\.0/24"):
            self.assertTrue([each for each in during if re.search(what, each)], what)
        self.does("dpkg -r balancer")
        self.assertEqual(self.pid(), 0)
        self.assertEqual(self.does("ip route show proto 196; ip nexthop"), "")
        self.does("dpkg -P balancer; ip link del d0; sleep 0.2")
        self.assertEqual(self.left() - before, set())
        self.assertEqual(before - self.left(), set())

    def test_taken_port(self) -> None:
        """Where somebody has port 80 already, the installation ends well and the log says who may
        not listen."""
        self.does("python3 -m http.server 80 >/dev/null 2>&1 & sleep 1")
        self.install()
        self.says("0.0.0.0:80")
        self.says("Main process exited, code=exited, status=2")
        self.assertNotEqual(self.show("ActiveState"), "active")
