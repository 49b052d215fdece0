"""Look-ups step by step: who is asked next, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from balancer.resolve.conf import Conf
from balancer.resolve.looking import NO_ADDRESS, UNKNOWN, Found, Nothing, Reply, looking_up
from balancer.resolve.message import AAAA, NXDOMAIN, A, Answer, wire_name
from tests.resolve.messages import answer

FIRST, SECOND = ("192.0.2.53", 53), ("192.0.2.54", 53)
CONF = Conf((FIRST, SECOND), timeout=1.0, attempts=2)
SILENCE: Sequence[Reply] = ("no answer", "no answer")
LAME = Answer(2, False, ())


def four(ttl: int = 30, name: str = "app.test") -> Answer:
    """There is an IPv4 address."""
    return answer(name, A, (name, ttl, "192.0.2.1"))


def six(ttl: int = 60, name: str = "app.test") -> Answer:
    """There is an IPv6 address."""
    return answer(name, AAAA, (name, ttl, "2001:db8::1"))


def no(type: int, name: str = "app.test", rcode: int = 0, soa: int | None = 7) -> Answer:
    """There is none."""
    return answer(name, type, rcode=rcode, soa=soa)


class LookingTests(SynchronousTestCase):
    """Two servers."""

    def look(
        self, *replies: Sequence[Reply], name: str = "app.test", conf: Conf = CONF
    ) -> tuple[Found | Nothing, list[tuple[tuple[str, int], bytes]]]:
        """What comes of these replies, and who was asked for what. All are used up."""
        asked = []
        steps = looking_up(name, conf)
        left = list(replies)
        try:
            ask = next(steps)
            while True:
                self.assertEqual([each.type for each in ask.questions], [AAAA, A])
                self.assertEqual(ask.timeout, conf.timeout)
                asked.append((ask.server, ask.questions[0].name))
                ask = steps.send(left.pop(0))
        except StopIteration as stop:
            self.assertEqual(left, [])
            return stop.value, asked

    def test_both(self) -> None:
        """Addresses of both families are found, with the lesser TTL."""
        found, asked = self.look((six(), four()))
        self.assertEqual(found, Found(("2001:db8::1", "192.0.2.1"), 30.0))
        self.assertEqual(asked, [(FIRST, wire_name("app.test"))])

    def test_one(self) -> None:
        """Where there is but one family, its TTL alone counts."""
        self.assertEqual(self.look((no(AAAA), four()))[0], Found(("192.0.2.1",), 30.0))
        self.assertEqual(self.look((six(), no(A)))[0], Found(("2001:db8::1",), 60.0))

    def test_next_server(self) -> None:
        """A server that is silent or at its wits' end is followed by the next."""
        for useless in (SILENCE, (LAME, LAME), ("connection refused", LAME)):
            found, asked = self.look(useless, (six(), four()))
            self.assertIsInstance(found, Found)
            self.assertEqual([server for server, _ in asked], [FIRST, SECOND])

    def test_nobody(self) -> None:
        """When all were asked as often as they should be, nobody knows, and the last says why."""
        found, asked = self.look(SILENCE, SILENCE, SILENCE, (LAME, LAME))
        self.assertEqual(found, Nothing("192.0.2.54: SERVFAIL"))
        self.assertEqual([server for server, _ in asked], [FIRST, SECOND] * 2)

    def test_half(self) -> None:
        """Half an answer counts when no better one comes: some servers never answer for AAAA."""
        half: Sequence[Reply] = ("no answer", four())
        self.assertEqual(self.look(half, half)[0], Found(("192.0.2.1",), 30.0))
        both = Found(("2001:db8::1", "192.0.2.1"), 30.0)
        self.assertEqual(self.look(half, (six(), four()))[0], both)
        self.assertEqual(self.look(half, SILENCE, SILENCE, SILENCE)[0], Found(("192.0.2.1",), 30.0))

    def test_negative(self) -> None:
        """A name that is not there, or has no address, is not asked for elsewhere."""
        gone = (no(AAAA, rcode=NXDOMAIN), no(A, rcode=NXDOMAIN))
        self.assertEqual(self.look(gone)[0], Nothing(UNKNOWN, 7.0))
        self.assertEqual(self.look((no(AAAA), no(A)))[0], Nothing(NO_ADDRESS, 7.0))
        bare = (no(AAAA, soa=None), no(A, soa=None))
        self.assertEqual(self.look(bare)[0], Nothing(NO_ADDRESS, 0.0))

    def test_search(self) -> None:
        """A short name is looked for behind each domain; a failure there ends the search."""
        conf = Conf((FIRST,), ("a.test", "b.test"), attempts=1)
        gone = (no(AAAA, "app.a.test", NXDOMAIN), no(A, "app.a.test", NXDOMAIN))
        there = (no(AAAA, "app.b.test"), four(name="app.b.test"))
        found, asked = self.look(gone, there, name="app", conf=conf)
        self.assertEqual(found, Found(("192.0.2.1",), 30.0))
        self.assertEqual([name for _, name in asked],
                         [wire_name("app.a.test"), wire_name("app.b.test")])
        self.assertIsInstance(self.look(gone, SILENCE, name="app", conf=conf)[0], Nothing)

    def test_too_long(self) -> None:
        """A name that is too long behind a domain is asked for without."""
        domain = ".".join(["d" * 60] * 4)
        conf = Conf((FIRST,), (domain,))
        _, asked = self.look((no(AAAA, "n" * 63), four(name="n" * 63)), name="n" * 63, conf=conf)
        self.assertEqual([name for _, name in asked], [wire_name("n" * 63)])
