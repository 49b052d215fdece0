"""
Which reactor runs the balancer, and what the rest of the house may ask of it.
"""

from __future__ import annotations

import sys

from twisted.internet.error import ReactorAlreadyInstalledError

from balancer.wire.interfaces import IWireReactor

if sys.platform == "linux":
    from balancer.wire.lean import LeanReactor

__all__ = ["IWireReactor", "LeanReactor", "install"]


def install() -> None:
    """
    Install the lean reactor on Linux, Twisted's default elsewhere.

    A reactor that is installed already (`twistd --reactor=...`) stays.
    """
    if "twisted.internet.reactor" in sys.modules:
        return
    try:
        if sys.platform == "linux":
            from twisted.internet.main import installReactor

            installReactor(LeanReactor())
        else:
            from twisted.internet import default

            default.install()
    except ReactorAlreadyInstalledError:
        pass
