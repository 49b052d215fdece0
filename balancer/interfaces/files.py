"""
The seam of files that sections name, for who looks at them before a start does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from balancer.interfaces.balancers import IBalancerMaker, PrepareError

if TYPE_CHECKING:
    from balancer.config.schema import Finding
    from balancer.interfaces.context import ISections


class BadFiles(PrepareError):
    """Files that a section names cannot be used. `findings` says of each at which line of which
    option it is named, what was expected, what came and what to do; `title` is the section's."""

    def __init__(self, title: str, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(f"[{title}] {option}: {text}" for option, _, text in findings))
        self.findings = tuple(findings)


@frozen
class Flaw:
    """What is wrong with a file: the section's key (`dns:example.test`, `site:`), the option and
    the line of its value that name the file, and the fault in words. `doubt`: a start would use the
    file all the same."""

    key: str
    option: str
    index: int
    text: str
    doubt: bool = False


class IReadsFiles(IBalancerMaker):
    """A maker whose sections name files, and that can tell what a start would say of them."""

    def reading(sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        """
        Read all files that these sections (the kind's settings by name) name, by the code that
        `prepare` reads them with, and say all that is wrong with them; None after each few
        milliseconds of work. Nothing is made, bound, asked or kept; no balancer is there.
        """
