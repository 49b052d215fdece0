"""
Holds the rooms to docs/architecture.md: who may import whom, and what a core may import.

The arrows are read from the page's own table, so that the page and the rule are one. This reads the
source and imports nothing of it. Imports within functions and under TYPE_CHECKING count as well: an
arrow is an arrow.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.imports import imports

BALANCER = Path(__file__).resolve().parent.parent / "balancer"

PAGE = BALANCER.parent / "docs" / "architecture.md"

# Glue does I/O; whatever is not named here is a core. A name with a dot is one module.
GLUE_ROOMS = {"interfaces", "wire", "site", "admin", "check", "demo", "lbctl"}
GLUE_FILES = {"protocol", "service", "tap", "plugins", "interfaces", "maker"}
GLUE_MODULES = {
    "balancer.dns.check",
    "balancer.dns.geo.records",
    "balancer.http.arrivals",
    "balancer.http.check",
    "balancer.http.explain",
    "balancer.http.files",
    "balancer.http.client",
    "balancer.http.front",
    "balancer.http.links",
    "balancer.http.metrics",
    "balancer.http.naming",
    "balancer.http.pages",
    "balancer.http.proxying",
    "balancer.http.secure",
    "balancer.http.server",
    "balancer.http.status",
    "balancer.http.targets",
    "balancer.http.tuning",
    "balancer.http.tunnel",
    "balancer.http.uploading",
    "balancer.resolve.before",
    "balancer.resolve.client",
    "balancer.resolve.exchange",
    "balancer.resolve.files",
    "balancer.dns.edge",
    "balancer.dns.explain",
    "balancer.dns.files",
    "balancer.dns.front",
    "balancer.dns.loading",
    "balancer.dns.metrics",
    "balancer.dns.naming",
    "balancer.dns.primary",
    "balancer.dns.secrets",
    "balancer.dns.telling",
    "balancer.route.installed",
    "balancer.route.notices",
    "balancer.route.planning",
    "balancer.route.sockets",
    "balancer.route.telling",
    "balancer.route.upkeep",
    "balancer.route.wanting",
    "balancer.route.anycast.addresses",
    "balancer.route.anycast.announcing",
    "balancer.route.anycast.asking",
    "balancer.route.anycast.beside",
    "balancer.route.anycast.detection",
    "balancer.route.anycast.exabgp",
    "balancer.route.anycast.helper",
    "balancer.route.anycast.program",
    "balancer.route.anycast.reach",
    "balancer.route.anycast.secrets",
    "balancer.route.anycast.shim",
    "balancer.route.anycast.spawned",
    "balancer.route.anycast.station",
    "balancer.route.anycast.telling",
    "balancer.route.anycast.timers",
    "balancer.route.anycast.vips",
    "balancer.setup.certificate",
    "balancer.setup.command",
    "balancer.setup.disk",
}

LAB_CORES = {"lab.topology", "lab.wiring", "lab.routing", "lab.resolving", "lab.timeline",
             "lab.notices", "lab.tally"}

# A core gets bytes and `now`, and asks nobody.
OTHERS_FOR_CORES = {"attrs", "attr"}
NOT_FOR_CORES = {
    "asyncio", "concurrent", "multiprocessing", "os", "secrets", "select", "selectors", "signal",
    "socket", "socketserver", "ssl", "subprocess", "threading", "time",
}


@cache
def modules() -> dict[str, str]:
    """The source of every module of ours by its full name; a package by its own name. Read once."""
    found = {}
    for path in sorted(BALANCER.rglob("*.py")):
        parts = path.relative_to(BALANCER.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imported(name: str, source: str, known: Set[str]) -> Iterator[tuple[int, str]]:
    """The line and full name of each module that the module `name` imports."""
    for line, module, names in imports(source):
        base = module.lstrip(".")
        if level := len(module) - len(base):
            inside = name if name + ".__init__" in known else name.rpartition(".")[0]
            above = inside.split(".")[: len(inside.split(".")) - level + 1]
            base = ".".join([*above, base] if base else above)
        for each in names:
            whole = f"{base}.{each}"
            yield line, whole if whole in known else base
        if not names:
            yield line, base


def arrows_of(page: str) -> dict[str, set[str]]:
    """
    Which rooms a room may import, by the room's name or one module's: the page's indented lines.

    `http, dns   config (http/check.py also check, dns/check.py also resolve)`: two rooms, and two
    modules with more.
    """
    found: dict[str, set[str]] = {}
    for line in page.splitlines():
        row = re.fullmatch(r" {4}([a-z]+(?:, [a-z]+)*)  +([^()]*?)(?: \(([^()]+)\))?", line)
        if row is None:
            continue
        rooms, others, modules = row.groups()
        alone = others.startswith("import nothing")
        for room in rooms.split(", "):
            found[room] = set() if alone else set(others.split(", "))
        for module, more in re.findall(r"(\S+)\.py also (\w+)", modules or ""):
            found["balancer." + module.replace("/", ".")] = {more}
    return found


def room_of(name: str) -> str:
    """`http` of `balancer.http.head`, `tap` of `balancer.tap`, '' of `balancer` itself."""
    return name.split(".")[1] if "." in name else ""


def is_core(name: str) -> bool:
    """Whether the module only decides."""
    glue = name in GLUE_MODULES or room_of(name) in GLUE_ROOMS
    return not glue and name.rpartition(".")[2] not in GLUE_FILES


def is_ours(name: str) -> bool:
    """Whether the module is part of the balancer."""
    return name.split(".")[0] == "balancer"


def unasked_for(name: str) -> str:
    """Why a core may not import the module `name`, '' if it may."""
    top = name.split(".")[0]
    if is_ours(name):
        return "" if is_core(name) else "glue"
    if top in OTHERS_FOR_CORES:
        return ""
    if top not in sys.stdlib_module_names:
        return "neither stdlib nor attrs"
    return "does I/O or reads a clock" if top in NOT_FOR_CORES else ""


class _GlobalRandom(ast.NodeVisitor):
    """Collects the lines on which a core draws from the random module's hidden generator."""

    def __init__(self) -> None:
        self.lines: list[int] = []
        self._own: list[bool] = [False]  # whether `random` is an argument of the function around

    def visit_FunctionDef(self, function: ast.FunctionDef) -> None:
        arguments = [*function.args.args, *function.args.kwonlyargs, *function.args.posonlyargs]
        self._own.append(self._own[-1] or any(one.arg == "random" for one in arguments))
        self.generic_visit(function)
        self._own.pop()

    def visit_Attribute(self, attribute: ast.Attribute) -> None:
        value = attribute.value
        if isinstance(value, ast.Name) and value.id == "random" and not self._own[-1] \
                and attribute.attr[0].islower():
            self.lines.append(attribute.lineno)
        self.generic_visit(attribute)

    def visit_ImportFrom(self, statement: ast.ImportFrom) -> None:
        if statement.module == "random" and any(a.name[0].islower() for a in statement.names):
            self.lines.append(statement.lineno)


