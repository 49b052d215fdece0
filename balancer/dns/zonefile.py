"""
Master files (RFC 1035 5, with the $TTL of RFC 2308 4 and BIND's $GENERATE): bytes -> a zone's tree.

Knows text and where it stands. Opens no file: `Master.open_file` does, and its path is the
caller's. What may stand at a name is `gathering`'s. All problems are gathered; none is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from attrs import frozen

from balancer.config.slices import Slices
from balancer.dns import codes, fields, generate, names, recordtext, tokens
from balancer.dns.gathering import Gathering, settling
from balancer.dns.notes import Fault, Notes
from balancer.dns.ordinary import Cursor, Ordinary
from balancer.dns.tree import MASK, RRset, Tree, find_type

MAX_DEPTH: Final = 8
"""Files that include one another. NSD has 10."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""Bytes of a zone's file and all that it includes, each as often as it is: ten million records."""

LINES_A_SLICE: Final = 400
"""Ordinary lines read before others have their turn: about 2 ms."""

ENTRY_COST: Final = 8
"""How many ordinary lines an entry of another shape costs, and each `BYTES_A_LINE` of it one."""

BYTES_A_LINE: Final = 64

@frozen
class Master:
    """
    A zone's file: its path as messages have it, the zone's name as a key, who opens what it
    includes (raises OSError), and the RRsets that its apex gets where the file has none.
    """

    path: str
    origin: bytes
    open_file: Callable[[str], Slices[bytes]]
    apex: tuple[RRset, ...] = ()


@frozen
class Loaded:
    """The tree, None if there is any problem; lines that say `path:line: expected ...`."""

    tree: Tree | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def reading(text: bytes, master: Master) -> Slices[Loaded]:
    """Read a zone's file and check the zone. Raises nothing that the text could cause."""
    problems, warnings = Notes(), Notes()
    whole = _Whole(master, problems, warnings)
    cursor = Cursor(master.path)
    soa = find_type(master.apex, codes.SOA)
    if soa is not None:
        cursor.ttl = int.from_bytes(soa[2][0][-4:], "big")
    try:
        yield from _File(whole, cursor, master.origin).reading(text)
    except Fault as fault:
        problems.add(master.path, fault.expected)
    gathered = whole.gathered
    if not any(gathered.nodes) and not problems.full:
        # Options can make a zone of it, and an editor that truncates before it writes means none.
        warnings.add(master.path, "at least one record in the file, which has none")
    apex = gathered.nodes[hash(master.origin) & MASK].get(master.origin, ())
    for type, ttl, datas in master.apex:
        if find_type(apex, type) is None:
            for data in datas:
                gathered.add(master.origin, (type, ttl, data), master.path)
    tree = yield from settling(gathered, master.path, (problems, warnings))
    lines = problems.lines()
    return Loaded(None if lines else tree, lines, warnings.lines())


class _Whole:
    """What the files of one zone share."""

    __slots__ = ("gathered", "left", "master", "problems", "spent", "warnings")

    def __init__(self, master: Master, problems: Notes, warnings: Notes) -> None:
        self.master = master
        self.gathered = Gathering(master.origin)
        self.problems = problems
        self.warnings = warnings
        self.left = MAX_BYTES
        self.spent = 0


