"""What the documents show is true: their site files can be read, and they leave no option out."""

from __future__ import annotations

import os
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import finish
from balancer.dns.loading import Loader
from balancer.dns.maker import dns, place
from balancer.dns.names import from_text
from balancer.dns.values import POLICIES, WHEN_DOWN
from balancer.site.files import load
from balancer.site.plan import BadSite, Plan
from balancer.site.reading import reading
from balancer.tap import makers
from tests.pages import ROOT, Command, SiteFile, Text, pieces

PAGES = (
    "README.md",
    "docs/anycast.md",
    "docs/dns.md",
    "docs/ecmp.md",
    "docs/operate.md",
    "docs/security.md",
    "docs/subdomains.md",
)

EDGE_KINDS = {"http", "tcp", "udp", "dns", "place", "subdomains", "anycast"}
"""What an edge has; `demo` is for trying things out."""


def page(path: str) -> str:
    """The text of a document."""
    return (ROOT / path).read_text()


class PageTests(SynchronousTestCase):
    """The documents that show site files."""

    def test_site_files(self) -> None:
        """`--check` has nothing against any of them, not even a warning."""
        known = makers()
        for path in PAGES:
            files = [piece.text for piece in pieces(page(path)) if isinstance(piece, SiteFile)]
            self.assertNotEqual([], files, path)
            for number, text in enumerate(files, 1):
                try:
                    plan = finish(reading(text, f"{path}, site file {number}", known))
                except BadSite as bad:
                    self.fail("\n".join(map(str, bad.problems)))
                self.assertEqual((), tuple(plan.warnings))

    def test_links(self) -> None:
        """Whatever a document names of the repository, by a link or by its path, is there."""
        for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
            text = file.read_text()
            linked = re.findall(r"\]\((?!https?:)([^)#]+)", text)
            lost = [each for each in linked if not (file.parent / each).exists()]
            named = re.findall(r"\b(?:docs|tests|conf)/[\w/-]+\.(?:md|py|ini|zone)\b(?!\.)", text)
            lost += [each for each in named if not (ROOT / each).exists()]
            self.assertEqual([], lost, file.name)

    def test_options(self) -> None:
        """docs/dns.md names each option of [dns] and [place], each policy and each word of
        when-down."""
        text = page("docs/dns.md")
        options = [option for maker in (dns, place) for option in maker.section.options]
        words = [*options, *POLICIES, *WHEN_DOWN]
        self.assertEqual([], [word for word in words if f"`{word}" not in text])

    def test_zone(self) -> None:
        """The zone file of docs/dns.md is one."""
        texts = [piece.text for piece in pieces(page("docs/dns.md")) if isinstance(piece, Text)]
        file = Path(self.mktemp())
        file.write_text(next(text for text in texts if text.startswith("$TTL")))
        self.assertEqual((), warnings(file))


def warnings(file: Path) -> tuple[str, ...]:
    """What is doubtful in a zone file of example.test. Raises if it is none."""
    loader = Loader("example.test", from_text("example.test."))
    finish(loader.loading(str(file), ()))
    return loader.warnings


class PieceTests(SynchronousTestCase):
    """How a page is read."""

    def test_sections_go_on(self) -> None:
        """A section that is shown again replaces the one before, the others stay."""
        files = list(pieces("x\n\n    [site]\n    name = a\n    [pool p]\n\ny\n\n    [site]\n"))
        self.assertEqual(
            [SiteFile("[site]\nname = a\n\n[pool p]\n\n"), SiteFile("[site]\n\n[pool p]\n\n")],
            files,
        )

    def test_commands(self) -> None:
        """What a command prints goes to the next command; words count, not the space between."""
        first, second = pieces("x\n\n    $ one\n    a  ... c\n\n    b\n    $ two\n")
        self.assertEqual(Command("two", ()), second)
        assert isinstance(first, Command)
        self.assertTrue(first.is_printed("b\na 1 2   c\n"))
        self.assertFalse(first.is_printed("b\na 1 2 d\n"))
        self.assertFalse(first.is_printed("b\na 1 c\nmore\n"))


class EdgeTests(SynchronousTestCase):
    """conf/edge.ini and what lies beside it."""

    def plan(self) -> Plan:
        """The site file as `--check` reads it, from the root of the repository."""
        before = os.getcwd()
        os.chdir(ROOT)
        self.addCleanup(os.chdir, before)
        return load("conf/edge.ini", makers())

    def test_edge(self) -> None:
        """It has no problems, and a section of each kind."""
        plan = self.plan()
        self.assertEqual((), tuple(plan.warnings))
        kinds = {each.kind for each in plan.balancers} | {each.kind for each in plan.inert}
        self.assertEqual(EDGE_KINDS, kinds)

    def test_zone(self) -> None:
        """The zone file that it names is there, and nothing in it is doubtful."""
        self.assertEqual((), warnings(ROOT / "conf" / "example.zone"))
