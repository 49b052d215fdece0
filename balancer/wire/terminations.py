"""
Where TLS ends: the certificates and handshakes of all listeners of one balancer.

Knows listeners and TLS; nothing of what the connections are for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from twisted.logger import Logger

from balancer.wire.certificates import CannotLoad
from balancer.wire.handshakes import Handshakes
from balancer.wire.keyring import Keyring, renewing
from balancer.wire.listener import Listener

__all__ = ["CannotLoad", "Keyrings", "Terminations"]

Keyrings = Mapping[Listener, Keyring]

_log = Logger("balancer.wire")


class Terminations:
    """
    The TLS of a balancer's listeners, by listener; those without are not in it.

    `failed(protocol, reason)` is told of handshakes that fail, as `Handshakes` does. `alpn` names
    the protocols that are spoken, the preferred first. `plain` answers plain HTTP.
    """

    def __init__(
        self,
        failed: Callable[[Any, str], None],
        alpn: Sequence[str] = (),
        plain: bytes = b"",
    ) -> None:
        self._failed = failed
        self._alpn = alpn
        self._plain = plain
        self._open: dict[Listener, tuple[Keyring, Handshakes]] = {}
        # Of listeners that are ours no more: their handshakes may end, and count.
        self._closed: list[Handshakes] = []
        self._done = 0
        self._resumed = 0
        self._failures: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._open)

    def __contains__(self, listener: Listener) -> bool:
        return listener in self._open

    def handshakes(self, listener: Listener) -> Handshakes:
        """Those of a listener with TLS."""
        return self._open[listener][1]

    def keyring(self, listener: Listener) -> Keyring:
        """What a listener with TLS shows its clients."""
        return self._open[listener][0]

    def preparing(
        self, paths: Mapping[Listener, str], now: float
    ) -> Generator[None, None, Keyrings]:
        """
        What `take` wants, in slices: the keyring at each path, read again if a file has changed.

        Changes nothing. Raises `CannotLoad` with what is wrong with all of them.
        """
        olds = [keyring for keyring, _ in self._open.values()]
        found: dict[str, Keyring] = {keyring.path: keyring for keyring in olds}
        read: dict[str, Keyring] = {}
        problems: dict[str, None] = {}
        for path in paths.values():
            if path in read:
                continue
            try:
                read[path] = yield from renewing(path, self._alpn, now, found.get(path))
            except CannotLoad as error:
                problems.update(dict.fromkeys(error.problems))
        if problems:
            raise CannotLoad(tuple(problems))
        return {listener: read[path] for listener, path in paths.items()}

    def read_again(self, keyrings: Keyrings) -> tuple[str, ...]:
        """The paths of those prepared that are in force now, and whose files have changed."""
        before = {keyring.path: keyring.stamps for keyring, _ in self._open.values()}
        after = {keyring.path: keyring.stamps for keyring in keyrings.values()}
        return tuple(path for path in after if before.get(path, after[path]) != after[path])

    def take(self, keyrings: Keyrings, timeout: float, most: int) -> None:
        """
        Put keyrings in force: for handshakes that begin from now on, and of no other listener.

        Connections stay, and so do handshakes that have begun. `timeout` is in seconds, `most`
        bounds the handshakes in progress at each listener.
        """
        said = {id(keyring) for keyring, _ in self._open.values()}
        for listener in self._open.keys() - keyrings.keys():
            handshakes = self._open.pop(listener)[1]
            handshakes.leave()
            self._closed.append(handshakes)
        for listener, keyring in keyrings.items():
            if listener in self._open:
                handshakes = self._open[listener][1]
                handshakes.context = keyring.context
                handshakes.timeout, handshakes.most = timeout, most
            else:
                handshakes = Handshakes(
                    listener, keyring.context, self._failed, timeout=timeout, most=most
                )
                handshakes.plain = self._plain
            self._open[listener] = (keyring, handshakes)
            if id(keyring) not in said:
                said.add(id(keyring))
                _tell(keyring)
        self._fold()

    def stop(self) -> None:
        """End all handshakes; `failed` hears of each."""
        for handshakes in [*(each for _, each in self._open.values()), *self._closed]:
            handshakes.stop()

    def _fold(self) -> None:
        """Keep the counts of what has ended, and nothing else of it."""
        over = [handshakes for handshakes in self._closed if not handshakes.in_progress]
        for handshakes in over:
            self._closed.remove(handshakes)
            self._done += handshakes.done_total
            self._resumed += handshakes.reused_total
            self._failures.update(handshakes.failures)

    # What it counts

    def _all(self) -> list[Handshakes]:
        return [*(handshakes for _, handshakes in self._open.values()), *self._closed]

    @property
    def done_total(self) -> int:
        """Handshakes that were completed."""
        return self._done + sum(each.done_total for each in self._all())

    @property
    def resumed_total(self) -> int:
        """Those of them that an earlier session made short."""
        return self._resumed + sum(each.reused_total for each in self._all())

    @property
    def failures(self) -> Counter[str]:
        """How many failed, by the reason."""
        found = Counter(self._failures)
        for each in self._all():
            found.update(each.failures)
        return found

    @property
    def in_progress(self) -> int:
        """Handshakes that are not over."""
        return sum(each.in_progress for each in self._all())

    def status(self) -> dict[str, Any]:
        """For the operator, ready for JSON; empty without TLS."""
        if not self._open and not self._closed:
            return {}
        return {
            "listeners": {
                str(listener.address): keyring.status()
                for listener, (keyring, _) in self._open.items()
            },
            "handshakes": self.in_progress,
            "handshakes_total": self.done_total,
            "resumed_total": self.resumed_total,
            "failures_total": dict(self.failures),
        }


def _tell(keyring: Keyring) -> None:
    pairs = keyring.certificates.pairs
    _log.info("{path}: {count} certificates in force", path=keyring.path, count=len(pairs))
    for warning in keyring.certificates.warnings:
        _log.warn("{text}", text=warning)
