"""
Look-ups before the reactor runs: on a reactor of their own, for a bounded time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from twisted.internet.defer import Deferred

from balancer.resolve.interfaces import IResolver
from balancer.resolve.looking import Found, Nothing
from balancer.wire.reactor import IWireReactor, LeanReactor

AT_ONCE: Final = 64
"""Names that are asked for at once: each takes a descriptor, and a caching resolver has a bound on
what it works on."""

WAIT: Final = 0.05
"""Seconds of one wait for answers."""

Make = Callable[[IWireReactor], IResolver]


def look_up_now(
    names: Iterable[str], make: Make, patience: float
) -> dict[str, Found | Nothing | None]:
    """
    What the resolver that `make` makes of a reactor finds for each name, within `patience` seconds
    in all; None for what did not come in time. Blocks.
    """
    found: dict[str, Found | Nothing | None] = dict.fromkeys(names)
    with _reactor() as reactor:
        resolver = make(reactor)
        resolver.changed()
        enough = reactor.seconds() + patience
        waiting = deque(found)
        asking: dict[str, Deferred[Found | Nothing]] = {}

        def answered(answer: Found | Nothing, name: str) -> None:
            found[name] = answer
            asking.pop(name, None)

        while (waiting or asking) and reactor.seconds() < enough:
            while waiting and len(asking) < AT_ONCE:
                name = waiting.popleft()
                asking[name] = asked = resolver.look_up(name)
                asked.addCallback(answered, name)
            if asking:
                reactor.iterate(WAIT)
        for asked in list(asking.values()):
            asked.addErrback(lambda _: None)
            asked.cancel()
    return found


@contextmanager
def _reactor() -> Iterator[LeanReactor]:
    reactor = LeanReactor()
    try:
        yield reactor
    finally:
        reactor.close()
