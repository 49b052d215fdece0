"""The manual pages: one is made from declarations, the others name all that the commands take."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.manual import code, inline, page, plain
from balancer.config.reference import Chapter
from balancer.config.slices import finish
from balancer.lbctl import arguments
from balancer.lbctl.connection import PATHS
from balancer.route.anycast import shim
from balancer.setup import bfd, kernel
from balancer.setup import command as setup
from balancer.setup.certificate import DIRECTORY
from balancer.site.reading import reading
from balancer.site.reference import manual_page
from balancer.tap import Options, makers
from tests.config.samples import LATER, POOL, SITE, WEB
from tests.pages import ROOT
from tests.parsers import verbs

MANUAL = ROOT / "docs" / "man"

PAGE = """\
.SH "[pool NAME]"
Servers.
.TP
\\fBservers\\fR
Who.
.IP
Expects a server such as \\(aqa weight=2\\(aq. \
One a line, and as many lines as are needed. Required.
.TP
\\fBrise\\fR
Passed checks until it is up.
.IP
Default: \\fB2\\fR.
"""

COMMANDS = {
    "lbctl.1": arguments.parser(),
    "balancer-announce.8": shim.parser(),
    "balancer-setup.8": setup.parser(),
}


def read(name: str) -> str:
    """The words of a manual page: no macros, fonts and escapes."""
    text = (MANUAL / name).read_text()
    text = re.sub(r"\\f[BIRP]|\\&|\"", "", text)
    text = re.sub(r"^\.[A-Z]{1,2} ?", "", text, flags=re.MULTILINE)
    return text.replace("\\-", "-")


class ManualTests(SynchronousTestCase):
    """`manual.page`"""

    def test_page(self) -> None:
        """Each option has its help, what it expects, and its default."""
        self.assertIn(PAGE, page([POOL]))

    def test_kinds_of_blocks(self) -> None:
        """Chapters, options with a key, and what is not built yet have their form."""
        text = page([SITE, WEB, LATER], [Chapter("Checks", (("none", "Asks nothing."),))])
        self.assertIn(".TP\n\\fBerror\\-page KEY\\fR\n", text)
        self.assertIn('.SH "Checks"\n.TP\n\\fBnone\\fR\nAsks nothing.\n', text)
        self.assertIn(".IP \\(bu 2\n\\fB[dns NAME]\\fR: A zone.\n", text)
        self.assertTrue(text.endswith(".SH SEE ALSO\n.BR balancer (7),\n.BR lbctl (1)\n"))

    def test_text(self) -> None:
        """Nothing that is said can become a request, an escape or a typographic sign."""
        self.assertEqual(r"\fBa\-b\fR a-b", inline("`a-b` a-b"))
        self.assertEqual(r"\exNN \(aqx\(aq \(ti\(ha\(dq", plain("""\\xNN 'x' ~^\""""))
        self.assertEqual(r"\[u20AC]\-", code("€-"))
        text = page([], [Chapter("C", (("x", ".so /etc/passwd"), ("y", "'\n.so b")))])
        self.assertNotIn("\n.so", text)
        self.assertIn("\n\\&.so /etc/passwd\n", text)

    def test_equal(self) -> None:
        """The committed page says what the declarations say; if not, run `make docs`."""
        self.assertEqual((MANUAL / "site.ini.5").read_text(), manual_page())


class PageTests(SynchronousTestCase):
    """The pages written by hand."""

    def assert_named(self, name: str, words: Iterable[str]) -> None:
        """Each of the words stands in the page, by itself."""
        text = read(name)
        self.assertEqual([], [word for word in words if not re.search(
            rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)])

    def test_all_is_named(self) -> None:
        """Every verb and every option of a command is in its page."""
        for name, parser in COMMANDS.items():
            for words, options in verbs(parser).items():
                self.assert_named(name, [" ".join(words), *options])

    def test_nothing_else_is_named(self) -> None:
        """No page names an option that there is not."""
        for name, parser in COMMANDS.items():
            known = frozenset().union(*verbs(parser).values())
            self.assertEqual(set(), set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", read(name)))
                             - known, name)

    def test_twistd(self) -> None:
        """balancer(7) has the options of `twistd lb`."""
        flags = [str(each[0]) for each in Options.optFlags]
        flags += [str(each[0]) for each in Options.optParameters]
        self.assertEqual({"config", "check", "files"}, set(flags))
        self.assert_named("balancer.7", [f"--{each}" for each in (*flags, "version")])

    def test_site_file(self) -> None:
        """The site file of balancer(7) has no problem."""
        found = re.search(r"\.nf\n(.*?)\.fi\n", (MANUAL / "balancer.7").read_text(), re.DOTALL)
        assert found is not None
        lines = [re.sub(r'^\.(B |sp)|"', "", line) for line in found[1].splitlines()]
        plan = finish(reading("\n".join(lines), "balancer.7", makers()))
        self.assertEqual((), tuple(plan.warnings))
        self.assertEqual(["http:front"], [f"{each.kind}:{each.name}" for each in plan.balancers])

    def test_files(self) -> None:
        """balancer-setup(8) names what it writes, and lbctl(1) where it looks."""
        self.assert_named("balancer-setup.8", [kernel.PATH, bfd.PATH, bfd.BIRD, DIRECTORY,
                                               setup.GROUP, str(setup.DAYS)])
        self.assert_named("lbctl.1", PATHS)


class WalkTests(SynchronousTestCase):
    """The tests' own walk."""

    def test_verbs(self) -> None:
        """Verbs beneath verbs are found, each with its own options."""
        top = argparse.ArgumentParser(add_help=False)
        top.add_argument("--all")
        below = top.add_subparsers().add_parser("a", add_help=False).add_subparsers()
        below.add_parser("b", add_help=False).add_argument("-x", "--long")
        self.assertEqual({(): {"--all"}, ("a",): set(), ("a", "b"): {"-x", "--long"}}, verbs(top))
