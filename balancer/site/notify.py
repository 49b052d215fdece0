"""
What the one who started us is told, systemd for one (sd_notify(3)): that we are ready, reload,
stop, and live.

Knows the environment that a service manager starts us in, and its socket. It must not know what a
site is, nor when it is ready.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, MutableMapping

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

ALIVE_PER_TIMEOUT = 2
"""Signs of life within one WATCHDOG_USEC, as sd_watchdog_enabled(3) recommends."""

EXTEND_EVERY, EXTEND_BY = 5.0, 30.0
"""While we drain, for as long as the site file says, we ask every few seconds for so many more. A
balancer that hangs asks no longer, and is killed."""

AGAIN_IN = 0.1
"""Seconds until a message that found the socket full is sent again."""

MOST_WAITING = 16
"""Messages that wait for that: the oldest is dropped. One reload makes two."""

MOST_DIGITS = 20
"""Of WATCHDOG_USEC, which is of 64 bits: Python's floats and texts have an end as well."""

MOST_STATUS = 500
"""Characters of a status line; systemctl shows one line."""

Send = Callable[[str, bytes], None]

log = Logger()


@frozen
class Wanted:
    """Whom to tell, and how often that we live."""

    address: str = ""
    """As the kernel takes it: a path, or a NUL and an abstract name; '' for nobody."""

    watchdog: float = 0.0
    """Seconds after which silence means that we hang; 0: nobody minds."""

    pid: int = 0
    """The process that the watchdog means; 0: whoever speaks."""

    fault: str = ""
    """What cannot be followed, in words."""


def take(environment: MutableMapping[str, str]) -> Wanted:
    """
    What a service manager wants, removed from `environment`: it is not for the programs that we
    start, whose words would count as ours.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    usec = environment.pop("WATCHDOG_USEC", "")
    pid = environment.pop("WATCHDOG_PID", "")
    if address and (address[0] not in "/@" or len(address) < 2):
        return Wanted(fault=f"NOTIFY_SOCKET: expected a path or @NAME, got {address!r}")
    if usec and not (usec.isdecimal() and len(usec) <= MOST_DIGITS and int(usec) > 0):
        fault = f"WATCHDOG_USEC: expected microseconds, got {usec!r}; no sign of life is given"
        return Wanted(_to_kernel(address), fault=fault)
    watchdog = int(usec) / 1e6 if usec and address else 0.0
    return Wanted(_to_kernel(address), watchdog, int(pid) if pid.isdecimal() else 0)


def _to_kernel(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address


def line(text: str) -> str:
    """`text` as the one line that a status is, not too long."""
    words = " ".join(text.split())
    return words if len(words) <= MOST_STATUS else words[: MOST_STATUS - 3] + "..."


def send_datagram(address: str, message: bytes) -> None:
    """One datagram. Raises OSError; BlockingIOError if there is no room now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(message, address)


def microseconds() -> int:
    """CLOCK_MONOTONIC, as MONOTONIC_USEC wants it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@define(eq=False)
class Supervisor:
    """Who started us, if they want to be told. Nothing here raises or blocks."""

    reactor: IReactorTime
    wanted: Wanted = Wanted()
    send: Send = send_datagram
    clock: Callable[[], int] = microseconds
    _waiting: deque[bytes] = field(factory=lambda: deque(maxlen=MOST_WAITING), init=False)
    _again: IDelayedCall | None = field(default=None, init=False)
    _alive: IDelayedCall | None = field(default=None, init=False)
    _stopping: bool = field(default=False, init=False)
    _told: bool = field(default=False, init=False)

    def start(self) -> None:
        """We run, in the process that we will stay: give signs of life from now on."""
        if self.wanted.fault:
            log.warn("{fault}", fault=self.wanted.fault)
        if self.wanted.watchdog and self.wanted.pid in (0, os.getpid()):
            self._live()

    def ready(self, status: str) -> None:
        """We carry traffic; after a start, and after a reload whatever became of it."""
        ready = "" if self._stopping else "READY=1\n"
        self._tell(f"{ready}STATUS={line(status)}")

    def reloading(self) -> None:
        """A reload began; `ready` tells its end."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={self.clock()}\nSTATUS=reloading")

    def stopping(self, status: str) -> None:
        """We are on our way out, which may take longer than a manager waits by itself."""
        if not self._stopping:
            self._stopping = True
            self._tell(f"STOPPING=1\nSTATUS={line(status)}")
            if self._alive is None:
                self._live()
            else:
                self._alive.reset(0)

    def stop(self) -> None:
        """Nothing more is said."""
        for call in (self._alive, self._again):
            if call is not None and call.active():
                call.cancel()
        self._alive = self._again = None

    def _live(self) -> None:
        """A sign of life, and again in a while: a reactor that hangs gives none."""
        if not self.wanted.address:
            return
        words, pause = [], EXTEND_EVERY
        if self.wanted.watchdog and self.wanted.pid in (0, os.getpid()):
            words, pause = ["WATCHDOG=1"], self.wanted.watchdog / ALIVE_PER_TIMEOUT
        if self._stopping:
            words.append(f"EXTEND_TIMEOUT_USEC={EXTEND_BY * 1e6:.0f}")
            pause = min(pause, EXTEND_EVERY)
        if not self._waiting:  # else the manager hears of us anyway, once it reads
            self._tell("\n".join(words))
        self._alive = self.reactor.callLater(pause, self._live)

    def _tell(self, message: str) -> None:
        if self.wanted.address:
            self._waiting.append(message.encode("utf-8", "replace"))
            if self._again is None:
                self._flush()

    def _flush(self) -> None:
        self._again = None
        while self._waiting:
            try:
                self.send(self.wanted.address, self._waiting[0])
            except BlockingIOError:
                self._again = self.reactor.callLater(AGAIN_IN, self._flush)
                return
            except OSError as error:
                self._cannot(error)
            self._waiting.popleft()

    def _cannot(self, error: OSError) -> None:
        """It is said once: nothing that we carry depends on it."""
        if not self._told:
            self._told = True
            where = self.wanted.address.replace("\0", "@")
            log.warn("cannot tell {where} how we are: {error}", where=where, error=error)
