"""
docs/tour.md, typed as a reader would: into the prompt of `make lab`, line by line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lab.hosts import Hosts
from lab.internet import TOOLS
from tests.live.harness import ROOT, TWISTD, LiveTestCase, ask, need
from tests.live.namespaces import need_root
from tests.pages import Command, pieces

TOUR = ROOT / "docs" / "tour.md"

PROMPT = b"lab> "

WITHIN = 15.0
"""Seconds until a command prints what the page says: a balancer starts in one, but not on a machine
that has much else to do."""

ONCE = "wrk "
"""A command with this word is not typed again: it must come out right at the first time."""


class Lab:
    """The lab's own prompt. It removes the lab when its input ends, with whoever held that."""

    def __init__(self, words: list[str], directory: Path) -> None:
        self._process = subprocess.Popen(
            [*words, "--directory", str(directory)], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)})
        self.welcome = self._answer()

    def _answer(self) -> str:
        """What comes until the next prompt, or the end."""
        assert self._process.stdout is not None
        found = b""
        while not found.endswith(PROMPT):
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                break
            found += more
        return found.removesuffix(PROMPT).decode()

    def type(self, line: str) -> str:
        """What the line prints."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def close(self) -> int:
        """End its input, and wait for its end; the exit status."""
        self._process.communicate(timeout=20)
        return self._process.returncode


class TourTests(LiveTestCase):
    """The page."""

    def lab(self) -> Lab:
        """`make lab`, but for the directory: the command is the Makefile's own."""
        # A dry run: the test's environment is there, and is not to be made anew.
        done = ask("make", "-n", "-C", str(ROOT), "lab", f"VENV={TWISTD.parent.parent}")
        words = next(line for line in done.splitlines() if " -m lab" in line).split()
        self.assertEqual(words, [str(TWISTD.parent / "python"), "-m", "lab"])
        # ExaBGP runs as another user, and reads its configuration there.
        self.directory.chmod(0o755)
        lab = Lab([sys.executable, *words[1:]], self.directory / "lab")
        self.addCleanup(lab.close)
        return lab

    def test_tour(self) -> None:
        """Everything on the page happens as it says, in its order, and nothing is left."""
        need_root()
        need(*TOOLS, "wrk", "nc", "make")
        first, *commands = [each for each in pieces(TOUR.read_text()) if isinstance(each, Command)]
        self.assertEqual((first.prompt, first.typed), ("$", "make lab"))
        lab = self.lab()
        self.assertTrue(first.is_printed(lab.welcome), lab.welcome)
        self.assertGreater(len(commands), 50)
        for command in commands:
            self.assertEqual(command.prompt, "lab>", command)
            self.prints(lab, command)
        self.assertEqual(lab.close(), 0)
        self.assertEqual(Hosts(self.directory / "lab").pids(), {})
        self.assertFalse((self.directory / "lab").exists())

    def prints(self, lab: Lab, command: Command) -> None:
        """It prints what the page says, within some seconds."""
        began = time.monotonic()
        while not command.is_printed(output := lab.type(command.typed)):
            wanted = "\n".join(command.printed)
            late = ONCE in command.typed or time.monotonic() - began > WITHIN
            self.assertFalse(late, f"lab> {command.typed}\n{output}\nthe page says:\n{wanted}")
            self.assertIsNone(lab.status(), output)
            time.sleep(0.2)
