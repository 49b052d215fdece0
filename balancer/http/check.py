"""
The checks `http` and `https`: a server is up if it answers a request as expected.

Knows one request and its answer. Glue: it connects by wire, and for https
speaks Twisted's TLS over the same stream. Must not know pools, intervals, or what a verdict does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.http.body import Chunks, Lengths, Unchunked, UntilClose
from balancer.http.grammar import CHUNKED, UNTIL_CLOSE, BadAnswer
from balancer.http.head import ResponseHead, ResponseReader
from balancer.http.question import MAX_BODY, Question, question
from balancer.interfaces import CheckFailed, ICheck, ICheckMaker, IContext
from balancer.wire.address import Address
from balancer.wire.connect import ConnectFailed, ConnectImpossible, connect
from balancer.wire.connect_tls import Secured
from balancer.wire.reactor import IWireReactor

MAX_INTERIM: Final = 8
"""Interim answers (1xx) before the real one."""

# Who ends a probe is its own clock; connecting has a longer one, so that the two never race.
_SLACK: Final = 1.0

@implementer(ICheck)
@frozen
class HttpCheck:
    """Asks over plain HTTP. `connect` is wire's, or a test's."""

    reactor: IWireReactor
    question: Question
    connect: Callable[..., Any] = connect

    def probe(self, target: Address, timeout: float) -> Deferred[str]:
        """Fires with `status 200`, or fails with CheckFailed and the reason in a few words."""
        address = "localhost" if target.is_unix else str(target).partition("%")[0]
        asking = Asking(self.question, self.question.request(address))
        asking.start(self, self.around(asking, target), target, timeout)
        return asking.done

    def around(self, asking: Asking, target: Address) -> IProtocol:
        """What stands between the connection and the question: nothing here."""
        return asking


@frozen
class HttpsCheck(HttpCheck):
    """
    Asks over TLS. The certificate must be valid for `host=`, or for the server's address, under the
    certificate authorities that the system trusts. `trust` is another trust root.
    """

    trust: Any = None
    _options: dict[str, Any] = field(factory=dict, init=False)

    def around(self, asking: Asking, target: Address) -> IProtocol:
        """TLS, verified by Twisted with service_identity. A server with `tls` has it already, and
        is trusted as its pool says."""
        if isinstance(target, Secured):
            return asking
        # Costly to import, and only sites with an https check need them.
        from twisted.internet.ssl import optionsForClientTLS
        from twisted.protocols.tls import TLSMemoryBIOFactory

        name = _bare(self.question.host) or ("localhost" if target.is_unix else _bare(target.host))
        options = self._options.get(name)
        if options is None:
            options = self._options[name] = optionsForClientTLS(name, self.trust)
        asking.phase = "in the TLS handshake"
        factory = TLSMemoryBIOFactory(options, True, Factory.forProtocol(lambda: asking))
        protocol: IProtocol = factory.buildProtocol(None)
        return protocol


def _bare(host: str) -> str:
    """Without port, brackets and zone: as it stands in a certificate."""
    if host.startswith("["):
        return host[1 : host.index("]")]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.partition("%")[0]


class Asking(Protocol):
    """One probe: a connection, a request, an answer, and an end to all of it."""

    transport: ITCPTransport

    def __init__(self, question: Question, request: bytes) -> None:
        self.done: Deferred[str] = Deferred(lambda _: self._stop())
        self.phase = "waiting for an answer"
        self._question = question
        self._request = request
        self._reader = ResponseReader()
        self._data = b""
        self._interim = 0
        self._head: ResponseHead | None = None
        self._framing: Lengths | Chunks | UntilClose | None = None
        self._body = bytearray()
        self._late: IDelayedCall | None = None
        self._connecting: Any = None
        self._over = False

    def start(self, check: HttpCheck, protocol: IProtocol, to: Address, timeout: float) -> None:
        """Connect `protocol`, which leads to this one, and give it all `timeout` seconds."""
        self._late = check.reactor.callLater(timeout, self._too_late, timeout)
        self._connecting = check.connect(
            check.reactor, to, protocol, self._not_connected, timeout + _SLACK
        )

    def connectionMade(self) -> None:
        self._connecting = None
        if self._over:  # cancelled while TLS was being set up
            self.transport.abortConnection()
            return
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        try:
            if self._head is None:
                data = self._read_head(self._data + data)
            if self._head is not None:
                self._read_body(data)
        except CheckFailed as failed:
            self._finish(failed)
        except BadAnswer as bad:
            self._finish(CheckFailed(f"not HTTP: {bad.reason}"))

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's
        if self._over:
            return
        if isinstance(self._framing, UntilClose):
            self._judge()
        elif self._head is not None:
            self._finish(CheckFailed("connection closed within the body"))
        else:
            self._finish(CheckFailed(why_lost(reason.value)))

    def _read_head(self, data: bytes) -> bytes:
        """Gives what stands behind the head, once it is there."""
        self.phase = "waiting for an answer"
        self._data = data
        while (head := self._reader.read(self._data, self._question.method.encode())) is not None:
            self._data = self._data[head.end :]
            if head.status >= 200 or head.status == 101:
                break
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadAnswer("too many interim answers")
        if head is None:
            return b""
        if fault := self._question.fault_of_status(head.status):
            raise CheckFailed(fault)
        self._head = head
        rest, self._data = self._data, b""
        return rest

    def _read_body(self, data: bytes) -> None:
        if self._question.body is None:
            self._judge()
            return
        if self._framing is None:
            assert self._head is not None
            self.phase = "in the body"
            self._framing = _framing(self._head.length)
        consumed, done = self._framing.feed(data)
        if isinstance(self._framing, Unchunked):
            self._body += self._framing.take()
        else:
            self._body += data[:consumed]
        if done or len(self._body) >= MAX_BODY:
            self._judge()

    def _judge(self) -> None:
        assert self._head is not None
        fault = self._question.fault_of_body(bytes(self._body[:MAX_BODY]))
        self._finish(CheckFailed(fault) if fault else f"status {self._head.status}")

    def _too_late(self, seconds: float) -> None:
        phase = "connecting" if self._connecting is not None else self.phase
        self._finish(CheckFailed(f"timed out after {seconds:g}s {phase}"))

    def _not_connected(self, error: ConnectFailed) -> None:
        # What we are short of says nothing of the server: who asked tells it by its errno.
        ours = isinstance(error, ConnectImpossible)
        self._finish(error if ours else CheckFailed(error.reason))

    def _finish(self, result: str | Exception) -> None:
        if self._over:
            return
        self._stop()
        if isinstance(result, str):
            self.done.callback(result)
        else:
            self.done.errback(result)

    def _stop(self) -> None:
        """Free everything. A reset, so that no check leaves a port in TIME_WAIT."""
        self._over = True
        if self._late is not None and self._late.active():
            self._late.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        elif self.transport is not None:
            self.transport.abortConnection()


def _framing(length: int) -> Lengths | Chunks | UntilClose:
    if length == CHUNKED:
        return Unchunked(BadAnswer)
    return UntilClose() if length == UNTIL_CLOSE else Lengths(length)


def why_lost(error: BaseException | None) -> str:
    """Why a connection ended before an answer, in a few words."""
    name = type(error).__name__
    if "VerificationError" in name or "CertificateError" in name:
        return "the certificate is for another name"
    if type(error).__module__.startswith("OpenSSL"):
        reasons = error.args[0] if error is not None and error.args else ()
        last = reasons[-1] if isinstance(reasons, list) and reasons else ()
        return f"TLS: {last[-1]}" if last and last[-1] else "TLS: connection closed"
    return "connection closed before an answer"


@implementer(IPlugin, ICheckMaker)
@frozen
class Maker:
    """Makes checks of one of the two names."""

    name: str
    help: str
    check: Callable[[IWireReactor, Question], ICheck]

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        """See `question`."""
        asked = question(words)
        return lambda context: self.check(context.reactor, asked)


_WORDS: Final = (
    "[METHOD] [/PATH] [expect=200-399] [host=NAME] [body=REGEX]`: the server answers the request "
    "with one of the codes, and the first 64 KiB of the body match (a slow pattern holds the whole "
    "balancer up). GET and / where left out; `host` is the server's address"
)
http = Maker("http", f"`http {_WORDS}.", HttpCheck)
https = Maker("https", f"`https {_WORDS}, and the certificate must be valid for it.", HttpsCheck)
