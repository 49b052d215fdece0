"""
The lab's prompt, where there is no lab.
"""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lab.__main__ import asked
from lab.hosts import Hosts
from lab.internet import Internet
from lab.topology import MAP


class PromptTests(SynchronousTestCase):
    """What a line prints."""

    def said(self, line: str) -> str:
        """That, on both streams."""
        with redirect_stdout(StringIO()) as said, redirect_stderr(said):
            asked(Internet(Hosts(Path(self.mktemp()))), line)
        return said.getvalue()

    def test_verbs(self) -> None:
        """Verbs do what they do on the command line."""
        self.assertEqual(self.said("map"), MAP)
        self.assertEqual(self.said("status"), "0 of 16 hosts\n")
        self.assertEqual(self.said(""), "")

    def test_mistakes(self) -> None:
        """Whatever is wrong with a line is said, and the next one is asked for."""
        self.assertIn("expected one of r1 r2 ann", self.said("anne curl x"))
        self.assertIn("expected one of east-a", self.said("start r1"))
        self.assertIn("no host 'ann' runs here", self.said("ann true"))
        self.assertIn("required: host", self.said("start"))
        self.assertIn("No closing quotation", self.said("start 'x"))
        self.assertIn("expected harms of", self.said("failover nonsense"))
