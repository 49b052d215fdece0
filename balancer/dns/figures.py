"""
What is counted of a zone's queries, and of the packets that belong to none. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from balancer.dns import codes
from balancer.dns.codes import RCODES, type_text

OTHER: Final = "other"
"""All types without a mnemonic are counted as one: a client may ask for 65,536 of them."""


class Figures:
    """Answers by type and rcode, and what became of them on the way out."""

    __slots__ = ("_answers", "dropped", "slipped", "tcp", "transfers", "truncated")

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], list[int]] = {}
        self.truncated = 0
        self.tcp = 0
        self.dropped = 0
        self.slipped = 0
        self.transfers = 0

    def answer(self, qtype: int, rcode: int) -> list[int]:
        """The count of answers of that kind, in a list of one: who answers adds to it."""
        word = type_text(qtype) if qtype in codes.MNEMONICS else OTHER
        return self._answers.setdefault((word, rcode), [0])

    def answers(self) -> Iterator[tuple[str, str, int]]:
        """(type, rcode, count) of all that were given."""
        for (word, rcode), (count,) in sorted(self._answers.items()):
            yield word, RCODES.get(rcode, str(rcode)), count

    @property
    def total(self) -> int:
        """All answers."""
        return sum(count for (count,) in self._answers.values())
