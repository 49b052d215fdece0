"""
The check `dns`: a server answers a question about a name, as the operator expects it.

Glue: it sends and hears datagrams. Questions and answers are `resolve.message`'s; that reads within
bounds, whatever a server sends.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from random import Random, SystemRandom
from typing import Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.values import Unreadable, modifiers, one_of
from balancer.dns import codes, names
from balancer.interfaces import CheckFailed, ICheck, ICheckMaker, IContext
from balancer.resolve.message import Answer, Question, Unanswered, read
from balancer.wire.address import Address
from balancer.wire.connected import ConnectedDatagrams
from balancer.wire.reactor import IWireReactor

MAX_STRAY: Final = 16
"""Datagrams that are no answer to the question, until the server has failed: somebody guesses."""

SHOWN: Final = 3
"""Records of an unexpected answer that the operator is shown."""

_NAMED: Final = {codes.CNAME, codes.NS, codes.PTR}

# Other codes need EDNS, which no question of ours has.
_RCODES: Final = {text: number for number, text in codes.RCODES.items() if number < 16}

OpenSocket = Callable[
    [IWireReactor, Address, Callable[[bytes], None], Callable[[OSError], None]], ConnectedDatagrams
]


@frozen
class Expectation:
    """What is asked, and which answer passes: its code, and the text of a record if not empty."""

    question: Question
    rcode: int = codes.NOERROR
    record: str = ""

    def judge(self, answer: Answer) -> str:
        """What was seen, in a few words. Raises CheckFailed if it is not what was expected. A
        truncated answer has no records; who sends it is up all the same."""
        got = codes.RCODES.get(answer.rcode, f"rcode {answer.rcode}")
        if answer.rcode != self.rcode:
            raise CheckFailed(f"expected {codes.RCODES[self.rcode]}, got {got}")
        if answer.truncated:
            return f"{got}, truncated"
        texts = list(self._texts(answer))
        if self.record and self.record not in texts:
            shown = ", ".join(text[:60] for text in texts[:SHOWN]) or "no such record"
            raise CheckFailed(f"expected {self.record}, got {shown}")
        return f"{got}, {len(texts)} records"

    def _texts(self, answer: Answer) -> Iterator[str]:
        """The records of the type that was asked for, whoever owns them: an alias leads there."""
        for record in answer.records:
            if record.type == self.question.type:
                yield _text(record.type, record.data)


def _text(type: int, data: bytes) -> str:
    """A record's data as `expect=` writes it."""
    if (type, len(data)) in ((codes.A, 4), (codes.AAAA, 16)):
        return str(ipaddress.ip_address(data))
    if type in _NAMED:
        return names.to_text(data).removesuffix(".")
    if type == codes.MX and len(data) > 2:
        return f"{int.from_bytes(data[:2], 'big')} {names.to_text(data[2:]).removesuffix('.')}"
    if type == codes.TXT:
        return _joined(data).decode("utf-8", "backslashreplace")
    return data.hex()


def _joined(data: bytes) -> bytes:
    """The strings of a TXT record, joined as its readers do (RFC 7208 3.3)."""
    found, at = b"", 0
    while at < len(data):
        end = at + 1 + data[at]
        found += data[at + 1 : end]
        at = end
    return found


@implementer(ICheck)
@frozen
class DnsCheck:
    """Asks by UDP, under a random id, from a port of the kernel's choice. One datagram is sent: one
    that is lost counts as a failure."""

    reactor: IWireReactor
    expectation: Expectation
    random: Random = field(factory=SystemRandom)
    open: OpenSocket = ConnectedDatagrams

    def probe(self, target: Address, timeout: float) -> Deferred[str]:
        """Fires with the code of the answer, or fails with CheckFailed and the reason."""
        if target.is_unix:
            raise CheckFailed("a unix socket takes no questions")
        return _Probe(self, target).begin(timeout)


@define(eq=False)
class _Probe:
    """One question and its answer."""

    _check: DnsCheck
    _target: Address
    _done: Deferred[str] = field(init=False)
    _socket: ConnectedDatagrams = field(init=False)
    _call: IDelayedCall = field(init=False)
    _id: int = field(default=0, init=False)
    _fault: str = field(default="no answer", init=False)
    _stray: int = field(default=0, init=False)

    def begin(self, timeout: float) -> Deferred[str]:
        check = self._check
        self._socket = check.open(check.reactor, self._target, self._received, self._refused)
        self._done = Deferred(lambda _: self._close())
        self._call = check.reactor.callLater(timeout, self._silent)
        self._id = check.random.randrange(65536)
        self._socket.send(check.expectation.question.ask(self._id))
        return self._done

    def _received(self, data: bytes) -> None:
        expectation = self._check.expectation
        try:
            answer = read(data, self._id, expectation.question)
        except Unanswered as error:
            # A stranger may have sent it: the server has its time all the same.
            self._fault = str(error)
            self._stray += 1
            if self._stray >= MAX_STRAY:
                self._silent()
            return
        self._close()
        try:
            seen = expectation.judge(answer)
        except CheckFailed as failed:
            self._done.errback(failed)
        else:
            self._done.callback(seen)

    def _refused(self, error: OSError) -> None:
        self._close()
        self._done.errback(error)

    def _silent(self) -> None:
        self._close()
        self._done.errback(CheckFailed(self._fault))

    def _close(self) -> None:
        self._socket.close()
        if self._call.active():
            self._call.cancel()


def expectation(words: Sequence[str]) -> Expectation:
    """What the words behind `dns` ask for and expect. Raises `Unreadable`."""
    if len(words) < 2:
        raise Unreadable("dns NAME TYPE, such as 'dns example.org SOA'")
    try:
        name = names.from_text(words[0]).lower()
    except names.BadName as error:
        raise Unreadable(str(error), words[0]) from None
    type = codes.type_number(words[1])
    if type is None or type in (codes.OPT, codes.TSIG, codes.AXFR, codes.IXFR):
        raise Unreadable("a type of records such as A, SOA or TYPE65", words[1])
    found = modifiers(words[2:], {"expect": _record, "rcode": _rcode})
    return Expectation(
        Question(name, type), found.get("rcode", codes.NOERROR), found.get("expect", "")
    )


def _record(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if not text:
            raise Unreadable("an address or a text") from None
        return text


def _rcode(text: str) -> int:
    number = _RCODES.get(text.upper())
    if number is None:
        raise Unreadable(one_of(_RCODES), text)
    return number


@implementer(IPlugin, ICheckMaker)
@frozen
class Maker:
    """Makes checks that ask a DNS server."""

    name: str = "dns"
    help: str = (
        "`dns NAME TYPE [expect=ADDRESS-or-TEXT] [rcode=NOERROR]`: the server answers the question "
        "by UDP with that code, and one of its records has the address, text or name."
    )

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        """See `expectation`."""
        expected = expectation(words)
        return lambda context: DnsCheck(context.reactor, expected)


dns = Maker()
