"""Which servers are next hops, what is heard, when to try again, and what a section may say."""

from __future__ import annotations

from ipaddress import ip_network

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.kernel import netlink, nexthop, route
from balancer.kernel.netlink import Message
from balancer.kernel.nexthop import Hop
from balancer.kernel.route import Route
from balancer.pool.server import Server
from balancer.pool.settings import ServerSettings
from balancer.route.contest import LONGEST_WAIT, PEACE, Contest, backoff
from balancer.route.settings import FIRST_ID, IDS_A_SLOT, SECTION, SLOTS, EcmpSettings, first_id
from balancer.route.standing import gateway, stand, weighed
from balancer.route.watching import Watch, is_about_links
from balancer.wire.address import literal
from tests.kernel import samples


def server(name: str, host: str = "10.1.0.1", verdict: str = "up", **settings: object) -> Server:
    """A server with that verdict."""
    line = ServerSettings(name, **settings)  # type: ignore[arg-type]  # options of it
    found = Server.of("p", line, literal(host, 0), 0.0)
    found.verdict = verdict
    return found


class StandingTests(SynchronousTestCase):
    """Which servers of a pool are next hops."""

    def chosen(self, *servers: Server, panicking: bool = False, trusted: str = "") -> str:
        """The names of the chosen ones."""
        found = stand(servers, 4, panicking, trusted.split())
        left = {each.name for each in servers if each not in found.chosen}
        self.assertEqual(left, set(found.reasons))
        return " ".join(each.name for each in found.chosen)

    def test_up(self) -> None:
        """Who is up is one; not who is down, ejected, drained, in maintenance or of weight 0."""
        drained, ejected = server("b"), server("c")
        drained.admin, ejected.ejected_until, ejected.reason = "drain", 9.0, "slow"
        others = (server("d", verdict="down"), server("e", disabled=True), server("f", weight=0))
        self.assertEqual(self.chosen(server("a"), drained, ejected, *others), "a")
        reasons = stand((drained, ejected, *others), 4, False, ()).reasons
        self.assertEqual(list(reasons.values()),
                         ["draining", "ejected: slow", "down", "in maintenance", "weight is 0"])

    def test_unchecked(self) -> None:
        """Before its first check a server is one only if it was one already; whoever is up beside
        it does not push it out."""
        a, b = server("a"), server("b", "10.1.0.2", verdict="unknown")
        self.assertEqual(self.chosen(a, b), "a")
        self.assertEqual(self.chosen(a, b, trusted="10.1.0.2"), "a b")

    def test_backups(self) -> None:
        """Backups are next hops when nobody else is."""
        a, b = server("a"), server("b", backup=True)
        self.assertEqual(self.chosen(b, a), "a")
        a.verdict = "down"
        self.assertEqual(self.chosen(b, a), "b")

    def test_panic(self) -> None:
        """In a pool that panics all are next hops, but for those that the operator took out."""
        a, b = server("a", verdict="down"), server("b", verdict="unknown", backup=True)
        c = server("c", weight=0)
        self.assertEqual(self.chosen(a, b, c, panicking=True), "a b")

    def test_addresses(self) -> None:
        """Only addresses of the prefix's family are; a unix socket and a name that nobody resolved
        have none."""
        six = server("b", "2001:DB8::1")
        self.assertEqual(gateway(six), "2001:db8::1")
        unresolved, unix = server("c", "0.0.0.0"), server("d", "unix:/run/x")
        self.assertEqual(self.chosen(server("a"), six, unresolved, unix), "a")

    def test_one_machine(self) -> None:
        """Servers at one address are one next hop with the weight of all; none goes with less than
        the least weight."""
        a, b, c = server("a", weight=2), server("b"), server("c", "10.1.0.9")
        c.effective_weight = 0
        self.assertEqual(weighed((a, b, c)), {"10.1.0.1": 30, "10.1.0.9": 1})


