"""
`python -m balancer.site.reference` prints docs/reference.md: every section and check that this
distribution declares. What third parties installed beside it is left out.
"""

from __future__ import annotations

import sys

from balancer import plugins
from balancer.config.reference import Chapter, markdown
from balancer.site.plan import Makers

OWN_KINDS = (
    "http", "tcp", "udp", "dns", "place", "subdomains", "ecmp", "anycast", "demo",
)
OWN_CHECKS = ("tcp", "http", "https", "dns", "udp", "exec")

_NONE = "No check: the servers are taken to be up."


def page() -> str:
    """The whole page."""
    found = plugins.find()
    own = Makers({kind: found.balancers[kind] for kind in OWN_KINDS}, {})
    checks = tuple((name, found.checks[name].help) for name in OWN_CHECKS)
    return markdown(own.sections(), [Chapter("Checks", (*checks, ("none", _NONE)))])


if __name__ == "__main__":
    sys.stdout.write(page())
