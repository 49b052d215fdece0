"""
Signals that come before the balancer runs: while it reads the site file and binds.
"""

from __future__ import annotations

import signal
import time

from tests.live.harness import LOOPBACK, LiveTestCase, free_port

SITE = """
[site]
admin = off
control = off
[demo a]
http = $host:$port
"""


class EarlySignalTests(LiveTestCase):
    """A start that is interrupted."""

    def test_term_at_any_moment(self) -> None:
        """SIGTERM ends a starting balancer without a traceback: with 0 once it binds, and by the
        signal itself before that."""
        site = self.site_file(SITE, host=LOOPBACK, port=free_port())
        for number in range(8):
            process = self.twistd(site, name=f"start{number}")
            time.sleep(0.1 * (number + 1))
            process.signal(signal.SIGTERM)
            self.assertIn(process.wait(), (0, -signal.SIGTERM), process.output)
            self.assertNotIn("Traceback", process.output)

    def test_hup_while_it_starts(self) -> None:
        """A reload that is asked for while the balancer binds does not end it."""
        port = free_port()
        process = self.twistd(self.site_file(SITE, host=LOOPBACK, port=port))
        while not process.catches(signal.SIGTERM) and process.status is None:
            time.sleep(0.005)
        process.signal(signal.SIGHUP)
        process.running(port)
        self.assertEqual(process.stop(), 0)
