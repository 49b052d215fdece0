"""
A BIRD beside ExaBGP, for BFD alone: started, given its configuration, asked how its sessions are,
and ended.

When BIRD ends, routers drop the BGP session at once, and BIRD as the router refuses the next for a
minute. So it is never started again for a change, and one that a killed balancer left is taken
over, by its control socket, as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.route.anycast import bfd
from balancer.route.anycast.program import DIRECTORIES, Program, find

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the sessions."""

HANGS: Final = 5
"""Looks without an answer until it is ended; it starts again."""

ANSWER_WITHIN: Final = 2.0
"""Seconds for an answer; it takes a millisecond."""

Ask = Callable[[str], Deferred[str]]
"""Asks BIRD; fails if there is none."""

log = Logger()


def asker(reactor: Any, path: str) -> Ask:
    """Asks on the control socket at `path`."""

    def ask(question: str) -> Deferred[str]:
        if not os.path.exists(path):
            return fail(ConnectError(string="there is no control socket"))
        asking = _Asking(question)
        endpoint = UNIXClientEndpoint(reactor, path, timeout=ANSWER_WITHIN)
        found: Deferred[Any] = endpoint.connect(_Once(asking))
        found.addCallback(lambda _: asking.answer.addTimeout(ANSWER_WITHIN, reactor))
        found.addBoth(asking.close)
        return found

    return ask


class _Once(ClientFactory):
    """Gives that protocol. Twisted's own for this tells the log of each question."""

    noisy = False

    def __init__(self, asking: _Asking) -> None:
        self._asking = asking

    def buildProtocol(self, addr: Any) -> _Asking:
        return self._asking


class _Asking(Protocol):
    """One question and its answer."""

    def __init__(self, question: str) -> None:
        self._question, self._got = question, ""
        self.answer: Deferred[str] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(f"{self._question}\n".encode())

    def dataReceived(self, data: bytes) -> None:
        self._got += data.decode("utf-8", "replace")
        if bfd.is_whole(self._got) or len(self._got) > bfd.MAX_REPLY:
            self._end(self._got)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            self.answer.errback(Failure(ConnectionLost("BIRD closed before its answer")))

    def _end(self, answer: str) -> None:
        if not self.answer.called:
            self.answer.callback(answer)

    def close(self, result: Any) -> Any:
        """Close, and pass on `result`."""
        if self.transport is not None:
            self.transport.loseConnection()
        return result


def bird(reactor: Any, state: str, ask: Ask | None = None) -> Bird:
    """The one whose files are in the directory `state`."""
    path, control = os.path.join(state, "bfd.conf"), os.path.join(state, "bfd.ctl")
    return Bird(
        reactor,
        path,
        {"PATH": os.environ.get("PATH", DIRECTORIES)},
        ended=lambda: None,
        find=lambda: find("bird"),
        name="bird",
        title="BIRD",
        words=("-f", "-c", path, "-s", control),
        ask=ask or asker(reactor, control),
    )


@define(eq=False)
class Bird(Program):
    """Runs BIRD while it is wanted, or has one that runs already."""

    ask: Ask = field(kw_only=True)
    sessions: Mapping[str, str] = field(factory=dict, init=False)
    """`up` or `down` of each router that it has a session for."""
    known: bool = field(default=False, init=False)
    """Whether it told of them."""
    answers: bool = field(default=False, init=False)
    """Whether it answered the last question."""
    refused: str = field(default="", init=False)
    """What it says is wrong with its configuration."""
    _stale: bool = field(default=False, init=False)
    """Whether it may not have the file as it is."""
    _silent: int = field(default=0, init=False)
    """Looks without an answer, one after the other."""
    _look: IDelayedCall | None = field(default=None, init=False)

    @property
    def adopted(self) -> bool:
        """Whether it is one that a balancer before us started."""
        return self.answers and self.pid is None

    def start(self) -> None:
        """Have one run from now on, with the file as it is: the one that there is, or ours."""
        self._wanted = self._stale = True
        self._ask()

    def restart(self) -> None:
        """Have it take the file anew; sessions that stay in it stay as they are."""
        self.start()

    def stop(self) -> Deferred[None]:
        """Run none any more; fires when it is gone."""
        if self._look is not None and self._look.active():
            self._look.cancel()
        ours = self.pid is not None
        gone = Program.stop(self)
        self._forget()
        if ours:
            return gone
        # There may be one of a balancer that was killed.
        return self.ask(bfd.DOWN).addBoth(lambda _: None)

    def broken(self) -> str:
        """What does not work, in one sentence; '' if all does."""
        if self.refused:
            return f"BIRD refuses {self.path}: {self.refused}"
        if self.answers or not self._wanted:
            return ""
        return "BIRD does not answer" if self.pid is not None else self.fault

    def _ask(self) -> None:
        """A look at it."""
        if self._look is not None and self._look.active():
            self._look.cancel()
        self._look = self.reactor.callLater(LOOK_EVERY, self._ask)
        if self._stale:
            asked = self.ask(bfd.CONFIGURE).addCallback(self._configured)
        else:
            asked = self.ask(bfd.SESSIONS).addCallback(self._told)
        asked.addErrback(self._nothing)

    def _configured(self, answer: str) -> None:
        if not self._wanted:
            return
        self._answered()
        self._stale = False
        self.refused = bfd.error(answer)
        if self.refused:
            log.error("{why}", why=self.broken())
        self._ask()

    def _told(self, answer: str) -> None:
        if not self._wanted:
            return
        self._answered()
        before, self.sessions, self.known = self.sessions, bfd.sessions(answer), True
        for address, state in self.sessions.items():
            if before.get(address) != state:
                log.info("BFD with {address} is {state}", address=address, state=state)

    def _answered(self) -> None:
        if self.pid is None and not self.answers:
            log.info("a BIRD of a balancer that is gone is taken over: {path}", path=self.path)
        self.answers, self._silent = True, 0
        if self.pid is None and self._again is not None:
            # Another cannot run beside it.
            self._again.cancel()
            self._again = None

    def _nothing(self, failure: Failure) -> None:
        """It does not answer: there is none, it has not begun to, or it hangs."""
        if not self._wanted:
            return
        self._forget()
        Program.start(self)
        self._silent += 1
        if self._silent >= HANGS and self.pid is not None:
            log.error("BIRD has not answered for {n} looks: it is ended", n=self._silent)
            self._silent = 0
            self.kill()

    def _forget(self) -> None:
        self.answers = self.known = False
        self.refused, self.sessions = "", {}
