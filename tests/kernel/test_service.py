"""The netlink sockets, against a socket that answers as the kernel does."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure as Reason
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.kernel import netlink, nexthop, route
from balancer.kernel.netlink import Message
from balancer.kernel.service import DUMP_ATTEMPTS, READS_A_TURN, Monitor, Netlink, Refused
from tests.kernel import samples
from tests.kernel.queued import QueuedSocket


def reply(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """A message of the kernel's, with the flags as given."""
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0) + payload


def acknowledged(sequence: int, code: int = 0) -> bytes:
    """The answer to a request that was carried out, or refused with an errno."""
    payload = struct.pack("=i", -code) + bytes(16)
    return reply(netlink.ERROR, netlink.CAPPED, sequence, payload)


class Kernel(QueuedSocket):
    """A socket: `answers` are made of each request's sequence number, `waiting` is read first."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers = list(answers)
        self.sent: list[Message] = []
        self.options: list[tuple[Any, ...]] = []
        self.refused: set[int] = set()

    def setsockopt(self, *words: Any) -> None:
        """Remember the option, or refuse it."""
        if words[1] in self.refused:
            raise OSError(errno.ENOPROTOOPT, "no such option")
        self.options.append(words)

    def getsockname(self) -> tuple[int, int]:
        """The port."""
        return 4711, 0

    def send(self, data: bytes) -> None:
        """Carry the request out."""
        (message,) = netlink.messages(data)
        self.sent.append(message)
        answers = self.answers.pop(0)
        if isinstance(answers, OSError):
            raise answers
        self.waiting += [each(message.sequence) if callable(each) else each for each in answers]


def drop(sequence: int) -> bytes:
    """Some request."""
    return nexthop.drop(1, sequence)


class NetlinkTests(SynchronousTestCase):
    """Requests."""

    def ask(self, kernel: Any) -> Netlink:
        """A socket to `kernel`."""
        return Netlink(kernel)

    def test_acknowledged(self) -> None:
        """A request that was carried out gives nothing; each has a number of its own."""
        kernel = Kernel([acknowledged], [acknowledged])
        asking = self.ask(kernel)
        self.assertIsNone(asking.ask(drop))
        self.assertIsNone(asking.ask(drop))
        self.assertEqual([each.sequence for each in kernel.sent], [1, 2])
        self.assertEqual(asking.port, 4711)

    def test_refused(self) -> None:
        """A refusal is raised with its errno, and so is a socket that cannot send or answer."""
        kernel = Kernel([lambda number: acknowledged(number, errno.EPERM)],
                        OSError(errno.ENOBUFS, "full"), [], [OSError(errno.ENOBUFS, "lost")],
                        [samples.HOP[:20]])
        asking = self.ask(kernel)
        for code in (errno.EPERM, errno.ENOBUFS, errno.EAGAIN, errno.ENOBUFS, errno.EBADMSG):
            self.assertEqual(self.assertRaises(Refused, asking.ask, drop).code, code)

    def test_leftovers(self) -> None:
        """The late answer to a request that was given up is not taken for that to the next one."""
        kernel = Kernel([], [lambda number: acknowledged(number - 1, errno.EPERM), acknowledged])
        asking = self.ask(kernel)
        self.assertRaises(Refused, asking.ask, drop)
        kernel.waiting += [OSError(errno.ENOBUFS, "lost"), acknowledged(1, errno.EPERM)]
        self.assertIsNone(asking.ask(drop))
        self.assertEqual(kernel.waiting, [])

    def test_answer(self) -> None:
        """A request for one thing gives the message."""
        kernel = Kernel([lambda number: reply(route.NEW, 0, number, b"way")])
        message = self.ask(kernel).ask(lambda number: route.way("10.1.0.1", number))
        assert message is not None
        self.assertEqual(message.payload, b"way")

    def test_dump(self) -> None:
        """A dump is gathered over datagrams until its end."""
        def piece(number: int) -> bytes:
            return reply(nexthop.NEW, netlink.MULTI, number, b"half") * 2
        kernel = Kernel([piece, piece, lambda number: reply(netlink.DONE, 2, number, bytes(4))])
        found = self.ask(kernel).dump(nexthop.dump)
        self.assertEqual([each.payload for each in found], [b"half"] * 4)

    def test_interrupted(self) -> None:
        """A dump that others' changes interrupted is asked for again, a few times."""
        def torn(number: int) -> bytes:
            flags = netlink.MULTI | netlink.DUMP_INTERRUPTED
            return reply(nexthop.NEW, flags, number, b"torn") + end(number)

        def end(number: int) -> bytes:
            return reply(netlink.DONE, netlink.MULTI, number, bytes(4))
        kernel = Kernel([torn], [lambda number: reply(nexthop.NEW, 2, number, b"new"), end])
        self.assertEqual([each.payload for each in self.ask(kernel).dump(nexthop.dump)], [b"new"])
        asking = self.ask(Kernel(*[[torn]] * DUMP_ATTEMPTS))
        self.assertEqual(self.assertRaises(Refused, asking.dump, nexthop.dump).code, errno.EINTR)

    def test_refused_dump(self) -> None:
        """A dump that is refused, at once or at its end, raises."""
        kernel = Kernel(
            [lambda number: acknowledged(number, errno.EOPNOTSUPP)],
            [lambda number: reply(netlink.DONE, 2, number, struct.pack("=i", -errno.EINVAL))],
        )
        asking = self.ask(kernel)
        for code in (errno.EOPNOTSUPP, errno.EINVAL):
            self.assertEqual(self.assertRaises(Refused, asking.dump, nexthop.dump).code, code)

    def test_old_kernel(self) -> None:
        """A kernel without extended errors is asked all the same."""
        kernel = Kernel([acknowledged])
        kernel.refused = {11, 12}
        self.assertIsNone(self.ask(kernel).ask(drop))


