"""Command lines as tests walk them: every verb of a parser, with its options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping


def verbs(parser: argparse.ArgumentParser) -> Mapping[tuple[str, ...], frozenset[str]]:
    """The options of the parser itself, at (), and those of each verb and its own verbs."""
    return dict(_walk(parser, ()))


def _walk(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
    yield words, frozenset(option for each in parser._actions for option in each.option_strings)
    for each in parser._actions:
        if isinstance(each, argparse._SubParsersAction):
            for name, below in each.choices.items():
                yield from _walk(below, (*words, name))
