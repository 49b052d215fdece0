"""Which tests the package's build runs on a distribution's packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import packaged
from tests.summary import APART, ROOT


class SortedOutTests(SynchronousTestCase):
    """The suite, by what its modules need."""

    def lack(self, **modules: str) -> None:
        """Have these modules too old."""
        self.patch(packaged, "too_old", lambda: modules)

    def test_nothing_lacks(self) -> None:
        """Where everything is new enough, every module of the unit suite runs."""
        self.lack()
        run, left = packaged.sorted_out(APART)
        self.assertEqual(left, {})
        found = {".".join(path.relative_to(ROOT).with_suffix("").parts)
                 for path in (ROOT / "tests").rglob("test_*.py")}
        self.assertEqual({name for name in found if name.split(".")[1] not in APART}, set(run))

    def test_left_out(self) -> None:
        """Who needs what lacks is left out and named, and so is who needs it through another."""
        self.lack(dns="dnspython 2.7, not 2.3.0")
        run, left = packaged.sorted_out(APART)
        self.assertIn("tests.dns.test_query", left)  # imports it
        self.assertIn("tests.dns.test_service", left)  # by way of tests.dns.serving
        self.assertEqual(set(left.values()), {"dnspython 2.7, not 2.3.0"})
        self.assertIn("tests.http.test_head", run)
        self.assertEqual(set(run) & left.keys(), set())

    def test_too_old(self) -> None:
        """An older version than setup.cfg's extra wants is told with both; a newer one is not."""
        self.patch(packaged, "required", lambda extra: ["dnspython>=99.1", "attrs>=1.0", "nix>=1"])

        def version(name: str) -> str:
            try:
                return {"dnspython": "2.3.0", "attrs": "22.2.0"}[name]
            except KeyError:
                raise PackageNotFoundError(name) from None

        self.patch(packaged, "version", version)
        self.assertEqual(packaged.too_old(), {"dns": "dnspython 99.1, not 2.3.0",
                                              "nix": "nix, which is not here"})

    def test_circle(self) -> None:
        """Modules that import each other are read once."""
        self.assertIn("twisted", packaged.needs(Path(__file__), set()))