class _File:
    """One file being read."""

    __slots__ = ("cursor", "depth", "origin", "short", "whole")

    def __init__(self, whole: _Whole, cursor: Cursor, origin: bytes, depth: int = 1) -> None:
        self.whole = whole
        self.cursor = cursor
        self.depth = depth
        self.move(origin)

    def move(self, origin: bytes) -> None:
        """Take another $ORIGIN, which changes what relative names mean."""
        self.origin = origin
        self.short = Ordinary(self.whole.gathered, origin, self.whole.warnings)

    def reading(self, text: bytes) -> Slices[None]:
        """Read it all, or up to what makes the rest unreadable."""
        whole, cursor = self.whole, self.cursor
        whole.left -= len(text)
        if whole.left < 0:
            raise Fault(f"at most {MAX_BYTES} bytes in all files of a zone")
        at = 3 if text.startswith(b"\xef\xbb\xbf") else 0  # a byte order mark, as editors leave
        while at < len(text) and not whole.problems.full:
            if whole.spent >= LINES_A_SLICE:
                whole.spent = 0
                yield
            if self.short.usable:
                line = cursor.line
                at = self.short.take(text, at, cursor, LINES_A_SLICE - whole.spent)
                whole.spent += cursor.line - line
            if at < len(text) and whole.spent < LINES_A_SLICE:
                at = yield from self.entry(text, at)

    def put(self, key: bytes, one: tuple[int, int, bytes]) -> None:
        """Add a record. Raises `Fault`."""
        warning = self.whole.gathered.add(key, one, self.cursor)
        if warning is not None:
            self.whole.warnings.add(str(self.cursor), warning)

    def complain(self, fault: Fault) -> None:
        """Note a problem of the line at hand."""
        self.whole.problems.add(str(self.cursor), fault.expected, fault.got)

    def entry(self, text: bytes, at: int) -> Slices[int]:
        """Take one entry of any shape. Returns where the next begins."""
        end = len(text)
        lines = 0
        try:
            found = tokens.entry(text, at)
            end, lines = found.end, found.lines
            if found.tokens:
                yield from self.take(found)
        except tokens.Broken as fault:
            end, lines = fault.end, fault.lines
            # The line at fault is the last one, but for what never ends: there it is the first.
            self.cursor.line += lines - 1 if end < len(text) else 0
            self.complain(fault)
            lines = 1 if end < len(text) else lines
        except Fault as fault:
            self.complain(fault)
        self.cursor.line += lines
        self.whole.spent += ENTRY_COST + (end - at) // BYTES_A_LINE
        return end

    def take(self, found: tokens.Entry) -> Slices[None]:
        """Do what an entry says. Raises `Fault`."""
        words = found.tokens
        if not found.indented and words[0].startswith("$"):
            directive = _DIRECTIVES.get(words[0].upper())
            if directive is None:
                raise Fault(f"one of {', '.join(_DIRECTIVES)}", words[0])
            yield from directive(self, words[1:])
        else:
            self.record(found.indented, words)

    def record(self, indented: bool, words: list[str]) -> None:
        """A record, its owner first unless it is indented. Raises `Fault`."""
        cursor = self.cursor
        if not indented:
            cursor.started, cursor.owner = True, None
            cursor.owner = self.key(words.pop(0))
        if cursor.owner is None:
            if not cursor.started:
                raise Fault("a name at the start of the first record", words[0])
            return  # its owner was complained of
        ttl, type, at = recordtext.head(words)
        data = recordtext.data(type, words[at:], self.origin)
        if ttl is None:
            ttl = self.ttl(type, data)
        elif not cursor.pinned:
            cursor.ttl = ttl
        self.put(cursor.owner, (type, ttl, data))

    def key(self, text: str) -> bytes:
        """The key of an owner, which lies in the zone. Raises `Fault`."""
        name = recordtext.name(text, self.origin).lower()
        if self.short.usable and not text.endswith("."):
            return name  # below an origin that is within
        zone = self.whole.master.origin
        if not names.is_within(name, zone):
            raise Fault(f"a name within {names.to_text(zone)}", text)
        return name

    def ttl(self, type: int, data: bytes) -> int:
        """What a record without a TTL gets: $TTL (RFC 2308 4), else the last one that was written
        (RFC 1035 5.1), else the minimum of the SOA before it. Raises `Fault`."""
        if self.cursor.ttl is None and type == codes.SOA:
            self.cursor.ttl = int.from_bytes(data[-4:], "big")
        if self.cursor.ttl is None:
            raise Fault("a TTL, a $TTL before it, or an SOA before it")
        return self.cursor.ttl

    def set_origin(self, words: list[str]) -> Slices[None]:
        """$ORIGIN NAME"""
        recordtext.counted(words, 1, "$ORIGIN NAME")
        self.move(recordtext.name(words[0], self.origin))
        yield from ()

    def set_ttl(self, words: list[str]) -> Slices[None]:
        """$TTL PERIOD"""
        recordtext.counted(words, 1, "$TTL TIME")
        self.cursor.ttl, self.cursor.pinned = recordtext.period(words[0]), True
        yield from ()

    def include(self, words: list[str]) -> Slices[None]:
        """$INCLUDE FILE [ORIGIN]: owner, origin and TTL are afterwards as before."""
        if not 1 <= len(words) <= 2:
            raise Fault("$INCLUDE FILE [ORIGIN]", " ".join(words) or None)
        if self.depth >= MAX_DEPTH:
            raise Fault(f"at most {MAX_DEPTH} files that include one another", words[0])
        path = fields.text_bytes(words[0]).decode("utf-8", "surrogateescape")
        origin = recordtext.name(words[1], self.origin) if len(words) == 2 else self.origin
        try:
            text = yield from self.whole.master.open_file(path)
        except OSError as error:
            raise Fault(f"a file that can be read ({error.strerror or error})", path) from None
        inner, outer = Cursor(path), self.cursor
        inner.owner, inner.started = outer.owner, outer.started
        inner.ttl, inner.pinned = outer.ttl, outer.pinned
        yield from _File(self.whole, inner, origin, self.depth + 1).reading(text)

    def generate(self, words: list[str]) -> Slices[None]:
        """$GENERATE RANGE OWNER [TTL] [IN] TYPE DATA"""
        if len(words) < 4:
            raise Fault("$GENERATE FROM-TO[/STEP] OWNER [TTL] [IN] TYPE DATA", " ".join(words))
        for each in generate.entries(words):
            self.record(False, each)
            self.whole.spent += ENTRY_COST
            if self.whole.spent >= LINES_A_SLICE:
                self.whole.spent = 0
                yield


_DIRECTIVES: Final = MappingProxyType(
    {
        "$ORIGIN": _File.set_origin,
        "$TTL": _File.set_ttl,
        "$INCLUDE": _File.include,
        "$GENERATE": _File.generate,
    }
)
