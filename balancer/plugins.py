"""
Finds the kinds and the checks that are installed, and imports each on its first use.

This room knows how makers are found (`getPlugins`); it knows nothing of what they make. A maker
whose module does not import is listed with the reason and harms nobody but its own sections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import twisted.plugins
from attrs import define, field, frozen
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

import balancer
from balancer.interfaces import (
    Flaw,
    IBalancer,
    IBalancerMaker,
    ICheck,
    ICheckMaker,
    IContext,
    IReadsFiles,
    ISections,
)

if TYPE_CHECKING:
    from balancer.config.schema import Section

MakerT = TypeVar("MakerT")


class Unloadable(Exception):
    """A maker's module does not import; the text says which and why."""


@define(eq=False)
class _Lazy:
    """An object of another module, imported when it is first asked for."""

    where: str
    """Its full Python name: `balancer.http.maker.maker`."""

    _loaded: Any = field(default=None, init=False, repr=False)

    def load(self) -> Any:
        """The object. Raises `Unloadable`, whatever it is that its module raised."""
        if self._loaded is None:
            try:
                self._loaded = namedAny(self.where)
            except (Exception, SystemExit) as error:
                msg = f"does not import from {self.where}: {type(error).__name__}: {error}"
                raise Unloadable(msg) from error
        return self._loaded


@implementer(IPlugin, IReadsFiles)
@define(eq=False)
class LazyBalancerMaker(_Lazy):
    """Stands in a `twisted/plugins` file for the maker of `kind` that lies at `where`, which need
    not be one that `IReadsFiles`."""

    kind: str = field(kw_only=True)

    @property
    def section(self) -> Section:
        section: Section = self.load().section
        return section

    def make(self, name: str, context: IContext) -> IBalancer:
        balancer: IBalancer = self.load().make(name, context)
        return balancer

    def reading(self, sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        maker = self.load()
        if IReadsFiles.providedBy(maker):
            yield from maker.reading(sections, around)


@implementer(IPlugin, ICheckMaker)
@define(eq=False)
class LazyCheckMaker(_Lazy):
    """Stands in a `twisted/plugins` file for the maker of the check `name` that lies at `where`."""

    name: str = field(kw_only=True)

    @property
    def help(self) -> str:
        text: str = self.load().help
        return text

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        made: Callable[[IContext], ICheck] = self.load().parse(words)
        return made


@frozen
class Found:
    """What is installed: makers by kind or name, and what cannot be used, with the reason."""

    balancers: Mapping[str, IBalancerMaker]
    checks: Mapping[str, ICheckMaker]
    broken: Mapping[str, str]
    """`kind http` or `check http` to the reason why it cannot be used."""


def find(package: ModuleType = twisted.plugins) -> Found:
    """Ask `getPlugins` for the kinds and checks in `package`, and see that each can be used."""
    broken: dict[str, str] = {}
    kinds, checkers = getPlugins(IBalancerMaker, package), getPlugins(ICheckMaker, package)
    balancers = _usable(kinds, "kind", _checked_kind, broken)
    checks = _usable(checkers, "check", _checked_check, broken)
    return Found(balancers, checks, broken)


def import_all() -> None:
    """
    Import every module of ours that a running balancer may ever need. An upgrade replaces the files
    while the old process goes on: what it imported later would be of another version than it is.
    """
    for module in walk_packages(balancer.__path__, "balancer.", onerror=lambda _: None):
        if not module.name.startswith(_APART):
            with suppress(Exception):  # its kind is among the broken: see `find`
                import_module(module.name)


_APART = ("balancer.lbctl", "balancer.site.reference")
"""Commands of their own."""


def _checked_kind(maker: IBalancerMaker) -> str:
    """The kind of a maker that keeps to `IBalancerMaker`. Raises whatever it likes."""
    from balancer.config.schema import Section

    kind, section = maker.kind, maker.section
    if not isinstance(section, Section):
        raise Unloadable(f"expected a balancer.config.schema.Section as its section, got {section}")
    if section.kind != kind:
        raise Unloadable(f"expected a section of the kind {kind!r}, got {section.kind!r}")
    return kind


def _checked_check(maker: ICheckMaker) -> str:
    """The name of a maker that keeps to `ICheckMaker`. Raises whatever it likes."""
    if not isinstance(maker.help, str):
        raise Unloadable(f"expected text as its help, got {maker.help!r}")
    return maker.name


def _usable(
    makers: Iterable[MakerT],
    what: str,
    checked: Callable[[MakerT], str],
    broken: dict[str, str],
) -> dict[str, MakerT]:
    """
    The makers by name. The first of a name stays; `broken` learns of the others, and of those that
    cannot be used: whatever a third party's module does at its import harms its own sections only.
    """
    found: dict[str, MakerT] = {}
    for maker in makers:
        label = f"{what} {getattr(maker, 'name' if what == 'check' else 'kind', repr(maker))}"
        try:
            name = checked(maker)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it is not theirs to leave
            broken[label] = str(error) or type(error).__name__
            continue
        if name in found:
            broken[f"second {label}"] = f"{maker!r} has the name of {found[name]!r}, which is used"
            continue
        found[name] = maker
    return found
