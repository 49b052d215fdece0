"""The command line: what is read, what is told, and the exit codes."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from balancer.tap import Options, Signals

CONF = Path(__file__).resolve().parent.parent / "conf" / "site.ini"


class CommandTests(SynchronousTestCase):
    """`twistd lb` and its options."""

    def setUp(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def leave(self, *words: str) -> object:
        """The exit code of the command with `words`."""
        left: SystemExit = self.assertRaises(SystemExit, Options().parseOptions, list(words))
        return left.code

    def file(self, text: str | bytes) -> str:
        """A site file of `text`."""
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def test_found_by_twistd(self) -> None:
        """`twistd` has the command lb, whose module is this one."""
        found: list[Any] = list(getPlugins(IServiceMaker))
        makers = [maker for maker in found if maker.tapname == "lb"]
        self.assertEqual([maker.module for maker in makers], ["balancer.tap"])

    def test_example(self) -> None:
        """The example that comes with the balancer is sound, without a warning."""
        self.assertEqual(self.leave("--config", str(CONF), "--check"), 0)
        self.assertEqual(self.out.getvalue(), f"{CONF}: ok\n")
        self.assertEqual(self.err.getvalue(), "")

    def test_every_error(self) -> None:
        """A bad file leaves with 1 and every error, each with path and line."""
        path = self.file("[pool a]\nservers = x\n[htpp b]\n")
        self.assertEqual(self.leave("--config", path), 1)
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertTrue(lines[0].startswith(f"{path}:2: [pool a] servers: expected "), lines)
        self.assertIn("did you mean 'http'?", lines[1])

    def test_warning(self) -> None:
        """A warning is told and does not stop --check from being passed."""
        path = self.file("[pool a]\nservers = a 127.0.0.1:1\n")
        self.assertEqual(self.leave("--config", path, "--check"), 0)
        self.assertEqual(
            self.err.getvalue(), f"{path}:1: [pool a]: no section uses this pool (warning)\n"
        )

    def test_no_file(self) -> None:
        """A file that cannot be read leaves with 1 and says which and why."""
        self.assertEqual(self.leave("--config", "/nowhere/site.ini"), 1)
        self.assertIn("/nowhere/site.ini: ", self.err.getvalue())
        self.assertIn("No such file", self.err.getvalue())

    def test_garbage(self) -> None:
        """A file of bytes that are no text is told, not raised."""
        self.assertEqual(self.leave("--config", self.file(b"\xff\xfe\0[site]\n\x80 = \xff\n")), 1)
        self.assertNotIn("Traceback", self.err.getvalue())


class FakeOperations:
    """Counts reloads."""

    def __init__(self) -> None:
        self.asked = 0

    def reload_again(self) -> None:
        self.asked += 1


class FakeSite:
    """A site that writes down what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.operations = FakeOperations()

    def leave(self) -> None:
        self.told.append("leave")

    def reopen_logs(self) -> None:
        self.told.append("reopen")


class FakeReactor(MemoryReactorClock):
    """A reactor that runs what other threads ask for at once."""

    def callFromThread(self, callable: Any, *args: object, **kw: object) -> None:
        callable(*args, **kw)


class SignalTests(SynchronousTestCase):
    """What the process does at signals, which are called here as Python would."""

    def setUp(self) -> None:
        self.actions: dict[int, Any] = {}
        self.patch(signal, "signal", self.actions.__setitem__)
        site: Any = FakeSite()
        self.site = site
        Signals(FakeReactor(), site).install()

    def send(self, number: signal.Signals) -> None:
        """Have the handler called."""
        self.actions[number](number, None)

    def test_term(self) -> None:
        """SIGTERM and SIGINT have the site leave."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGINT)
        self.assertEqual(self.site.told, ["leave", "leave"])

    def test_usr1(self) -> None:
        """SIGUSR1 reopens the logs."""
        self.send(signal.SIGUSR1)
        self.assertEqual(self.site.told, ["reopen"])

    def test_hup(self) -> None:
        """SIGHUP reloads."""
        self.send(signal.SIGHUP)
        self.assertEqual((self.site.operations.asked, self.site.told), (1, []))

    def test_not_yet(self) -> None:
        """SIGUSR2 changes nothing in this version, and does not end the process."""
        self.send(signal.SIGUSR2)
        self.assertEqual(self.site.told, [])