@cache
def all_arrows() -> tuple[tuple[str, int, str], ...]:
    """Every import of every module: who, on which line, what. Found once for all tests."""
    packages = {f"{name}.__init__" for name in modules()
                if (BALANCER.parent / name.replace(".", "/") / "__init__.py").exists()}
    known = modules().keys() | packages
    return tuple(
        (name, line, target)
        for name, source in modules().items()
        for line, target in imported(name, source, known)
    )


class RoomTests(SynchronousTestCase):
    """The rules of docs/architecture.md, read from the source."""

    def setUp(self) -> None:
        """Read the page; the source is read once for all tests."""
        self.modules = modules()
        self.table = arrows_of(PAGE.read_text())

    def test_every_room_is_named(self) -> None:
        """A room that the table does not know has no business here."""
        rooms = {room_of(name) for name in self.modules} - {""}
        self.assertEqual(rooms - set(self.table), set())

    def test_arrows(self) -> None:
        """A room imports only the rooms that the table gives it."""
        wrong = []
        for name, line, target in all_arrows():
            room, other = room_of(name), room_of(target)
            allowed = self.table.get(room, set()) | self.table.get(name, set()) | {room, ""}
            if is_ours(target) and other not in allowed:
                wrong.append(f"{name}:{line} imports {target}")
        self.assertEqual(wrong, [])

    def test_cores(self) -> None:
        """A core imports stdlib without I/O and clocks, attrs, and other cores."""
        wrong = []
        for name, line, target in all_arrows():
            if is_core(name) and (why := unasked_for(target)):
                wrong.append(f"{name}:{line} imports {target}: {why}")
        self.assertEqual(wrong, [])

    def test_cores_are_given_their_chance(self) -> None:
        """A core draws from the generator that it was given, never from the module's own."""
        wrong = []
        for name, source in self.modules.items():
            if "random" in source and is_core(name):
                search = _GlobalRandom()
                search.visit(ast.parse(source))
                wrong += [f"{name}:{line}" for line in search.lines]
        self.assertEqual(wrong, [])

    def test_kinds_only_through_plugins(self) -> None:
        """Nobody imports a kind's module: plugins finds it by name on first use."""
        kinds = {"http", "relay", "dns", "subdomains", "route", "demo"}
        wrong = [f"{name}:{line} imports {target}" for name, line, target in all_arrows()
                 if is_ours(target) and room_of(target) in kinds - {room_of(name)}]
        self.assertEqual(wrong, [])


