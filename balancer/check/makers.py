"""
The makers of the checks of this room. Light: a check's module is imported when it is first used.

`none` is no check but the site's business, and `http` and `https` bring theirs with the room http.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.check.octets import octets
from balancer.config.values import Unreadable, modifiers
from balancer.interfaces import ICheckMaker

if TYPE_CHECKING:
    from balancer.interfaces import ICheck, IContext


@implementer(IPlugin, ICheckMaker)
@frozen
class TcpMaker:
    """Makes checks that connect."""

    name: str = "tcp"
    help: str = "`tcp`: the server takes a connection."

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        """No words may follow."""
        modifiers(words, {})

        def make(context: IContext) -> ICheck:
            from balancer.check.tcp import TcpCheck

            return TcpCheck(context.reactor, context.wheel)

        return make


@implementer(IPlugin, ICheckMaker)
@frozen
class UdpMaker:
    """Makes checks that send a datagram."""

    name: str = "udp"
    help: str = (
        r"`udp [send=TEXT] [expect=TEXT]`: TEXT is sent, and an answer that contains the other "
        r"TEXT comes back; without `expect`, nobody refuses it. TEXT may have \xNN, \n, \r, \t, "
        r"\0 and \\."
    )

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        """`send=TEXT` and `expect=TEXT`, each at most once."""
        found = modifiers(words, {"send": octets, "expect": octets})

        def make(context: IContext) -> ICheck:
            from balancer.check.udp import UdpCheck

            return UdpCheck(context.reactor, found.get("send", b""), found.get("expect"))

        return make


@implementer(IPlugin, ICheckMaker)
@frozen
class ExecMaker:
    """Makes checks that run a program."""

    name: str = "exec"
    help: str = (
        "`exec PATH [ARGUMENT ...]`: the program exits with 0. It finds the server in "
        "BALANCER_SERVER, BALANCER_ADDRESS and BALANCER_PORT; it is killed at the timeout."
    )

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        """The program's path, then its arguments as they are."""
        if not words or not words[0]:
            raise Unreadable("exec PATH, the path of a program")
        path, arguments = words[0], tuple(words[1:])

        def make(context: IContext) -> ICheck:
            from twisted.internet.interfaces import IReactorProcess

            from balancer.check.exec import ExecCheck

            reactor = context.reactor
            return ExecCheck(IReactorProcess(reactor), reactor, path, arguments)

        return make


tcp = TcpMaker()
udp = UdpMaker()
exec_ = ExecMaker()
