"""
Which servers are up, kept in a file of `[site] state` for the next process: until its first checks
are done, it would otherwise have to take all for equal.

What is remembered is no verdict. It is believed of a server of the same name and address only, and
for a day.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.slices import Slices, finish
from balancer.interfaces import Published
from balancer.pool.events import Moved, WasAdded, WasRemoved, WentDown, WentUp
from balancer.pool.pool import Pool
from balancer.site.registry import Registry
from balancer.wire.reactor import IWireReactor
from balancer.wire.slices import in_slices
from balancer.wire.statefile import MAX_SAVED, load, save

FILE: Final = "verdicts.json"

PAUSE: Final = 1.0
"""Seconds from a change to its writing, and from one writing to the next, at least."""

BELIEVED: Final = 86_400.0
"""Seconds for which what a file says is believed: what was up yesterday may be anything."""

REFRESH: Final = 3600.0
"""Seconds after which a file is written again though nothing changed, so that it is believed."""

_VERSION = 1

_CHANGES = (WentUp, WentDown, WasAdded, WasRemoved, Moved)

Up = Mapping[str, Mapping[str, str]]
"""Addresses by pool and server."""

Beside = Callable[[Callable[[], None]], Deferred[None]]
"""Runs something beside the reactor."""


def read(data: bytes, now: float) -> Up:
    """What a file says at `now` (Unix seconds). Raises ValueError for one that cannot be ours."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict) or found.get("version") != _VERSION:
        raise ValueError(f"expected a mapping of version {_VERSION}")
    saved, pools = found.get("saved"), found.get("pools")
    if not isinstance(saved, (int, float)) or not isinstance(pools, dict):
        raise ValueError("expected the time and the pools")
    for servers in pools.values():
        if not isinstance(servers, dict) or not all(isinstance(at, str) for at in servers.values()):
            raise ValueError("expected addresses of servers")
    return pools if now - BELIEVED <= saved <= now + BELIEVED else {}


@define(eq=False)
class Memory:
    """
    What the last process left, and what is left to the next. `beside` runs the writing, which waits
    for the disk; a thread does by default.
    """

    _reactor: IWireReactor
    _registry: Registry
    _state: str
    _beside: Beside | None = None
    trouble: str = field(default="", init=False)
    """Why nothing is kept at the moment; empty: it is."""
    _before: Up = field(factory=dict, init=False)
    _texts: dict[str, str] = field(factory=dict, init=False)
    _dirty: set[str] = field(factory=set, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _writing: Deferred[None] | None = field(default=None, init=False)
    _started: bool = field(default=False, init=False)
    _log = Logger()

    @property
    def path(self) -> str:
        """Where the file is."""
        return os.path.join(self._state, FILE)

    def recall(self) -> None:
        """Read what the last process left. A file that cannot be believed is passed over."""
        try:
            data = load(self.path, MAX_SAVED)
            self._before = {} if data is None else read(data, time.time())
        except (OSError, ValueError) as error:
            self._log.warn("{path} is not believed: {error}", path=self.path, error=error)

    def remembered(self, pool: Pool) -> frozenset[str]:
        """The names of the servers of `pool` that were up at the same address before."""
        before = self._before.get(pool.name, {})
        return frozenset(
            server.name for server in pool.servers if before.get(server.name) == str(server.address)
        )

    def start(self) -> None:
        """Keep what is learnt from now on."""
        self._started = True
        self._registry.subscribe(self._happened)
        self._dirty.update(self._registry.pools)
        self._write_in(PAUSE)

    def renew(self) -> None:
        """There may be other pools now."""
        if self._started:
            self._dirty.update(self._registry.pools.keys() - self._texts.keys())
            self._write_in(PAUSE)

    def stop(self) -> Deferred[None]:
        """Write what is known now; fires when that is done."""
        if not self._started:
            return succeed(None)
        self._started = False
        self._registry.unsubscribe(self._happened)
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self._writing is not None:
            return self._writing.addCallback(lambda _: self._write(finish(self._told())))
        return self._write(finish(self._told()))

    def _happened(self, published: Published) -> None:
        if isinstance(published.event, _CHANGES):
            self._dirty.add(published.pool)
            if self._writing is None and (self._call is None or not self._is_soon()):
                self._write_in(PAUSE)

    def _is_soon(self) -> bool:
        call = self._call
        return (
            call is not None
            and call.active()
            and call.getTime() <= self._reactor.seconds() + PAUSE
        )

    def _write_in(self, seconds: float) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = self._reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        if self._writing is not None:
            return  # it looks for what is new when it is done
        told = in_slices(self._reactor, self._told())
        self._writing = told.addCallback(self._write).addErrback(self._failed)
        self._writing.addCallback(self._written)

    def _written(self, _: object) -> None:
        self._writing = None
        if self._started:
            self._write_in(PAUSE if self._dirty else REFRESH)

    def _told(self) -> Slices[bytes]:
        """The file, a slice for each pool that changed since the last one."""
        dirty, self._dirty = self._dirty, set()
        for name in dirty:
            pool = self._registry.pools.get(name)
            if pool is not None:
                self._texts[name] = self._text(pool)
            yield
        pools = self._registry.pools
        self._texts = {name: text for name, text in self._texts.items() if name in pools}
        parts = ",\n".join(f"{json.dumps(name)}: {text}" for name, text in self._texts.items())
        head = f'{{"version": {_VERSION}, "saved": {int(time.time())}, "pools": {{\n'
        return f"{head}{parts}\n}}}}\n".encode()

    def _text(self, pool: Pool) -> str:
        before = self._before.get(pool.name, {})
        up = {}
        for server in pool.servers:
            address = str(server.address)
            # What this process does not know yet, the next one still wants to.
            unknown = server.verdict == "unknown" and before.get(server.name) == address
            if server.verdict == "up" or unknown:
                up[server.name] = address
        return json.dumps(up)

    def _write(self, data: bytes) -> Deferred[None]:
        done = (self._beside or self._in_thread)(lambda: save(self.path, data))
        return done.addCallbacks(self._succeeded, self._failed)

    def _in_thread(self, work: Callable[[], None]) -> Deferred[None]:
        reactor: Any = self._reactor
        if not IReactorThreads.providedBy(reactor):
            return maybeDeferred(work)
        done: Deferred[None] = deferToThreadPool(reactor, reactor.getThreadPool(), work)
        return done

    def _succeeded(self, _: object) -> None:
        if self.trouble:
            self._log.info("{path} is written again", path=self.path)
        self.trouble = ""

    def _failed(self, failure: Failure) -> None:
        if failure.check(OSError, ValueError) is None:
            self._log.failure("what is up cannot be written down", failure=failure)
        elif not self.trouble:
            self._log.warn("{path} cannot be written: {why}", path=self.path, why=failure.value)
        self.trouble = f"{self.path} cannot be written: {failure.getErrorMessage()}"
