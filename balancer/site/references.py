"""
What sections say of each other: whether whom they name is there, in no circle, and what the
sections of one kind must be together.
"""

from __future__ import annotations

from collections.abc import Iterator

from balancer.config.schema import Parsed, Problem, nearest, quoted
from balancer.site.draft import Draft, meant
from balancer.site.order import Circle, arranged

MAX_CIRCLES = 20
"""How many circles of sections that need each other are told of; the rest is one more error."""


def unknown(draft: Draft) -> Iterator[Problem]:
    """Names of sections that are not there."""
    for section in draft.sections:
        for reference in draft.references(section):
            if (reference.kind, reference.name) in draft.names:
                continue
            names = [name for kind, name in draft.names if kind == reference.kind]
            got = quoted(reference.name)
            text = f"expected the name of a [{reference.kind} NAME] section, got {got}"
            text += meant(nearest(reference.name, names))
            yield draft.problem(section, reference.option, reference.index, text)


def circles(draft: Draft) -> Iterator[Problem]:
    """Sections that need each other can be made ready in no order."""
    by_key = draft.by_key
    all_needs = {key: draft.needs(each) for key, each in by_key.items() if each.kind != "pool"}
    left = {key: list(needs) for key, needs in all_needs.items()}
    for told in range(MAX_CIRCLES + 1):
        try:
            arranged(left)
            return
        except Circle as circle:
            names = circle.names
        last = by_key[names[-1]]
        left[names[-1]].remove(names[0])
        text = "too many circles; the rest was not looked for"
        if told < MAX_CIRCLES:
            around = ", which needs ".join(f"[{by_key[key].title}]" for key in names)
            text = f"expected no circle, got [{last.title}], which needs {around}"
        reference = all_needs[names[-1]][names[0]]
        yield draft.problem(last, reference.option, reference.index, text)


def of_kinds(draft: Draft) -> Iterator[Problem | None]:
    """What the sections of one kind must be to each other."""
    kinds: dict[str, dict[str, Parsed]] = {}
    for section in draft.sections:
        kinds.setdefault(section.kind, {})[section.name] = section
    for kind, sections in kinds.items():
        settings = {name: section.settings for name, section in sections.items()}
        for found in draft.declared[kind].together(settings):
            if found is None:
                yield None
            else:
                name, (option, index, text) = found
                yield draft.problem(sections[name], option, index, text)
