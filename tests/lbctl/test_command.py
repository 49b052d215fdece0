"""`lbctl` as a whole: its command line, output and exit codes, with the control socket injected."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import balancer.lbctl
from balancer.lbctl.command import main
from tests.lbctl import samples
from tests.lbctl.wire import FakeSocket, dial_to, no, ok


class Command(SynchronousTestCase):
    """Runs of `main`."""

    def setUp(self) -> None:
        """Catch what is printed."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def run_words(self, line: str, answers: bytes = b"", **more: Any) -> tuple[int, list[Any]]:
        """The exit code, and what was asked."""
        sock = FakeSocket(answers, **more)
        try:
            code = main(line.split(), dial_to(run_lb_sock=sock))
        except SystemExit as stop:
            code = int(str(stop.code))
        return code, sock.asked

    def request(self, line: str, result: Any = None) -> Any:
        """The request that a command line stands for."""
        code, asked = self.run_words(line, ok({} if result is None else result))
        self.assertEqual(code, 0, self.err.getvalue())
        return asked[0]


class Requests(Command):
    """What each verb asks for."""

    def test_requests(self) -> None:
        """Each verb is one request; files are named absolutely."""
        here = os.getcwd()
        for line, request in {
            "status": {"verb": "status"},
            "check conf/site.ini": {"verb": "check", "file": f"{here}/conf/site.ini"},
            "plan /x/../y": {"verb": "plan", "file": "/y"},
            "reload": {"verb": "reload"},
            "drain site": {"verb": "drain", "server": "site"},
            "ready web/a": {"verb": "ready", "server": "web/a"},
            "maint web/a": {"verb": "maint", "server": "web/a"},
            "weight web/a 3": {"verb": "weight", "server": "web/a", "weight": 3},
            "events": {"verb": "events", "since": 0, "follow": False},
            "events --since 9": {"verb": "events", "since": 9, "follow": False},
            "explain http GET http://x/ --from ::1": {
                "verb": "explain", "kind": "http", "name": "",
                "question": {"method": "GET", "url": "http://x/", "from": "::1"},
            },
            "explain http GET http://x/": {
                "verb": "explain", "kind": "http", "name": "",
                "question": {"method": "GET", "url": "http://x/", "from": "127.0.0.1"},
            },
            "explain dns www.x.test aaaa": {
                "verb": "explain", "kind": "dns", "name": "www.x.test",
                "question": {"type": "AAAA", "from": "127.0.0.1"},
            },
            "explain ecmp out": {
                "verb": "explain", "kind": "ecmp", "name": "out", "question": {},
            },
            "explain subdomains www": {
                "verb": "explain", "kind": "subdomains", "name": "www", "question": {},
            },
            "explain tcp echo --from [::1]:9": {
                "verb": "explain", "kind": "tcp", "name": "echo", "question": {"from": "[::1]:9"},
            },
        }.items():
            self.assertEqual(self.request(line), request, line)

    def test_options_anywhere(self) -> None:
        """--json and --control may stand before the verb or behind it."""
        for line in ("--json status", "status --json", "--control x --json status",
                     "status --control x --json", "--json explain tcp echo --from 1.2.3.4:5"):
            sock = FakeSocket(ok({"a": 1}))
            code = main(line.split(), dial_to(run_lb_sock=sock, x=sock))
            self.assertEqual((code, self.out.getvalue()), (0, '{"a": 1}\n'), line)
            self.out.truncate(0)
            self.out.seek(0)

    def test_follow(self) -> None:
        """Events are printed as they come; the balancer's reason to end is the last word."""
        events = b"".join(ok({"id": each, "at": 0, "text": "x"}) for each in (1, 2))
        code, asked = self.run_words("events --follow", events + no("the balancer stops"))
        self.assertEqual(asked, [{"verb": "events", "since": 0, "follow": True}])
        self.assertEqual(len(self.out.getvalue().splitlines()), 2)
        self.assertEqual((code, self.err.getvalue()), (1, "lbctl: the balancer stops\n"))

    def test_interrupted(self) -> None:
        """Ctrl-C ends it without a traceback."""
        self.assertEqual(
            self.run_words("events --follow", at_end=KeyboardInterrupt())[0], 130)
        self.assertEqual(self.err.getvalue(), "")


