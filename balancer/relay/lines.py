"""
The access log's lines: one for each connection or flow, when it has ended. Pure.

    192.0.2.7:50312 [23/Nov/2026:01:47:40.123 +0000] tcp/echo echo/a 0/1/5023 120/7340 -- 14

client, when it came, balancer, pool/server (`<NOSRV>` without one), milliseconds of waiting in the
queue / of connecting / in all (-1: it did not come to that), bytes to the server / to the client,
how it ended, and how many were there besides. A flow has datagrams in place of milliseconds of
waiting and connecting: `3/3/30050`.

How it ended is HAProxy's (its manual, 8.5): who (`-` nobody, it was complete; `C` the client, `S`
the server, `c` nobody moved anything until the idle timeout, `s` no answer in time, `P` a limit of
ours, `R` we lacked a resource, `K` we were told to stop), and in which phase (`Q` in the queue, `C`
connecting, `D` data, `-` at its end).
"""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import define

NO_SERVER = "<NOSRV>"
"""HAProxy's word for 'no server was chosen'."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Stamp:
    """Writes times as logs have them (UTC, with milliseconds); remembers the last second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, at: float) -> str:
        """`at` (Unix seconds) as `23/Nov/2026:01:47:40.123 +0000`."""
        second = int(at)
        if second != self._second:
            self._second = second
            when = datetime.fromtimestamp(second, UTC)
            # strftime's names of months follow the locale.
            self._text = f"{when.day:02}/{_MONTHS[when.month - 1]}/{when:%Y:%H:%M:%S}"
        return f"{self._text}.{int((at - second) * 1000):03} +0000"


def peer_text(host: str, port: int) -> str:
    """`192.0.2.7:50312`, `[2001:db8::1]:50312`, or `unix`."""
    if ":" in host:
        return f"[{host}]:{port}"
    return f"{host}:{port}" if port else host


def milliseconds(seconds: float | None) -> int:
    """Whole milliseconds; -1 for None."""
    return -1 if seconds is None else round(seconds * 1000)


@define
class Ended:
    """A connection or flow that is over. `at` is in Unix seconds; `three` are the numbers between
    server and bytes; `left` counts those that go on."""

    client: str
    at: float
    balancer: str
    server: str
    three: tuple[int, int, int]
    to_server: int
    to_client: int
    how: str
    left: int


def line(ended: Ended, stamp: Stamp) -> bytes:
    """The line of the access log, with its newline."""
    first, second, third = ended.three
    return (
        f"{ended.client} [{stamp.text(ended.at)}] {ended.balancer} {ended.server or NO_SERVER} "
        f"{first}/{second}/{third} {ended.to_server}/{ended.to_client} {ended.how} {ended.left}\n"
    ).encode("ascii", "backslashreplace")
