"""
Which section claims which listener, and that no two claim the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from balancer.config.schema import Claim, Parsed, Problem
from balancer.site.draft import Draft

SHARING = frozenset(("dns",))
"""The kinds whose sections may share a listener among themselves."""


def taken(draft: Draft) -> Iterator[Problem]:
    """Claims of what a section above has."""
    so_far: dict[tuple[str, int], list[tuple[Parsed, Claim]]] = {}
    for section, claim in draft.claims():
        others = so_far.setdefault((claim.protocol, claim.port), [])
        for other, earlier in others:
            shared = section.kind == other.kind and section.kind in SHARING
            if not _overlap(earlier.host, claim.host) or shared or not _fixed(claim):
                continue
            line = other.line_of(earlier.option, earlier.index)
            text = (
                f"expected a listener of its own, got {_shown(claim)}, which "
                f"[{f'{other.kind} {other.name}'.strip()}] has "
                + (f"at line {line}" if line else f"by default; set its {earlier.option}")
            )
            yield draft.problem(section, claim.option, claim.index, text)
            break
        others.append((section, claim))


def _fixed(claim: Claim) -> bool:
    """Whether the claim names a port: port 0 is another one each time it is bound."""
    return claim.port != 0 or claim.host.startswith("unix:")


def _shown(claim: Claim) -> str:
    if claim.host.startswith("unix:"):
        return claim.host
    host = f"[{claim.host}]" if ":" in claim.host else claim.host
    return f"{host}:{claim.port}"


def _overlap(one: str, other: str) -> bool:
    """Whether two hosts on the same port are the same, or one of them covers the other."""
    if one == other:
        return True
    if one.startswith("unix:") or other.startswith("unix:"):
        return False
    first, second = ip_address(one), ip_address(other)
    if first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified
