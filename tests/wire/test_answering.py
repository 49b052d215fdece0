"""
Tests of `balancer.wire.answering`: ports whose owner answers at once, with and without batches.
"""

from __future__ import annotations

import errno
import select
import socket
from operator import sub
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire import batches
from balancer.wire.address import literal
from balancer.wire.answering import ALONE
from balancer.wire.bind import bind_udp
from balancer.wire.bound import DATAGRAMS_A_TURN, MAX_DATAGRAM
from balancer.wire.datagrams import DatagramPort
from tests.wire.reactors import StillReactor
from tests.wire.test_datagrams import Case

# linux/in.h, linux/socket.h; Python does not name them.
IP_PKTINFO = 8
SO_TIMESTAMP = 29

BROADCAST = "127.255.255.255"
"""What is asked there is answered from the device's own address."""


class Answering:
    """An owner answers, whichever way the datagrams come and go."""

    family = socket.AF_INET
    from_host = "127.0.0.1"

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
        self.assertEqual((hosts, self.totals()), ([self.from_host] * 12, (12, 8, 0)))

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
        """Nobody is called any more then, and nothing fails; who was answered before gets it."""
        called = []
        errors: list[OSError] = []
        self.port.errors(errors.append)

        def answer(data: bytes, host: str) -> bytes | None:
            called.append(data)
            if data == b"stop":
                self.port.stop()
                self.assertEqual(self.port.fileno(), -1)
            return None if data == b"3" else data

        client = self.answering(answer)
        before = [b"%d" % number for number in range(ALONE + 4)]
        self.ask(client, *before, b"stop", b"last", b"last")
        self.port.stop()
        self.assertEqual(called, [*before, b"stop"])
        before.remove(b"3")
        self.assertEqual([client.recv(100) for _ in before], before)
        self.assertEqual(self.totals(), (len(before) + 2, len(before), 1))
        self.assertEqual((errors, self.reactor.readers), ([], set()))


class OneByOneTests(Answering, Case):
    """Where datagrams may be too long for a batch."""

    longest = MAX_DATAGRAM


class WithoutTests(Answering, Case):
    """Where there are no such calls into the kernel."""

    longest = 4096

    def setUp(self) -> None:
        super().setUp()
        self.patch(batches, "calls", lambda: None)


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
        alone = [b"usual"] * ALONE
        self.ask(client, *alone, b"usual", b"other", b"bang", b"usual")
        got = [client.recv(100) for _ in range(ALONE + 3)]
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(got, [b"asked"] * ALONE + [b"at hand", b"asked", b"at hand"])
        self.assertEqual(asked, [*alone, b"other"])
        self.assertEqual(self.totals(), (ALONE + 4, ALONE + 3, 0))

    def test_errors(self) -> None:
        """Errors that the kernel keeps for the socket reach who asked for them, and the next
        datagrams are read."""
        errors: list[OSError] = []
        self.port.errors(errors.append)
        client = self.answering(lambda data, host: data)
        self.ask(client, *[b"x"] * 5)
        with socket.socket(self.family, socket.SOCK_DGRAM) as gone:
            gone.bind((self.from_host, 0))
            self.port.socket.connect(gone.getsockname())
        self.port.socket.send(b"x")
        self.reactor._pass_on(self.port, select.POLLIN)
        self.assertEqual([error.errno for error in errors], [errno.ECONNREFUSED])
        self.port.socket.connect(client.getsockname())
        self.ask(client, b"y")
        self.assertEqual([client.recv(100) for _ in range(6)], [b"x"] * 5 + [b"y"])


class TogetherV6Tests(TogetherTests):
    """The same over IPv6."""

    host = from_host = "::1"
    family = socket.AF_INET6


