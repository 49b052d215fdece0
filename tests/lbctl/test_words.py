"""Values as an operator reads them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.lbctl.words import age, count, duration, moment, plain, printable, shorten


class Words(SynchronousTestCase):
    """One kind of value each."""

    def test_plain(self) -> None:
        """Nothing that comes from elsewhere moves the cursor."""
        self.assertEqual(plain("a\x1b[2J\n\tb\x00"), "a?[2J  b?")
        self.assertEqual([plain(each) for each in (None, "", True, False, 0)],
                         ["-", "-", "yes", "no", "0"])
        self.assertEqual(plain("ü"), "ü")

    def test_printable(self) -> None:
        """A terminal that does not know a character gets a question mark."""
        self.assertEqual(printable("aü\udce9", "ascii"), "a??")
        self.assertEqual(printable("aü", "utf-8"), "aü")

    def test_shorten(self) -> None:
        """What is too long loses its middle."""
        self.assertEqual(shorten("[2001:db8::1]:443", 17), "[2001:db8::1]:443")
        self.assertEqual(shorten("[2001:db8:0:1::1]:443", 15), "[2001:d..1]:443")
        self.assertEqual(shorten("abcdefgh", 3), "abc")

    @settings(deadline=None, database=None, max_examples=25)
    @given(st.text(), st.integers(0, 30))
    def test_shortened(self, text: str, width: int) -> None:
        """What is shortened has exactly the width; what fits stays."""
        self.assertEqual(shorten(text, width), text) if len(text) <= width else self.assertEqual(
            len(shorten(text, width)), width)

    def test_count(self) -> None:
        """Numbers are exact up to 999999, then have a unit."""
        self.assertEqual(
            [count(each) for each in (0, 999_999, 1_000_000, 999_949_999, 999_950_000, 10**12)],
            ["0", "999999", "1.0M", "999.9M", "1.0G", "1.0T"],
        )
        self.assertEqual([count(each) for each in (None, "x", True)], ["-", "-", "-"])

    def test_age(self) -> None:
        """Ages are their two greatest units."""
        self.assertEqual(
            [age(each) for each in (-1, 0, 59.9, 60, 200, 3600, 7500, 86400 * 3 + 7200, 10**8)],
            ["0s", "0s", "59s", "1m", "3m20s", "1h", "2h05m", "3d02h", "1157d"],
        )

    def test_duration(self) -> None:
        """Times of checks have the unit that suits them."""
        self.assertEqual([duration(each) for each in (0.00037, 0.12, 2.5)],
                         ["0.4 ms", "120 ms", "2.5 s"])

    def test_moment(self) -> None:
        """A Unix time has a date; what is none has not."""
        self.assertRegex(moment(1_000_000_000), r"^2001-09-\d\d \d\d:\d\d:\d\d$")
        self.assertEqual([moment(each) for each in (None, "x", 1e300, float("nan"))], ["-"] * 4)

    @settings(deadline=None, database=None, max_examples=25)
    @given(st.floats(0, 1e9), st.integers(0, 10**17))
    def test_narrow(self, seconds: float, number: int) -> None:
        """Ages and counts never need more than seven characters."""
        self.assertLessEqual(len(age(seconds)), 7)
        self.assertLessEqual(len(count(number)), 7)
