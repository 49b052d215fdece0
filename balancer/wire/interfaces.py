"""
What the room asks of a reactor.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReactorTime
from zope.interface import Interface


class IWireReactor(IReactorFDSet, IReactorTime, IReactorCore):
    """What streams, listeners and services need of a reactor. Its `seconds` should be monotonic."""


class IEndsTurns(Interface):
    """What a reactor may offer besides: streams end sooner by it, and without it all the same."""

    def at_turn_end(call: Callable[[], object]) -> None:
        """
        Call `call()` in this turn, when all events that were fetched with the present one have been
        passed on and nobody's protocol is on the stack; before the next wait in any case.
        """