class Asked:
    """On a wildcard bind an answer leaves from the address that was asked."""

    host = "0.0.0.0"
    longest = 4096

    def ask_at(self: Any, *asked: str) -> list[tuple[bytes, str]]:
        """Ask at each of these addresses before the port can read; the answers, and from where."""
        client = self.answering(lambda data, host: data + host.encode())
        for number, host in enumerate(asked):
            client.sendto(b"%d " % number, (host, self.port.address.port))
        self.reactor.turn()
        got = [client.recvfrom(100) for _ in asked]
        return [(data, source[0]) for data, source in got]

    def expected(self, *sources: str) -> list[tuple[bytes, str]]:
        """The answers that come from there."""
        peer = self.from_host.encode()  # type: ignore[attr-defined]  # of the mixin beside
        return [(b"%d " % number + peer, source) for number, source in enumerate(sources)]

    def test_asked(self: Any) -> None:
        """Each answer leaves from there, whatever the others were asked at."""
        asked = [f"127.0.0.{1 + number % 3}" for number in range(9)]
        self.assertEqual(self.ask_at(*asked), self.expected(*asked))
        self.assertEqual(self.totals(), (9, 9, 0))

    def test_more_is_told(self: Any) -> None:
        """The kernel may tell more than that of each datagram."""
        self.port.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
        asked = [f"127.0.0.{1 + number % 3}" for number in range(9)]
        self.assertEqual(self.ask_at(*asked), self.expected(*asked))

    def test_nothing_is_told(self: Any) -> None:
        """Where the kernel does not tell, the routing table decides; nothing is left of what it
        told before. Once it tells again, that is read."""
        self.ask_at(*["127.0.0.5"] * 9)
        self.port.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 0)
        self.assertEqual(self.ask_at(*["127.0.0.5"] * 9), self.expected(*["127.0.0.1"] * 9))
        self.port.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
        self.assertEqual(self.ask_at(*["127.0.0.5"] * 9), self.expected(*["127.0.0.1"] * 9))
        self.port.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 0)
        self.ask_at(*["127.0.0.5"] * 9)
        self.port.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.assertEqual(self.ask_at(*["127.0.0.5"] * 9), self.expected(*["127.0.0.5"] * 9))
        self.assertEqual(self.totals(), (45, 45, 0))


class AskedOneByOneTests(Asked, OneByOneTests):
    """One by one."""

    longest = MAX_DATAGRAM


class AskedTests(Asked, TogetherTests):
    """In batches."""


class AskedV6Tests(TogetherV6Tests):
    """The same over IPv6."""

    host = "::"

    def test_more_is_told(self) -> None:
        """The kernel may tell more than the address of each datagram."""
        self.port.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
        client = self.answering(lambda data, host: data)
        self.ask(client, *[b"x"] * 9)
        self.assertEqual({client.recvfrom(100)[1][0] for _ in range(9)}, {"::1"})


class TwoWaysTests(SynchronousTestCase):
    """Batches answer as one by one does."""

    def setUp(self) -> None:
        self.reactor = StillReactor()
        self.ports = [self.port(4096), self.port(MAX_DATAGRAM)]

    def port(self, longest: int) -> DatagramPort:
        """A port that answers as it is asked."""
        sock = bind_udp(literal("0.0.0.0", 0))
        port = DatagramPort(self.reactor, sock, literal("0.0.0.0", sock.getsockname()[1]))
        self.addCleanup(port.stop)
        port.longest = longest
        port.answer = self.answer
        port.at_hand = lambda data: data if data.startswith(b"usual") else None
        port.start()
        return port

    def answer(self, data: bytes, host: str) -> bytes | None:
        """Each first word has an answer of its own kind."""
        what = data.split()[0]
        if what == b"bang":
            raise RuntimeError("bang")
        return {b"none": None, b"empty": b"", b"big": bytes(70_000)}.get(what, data)

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(st.tuples(
        st.integers(0, 3), st.sampled_from(("127.0.0.1", "127.0.0.2", "127.9.9.9", BROADCAST)),
        st.sampled_from(("usual", "usual", "own", "none", "empty", "big", "bang"))), max_size=90))
    def test_both(self, questions: list[tuple[int, str, str]]) -> None:
        """Who asks whom for what gets the same answers from the same addresses, in order, and all
        is counted alike."""
        seen = [self.outcome(port, questions) for port in self.ports]
        raised = sum(what == "bang" for _, _, what in questions)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2 * raised)
        self.assertEqual(seen[0], seen[1])
        answered = [what in ("usual", "own", "empty") for _, _, what in questions]
        refused = sum(what == "big" for _, _, what in questions)
        self.assertEqual(seen[0][1], (len(questions), sum(answered), refused))
        self.assertEqual(sum(map(len, seen[0][0])), sum(answered))

    def outcome(self, port: DatagramPort, questions: list[tuple[int, str, str]]) -> Any:
        """What each client got from where, and what was counted."""
        before = port.received_total, port.sent_total, port.dropped_total
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
        for client in clients:
            self.addCleanup(client.close)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.bind(("127.0.0.1", 0))
        for number, (who, asked, what) in enumerate(questions):
            clients[who].sendto(f"{what} {number}".encode(), (asked, port.address.port))
        self.reactor.turn(1 + len(questions) // DATAGRAMS_A_TURN)
        got = [[(data, source[0]) for data, source in everything(client, port.address.port)]
               for client in clients]
        for client in clients:
            client.close()
        after = port.received_total, port.sent_total, port.dropped_total
        return got, tuple(map(sub, after, before))


def everything(client: socket.socket, port: int) -> list[tuple[bytes, tuple[str, int]]]:
    """All that has come to a client, from that port."""
    client.setblocking(False)
    found: list[tuple[bytes, tuple[str, int]]] = []
    while True:
        try:
            data, source = client.recvfrom(100)
        except BlockingIOError:
            return found
        assert source[1] == port
        found.append((data, source))
