"""The control socket's file: its mode, what may be in its place, and that it goes."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import stat
import tempfile

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.admin.control import ControlService
from balancer.admin.control_socket import ControlSocket, bind_control, peer_of, secure
from balancer.admin.control_verbs import Desk
from balancer.wire.interfaces import IWireReactor
from balancer.wire.listener import CannotBind, Listener
from tests.admin.world import FakeOperator, FakeSite


@implementer(IWireReactor)
class Reactor(MemoryReactorClock):
    """Twisted's own stand-in, as the room `wire` calls it."""


class ControlFile(SynchronousTestCase):
    """In a directory of its own, since a socket's path is short."""

    def setUp(self) -> None:
        """An empty directory."""
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "run", "lb.sock")

    def bind(self) -> ControlSocket:
        """The socket, bound."""
        bound = bind_control(self.path)
        self.addCleanup(bound.socket.close)
        return bound

    def test_mode(self) -> None:
        """Owner and group may connect, whatever the umask; the umask stays what it was."""
        for umask in (0, 0o077):
            before = os.umask(umask)
            try:
                self.path += "x"
                self.bind()
            finally:
                after = os.umask(before)
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o660)
            self.assertEqual(after, umask)

    def test_in_use(self) -> None:
        """A socket that another balancer listens on stays."""
        self.bind()
        error = self.assertRaises(CannotBind, bind_control, self.path)
        self.assertIn("in use", str(error))
        self.assertTrue(os.path.exists(self.path))

    def test_stale(self) -> None:
        """What a killed balancer left is replaced."""
        self.bind().socket.close()
        self.assertEqual(self.bind().address.sockaddr, self.path)

    def test_remove(self) -> None:
        """The file goes with its balancer, but not that of a successor."""
        first = self.bind()
        # Kept, so that its inode is not given to the next.
        os.rename(self.path, self.path + ".old")
        second = self.bind()
        first.remove()
        self.assertTrue(os.path.exists(self.path))
        second.remove()
        self.assertFalse(os.path.exists(self.path))
        second.remove()

    def test_no_path(self) -> None:
        """A name without a file has no permissions, and a long path no place in an address."""
        self.assertRaises(ValueError, bind_control, "@lb")
        self.assertRaises(ValueError, bind_control, "/" + "x" * 200)

    def test_no_directory(self) -> None:
        """A directory that cannot be made is why it cannot be bound."""
        with open(os.path.join(self.directory, "run"), "w"):
            self.assertRaises(CannotBind, bind_control, self.path)

    def test_unknown_group(self) -> None:
        """A group that this machine does not have leaves nothing behind."""
        error = self.assertRaises(CannotBind, bind_control, self.path, "no-such-group")
        self.assertIn("no-such-group", str(error))
        self.assertFalse(os.path.exists(self.path))

    def test_group(self) -> None:
        """The group that is named gets the file."""
        self.bind()
        name = grp.getgrgid(os.getgid()).gr_name
        secure(self.path, name)
        self.assertEqual(os.stat(self.path).st_gid, os.getgid())

    def test_service(self) -> None:
        """The service takes what the listener accepts while it runs, and removes the file."""
        bound = self.bind()
        listener = Listener(Reactor(), bound.socket, bound.address)
        self.addCleanup(listener.stop)
        service = ControlService(Desk(FakeSite(), FakeOperator(), float), listener, bound)
        service.startService()
        self.assertIsNotNone(listener.accepted)
        service.stopService()
        self.assertIsNone(listener.accepted)
        self.assertFalse(os.path.exists(self.path))

    def test_move(self) -> None:
        """A service that moves removes the old file and serves the new one; connections stay."""
        bound, self.path = self.bind(), self.path + "2"
        listeners = []
        for each in (bound, self.bind()):
            listeners.append(Listener(Reactor(), each.socket, each.address))
            self.addCleanup(listeners[-1].stop)
        old, new = listeners
        service = ControlService(Desk(FakeSite(), FakeOperator(), float), old, bound)
        service.startService()
        service.move(new, ControlSocket(new.socket, new.address, self.path, 0))
        self.assertIsNone(old.accepted)
        self.assertIsNotNone(new.accepted)
        self.assertFalse(os.path.exists(bound.path))
        service.stopService()

    def test_peer(self) -> None:
        """Who is at the other end is known by user and process."""
        here, there = socket.socketpair()
        self.addCleanup(here.close)
        self.addCleanup(there.close)

        class Transport(StringTransport):
            def getHandle(self) -> socket.socket:
                return here

        self.assertEqual(peer_of(StringTransport()), "somebody")
        self.assertEqual(peer_of(Transport()), f"uid {os.getuid()} (pid {os.getpid()})")
