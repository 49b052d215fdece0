"""
The lab for live tests: made in the test's directory, and gone with the test or its runner.
"""

from __future__ import annotations

from lab.hosts import Hosts
from lab.internet import TOOLS, Internet
from tests.live.harness import LiveTestCase, need
from tests.live.namespaces import need_root


class LabTestCase(LiveTestCase):
    """A test with the lab around it."""

    def internet(self, second: str = "bird") -> Internet:
        """The lab, working."""
        need_root()
        need(*TOOLS)
        # ExaBGP runs as another user, and reads its configuration there.
        self.directory.chmod(0o755)
        internet = Internet(Hosts(self.directory / "lab"))
        self.addCleanup(internet.down)
        internet.up(second)
        return internet