class Readers:
    """The reactor's descriptors."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """One more."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """One less; harmless if it is none."""
        self.readers = [each for each in self.readers if each is not reader]


class MonitorTests(SynchronousTestCase):
    """What others change."""

    def setUp(self) -> None:
        self.kernel = Kernel()
        self.reactor = Readers()
        self.heard: list[int] = []
        self.overruns = 0
        self.monitor = self.listen(self.kernel)

    def listen(self, kernel: Any, groups: Sequence[int] = (32, 7)) -> Monitor:
        """A monitor on `kernel`."""
        reactor: Any = self.reactor
        return Monitor(reactor, groups, self._hear, self._overrun, kernel)

    def _hear(self, messages: Sequence[Message]) -> None:
        self.heard += [each.kind for each in messages]

    def _overrun(self) -> None:
        self.overruns += 1

    def test_listens(self) -> None:
        """It joins the groups, is read once it started, and tells whole datagrams."""
        verifyObject(IReadDescriptor, self.monitor)
        joined = [words[2] for words in self.kernel.options if words[0] == 270]
        self.assertEqual(joined, [struct.pack("=i", 32), struct.pack("=i", 7)])
        self.assertEqual(self.reactor.readers, [])
        self.monitor.start()
        self.assertEqual(self.reactor.readers, [self.monitor])
        self.kernel.waiting += [samples.HOP + samples.ROUTE, samples.PLAIN_GONE]
        self.assertIsNone(self.monitor.doRead())
        self.assertEqual(self.heard, [104, 24, 105])
        self.assertEqual(self.monitor.logPrefix(), "netlink")

    def test_overrun(self) -> None:
        """Lost and unreadable notifications are told of; what comes later is heard."""
        self.kernel.waiting += [samples.HOP, OSError(errno.ENOBUFS, "lost"), samples.ROUTE]
        self.monitor.doRead()
        self.assertEqual((self.heard, self.overruns), ([104], 1))
        self.kernel.waiting.append(samples.HOP[:-1])
        self.monitor.doRead()
        self.assertEqual((self.heard, self.overruns), ([104, 24], 2))

    def test_flood(self) -> None:
        """A flood is heard in parts: others have their turns between."""
        self.kernel.waiting += [samples.ROUTE] * (READS_A_TURN + 1)
        self.monitor.doRead()
        self.assertEqual(len(self.heard), READS_A_TURN)

    def test_closed(self) -> None:
        """Closed it is read no more, also by whoever reads it just now; twice is once."""
        self.monitor.start()
        self.kernel.waiting += [samples.ROUTE] * 3
        self._hear = lambda messages: self.monitor.close()  # type: ignore[method-assign]
        monitor = self.listen(self.kernel)
        monitor.doRead()
        self.assertEqual(len(self.kernel.waiting), 2)
        self.monitor.connectionLost(Reason(Exception()))
        self.assertEqual((self.reactor.readers, self.monitor.fileno()), ([], -1))

    def test_cannot_listen(self) -> None:
        """A kernel that has no such group is told with its errno, and nothing is left open."""
        kernel = Kernel()
        kernel.refused = {1}
        self.assertEqual(self.assertRaises(Refused, self.listen, kernel).code, errno.ENOPROTOOPT)
        self.assertEqual(kernel.fileno(), -1)
