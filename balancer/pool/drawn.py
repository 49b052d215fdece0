"""Servers drawn by chance: random, and the better of two draws. Chance is an argument."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from random import Random

from balancer.pool.schedulers import Plain
from balancer.pool.server import Server

REDRAWS = 4
"""Draws that may hit a full or tried server before the others are gathered, which costs O(n)."""


class Drawn(Plain):
    """Each server with a probability in proportion to its weight: `random`."""

    def __init__(self, random: Random) -> None:
        """`random` must be able to give its state, so that `rank` can foresee it."""
        self._random = random
        self._servers: Sequence[Server] = ()
        self._sums: list[int] = []

    def rebuild(self, servers: Sequence[Server]) -> None:
        """Sum up the weights."""
        self._servers = servers
        self._sums = _sums(servers)

    def choose(self, key: bytes | None, tried: Collection[Server] = ()) -> Server | None:
        """A draw."""
        return self._pick(self._random, tried)

    def rank(self, key: bytes | None) -> Iterator[Server]:
        """What the next draws will give, each without those before it."""
        foreseen = Random()
        foreseen.setstate(self._random.getstate())
        ranked: dict[Server, None] = {}
        while (server := self._pick(foreseen, ranked)) is not None:
            yield server
            ranked[server] = None

    def _pick(self, random: Random, tried: Collection[Server]) -> Server | None:
        if not self._servers:
            return None
        for _ in range(REDRAWS):
            server = self._draw(random, self._servers, self._sums, tried)
            if server is not None:
                return server
        left = [s for s in self._servers if s.in_flight < s.limit and s not in tried]
        return self._draw(random, left, _sums(left), tried) if left else None

    def _draw(
        self, random: Random, servers: Sequence[Server], sums: list[int], tried: Collection[Server]
    ) -> Server | None:
        """One weighted draw; None if it hit a full or tried server."""
        server = servers[bisect(sums, random.random() * sums[-1], 0, len(sums) - 1)]
        return server if server.in_flight < server.limit and server not in tried else None


class BetterOfTwo(Drawn):
    """
    Two weighted draws, and the one with less in flight for its weight: `p2c`.

    Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996): nearly as even as
    the least of all, at the cost of two draws, and without the herd that stale figures cause.
    """

    def _draw(
        self, random: Random, servers: Sequence[Server], sums: list[int], tried: Collection[Server]
    ) -> Server | None:
        """Two different servers, and the better of those that can."""
        last = len(sums) - 1
        index = bisect(sums, random.random() * sums[-1], 0, last)
        one = servers[index]
        one_can = one.in_flight < one.limit and one not in tried
        if not last:
            return one if one_can else None
        # The second draw leaves the first one's share out.
        weight = one.effective_weight
        point = random.random() * (sums[-1] - weight)
        if point >= sums[index] - weight:
            point += weight
        two = servers[bisect(sums, point, 0, last)]
        if two.in_flight < two.limit and two not in tried:
            return two if not one_can or self._better(two, one) else one
        return one if one_can else None

    def _better(self, two: Server, one: Server) -> bool:
        """Whether `two` is strictly better: at equal load the first draw stands, so that weights
        are honoured."""
        return two.in_flight * one.effective_weight < one.in_flight * two.effective_weight


def _sums(servers: Sequence[Server]) -> list[int]:
    return list(accumulate(server.effective_weight for server in servers))
