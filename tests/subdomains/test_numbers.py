"""Numbers that stay with their servers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.subdomains import numbers as room
from balancer.subdomains.numbers import Numbers

LINEUPS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=12)


class NumbersTests(SynchronousTestCase):
    """Who gets which number."""

    def setUp(self) -> None:
        self.numbers = Numbers()

    def follow(self, servers: str) -> dict[str, int]:
        """The numbers once these are the servers."""
        self.numbers.follow(servers)
        return dict(self.numbers.given)

    def test_in_order(self) -> None:
        """The first servers are numbered from 1 as they stand."""
        self.assertEqual(self.follow("bac"), {"b": 1, "a": 2, "c": 3})

    def test_new_one(self) -> None:
        """A new server gets the lowest number that nobody has had, wherever it stands."""
        self.follow("ab")
        self.assertEqual(self.follow("cab"), {"a": 1, "b": 2, "c": 3})
        self.follow("a")
        self.assertEqual(self.follow("ad"), {"a": 1, "d": 4})

    def test_return(self) -> None:
        """A server that returns gets its number back, and a new one beside it another."""
        self.follow("abc")
        self.follow("c")
        self.assertEqual(self.follow("dbc"), {"b": 2, "c": 3, "d": 4})

    def test_told(self) -> None:
        """It is told whether anything changed."""
        self.assertTrue(self.numbers.follow("ab"))
        self.assertFalse(self.numbers.follow("ba"))
        self.assertTrue(self.numbers.follow("a"))
        self.assertTrue(self.numbers.follow("ab"))

    def test_bound(self) -> None:
        """The number that was left longest ago is free again when too many are remembered."""
        self.patch(room, "MAX_RETIRED", 2)
        self.follow("abcd")
        self.follow("bcd")
        self.follow("d")
        self.assertEqual(dict(self.numbers.retired), {"b": 2, "c": 3})
        self.assertEqual(self.follow("de"), {"d": 4, "e": 1})

    @settings(max_examples=12, deadline=None, database=None)
    @given(LINEUPS, st.integers(0, 3))
    def test_property(self, lineups: list[list[str]], bound: int) -> None:
        """Over any sequence: who stays keeps its number, no two have the same, a number is not
        given to another while it is remembered, and what is written is read as it was."""
        self.patch(room, "MAX_RETIRED", bound)
        numbers = Numbers()
        for servers in lineups:
            before, remembered = dict(numbers.given), dict(numbers.retired)
            changed = numbers.follow(servers)
            now = dict(numbers.given)
            self.assertEqual(set(now), set(servers))
            self.assertEqual(changed, now != before)
            self.assertEqual(len(set(now.values())), len(now))
            for name in servers:
                self.assertEqual(now[name], {**remembered, **before}.get(name, now[name]))
                self.assertNotIn(
                    now[name], [n for who, n in {**remembered, **before}.items() if who != name]
                )
            self.assertLessEqual(len(numbers.retired), bound)
            self.assertLessEqual(max(now.values(), default=0), 8 + bound)
            again = Numbers.from_json(numbers.to_json())
            self.assertEqual(list(again.retired.items()), list(numbers.retired.items()))
            self.assertEqual(again.given, numbers.given)


class JsonTests(SynchronousTestCase):
    """What is kept for the next start."""

    def test_refused(self) -> None:
        """What another has written, or a part of a file, is a ValueError and nothing else."""
        whole = Numbers({"a": 1}, {"b": 2}).to_json()
        for data in (
            *(whole[:length] for length in range(len(whole) - 2)),
            b"[]",
            b"7",
            b"\xff",
            b"[" * 100_000,
            whole.replace(b'"format": 1', b'"format": 2'),
            whole.replace(b'"a": 1', b'"a": 2'),
            whole.replace(b'"a": 1', b'"b": 1'),
            whole.replace(b'"a": 1', b'"a": true'),
            whole.replace(b'"a": 1', b'"a": 0'),
            whole.replace(b'"a": 1', b'"a": 10000000'),
            whole.replace(b'"a": 1', b'"a": "1"'),
            whole.replace(b'"b"', b"3"),
            whole.replace(b'"b"', b"[]"),
        ):
            self.assertRaises(ValueError, Numbers.from_json, data)

    @settings(max_examples=12, deadline=None, database=None)
    @given(st.binary(max_size=40))
    def test_anything(self, data: bytes) -> None:
        """No bytes raise anything else."""
        try:
            Numbers.from_json(data)
        except ValueError:
            return
        self.fail(f"read {data!r}")
