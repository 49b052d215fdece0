"""
The time of day for log lines and Date fields, written once a second.

Pure: the wall clock is an argument. `now` is the monotonic clock of everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import floor
from typing import Final

# Not strftime: its names follow the locale.
MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
)
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Dates:
    """Times of `now` in UTC. The wall clock is looked at once a second, so that it may be set:
    until `now` is `until`, `clf` and `http` say the same."""

    __slots__ = ("_clf", "_http", "_offset", "_parts", "_second", "_wall", "until")

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.until = float("-inf")
        self._offset = 0.0
        self._clf = self._http = b""
        self._second = -1
        self._parts = (b"", b"")

    def clf(self, now: float) -> bytes:
        """`10/Oct/2000:13:55:36 +0000`, the time in the common log format."""
        if now >= self.until:
            self._turn(now)
        return self._clf

    def http(self, now: float) -> bytes:
        """`Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7)."""
        if now >= self.until:
            self._turn(now)
        return self._http

    def haproxy(self, at: float, now: float) -> bytes:
        """`10/Oct/2000:13:55:36.123` for the moment `at`."""
        parts, thousandths = self._exact(at, now)
        return b"%b.%03d" % (parts[0], thousandths)

    def iso(self, at: float, now: float) -> bytes:
        """`2000-10-10T13:55:36.123Z` (RFC 3339) for the moment `at`."""
        parts, thousandths = self._exact(at, now)
        return b"%b.%03dZ" % (parts[1], thousandths)

    def _exact(self, at: float, now: float) -> tuple[tuple[bytes, bytes], int]:
        if now >= self.until:
            self._turn(now)
        whole = floor((at + self._offset) * 1000)
        second, thousandths = divmod(whole, 1000)
        if second != self._second:
            self._second = second
            day = datetime.fromtimestamp(second, UTC)
            self._parts = _clf(day), day.strftime("%Y-%m-%dT%H:%M:%S").encode()
        return self._parts, thousandths

    def _turn(self, now: float) -> None:
        self._offset = self._wall() - now
        second = floor(now + self._offset)
        self.until = second + 1 - self._offset
        day = datetime.fromtimestamp(second, UTC)
        self._clf = _clf(day) + b" +0000"
        self._http = (
            f"{DAYS[day.weekday()]}, {day:%d} {MONTHS[day.month - 1]} {day:%Y %H:%M:%S} GMT"
        ).encode()


def _clf(day: datetime) -> bytes:
    return f"{day:%d}/{MONTHS[day.month - 1]}/{day:%Y:%H:%M:%S}".encode()
