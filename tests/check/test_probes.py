"""The probes themselves, without a network: tcp, udp, exec."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from tempfile import gettempdir
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.check.exec import MOST_OUTPUT, SETSID, ExecCheck
from balancer.check.interfaces import NotAsked
from balancer.check.tcp import TcpCheck
from balancer.check.udp import UdpCheck
from balancer.interfaces import CheckFailed
from balancer.wire.address import Address, literal
from balancer.wire.connect import ConnectFailed, ConnectImpossible
from balancer.wire.deadlines import Wheel
from tests.check.fakes import FakeReactor, reactor_of

TARGET = literal("192.0.2.1", 80)


class FakeConnecting:
    """A connection under way that the test decides."""

    def __init__(self) -> None:
        self.cancelled = False
        self.protocol: Any = None
        self.failed: Any = None
        self.asked: tuple[Any, ...] = ()

    def connect(
        self,
        reactor: Any,
        address: Address,
        protocol: IProtocol,
        failed: Callable[[ConnectFailed], None],
        timeout: float,
        wheel: Wheel,
    ) -> Any:
        """In place of `wire.connect`."""
        self.protocol, self.failed, self.asked = protocol, failed, (address, timeout)
        return self

    def cancel(self) -> None:
        """As Connecting has it."""
        self.cancelled = True


class Aborted(StringTransport):
    """A transport that knows whether it was aborted."""

    aborted = False

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True


class TcpTests(SynchronousTestCase):
    """`tcp`"""

    def setUp(self) -> None:
        """A probe under way."""
        self.connecting = FakeConnecting()
        check = TcpCheck(reactor_of(FakeReactor()), Wheel(0.0), self.connecting.connect)
        self.done = check.probe(TARGET, 1.5)

    def test_connected(self) -> None:
        """A connection passes, and is reset at once."""
        self.assertEqual(self.connecting.asked, (TARGET, 1.5))
        transport = Aborted()
        self.connecting.protocol.makeConnection(transport)
        self.assertEqual(self.successResultOf(self.done), "connected")
        self.assertTrue(transport.aborted)

    def test_refused(self) -> None:
        """A refusal fails with the reason in words."""
        self.connecting.failed(ConnectFailed(TARGET, errno.ECONNREFUSED))
        failure = self.failureResultOf(self.done, CheckFailed)
        self.assertEqual(str(failure.value), "connection refused")

    def test_shortage(self) -> None:
        """What we are short of is told as such."""
        self.connecting.failed(ConnectImpossible(TARGET, errno.EMFILE))
        self.failureResultOf(self.done, ConnectImpossible)

    def test_cancel(self) -> None:
        """Cancelling gives the connection up."""
        self.done.cancel()
        self.assertTrue(self.connecting.cancelled)
        self.failureResultOf(self.done, CancelledError)


class FakeDatagrams:
    """A UDP socket that the test answers for."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = 0
        self.received: Any = None
        self.failed: Any = None

    def open(self, reactor: Any, address: Address, received: Any, failed: Any) -> Any:
        """In place of `ConnectedDatagrams`."""
        self.received, self.failed = received, failed
        return self

    def send(self, data: bytes) -> bool:
        """Note it."""
        self.sent.append(data)
        return True

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class UdpTests(SynchronousTestCase):
    """`udp`"""

    def setUp(self) -> None:
        """A reactor and a socket."""
        self.reactor = FakeReactor()
        self.socket = FakeDatagrams()

    def probe(self, expect: bytes | None) -> Deferred[str]:
        """A probe under way."""
        check = UdpCheck(reactor_of(self.reactor), b"ping", expect, self.socket.open)
        done = check.probe(TARGET, 1.0)
        self.assertEqual(self.socket.sent, [b"ping"])
        return done

    def ended(self) -> None:
        """Nothing of the probe is left."""
        self.assertEqual(self.socket.closed, 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_answer(self) -> None:
        """An answer that contains what is expected passes."""
        done = self.probe(b"pong")
        self.socket.received(b"a pong!")
        self.assertEqual(self.successResultOf(done), "7 bytes came back")
        self.ended()

    def test_wrong_answer(self) -> None:
        """Any other answer fails, and is shown within bounds."""
        done = self.probe(b"pong")
        self.socket.received(b"\x00" + b"x" * 100)
        reason = str(self.failureResultOf(done, CheckFailed).value)
        self.assertEqual(reason, f"expected 'pong', got '\\x00{'x' * 39}'...")
        self.ended()

    def test_silence_where_an_answer_is_expected(self) -> None:
        """No answer fails at the timeout."""
        done = self.probe(b"pong")
        self.reactor.advance(0.99)
        self.assertNoResult(done)
        self.reactor.advance(0.01)
        self.failureResultOf(done, CheckFailed)
        self.ended()

    def test_silence(self) -> None:
        """Where nothing is expected silence passes, within the timeout."""
        done = self.probe(None)
        self.reactor.advance(0.95)
        self.assertEqual(self.successResultOf(done), "sent, and nobody refused it")
        self.ended()

    def test_any_answer(self) -> None:
        """Where nothing is expected any answer passes at once."""
        done = self.probe(None)
        self.socket.received(b"?")
        self.successResultOf(done)
        self.ended()

    def test_refused(self) -> None:
        """An ICMP refusal fails, with or without an expectation."""
        for expect in (None, b"pong"):
            self.setUp()
            done = self.probe(expect)
            self.socket.failed(OSError(errno.ECONNREFUSED, "refused"))
            self.failureResultOf(done, OSError)
            self.ended()

    def test_cancel(self) -> None:
        """Cancelling closes the socket."""
        done = self.probe(None)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.ended()


class FakeProcess:
    """A process transport."""

    pid: int | None = 4711

    def __init__(self) -> None:
        self.calls: list[str] = []

    def closeStdin(self) -> None:
        """Note it."""
        self.calls.append("closeStdin")

    def signalProcess(self, name: str) -> None:
        """Note it."""
        self.calls.append(name)

    def loseConnection(self) -> None:
        """Note it."""
        self.calls.append("loseConnection")


class ExecTests(SynchronousTestCase):
    """`exec`"""

    def setUp(self) -> None:
        """A check with a program that exists, and killed groups in `killed`."""
        self.reactor = FakeReactor()
        self.killed: list[tuple[int, int]] = []
        self.check = ExecCheck(
            reactor_of(self.reactor), self.reactor, "/bin/true", ("-x", "a b"),
            kill_group=lambda pid, number: self.killed.append((pid, number)),
        )
        self.process = FakeProcess()

    def begin(self) -> tuple[Deferred[str], Any]:
        """A probe under way: its result, and the program's protocol."""
        done = self.check.probe_server("web/a", TARGET, 1.0)
        protocol = self.reactor.spawned[-1][0]
        protocol.makeConnection(self.process)
        return done, protocol

    def ends(self, protocol: Any, error: Exception) -> None:
        """The program ends."""
        protocol.processExited(Failure(error))
        protocol.processEnded(Failure(error))

    def test_command(self) -> None:
        """The program runs without a shell, in a session of its own, and learns of its server."""
        self.begin()
        _, executable, arguments, environment = self.reactor.spawned[0]
        self.assertEqual(executable, SETSID)
        self.assertEqual(arguments, [SETSID, "/bin/true", "-x", "a b"])
        self.assertEqual(set(environment), {
            "PATH", "BALANCER_SERVER", "BALANCER_ADDRESS", "BALANCER_PORT",
        })
        self.assertEqual(environment["BALANCER_SERVER"], "web/a")
        self.assertEqual(environment["BALANCER_ADDRESS"], "192.0.2.1")
        self.assertEqual(environment["BALANCER_PORT"], "80")
        self.assertEqual(self.process.calls, ["closeStdin"])

    def test_passes(self) -> None:
        """Exit status 0 passes, and says what the program said."""
        done, protocol = self.begin()
        protocol.outReceived(b"all ")
        protocol.outReceived(b"well\n")
        self.ends(protocol, ProcessDone(0))
        self.assertEqual(self.successResultOf(done), "all well")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_fails(self) -> None:
        """Any other exit fails, with the status and what came on either output."""
        done, protocol = self.begin()
        protocol.errReceived(b"no lamp is lit\n")
        self.ends(protocol, ProcessTerminated(exitCode=2))
        reason = str(self.failureResultOf(done, CheckFailed).value)
        self.assertEqual(reason, "exit status 2: no lamp is lit")

    def test_killed(self) -> None:
        """A program that somebody kills has failed."""
        done, protocol = self.begin()
        self.ends(protocol, ProcessTerminated(signal=11))
        reason = str(self.failureResultOf(done, CheckFailed).value)
        self.assertEqual(reason, "killed by signal 11")

    def test_output_bound(self) -> None:
        """A program that talks without end fills no memory."""
        done, protocol = self.begin()
        for _ in range(100):
            protocol.outReceived(b"x" * 1000)
        self.ends(protocol, ProcessDone(0))
        self.assertEqual(len(self.successResultOf(done)), MOST_OUTPUT)

    def test_timeout(self) -> None:
        """At the timeout the program and all of its group are killed, and its pipes closed."""
        done, protocol = self.begin()
        self.reactor.advance(1.0)
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.killed, [(4711, signal.SIGKILL)])
        self.assertEqual(self.process.calls, ["closeStdin", "KILL", "loseConnection"])
        self.ends(protocol, ProcessTerminated(signal=9))

    def test_cancel(self) -> None:
        """Cancelling kills, too, and leaves no delayed call."""
        done, _ = self.begin()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.killed, [(4711, signal.SIGKILL)])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_leftovers(self) -> None:
        """What a program leaves running when it ends is killed."""
        _, protocol = self.begin()
        self.ends(protocol, ProcessDone(0))
        self.assertEqual(self.killed, [(4711, signal.SIGKILL)])

    def test_not_a_program(self) -> None:
        """A path that is no program fails with words that say so, and starts nothing."""
        for path in ("/nonexistent", gettempdir(), os.devnull):
            check = ExecCheck(reactor_of(self.reactor), self.reactor, path)
            error = self.assertRaises(CheckFailed, check.probe, TARGET, 1.0)
            self.assertIn(path, str(error))
        self.assertEqual(self.reactor.spawned, [])

    def test_no_more_processes(self) -> None:
        """A limit on processes is our shortage, not the server's."""
        self.reactor.spawn_error = OSError(errno.EAGAIN, "fork")
        self.assertRaises(NotAsked, self.check.probe, TARGET, 1.0)
