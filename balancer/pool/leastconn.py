"""Least connections: the server with the least work in flight for its weight."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from balancer.pool.schedulers import Finished, Plain
from balancer.pool.server import Server

Entry = tuple[float, float, int, Server]  # load, turn, place in the site file


class LeastConnections(Plain):
    """
    The least `in_flight / weight`; among equals, weighted round-robin.

    A heap with one valid entry a server, which may say less than the truth: begun work is looked
    at when the entry comes to the top, and a full server has none until it has room. Ended work
    pushes a new entry; the old one is dropped when it surfaces, and the heap is made anew when it
    holds more dropped ones than valid ones. So a choice costs O(log n) however many servers there
    are, and nothing when all are full.
    """

    def __init__(self) -> None:
        self._servers: Sequence[Server] = ()
        self._heap: list[Entry] = []
        self._place: dict[Server, int] = {}
        self._clock = 0.0

    @property
    def finished(self) -> Finished | None:
        """Ended work makes a server more eligible."""
        return self._lighter

    def rebuild(self, servers: Sequence[Server]) -> None:
        """One entry for each server; those that stay keep their turns."""
        before = set(self._servers)
        for server in self._servers:
            server.entry = None
        self._servers = servers
        self._place = {server: place for place, server in enumerate(servers)}
        for server in servers:
            if server not in before:
                server.turn = self._clock + 0.5 / server.effective_weight
            server.entry = self._entry(server)
        self._renew()

    def choose(self, key: bytes | None, tried: Collection[Server] = ()) -> Server | None:
        """The least loaded one."""
        heap = self._heap
        aside: list[Entry] = []
        chosen = None
        while heap:
            entry = heap[0]
            server = entry[3]
            if server.entry is not entry:
                heappop(heap)
            elif server.in_flight / server.effective_weight != entry[0] or server.turn != entry[1]:
                server.entry = self._entry(server)
                heapreplace(heap, server.entry)
            elif server.in_flight >= server.limit:
                heappop(heap)
                server.entry = None
            elif server in tried:
                aside.append(heappop(heap))
            else:
                chosen = server
                break
        for entry in aside:
            heappush(heap, entry)
        if chosen is not None:
            # Who was busy for long has missed its turns: it must not get them all at once.
            self._clock = max(self._clock, chosen.turn)
            chosen.turn = self._clock + 1 / chosen.effective_weight
        return chosen

    def rank(self, key: bytes | None) -> Iterator[Server]:
        """By load, then by turn."""
        roomy = (server for server in self._servers if server.in_flight < server.limit)
        return iter(sorted(roomy, key=lambda server: self._entry(server)[:3]))

    def _entry(self, server: Server) -> Entry:
        load = server.in_flight / server.effective_weight
        return load, server.turn, self._place[server], server

    def _lighter(self, server: Server) -> None:
        if server not in self._place:
            return
        entry = server.entry
        if entry is not None and server.in_flight / server.effective_weight >= entry[0]:
            return
        server.entry = self._entry(server)
        heappush(self._heap, server.entry)
        if len(self._heap) > 2 * len(self._servers) + 16:
            self._renew()

    def _renew(self) -> None:
        self._heap = [server.entry for server in self._servers if server.entry is not None]
        heapify(self._heap)
