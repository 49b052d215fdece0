"""Answers that are kept, and what becomes of them when they hold no more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes
from balancer.dns import served as served_module
from balancer.dns.kept import FREED_A_TIME
from balancer.dns.leftovers import Leftovers
from balancer.dns.prepared import MAX_DROPPED, MAX_MADE, Entries
from balancer.dns.ratelimit import RateLimit
from balancer.dns.responder import Responder
from tests.dns.serving import CLIENT, opt, option, query, records, served, serving
from tests.dns.world import all_up, judge, pool_of
from tests.dns.zones import n


class LeftoversTests(SynchronousTestCase):
    """What is given up is freed a little at a time."""

    def test_little(self) -> None:
        """No more items are freed at once than was said, whatever table they are in."""
        one, other = dict.fromkeys(range(5)), dict.fromkeys(range(3))
        leftovers = Leftovers()
        leftovers.take(one)
        leftovers.take(other)
        sizes = []
        while leftovers.free(2):
            sizes.append(len(one) + len(other))
        self.assertEqual(sizes, [6, 5, 3, 1, 0])
        self.assertFalse(leftovers.free(2))


class EntriesTests(SynchronousTestCase):
    """The table of answers is bounded, and knows which of them depend on what."""

    def setUp(self) -> None:
        """A table of four, and a zone with a name that follows a pool."""
        self.leftovers = Leftovers()
        self.entries: Entries[bytes] = Entries(self.leftovers, 4)
        zone = served("", {"www": ("", all_up(pool_of({"a": "192.0.2.1"})))})
        self.entry = serving(zone).entry(zone, n("www"), codes.A)

    def keep(self, *questions: bytes, follows: tuple[bytes, ...] = ()) -> None:
        """Keep an answer for each."""
        for each in questions:
            self.entries.keep(each, self.entry, follows)

    def test_oldest(self) -> None:
        """The oldest answer goes when there are too many."""
        self.keep(*(b"%d" % at for at in range(6)))
        self.assertEqual(list(self.entries.table), [b"2", b"3", b"4", b"5"])

    def test_drop(self) -> None:
        """Answers that depend on a name go with it, and no others."""
        self.keep(b"1", b"2", follows=(b"www",))
        self.keep(b"3")
        self.entries.drop([b"www", b"unheard-of"])
        self.assertEqual(list(self.entries.table), [b"3"])

    def test_links(self) -> None:
        """What was pushed out is not linked for ever: when there are too many links, all begins
        anew, and none of the old answers can come back."""
        self.keep(*(b"%d" % at for at in range(8)), follows=(b"www",))
        before = self.entries.table
        self.keep(b"8", follows=(b"www",))
        self.assertEqual(list(self.entries.table), [b"8"])
        self.assertIsNot(self.entries.table, before)
        self.assertTrue(self.leftovers.free(100))

    def test_many(self) -> None:
        """When more answers depend on a name than can be dropped one by one, all of them are given
        up at once, and freed later."""
        self.entries = Entries(self.leftovers)
        self.keep(*(b"%d" % at for at in range(MAX_DROPPED + 1)), follows=(b"www",))
        self.keep(b"other")
        before = self.entries.table
        self.entries.drop([b"www"])
        self.assertEqual(len(self.entries.table), 0)
        self.assertEqual(len(before), MAX_DROPPED + 2)


class ManyAliasesTests(SynchronousTestCase):
    """A pool's name that has more aliases than answers can be dropped one by one."""

    def setUp(self) -> None:
        """Each alias was asked for, and is answered from what is kept."""
        self.pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.2"}))
        names = [f"c{at}" for at in range(MAX_DROPPED + 1)]
        text = "".join(f"{name} IN CNAME www\n" for name in names)
        self.zone = served(text, {"www": ("", self.pool)})
        self.responder: Responder = serving(self.zone)
        self.queries = [query(n(name)) for name in names]
        for each in self.queries:
            self.responder.datagram(each, CLIENT)
        self.responder.datagram(self.queries[0], CLIENT)

    def ask(self, packet: bytes) -> list[str]:
        """The addresses in the answer."""
        return [line.split()[-1] for line in records(self.responder.datagram(packet, CLIENT))[0]
                if " IN A " in line]

    def test_none_is_stale(self) -> None:
        """After a verdict none of them is answered as before, from whatever table."""
        judge(self.pool, a=False)
        self.zone.settle("web")
        for each in self.queries[:: MAX_DROPPED // 3]:
            for _ in range(2):
                self.assertEqual(self.ask(each), ["192.0.2.2"])

    def test_freed(self) -> None:
        """What is given up is freed as new answers are made, and the rest in time."""
        judge(self.pool, a=False)
        self.zone.settle("web")
        for each in self.queries[: len(self.queries) // FREED_A_TIME]:
            self.responder.datagram(each, CLIENT)
        looks = 0
        while self.responder.tidy(1):
            looks += 1
        self.assertLess(looks, 2 * FREED_A_TIME)
        self.assertEqual(self.ask(self.queries[0]), ["192.0.2.2"])


class ReadyTests(SynchronousTestCase):
    """Answers to packets that were seen before."""

    def test_variants(self) -> None:
        """Of many variants a few are kept with a packet, and all of them go out in turn."""
        servers = {f"s{at}": f"192.0.2.{at}" for at in range(1, 2 * MAX_MADE + 1)}
        pool = all_up(pool_of(servers))
        responder = serving(served("", {"www": ("policy=round-robin max=1", pool)}))
        packet = query(n("www"))
        answers = [responder.datagram(packet, CLIENT) for _ in range(4 * MAX_MADE + 1)]
        self.assertEqual(len(set(answers)), 2 * MAX_MADE)
        self.assertEqual(answers[: 2 * MAX_MADE], answers[2 * MAX_MADE : 4 * MAX_MADE])
        (ready,) = responder._ready.values()
        self.assertEqual(len(ready._made), MAX_MADE)

    def test_at_hand(self) -> None:
        """A packet like an earlier one has its answer at hand, under its own id and in its own
        case; both ways take turns and count; what has changed is at hand no more."""
        pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.2"}))
        zone = served("", {"www": ("policy=round-robin max=1", pool)})
        responder = serving(zone)
        turns = []
        for name in (n("www"), n("wWw")):
            packet = query(name, tail=opt())
            self.assertIsNone(responder.at_hand(packet))
            for _ in range(3):
                turns.append(responder.datagram(packet, CLIENT))
            answer = responder.at_hand(b"id" + packet[2:])
            assert answer is not None
            self.assertEqual((answer[:2], answer[12 : 12 + len(name)]), (b"id", name))
            turns.append(packet[:2] + answer[2:])
        addresses = [records(each)[0][0].split()[-1] for each in turns]
        self.assertEqual(addresses, ["192.0.2.1", "192.0.2.2"] * 4)
        self.assertEqual(zone.figures.total, 8)
        judge(pool, a=False)
        zone.settle(pool.name)
        self.assertIsNone(responder.at_hand(query(n("www"), tail=opt())))

    def test_not_at_hand(self) -> None:
        """What depends on who asks is never at hand: cookies, subnets, rate limits and logs."""
        zone = served("www A 192.0.2.1\n")
        responder = serving(zone)
        subnet = option(8, b"\0\x01\x18\0" + bytes((203, 0, 113)))
        asked = [query(n("www"), tail=opt(each)) for each in (option(10, b"clientco"), subnet)]
        for packet in asked * 3:
            self.assertIsNone(responder.at_hand(packet))
            self.assertIsNotNone(responder.datagram(packet, CLIENT))
        usual = query(n("www"))
        for limit, log in ((RateLimit(100), None), (None, lambda *line: None)):
            for watched in (False, True):
                zone.watch(limit if watched else None, log if watched else None)
                zone.renew(zone.zone, zone.names)
                for _ in range(3):
                    responder.datagram(usual, CLIENT)
                self.assertEqual(responder.at_hand(usual) is None, watched)

    def test_variants_of_strangers(self) -> None:
        """However many names strangers make up below a wildcard, the variants that are kept for
        them are bounded; turns go on, and nothing is answered wrongly."""
        self.patch(served_module, "MAX_VARIED", 40 * served_module.VARIANT_SIZE)
        pool = all_up(pool_of({f"s{at}": f"192.0.2.{at}" for at in range(1, 11)}))
        zone = served("", {"*": ("policy=round-robin max=1", pool)})
        responder = serving(zone)
        firsts, most = [], 0
        for at in range(100):
            answer = responder.datagram(query(n("x" * (1 + at // 2 % 25))), CLIENT)
            firsts.append(records(answer)[0][0].split()[-1])
            tables = (responder._shapes.table, responder._entries.table)
            kept = [each for table in tables for entry in table.values() for each in entry.variants]
            most = max(most, len(kept) - kept.count(None))
        self.assertLessEqual(most, 40 + 25)  # each name has its first one
        self.assertEqual(firsts, [f"192.0.2.{1 + at % 10}" for at in range(100)])
