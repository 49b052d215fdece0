"""
The zone of one section as its secondaries see it: who may transfer it, its serial, who is told.

Glue: it reads the clock and keeps a file. Which serial a zone has is decided in `serials`; that
what pools answer has changed is heard from `served`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.slices import Slices, finish
from balancer.dns.names import from_text, to_text
from balancer.dns.serials import Kept, Said, Written, digest_of, is_newer, serial_of
from balancer.dns.served import Served
from balancer.dns.settings import DnsSettings
from balancer.dns.telling import Telling
from balancer.dns.transfer import Access
from balancer.interfaces import IContext, Metric, Sample
from balancer.wire import statefile
from balancer.wire.keeping import Keeper, Write, in_a_thread
from balancer.wire.slices import in_slices

LEAST_INTERVAL: Final = 1.0
"""Seconds between two serials that come from pools: a secondary takes the whole zone each time."""

MAX_NAME: Final = 150
"""Letters of a zone's name in that of its file: file systems take 255, and the name may have
1000."""

MAX_KEPT: Final = 512
"""Bytes of the file: it has two short values, in 70."""

log = Logger()


class Primary:
    """
    One zone, whose name is `key` in lower case. `write` writes a file beside the reactor.

    Without `transfer` and `notify` in its section nobody sees the serial grow: it changes only when
    settings are taken on.
    """

    def __init__(
        self, section: str, key: bytes, context: IContext, write: Write | None = None
    ) -> None:
        self._section = section
        self._reactor = context.reactor
        path = os.path.join(context.state, file_name(key))
        self._keeper = Keeper(path, write or in_a_thread(context.reactor))
        self._telling = Telling(section, context.reactor, time.time)
        self._kept = self._remembered()
        self._served: Served | None = None
        self._written = Written(None, b"")
        self._options = b""
        self._said = Said()
        self._changed: set[bytes] | None = set()
        self._numbered = 0.0
        self._call: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._running = False

    def _remembered(self) -> Kept | None:
        path = self._keeper.path
        try:
            data = statefile.load(path, MAX_KEPT)
            return None if data is None else Kept.from_json(data)
        except (OSError, ValueError) as error:
            log.error(
                "[dns {zone}] {path}: {error}; its serial begins anew",
                zone=self._section, path=path, error=error,
            )
            return None

    # -- settings

    def take(self, served: Served, settings: DnsSettings, written: Written) -> None:
        """The zone that is served now is made of these; see to its serial, and who may have it."""
        if self._served is None:
            self._served = served
            served.watchers.append(self)
        served.transfer = access(settings)
        served.grows = served.transfer is not None or any(settings.notify)
        self._written = written
        self._options = repr((settings.ttl, settings.answers)).encode()
        self._changed = None
        self._telling.take(settings.notify, served.keys)
        if self._kept is not None and is_newer(self._kept.serial, served.zone.serial):
            # Until all names were looked at, which takes some turns where there are thousands.
            served.number(self._kept.serial)
        self._number(served)

    def start(self) -> None:
        """Tell the secondaries that we are there (RFC 1996 3.11)."""
        self._running = True
        if self._served is not None:
            self._telling.tell(self._served.zone)

    def stop(self) -> Deferred[None]:
        """Follow and tell no more; fires when what is kept is written."""
        self._running = False
        self._forget_call()
        self._forget_look()
        self._telling.stop()
        if self._served is not None and self in self._served.watchers:
            self._served.watchers.remove(self)
        return self._keeper.finished()

    # -- what pools answer

    def outdated(self, keys: Iterable[bytes]) -> None:
        """See `served.Watcher`."""
        served = self._served
        if served is None or not served.grows:
            return
        changed = [key for key in keys if key in served.names]
        if self._changed is not None:
            self._changed.update(changed)
        if changed:
            self._number_soon()

    def renewed(self) -> None:
        """See `served.Watcher`."""
        self._changed = None
        self._number_soon()

    def _number_soon(self) -> None:
        """In the same turn other pools may change as well, and within a second more of them."""
        if self._call is None and self._looking is None and self._served is not None:
            wait = self._numbered + LEAST_INTERVAL - self._reactor.seconds()
            self._call = self._reactor.callLater(max(0.0, wait), self._number, self._served)

    def _forget_call(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _forget_look(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()

    def _number(self, served: Served) -> None:
        """Give the zone the serial that goes with its content: before the site runs at once, later
        in slices, since to look at thousands of names takes long."""
        self._forget_call()
        self._forget_look()
        if not self._running:
            finish(self._numbering(served))
            return
        looking = in_slices(self._reactor, self._numbering(served))
        if not looking.called:
            self._looking = looking
        looking.addCallbacks(self._looked, self._not_looked)

    def _looked(self, _: None) -> None:
        self._looking = None
        if self._changed is None or self._changed:
            self._number_soon()

    def _not_looked(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._looking = None
            log.failure("[dns {zone}] its serial stays", failure, zone=self._section)

    def _numbering(self, served: Served) -> Slices[None]:
        said, names, changed = self._said, served.names, self._changed
        if changed is None:
            said, changed = Said(), set(names) if served.grows else set()
        self._changed = set()
        try:
            yield from said.looking(names, changed)
        except GeneratorExit:
            self._changed = None  # it has seen some of them
            raise
        self._said = said
        digest = digest_of(self._written.digest, self._options, self._said.digest)
        serial = serial_of(self._written.own, digest, self._kept, int(time.time()))
        kept = Kept(serial, digest)
        if kept != self._kept:
            self._kept = kept
            self._numbered = self._reactor.seconds()
            self._keeper.keep(kept.to_json())
        if serial != served.zone.serial:
            served.number(serial)
        if self._running:
            self._telling.tell(served.zone)

    # -- what it tells

    def status(self) -> dict[str, Any]:
        """For `/api/status`."""
        return {"notify": self._telling.status(), "save_failures_total": self._keeper.failures}

    def metrics(self) -> tuple[Metric, ...]:
        """For `/metrics`."""
        samples = tuple(
            Sample({"balancer": self._section, "result": result}, count)
            for result, count in self._telling.results().items()
        )
        text = "Serials that a secondary was told of, by what became of it."
        return (Metric("balancer_dns_notifies_total", text, "counter", samples),)


def access(settings: DnsSettings) -> Access | None:
    """Who may transfer the zone; None: nobody."""
    lines = tuple(
        (line.networks, from_text(line.key) if line.key else None)
        for line in settings.transfer
        if line is not None
    )
    return Access(lines) if lines else None


def file_name(key: bytes) -> str:
    """Of the file in the site's state that keeps the serial of a zone: its name, in letters that
    any file system takes (RFC 2317's have a slash)."""
    text = quote(to_text(key).rstrip(".") or ".", safe="")
    if len(text) > MAX_NAME:
        text = f"{text[:MAX_NAME]}-{hashlib.sha256(key).hexdigest()[:16]}"
    return f"dns-{text}.json"
