"""The control socket, found and asked; and what is said when it cannot be."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.lbctl import connection
from balancer.lbctl.connection import Connection, Failed, Refused, reach
from tests.lbctl.wire import FakeSocket, dial_to, no, ok


class Reaching(SynchronousTestCase):
    """Which socket is taken, and what is said when there is none."""

    def refused(self, control: str | None = None, **sockets: Any) -> str:
        """The text for the operator."""
        return str(self.assertRaises(Failed, reach, control, dial_to(**sockets)))

    def test_first(self) -> None:
        """The socket of the directory comes before the machine's."""
        here, machine = FakeSocket(ok(1)), FakeSocket(ok(2))
        reached = reach(None, dial_to(run_lb_sock=here, _run_balancer_lb_sock=machine))
        self.assertEqual(reached.ask({}), {"result": 1})
        reached = reach(None, dial_to(_run_balancer_lb_sock=machine))
        self.assertEqual(reached.ask({}), {"result": 2})

    def test_left_behind(self) -> None:
        """A socket that a killed balancer left does not hide the other one."""
        dial = dial_to(run_lb_sock=ConnectionRefusedError(),
                       _run_balancer_lb_sock=FakeSocket(ok(2)))
        self.assertEqual(reach(None, dial).ask({}), {"result": 2})

    def test_none(self) -> None:
        """When there is none, all paths are named with why, and what can be done."""
        text = self.refused(run_lb_sock=ConnectionRefusedError())
        self.assertIn("run/lb.sock: nobody listens there", text)
        self.assertIn("/run/balancer/lb.sock: ", text)
        self.assertIn("is it running?", text)
        self.assertIn("--control PATH", text)

    def test_asked_for(self) -> None:
        """When a path was given, only that is tried."""
        text = self.refused("x", run_lb_sock=FakeSocket(b""))
        self.assertIn("  x: ", text)
        self.assertNotIn("run/lb.sock", text)
        self.assertNotIn("--control PATH", text)

    def test_permission(self) -> None:
        """Who may not connect is told whose group may."""
        path = self.mktemp()
        with open(path, "w"):
            pass

        def dial(path: str) -> Any:
            raise PermissionError(13, "Permission denied")

        text = str(self.assertRaises(Failed, reach, path, dial))
        self.assertIn("permission denied", text)
        self.assertRegex(text, r"its group is (\S+): join it \(usermod -aG \1 YOU")
        text = str(self.assertRaises(Failed, reach, "/nowhere/x", dial))
        self.assertIn("sudo", text)

    def test_hangs(self) -> None:
        """A balancer that does not accept hangs."""
        self.assertIn("hangs", self.refused(run_lb_sock=BlockingIOError()))
        self.assertIn("hangs", self.refused(run_lb_sock=TimeoutError()))

    def test_real(self) -> None:
        """A path that is no socket, none at all, or too long for one is an OSError like others."""
        for path in (self.mktemp(), "/dev/null", "/" + "x" * 200):
            self.assertIn(path, str(self.assertRaises(Failed, reach, path)))


class Asking(SynchronousTestCase):
    """Requests over a connection."""

    def test_order(self) -> None:
        """Answers come in order, in whatever pieces."""
        sock: Any = FakeSocket(ok({"a": 1}) + ok({"b": 2}), piece=1)
        asked = Connection(sock, "x")
        self.assertEqual([asked.ask({"verb": "a"}), asked.ask({"verb": "b"})], [{"a": 1}, {"b": 2}])
        self.assertEqual(sock.asked, [{"verb": "a"}, {"verb": "b"}])

    def failed(self, sock: Any) -> str:
        """Why there is no result."""
        return str(self.assertRaises(Failed, Connection(sock, "x").ask, {"verb": "a"}))

    def test_refused(self) -> None:
        """A refusal has its problems, and the answer as it came."""
        sock: Any = FakeSocket(no("bad", "f:1: x"))
        error = self.assertRaises(Refused, Connection(sock, "x").ask, {})
        self.assertEqual((str(error), error.problems), ("bad", ("f:1: x",)))
        self.assertEqual(error.answer["ok"], False)

    def test_not_wanted(self) -> None:
        """A balancer that closes before it is asked has said why."""
        self.assertEqual(self.failed(FakeSocket(no("too many"), refuses=True)), "too many")

    def test_end(self) -> None:
        """An end in place of an answer, or amid one, is said so."""
        for answers in (b"", ok(1)[:-1]):
            self.assertIn("closed the connection", self.failed(FakeSocket(answers)))

    def test_time_out(self) -> None:
        """No answer in time means that the balancer hangs."""
        self.assertIn("hangs", self.failed(FakeSocket(b"", at_end=TimeoutError())))
        reset = ConnectionResetError(104, "Connection reset by peer")
        self.assertIn("reset", self.failed(FakeSocket(b"", at_end=reset)))

    def test_stranger(self) -> None:
        """Somebody else's socket is told apart."""
        deep = b"[" * 9999
        for line in (b"HTTP/1.1 400 Bad Request\r", b"[]", b"{}", b"\xff", deep):
            self.assertIn("no control socket", self.failed(FakeSocket(line + b"\n")))

    def test_endless(self) -> None:
        """An answer that does not end is not swallowed whole."""
        self.patch(connection, "MOST_ANSWER", 100)
        self.assertIn("does not end", self.failed(FakeSocket(b"x" * 300, piece=50)))

    def test_stream(self) -> None:
        """A stream has no time-out, and ends with the balancer's reason."""
        sock: Any = FakeSocket(ok({"id": 1}) + ok({"id": 2}) + no("dropped"))
        stream = Connection(sock, "x").stream({"verb": "events"})
        self.assertEqual([next(stream), next(stream)], [{"id": 1}, {"id": 2}])
        self.assertEqual(str(self.assertRaises(Refused, next, stream)), "dropped")
        self.assertEqual(sock.timeouts, [None])
