"""
What the site knows of its parts: which balancer uses which pool, who is healthy, what happened.

Pure: events come in with their time, and go to plain subscribers in the same call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from attrs import define, field

from balancer.interfaces import Followed, Published
from balancer.pool.events import Event
from balancer.pool.pool import Pool

KEPT_EVENTS = 1000
"""How many of the latest events are kept for those who ask later."""


@define(eq=False)
class Registry:
    """Pools by name, the pools of each balancer, and the events of all."""

    pools: Mapping[str, Pool]
    uses: Mapping[str, tuple[str, ...]]
    """`http:web` to the names of the pools that it uses; empty for one that needs none."""

    events: deque[Published] = field(factory=lambda: deque(maxlen=KEPT_EVENTS), init=False)
    _subscribers: list[Callable[[Published], None]] = field(factory=list, init=False)
    _watchers: list[Callable[[Published], None]] = field(factory=list, init=False)
    _last_id: int = field(default=0, init=False)

    def know(self, pools: Mapping[str, Pool], uses: Mapping[str, tuple[str, ...]]) -> None:
        """These are the pools and balancers from now on."""
        self.pools = pools
        self.uses = uses

    def health(self, name: str) -> bool:
        """
        Whether `name` can do its work: a pool with a server that may get work, or a balancer
        (`http:web`) that uses such a pool or none. KeyError for an unknown name.
        """
        pool = self.pools.get(name)
        if pool is not None:
            return pool.available
        used = self.uses[name]
        return not used or any(self.pools[each].available for each in used)

    def proven(self, key: str) -> bool:
        """As `health` of a balancer, but a server that no check has seen yet proves nothing."""
        used = self.uses[key]
        return not used or any(
            server.usable and server.verdict == "up"
            for each in used
            for server in self.pools[each].servers
        )

    def healthy(self) -> bool:
        """Whether every balancer is healthy."""
        return all(self.health(name) for name in self.uses)

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        """Call `subscriber` for each event of a pool from now on."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        """Call `subscriber` no more; it may be told in the middle of being called."""
        self._subscribers = [each for each in self._subscribers if each != subscriber]

    def watch(self, watcher: Callable[[Published], None]) -> None:
        """Call `watcher` for everything that happens from now on: what balancers did, too."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[Published], None]) -> None:
        """Call it no more; it may be told in the middle of being called."""
        self._watchers = [each for each in self._watchers if each != watcher]

    def publish(self, pool: str, events: Iterable[Event], at: float) -> None:
        """Number each event, keep it with its time `at` (Unix seconds), and tell everybody."""
        for event in events:
            published = self._kept(pool, event, at)
            for subscriber in self._subscribers:
                subscriber(published)
            for watcher in self._watchers:
                watcher(published)

    def tell(self, followed: Followed, at: float) -> None:
        """The same for what a balancer did; only those who watch are told."""
        published = self._kept("", followed, at)
        for watcher in self._watchers:
            watcher(published)

    def _kept(self, pool: str, event: Event | Followed, at: float) -> Published:
        self._last_id += 1
        published = Published(self._last_id, at, pool, event)
        self.events.append(published)
        return published
