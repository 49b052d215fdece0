"""
The helper that ExaBGP runs: `balancer-announce`. Between ExaBGP's pipes and the balancer's socket
it moves lines and asks `speaker` what to say. It outlives the balancer, and withdraws then.

Stdlib only and small: it must start at once and go on whatever happens. It always reads what
ExaBGP says, since ExaBGP stands still when nobody does.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

from balancer.route.anycast import frames, lines
from balancer.route.anycast.speaker import Speaker

READ: Final = 64 * 1024
"""Bytes of one read: what a pipe holds."""

RECONNECT: Final = (0.05, 0.5)
"""Seconds between attempts to reach the balancer: the first, and the most. A new one shall take
over before the lease runs out."""

RETIRE: Final = signal.SIGUSR1
"""Says that the balancer is gone and none takes over soon: the service's unit sends it."""

MAX_SLEEP: Final = 1.0
"""Seconds between two looks at the clock, whatever is waited for."""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    parser = argparse.ArgumentParser(prog="balancer-announce", description=__doc__)
    parser.add_argument("--socket", required=True, help="the balancer's; @NAME is an abstract one")
    parser.add_argument("--lease", type=float, default=3.0, help="seconds, until the balancer says")
    parser.add_argument("--only", action="append", help="a prefix that is ours; all by default")
    parser.add_argument("--uid", type=int, action="append", help="who may be the balancer")
    parser.add_argument("--token", default="", help="what the balancer knows this ExaBGP by")
    parser.add_argument("--orphan", action="store_true", help="end ExaBGP when nobody needs it")
    return parser


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    return parser().parse_args(words)


class Shim:
    """The loop. `run` returns when ExaBGP is gone."""

    def __init__(self, options: argparse.Namespace, read: int = 0, write: int = 1) -> None:
        self._address, self._token = options.socket, options.token
        self._uids = frozenset(options.uid or (0, os.geteuid()))
        self._read, self._write = read, write
        only = options.only or ()
        self._speaker = Speaker(time.monotonic(), options.lease, only, options.orphan)
        self._selector = selectors.DefaultSelector()
        self._said, self._wanted = lines.Lines(), lines.Lines(frames.MAX_FRAME)
        self._link: socket.socket | None = None
        self._out = b""
        self._retry, self._retry_at = RECONNECT[0], 0.0
        self._signals = -1

    def listen(self) -> None:
        """Withdraw all and leave when `RETIRE` comes. A handler that does nothing has the signal's
        number written to the pipe: it wakes the loop, which sleeps through others."""
        self._signals, wakeup = os.pipe()
        for end in (self._signals, wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup)
        signal.signal(RETIRE, lambda number, frame: None)
        self._selector.register(self._signals, selectors.EVENT_READ)

    def run(self) -> None:
        """Until ExaBGP closes a pipe, or says that it stops."""
        os.set_blocking(self._read, False)
        self._selector.register(self._read, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if self._link is None and now >= self._retry_at:
                self._connect(now)
            for key, mask in self._selector.select(self._sleep(now)):
                if key.fd == self._signals:
                    self._signalled()
                elif key.fd != self._read:
                    self._serve_link(mask)
                elif not self._hear():
                    return
            self._speaker.tick(time.monotonic())
            if not self._speak():
                return

    def _sleep(self, now: float) -> float:
        due = self._speaker.deadline()
        if self._link is None:
            due = min(due, self._retry_at)
        return min(max(due - now, 0.0), MAX_SLEEP)

    def _signalled(self) -> None:
        if RETIRE in os.read(self._signals, READ):
            self._speaker.retire(time.monotonic())

    # -- ExaBGP

    def _hear(self) -> bool:
        try:
            data = os.read(self._read, READ)
        except BlockingIOError:
            return True
        for line in self._said.feed(data):
            self._speaker.said(lines.read(line), time.monotonic())
        return bool(data)

    def _speak(self) -> bool:
        """Whether ExaBGP goes on. One short command is in flight at most: this never waits."""
        for command in self._speaker.commands():
            try:
                os.write(self._write, command.encode("ascii", "replace") + b"\n")
            except BrokenPipeError:
                return False
        if self._link is not None and not self._out:
            self._tell(self._speaker.frames())
        return not self._speaker.told_to_leave

    # -- the balancer

    def _connect(self, now: float) -> None:
        self._retry_at = now + self._retry
        self._retry = min(self._retry * 2, RECONNECT[1])
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(_name(self._address))
            uid = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            if uid not in self._uids:
                raise OSError(f"uid {uid} is not the balancer")
        except OSError:
            link.close()
            return
        link.setblocking(False)
        self._link, self._out, self._retry = link, b"", RECONNECT[0]
        self._wanted = lines.Lines(frames.MAX_FRAME)
        self._selector.register(link, selectors.EVENT_READ)
        hello = frames.Hello(os.getpid(), os.getppid(), self._token)
        self._tell([hello, *self._speaker.frames(everything=True)])

    def _serve_link(self, mask: int) -> None:
        try:
            if mask & selectors.EVENT_READ and self._link is not None:
                data = self._link.recv(READ)
                if not data:
                    self._hang_up()
                    return
                self._take(data)
            if mask & selectors.EVENT_WRITE and self._link is not None:
                self._flush()
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        for line in self._wanted.feed(data):
            try:
                frame = frames.decode(line)
            except frames.BadFrame as error:
                print(f"balancer-announce: {error}", file=sys.stderr, flush=True)
                self._hang_up()
                return
            if isinstance(frame, frames.Wish):
                self._speaker.wish(frame, now)
            elif isinstance(frame, frames.Quit):
                self._speaker.quit(now)

    def _tell(self, what: Sequence[frames.Frame]) -> None:
        self._out += b"".join(map(frames.encode, what))
        if not self._out:
            return
        try:
            self._flush()
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()

    def _flush(self) -> None:
        assert self._link is not None
        try:
            self._out = self._out[self._link.send(self._out) :] if self._out else b""
        finally:
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
            self._selector.modify(self._link, mask)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._selector.unregister(link)
            link.close()
        self._out = b""
        self._retry_at = time.monotonic() + self._retry


def _name(address: str) -> str:
    """The socket's name to the kernel: `@x` is the abstract one, as ss(8) shows it."""
    return "\0" + address[1:] if address.startswith("@") else address


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """The program. It withdraws nothing when it is told to stop: ExaBGP starts another, which sees
    what there is, or stops itself."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shim = Shim(arguments())
    shim.listen()
    shim.run()


if __name__ == "__main__":
    main()
