"""What is said to ExaBGP, and how what it says is read: 4.2's and 5.0's own lines."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.lines import (
    MAX_REASON,
    Done,
    Kept,
    Leaving,
    Lines,
    Other,
    Refused,
    Route,
    Session,
    announce,
    end_of_rib,
    read,
    withdraw,
)

UP_42 = (
    '{ "exabgp": "4.0.1", "time": 1.5, "host" : "vm", "pid" : 9, "ppid" : 8, "counter": 1, "type": '
    '"state", "neighbor": { "address": { "local": "10.9.0.1", "peer": "10.9.0.2" }, "asn": { '
    '"local": 65010, "peer": 65001 } , "state": "up" } }'
)
UP_50 = UP_42.replace("4.0.1", "5.0.0").replace("10.9.0.2", "fd09::2")


def down(reason: object) -> str:
    """A session that ended."""
    neighbor = {"address": {"peer": "10.9.0.2"}, "state": "down", "reason": reason}
    return json.dumps({"type": "state", "neighbor": neighbor})


class SayingTests(SynchronousTestCase):
    """Commands."""

    def test_announce(self) -> None:
        """A route has the attributes that are given, and no others."""
        self.assertEqual(
            "neighbor 10.9.0.2 announce route 192.0.2.53/32 next-hop self",
            announce(["10.9.0.2"], Route("192.0.2.53/32")),
        )
        route = Route("2001:db8::/64", "fd09::1", 0, ("65010:1", "65010:1:2"), (65010, 65010))
        self.assertEqual(
            "neighbor fd09::2, neighbor fd09::3 announce route 2001:db8::/64 next-hop fd09::1 "
            "med 0 community [ 65010:1 ] large-community [ 65010:1:2 ] as-path [ 65010 65010 ]",
            announce(["fd09::2", "fd09::3"], route),
        )

    def test_withdraw(self) -> None:
        """A withdrawal needs no attributes."""
        self.assertEqual(
            "neighbor 10.9.0.2 withdraw route 192.0.2.0/24", withdraw(["10.9.0.2"], "192.0.2.0/24")
        )

    def test_end_of_rib(self) -> None:
        """A neighbor's end-of-RIB is of its own family."""
        self.assertEqual("neighbor 10.9.0.2 announce eor ipv4 unicast", end_of_rib("10.9.0.2"))
        self.assertEqual("neighbor fd09::2 announce eor ipv6 unicast", end_of_rib("fd09::2"))


class ReadingTests(SynchronousTestCase):
    """What ExaBGP says."""

    def test_answers(self) -> None:
        """Acknowledgements are one word."""
        self.assertEqual((Done(), Refused(), Leaving()),
                         (read("done"), read("error"), read("shutdown")))
        for line in ("", "Done", "done.", "errors", "exabgp 4.2.21"):
            self.assertEqual(Other(), read(line), line)

    def test_routes(self) -> None:
        """Both versions' lines of `show adj-rib out` are read; 4.2 puts a word before."""
        for line in ("neighbor 10.9.0.2 ipv4 unicast 192.0.2.53/32",
                     "10.9.0.2 ipv4 unicast 192.0.2.53/32",
                     "10.9.0.2 ipv4 unicast 192.0.2.53/32 next-hop self"):
            self.assertEqual(Kept("10.9.0.2", "192.0.2.53/32"), read(line), line)
        self.assertEqual(Kept("fd09::2", "2001:db8::53/128"),
                         read("neighbor fd09::2 ipv6 unicast 2001:DB8:0::53/128"))
        for line in ("neighbor x ipv4 unicast 192.0.2.53/32", "10.9.0.2 ipv4 unicast 192.0.2.1/24",
                     "10.9.0.2 ipv4 flow 192.0.2.53/32"):
            self.assertEqual(Other(), read(line), line)

    def test_sessions(self) -> None:
        """States of neighbors are read, with the reason of an end, cut to a bound."""
        self.assertEqual(Session("10.9.0.2", "up"), read(UP_42))
        self.assertEqual(Session("fd09::2", "up"), read(UP_50))
        self.assertEqual(Session("10.9.0.2", "down", "peer reset"), read(down("peer reset")))
        found = read(down("x" * 5000))
        assert isinstance(found, Session)
        self.assertEqual(MAX_REASON, len(found.reason))

    def test_leaving(self) -> None:
        """The event before ExaBGP stops is known."""
        event = '{ "exabgp": "4.0.1", "type": "notification", "notification": "shutdown" }'
        self.assertEqual(Leaving(), read(event))

    def test_garbage(self) -> None:
        """Events that are none of ours say nothing: other types, other shapes, no JSON."""
        for line in (down(3), down("x").replace("down", "odd"), '{"type": "state"}', "{", "[]",
                     '{"type": "state", "neighbor": []}', '{"type": "state", "neighbor": null}',
                     '{"type": "update", "neighbor": {}}', '{"a":' * 2000, "{}",
                     '{"type": "notification", "neighbor": {}}',
                     '{"type": "state", "neighbor": {"address": {"peer": "x"}, "state": "up"}}'):
            self.assertEqual(Other(), read(line), line[:60])

    @settings(deadline=None, database=None, max_examples=20)
    @given(some.text(max_size=80))
    def test_anything(self, text: str) -> None:
        """Nothing that comes makes it raise."""
        read(text)
        read("{" + text)

    def test_truncated(self) -> None:
        """An event that was cut says nothing."""
        for end in range(len(UP_42) - 1):
            self.assertEqual(Other(), read(UP_42[:end]))


class LinesTests(SynchronousTestCase):
    """Bytes into lines."""

    def test_pieces(self) -> None:
        """Lines are the same whole and byte by byte; an unfinished one waits."""
        data = b"done\r\n\nneighbor \xff x\nhal"
        whole, single = Lines(), Lines()
        expected = ["done", "", "neighbor � x"]
        self.assertEqual(expected, whole.feed(data))
        bytewise = [line for at in range(len(data)) for line in single.feed(data[at : at + 1])]
        self.assertEqual(expected, bytewise)
        self.assertEqual(["half"], whole.feed(b"f\n"))

    def test_too_long(self) -> None:
        """A line over the bound is dropped to its end, in one piece or many, and counted."""
        lines = Lines(10)
        self.assertEqual(["ok"], lines.feed(b"x" * 11 + b"\nok\n"))
        for _ in range(100):
            self.assertEqual([], lines.feed(b"yyyy"))
        self.assertEqual(["fine"], lines.feed(b"y\nfine\n"))
        self.assertEqual(2, lines.dropped)