class LabTests(SynchronousTestCase):
    """The lab stands outside: it knows the balancer by its commands and files alone."""

    def modules(self) -> dict[str, str]:
        """The source of every module of the lab."""
        paths = sorted((BALANCER.parent / "lab").glob("*.py"))
        return {f"lab.{path.stem}": path.read_text() for path in paths}

    def test_alone(self) -> None:
        """The lab imports stdlib, attrs and itself."""
        wrong = []
        for name, source in self.modules().items():
            for line, target in imported(name, source, set()):
                top = target.split(".")[0]
                if top not in {"lab", *OTHERS_FOR_CORES, *sys.stdlib_module_names}:
                    wrong.append(f"{name}:{line} imports {target}")
        self.assertEqual(wrong, [])

    def test_data(self) -> None:
        """Its data and texts are pure: they read no clock and start nothing."""
        known = self.modules()
        for name in LAB_CORES:
            for line, target in imported(name, known[name], set(known)):
                fine = target in LAB_CORES if target.startswith("lab") else not unasked_for(target)
                self.assertTrue(fine, f"{name}:{line} imports {target}")

    def test_nobody_needs_it(self) -> None:
        """The balancer does not know that there is a lab."""
        wrong = [arrow for arrow in all_arrows() if arrow[2].split(".")[0] == "lab"]
        self.assertEqual(wrong, [])


class ReadingTests(SynchronousTestCase):
    """The reading itself, on small sources."""

    def read(self, source: str, name: str = "balancer.http.head") -> list[str]:
        """What `source` imports."""
        known = {"balancer.http", "balancer.http.__init__", "balancer.http.body",
                 "balancer.config.values", "balancer.config", "balancer.config.__init__"}
        return [target for _, target in imported(name, source, known)]

    def test_forms_of_import(self) -> None:
        """Absolute, relative, nested and aliased imports are all seen."""
        self.assertEqual(self.read("import socket as s"), ["socket"])
        self.assertEqual(self.read("from balancer.config import values"),
                         ["balancer.config.values"])
        self.assertEqual(self.read("from balancer.config.values import size"),
                         ["balancer.config.values"])
        self.assertEqual(self.read("from . import body"), ["balancer.http.body"])
        self.assertEqual(self.read("from .body import Chunks"), ["balancer.http.body"])
        self.assertEqual(self.read("from ..config import values"), ["balancer.config.values"])
        self.assertEqual(self.read("from .body import Chunks", "balancer.http"),
                         ["balancer.http.body"])
        self.assertEqual(self.read("def f():\n  import time"), ["time"])

    def test_table(self) -> None:
        """The page's table is read line by line, with what single modules may do besides."""
        page = "Prose, two  words\n\n    pool, wire   import nothing of ours outside\n" \
            "    http   wire, pool (http/check.py also check, http/x.py also wire)\n" \
            "    tap    site\n"
        self.assertEqual(arrows_of(page), {
            "pool": set(), "wire": set(), "http": {"wire", "pool"},
            "balancer.http.check": {"check"}, "balancer.http.x": {"wire"}, "tap": {"site"},
        })

    def test_core_rules(self) -> None:
        """Twisted, sockets, clocks, third parties and glue are refused to a core."""
        for name in ("twisted.python", "zope.interface", "socket", "time", "select", "ssl",
                     "prometheus_client", "balancer.wire.stream", "balancer.http.protocol",
                     "balancer.interfaces"):
            self.assertTrue(unasked_for(name), name)
        for name in ("re", "attrs", "ipaddress", "balancer.pool.pool", "balancer.http.head"):
            self.assertFalse(unasked_for(name), name)

    def test_chance(self) -> None:
        """Drawing from a generator that is an argument is fine, from the module is not."""
        def lines(source: str) -> list[int]:
            search = _GlobalRandom()
            search.visit(ast.parse(source))
            return search.lines
        self.assertEqual(lines("import random\nrandom.random()"), [2])
        self.assertEqual(lines("from random import choice"), [1])
        self.assertEqual(lines("def f(random):\n return random.random()"), [])
        self.assertEqual(lines("import random\ndef f(r: random.Random): r.random()"), [])
