"""
The access log's lines, one for each answer. Pure.

    2026-11-24T01:47:40.123Z 192.0.2.7 dns/example.test udp A www.example.test. NOERROR 2 65 aa,rd

when, who asked, the zone, how, type and name of the question, rcode, records in the answer section,
bytes of the answer, and the flags that are set.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from balancer.dns import codes
from balancer.dns.names import to_text
from balancer.dns.walk import HEADER, skip_plain

_FLAGS: Final = (("aa", codes.AA), ("tc", codes.TC), ("rd", codes.RD), ("cd", codes.CD))


def line(zone: str, at: float, peer: str, answer: bytes, transport: str) -> bytes:
    """The line for `answer`, which was given to `peer` at `at` (Unix seconds)."""
    end = skip_plain(answer, HEADER)  # a label may hold any byte, 0 too
    flags = int.from_bytes(answer[2:4], "big")
    qtype = codes.type_text(int.from_bytes(answer[end : end + 2], "big"))
    rcode = codes.RCODES.get(flags & 0xF, str(flags & 0xF))
    count = int.from_bytes(answer[6:8], "big")
    told = ",".join(word for word, bit in _FLAGS if flags & bit) or "-"
    name = to_text(answer[HEADER:end])
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    asked = f"{peer} dns/{zone} {transport} {qtype} {name}"
    return (
        f"{when.replace('+00:00', 'Z')} {asked} {rcode} {count} {len(answer)} {told}\n"
    ).encode("ascii", "backslashreplace")


def writer(
    zone: str, write: Callable[[bytes], None], unix: Callable[[], float]
) -> Callable[[str, bytes, str], None]:
    """What `Served.log` wants to be."""

    def log(peer: str, answer: bytes, transport: str) -> None:
        write(line(zone, unix(), peer, answer, transport))

    return log
