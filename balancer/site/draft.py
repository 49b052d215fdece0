"""
The sections of one site file while they are held against each other.

Pure: it knows who names whom. What may not be is said by `references`, `claims` and `uses`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

from balancer.config.schema import Claim, Parsed, Problem, Reference, SiteFile, quoted
from balancer.site.plan import Makers
from balancer.site.sections import SiteSettings

WATCHING = frozenset(("anycast",))
"""Kinds that only want to know whether a pool has servers up: they ask nothing of these, unless
nobody else uses the pool."""


class Draft:
    """See the module. `users` has the kinds of the sections that use each pool, by its name."""

    def __init__(self, file: SiteFile, makers: Makers) -> None:
        self.path = file.path
        self.names = file.names
        self.sections = file.sections
        if ("site", "") not in file.names:
            # What [site] has by default stands beside the rest: it is line 0 of every file.
            self.sections = (Parsed("site", "", SiteSettings(), 0, {}), *file.sections)
        self.makers = makers
        self.declared = {section.kind: section for section in makers.sections()}
        self.by_key = {f"{each.kind}:{each.name}": each for each in self.sections}
        self.users = self._all_users()

    def references(self, section: Parsed) -> Iterable[Reference]:
        """Whom the section names."""
        return self.declared[section.kind].references(section.settings)

    def pools_of(self, section: Parsed) -> Iterator[str]:
        """The pools that the section uses, and those of the sections that it works through."""
        for reference in self.references(section):
            if reference.kind == "pool":
                yield reference.name
            elif reference.through:
                yield from self.pools_of(self.by_key[f"{reference.kind}:{reference.name}"])

    def needs(self, section: Parsed) -> dict[str, Reference]:
        """The keys of the sections that must be ready before `section`, pools apart, with the first
        reference to each; what is not there is told elsewhere."""
        found: dict[str, Reference] = {}
        for reference in self.references(section):
            key = f"{reference.kind}:{reference.name}"
            if reference.kind != "pool" and not reference.loose and key in self.by_key:
                found.setdefault(key, reference)
        return found

    def problem(
        self,
        section: Parsed,
        option: str,
        index: int,
        text: str,
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """What is wrong with a line of an option, or with the section itself."""
        return Problem(
            path=self.path,
            line=section.line_of(option, index) if option else section.line,
            section=f"{section.kind} {section.name}".strip(),
            option=option,
            text=text,
            severity=severity,
        )

    def claims(self) -> Iterator[tuple[Parsed, Claim]]:
        """All listeners that are claimed, and by whom."""
        for section in self.sections:
            for claim in self.declared[section.kind].claims(section.settings):
                yield section, claim

    def _all_users(self) -> defaultdict[str, set[str]]:
        """The kinds of the sections that use each pool, by its name."""
        users: defaultdict[str, set[str]] = defaultdict(set)
        for section in self.sections:
            for reference in self.references(section):
                if reference.kind == "pool":
                    users[reference.name].add(section.kind)
        for kinds in users.values():
            if kinds - WATCHING:
                kinds -= WATCHING
        return users


def meant(word: str | None) -> str:
    """What is said of a word that is near to what came, '' of none."""
    return f"; did you mean {quoted(word)}?" if word else ""
