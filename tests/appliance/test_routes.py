"""
`[anycast]` and `[ecmp]` as the service: ExaBGP and BIRD run as its user, under its rules, and end
with it.
"""

from __future__ import annotations

from tests.appliance.machine import ApplianceTestCase

ROUTER = """\
ip netns add router
ip link add out type veth peer name in netns router
ip address add 10.9.0.1/24 dev out
ip link set out up
ip -n router address add 10.9.0.2/24 dev in
ip -n router link set in up
ip -n router link set lo up
ip netns exec router bird -c /debs/router.conf -s /run/router.ctl -P /run/router.pid
"""

BIRD = """\
router id 10.9.0.2;
log "/run/router.log" all;
protocol device { }
protocol bfd { interface "*" { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }; }
protocol bgp site {
    local 10.9.0.2 as 65001; neighbor 10.9.0.1 as 65010; passive; error wait time 1, 1;
    hold time 9; bfd on; graceful restart on; debug { events };
    ipv4 { import all; export none; };
}
"""

BFD = "bfd = 3x50ms\n"

SITE = """\
[site]
control = /run/balancer/lb.sock
state = /var/lib/balancer
[demo a]
http = 127.0.0.1:9001
[pool web]
servers = a 127.0.0.1:9001
interval = 200ms
[http front]
listen = 0.0.0.0:80
pool = web
[anycast www]
prefixes = 192.0.2.53/32
when = http:front
neighbors = 10.9.0.2 as=65001 hold-time=9s
local-as = 65010
hold-down = 0s
drain-wait = 0s
$bfd[pool hops]
servers = r 10.9.0.2
check = none
[ecmp out]
prefix = 198.51.100.0/24
pool = hops
""".replace("$bfd", BFD)

HAS = "birdc -s /run/router.ctl show route | grep -q 192.0.2.53/32"

LEASE = 3.0
"""Seconds; the default."""

OURS = "systemctl show --value -p ControlGroup balancer.service"


class RoutesTests(ApplianceTestCase):
    """A machine with the package, on a link to a router."""

    def setUp(self) -> None:
        """Install it, and give the service what routes need."""
        super().setUp()
        (self.debs / "router.conf").write_text(BIRD)
        self.does("dpkg -i /debs/balancer.deb && balancer-setup kernel")
        self.does(ROUTER)

    def begin(self, site: str = SITE) -> None:
        """Announce."""
        self.write("/etc/balancer/site.ini", site)
        self.does("systemctl restart balancer.service")
        self.has()
        if BFD in site:
            self.does("until birdc -s /run/router.ctl show bfd sessions | grep -q Up; do "
                      "sleep 0.05; done", within=10)

    def has(self) -> None:
        """The router gets the route."""
        self.does(f"until {HAS}; do sleep 0.05; done", within=30)

    def users(self) -> set[str]:
        """The users of all that runs for the service, each with the program's name."""
        lines = self.does(
            f"for pid in $(cat /sys/fs/cgroup$({OURS})/cgroup.procs); do "
            "ps -o user=,comm= -p $pid; done").splitlines()
        return {" ".join(line.split()) for line in lines}

    def test_routes(self) -> None:
        """The service announces, watches by BFD, has the address and the next hops, all as its own
        user; a stop withdraws, ends every process of it, and takes the address away."""
        self.begin()
        self.assertEqual({line.split()[0] for line in self.users()}, {"balancer"})
        programs = {line.split()[1] for line in self.users()}
        self.assertIn("bird", programs)
        self.assertTrue(any("exabgp" in each for each in programs), programs)
        self.assertIn("192.0.2.53/32", self.does("ip -o address show dev lo"))
        self.assertIn("198.51.100.0/24", self.does("ip route show proto 196"))
        self.does("systemctl stop balancer.service")
        self.assertNotEqual(self.tries(HAS)[0], 0)
        self.assertNotIn("192.0.2.53", self.does("ip -o address show dev lo"))
        self.assertEqual(self.does("ps -u balancer -o args= || true"), "")
        self.assertEqual(self.show("Result"), "success")
        self.assertIn("198.51.100.0/24", self.does("ip route show proto 196"))

    def test_crash(self) -> None:
        """When the balancer is killed, what it leaves is ended so that the router loses the route
        within the lease, though it would keep what a session had that broke off (graceful
        restart); the next process announces again."""
        # With BFD the router would notice in any case.
        self.begin(SITE.replace(BFD, ""))
        self.does("systemctl kill --kill-who=main -s KILL balancer.service; "
                  f"while {HAS}; do sleep 0.02; done", within=LEASE)
        self.has()
        self.assertEqual(self.show("NRestarts"), "1")

    def test_exabgp_dies(self) -> None:
        """ExaBGP that was killed is started again under the same rules, and with graceful restart
        no route is lost meanwhile."""
        self.begin()
        self.does("old=$(pgrep -u balancer exabgp); kill -9 $old\n"
                  "until new=$(pgrep -u balancer exabgp) && [ $new != $old ] && birdc -s "
                  f"/run/router.ctl show protocols | grep Established; do {HAS}; done; {HAS}", 20)
        self.assertEqual(self.show("NRestarts"), "0")

    def test_rights_taken(self) -> None:
        """Without the drop-in the service says what it lacks, and which command gives it."""
        self.begin()
        self.does("balancer-setup undo kernel && systemctl restart balancer.service || true")
        self.says("CAP_NET_ADMIN")
