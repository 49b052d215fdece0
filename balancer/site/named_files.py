"""
The files that a site file names: where, and what a start would say of them.

Who reads them are the makers (`IReadsFiles`); those of pools are the site's own. No balancer is
made, nothing is bound or asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from balancer.config.schema import Parsed, Problem
from balancer.interfaces import Flaw, IReadsFiles, ISections
from balancer.site.draft import Draft
from balancer.site.trusts import faults, options_of


@implementer(ISections)
@frozen
class Around:
    """The sections of a site file that others read."""

    geo: str | None
    _kinds: Mapping[str, Mapping[str, Any]]

    def sections(self, kind: str) -> Mapping[str, Any]:
        """See `ISections`."""
        return self._kinds.get(kind, {})


def paths(draft: Draft) -> tuple[str, ...]:
    """What the sections name that a start reads, each once."""
    found = {
        file.path: None
        for section in draft.sections
        for file in draft.declared[section.kind].files(section.settings)
    }
    return tuple(found)


def problems(draft: Draft) -> Iterator[Problem | None]:
    """
    What is wrong with the files that sound sections name; None after each few milliseconds of work.
    A fault is said once of a line, however many read the file for it.
    """
    told = set()
    for flaw in _flaws(draft):
        problem = None if flaw is None else _problem(draft, flaw)
        if problem is None or problem not in told:
            told.add(problem)
            yield problem


def _problem(draft: Draft, flaw: Flaw) -> Problem:
    section = draft.by_key[flaw.key]
    severity: Any = "warning" if flaw.doubt else "error"
    return draft.problem(section, flaw.option, flaw.index, flaw.text, severity)


def _flaws(draft: Draft) -> Iterator[Flaw | None]:
    kinds: dict[str, dict[str, Parsed]] = {}
    for section in draft.sections:
        if section.sound:
            kinds.setdefault(section.kind, {})[section.name] = section
    settings = {
        kind: {name: each.settings for name, each in sections.items()}
        for kind, sections in kinds.items()
    }
    inert = {kind: found for kind, found in settings.items() if draft.declared[kind].inert}
    site = settings.get("site", {}).get("")
    around = Around(None if site is None else site.geo, inert)
    for kind, found in settings.items():
        maker = draft.makers.balancers.get(kind)
        if kind == "pool":
            yield from _of_pools(found)
        elif maker is not None and IReadsFiles.providedBy(maker):
            yield from _of_kind(draft, maker, found, around)


def _of_pools(pools: Mapping[str, Any]) -> Iterator[Flaw | None]:
    for name, section in pools.items():
        trusted = options_of(section)
        if trusted is not None:
            for finding in faults(*trusted[:2]):
                yield Flaw(f"pool:{name}", *finding)
            yield None


def _of_kind(
    draft: Draft, maker: IReadsFiles, sections: Mapping[str, Any], around: Around
) -> Iterator[Flaw | None]:
    try:
        for flaw in maker.reading(sections, around):
            if flaw is not None and flaw.key not in draft.by_key:
                msg = f"expected the key of a section, got {flaw.key!r}"
                raise LookupError(msg)
            yield flaw
    except Exception as error:  # noqa: BLE001 - a third party's, or a library that is not there
        text = f"cannot read its files: {type(error).__name__}: {error}"
        yield Flaw(f"{maker.kind}:{next(iter(sections))}", "", 0, text)
