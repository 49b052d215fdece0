"""Health by name, and events that are numbered and told in the same call."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from balancer.interfaces import Followed, Published
from balancer.pool.events import WentDown, WentUp
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.site.registry import KEPT_EVENTS, Registry


def pool(name: str) -> Pool:
    """A pool of one server that is up."""
    made = Pool(PoolSettings(name), [(ServerSettings("a"), None)], 0.0, Random(1))
    made.trust_all(0.0)
    return made


def take_down(of: Pool) -> None:
    """Fail the only server as often as it takes."""
    for _ in range(of.settings.fall):
        of.record(of.servers[0], False, "refused", 1.0)


class Health(SynchronousTestCase):
    """A balancer is as healthy as the best of its pools."""

    def setUp(self) -> None:
        self.one, self.two = pool("one"), pool("two")
        self.registry = Registry(
            {"one": self.one, "two": self.two},
            {"http:x": ("one", "two"), "tcp:y": ("one",), "demo:z": ()},
        )

    def test_all_up(self) -> None:
        """With every server up, all are healthy."""
        self.assertTrue(self.registry.healthy())
        self.assertTrue(self.registry.health("one"))

    def test_one_pool_is_enough(self) -> None:
        """A balancer that uses two pools is healthy while one has a server."""
        take_down(self.one)
        self.assertFalse(self.registry.health("one"))
        self.assertFalse(self.registry.health("tcp:y"))
        self.assertTrue(self.registry.health("http:x"))
        self.assertFalse(self.registry.healthy())

    def test_needs_no_pool(self) -> None:
        """A balancer without pools is healthy."""
        take_down(self.one)
        take_down(self.two)
        self.assertTrue(self.registry.health("demo:z"))

    def test_unknown_name(self) -> None:
        """A name that nobody has is a KeyError."""
        self.assertRaises(KeyError, self.registry.health, "http:none")
        self.assertRaises(KeyError, self.registry.proven, "http:none")

    def test_proven(self) -> None:
        """A server that no check has seen yet is enough for health, and proves nothing."""
        new = Pool(PoolSettings("one"), [(ServerSettings("a"), None)], 0.0, Random(1))
        self.registry.know({"one": new}, {"tcp:y": ("one",), "demo:z": ()})
        self.assertEqual((True, False), (self.registry.health("tcp:y"),
                                         self.registry.proven("tcp:y")))
        new.record(new.servers[0], True, "", 1.0)
        self.assertTrue(self.registry.proven("tcp:y"))
        self.assertTrue(self.registry.proven("demo:z"))
        new.drain(new.servers[0])
        self.assertFalse(self.registry.proven("tcp:y"))


class Events(SynchronousTestCase):
    """What is published reaches every subscriber at once."""

    def test_numbered(self) -> None:
        """Events get rising numbers and the time of their publication."""
        registry = Registry({}, {})
        seen: list[Published] = []
        registry.subscribe(seen.append)
        registry.publish("p", [WentUp("p/a"), WentDown("p/b", "refused")], 12.5)
        self.assertEqual(
            [(each.id, each.at, each.pool) for each in seen], [(1, 12.5, "p"), (2, 12.5, "p")]
        )
        self.assertEqual(list(registry.events), seen)

    def test_unsubscribed(self) -> None:
        """Who unsubscribed is told no more."""
        registry = Registry({}, {})
        seen: list[Published] = []
        registry.subscribe(seen.append)
        registry.unsubscribe(seen.append)
        registry.publish("p", [WentUp("p/a")], 0.0)
        self.assertEqual(seen, [])

    def test_followed(self) -> None:
        """What a balancer did is kept among the events, and told only to those who watch."""
        registry = Registry({}, {})
        seen: list[Published] = []
        watched: list[Published] = []
        registry.subscribe(seen.append)
        registry.watch(watched.append)
        registry.publish("p", [WentDown("p/a")], 1.0)
        registry.tell(Followed("ecmp:out", "has no route", 1), 2.0)
        registry.unwatch(watched.append)
        registry.publish("p", [WentUp("p/a")], 3.0)
        self.assertEqual([each.id for each in seen], [1, 3])
        self.assertEqual([each.id for each in watched], [1, 2])
        self.assertEqual(list(registry.events), [*watched, seen[1]])
        self.assertEqual(watched[1].event.text(), "ecmp:out has no route (after event 1)")
        self.assertEqual(Followed("anycast:x", "is gone").text(), "anycast:x is gone")

    def test_bounded(self) -> None:
        """Only the latest are kept."""
        registry = Registry({}, {})
        registry.publish("p", [WentUp("p/a")] * (KEPT_EVENTS + 5), 0.0)
        self.assertEqual(len(registry.events), KEPT_EVENTS)
        self.assertEqual(registry.events[-1].id, KEPT_EVENTS + 5)
