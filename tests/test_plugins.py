"""Kinds and checks are found where Twisted finds plugins, and a broken one harms only itself."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import balancer
from balancer.config.schema import Section
from balancer.interfaces import IBalancerMaker, ICheckMaker
from balancer.plugins import Found, LazyBalancerMaker, LazyCheckMaker, Unloadable, find, import_all
from balancer.site.sections import Nothing

OWN_KINDS = {"http", "tcp", "udp", "subdomains", "ecmp", "demo"}
OWN_CHECKS = {"tcp", "udp", "exec", "http", "https"}

THIRD_PARTY = """
from balancer.plugins import LazyBalancerMaker, LazyCheckMaker
good = LazyBalancerMaker("tests.test_plugins.GOOD", kind="good")
again = LazyBalancerMaker("tests.test_plugins.GOOD", kind="good")
broken = LazyBalancerMaker("no.such.module", kind="broken")
leaves = LazyBalancerMaker("tests.test_plugins.leaver.at_once", kind="leaves")
bare = LazyBalancerMaker("tests.test_plugins.BARE", kind="bare")
other = LazyBalancerMaker("tests.test_plugins.GOOD", kind="other")
check = LazyCheckMaker("tests.test_plugins.none_such", name="check")
"""


class Good:
    """Stands for a maker: all that `find` asks of it is its section."""

    section: Any = Section(kind="good", settings=Nothing, help="For tests.")


class Bare:
    """A maker whose section is none."""

    section: Any = "a section"


class Leaver:
    """What ends the process when it is touched, as a module with sys.exit() does."""

    @property
    def at_once(self) -> None:
        raise SystemExit(3)


GOOD, BARE, leaver = Good(), Bare(), Leaver()


class Installed(SynchronousTestCase):
    """What this distribution brings."""

    def test_all_imported(self) -> None:
        """`import_all` leaves nothing of ours for later, but for commands of their own."""
        room = Path(balancer.__file__).parent
        found = {".".join(path.relative_to(room.parent).with_suffix("").parts)
                 for path in room.rglob("*.py")}
        ours = {name.removesuffix(".__init__") for name in found
                if not name.startswith(("balancer.lbctl", "balancer.site.reference"))}
        self.addCleanup(sys.modules.update, dict(sys.modules))
        for late in ("balancer.demo.echo", "balancer.subdomains.numbers"):
            sys.modules.pop(late, None)
        import_all()
        self.assertEqual(ours - sys.modules.keys(), set())

    def test_kinds(self) -> None:
        """Every kind of this version is found, and declares a section of its own name."""
        found = find()
        self.assertLessEqual(OWN_KINDS, set(found.balancers))
        for kind, maker in found.balancers.items():
            self.assertEqual(maker.section.kind, kind)
            verifyObject(IBalancerMaker, maker)

    def test_checks(self) -> None:
        """Every check of this version is found, and says what may follow its name."""
        found = find()
        self.assertLessEqual(OWN_CHECKS, set(found.checks))
        for maker in found.checks.values():
            verifyObject(ICheckMaker, maker)
            self.assertIsInstance(maker.help, str)

    def test_nothing_is_broken(self) -> None:
        """Nothing that this distribution brings fails to import."""
        self.assertEqual(dict(find().broken), {})


class ThirdParties(SynchronousTestCase):
    """A package of plugins as another distribution would bring it."""

    def found(self) -> Found:
        """What `find` makes of a package with the plugin file `THIRD_PARTY`."""
        directory = Path(self.mktemp()).absolute()
        package = directory / "third_party_plugins"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "third.py").write_text(THIRD_PARTY)
        self.patch(sys, "path", [str(directory), *sys.path])
        self.addCleanup(self.forget)
        return find(import_module("third_party_plugins"))

    def forget(self) -> None:
        """Leave no module of the package behind."""
        for name in [name for name in sys.modules if name.startswith("third_party_plugins")]:
            del sys.modules[name]

    def test_works(self) -> None:
        """Its kind is found beside others that are broken."""
        self.assertEqual(set(self.found().balancers), {"good"})

    def test_broken_is_listed(self) -> None:
        """A kind and a check that do not import are listed with the reason."""
        broken = self.found().broken
        self.assertIn("does not import from no.such.module: ", broken["kind broken"])
        self.assertIn("tests.test_plugins.none_such", broken["check check"])

    def test_strange_ones_are_listed(self) -> None:
        """So are one that leaves the process, one without a section, and one of another kind's."""
        broken = self.found().broken
        self.assertIn("SystemExit", broken["kind leaves"])
        self.assertIn("expected a balancer.config.schema.Section", broken["kind bare"])
        self.assertIn("expected a section of the kind 'other', got 'good'", broken["kind other"])

    def test_second_of_a_name(self) -> None:
        """Of two kinds of one name the first is used, and the second listed."""
        self.assertIn("second kind good", self.found().broken)


class Lazy(SynchronousTestCase):
    """A maker that is imported on its first use."""

    def test_not_before(self) -> None:
        """Making the stand-in imports nothing."""
        maker = LazyBalancerMaker("no.such.module", kind="x")
        self.assertEqual((maker.kind, maker._loaded), ("x", None))
        self.assertEqual(LazyCheckMaker("no.such.module", name="y").name, "y")

    def test_reason(self) -> None:
        """A module that does not import raises Unloadable with the module's own words."""
        error = self.assertRaises(Unloadable, LazyCheckMaker("no.such.m", name="x").parse, ())
        self.assertIn("no.such.m", str(error))
