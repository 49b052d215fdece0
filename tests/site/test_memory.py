"""What a process leaves to the next: which servers were up."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, strategies
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.site.memory import BELIEVED, PAUSE, REFRESH, Memory, read
from balancer.site.registry import Registry
from balancer.wire.address import literal


def pool_of(name: str, *servers: str, first: int = 1) -> Pool:
    """A pool of servers at 192.0.2.1, .2 and so on, of which nothing is known."""
    return Pool(
        PoolSettings(name),
        [
            (ServerSettings(each), literal(f"192.0.2.{number}", 80))
            for number, each in enumerate(servers, first)
        ],
        0.0,
        random.Random(1),
    )


class MemoryTests(SynchronousTestCase):
    """A directory that two processes have after each other."""

    def setUp(self) -> None:
        self.state = self.mktemp()
        self.clock = Clock()
        self.written = 0
        self.hold: Deferred[None] | None = None

    def beside(self, work: Callable[[], None]) -> Deferred[None]:
        """At once, unless the test holds it."""
        self.written += 1
        if self.hold is not None:
            return self.hold.addCallback(lambda _: work())
        return maybeDeferred(work)

    def process(self, *pools: Pool) -> tuple[Memory, Registry]:
        """A process that has begun."""
        registry = Registry({pool.name: pool for pool in pools}, {})
        reactor: Any = self.clock
        memory = Memory(reactor, registry, self.state, self.beside)
        memory.recall()
        memory.start()
        return memory, registry

    def record(self, registry: Registry, pool: str, server: str, up: bool = True) -> None:
        """A check's first result."""
        found = registry.pools[pool]
        registry.publish(pool, found.record(found.server(server), up, "", 0.0), 0.0)

    def file(self) -> Any:
        """What is written."""
        return json.loads((Path(self.state) / "verdicts.json").read_bytes())

    def test_remembered(self) -> None:
        """The next process knows who was up, and that is no verdict."""
        first, registry = self.process(pool_of("web", "a", "b", "c"), pool_of("mail", "a"))
        for server, up in (("a", True), ("b", False)):
            self.record(registry, "web", server, up)
        self.assertEqual(first.remembered(registry.pools["web"]), frozenset())
        self.successResultOf(first.stop())
        web = pool_of("web", "a", "b", "c")
        second, _ = self.process(web)
        self.assertEqual(second.remembered(web), {"a"})
        self.assertEqual(second.remembered(pool_of("other", "a")), frozenset())
        self.assertEqual(web.server("a").verdict, "unknown")

    def test_another_address(self) -> None:
        """A server of the same name at another address is another server."""
        first, registry = self.process(pool_of("web", "a", "b"))
        self.record(registry, "web", "a")
        self.record(registry, "web", "b")
        self.successResultOf(first.stop())
        moved = pool_of("web", "b", "a")
        self.assertEqual(self.process(moved)[0].remembered(moved), frozenset())

    def test_not_yet_known(self) -> None:
        """A process that ends before its first checks leaves what it was left."""
        first, registry = self.process(pool_of("web", "a", "b"))
        self.record(registry, "web", "a")
        self.record(registry, "web", "b")
        self.successResultOf(first.stop())
        second, registry = self.process(pool_of("web", "a", "b"))
        self.record(registry, "web", "b", up=False)
        self.successResultOf(second.stop())
        third, registry = self.process(pool_of("web", "a", "b"))
        self.assertEqual(third.remembered(registry.pools["web"]), {"a"})

    def test_seldom(self) -> None:
        """A change is written within a second, many of them once, and without any once an hour."""
        _, registry = self.process(pool_of("web", "a", "b"))
        self.clock.advance(PAUSE)
        self.assertEqual((self.written, self.file()["pools"]), (1, {"web": {}}))
        for _ in range(5):
            for up in (True, False) * 3:
                self.record(registry, "web", "a", up)
        self.record(registry, "web", "b")
        self.clock.advance(PAUSE - 0.1)
        self.assertEqual(self.written, 1)
        self.clock.advance(0.1)
        self.assertEqual(self.written, 2)
        self.assertEqual(self.file()["pools"]["web"]["b"], "192.0.2.2:80")
        self.clock.pump([PAUSE] * 100)
        self.assertEqual(self.written, 2)
        self.clock.advance(REFRESH)
        self.assertEqual(self.written, 3)

    def test_slow_disk(self) -> None:
        """A disk that hangs has one writing to do, and the last state is written after it."""
        memory, registry = self.process(pool_of("web", "a"))
        hold: Deferred[None] = Deferred()
        self.hold = hold
        self.clock.advance(PAUSE)
        for up in (True, False, False, False, True, True):
            self.record(registry, "web", "a", up)
            self.clock.advance(PAUSE)
        self.assertEqual(self.written, 1)
        stopped = memory.stop()
        self.assertNoResult(stopped)
        self.hold = None
        hold.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.file()["pools"], {"web": {"a": "192.0.2.1:80"}})

    def test_reload(self) -> None:
        """Pools come and go."""
        memory, registry = self.process(pool_of("web", "a"))
        self.clock.advance(PAUSE)
        registry.know({"mail": pool_of("mail", "m")}, {})
        self.record(registry, "mail", "m")
        memory.renew()
        self.clock.advance(PAUSE)
        self.assertEqual(self.file()["pools"], {"mail": {"m": "192.0.2.1:80"}})

    def test_cannot_write(self) -> None:
        """Where nothing can be written that is said, once, and the balancer goes on."""
        Path(self.state).write_text("no directory")
        memory, registry = self.process(pool_of("web", "a"))
        for up in (True, False, False, False):
            self.clock.advance(PAUSE)
            self.record(registry, "web", "a", up)
        self.assertIn("cannot be written", memory.trouble)
        Path(self.state).unlink()
        self.clock.advance(PAUSE)
        self.assertEqual((memory.trouble, self.file()["pools"]), ("", {"web": {}}))

    def test_never_started(self) -> None:
        """A process that did not get as far as to start leaves everything as it was."""
        reactor: Any = self.clock
        memory = Memory(reactor, Registry({}, {}), self.state, lambda work: succeed(None))
        self.successResultOf(memory.stop())
        self.assertFalse(Path(self.state).exists())

    def test_not_ours(self) -> None:
        """A file that is no file of ours is passed over."""
        Path(self.state).mkdir()
        path = Path(self.state) / "verdicts.json"
        for text in ("", "{", "[" * 100_000, '{"version": 2}', "[]", "\xff"):
            path.write_text(text, "latin-1")
            web = pool_of("web", "a")
            self.assertEqual(self.process(web)[0].remembered(web), frozenset())


