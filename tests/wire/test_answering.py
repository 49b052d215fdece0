"""
Tests of `balancer.wire.answering`: ports whose owner answers at once, with and without batches.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import Any

from balancer.wire import batches
from balancer.wire.bound import DATAGRAMS_A_TURN, MAX_DATAGRAM
from tests.wire.test_datagrams import Case


class Answering:
    """An owner answers, whichever way the datagrams come and go."""

    family = socket.AF_INET

    def answering(self: Any, answers: Any) -> socket.socket:
        """A client of a port whose owner answers at once."""
        self.port.received = None
        self.port.answer = answers
        self.port.longest = self.longest
        client: socket.socket = self.client(self.family)
        return client

    def totals(self: Any) -> tuple[int, int, int]:
        """Received, sent, dropped."""
        return self.port.received_total, self.port.sent_total, self.port.dropped_total

    def ask(self: Any, client: socket.socket, *questions: bytes) -> None:
        """Ask all of them before the port can read the first, and let it read once."""
        for question in questions:
            client.sendto(question, self.port.address.sockaddr)
        self.reactor.turn()

    def test_answer(self: Any) -> None:
        """An owner may answer each datagram at once, or not, and all are counted."""
        hosts = []

        def answer(data: bytes, host: str) -> bytes | None:
            hosts.append(host)
            return None if data in (b"1", b"4") else b"to " + data

        client = self.answering(answer)
        for _ in range(2):
            self.ask(client, *[b"%d" % i for i in range(6)])
            expected = [b"to 0", b"to 2", b"to 3", b"to 5"]
            self.assertEqual([client.recv(100) for _ in range(4)], expected)
        self.assertEqual((hosts, self.totals()), ([self.host] * 12, (12, 8, 0)))

    def test_answer_nothing(self: Any) -> None:
        """Nobody needs to be answered, and an empty answer is one."""
        client = self.answering(lambda data, host: None if data == b"none" else b"")
        self.ask(client, *[b"none"] * 5)
        self.ask(client, b"none", b"empty", b"none", b"empty")
        self.assertEqual((client.recv(100), client.recv(100)), (b"", b""))
        self.assertEqual(self.totals(), (9, 2, 0))

    def test_each_its_own(self: Any) -> None:
        """Of many clients that ask together each gets its own answer."""
        self.answering(lambda data, host: b"to " + data if data != b"7" else None)
        clients = [self.client(self.family) for _ in range(20)]
        for at, client in enumerate(clients):
            client.sendto(b"%d" % at, self.port.address.sockaddr)
        self.reactor.turn()
        for at, client in enumerate(clients):
            if at != 7:
                self.assertEqual(client.recv(100), b"to %d" % at)

    def test_answers_in_batches(self: Any) -> None:
        """As many are answered in a turn as leave room for others."""
        client = self.answering(lambda data, host: data)
        self.ask(client, *[b"x"] * (DATAGRAMS_A_TURN + 3))
        self.assertEqual(self.totals()[:2], (DATAGRAMS_A_TURN, DATAGRAMS_A_TURN))
        self.reactor.turn()
        self.assertEqual(self.totals()[:2], (DATAGRAMS_A_TURN + 3, DATAGRAMS_A_TURN + 3))

    def test_answer_raises(self: Any) -> None:
        """An owner that raises loses that datagram alone."""
        client = self.answering(lambda data, host: [b"a"][len(data) - 1])
        self.ask(client, b"xx", b"x", b"xxx", b"x")
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 2)
        self.assertEqual([client.recv(100) for _ in range(2)], [b"a", b"a"])
        self.assertEqual(self.totals(), (4, 2, 0))

    def test_answer_too_long(self: Any) -> None:
        """An answer that the kernel does not take is dropped and counted; what is longer than
        `longest` comes cut."""
        client = self.answering(lambda data, host: bytes(70_000) if data == b"big" else data)
        self.port.longest = 3
        self.ask(client, *(b"bigger", b"abcdef") * 2)
        self.assertEqual([client.recv(100) for _ in range(2)], [b"abc", b"abc"])
        self.assertEqual(self.totals(), (4, 2, 2))

    def test_answers_of_any_length(self: Any) -> None:
        """An answer may be longer than what may come in, and they need not be of one length."""
        sizes = [5000, 1, 60_000, 0, 7]
        client = self.answering(lambda data, host: bytes(int(data)))
        self.ask(client, *[b"%d" % size for size in sizes])
        self.assertEqual([len(client.recv(70_000)) for _ in sizes], sizes)

    def test_answer_stops(self: Any) -> None:
        """An owner may stop the port from within, which is no error of the kernel's."""
        errors: list[OSError] = []
        self.port.errors(errors.append)
        self.ask(self.answering(lambda data, host: self.port.stop()), b"x", b"x")
        self.assertEqual((self.totals(), self.port.fileno(), errors), ((1, 0, 0), -1, []))

    def test_answer_stops_late(self: Any) -> None:
        """Nobody is called any more then, and nothing fails."""
        called = []

        def answer(data: bytes, host: str) -> bytes:
            called.append(data)
            if data == b"stop":
                self.port.stop()
            return data

        client = self.answering(answer)
        self.ask(client, b"first", b"second", b"third", b"stop", b"last", b"last")
        self.port.stop()
        self.assertEqual(called, [b"first", b"second", b"third", b"stop"])
        self.assertEqual(self.totals()[0], 4)
        self.assertEqual(client.recv(100), b"first")
        self.assertEqual((self.port.fileno(), self.reactor.readers), (-1, set()))


