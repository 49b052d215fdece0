"""
A bad site file starts nothing, and says all that is wrong with it at once.
"""

from __future__ import annotations

from tests.live.harness import LOOPBACK, LiveTestCase, answers, free_port

BAD = """\
[site]
admin = $host:$admin

[pool web]
servers =
    a $host:99999
algoritm = first
interval = soon

[http web]
listen = $host:$port
pool = wed
"""
FAULTS = {6: "99999", 7: "algorithm", 8: "soon", 12: "web"}  # line: a word that its error must bear

NOT_YET = """\
[site]
admin = off

[pool web]
servers = a $host:$port
hedge = 10ms

[http web]
listen = $host:$port
pool = web
"""


class BadSiteTests(LiveTestCase):
    """`twistd lb` and `twistd lb --check` on a file with four mistakes."""

    def setUp(self) -> None:
        """Write the file."""
        super().setUp()
        self.port, admin = free_port(), free_port()
        self.site = self.site_file(BAD, host=LOOPBACK, port=self.port, admin=admin)

    def assert_all_said(self, output: str) -> None:
        """Every mistake is there with path and line, and nothing that was not asked for."""
        for line, word in FAULTS.items():
            said = [one for one in output.splitlines() if one.startswith(f"{self.site}:{line}: ")]
            self.assertEqual(len(said), 1, output)
            self.assertIn(word, said[0])
        self.assertNotIn("Traceback", output)

    def test_foreground(self) -> None:
        """It exits 1 with all errors at once, and never listens."""
        process = self.twistd(self.site)
        self.assertEqual(process.wait(), 1, process.output)
        self.assert_all_said(process.output)
        self.assertFalse(answers(self.port))

    def test_daemonized(self) -> None:
        """The one who started it in the background is told as well."""
        process = self.twistd(self.site, foreground=False)
        self.assertEqual(process.wait(), 1, process.output)
        self.assert_all_said(process.output)

    def test_check(self) -> None:
        """`--check` reports the same, exits 1 and starts nothing."""
        process = self.twistd(self.site, "--check")
        self.assertEqual(process.wait(), 1, process.output)
        self.assert_all_said(process.output)

    def test_missing(self) -> None:
        """A file that is not there is named."""
        process = self.twistd(self.directory / "nowhere.ini")
        self.assertEqual(process.wait(), 1, process.output)
        self.assertIn("nowhere.ini", process.output)
        self.assertNotIn("Traceback", process.output)

    def test_not_in_this_version(self) -> None:
        """An option of a later version is refused by its line, never accepted and ignored."""
        site = self.site_file(NOT_YET, host=LOOPBACK, port=self.port)
        process = self.twistd(site, "--check")
        self.assertEqual(process.wait(), 1, process.output)
        self.assertRegex(process.output, rf"{site}:6: .*hedge.*not in this version")
