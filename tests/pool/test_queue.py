"""Work that waits."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.pool import Pool
from balancer.pool.queue import Queue
from balancer.pool.server import Server
from tests.pool.world import Waiting, down, named, servers, up_pool


class QueueTests(SynchronousTestCase):
    """First in, first out, bounded."""

    def full(self) -> tuple[Pool, Server]:
        """A pool with one server that has its only place taken."""
        pool = up_pool(servers(1, max_connections=1), queue=2)
        (server,) = pool.servers
        pool.begin(server, 0.0)
        return pool, server

    def test_freed_place(self) -> None:
        """A freed place goes to the first waiter, on whose behalf work has begun."""
        pool, server = self.full()
        first, second = Waiting(5.0), Waiting(5.0)
        self.assertTrue(pool.enqueue(first, 0.0))
        self.assertTrue(pool.enqueue(second, 0.0))
        self.assertIs(pool.finish(server, 1.0), first)
        self.assertEqual((server.in_flight, pool.queue_length), (1, 1))
        self.assertIs(pool.finish(server, 1.0), second)
        self.assertIsNone(pool.finish(server, 1.0))
        self.assertEqual(server.in_flight, 0)

    def test_bound(self) -> None:
        """A full queue refuses, and refusals are counted."""
        pool, _ = self.full()
        self.assertEqual([pool.enqueue(Waiting(5.0), 0.0) for _ in "123"], [True, True, False])
        self.assertEqual(pool.status()["queue_refused_total"], 1)
        self.assertEqual(pool.status()["queue_length"], 2)

    def test_off(self) -> None:
        """Without a queue nobody waits."""
        self.assertFalse(up_pool(servers(1)).enqueue(Waiting(5.0), 0.0))

    def test_expired(self) -> None:
        """Waiters past their deadline are given out once and get no server."""
        pool, server = self.full()
        late, patient = Waiting(1.0), Waiting(9.0)
        pool.enqueue(late, 0.0)
        pool.enqueue(patient, 0.0)
        self.assertEqual(pool.expired(0.9), [])
        self.assertIs(pool.finish(server, 1.0), patient)
        self.assertEqual((pool.expired(1.0), pool.expired(2.0)), ([late], []))
        self.assertEqual(pool.status()["queue_expired_total"], 1)

    def test_deadlines_out_of_order(self) -> None:
        """A later waiter with an earlier deadline is not overlooked."""
        queue = Queue(3)
        waiters = [Waiting(3.0), Waiting(1.0), Waiting(2.0)]
        for waiter in waiters:
            queue.add(waiter)
        self.assertEqual(queue.expired(1.5), [waiters[1]])
        self.assertEqual(queue.expired(2.5), [waiters[2]])
        self.assertEqual(queue.expired(3.0), [waiters[0]])

    def test_forget(self) -> None:
        """A waiter that gave up gets nothing, and may give up twice."""
        pool, server = self.full()
        waiter = Waiting(5.0)
        pool.enqueue(waiter, 0.0)
        self.assertFalse(pool.enqueue(waiter, 0.0))
        pool.forget(waiter)
        pool.forget(waiter)
        self.assertIsNone(pool.finish(server, 1.0))

    def test_no_work_for_a_server_that_left(self) -> None:
        """A place that gets free on a draining server goes to nobody."""
        pool, server = self.full()
        pool.enqueue(Waiting(5.0), 0.0)
        pool.drain(server)
        self.assertIsNone(pool.finish(server, 1.0))
        self.assertEqual(pool.queue_length, 1)

    def test_admit(self) -> None:
        """A server that comes up lets as many waiters go as it has room for."""
        pool = up_pool(servers(1, max_connections=2), queue=5)
        down(pool, "a")
        waiters = [Waiting(5.0, b"k") for _ in range(3)]
        for waiter in waiters:
            pool.enqueue(waiter, 0.0)
        self.assertEqual(pool.admit(1.0), [])
        for _ in range(2):
            pool.record(named(pool, "a"), True, "", 1.0)
        self.assertEqual(pool.admit(1.0), [(w, pool.servers[0]) for w in waiters[:2]])
        self.assertEqual((pool.servers[0].in_flight, pool.queue_length), (2, 1))

    def test_not_given_who_failed_it(self) -> None:
        """A waiter that a server has failed is given another one, by `finish` as by `admit`, and
        holds nobody up behind it."""
        pool = up_pool(servers(1, 1, max_connections=1), queue=5)
        a, b = pool.servers
        pool.begin(a, 0.0)
        pool.begin(b, 0.0)
        burnt, fresh = Waiting(5.0, tried=(a,)), Waiting(5.0)
        pool.enqueue(burnt, 0.0)
        self.assertIsNone(pool.finish(a, 1.0))
        self.assertEqual(pool.admit(1.0), [])
        pool.enqueue(fresh, 1.0)
        self.assertEqual(pool.admit(1.0), [(fresh, a)])
        self.assertIs(pool.finish(b, 1.0), burnt)
        self.assertEqual((a.in_flight, b.in_flight, pool.queue_length), (1, 1, 0))

    def test_others_are_full(self) -> None:
        """Waiting makes sense after a failure while another server, be it a backup, has merely no
        room; not while the others are out."""
        for backup in (False, True):
            lines = servers(1, 1, max_connections=1)
            pool = up_pool([lines[0], evolve(lines[1], backup=backup)])
            a, b = pool.servers
            pool.begin(b, 0.0)
            self.assertIsNone(pool.choose(None, (a,)))
            self.assertTrue(pool.others_are_full((a,)))
            self.assertFalse(pool.others_are_full((a, b)))
            down(pool, "b")
            self.assertFalse(pool.others_are_full((a,)))

    @settings(deadline=None, database=None, max_examples=12)
    @given(
        st.integers(0, 4), st.lists(st.tuples(st.sampled_from("afex"), st.integers(0, 9)))
    )
    def test_never_above_the_bound(self, bound: int, steps: list[tuple[str, int]]) -> None:
        """Whatever comes and goes, a queue never holds more than its bound, nor loses a waiter."""
        queue = Queue(bound)
        waiting: list[Waiting] = []
        for now, (step, number) in enumerate(steps):
            if step in "ax":
                waiter = Waiting(now + number)
                self.assertEqual(queue.add(waiter), len(waiting) < bound)
                waiting = [*waiting, waiter][:bound]
            elif step == "f" and waiting:
                queue.forget(waiting.pop(number % len(waiting)))
            else:
                late = [w for w in waiting if w.deadline <= now]
                self.assertEqual(queue.expired(now), late)
                waiting = [w for w in waiting if w not in late]
            self.assertEqual(len(queue), len(waiting))
            self.assertTrue(len(queue) <= bound)