class OneByOneTests(Answering, Case):
    """Where datagrams may be too long for a batch."""

    longest = MAX_DATAGRAM


class WithoutTests(Answering, Case):
    """Where there are no such calls into the kernel."""

    longest = 4096

    def setUp(self) -> None:
        super().setUp()
        self.patch(batches, "_calls", lambda: None)


class TogetherTests(Answering, Case):
    """In batches."""

    longest = 4096

    def test_at_hand(self) -> None:
        """What is at hand is sent, in its turn, and nobody is asked who
        it is for; what it raises costs that datagram alone."""
        asked = []

        def answer(data: bytes, host: str) -> bytes:
            asked.append(data)
            return b"asked"

        def at_hand(data: bytes) -> bytes | None:
            if data == b"bang":
                raise RuntimeError("bang")
            return b"at hand" if data == b"usual" else None

        client = self.answering(answer)
        self.port.at_hand = at_hand
        self.ask(client, b"first", b"second", b"usual", b"other", b"bang", b"usual")
        got = [client.recv(100) for _ in range(5)]
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(got, [b"asked"] * 2 + [b"at hand", b"asked", b"at hand"])
        self.assertEqual(asked, [b"first", b"second", b"other"])
        self.assertEqual(self.totals(), (6, 5, 0))

    def test_errors(self) -> None:
        """Errors that the kernel keeps for the socket reach who asked for them, and the next
        datagrams are read."""
        errors: list[OSError] = []
        self.port.errors(errors.append)
        client = self.answering(lambda data, host: data)
        self.ask(client, *[b"x"] * 5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind((self.host, 0))
            self.port.socket.connect(gone.getsockname())
        self.port.socket.send(b"x")
        self.reactor._pass_on(self.port, select.POLLIN)
        self.assertEqual([error.errno for error in errors], [errno.ECONNREFUSED])
        self.port.socket.connect(client.getsockname())
        self.ask(client, b"y")
        self.assertEqual([client.recv(100) for _ in range(6)], [b"x"] * 5 + [b"y"])


class TogetherV6Tests(TogetherTests):
    """The same over IPv6."""

    host = "::1"
    family = socket.AF_INET6

    def test_errors(self) -> None:
        """Of the socket, whatever its family."""
