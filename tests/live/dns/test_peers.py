"""
The balancer beside gdnsd, Knot DNS and NSD: the same zones, the same questions, and each field of
the answers compared. docs/dns-behaviour.md has the table of the differences that are meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import dns.exception

from tests.live.dns.asking import Asker
from tests.live.dns.differences import Answer, Row, differences, explained, read
from tests.live.dns.questions import CIRCLE, Question, questions
from tests.live.dns.starting import NameServerTestCase
from tests.live.harness import ROOT

PAGE = ROOT / "docs" / "dns-behaviour.md"

OURS = "balancer"
PEERS = ("gdnsd", "knot", "nsd")

SHOWN = 30
"""How many of the differences that nothing explains are shown: one usually comes in hundreds."""


def answer(asker: Asker, question: Question, number: int) -> Answer:
    """What a name server says to a question; an answer that cannot be read is one, too."""
    query = question.message(number)
    wire = query.to_wire()
    answered = asker.tcp(wire) if question.way.tcp else asker.udp(wire)
    try:
        return read(query, answered)
    except dns.exception.DNSException as error:
        return Answer({"answer": f"malformed: {error!r}"}, {})


class Comparison:
    """Asks, compares, and keeps what nothing explains and which rows were of use."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self.used: set[Row] = set()
        self.unexplained: Counter[str] = Counter()
        self._examples: dict[str, Question] = {}

    def take(self, question: Question, answers: Mapping[str, Answer]) -> None:
        """The answers to one question, by the name server's name."""
        for peer in PEERS:
            if peer not in answers:
                continue
            for found in differences(answers[OURS], answers[peer]):
                reasons = [row for row in self._rows if row.explains(peer, question, found)]
                self.used.update(reasons)
                if not reasons:
                    text = f"{peer} {found.field}: ours {found.ours!r}, theirs {found.theirs!r}"
                    self.unexplained[text] += 1
                    self._examples.setdefault(text, question)

    def complaints(self) -> list[str]:
        """What is wrong, the most frequent first, each with its first question."""
        told = [f"{count} x {text}, first at {self._examples[text]}"
                for text, count in self.unexplained.most_common(SHOWN)]
        told += [f"nothing needs this row any more: {row}"
                 for row in self._rows if row not in self.used]
        return told


class PeersTests(NameServerTestCase):
    """All four name servers side by side."""

    def test_same_answers(self) -> None:
        """Every question gets the same answer from all, but for the differences on the page, and
        the page lists none that is not there."""
        askers = {}
        for name in (OURS, *PEERS):
            port, _ = self.serve(name)
            askers[name] = self.enterContext(Asker(port))
        comparison = Comparison(explained(PAGE.read_text()))
        for number, question in enumerate(questions()):
            comparison.take(question, {
                name: answer(asker, question, number) for name, asker in askers.items()
                if name != "gdnsd" or question.zone != CIRCLE})
        self.assertEqual([], comparison.complaints())
