"""
The overrides file at work: looked at every second, and put in force by the verbs of `lbctl`.

A line is applied when it appears or changes; what the operator does by lbctl afterwards counts
until then. When it goes away, the server is given back, if it still is as the line wanted it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.slices import Slices
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.site.overrides import MAX_FILE, MAX_PROBLEMS, NONE, Overrides, Rule, read
from balancer.site.registry import Registry
from balancer.wire.reactor import IWireReactor
from balancer.wire.slices import in_slices
from balancer.wire.stamps import Stamps, stamps
from balancer.wire.statefile import load

FILE: Final = "overrides"

LOOK: Final = 1.0
"""Seconds between two looks at the file."""

SETTLED: Final = 0.1
"""Seconds for which a changed file must stay as it is before it is read: who writes it in place has
emptied it first, and that would give everybody back."""

SERVERS_A_SLICE: Final = 200
"""Servers that rules are looked up for in one slice: some 1 ms, with many globs 10."""

CHANGES_A_SLICE: Final = 20
"""Servers that are changed in one slice: each is an event to all subscribers and a line in the log,
some 0.3 ms."""


@frozen
class Held:
    """What the file says of a server, and whether that is why the server is so."""

    rule: Rule
    took: bool


@define(eq=False)
class Overriding:
    """Follows the file while it is started. `publish` tells the site what happened in a pool."""

    _reactor: IWireReactor
    _registry: Registry
    _state: str
    _publish: Callable[[Pool, Sequence[Event]], None]
    _faults: tuple[str, ...] = field(default=(), init=False)
    _strange: tuple[str, ...] = field(default=(), init=False)
    _rules: Overrides = field(default=NONE, init=False)
    _seen: Stamps | None = field(default=None, init=False)
    _coming: Stamps | None = field(default=None, init=False)
    _held: dict[Server, Held] = field(factory=dict, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _applying: Deferred[None] | None = field(default=None, init=False)
    _again: bool = field(default=False, init=False)
    _log = Logger()

    @property
    def path(self) -> str:
        """Where the file is."""
        return os.path.join(self._state, FILE)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the file as it is now, and which servers in force are not there."""
        return (*self._faults, *self._strange)

    def start(self) -> None:
        """Put the file in force and look at it from now on."""
        self._call = self._reactor.callLater(LOOK, self._look)
        self._seen = self._coming = stamps([self.path])
        self._read(first=True)
        self._apply()

    def stop(self) -> None:
        """Look no more. What is in force stays so."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._applying is not None:
            self._applying.cancel()
            self._applying = None

    def renew(self) -> None:
        """There may be other servers now."""
        if self._call is not None:
            self._apply()

    def _look(self) -> None:
        seen = stamps([self.path])
        settled, self._coming = seen == self._coming, seen
        self._call = self._reactor.callLater(LOOK if settled else SETTLED, self._look)
        if settled and seen != self._seen:
            self._seen = seen
            if self._read():
                self._apply()

    def _read(self, first: bool = False) -> bool:
        """Whether there is something to put in force."""
        try:
            rules = read(load(self.path, MAX_FILE) or b"", self.path)
        except OSError as error:
            rules = Overrides({}, problems=(f"{self.path}: {error.strerror or error}",))
        self._faults = rules.problems
        for problem in rules.problems:
            self._log.error("{problem}", problem=problem)
        if rules.problems and not first:
            # A slip must not give back what the line took, nor what follows it.
            self._log.error("{path} changes nothing until it is right", path=self.path)
            return False
        self._rules = rules
        return True

    def _apply(self) -> None:
        if self._applying is not None:
            self._again = True
            return
        if not (self._rules.single or self._rules.globs or self._held or self._strange):
            return
        self._applying = in_slices(self._reactor, self._applied())
        self._applying.addErrback(self._failed)
        self._applying.addCallback(self._done)

    def _failed(self, failure: Failure) -> None:
        if self._call is not None:
            self._log.failure("{path} could not be applied", failure=failure, path=self.path)

    def _done(self, _: object) -> None:
        self._applying = None
        if self._again and self._call is not None:
            self._again = False
            self._apply()

    def _applied(self) -> Slices[None]:
        """Hold the rules against every server. A reload that comes between has it done again."""
        rules = self._rules
        present: dict[str, Server] = {}
        changed = 0
        for name, pool in list(self._registry.pools.items()):
            globs = rules.of_pool(name)
            for at, server in enumerate(pool.servers):
                if at % SERVERS_A_SLICE == 0 or changed >= CHANGES_A_SLICE:
                    changed = 0
                    yield
                present[server.key] = server
                events = self._follow(pool, server, rules.rule(server.key, server.name, globs))
                if events:
                    changed += 1
                    self._publish(pool, events)
        gone = [server for server in self._held if present.get(server.key) is not server]
        for server in gone:
            del self._held[server]
        unknown = [rule for key, rule in rules.single.items() if key not in present]
        self._tell_of(unknown[:MAX_PROBLEMS])

    def _tell_of(self, rules: Sequence[Rule]) -> None:
        """These are about servers that are not there: they may be some day, so it is no fault."""
        before, self._strange = self._strange, tuple(
            f"{self.path}:{rule.line}: no server {rule.pool}/{rule.server} in the site file"
            for rule in rules
        )
        for text in self._strange:
            if text not in before:
                self._log.warn("{text}", text=text)

    def _follow(self, pool: Pool, server: Server, rule: Rule | None) -> Sequence[Event]:
        """Have the server be as its rule says, if that is news."""
        before = self._held.get(server)
        if rule is None:
            self._held.pop(server, None)
            return () if before is None else self._give_back(pool, server, before)
        if before is not None and before.rule.word == rule.word:
            self._held[server] = Held(rule, before.took)
            return ()
        took = server.admin != rule.word or (before is not None and before.took)
        self._held[server] = Held(rule, took)
        verb = {"drain": pool.drain, "maint": pool.maintain, "ready": pool.ready}[rule.word]
        return verb(server, f"overrides, line {rule.line}")

    def _give_back(self, pool: Pool, server: Server, held: Held) -> Sequence[Event]:
        """Its line is gone: it is as the site file says, unless somebody else wanted it as it is
        or wants it otherwise by now."""
        if not held.took or held.rule.word == "ready" or server.admin != held.rule.word:
            return ()
        why = "no more in overrides"
        if server.settings.disabled:
            return pool.maintain(server, why)
        return pool.ready(server, why)
