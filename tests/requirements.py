"""
Prints what setup.cfg requires, one a line, for pip: `-m tests.requirements [EXTRA]`.

Runs before anything is installed, so stdlib only. Installing the balancer itself is not wanted: an
editable install hides twisted/plugins from twistd, a plain one hides the checkout's changes.
"""

from __future__ import annotations

import sys
from configparser import ConfigParser
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.cfg"


def required(extra: str = "") -> list[str]:
    """The requirements of the balancer itself, or of one of its extras."""
    setup = ConfigParser(interpolation=None)
    setup.read_string(SETUP.read_text())
    section = setup["options.extras_require" if extra else "options"]
    listed = section[extra or "install_requires"]
    return [line.strip() for line in listed.splitlines() if line.strip()]


if __name__ == "__main__":
    print("\n".join(required(*sys.argv[1:2])))
