"""
The table of UDP flows: a bounded map from 5-tuples to flows that stay on their server. Pure.

Knows keys, servers' names and which flow gives way. Must not know sockets, clocks, or what a
datagram says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """What the table needs of a flow: its key, and its server's key ('' while it has none)."""

    key: Hashable
    server_key: str


FlowT = TypeVar("FlowT", bound=Kept)


class Flows(Generic[FlowT]):
    """
    At most `most` flows by key: (client address and port, local address, listener).

    When the table is full a new flow takes the place of the oldest one that no server has answered,
    as Linux' conntrack does (early_drop): a flood of forged sources cannot push out flows that
    work. If all have been answered the new flow is refused.

    `by_key` is for look-ups on the hot path and for nothing else.
    """

    __slots__ = ("_of", "_unanswered", "by_key", "most")

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"expected room for a flow at least, got {most}")
        self.most = most
        self.by_key: dict[Hashable, FlowT] = {}
        # Ordered by links: a dict walks over the holes that its removed first keys leave.
        self._unanswered: OrderedDict[Hashable, FlowT] = OrderedDict()
        self._of: dict[str, dict[Hashable, FlowT]] = {}

    def __len__(self) -> int:
        return len(self.by_key)

    def __iter__(self) -> Iterator[FlowT]:
        return iter(tuple(self.by_key.values()))

    def room(self) -> tuple[bool, FlowT | None]:
        """Whether one more flow may come, and which one must go for it first (None: none). The
        caller ends that flow, which removes it."""
        if len(self.by_key) < self.most:
            return True, None
        oldest = next(iter(self._unanswered.values()), None)
        if oldest is None:
            return False, None
        return True, oldest

    def add(self, flow: FlowT) -> None:
        """Keep a new flow. ValueError: there is no room, or its key is there already."""
        if len(self.by_key) >= self.most or flow.key in self.by_key:
            raise ValueError(f"no room for flow {flow.key!r}")
        self.by_key[flow.key] = flow
        self._unanswered[flow.key] = flow
        self._of.setdefault(flow.server_key, {})[flow.key] = flow

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
        return True

    def of(self, server_key: str) -> tuple[FlowT, ...]:
        """The flows of that server."""
        return tuple(self._of.get(server_key, {}).values())

    def _leave_server(self, flow: FlowT) -> None:
        mates = self._of[flow.server_key]
        del mates[flow.key]
        if not mates:
            del self._of[flow.server_key]
