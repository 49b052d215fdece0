"""What happened when, and whether it was in time."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from socket import inet_aton
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lab.notices import changes
from lab.timeline import FOLLOWERS, PLANES, Change, Course, Verdict, settled, verdict


def event(number: int, name: str, **more: Any) -> Mapping[str, Any]:
    """An event at that second."""
    return {"id": number, "at": float(number), "event": name, "server": "", "text": "", **more}


class SettledTests(SynchronousTestCase):
    """When a plane has become something."""

    def test_for_good(self) -> None:
        """What came before, and what did not last, does not count."""
        seen = [Change(1.0, "dns", False), Change(2.0, "http", False), Change(2.1, "http", True),
                Change(2.2, "dns", True), Change(2.3, "dns", False), Change(2.5, "http", False),
                Change(2.6, "ecmp", False), Change(2.7, "ecmp", True)]
        self.assertEqual(settled(seen, False, 1.5), {"dns": 2.3, "http": 2.5})
        self.assertEqual(settled(seen, True, 1.5), {"ecmp": 2.7})


class VerdictTests(SynchronousTestCase):
    """Which event decided, and who names it."""

    def test_first(self) -> None:
        """The first of that server after that time, with those that followed it."""
        found = verdict([
            event(1, "WentDown", server="web/c"),
            event(2, "WentDown", server="web/a"),
            event(3, "WentDown", server="web/c", text="web/c went down"),
            event(4, "Followed", balancer="ecmp:out", cause=3),
            event(5, "Followed", balancer="anycast:www", cause=2),
            event(6, "WentDown", server="web/c"),
            event(7, "Followed", balancer="ecmp:out", cause=3),
        ], "WentDown", "web/c", 2.0)
        self.assertEqual(found, Verdict(3, 3.0, "web/c went down", ("ecmp:out",)))
        self.assertIsNone(verdict([event(1, "WentUp", server="web/c")], "WentDown", "web/c", 0.0))


class CourseTests(SynchronousTestCase):
    """How a balancer took it."""

    def course(self, told: tuple[str, ...] = FOLLOWERS, **late: float) -> Course:
        """All planes 10 ms after the verdict, but for those."""
        planes = dict.fromkeys(PLANES, 10.41) | {k: 10.4 + v for k, v in late.items()}
        return Course("east1", False, 10.0, 0.5, Verdict(7, 10.4, "c went down", told), planes)

    def test_in_time(self) -> None:
        """Nothing is late, and a line has each plane's time."""
        self.assertEqual(list(self.course().late()), [])
        lines = list(self.course(dns=0.05).lines())
        self.assertEqual(lines[0], "east1: event 7, c went down")
        self.assertEqual(lines[1].split(), ["400", "ms", "the", "verdict"])
        self.assertIn("dns gives none                  +50 ms after the verdict", lines[-2])

    def test_late(self) -> None:
        """A plane over the bound, one that did not follow, an event that nobody names, a verdict
        that took too long: each is told."""
        self.assertEqual(list(self.course(dns=0.25).late()),
                         ["east1: dns followed after 0.250 s, of 0.2"])
        self.assertEqual(list(self.course(told=FOLLOWERS[1:]).late()),
                         ["east1: no event of ecmp:out names event 7"])
        slow = Course("e", True, 0.0, 0.5, Verdict(1, 0.6, "", FOLLOWERS), {})
        self.assertEqual(next(iter(slow.late())), "e: the verdict came after 0.600 s, of 0.5")
        self.assertEqual(len(list(slow.late())), 1 + len(PLANES))


def attribute(kind: int, data: bytes) -> bytes:
    """A netlink attribute, padded."""
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def message(kind: int, bits: int, *attributes: bytes) -> bytes:
    """A route message."""
    body = struct.pack("=8BI", 2, bits, 0, 0, 254, 196, 0, 1, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def hop(address: str) -> bytes:
    """A next hop of several."""
    gateway = attribute(5, inet_aton(address))
    return struct.pack("=HBBi", 8 + len(gateway), 0, 0, 3) + gateway


TO = attribute(1, inet_aton("192.0.2.1"))


class NoticeTests(SynchronousTestCase):
    """What the kernel says of routes."""

    def test_routes(self) -> None:
        """One next hop, several, none on a device, and a route that goes."""
        data = (message(24, 32, TO, attribute(5, inet_aton("10.0.0.2")))
                + message(24, 24, TO, attribute(9, hop("10.1.0.2") + hop("10.1.0.3")))
                + message(24, 32, TO) + message(25, 32, TO, attribute(5, inet_aton("10.0.0.2"))))
        self.assertEqual(list(changes(data)), [
            ("192.0.2.1/32", {"10.0.0.2"}), ("192.0.2.1/24", {"10.1.0.2", "10.1.0.3"}),
            ("192.0.2.1/32", frozenset()), ("192.0.2.1/32", frozenset())])

    def test_others(self) -> None:
        """Other messages, and what is cut or broken, are passed over."""
        self.assertEqual(list(changes(message(16, 32, TO))), [])
        self.assertEqual(list(changes(bytes(64))), [])
        whole = message(24, 32, TO, attribute(9, hop("10.1.0.2")))
        for end in range(len(whole)):
            self.assertEqual(list(changes(whole[:end])), [])
        broken = message(24, 32, TO, struct.pack("=HH", 2, 5))
        self.assertEqual(list(changes(broken)), [("192.0.2.1/32", frozenset())])
