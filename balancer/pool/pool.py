"""
A pool: its servers, the one verdict on each, and who gets the next piece of work.

Pure: time comes as `now` (seconds, monotonic), chance as a `random.Random`. It returns events and
waiters; publishing them and letting waiters go is the caller's part. Changes of state pay for
everything that can be decided then; `choose`, `begin` and `finish` are the hot path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from random import Random
from typing import Any

from balancer.pool.departed import Departed
from balancer.pool.events import Event
from balancer.pool.keyed import Keyed
from balancer.pool.lineup import Configured, lineup
from balancer.pool.queue import Queue, Waiter, tried_by
from balancer.pool.server import Server
from balancer.pool.settings import KeySource, PoolSettings
from balancer.pool.succession import Succession
from balancer.pool.tiers import Standing, stand, why_not
from balancer.pool.verdicts import Verdicts

SLICES_A_TICK = 4
"""Slices of put-off work that a tick does: 5 to 10 ms, so that no reactor turn gets long."""

FAILURE_LATENCY = 1.0
"""What ewma takes a failure for at least, in seconds: who fails fast must not look fast."""


class Pool(Verdicts):
    """
    Servers that do the same work.

    After `record`, `ready`, `set_weight`, `reconfigure` or `tick` a server may have room for work
    that waits: call `admit` then, and let the waiters that it returns go.
    """

    def __init__(
        self, settings: PoolSettings, servers: Configured, now: float, random: Random
    ) -> None:
        """`servers`: each with its opaque address, in the order of the site file."""
        super().__init__(settings, servers, now)
        self.retries_total = 0
        self.queued_total = 0
        self.queue_refused_total = 0
        self.queue_expired_total = 0
        self._queue = Queue(settings.queue)
        self._waiters = self._queue.waiters
        self._succession = Succession(settings, self.servers, random)
        self.needs_key: KeySource = settings.algorithm.key
        self._standing = Standing((), False, False)
        self._departed = Departed()
        self._bind()

    def reconfigure(
        self, settings: PoolSettings, servers: Configured, now: float
    ) -> Sequence[Event]:
        """
        The site file says this from now on. Raises ValueError and changes nothing if there is no
        such algorithm, or `settings` are another pool's.

        A server of the same name and address stays, with all that is known of it; where its line
        changed, the line counts, elsewhere what the operator set at run time. One that is removed
        gets no new work from this moment on; its work in flight ends by `finish` as ever. A keyed
        algorithm's new table is built by `tick`; until then the algorithm in force decides, though
        `needs_key` is the new one's already. Whoever waits goes on waiting: call `admit`, also if
        nothing is returned; and `trust_all`, if nobody checks the pool or will any more.
        """
        if settings.name != self.name:
            raise ValueError(f"expected settings of the pool {self.name}, got {settings.name}'s")
        change = lineup(self.name, self.servers, servers, now)
        if settings == self.settings and not change.differs(self.servers):
            return ()
        self._succession.follow(settings, change.servers)
        # Nothing below can fail.
        events = self._follow(settings, change, now)
        self._succession.enlist(self.servers)
        self._queue.bound = settings.queue
        self.needs_key = settings.algorithm.key
        self._departed.add(change.removed)
        return events

    @property
    def leaving(self) -> tuple[Server, ...]:
        """Servers that were removed, and whose work has not ended yet."""
        self._departed.forget_idle()
        return self._departed.busy

    # The hot path

    def choose(self, key: bytes | None, tried: Collection[Server] = ()) -> Server | None:
        """The best server for `key` that may get work, has room, and is not in `tried`; None:
        nobody, and the caller may `enqueue`. A call with `tried` counts as a retry; when it has all
        who may get work, those come in who would if these were down: backups, and servers that
        are not checked yet."""
        if self._stale:
            self._settle()
        if not tried:
            return self._choose(key, tried)
        self.retries_total += 1
        return self._choose(key, tried) or self._next_best(tried)

    def _next_best(self, tried: Collection[Server]) -> Server | None:
        if any(server not in tried for server in self._standing.candidates):
            return None  # they are full, not failing
        others = [server for server in self.servers if server not in tried]
        for server in stand(others, 0.0).candidates:
            if server.in_flight < server.limit:
                return server
        return None

    def others_are_full(self, tried: Collection[Server]) -> bool:
        """After `choose` gave nobody: whether there are servers besides `tried` that merely have no
        room now, so that waiting in the queue makes sense."""
        self._settle()
        if any(server not in tried for server in self._standing.candidates):
            return True
        others = [server for server in self.servers if server not in tried]
        return bool(stand(others, 0.0).candidates)

    def begin(self, server: Server, now: float) -> None:
        """Work starts on `server`. Exactly one `finish` must follow."""
        server.in_flight += 1
        server.requests_total += 1

    def finish(self, server: Server, now: float) -> Waiter | None:
        """Work on `server` ended, well or not. A waiter that is returned may go now, on this
        server, and is already begun there. ValueError: there was no `begin`."""
        if server.in_flight <= 0:
            raise ValueError(f"finish without begin on {server.key}")
        server.in_flight -= 1
        if self._finished is not None:
            if self._stale:  # the order will be made anew, and knows then
                self._settle()
            else:
                self._finished(server)
        if self._waiters:
            return self._hand_over(server, now)
        return None

    def succeeded(self, server: Server, latency: float, now: float) -> Sequence[Event]:
        """The server answered after `latency` seconds."""
        if self._observed is not None:
            self._observed(server, latency, now)
        elif server.latency:
            server.latency += (latency - server.latency) * 0.1
        else:
            server.latency = latency
        return ()

    def failed(self, server: Server, reason: str, now: float) -> Sequence[Event]:
        """Work on the server failed by the server's fault. Enough of that ejects it."""
        server.failures_total += 1
        if self._observed is not None:
            self._observed(server, max(FAILURE_LATENCY, server.latency), now)
        return self._failed_at_work(server, reason, now)

    # Explaining

    def rank(self, key: bytes | None) -> Iterator[Server]:
        """Servers that may get work and have room, best first, starting with what `choose` would
        give now. Changes nothing; do not hold it over other calls."""
        self._settle()
        return self._succession.present.rank(key)

    def slots(self) -> list[Server]:
        """For keyed algorithms: the server of each slot of the table while none is full, as a
        kernel's map needs it (about 10 ms). Empty: nobody may get work, or there is no table."""
        self._settle()
        scheduler = self._succession.present
        return scheduler.slots() if isinstance(scheduler, Keyed) else []

    def candidates(self) -> list[tuple[Server, bool, str]]:
        """Every server, whether it may get work now, and why not."""
        self._settle()
        reasons = [(server, why_not(server, self._now)) for server in self.servers]
        return [(server, not reason, reason) for server, reason in reasons]

    @property
    def available(self) -> bool:
        """The pool's health: a server may get work that is not known to be failing. Not yet
        checked counts as available, a panic with no server usable does not."""
        self._settle()
        return self._standing.available

    @property
    def panicking(self) -> bool:
        """Whether so few servers are usable that all are used."""
        self._settle()
        return self._standing.panicking

    def status(self) -> dict[str, Any]:
        """The pool for JSON."""
        self._settle()
        return {
            "name": self.name,
            "algorithm": str(self.settings.algorithm),
            "available": self._standing.available,
            "panicking": self._standing.panicking,
            "queue_length": len(self._queue),
            "queue_bound": self._queue.bound,
            "queued_total": self.queued_total,
            "queue_refused_total": self.queue_refused_total,
            "queue_expired_total": self.queue_expired_total,
            "retries_total": self.retries_total,
            **self._departed.totals(self.servers),
            "servers": [server.status() for server in self.servers],
            "leaving": [server.status() for server in self.leaving],
        }

    # Waiting

    @property
    def queue_length(self) -> int:
        """How many wait."""
        return len(self._queue)

    def enqueue(self, waiter: Waiter, now: float) -> bool:
        """Let `waiter` wait for room; False: the queue is full (or off), refuse the work."""
        if self._queue.add(waiter):
            self.queued_total += 1
            return True
        self.queue_refused_total += 1
        return False

    def forget(self, waiter: Waiter) -> None:
        """The waiter gave up; harmless if it does not wait."""
        self._queue.forget(waiter)

    def expired(self, now: float) -> list[Waiter]:
        """Waiters whose deadline has come; they wait no more."""
        late = self._queue.expired(now)
        self.queue_expired_total += len(late)
        return late

    def admit(self, now: float) -> list[tuple[Waiter, Server]]:
        """Waiters that may go now, each with its server, on which it is already begun. To be called
        after events: a server came up, got ready, or more weight."""
        gone: list[tuple[Waiter, Server]] = []
        if not self._queue:
            return gone
        self._settle()
        for waiter in self._queue.waiting(now):
            tried = tried_by(waiter)
            server = self._choose(getattr(waiter, "key", None), tried)
            if server is None and tried:
                server = self._next_best(tried)
            if server is not None:
                self._queue.forget(waiter)
                self.begin(server, now)
                gone.append((waiter, server))
            elif not tried:
                break  # nobody has room; else only those that failed it have
        return gone

    # Time

    def tick(self, now: float) -> list[Event]:
        """Time went on: ejections end, slow starts proceed, and tables that a change of weights
        asks for are built on. To be called several times a second."""
        for _ in range(SLICES_A_TICK):
            if not self.advance():
                break
        self._departed.forget_idle()
        return super().tick(now)

    def advance(self) -> bool:
        """Do one slice (a few milliseconds) of building what a change asks for, while the old
        table stays in force. True: more is left. Keyed algorithms alone have such work."""
        if self._stale:
            self._settle()
        more = self._succession.advance()
        self._bind()
        return more

    def build(self) -> None:
        """Build all of it now: about 25 ms for 100 servers."""
        while self.advance():
            pass

    def _settle(self) -> None:
        if not self._stale:
            return
        self._stale = False
        self._standing = stand(self.servers, self.settings.panic)
        chosen = set(self._standing.candidates)
        for server in self.servers:
            server.candidate = server in chosen
        self._succession.rebuild(self._standing.candidates)
        self._bind()

    def _bind(self) -> None:
        """Spare the hot path the way to the scheduler that is in force."""
        present = self._succession.present
        self._choose = present.choose
        self._finished = present.finished
        self._observed = present.observed

    def _hand_over(self, server: Server, now: float) -> Waiter | None:
        self._settle()
        if not server.candidate or server.in_flight >= server.limit:
            return None
        waiter = self._queue.first(now, server)
        if waiter is not None:
            self._queue.forget(waiter)
            self.begin(server, now)
        return waiter
