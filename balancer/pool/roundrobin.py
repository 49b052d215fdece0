"""Weighted round-robin: the turns are computed when the servers change, and taken one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from balancer.pool.schedulers import Plain
from balancer.pool.server import Server
from balancer.pool.turns import endless, reduced, smooth, spread

SMOOTH_WORK = 50_000
"""Steps that nginx's order may cost at a change of state (about 3 ms); above, earliest deadline."""

MAX_PERIOD = 65_536
"""The longest order that is held; above, each turn is computed when it comes."""

MAX_LOOK = 256
"""Turns of full or tried servers that are passed over; then the first with room does."""


class RoundRobin(Plain):
    """
    Each server in its turn, by weight, spread evenly.

    The sequence is nginx's while computing a period stays cheap, and earliest deadline first above
    that. A change goes on with the server whose turn it was, or the next one that is still there.
    """

    def __init__(self) -> None:
        self._turns: deque[Server] = deque()
        self._servers: Sequence[Server] = ()
        self._weights: list[int] = []
        self._endless: Iterator[int] | None = None

    def rebuild(self, servers: Sequence[Server]) -> None:
        """Compute a period of turns."""
        weights = reduced([server.effective_weight for server in servers])
        if servers == self._servers and weights == self._weights:
            return
        staying = set(servers)
        due = next((server for server in self._turns if server in staying), None)
        self._servers, self._weights = servers, weights
        self._endless = None
        if sum(weights) > MAX_PERIOD:
            # Only a window is held, so that `rank` can look ahead; each choice moves it on.
            self._endless = endless(weights)
            order = list(islice(self._endless, len(servers)))
        elif len(set(weights)) <= 1:
            order = list(range(len(servers)))
        elif sum(weights) * len(weights) <= SMOOTH_WORK:
            order = smooth(weights)
        else:
            order = spread(weights)
        self._turns = deque(servers[index] for index in order)
        if due is not None and due in self._turns:
            self._turns.rotate(-self._turns.index(due))

    def choose(self, key: bytes | None, tried: Collection[Server] = ()) -> Server | None:
        """The server whose turn it is. About 0.15 us: the hottest line of the room."""
        turns = self._turns
        if not turns or self._endless is not None:
            return self._choose_endless(tried)
        server = turns[0]
        turns.rotate(-1)
        if server.in_flight < server.limit and not tried:
            return server
        return self._choose_other(server, tried)

    def rank(self, key: bytes | None) -> Iterator[Server]:
        """Servers by their next turns, as far as `choose` looks, then in the site file's order."""
        everyone = (*islice(self._turns, MAX_LOOK), *self._servers)
        return (s for s in dict.fromkeys(everyone) if s.in_flight < s.limit)

    def _choose_other(self, server: Server, tried: Collection[Server]) -> Server | None:
        turns = self._turns
        for _ in range(min(len(turns), MAX_LOOK)):
            if server.in_flight < server.limit and server not in tried:
                return server
            server = turns[0]
            turns.rotate(-1)
        return self._any(tried)

    def _choose_endless(self, tried: Collection[Server]) -> Server | None:
        if self._endless is None:
            return None
        for _ in range(min(len(self._turns), MAX_LOOK)):
            server = self._turns.popleft()
            self._turns.append(self._servers[next(self._endless)])
            if server.in_flight < server.limit and server not in tried:
                return server
        return self._any(tried)

    def _any(self, tried: Collection[Server]) -> Server | None:
        for server in self._servers:
            if server.in_flight < server.limit and server not in tried:
                return server
        return None
