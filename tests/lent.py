"""What a site lends to a balancer, as far as most balancers need none of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balancer.interfaces import IBalancer


class Lent:
    """A part of `IContext`: a site file with nothing but what a test makes."""

    site_name = "here"
    geo: str | None = None
    state = "run"

    def sections(self, kind: str) -> Mapping[str, Any]:
        """None."""
        return {}

    def balancer(self, key: str) -> IBalancer:
        """None."""
        raise KeyError(key)

    def balancers(self, kind: str) -> Mapping[str, IBalancer]:
        """None."""
        return {}

    def healthy(self, key: str) -> bool:
        """All are."""
        return True

    def tell(self, balancer: str, did: str, cause: int) -> None:
        """Nobody listens."""

    def remembered(self, pool_name: str) -> frozenset[str]:
        """Nobody."""
        return frozenset()
