"""The manual pages as `man` and groff set them, and the news as towncrier does."""

from __future__ import annotations

import subprocess
import sys

from tests.live.harness import LiveTestCase, ask, need
from tests.pages import ROOT

PAGES = ("balancer.7", "site.ini.5", "lbctl.1", "balancer-announce.8", "balancer-setup.8")


class ManualTests(LiveTestCase):
    """docs/man"""

    def test_all(self) -> None:
        """There are these pages and no others."""
        found = sorted(path.name for path in (ROOT / "docs" / "man").iterdir())
        self.assertEqual(sorted(PAGES), found)

    def test_no_warnings(self) -> None:
        """Neither groff with all of its warnings nor `man` complains, at any width."""
        need("groff", "man")
        for page in PAGES:
            path = str(ROOT / "docs" / "man" / page)
            for width in ("60", "80", "132"):
                for command in (("groff", "-ww", "-man", "-Tutf8", "-z", f"-rLL={width}n", path),
                                ("man", "--warnings", "--local-file", path)):
                    done = subprocess.run(
                        ["env", "LC_ALL=C.UTF-8", f"MANWIDTH={width}", *command],
                        capture_output=True, text=True, timeout=20, check=False)
                    self.assertEqual((0, ""), (done.returncode, done.stderr), command)

    def test_warnings_are_seen(self) -> None:
        """A page with a fault is complained of."""
        need("groff")
        page = self.directory / "bad.1"
        page.write_text(".TH BAD 1\n.SH NAME\nbad \\- x\n.NOSUCH macro\n")
        done = subprocess.run(["groff", "-ww", "-man", "-Tutf8", "-z", str(page)],
                              capture_output=True, text=True, timeout=20, check=False)
        self.assertIn("NOSUCH", done.stderr)

    def test_found_by_name(self) -> None:
        """Each page's NAME is one that `whatis` can list."""
        need("lexgrog")
        for page in PAGES:
            said = ask("lexgrog", str(ROOT / "docs" / "man" / page))
            self.assertIn(f'"{page.rpartition(".")[0]} - ', said)


class NewsTests(LiveTestCase):
    """newsfragments/"""

    def test_draft(self) -> None:
        """towncrier takes every fragment, and its draft has the text of each."""
        directory = ROOT / "newsfragments"
        draft = " ".join(ask("env", "-C", str(ROOT), sys.executable, "-m", "towncrier", "build",
                             "--draft", "--version", "next").split())
        lost = [each.name for each in directory.iterdir()
                if " ".join(each.read_text().split()) not in draft]
        self.assertEqual([], [name for name in lost if name != ".gitignore"])
