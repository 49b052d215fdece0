"""
How a kind of section declares itself: each option once, with its parser, default, help and unit.

Knows the shape of declarations. Knows no text of a site file, no line and no option's name.

    @frozen
    class DemoSettings:
        http: tuple[Endpoint, ...] = option(listen_endpoint, lines=True, help="Where to listen.")
        idle_timeout: float = option(duration, default="60s", unit="s", help="How long ...")

    SECTION = Section("demo", DemoSettings, help="Small servers for trying things out.")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs
from attrs import frozen

from balancer.config.errors import Unreadable

Parser: TypeAlias = Callable[[str], Any]

_KEY: Final = "balancer.option"


@frozen
class Declared:
    """What one `option()` said. `name` is the option's name once it stands in a settings class."""

    parse: Parser
    default: str | None
    help: str
    unit: str
    required: bool
    lines: bool
    keyed: bool
    later: bool
    name: str = ""
    attribute: str = ""

    def value_of_default(self) -> Any:
        """The attribute's value when the option is not given."""
        if self.keyed:
            return {}
        if self.default is None:
            return () if self.lines else None
        if self.lines:
            return tuple(self.parse(line) for line in self.default.split("\n"))
        return self.parse(self.default)

    @property
    def expected(self) -> str:
        """What the parser expects, in its own words: they complete "expected ..."."""
        try:
            self.parse("")
        except Unreadable as error:
            return error.expected
        except ValueError:
            pass  # a parser that did not think of empty text says nothing of use about it
        return "a value"


def option(
    parse: Parser,
    *,
    default: str | None = None,
    help: str,
    unit: str = "",
    required: bool = False,
    lines: bool = False,
    keyed: bool = False,
    later: bool = False,
) -> Any:
    """
    An option of the settings class that it stands in: attribute `head_timeout`, option
    `head-timeout` (an underscore at the end of an attribute is dropped).

    `default` is text that the same parser reads, now; without one the attribute is None. With
    `lines`, each line of the value is parsed on its own and the attribute is a tuple. With `keyed`,
    `error-page 503 = file` gives the attribute `{"503": ...}`. With `later` the option is in the
    contract but not built: nothing but its default may be given. The attribute is keyword-only.
    """
    declared = Declared(parse, default, help, unit, required, lines, keyed, later)
    metadata = {_KEY: declared}
    if required:
        return attrs.field(kw_only=True, metadata=metadata)
    if keyed:
        return attrs.field(kw_only=True, metadata=metadata, factory=dict)
    return attrs.field(kw_only=True, metadata=metadata, default=declared.value_of_default())


def options_of(settings: type[Any]) -> Mapping[str, Declared]:
    """The options of a settings class by name, in the order of their declaration."""
    found = {}
    for field in attrs.fields(settings):
        declared = field.metadata.get(_KEY)
        if isinstance(declared, Declared):
            name = field.name.rstrip("_").replace("_", "-")
            found[name] = attrs.evolve(declared, name=name, attribute=field.name)
    return MappingProxyType(found)


@frozen
class Reference:
    """
    A section names another one: `index` is the line of the option's value that does it. With
    `through` its work goes that way: the pools of the section that it names count as its own when
    its health is asked for. With `loose` it may be made ready before the other, which tells it of
    what it wants to know later on: such references may go in circles.
    """

    kind: str
    name: str
    option: str
    index: int = 0
    through: bool = False
    loose: bool = False


@frozen
class Claim:
    """A section wants a listener of its own."""

    protocol: Literal["tcp", "udp"]
    host: str
    port: int
    option: str
    index: int = 0


@frozen
class NamedFile:
    """A section names a file, or a directory of files, that a start reads: in the line `index` of
    the option's value. What is only written (a log), or looked for without being missed, is none.
    """

    path: str
    option: str
    index: int = 0


Finding: TypeAlias = tuple[str, int, str]
"""Option, line of its value, and what is wrong: how a section's `check` reports."""


def _nothing(settings: Any) -> Iterable[Any]:
    return ()


@frozen
class Section:
    """
    A kind of section, declared. `references`, `claims`, `files` and `check` are given the settings
    and must not raise; `files` only says where files are named, see `IReadsFiles` for who reads
    them; `check` is asked only when every option of the section could be read. With `later`
    the whole kind is in the contract but not built. `together` is given the settings of all sound
    sections of the kind by name, and says what they must be to each other, with None after each few
    milliseconds of work; a finding without an option is about the section's title. `unusable` is
    the reason why this kind's sections cannot be used here, for one whose maker does not import.
    With `inert` its sections are only read by others: no balancer is made of them.
    """

    kind: str
    settings: type[Any]
    help: str
    named: bool = True
    references: Callable[[Any], Iterable[Reference]] = _nothing
    claims: Callable[[Any], Iterable[Claim]] = _nothing
    files: Callable[[Any], Iterable[NamedFile]] = _nothing
    check: Callable[[Any], Iterable[Finding]] = _nothing
    together: Callable[[Mapping[str, Any]], Iterable[tuple[str, Finding] | None]] = _nothing
    later: bool = False
    unusable: str = ""
    inert: bool = False
    options: Mapping[str, Declared] = attrs.field(init=False, repr=False, eq=False)

    @options.default
    def _options(self) -> Mapping[str, Declared]:
        return options_of(self.settings)
