"""
The part of the unit suite that can run on what is installed, for the package's own build.

A distribution may have an older dnspython than setup.cfg's extra `test` asks for. Test modules that
need such a module, themselves or through another of tests/, are left out: by their need, so that a
newer distribution runs them all. What the balancer itself needs is never left out.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.imports import imports
from tests.requirements import required

ROOT = Path(__file__).resolve().parent.parent


def sorted_out(apart: set[str]) -> tuple[list[str], dict[str, str]]:
    """The test modules to run, and those to leave out, each with what it needs; packages and
    modules of tests/ that are named in `apart` are neither."""
    lacking, run, left = too_old(), [], {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] in apart:
            continue
        needed = sorted(needs(path, set()) & lacking.keys())
        if needed:
            left[".".join(parts)] = ", ".join(lacking[each] for each in needed)
        else:
            run.append(".".join(parts))
    return run, left


def too_old() -> dict[str, str]:
    """Top-level modules that the tests want newer than they are, or that are not there: to words
    that say so. Those that go by the name of their distribution, and dns."""
    found = {}
    for requirement in required("test"):
        name, floor = re.fullmatch(r"([\w-]+)(?:>=([\d.]+))?.*", requirement).groups()  # type: ignore[union-attr] # setup.cfg is ours
        module = {"dnspython": "dns"}.get(name, name.replace("-", "_"))
        try:
            here = version(name)
        except PackageNotFoundError:
            found[module] = f"{name}, which is not here"
        else:
            if floor and _numbers(here) < _numbers(floor):
                found[module] = f"{name} {floor}, not {here}"
    return found


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text))


def needs(path: Path, seen: set[Path]) -> set[str]:
    """Top-level modules that a module of tests/ imports, itself or through others of tests/."""
    if path in seen or not path.exists():
        return set()
    seen.add(path)
    found = set()
    for name in _imported(path):
        found.add(name.split(".")[0])
        if name.startswith("tests."):
            for part in (name, name.rpartition(".")[0]):
                found |= needs((ROOT / part.replace(".", "/")).with_suffix(".py"), seen)
    return found


@cache
def _imported(path: Path) -> list[str]:
    """The full name of everything that the module imports; who is needed by many is read once."""
    return [f"{statement.module}.{name}" if name else statement.module
            for statement in imports(path.read_text()) for name in statement.names or ("",)]
