"""
Which number each server of a pool has in its name: one that stays, whoever comes and goes.

Pure: names of servers in, numbers out, and both as JSON for the next start. Knows no host name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any, Final

from attrs import define, field

MAX_RETIRED: Final = 1000
"""Numbers that are remembered for servers that are gone: as many as events are, a year of a deploy
a working day that replaces four servers. Their names may stand in bookmarks and caches."""

MAX_DIGITS: Final = 7
"""Digits of a number. A site file of 16 MiB has fewer servers than a million."""

_FORMAT: Final = 1


@define(eq=False)
class Numbers:
    """
    A server keeps its number while it stays, and gets it back when it returns under its name. A new
    server gets the lowest number that nobody has or had; the number of one that left is free again
    when `MAX_RETIRED` others have left after it.
    """

    _given: dict[str, int] = field(factory=dict)
    _retired: dict[str, int] = field(factory=dict)
    """Who left last stands last."""

    @property
    def given(self) -> Mapping[str, int]:
        """Each server's number."""
        return MappingProxyType(self._given)

    @property
    def retired(self) -> Mapping[str, int]:
        """The numbers of servers that are gone."""
        return MappingProxyType(self._retired)

    def follow(self, servers: Iterable[str]) -> bool:
        """These are the servers from now on; whether any number was given, or taken back."""
        present = dict.fromkeys(servers)
        gone = [name for name in self._given if name not in present]
        new = [name for name in present if name not in self._given]
        for name in gone:
            self._retired[name] = self._given.pop(name)
        back = [name for name in new if name in self._retired]
        for name in back:
            self._given[name] = self._retired.pop(name)
        self._give([name for name in new if name not in self._given])
        for name in list(self._retired)[: max(0, len(self._retired) - MAX_RETIRED)]:
            del self._retired[name]
        return bool(gone or new)

    def _give(self, new: Iterable[str]) -> None:
        taken = {*self._given.values(), *self._retired.values()}
        free = (number for number in count(1) if number not in taken)
        self._given.update(zip(new, free, strict=False))

    def to_json(self) -> bytes:
        """All of it, for `from_json`."""
        kept = {
            "format": _FORMAT,
            "numbers": self._given,
            "retired": [[name, number] for name, number in self._retired.items()],
        }
        return json.dumps(kept, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Numbers:
        """What `to_json` wrote. Raises ValueError for anything else."""
        try:
            kept = json.loads(data)
            if kept["format"] != _FORMAT:
                raise ValueError(f"expected format {_FORMAT}, got {kept['format']!r:.20}")
            given, retired = dict(kept["numbers"]), dict(kept["retired"])
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"expected numbers of servers, got {error!r:.60}") from error
        pairs = [*given.items(), *retired.items()]
        for name, number in pairs:
            if not isinstance(name, str) or not _is_number(number):
                raise ValueError(f"expected a server's name and number, got {name!r:.60}")
        if len({number for _, number in pairs}) < len(pairs) or given.keys() & retired.keys():
            raise ValueError("expected each name and number once")
        return cls(given, retired)


def _is_number(value: Any) -> bool:
    # JSON's true is an int to Python.
    return type(value) is int and 0 < value < 10**MAX_DIGITS
