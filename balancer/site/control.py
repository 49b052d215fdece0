"""
The control socket as the site owns it: bound early, served by the admin room, moved by a reload.
"""

from __future__ import annotations

from attrs import define, field

from balancer.admin.control import ControlService
from balancer.admin.control_socket import ControlSocket, bind_control
from balancer.admin.control_verbs import Desk
from balancer.wire.listener import Listener
from balancer.wire.reactor import IWireReactor


@define(eq=False)
class ControlPort:
    """A bound control socket at `path`, and the service on it once it is served."""

    path: str
    _bound: ControlSocket
    _listener: Listener
    service: ControlService | None = field(default=None, init=False)

    @classmethod
    def bind(cls, reactor: IWireReactor, path: str) -> ControlPort:
        """Raises `CannotBind`."""
        bound = bind_control(path)
        return cls(path, bound, Listener(reactor, bound.socket, bound.address))

    def serve(self, desk: Desk) -> ControlService:
        """The service that answers operators."""
        self.service = ControlService(desk, self._listener, self._bound)
        return self.service

    def retire(self, successor: ControlPort | None) -> None:
        """Close this one. Its connections go on with `successor`, if there is one: the operator who
        asked for the change waits for the answer on one of them."""
        service, self.service = self.service, None
        if service is not None and successor is not None:
            service.move(successor._listener, successor._bound)
            successor.service = service
        elif service is not None:
            service.disownServiceParent()
        self._listener.stop()

    def close(self) -> None:
        """Close it and remove its file."""
        self._bound.remove()
        self._listener.stop()
