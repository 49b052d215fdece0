"""
The seams that a check implements: its maker, and the probe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from balancer.interfaces.context import IContext
    from balancer.wire.address import Address


class ICheck(Interface):
    """A probe, ready to be run against any server of a pool."""

    def probe(target: Address, timeout: float) -> Deferred[str]:
        """Ask `target` once. Fires within `timeout` seconds with what was seen (a few words for the
        operator), or fails with `CheckFailed` or any other exception: the server failed the check.
        Cancelling the Deferred ends the probe at once and frees what it holds."""


class CheckFailed(Exception):
    """A server did not pass a check; the text says why in a few words."""


class ICheckMaker(IPlugin):
    """Makes the checks that one word of the option `check` names."""

    name: str = Attribute("The first word of the option's value: `http`.")

    help: str = Attribute("The words that may follow, in one line, for the reference.")

    def parse(words: Sequence[str]) -> Callable[[IContext], ICheck]:
        """What follows the first word, read; raise `config.values.Unreadable` if it cannot be.
        The result makes the check; nothing is opened before it is called."""
