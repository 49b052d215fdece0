"""
Who may come: the rate of newcomers, and how many one source has. Pure.
"""

from __future__ import annotations

import ipaddress

from balancer.limit.counts import Counts
from balancer.limit.rates import Rates
from balancer.relay.settings import Rate, RelaySettings

EVERYBODY = ""
"""The key of a rate that holds for all sources together."""


class Limits:
    """The limits of one balancer on newcomers. What `refusal` let in is given back by `release`."""

    __slots__ = ("_counts", "_per_source", "_rate", "_rates")

    def __init__(self, settings: RelaySettings) -> None:
        self._per_source = settings.max_connections_per_source
        self._rate: Rate | None = settings.rate
        self._counts = None if self._per_source is None else Counts(self._per_source)
        rate = self._rate
        self._rates = None if rate is None else Rates(rate.rate, rate.burst)

    def fit(self, settings: RelaySettings) -> bool:
        """Whether these are the limits of `settings`: then they go on counting after a reload."""
        return (self._per_source, self._rate) == (
            settings.max_connections_per_source,
            settings.rate,
        )

    def refusal(self, source: str, now: float) -> str:
        """Why one more from `source` may not come, in one word; '' and it is counted."""
        rate = self._rate
        if self._rates is not None and rate is not None:
            key = source if rate.per_source else EVERYBODY
            if not self._rates.allow(key, now):
                return "rate"
        if self._counts is not None and not self._counts.take(source):
            return "source"
        return ""

    @property
    def forgotten_total(self) -> int:
        """Sources whose rate was forgotten too early, since too many others came."""
        return 0 if self._rates is None else self._rates.forgotten_total

    def release(self, source: str) -> None:
        """One of `source` that was let in has gone."""
        if self._counts is not None:
            self._counts.give(source)


def key_of(kind: str, host: str, port: int) -> bytes | None:
    """
    The key by which a pool chooses for a client: `kind` is that of the pool's `needs_key`.

    `source` gives the packed address, `address+port` 2 bytes of port after it (big endian). All
    else, and a client on a unix socket, has no key.
    """
    if kind not in ("source", "address+port"):
        return None
    try:
        packed = ipaddress.ip_address(host.partition("%")[0]).packed
    except ValueError:
        return None
    return packed if kind == "source" else packed + port.to_bytes(2, "big")
