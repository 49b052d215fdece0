"""Who reads the wall clock: nobody who waits, so that it may be set at any time."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.imports import imports

ROOT = Path(__file__).resolve().parent.parent

WALL = {"time.time", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
        "time.localtime", "time.gmtime", "time.ctime", "time.strftime"}

ATTRIBUTES = {name.rpartition(".")[2] for name in WALL}

READS_WALL = {
    "check/service.py": "when a check was made, for people",
    "demo/answers.py": "the Date field",
    "dns/edge.py": "the dates of cookies and signatures, which all servers share",
    "dns/primary.py": "the first serial of a zone, and the dates of signatures",
    "dns/service.py": "the log's dates",
    "http/service.py": "the Date field and the log's dates",
    "relay/tcp/service.py": "the log's dates",
    "relay/udp/service.py": "the log's dates",
    "setup/command.py": "from when a first certificate is good",
    "site/context.py": "when an event was, for people",
    "site/memory.py": "how old what another process wrote is",
    "site/service.py": "since when the site runs, for people",
    "wire/certificates.py": "whether a certificate has expired",
}


class WallClockTests(SynchronousTestCase):
    """Who reads the wall clock."""

    def test_readers(self) -> None:
        """Only what people read has dates: everything that waits uses the monotonic clock."""
        found = {str(path.relative_to(ROOT / "balancer"))
                 for path in (ROOT / "balancer").rglob("*.py") if _reads(path)}
        self.assertEqual(found, READS_WALL.keys())


def _reads(path: Path) -> bool:
    """Whether the module calls or names a function that reads the wall clock."""
    text = path.read_text()
    if any(f"{statement.module}.{name}" in (*WALL, "email.utils.formatdate")
           for statement in imports(text) for name in statement.names):
        return True
    return any(name in text for name in WALL) and any(
        isinstance(each, ast.Attribute) and each.attr in ATTRIBUTES
        and ast.unparse(each).endswith(tuple(WALL)) for each in ast.walk(ast.parse(text)))
