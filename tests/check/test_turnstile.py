"""Whose probe begins next, over all pools."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.check.turnstile import STARTS_PER_TURN, Turnstile


class Pool:
    """Has some probes to begin, and writes down who began when."""

    def __init__(self, name: str, turnstile: Turnstile, probes: int, begun: list[str]) -> None:
        self.name, self.turnstile, self.probes, self.begun = name, turnstile, probes, begun

    def begin_one(self) -> bool:
        """Begin one."""
        if not self.probes:
            return False
        self.probes -= 1
        self.begun.append(self.name)
        self.turnstile.enter()
        return True


class TurnstileTests(SynchronousTestCase):
    """Pools on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[str] = []

    def pools(self, turnstile: Turnstile, **probes: int) -> list[Pool]:
        """Pools that ask for turns."""
        pools = [Pool(name, turnstile, count, self.begun) for name, count in probes.items()]
        for pool in pools:
            turnstile.ask(pool)
        return pools

    def turn(self) -> None:
        """One turn of the reactor: what it asks for comes in the next one."""
        (call,) = self.clock.getDelayedCalls()
        turn: Any = call
        do = turn.func
        call.cancel()
        do()

    def test_some_a_turn(self) -> None:
        """However many pools want to begin, a turn begins so many probes and no more."""
        self.pools(Turnstile(self.clock, 10_000), **{f"p{n}": 1 for n in range(500)})
        self.turn()
        self.assertEqual(len(self.begun), STARTS_PER_TURN)
        self.turn()
        self.assertEqual(len(self.begun), 2 * STARTS_PER_TURN)
        self.clock.advance(0)
        self.assertEqual(len(set(self.begun)), 500)

    def test_in_turn(self) -> None:
        """A large pool does not keep the others waiting."""
        self.pools(Turnstile(self.clock, 10_000), large=1000, small=2)
        self.turn()
        self.assertEqual(self.begun[:5], ["large", "small", "large", "small", "large"])

    def test_bound(self) -> None:
        """Who is one too many begins when another has ended."""
        turnstile = Turnstile(self.clock, 2)
        self.pools(turnstile, a=2, b=2)
        self.clock.advance(0)
        self.assertEqual(self.begun, ["a", "b"])
        turnstile.leave()
        self.clock.advance(0)
        self.assertEqual(self.begun, ["a", "b", "a"])

    def test_forgotten(self) -> None:
        """A pool that is stopped begins nothing, and nothing is left in the reactor."""
        turnstile = Turnstile(self.clock, 1)
        first, second = self.pools(turnstile, a=1, b=1)
        turnstile.forget(first)
        turnstile.forget(second)
        self.clock.advance(0)
        self.assertEqual((self.begun, self.clock.getDelayedCalls()), ([], []))