class ContestTests(SynchronousTestCase):
    """When to try again."""

    def test_rounds(self) -> None:
        """At once, then after 1, 2, 4 s and so on up to a minute; after some peace at once."""
        contest = Contest()
        now, waits = 0.0, []
        for _each in range(10):
            waits.append(contest.lost(now))
            now += waits[-1]
        self.assertEqual(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.assertTrue(contest.is_fought)
        self.assertEqual(contest.lost(now + PEACE + 1), 0)
        self.assertFalse(contest.is_fought)
        self.assertEqual(contest.lost_total, 11)

    def test_flush(self) -> None:
        """What goes while a restoration is awaited is no further loss, and makes it no later."""
        contest = Contest()
        self.assertEqual([contest.lost(now) for now in (5.0, 6.0, 6.25, 6.5)], [0, 1, 0.75, 0.5])
        self.assertEqual(contest.lost_total, 2)
        self.assertEqual(contest.lost(7.0), 2)

    def test_backoff(self) -> None:
        """However often it failed, the wait has a bound."""
        self.assertEqual([backoff(each) for each in (0, 1, 2, 10**9)], [1, 2, 4, LONGEST_WAIT])


class WatchTests(SynchronousTestCase):
    """What is about a section among all that the kernel tells."""

    def concerns(self, data: bytes, prefix: str = "192.0.2.0/24", table: int = 254) -> bool:
        """Whether a section with the ids from 8 on is concerned."""
        (message,) = netlink.messages(data)
        return Watch(ip_network(prefix), table, 8).concerns(message)

    def test_routes(self) -> None:
        """Routes for the prefix in the table are, whoever's they are; those for others are not,
        also where their bytes have the prefix's."""
        self.assertTrue(self.concerns(samples.ROUTE))
        self.assertTrue(self.concerns(samples.REPLACED))
        self.assertFalse(self.concerns(samples.ROUTE, table=100))
        self.assertFalse(self.concerns(samples.ROUTE, "192.0.2.0/25"))
        self.assertFalse(self.concerns(samples.ROUTE, "10.1.0.2/32"))
        for prefix in ("0.0.0.0/0", "::/0", "2001:db8:1::/48"):
            for data in (route.put(Route(prefix, 9, 8, 196), 1),
                         route.drop(Route(prefix, 9, 8, 196), 1)):
                self.assertTrue(self.concerns(data, prefix, 9))

    def test_next_hops(self) -> None:
        """Next hops with ids of ours are."""
        for data in (samples.RESILIENT, samples.PLAIN_GONE, samples.BLACKHOLE):
            self.assertTrue(self.concerns(data))
        for data in (samples.HOP, nexthop.put_hop(Hop(8 + IDS_A_SLOT, "10.1.0.2", 3, 196), 1)):
            self.assertFalse(self.concerns(data))

    def test_rest(self) -> None:
        """Links and addresses are told apart; what cannot be read is about nobody."""
        link = Message(16, 0, 0, 0, b"")
        self.assertTrue(is_about_links(link))
        self.assertFalse(is_about_links(evolve(link, kind=route.NEW)))
        self.assertFalse(self.concerns(netlink.pack(16, 0, 1, b"")))
        self.assertFalse(self.concerns(netlink.pack(nexthop.NEW, 0, 1, b"")))
        cut = netlink.pack(route.NEW, 0, 1, bytes((192, 0, 2, 0)))
        self.assertFalse(self.concerns(cut))


class SettingsTests(SynchronousTestCase):
    """What may be said."""

    def read(self, text: str) -> tuple[list[EcmpSettings], list[str]]:
        """The settings of sections, and their problems."""
        file = read(text, "s.ini", [SECTION])
        told = [str(each) for each in file.problems]
        for name, (_, _, problem) in filter(None, SECTION.together(
            {each.name: each.settings for each in file.sections}
        )):
            told.append(f"{name}: {problem}")
        return [each.settings for each in file.sections], told

    def test_defaults(self) -> None:
        """A prefix and a pool are enough."""
        (settings,), problems = self.read("[ecmp e]\nprefix = 192.0.2.0/24\npool = p\n")
        self.assertEqual(problems, [])
        self.assertEqual(
            (settings.table, settings.last, settings.device, settings.protocol),
            (254, "keep", None, 196),
        )
        self.assertEqual(settings.resilience, nexthop.Resilient(128, 60.0, 0.0))
        self.assertEqual([each.name for each in SECTION.references(settings)], ["p"])

    def test_refused(self) -> None:
        """What is wrong is told with its line."""
        _, problems = self.read(
            "[ecmp e]\nprefix = 192.0.2.1/24\ntable = mian\nbuckets = 0\nidle-timer = 2d\n"
            "device = a/b\nlast = keeep\nprotocol = 4\nresilient = maybe\n"
        )
        self.assertEqual([each.split(":")[1] for each in problems],
                         ["1", "2", "3", "4", "5", "6", "7", "8", "9"])

    def test_without_buckets(self) -> None:
        """Options of buckets say nothing with resilient = no, and are refused."""
        text = "[ecmp e]\nprefix = ::/0\npool = p\nresilient = no\n"
        (settings,), problems = self.read(text)
        self.assertEqual((problems, settings.resilience), ([], None))
        _, problems = self.read(text + "buckets = 64\nidle-timer = 1s\nunbalanced-timer = 1s\n")
        self.assertEqual([each.split(":")[1] for each in problems], ["5", "6", "7"])

    def test_same_route(self) -> None:
        """Two sections cannot have one prefix in one table; in two they can."""
        text = "[ecmp {}]\nprefix = 192.0.2.0/24\npool = p\ntable = {}\n"
        _, problems = self.read(text.format("a", "main") + text.format("b", 254))
        self.assertEqual(problems, [
            "b: expected a prefix of its own, got 192.0.2.0/24, which [ecmp a] has",
        ])
        self.assertEqual(self.read(text.format("a", 1) + text.format("b", 2))[1], [])

    def test_same_ids(self) -> None:
        """Two names that make the same ids are refused: found by trying."""
        seen: dict[int, str] = {}
        for number in range(SLOTS):
            name = f"n{number}"
            other = seen.setdefault(first_id(name), name)
            if other != name:
                break
        text = "[ecmp {}]\nprefix = 192.0.2.{}/32\npool = p\n"
        _, (problem,) = self.read(text.format(other, 1) + text.format(name, 2))
        self.assertIn(f"{name}: its name makes the same next hop ids as [ecmp {other}]", problem)

    @given(st.text())
    def test_ids(self, name: str) -> None:
        """Any name has a range of ids of its own, within ours."""
        first = first_id(name)
        self.assertEqual(first % IDS_A_SLOT, 0)
        self.assertIn(first, range(FIRST_ID, FIRST_ID + SLOTS * IDS_A_SLOT))
        self.assertEqual(first, first_id(name))
