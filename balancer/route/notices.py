"""
What the log says of a section: each change once, and each trouble once while it lasts.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from balancer.route.ecmp import command
from balancer.route.installed import Outcome, name_of


class Notices:
    """The lines of one section."""

    def __init__(self, section: str, log: Logger) -> None:
        self._section = section
        self._log = log
        self._error = ""
        self._refused: Mapping[str, str] = {}

    def failed(self, error: str) -> None:
        """An attempt failed; it is made again."""
        if error != self._error:
            text = "[ecmp {section}] is not as it should be: {error}; it is tried again"
            self._log.error(text, section=self._section, error=error)
        self._error = error

    def settled(self, outcome: Outcome) -> None:
        """The kernel has what it should have, or as much of it as it takes."""
        self._error = ""
        for step in outcome.made:
            done = command(step, name_of)
            self._log.info("[ecmp {section}]: {done}", section=self._section, done=done)
        for address, reason in outcome.refused.items():
            if self._refused.get(address) != reason:
                text = "[ecmp {section}]: no next hop {address}: {reason}"
                self._log.warn(text, section=self._section, address=address, reason=reason)
        self._refused = outcome.refused

    def lost(self, who: int, wait: float) -> None:
        """Somebody else changed what is ours; it is restored after `wait` seconds."""
        whom = f"process {who}" if who else "the kernel"
        text = "[ecmp {section}] lost its route or next hops to {whom}: restored"
        if wait:
            text = "[ecmp {section}]: someone else keeps removing its route or next hops, now "
            text += "{whom}; restored in {wait:.3g} s"
        self._log.warn(text, section=self._section, whom=whom, wait=wait)
