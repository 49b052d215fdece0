"""docs/reference.md is made from the declarations, and stays equal to them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.site.reference import page

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "reference.md"


class Reference(SynchronousTestCase):
    """The committed page."""

    def test_equal(self) -> None:
        """The page says what the declarations say; if not, run `make docs`."""
        self.assertEqual(COMMITTED.read_text(), page())

    def test_every_option(self) -> None:
        """Every option of the site file's contract has an entry."""
        text = page()
        for option in ("drain-timeout", "servers", "max-connections", "error-page", "idle-timeout"):
            self.assertIn(option, text)
