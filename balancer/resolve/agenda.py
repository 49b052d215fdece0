"""
What is due when, for thousands of names: a heap, asked for a few at a time. Pure.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush


class Agenda:
    """Names, each with the one time at which it is due."""

    __slots__ = ("_heap", "_when")

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._when: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._when)

    def put(self, name: str, when: float) -> None:
        """It is due at `when`, and at no other time."""
        self._when[name] = when
        heappush(self._heap, (when, name))
        # What was put off lies about in the heap: no more of that than of what counts.
        if len(self._heap) > 2 * len(self._when) + 16:
            self._heap = [(when, name) for name, when in self._when.items()]
            heapify(self._heap)

    def drop(self, name: str) -> None:
        """It is not due any more; harmless if it is not there."""
        self._when.pop(name, None)

    def due(self, now: float, most: int) -> list[str]:
        """At most so many that are due at `now`, the earliest first; they are taken off."""
        found: list[str] = []
        while len(found) < most and (when := self.next()) is not None and when <= now:
            name = heappop(self._heap)[1]
            del self._when[name]
            found.append(name)
        return found

    def next(self) -> float | None:
        """When something is due next."""
        while self._heap:
            when, name = self._heap[0]
            if self._when.get(name) == when:
                return when
            heappop(self._heap)
        return None
