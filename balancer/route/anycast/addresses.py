"""
The addresses of one section's prefixes: on the device of its settings, or somebody else's business.

Knows which device that is, now and before a reload. How they come there is `vips`' business, when
they are wanted that of its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed

from balancer.config.values import Network
from balancer.route.anycast.frames import Key
from balancer.route.anycast.lines import Route
from balancer.route.anycast.timers import within
from balancer.route.anycast.vips import Run, Vips

GONE_WITHIN: Final = 1.0
"""Seconds in which addresses are removed at the end; `ip` takes milliseconds."""


class Addresses:
    """One section's. `changed` is called with '' when they are in place, and with the reason when
    they are not."""

    def __init__(self, reactor: Any, run: Run, changed: Callable[[str], None]) -> None:
        self._reactor, self._run, self._changed = reactor, run, changed
        self._vips: Vips | None = None

    @property
    def fault(self) -> str:
        """Why they are not in place; '' if they are."""
        return "" if self._vips is None else self._vips.fault

    def use(self, device: str | None) -> None:
        """They belong on that device from now on; None: somebody else sees to them."""
        if device == (None if self._vips is None else self._vips.device):
            return
        self.leave()
        if device is not None:
            self._vips = Vips(self._reactor, device, self._run, self._changed)

    def want(self, prefixes: Iterable[Network], still: Callable[[Network], bool]) -> None:
        """Have these in place, and of those that were wanted before whichever are `still`
        needed."""
        if self._vips is not None:
            self._vips.want({*prefixes, *filter(still, self._vips.wanted)})

    def have(self, prefixes: Iterable[Network]) -> bool:
        """Whether all of these are in place."""
        return self._vips is None or self._vips.there.issuperset(prefixes)

    def placed(self, routes: Mapping[Key, Route]) -> Mapping[Key, Route]:
        """Those of the routes whose prefixes are in place."""
        if self._vips is None:
            return routes
        there = {str(each) for each in self._vips.there}
        return {key: each for key, each in routes.items() if key[1] in there}

    def leave(self) -> Deferred[None]:
        """Have none in place any more, and tell no more of them; fires when that is so."""
        vips, self._vips = self._vips, None
        if vips is None:
            return succeed(None)
        vips.changed = lambda why: None
        vips.want(())
        return within(self._reactor, GONE_WITHIN, lambda: vips.idle)