class ReadTests(SynchronousTestCase):
    """What a file says."""

    def test_any_time(self) -> None:
        """A time that is far too large, or none at all, is not believed, and raises nothing."""
        for saved in ("1" + "0" * 400, "-1" + "0" * 400, "1e999", "NaN"):
            data = f'{{"version": 1, "saved": {saved}, "pools": {{"web": {{"a": "1"}}}}}}'
            self.assertEqual(read(data.encode(), 0.0), {})

    def test_age(self) -> None:
        """What is older than a day, or was written tomorrow, is not believed."""
        now = time.time()
        for age, believed in ((0, True), (BELIEVED - 9, True), (BELIEVED + 9, False),
                              (-BELIEVED - 9, False)):
            data = json.dumps({"version": 1, "saved": now - age, "pools": {"web": {"a": "x"}}})
            self.assertEqual(bool(read(data.encode(), now)), believed)

    @given(strategies.recursive(
        strategies.none() | strategies.text(max_size=3) | strategies.just(1),
        lambda inner: strategies.lists(inner, max_size=2) | strategies.dictionaries(
            strategies.sampled_from(("version", "saved", "pools", "a")), inner, max_size=4),
        max_leaves=8))
    def test_other_json(self, value: Any) -> None:
        """Any JSON is refused, or is addresses by pool and server."""
        try:
            pools = read(json.dumps(value).encode(), 1.0)
        except ValueError:
            return
        for servers in pools.values():
            for address in servers.values():
                self.assertIsInstance(address, str)
