"""
Response rate limiting: how often one network is told the same thing (as BIND, NSD and knot do it).

UDP's source addresses can be forged, and an answer is longer than its question: whoever is told the
same again and again did not ask. Knows token buckets. Must not know what is in an answer; who
proved its address (by a cookie, or TCP) is not judged here.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from balancer.limit.rates import Rates

MOST_BUCKETS: Final = 65536
"""Buckets of either table, the oldest forgotten first. NSD has 1,000,000 of 40 bytes; ours take
some 200 bytes each. A forgotten bucket is a full one again, which the other table makes up for."""

NETWORK_TIMES: Final = 4
"""Times the rate that a network gets in all, whatever it asks: an attacker who varies names or
types changes buckets, but not networks. BIND's `all-per-second` asks for at least four times the
other limits; knot (3.4) counts all that a network gets, and nothing by name."""

SLIP: Final = 2
"""Every second refused answer goes out empty and truncated, so that one who really asks comes back
over TCP (BIND's and NSD's default; knot's is 1)."""

# Kinds of answer. A bucket is kept for a kind and a name: the name that was asked for one that
# exists, the zone's for all others, since of names that do not exist there is no end (NSD's
# rrl_classify has the same list).
ANSWERED: Final = b"a"
NODATA: Final = b"0"
NXDOMAIN: Final = b"x"
WILDCARD: Final = b"*"
REFERRAL: Final = b"r"
ERROR: Final = b"e"

_V4_BYTES: Final = 3  # /24
_V6_BYTES: Final = 7  # /56


class Verdict(Enum):
    """What is done with an answer: sent, not sent, or sent empty with TC."""

    PASS = "pass"
    DROP = "drop"
    SLIP = "slip"


class RateLimit:
    """
    At most `rate` answers a second of one kind and name to one network (/24, or /56 of IPv6), and
    at most NETWORK_TIMES as many of all kinds together; a second's worth may come at once.

    Of the refused ones every `slip`th is a SLIP (0: none, 1: all); `exempt` networks are never
    refused. `dropped_total` and `slipped_total` count.
    """

    __slots__ = (
        "_answers", "_exempt", "_networks", "_refused", "dropped_total", "made_of", "slip",
        "slipped_total",
    )

    def __init__(
        self, rate: float, slip: int = SLIP, exempt: Iterable[IPv4Network | IPv6Network] = ()
    ) -> None:
        if not (rate > 0 and slip >= 0):
            msg = f"expected rate > 0 and slip >= 0, got {rate}, {slip}"
            raise ValueError(msg)
        self.made_of = rate, slip, tuple(exempt)
        self.slip = slip
        self.dropped_total = 0
        self.slipped_total = 0
        self._answers = Rates(rate, max(1, round(rate)), MOST_BUCKETS)
        all_rate = NETWORK_TIMES * rate
        self._networks = Rates(all_rate, max(1, round(all_rate)), MOST_BUCKETS)
        # (bytes of an address, how many low bits are free, the bits that must be there)
        self._exempt = [
            (each.max_prefixlen // 8, shift, int(each.network_address) >> shift)
            for each in self.made_of[2]
            for shift in (each.max_prefixlen - each.prefixlen,)
        ]
        self._refused = 0

    def judge(self, address: bytes, kind: bytes, name: bytes, now: float) -> Verdict:
        """
        Count one answer of this `kind` about `name` (in lower case) that is about to go to
        `address` (4 or 16 bytes) at `now` (seconds, monotonic).
        """
        network = address[:_V4_BYTES] if len(address) == 4 else address[:_V6_BYTES]
        # A name says itself where it ends, so that what follows cannot be taken for a part of it.
        if self._answers.allow(kind + name + network, now) and self._networks.allow(network, now):
            return Verdict.PASS
        if self._exempt and self._is_exempt(address):
            return Verdict.PASS
        self._refused += 1
        if self.slip and self._refused % self.slip == 0:
            self.slipped_total += 1
            return Verdict.SLIP
        self.dropped_total += 1
        return Verdict.DROP

    def _is_exempt(self, address: bytes) -> bool:
        """Asked only of those who would be refused: the list may be long."""
        number = int.from_bytes(address, "big")
        return any(
            size == len(address) and number >> shift == prefix
            for size, shift, prefix in self._exempt
        )
