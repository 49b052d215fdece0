"""The two sockets of a section: opened and tried out, or nothing is left open."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from balancer.interfaces import NoPrivilege, PrepareError
from balancer.kernel.netlink import Failure
from balancer.kernel.service import Refused
from balancer.route.sockets import Sockets, opened, try_out
from tests.route.world import Machine


class SocketsTests(SynchronousTestCase):
    """On a kernel in memory."""

    def setUp(self) -> None:
        """A machine."""
        self.machine = Machine()
        self.reactor = MemoryReactorClock()
        self.allowed = 2

    def open(self) -> Any:
        """A socket, as long as there are any."""
        if len(self.machine.sockets) >= self.allowed:
            raise Refused(Failure(errno.EMFILE, "cannot open a netlink socket"))
        return self.machine.opened()

    def opened(self) -> Sockets:
        """Both of them."""
        return opened("e", self.reactor, self.open, lambda messages: None, lambda: None)

    def left(self) -> list[bool]:
        """Of each socket, whether it is open."""
        return [each.fileno() != -1 for each in self.machine.sockets]

    def test_both(self) -> None:
        """One asks and one hears, from when it is told to; both are closed at the end, twice
        without harm."""
        sockets = self.opened()
        self.assertEqual([False, True], [each.listens for each in self.machine.sockets])
        self.assertEqual(set(), self.reactor.readers)
        sockets.monitor.start()
        sockets.close()
        sockets.close()
        self.assertEqual(([False, False], set()), (self.left(), self.reactor.readers))

    def test_none_left(self) -> None:
        """When one of them cannot be opened none stays open, and it says for which section."""
        for self.allowed in (0, 1):
            error = self.assertRaises(PrepareError, self.opened)
            self.assertIn("[ecmp e] cannot ask the kernel for routes: ", str(error))
            self.assertEqual([False] * self.allowed, self.left())

    def test_tried_out(self) -> None:
        """Who may not change routes keeps no socket; one that may no more is told so as well, and
        keeps what it had."""
        sockets = self.opened()
        self.machine.refuses_all = errno.EPERM
        self.assertRaises(NoPrivilege, try_out, "e", sockets)
        self.assertEqual([True, True], self.left())
        self.allowed = 4
        self.assertRaises(NoPrivilege, self.opened)
        self.assertEqual([True, True, False, False], self.left())
