"""Imports are read without a parser; a parser is the judge of that."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.imports import Import, imports

TESTS = Path(__file__).resolve().parent


def parsed(source: str) -> list[Import]:
    """The imports of `source` as Python itself sees them, in order."""
    found = []
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.Import):
            found += [Import(statement.lineno, alias.name) for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            module = "." * statement.level + (statement.module or "")
            names = tuple(alias.name for alias in statement.names)
            found.append(Import(statement.lineno, module, names))
    return sorted(found)


class ImportTests(SynchronousTestCase):
    """The same as Python's own reading."""

    def check(self, source: str, *expected: Import) -> None:
        """Both see what is expected."""
        self.assertEqual(list(imports(source)), list(expected))
        self.assertEqual(parsed(source), list(expected))

    def test_forms(self) -> None:
        """Every form of the statement is seen, on its line, wherever it stands."""
        self.check("import a.b as c, d", Import(1, "a.b"), Import(1, "d"))
        self.check("from a import (b as c,\n  d)", Import(1, "a", ("b", "d")))
        self.check("from .. import a", Import(1, "..", ("a",)))
        self.check("from .a import *", Import(1, ".a", ("*",)))
        self.check("\nfrom a \\\n  import b, \\\n  c\n", Import(2, "a", ("b", "c")))
        self.check("def f():\n  if x: import a; from b import c; y()",
                   Import(2, "a"), Import(2, "b", ("c",)))
        self.check("from a import (  # why\n  b,  # (and this)\n)", Import(1, "a", ("b",)))

    def test_no_code(self) -> None:
        """What stands in strings and comments imports nothing, and hides nothing after it."""
        self.check('"""\nimport a\n"""\nimport b', Import(4, "b"))
        self.check("x = '''\nfrom a import b\n'''\nimport c", Import(4, "c"))
        self.check("# it's\nimport a  # and import b\n", Import(2, "a"))
        self.check("x = 'it\\'s # '; import a", Import(1, "a"))

    def test_none(self) -> None:
        """Names that only look alike, and other statements with `from`, are no imports."""
        self.check("important = x.from_\nraise a from b\ndef f(): yield from c")

    def test_real_sources(self) -> None:
        """The files beside this one read alike."""
        for path in sorted(TESTS.glob("*.py")):
            source = path.read_text()
            self.assertEqual(sorted(imports(source)), parsed(source), path.name)
