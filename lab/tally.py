"""
What clients saw while something failed: requests counted, and how long some of them failed. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen


@frozen
class Request:
    """One request: when it began (Unix seconds), how many tries it took, and whether it was
    answered in the end."""

    at: float
    tries: int
    answered: bool


@frozen
class Tally:
    """All requests of a time, and the harm that was done in it."""

    harm: str
    asked: int
    failed: int
    again: int
    """Requests that were answered at the second try."""

    ended: float
    """Seconds from the harm until the last request began that failed or was tried again; 0: none.
    """

    gone: float | None
    """Seconds from the harm until the router sent nothing there any more; None: it went on."""


def tally(harm: str, at: float, requests: Iterable[Request], gone: float | None) -> Tally:
    """The sum of what was asked around a harm that was done `at` that time."""
    all_ = list(requests)
    hurt = [each for each in all_ if not each.answered or each.tries > 1]
    return Tally(
        harm, len(all_), sum(not each.answered for each in all_),
        sum(each.answered and each.tries > 1 for each in all_),
        max((each.at - at for each in hurt), default=0.0),
        None if gone is None else gone - at,
    )


def table(rows: Sequence[Tally]) -> str:
    """As Markdown."""
    lines = ["| harm | requests | failed | answered at the 2nd try | until | route gone after |",
             "|---|---|---|---|---|---|"]
    for row in rows:
        until = f"{row.ended:.2f} s" if row.failed or row.again else "-"
        gone = "-" if row.gone is None else f"{row.gone:.2f} s"
        cells = (row.harm, row.asked, row.failed, row.again, until, gone)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
