"""Verdicts, tiers and the operator's orders in a pool."""

from __future__ import annotations

import json
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.events import (
    BecameReady,
    EnteredMaintenance,
    StartedDraining,
    WentDown,
    WentUp,
)
from balancer.pool.settings import Algorithm, KeySource, ServerSettings
from tests.pool.world import chosen, down, named, pool_of, servers, up_pool

WITH_BACKUP = [ServerSettings("a"), ServerSettings("b"), ServerSettings("x", backup=True)]


class VerdictTests(SynchronousTestCase):
    """What checks find."""

    def test_unknown_servers_get_work(self) -> None:
        """Before any check a pool gives work to all servers: it never refuses from ignorance."""
        pool = pool_of(servers(1, 1))
        self.assertEqual(chosen(pool, 4), "abab")
        self.assertTrue(pool.available)

    def test_known_servers_come_first(self) -> None:
        """Once a server is known to be up, those not yet checked wait for their verdict."""
        pool = pool_of(servers(1, 1, 1))
        pool.record(named(pool, "a"), False, "refused", 0.0)
        self.assertEqual(chosen(pool, 4), "bcbc")
        pool.record(named(pool, "b"), True, "", 0.0)
        self.assertEqual(chosen(pool, 3), "bbb")
        pool.record(named(pool, "c"), True, "", 0.0)
        self.assertEqual(Counter(chosen(pool, 4)), {"b": 2, "c": 2})

    def test_events(self) -> None:
        """A turned verdict is one event with its reason; results that change nothing are none."""
        pool = pool_of(servers(1))
        (a,) = pool.servers
        self.assertEqual(pool.record(a, True, "connected", 1.0), (WentUp("p/a", "connected"),))
        self.assertEqual(pool.record(a, True, "connected", 2.0), ())
        self.assertEqual(pool.record(a, False, "refused", 3.0), ())
        self.assertTrue(pool.pending(a))
        self.assertEqual(pool.record(a, False, "refused", 4.0), ())
        (event,) = pool.record(a, False, "refused", 5.0)
        self.assertEqual(event, WentDown("p/a", "refused"))
        self.assertEqual(event.text(), "p/a went down: refused")
        self.assertEqual((a.state, a.reason, a.changed_at), ("down", "refused", 5.0))
        self.assertFalse(pool.available)
        self.assertEqual(chosen(pool, 1), "-")

    def test_trust_all(self) -> None:
        """Servers that nobody checks are up from the start; known ones keep their verdict."""
        pool = pool_of(servers(1, 1))
        pool.record(named(pool, "a"), False, "refused", 0.0)
        self.assertEqual(pool.trust_all(0.0), [WentUp("p/b", "not checked")])
        self.assertEqual([s.state for s in pool.servers], ["down", "up"])

    def test_key_source(self) -> None:
        """A pool says what its keys are made of."""
        self.assertEqual(pool_of(servers(1)).needs_key, KeySource("none"))
        self.assertEqual(pool_of(servers(1), "maglev").needs_key, KeySource("address+port"))
        self.assertEqual(Algorithm("cookie", "id").key, KeySource("cookie", "id"))
        self.assertEqual(str(Algorithm("cookie", "id")), "cookie:id")

    def test_unknown_algorithm(self) -> None:
        """An algorithm that is not ours is refused by its name."""
        self.assertIn("'best'", str(self.assertRaises(ValueError, pool_of, servers(1), "best")))


class TierTests(SynchronousTestCase):
    """Backups and panic."""

    def test_backup(self) -> None:
        """Backups get work only while no other server is usable."""
        pool = up_pool(WITH_BACKUP)
        self.assertEqual(chosen(pool, 4), "abab")
        down(pool, "a")
        down(pool, "b")
        self.assertEqual(chosen(pool, 3), "xxx")

    def test_full_is_not_unusable(self) -> None:
        """A backup does not help servers that are merely full."""
        lines = [ServerSettings("a", max_connections=1), ServerSettings("x", backup=True)]
        pool = up_pool(lines)
        pool.begin(named(pool, "a"), 0.0)
        self.assertEqual(chosen(pool, 1), "-")
        self.assertTrue(pool.available)

    def test_retry_goes_further(self) -> None:
        """When all who may get work were tried, a retry goes to a backup or to a server that is not
        checked yet: an answer may come from there."""
        pool = pool_of([*servers(1, 1), ServerSettings("x", backup=True)])
        pool.record(named(pool, "a"), True, "ok", 0.0)
        first = pool.choose(None)
        self.assertIs(first, named(pool, "a"))
        second = pool.choose(None, (named(pool, "a"),))
        self.assertIs(second, named(pool, "b"))
        third = pool.choose(None, (named(pool, "a"), named(pool, "b")))
        self.assertIs(third, named(pool, "x"))
        self.assertIsNone(pool.choose(None, pool.servers))

    def test_retry_waits_for_room(self) -> None:
        """A retry does not pass over a server that is merely full to a backup."""
        lines = [*servers(1, 1, max_connections=1), ServerSettings("x", backup=True)]
        pool = up_pool(lines)
        pool.begin(named(pool, "b"), 0.0)
        self.assertIsNone(pool.choose(None, (named(pool, "a"),)))

    def test_panic(self) -> None:
        """Below the panic share all servers get work, save those that the operator keeps out."""
        pool = up_pool(servers(1, 1, 1, 1, 0), panic=0.75)
        down(pool, "a")
        self.assertEqual(chosen(pool, 3), "bcd")
        self.assertFalse(pool.panicking)
        down(pool, "b")
        self.assertTrue(pool.panicking)
        self.assertEqual(Counter(chosen(pool, 4)), Counter("abcd"))
        pool.maintain(named(pool, "a"))
        pool.drain(named(pool, "b"))
        self.assertEqual(Counter(chosen(pool, 4)), {"c": 2, "d": 2})

    def test_panic_is_not_health(self) -> None:
        """In a panic with no server usable there is work, and the pool is not available."""
        pool = up_pool(servers(1, 1), panic=0.5)
        down(pool, "a")
        down(pool, "b")
        self.assertEqual(chosen(pool, 2), "ab")
        self.assertFalse(pool.available)

    def test_backup_stands_in(self) -> None:
        """A usable backup counts against panic."""
        pool = up_pool(WITH_BACKUP, panic=0.5)
        down(pool, "a")
        down(pool, "b")
        self.assertEqual(chosen(pool, 2), "xx")


class OrderTests(SynchronousTestCase):
    """What the operator says goes."""

    def test_drain(self) -> None:
        """A draining server gets no new work and keeps what it has."""
        pool = up_pool(servers(1, 1))
        a = named(pool, "a")
        pool.begin(a, 0.0)
        self.assertEqual(pool.drain(a), (StartedDraining("p/a"),))
        self.assertEqual(pool.drain(a), ())
        self.assertEqual((a.state, a.in_flight, chosen(pool, 2)), ("drain", 1, "bb"))
        self.assertEqual(pool.ready(a), (BecameReady("p/a", "up"),))
        self.assertEqual(pool.ready(a), ())
        self.assertEqual(Counter(chosen(pool, 2)), Counter("ab"))

    def test_maintenance(self) -> None:
        """Checks do not bring a server out of maintenance, but count when it is ready."""
        pool = up_pool(servers(1, 1))
        a = named(pool, "a")
        self.assertEqual(pool.maintain(a), (EnteredMaintenance("p/a"),))
        self.assertEqual(pool.maintain(a), ())
        down(pool, "a")
        self.assertEqual(a.state, "maint")
        self.assertEqual(pool.ready(a), (BecameReady("p/a", "down"),))
        self.assertEqual(chosen(pool, 2), "bb")

    def test_disabled(self) -> None:
        """A disabled server starts in maintenance and can be made ready."""
        pool = up_pool([ServerSettings("a", disabled=True)])
        self.assertEqual((pool.servers[0].state, chosen(pool, 1)), ("maint", "-"))
        pool.ready(pool.servers[0])
        self.assertEqual(chosen(pool, 1), "a")

    def test_weight(self) -> None:
        """A new weight counts at once, 0 is no new work, and less is an error."""
        pool = up_pool(servers(1, 1))
        pool.set_weight(named(pool, "b"), 3)
        self.assertEqual(Counter(chosen(pool, 4)), {"a": 1, "b": 3})
        pool.set_weight(named(pool, "b"), 0)
        self.assertEqual(chosen(pool, 2), "aa")
        self.assertRaises(ValueError, pool.set_weight, named(pool, "b"), -1)

    def test_why_not(self) -> None:
        """Every server that gets no work has a reason in words."""
        lines = [*servers(1, 1, 1, 0, 1, 1, max_connections=1), ServerSettings("x", backup=True)]
        pool = pool_of(lines)
        for name in "abcdfx":
            pool.record(named(pool, name), True, "", 0.0)
        pool.maintain(named(pool, "a"))
        pool.drain(named(pool, "b"))
        down(pool, "c")
        pool.begin(named(pool, "f"), 0.0)
        self.assertEqual(
            {server.name: (usable, why) for server, usable, why in pool.candidates()},
            {
                "a": (False, "in maintenance"),
                "b": (False, "draining"),
                "c": (False, "down: refused"),
                "d": (False, "weight is 0"),
                "e": (False, "not checked yet, and others are known to be up"),
                "f": (False, "full: 1 of 1 connections"),
                "x": (False, "backup, and others are usable"),
            },
        )
        pool.finish(named(pool, "f"), 0.0)
        self.assertEqual(pool.candidates()[5][1:], (True, ""))


class CountTests(SynchronousTestCase):
    """What operators read."""

    def test_status(self) -> None:
        """Status is ready for JSON and counts work, failures and retries."""
        pool = up_pool(servers(1, 2))
        a = named(pool, "a")
        pool.begin(a, 1.0)
        pool.succeeded(a, 0.1, 1.1)
        pool.failed(a, "reset", 1.2)
        pool.choose(None, [a])
        status = json.loads(json.dumps(pool.status()))
        self.assertEqual((status["requests_total"], status["in_flight"]), (1, 1))
        self.assertEqual((status["failures_total"], status["retries_total"]), (1, 1))
        self.assertEqual(status["servers"][0]["latency"], 0.1)
        self.assertEqual(status["servers"][1]["weight"], 2)
        self.assertEqual(status["servers"][1]["reason"], "not checked")

    def test_finish_needs_a_begin(self) -> None:
        """Work that did not begin cannot end."""
        pool = up_pool(servers(1))
        self.assertRaises(ValueError, pool.finish, pool.servers[0], 0.0)
        self.assertEqual(pool.servers[0].in_flight, 0)
