"""`[subdomains NAME]` at work: it follows its pool, and tells what changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.interfaces import (
    IBalancerMaker,
    IExplains,
    INamedServers,
    IPrepared,
    NotDone,
    Published,
)
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.subdomains.maker import maker
from balancer.subdomains.service import Subdomains
from balancer.subdomains.settings import SubdomainsSettings
from balancer.wire.address import literal
from balancer.wire.statefile import save
from tests.lent import Lent


def servers(names: str) -> list[tuple[ServerSettings, Any]]:
    """The lines of servers with names of one letter."""
    return [(ServerSettings(each), literal(f"192.0.2.{ord(each)}", 80)) for each in names]


class Context(Lent):
    """A site with two pools, and a directory for what must survive unless there is none."""

    def __init__(self, state: str) -> None:
        self.reactor = MemoryReactorClock()
        self.state = state
        self.pools = {
            name: Pool(PoolSettings(name), servers(names), 0.0, random.Random(1))
            for name, names in (("web", "ab"), ("other", "x"))
        }
        self.subscribers: list[Callable[[Published], None]] = []

    def pool(self, name: str) -> Pool:
        """A pool by name."""
        return self.pools[name]

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One more."""
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One less; harmless if it is none."""
        self.subscribers = [each for each in self.subscribers if each != subscriber]

    def change(self, pool: str, names: str) -> None:
        """The pool has these servers from now on."""
        events: Sequence[Any] = self.pools[pool].reconfigure(
            PoolSettings(pool), servers(names), 1.0
        )
        for at, event in enumerate(events):
            for subscriber in self.subscribers:
                subscriber(Published(at, 0.0, pool, event))


def write(path: str, data: bytes) -> Deferred[None]:
    """Write at once."""
    written: Deferred[None] = maybeDeferred(save, path, data)
    return written


class SubdomainsTestCase(SynchronousTestCase):
    """A section for the pool `web` in the zone Example.test."""

    def setUp(self) -> None:
        self.context = Context(self.mktemp())
        self.told = 0

    def made(self, **options: Any) -> Subdomains:
        """The balancer, with its settings in force."""
        context: Any = self.context
        balancer = Subdomains("www", context, write)
        self.take(balancer, **options)
        balancer.changed(self.tell)
        return balancer

    def take(self, balancer: Subdomains, **options: Any) -> None:
        """Other settings."""
        settings = SubdomainsSettings(**{"zone": "Example.test", "pool": "web", **options})
        prepared = balancer.prepare(settings)
        verifyObject(IPrepared, prepared)
        prepared.commit()

    def tell(self) -> None:
        """Something changed."""
        self.told += 1


class NamesTests(SubdomainsTestCase):
    """What it tells others."""

    def test_interfaces(self) -> None:
        """It is a balancer whose servers have names, and explains itself; so is its maker's."""
        balancer = self.made()
        verifyObject(INamedServers, balancer)
        verifyObject(IExplains, balancer)
        verifyObject(IBalancerMaker, maker)
        context: Any = self.context
        self.assertIsInstance(maker.make("www", context), Subdomains)

    def test_names(self) -> None:
        """Each server has a name within the zone, in lower case."""
        balancer = self.made(ttl=5.0)
        self.assertEqual(
            balancer.names(), {"a": "www1.example.test", "b": "www2.example.test"}
        )
        self.assertEqual((balancer.zone, balancer.ttl), ("Example.test", 5.0))
        self.assertIs(balancer.pool, self.context.pools["web"])

    def test_before_its_time(self) -> None:
        """Before the first commit there are no names, and nobody is told of any."""
        context: Any = self.context
        balancer = Subdomains("www", context)
        self.assertEqual(balancer.names(), {})
        self.assertEqual(balancer.status()["names"], {})
        self.assertRaises(KeyError, balancer.location, "a")
        self.assertRaises(NotDone, balancer.explain, {})
        balancer.prepare(SubdomainsSettings(zone="z", pool="web")).abandon()
        self.assertEqual((balancer.names(), self.context.subscribers), ({}, []))

    def test_location(self) -> None:
        """A URL has the section's scheme and port, else the client's, and no port that is the
        scheme's own."""
        for options, asked, told in (
            ({}, ("http", 80), "http://www1.example.test"),
            ({}, ("http", 0), "http://www1.example.test"),
            ({}, ("http", 8080), "http://www1.example.test:8080"),
            ({}, ("https", 443), "https://www1.example.test"),
            ({}, ("https", 80), "https://www1.example.test:80"),
            ({"scheme": "https"}, ("http", 8080), "https://www1.example.test"),
            ({"scheme": "https"}, ("https", 8443), "https://www1.example.test:8443"),
            ({"port": 81}, ("http", 8080), "http://www1.example.test:81"),
            ({"scheme": "https", "port": 443}, ("http", 80), "https://www1.example.test"),
        ):
            self.assertEqual(self.made(**options).location("a", *asked), told)
        self.assertRaises(KeyError, self.made().location, "c")

    def test_follows(self) -> None:
        """Servers that come and go are told of once, after the turn in which they do."""
        balancer = self.made()
        self.context.change("web", "bcd")
        self.assertEqual(self.told, 0)
        self.context.reactor.advance(0)
        self.assertEqual(self.told, 1)
        self.assertEqual(
            [balancer.names()[each] for each in "bcd"],
            ["www2.example.test", "www3.example.test", "www4.example.test"],
        )

    def test_asked_in_between(self) -> None:
        """Whoever asks before that gets what is true already, and it is not told twice."""
        balancer = self.made()
        self.context.change("web", "abc")
        self.assertEqual(balancer.location("c"), "http://www3.example.test")
        self.assertEqual(self.told, 1)
        self.context.reactor.advance(0)
        self.assertEqual(self.told, 1)
        self.assertEqual(self.context.reactor.getDelayedCalls(), [])

    def test_other_events(self) -> None:
        """Another pool's servers, and verdicts, change no name."""
        self.made()
        self.context.change("other", "xy")
        for event in self.context.pools["web"].maintain(self.context.pools["web"].server("a")):
            for subscriber in self.context.subscribers:
                subscriber(Published(1, 0.0, "web", event))
        self.assertEqual(self.context.reactor.getDelayedCalls(), [])

    def test_options(self) -> None:
        """Other options, and another pool, are told; the same ones are not."""
        balancer = self.made()
        self.take(balancer)
        self.assertEqual(self.told, 0)
        for options in ({"pattern": "s{n}"}, {"ttl": 9.0}, {"port": 81}, {"pool": "other"}):
            told = self.told
            self.take(balancer, **options)
            self.assertEqual(self.told, told + 1, options)
        self.assertEqual(balancer.names(), {"x": "www3.example.test"})
        self.take(balancer)
        self.assertEqual(balancer.names(), {"a": "www1.example.test", "b": "www2.example.test"})

    def test_unchanged(self) -> None:
        """Whoever wants to hear no more does not, and may say so twice."""
        balancer = self.made()
        for _ in range(2):
            balancer.unchanged(self.tell)
        self.take(balancer, ttl=9.0)
        self.assertEqual(self.told, 0)

    def test_stop(self) -> None:
        """Stopped, it follows nothing any more and leaves no call behind."""
        balancer = self.made()
        balancer.startService()
        self.context.change("web", "abc")
        self.successResultOf(balancer.drain())
        self.successResultOf(balancer.stopService())
        self.assertEqual(self.context.subscribers, [])
        self.assertEqual(self.context.reactor.getDelayedCalls(), [])