class Output(Command):
    """What is printed where, and the exit code."""

    def test_table(self) -> None:
        """The tables fit 80 columns when standard output is no terminal."""
        self.assertEqual(self.run_words("status", ok(samples.crowded()))[0], 0)
        lines = self.out.getvalue().splitlines()
        self.assertGreater(len(lines), 8)
        self.assertLessEqual(max(map(len, lines)), 80)

    def test_json(self) -> None:
        """--json prints the result on one line, as it came."""
        self.run_words("status --json", ok(samples.site()))
        self.assertEqual(json.loads(self.out.getvalue()), samples.site())
        self.assertEqual(self.out.getvalue().count("\n"), 1)

    def test_encoding(self) -> None:
        """A terminal that does not know a character gets a question mark, not a traceback."""
        raw = io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
        self.assertEqual(self.run_words("drain x", ok({"server": "ü", "state": "drain"}))[0], 0)
        self.assertEqual(raw.getvalue(), b"? is draining\n")

    def test_refused(self) -> None:
        """A refusal is on standard error with its problems; the exit code is 1."""
        code, _ = self.run_words("reload", no("f has errors", "f:1: bad", "f:2: \x1b[2J"))
        self.assertEqual((code, self.out.getvalue()), (1, ""))
        self.assertEqual(self.err.getvalue(), "f:1: bad\nf:2: ?[2J\nlbctl: f has errors\n")

    def test_refused_json(self) -> None:
        """With --json a refusal is JSON as well."""
        code, _ = self.run_words("reload --json", no("f has errors", "f:1: bad"))
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(self.out.getvalue()),
                         {"ok": False, "error": "f has errors", "problems": ["f:1: bad"]})

    def test_unreachable(self) -> None:
        """Without a balancer there is a reason, in JSON too, and for a check another way."""
        code = main(["--json", "check", "f.ini"], dial_to())
        self.assertEqual(code, 1)
        self.assertIn("run/lb.sock", json.loads(self.out.getvalue())["error"])
        self.assertIn("'twistd lb --config f.ini --check' needs none", self.err.getvalue())

    def test_bad_file(self) -> None:
        """A check that finds errors fails, though the balancer did as it was asked."""
        code, _ = self.run_words("check f", ok({"ok": False, "problems": ["f:1: bad"]}))
        self.assertEqual((code, self.out.getvalue().splitlines()[0]), (1, "f:1: bad"))
        code, _ = self.run_words("check f", ok({"ok": True, "problems": ["f:1: x (warning)"]}))
        self.assertEqual(code, 0)

    def hint(self, server: str, error: str = "expected a server") -> str:
        """What is said of an unknown server."""
        code, _ = self.run_words(f"drain {server}", no(error) + ok(samples.site()))
        self.assertEqual(code, 1)
        return self.err.getvalue().splitlines()[-1]

    def test_unknown_server(self) -> None:
        """An unknown server is told which one was meant, unless the balancer has said it."""
        self.assertEqual(self.hint("b"), "lbctl: expected a server; did you mean 'web/b'?")
        self.assertIn("did you mean 'web/a'?", self.hint("wbe/a"))
        self.assertIn("'lbctl status' shows", self.hint("qqqqqqqq"))
        self.assertEqual(self.hint("web/a", "it drains"), "lbctl: it drains")
        self.assertEqual(self.hint("site", "it drains"), "lbctl: it drains")
        text = "expected a server; did you mean 'web/c'?"
        self.assertEqual(self.hint("x", text), f"lbctl: {text}")

    def test_hint_fails(self) -> None:
        """When there is nothing to hint at, the reason alone is said."""
        code, _ = self.run_words("drain x", no("expected a server"))
        self.assertEqual((code, self.err.getvalue()), (1, "lbctl: expected a server\n"))


class Usage(Command):
    """Command lines that cannot be run."""

    def test_not_in_this_version(self) -> None:
        """Verbs of the contract that are not built fail and say so, without a balancer."""
        for line in ("confirm", "rollback", "connections", "top", "diff",
                     "reload --confirm-within 1m"):
            code, asked = self.run_words(line)
            self.assertEqual((code, asked), (1, []), line)
            self.assertTrue(self.err.getvalue().endswith(": not in this version\n"), line)

    def test_usage(self) -> None:
        """Bad usage exits with 2 and shows the usage, whatever is wrong."""
        for line in ("", "status x", "drain", "weight web/a", "weight web/a x", "weight web/a -1",
                     "explain", "explain http GET", "explain http http://x/ GET",
                     "explain tcp echo", "explain tcp echo --from 1.2.3.4", "check",
                     "explain dns x.test", "explain dns x.test A/", "status --colour",
                     "events --since x", "explain smtp"):
            code, asked = self.run_words(line)
            self.assertEqual((code, asked), (2, []), line)
            self.assertIn("usage: lbctl", self.err.getvalue())
            self.assertEqual(self.out.getvalue(), "")

    def test_misspelt(self) -> None:
        """A misspelt verb is told which one was meant."""
        self.assertEqual(self.run_words("stauts")[0], 2)
        self.assertIn("got 'stauts'; did you mean 'status'?", self.err.getvalue())

    def test_help(self) -> None:
        """Help goes to standard output and names every verb, the paths and the exit codes."""
        self.assertEqual(self.run_words("--help")[0], 0)
        for word in ("status", "explain", "run/lb.sock", "/run/balancer/lb.sock", "Exit codes"):
            self.assertIn(word, self.out.getvalue())

    def test_version(self) -> None:
        """--version needs no verb."""
        self.assertEqual(self.run_words("--version")[0], 0)
        self.assertRegex(self.out.getvalue(), r"^lbctl \d+\.\d+")


class Weight(SynchronousTestCase):
    """What it takes to start."""

    def test_stdlib_only(self) -> None:
        """The command imports nothing but the standard library and itself: it starts at once."""
        for path in Path(balancer.lbctl.__file__).parent.glob("*.py"):
            for statement in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(statement, ast.Import):
                    names = [alias.name for alias in statement.names]
                elif isinstance(statement, ast.ImportFrom):
                    names = [statement.module or ""]
                for name in names:
                    top = name.split(".")[0]
                    self.assertIn(top, {*sys.stdlib_module_names, "balancer"}, path)
