"""
`python -m balancer.site.reference` prints docs/reference.md: every section and check that this
distribution declares. What third parties installed beside it is left out. With the word `manual` it
prints docs/man/site.ini.5, which says the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from balancer import plugins
from balancer.config import manual
from balancer.config.declare import Section
from balancer.config.reference import Chapter, markdown
from balancer.site.plan import Makers

OWN_KINDS = (
    "http", "tcp", "udp", "dns", "place", "subdomains", "ecmp", "anycast", "demo",
)
OWN_CHECKS = ("tcp", "http", "https", "dns", "udp", "exec")

_NONE = "No check: the servers are taken to be up."


def page() -> str:
    """The whole page in Markdown."""
    return markdown(*_declared())


def manual_page() -> str:
    """The same as a manual page."""
    return manual.page(*_declared())


def _declared() -> tuple[Sequence[Section], Sequence[Chapter]]:
    found = plugins.find()
    own = Makers({kind: found.balancers[kind] for kind in OWN_KINDS}, {})
    checks = tuple((name, found.checks[name].help) for name in OWN_CHECKS)
    return own.sections(), [Chapter("Checks", (*checks, ("none", _NONE)))]


if __name__ == "__main__":
    sys.stdout.write(manual_page() if sys.argv[1:] == ["manual"] else page())
