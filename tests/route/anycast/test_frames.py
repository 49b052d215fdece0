"""The frames between twistd and the helper: what one writes the other reads, and nothing else."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast import frames
from balancer.route.anycast.frames import (
    MAX_FRAME,
    MAX_ROUTES,
    BadFrame,
    Heard,
    Hello,
    Neighbor,
    Quit,
    Report,
    Wish,
    decode,
    encode,
)
from balancer.route.anycast.lines import Route

ROUTES = {
    ("10.9.0.2", "192.0.2.53/32"): Route("192.0.2.53/32", "self", 10, ("1:2", "1:2:3"), (65010,)),
    ("fd09::2", "2001:db8::/64"): Route("2001:db8::/64"),
}
FRAMES = (
    Wish(3, 1.5, ROUTES),
    Quit(),
    Hello(10, 9, "abc"),
    Report(3, True, False, tuple(ROUTES), "no", True),
    Neighbor("10.9.0.2", "down", "reset"),
    Heard(3),
)


class FrameTests(SynchronousTestCase):
    """Each kind, there and back."""

    def test_round_trip(self) -> None:
        """A frame is one line, and comes back as it was."""
        for frame in FRAMES:
            line = encode(frame)
            self.assertEqual(1, line.count(b"\n"))
            self.assertEqual(frame, decode(line.decode()))

    def test_largest(self) -> None:
        """The most routes fit into the longest line."""
        prefix = "2001:db8:1111:2222:3333:4444:5555:6666/128"
        route = Route(prefix, prefix, 2**32 - 1, ("65000:1",) * 3, (2**32 - 1,) * 3)
        routes = {(f"2001:db8::{at}", prefix): route for at in range(MAX_ROUTES)}
        line = encode(Wish(1, 3.0, routes))
        self.assertLess(len(line), MAX_FRAME)
        self.assertEqual(MAX_ROUTES, len(decode(line.decode()).routes))  # type: ignore[union-attr]

    def test_refused(self) -> None:
        """Another version, an unknown kind, a wrong type or a second line in a word is refused."""
        good = json.loads(encode(FRAMES[0]))
        row = good["routes"][0]
        bad = [
            {**good, "v": 2}, {**good, "type": "order"}, {**good, "lease": 0},
            {**good, "lease": True}, {**good, "lease": "3"}, {**good, "lease": 1e9},
            {**good, "serial": 1.5}, {**good, "routes": 1}, {**good, "routes": [[]]},
            {**good, "routes": [[row[0], "x\nwithdraw", *row[2:]]]},
            {**good, "routes": [[*row[:3], "1", *row[4:]]]},
            {**good, "routes": [[row[0], row[1], 5, *row[3:]]]},
            {**good, "routes": [row] * (MAX_ROUTES + 1)},
            {**json.loads(encode(FRAMES[3])), "settled": 1},
            {"v": 1, "type": "heard", "serial": "3"},
            {"v": 1}, {"v": 1, "type": "hello"}, {"v": 1, "type": ["hello"]}, [], 3, None,
        ]
        for each in bad:
            self.assertRaises(BadFrame, decode, json.dumps(each))
        self.assertRaises(BadFrame, decode, "{" * 5000)

    @settings(deadline=None, database=None, max_examples=20)
    @given(some.sampled_from(FRAMES), some.integers(0, 200), some.text(max_size=3))
    def test_damaged(self, frame: frames.Frame, at: int, other: str) -> None:
        """Whatever is done to a line, it is a frame or `BadFrame`."""
        line = encode(frame).decode()
        try:
            decode(line[:at] + other + line[at + 1 :])
        except BadFrame:
            return
