"""
What the room asks of a reactor.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReactorTime


class IWireReactor(IReactorFDSet, IReactorTime, IReactorCore):
    """What streams, listeners and services need of a reactor. Its `seconds` should be monotonic."""
