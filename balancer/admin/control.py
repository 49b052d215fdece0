"""
The control socket at work: a connection for each operator, as long as there are not too many.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from balancer.admin.control_connection import Control
from balancer.admin.control_socket import ControlSocket
from balancer.admin.control_verbs import Desk
from balancer.wire.listener import Listener
from balancer.wire.stock import serve

MOST_CONNECTIONS = 32
"""Connections at once; one more is told so and closed. Operators are few, and so are their shells
and dashboards."""

FULL = f"{MOST_CONNECTIONS} connections are open already: close one, or try again later"


class ControlFactory(Factory):
    """Builds a connection's protocol, as long as there are not too many."""

    noisy = False

    def __init__(self, desk: Desk, reactor: IReactorTime) -> None:
        self._desk = desk
        self._reactor = reactor
        self.connections: set[Control] = set()

    def buildProtocol(self, address: IAddress | None) -> Control:
        full = len(self.connections) >= MOST_CONNECTIONS
        control = Control(self._desk, self._reactor, self._ended, FULL if full else "")
        if not full:
            self.connections.add(control)
        return control

    def _ended(self, control: Control) -> None:
        self.connections.discard(control)


class ControlService(Service):
    """Serves the control socket that the site bound. Its file goes when the service stops; closing
    the listener stays the site's."""

    def __init__(self, desk: Desk, listener: Listener, bound: ControlSocket) -> None:
        self._listener = listener
        self._bound = bound
        self._factory = ControlFactory(desk, listener.reactor)
        self._give_up: Callable[[], None] | None = None

    def startService(self) -> None:
        super().startService()
        self._open()

    def move(self, listener: Listener, bound: ControlSocket) -> None:
        """Serve another socket from now on. Connections stay: one of them may have asked for it."""
        self._shut()
        self._listener, self._bound = listener, bound
        if self.running:
            self._open()

    def stopService(self) -> None:
        super().stopService()
        self._shut()
        for control in list(self._factory.connections):
            control.leave("the balancer stops")

    def _open(self) -> None:
        self._give_up = serve(self._listener, self._factory)
        self._listener.start()

    def _shut(self) -> None:
        if self._give_up is not None:
            self._give_up()
            self._give_up = None
        self._bound.remove()
