"""
The table of UDP flows: a bounded map from 5-tuples to flows that stay on their server. Pure.

Knows keys, servers' names and which flow gives way. Must not know sockets, clocks, or what a
datagram says.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """What the table needs of a flow: its key, and its server's key ('' while it has none)."""

    server_key: str

    @property
    def key(self) -> Hashable:
        """What it is found by; it never changes."""


FlowT = TypeVar("FlowT", bound=Kept)


class Places(Generic[FlowT]):
    """
    At most `most` flows in several tables together: each flow has a file descriptor.

    When all places are taken, a new flow takes that of the oldest unanswered one of the table that
    has most of those: a flood at one listener does not starve the others.
    """

    __slots__ = ("_tables", "most", "taken")

    def __init__(self, most: int = sys.maxsize) -> None:
        self.most = most
        self.taken = 0
        self._tables: set[Flows[FlowT]] = set()

    @property
    def full(self) -> bool:
        """Whether one more flow needs the place of another."""
        return self.taken >= self.most

    def giving_way(self) -> FlowT | None:
        """Which flow must go first for a new one; None: all have been answered."""
        flooded = max(self._tables, key=lambda table: table.unanswered, default=None)
        return None if flooded is None else flooded.oldest_unanswered()

    def take(self, table: Flows[FlowT]) -> None:
        """One flow more in `table`."""
        self.taken += 1
        self._tables.add(table)

    def give(self, table: Flows[FlowT]) -> None:
        """One flow less in `table`."""
        self.taken -= 1
        if not len(table):
            self._tables.discard(table)


class Flows(Generic[FlowT]):
    """
    At most `most` flows by key: (client address and port, local address, listener).

    When the table is full, or all `places` that it shares with others are taken, a new flow takes
    the place of the oldest one that no server has answered, as Linux' conntrack does (early_drop):
    a flood of forged sources cannot push out flows that work. If all have been answered the new
    flow is refused.

    `by_key` is for look-ups on the hot path and for nothing else.
    """

    __slots__ = ("_of", "_unanswered", "by_key", "most", "places")

    def __init__(self, most: int, places: Places[FlowT] | None = None) -> None:
        if most < 1:
            raise ValueError(f"expected room for a flow at least, got {most}")
        self.most = most
        self.places: Places[FlowT] = Places() if places is None else places
        self.by_key: dict[Hashable, FlowT] = {}
        # Ordered by links: a dict walks over the holes that its removed first keys leave.
        self._unanswered: OrderedDict[Hashable, FlowT] = OrderedDict()
        self._of: dict[str, dict[Hashable, FlowT]] = {}

    def __len__(self) -> int:
        return len(self.by_key)

    def __iter__(self) -> Iterator[FlowT]:
        return iter(tuple(self.by_key.values()))

    def room(self) -> tuple[bool, FlowT | None]:
        """Whether one more flow may come, and which one must go first (None: none), maybe of
        another table. The caller ends that flow, which removes it. A table that is over its bound,
        since that was lowered, shrinks by one each time."""
        held = len(self.by_key)
        if held >= self.most:
            oldest = self.oldest_unanswered()
            return held == self.most and oldest is not None, oldest
        if self.places.full:
            oldest = self.places.giving_way()
            return self.places.taken == self.places.most and oldest is not None, oldest
        return True, None

    @property
    def full(self) -> bool:
        """Whether this table has all that it may have, whatever the others have."""
        return len(self.by_key) >= self.most

    @property
    def unanswered(self) -> int:
        """How many flows no server has answered."""
        return len(self._unanswered)

    def oldest_unanswered(self) -> FlowT | None:
        """The flow that gives way first."""
        return next(iter(self._unanswered.values()), None)

    def add(self, flow: FlowT) -> None:
        """Keep a new flow. ValueError: there is no room, or its key is there already."""
        if self.full or self.places.full or flow.key in self.by_key:
            raise ValueError(f"no room for flow {flow.key!r}")
        self.by_key[flow.key] = flow
        self._unanswered[flow.key] = flow
        self._of.setdefault(flow.server_key, {})[flow.key] = flow
        self.places.take(self)

    def answered(self, flow: FlowT) -> None:
        """Its server has answered: it gives way to nobody any more."""
        self._unanswered.pop(flow.key, None)

    def moved(self, flow: FlowT, server_key: str) -> None:
        """It is on another server now ('': on none); that one must answer anew."""
        self._leave_server(flow)
        flow.server_key = server_key
        self._of.setdefault(server_key, {})[flow.key] = flow
        self._unanswered[flow.key] = flow

    def remove(self, flow: FlowT) -> bool:
        """Forget the flow; False if it is not there."""
        if self.by_key.get(flow.key) is not flow:
            return False
        del self.by_key[flow.key]
        self._unanswered.pop(flow.key, None)
        self._leave_server(flow)
        self.places.give(self)
        return True

    def of(self, server_key: str) -> tuple[FlowT, ...]:
        """The flows of that server."""
        return tuple(self._of.get(server_key, {}).values())

    def _leave_server(self, flow: FlowT) -> None:
        mates = self._of[flow.server_key]
        del mates[flow.key]
        if not mates:
            del self._of[flow.server_key]
