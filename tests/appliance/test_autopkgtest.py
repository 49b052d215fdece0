"""
The tests that the package brings for Debian's autopkgtest, run as that would.
"""

from __future__ import annotations

import shutil

from tests.appliance.machine import ROOT, ApplianceTestCase

WITHIN = 80
"""Seconds; less than the test may last in all."""


class AutopkgtestTests(ApplianceTestCase):
    """A machine with the package and the source beside it."""

    def runs(self, name: str) -> str:
        """debian/tests/NAME; what it prints."""
        ignored = shutil.ignore_patterns("__pycache__")
        for part in ("tests", "debian/tests"):
            shutil.copytree(ROOT / part, self.debs / "source" / part, ignore=ignored)
        self.does("dpkg -i /debs/balancer.deb")
        return self.does(f"mkdir /tmp/a && cd /debs/source && AUTOPKGTEST_TMP=/tmp/a "
                         f"debian/tests/{name}", WITHIN)

    def test_smoke(self) -> None:
        """The commands work as they are installed."""
        said = self.runs("smoke")
        self.assertIn("site.ini: ok", said)
        self.assertIn("active", said)

    def test_live(self) -> None:
        """So do the live tests, without the source of what they test."""
        said = self.runs("live")
        self.assertRegex(said, r"\nPASSED \(successes=\d\d\)\n")

    def test_all_named(self) -> None:
        """Each test that debian/tests/control names is one of these."""
        control = (ROOT / "debian/tests/control").read_text()
        named = [line.partition(": ")[2] for line in control.splitlines() if "Tests:" in line]
        self.assertEqual(named, ["smoke", "live"])
