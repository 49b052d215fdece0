"""
Tells the secondaries of a zone, by datagrams, of each serial that it gets. Glue.

What is told when, and what counts as an answer, is decided in `notify`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import strerror
from secrets import randbelow
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from balancer.dns.keys import Key
from balancer.dns.names import from_text
from balancer.dns.notify import RESULTS, Notice, Request, read_answer, request
from balancer.dns.values import Secondary
from balancer.dns.zone import Zone
from balancer.wire.address import literal
from balancer.wire.connected import ConnectedDatagrams
from balancer.wire.interfaces import IWireReactor

log = Logger()


@define(eq=False)
class Told:
    """One secondary, and the socket that is open while an answer of it is awaited: a new one for
    each serial, so that its port cannot be guessed."""

    section: str
    line: Secondary
    key: Key | None
    _reactor: IWireReactor
    _unix: Callable[[], float]
    notice: Notice = field(factory=Notice, init=False)
    _request: Request | None = field(default=None, init=False)
    _socket: ConnectedDatagrams | None = field(default=None, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _logged: str = field(default="", init=False)

    def tell(self, zone: Zone) -> None:
        """The zone has another serial, or may have one."""
        self.stop()
        self._request = request(randbelow(65536), zone, self.key, int(self._unix()))
        self.notice.tell(zone.serial, self._reactor.seconds())
        self._send()

    def stop(self) -> None:
        """Await nothing any more."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def _send(self) -> None:
        now = self._reactor.seconds()
        if not self.notice.sends(now):
            self._over()
            return
        assert self._request is not None and self.notice.due is not None
        self._call = self._reactor.callLater(self.notice.due - now, self._send)
        try:
            if self._socket is None:
                address = literal(self.line.address.host, self.line.address.port)
                self._socket = ConnectedDatagrams(
                    self._reactor, address, self._received, self._failed
                )
        except OSError as error:
            self._failed(error)
            return
        self._socket.send(self._request.wire)

    def _received(self, packet: bytes) -> None:
        assert self._request is not None
        answer = read_answer(packet, self._request, int(self._unix()))
        if answer is not None:
            self.notice.heard(answer)
            if self.notice.due is None:
                self._over()

    def _failed(self, error: OSError) -> None:
        self.notice.failed(strerror(error.errno) if error.errno else str(error))

    def _over(self) -> None:
        self.stop()
        fault = self.notice.fault
        if fault != self._logged:
            # Not at every serial: there may be one each second.
            where = {"zone": self.section, "line": self.line}
            if fault:
                log.warn("[dns {zone}] notify {line}: {fault}", fault=fault, **where)
            else:
                log.info("[dns {zone}] notify {line}: acknowledged again", **where)
            self._logged = fault


class Telling:
    """All secondaries of the zone of one section. `unix` tells the seconds since 1970."""

    def __init__(self, section: str, reactor: IWireReactor, unix: Callable[[], float]) -> None:
        self._section = section
        self._reactor = reactor
        self._unix = unix
        self._told: tuple[Told, ...] = ()
        self._left = dict.fromkeys(RESULTS, 0)

    def take(self, lines: Sequence[Secondary | None], keys: Mapping[bytes, Key]) -> None:
        """Tell these from now on. One whose line and key stay goes on; a new one waits for
        `tell`."""
        before = {(each.line, each.key): each for each in self._told}
        wanted = {
            (line, keys[from_text(line.key)] if line.key else None): None
            for line in lines
            if line is not None
        }
        for gone in before.keys() - wanted.keys():
            before[gone].stop()
            for result, count in before[gone].notice.results.items():
                self._left[result] += count
        self._told = tuple(
            before.get(each) or Told(self._section, *each, self._reactor, self._unix)
            for each in wanted
        )

    def tell(self, zone: Zone) -> None:
        """Tell everybody who was not told of this serial yet."""
        for each in self._told:
            if each.notice.serial != zone.serial:
                each.tell(zone)

    def stop(self) -> None:
        """Tell nobody any more."""
        for each in self._told:
            each.stop()

    def status(self) -> list[Mapping[str, Any]]:
        """For each secondary what it was told last, and how it went."""
        return [
            {
                "secondary": str(each.line.address),
                "key": each.line.key,
                "serial": each.notice.serial,
                "acknowledged": each.notice.acknowledged,
                "error": each.notice.fault or None,
                "tries": each.notice.tries,
            }
            for each in self._told
        ]

    def results(self) -> Mapping[str, int]:
        """How many serials ended how, over all secondaries."""
        return {
            result: count + sum(each.notice.results[result] for each in self._told)
            for result, count in self._left.items()
        }