class TellingTests(SubdomainsTestCase):
    """What it tells operators."""

    def test_status(self) -> None:
        """The names, and what it remembers."""
        balancer = self.made()
        self.context.change("web", "b")
        status = balancer.status()
        self.assertEqual(status["names"], {"b": "www2.example.test"})
        self.assertEqual((status["retired"], status["zone"]), (1, "Example.test"))

    def test_metrics(self) -> None:
        """Every family is ours and bears the label of the balancer."""
        metrics = self.made().metrics()
        self.assertEqual(
            [(each.name, each.samples[0].value) for each in metrics],
            [
                ("balancer_subdomains_names", 2.0),
                ("balancer_subdomains_retired", 0.0),
                ("balancer_subdomains_save_failures_total", 0.0),
            ],
        )
        for each in metrics:
            self.assertEqual(each.samples[0].labels, {"balancer": "www"})

    def test_explain(self) -> None:
        """Who has which name, and why the pool would not choose it."""
        balancer = self.made()
        self.context.pools["web"].maintain(self.context.pools["web"].server("b"))
        told = balancer.explain({})
        self.assertEqual((told["rule"], told["pool"]), ("pattern = www{n}", "web"))
        self.assertEqual(told["names"], ["a: www1.example.test", "b: www2.example.test"])
        self.assertEqual([each["usable"] for each in told["candidates"]], [True, False])


class StateTests(SubdomainsTestCase):
    """Numbers survive a restart."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.mktemp()
        self.context = Context(self.directory)
        self.file = Path(self.directory) / "subdomains-www.json"

    def test_survives(self) -> None:
        """After a restart servers have the names that they had, whatever order they stand in."""
        self.made()
        self.context.change("web", "zb")
        self.context.reactor.advance(0)
        self.context = Context(self.directory)
        self.context.change("web", "bazc")
        self.assertEqual(
            {server: host[:4] for server, host in self.made().names().items()},
            {"b": "www2", "a": "www1", "z": "www3", "c": "www4"},
        )

    def test_written_only_when_changed(self) -> None:
        """What is the same is not written again."""
        self.made()
        self.file.unlink()
        self.made()
        self.assertTrue(self.file.exists())
        self.file.write_bytes(self.file.read_bytes())
        before = self.file.stat().st_mtime_ns
        self.made()
        self.assertEqual(self.file.stat().st_mtime_ns, before)

    def test_unreadable(self) -> None:
        """A file that cannot be read does not hold the site up: servers are numbered anew."""
        for data in (b"nonsense", b"{}"):
            Path(self.directory).mkdir(exist_ok=True)
            self.file.write_bytes(data)
            self.assertEqual(self.made().names()["a"], "www1.example.test")
            self.assertIn(b'"a": 1', self.file.read_bytes())
        self.file.unlink()
        self.file.mkdir()
        balancer = self.made()
        self.assertEqual(balancer.names()["a"], "www1.example.test")
        self.assertEqual(balancer.status()["save_failures_total"], 1)
