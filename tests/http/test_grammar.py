"""What holds for all patterns of this distribution."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import balancer
from balancer.http.grammar import any_name, patterns, watched

SOURCES = sorted(Path(balancer.__file__).parent.rglob("*.py"))


class PatternTests(SynchronousTestCase):
    """Patterns that every Python from 3.11.0 on matches alike."""

    def test_no_possessive_groups(self) -> None:
        """No group is repeated possessively: Debian 12's Python matches those wrongly (gh-106052),
        and would take a head for sound that is not."""
        group = re.compile(r"\)(?:[?*+]|\{[^}]*\})\+")
        found = [
            f"{path}:{number}"
            for path in SOURCES
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if group.search(line)
        ]
        self.assertEqual(found, [])

    def test_half_a_field(self) -> None:
        """A line that only begins like a field ends no head."""
        for line in (b"A", b"A ", b"A: b\0", b"A: b\n", b"A\r"):
            for fields in (b"", b"\r\nHost: a"):
                block = fields + b"\r\n" + line + b"\r\n\r\n"
                self.assertIsNone(patterns(101).request.match(b"GET / HTTP/1.1" + block))
                self.assertIsNone(patterns(101).answer.match(b"HTTP/1.1 200 OK" + block))

    def test_bound(self) -> None:
        """A head of one field more than the bound does not match."""
        for count in (0, 3, 4):
            head = b"GET / HTTP/1.1" + b"\r\nA: b" * count + b"\r\n\r\n"
            self.assertEqual(patterns(3).request.match(head) is not None, count < 4)

    def test_made_once(self) -> None:
        """Readers of the same settings share their patterns: an idle connection costs none."""
        self.assertIs(patterns(101), patterns(101))
        self.assertIs(watched((b"a",), (), ()), watched((b"a",), (), ()))
        self.assertIs(any_name((b"a",)), any_name((b"a",)))
