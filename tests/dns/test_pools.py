"""Names that follow pools."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.codes import AAAA, HTTPS, A
from balancer.dns.pools import MAX_SUBSTITUTES, SUBSTITUTE_WAYS, Asker, PoolName
from balancer.dns.survey import Survey, Target
from balancer.dns.svcb import Service
from balancer.dns.values import answer_line
from balancer.pool.pool import Pool
from tests.dns.world import all_up, judge, pool_of

SERVERS = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3", "six": "2001:db8::1"}


class PoolNameTests(SynchronousTestCase):
    """Policies, places, what changes an answer."""

    def name(self, text: str, pool: Pool, own: str = "") -> PoolName:
        """The name of that line, settled."""
        found = PoolName(answer_line(f"www pool=web {text}"), pool, 30, own=own)
        self.assertTrue(found.settle())
        return found

    def answer(self, name: PoolName, qtype: int = A, *ranking: str) -> list[str]:
        """The next answer, as addresses."""
        turn = name.turns(qtype, ranking).next()
        found = name.records(qtype, Asker(ranking, turn))
        return [] if found is None else [str(ip_address(data)) for data in found.datas]

    def test_all(self) -> None:
        """All that are up, by family, in the order of the file."""
        name = self.name("", all_up(pool_of(SERVERS)))
        self.assertEqual(self.answer(name), ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
        self.assertEqual(self.answer(name, AAAA), ["2001:db8::1"])
        self.assertEqual(self.answer(self.name("max=2", all_up(pool_of(SERVERS)))),
                         ["192.0.2.1", "192.0.2.2"])

    def test_round_robin(self) -> None:
        """Each query gets the next order."""
        name = self.name("policy=round-robin", all_up(pool_of(SERVERS)))
        firsts = [self.answer(name)[0] for _ in range(4)]
        self.assertEqual(firsts, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"])

    def test_weighted(self) -> None:
        """One address an answer, as often as its server's weight says."""
        pool = all_up(pool_of(SERVERS, {"a": {"weight": 6}, "b": {"weight": 3}}))
        name = self.name("policy=weighted", pool)
        seen = Counter(tuple(self.answer(name)) for _ in range(10_000))
        self.assertLess(abs(seen["192.0.2.1",] - 6000), 200)
        self.assertLess(abs(seen["192.0.2.2",] - 3000), 200)
        self.assertLess(abs(seen["192.0.2.3",] - 1000), 200)

    def test_transferred(self) -> None:
        """A secondary gets all that `weighted` gives in turn, and of `failover` the first."""
        pool = all_up(pool_of(SERVERS))
        sizes = {}
        for policy in ("weighted", "failover", "round-robin"):
            found = self.name(f"policy={policy}", pool).records(A, None)
            assert found is not None
            sizes[policy] = len(found.datas)
        self.assertEqual(sizes, {"weighted": 3, "failover": 1, "round-robin": 3})

    def test_failover(self) -> None:
        """The first of the file that is up, and nobody else."""
        pool = all_up(pool_of(SERVERS))
        name = self.name("policy=failover", pool)
        self.assertEqual(self.answer(name), ["192.0.2.1"])
        judge(pool, a=False)
        self.assertTrue(name.settle())
        self.assertEqual(self.answer(name), ["192.0.2.2"])

    def test_geo(self) -> None:
        """The first place of the ranking that has a server up; for who is in no place, all."""
        pool = all_up(pool_of(SERVERS, {"a": {"place": "eu"}, "b": {"place": "eu"},
                                        "c": {"place": "us"}}))
        name = self.name("policy=geo", pool)
        self.assertTrue(name.by_client)
        self.assertEqual(self.answer(name, A, "us", "eu"), ["192.0.2.3"])
        self.assertEqual(self.answer(name, A, "asia", "eu", "us"), ["192.0.2.1", "192.0.2.2"])
        # They take turns within the place.
        self.assertEqual(self.answer(name, A, "asia", "eu", "us"), ["192.0.2.2", "192.0.2.1"])
        self.assertEqual(len(self.answer(name)), 3)
        judge(pool, c=False)
        name.settle()
        self.assertEqual(set(self.answer(name, A, "us", "eu")), {"192.0.2.1", "192.0.2.2"})
        # The only server of IPv6 is in no place.
        self.assertEqual(self.answer(name, AAAA, "us", "eu"), ["2001:db8::1"])

    def test_settle_says_what_changed(self) -> None:
        """Nothing is made anew for a change that changes no answer."""
        pool = all_up(pool_of(SERVERS))
        name = self.name("", pool)
        self.assertFalse(name.settle())
        pool.set_weight(pool.server("a"), 3)
        self.assertTrue(name.settle())
        pool.record(pool.server("a"), False, "", 1.0)
        self.assertTrue(name.settle())
        self.assertEqual(name.ttl, 4)

    def test_turns_go_on(self) -> None:
        """A verdict that is pending shortens the TTL, and gives no server another's turn."""
        pool = all_up(pool_of(SERVERS))
        name = self.name("policy=round-robin", pool)
        firsts = []
        for at in range(6):
            firsts.append(self.answer(name)[0])
            pool.record(pool.server("a"), bool(at % 2), "", 1.0)
            self.assertTrue(name.settle())
        self.assertEqual(firsts, [f"192.0.2.{at}" for at in (1, 2, 3, 1, 2, 3)])

    def test_ttl_of_the_line(self) -> None:
        """A line's own TTL goes before the section's."""
        self.assertEqual(self.name("ttl=5m", all_up(pool_of(SERVERS))).ttl, 300)

    def test_nobody(self) -> None:
        """No data, or SERVFAIL, as when-down says; the fault says why."""
        pool = pool_of({"a": "192.0.2.1"})
        judge(pool, a=False)
        name = self.name("when-down=nodata", pool)
        self.assertEqual(self.answer(name), [])
        self.assertFalse(name.refuses)
        self.assertEqual(name.fault, (23, "pool web: no server is up"))
        self.assertTrue(self.name("when-down=servfail", pool).refuses)
        self.assertEqual(self.answer(self.name("", pool)), ["192.0.2.1"])

    def test_same_address_twice(self) -> None:
        """Two servers on one address are one record, with both weights."""
        pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.1", "c": "192.0.2.2"}))
        name = self.name("policy=weighted", pool)
        self.assertEqual(self.answer(self.name("", pool)), ["192.0.2.1", "192.0.2.2"])
        seen = Counter(self.answer(name)[0] for _ in range(30))
        self.assertEqual(seen["192.0.2.1"], 20)

    def test_same_address_in_two_places(self) -> None:
        """Each place has it; who is in none gets it once."""
        pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.1"},
                              {"a": {"place": "eu"}, "b": {"place": "us"}}))
        name = self.name("policy=geo", pool)
        for ranking in (("us",), ("eu",), ()):
            self.assertEqual(self.answer(name, A, *ranking), ["192.0.2.1"])

    def test_no_address(self) -> None:
        """A name that was never resolved and a unix socket are no addresses to give."""
        pool = all_up(pool_of({"a": "0.0.0.0", "b": "unix:/run/b", "c": "192.0.2.3"}))
        self.assertEqual(self.answer(self.name("", pool)), ["192.0.2.3"])

    def test_own(self) -> None:
        """The name of one server is its address, and while it is down another's, for a short
        time."""
        pool = all_up(pool_of(SERVERS))
        name = self.name("", pool, own="b")
        self.assertEqual(self.answer(name), ["192.0.2.2"])
        self.assertEqual([server.name for server in name.servers], ["b"])
        self.assertEqual(self.answer(name, AAAA), [])
        self.assertEqual(name.ttl, 30)
        judge(pool, b=False)
        name.settle()
        self.assertEqual(name.ttl, 5)
        firsts = {self.answer(name)[0] for _ in range(2)}
        self.assertEqual(firsts, {"192.0.2.1", "192.0.2.3"})
        judge(pool, b=True)
        name.settle()
        self.assertEqual(self.answer(name), ["192.0.2.2"])
        # What is pending of others does not concern it.
        pool.record(pool.server("a"), False, "", 1.0)
        self.assertFalse(name.settle())
        pool.record(pool.server("b"), False, "", 1.0)
        self.assertTrue(name.settle())
        self.assertEqual(name.ttl, 4)

    def test_substitutes(self) -> None:
        """Of a large pool the name of a server that is down has a few others' addresses, which take
        turns, and other names begin with others."""
        servers = {f"s{at}": f"192.0.2.{at}" for at in range(1, 101)}
        pool = all_up(pool_of(servers))
        judge(pool, s7=False, s8=False)
        firsts = []
        for own in ("s7", "s8"):
            name = self.name("", pool, own=own)
            answers = [self.answer(name) for _ in range(SUBSTITUTE_WAYS)]
            self.assertEqual({len(each) for each in answers}, {MAX_SUBSTITUTES})
            self.assertEqual(len(name.servers), MAX_SUBSTITUTES)
            firsts.append([each[0] for each in answers])
            self.assertEqual(len(set(firsts[-1])), SUBSTITUTE_WAYS)
        self.assertNotEqual(firsts[0][0], firsts[1][0])

    def test_seen_before(self) -> None:
        """Addresses that are as they were are the very same in the next survey, and others are not:
        thousands of names compare them with what they answer."""
        pool = all_up(pool_of(SERVERS))
        first = Survey(pool, frozenset())
        found = first.targets("all", A, False)
        pool.record(pool.server("a"), False, "", 1.0)
        second = Survey(pool, frozenset(), first)
        self.assertIs(second.targets("all", A, False), found)
        judge(pool, a=False)
        third = Survey(pool, frozenset(), second).targets("all", A, False)
        self.assertEqual([str(ip_address(each.data)) for each in third], ["192.0.2.2", "192.0.2.3"])

    def test_compares_once(self) -> None:
        """What a pool answers is compared with what it answered before once, not by each of the
        thousands of names that follow it."""
        compared = []

        class Told(tuple[Target, ...]):
            def __eq__(self, other: object) -> bool:
                compared.append(other)
                return tuple.__eq__(self, other)

            __hash__ = tuple.__hash__

        pool = all_up(pool_of(SERVERS))
        names = [self.name("", pool) for _ in range(20)]
        before = Told(names[0].survey().targets("all", A, False))
        survey = names[0].survey()
        for name in names:
            name._targets[A] = before
        self.assertEqual([name.settle(survey) for name in names], [False] * 20)
        self.assertEqual(len(compared), 1)

    def test_https(self) -> None:
        """Port and protocols are the listener's, the hints are what A and AAAA say."""
        name = self.name("https=http:front", all_up(pool_of(SERVERS)))
        self.assertIsNone(name.records(HTTPS, Asker()))
        name.services = (Service(8443, ("h2", "http/1.1")),)
        self.assertTrue(name.settle())
        found = name.records(HTTPS, Asker())
        assert found is not None
        self.assertEqual(found.datas, (
            b"\0\x01\0" b"\0\x01\0\x03\x02h2" b"\0\x03\0\x02\x20\xfb"
            b"\0\x04\0\x0c\xc0\0\2\1\xc0\0\2\2\xc0\0\2\3"
            b"\0\x06\0\x10\x20\x01\x0d\xb8" + bytes(11) + b"\x01",))
        name.services = (Service(443, ("http/1.1",)),)
        name.settle()
        found = name.records(HTTPS, Asker())
        assert found is not None
        self.assertTrue(found.datas[0].startswith(b"\0\x01\0\0\x04"))
