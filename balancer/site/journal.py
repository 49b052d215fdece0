"""
Our log as systemd's journal takes it (sd-daemon(3)): each line begins with how grave it is, and has
no time, since the journal has both. `twistd --logger=balancer.site.journal.observer` uses it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import IO, Any, Final

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel, eventAsText

GRAVE: Final = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
"""syslog(3)'s numbers."""

OURS: Final = "balancer."
"""Names of loggers that say nothing to the operator."""


def lines(text: str, level: Any) -> str:
    """`text` for the journal, each line of it as grave."""
    grave = GRAVE.get(level, GRAVE[LogLevel.info])
    return "".join(f"<{grave}>{line}\n" for line in text.splitlines())


def line(event: LogEvent) -> str:
    """An event with its traceback, if it has one; '' if it says nothing."""
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    whose = str(event.get("log_namespace") or "")
    if text and whose and not whose.startswith(OURS):
        text = f"{whose}: {text}"
    return lines(text, event.get("log_level"))


def observer() -> ILogObserver:
    """Writes to standard output, where the journal reads."""
    return FileLogObserver(sys.stdout, line)


def is_read_by_journal(stream: IO[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written there goes to the journal: systemd says which file that is
    (JOURNAL_STREAM in systemd.exec(5))."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
