"""
The ordinary lines of a master file, which are nearly all of a large one: owner, TTL, type and data
bare and on one line. One regular expression reads them.

This is a short cut and no second opinion: whatever is not of that shape, or wrong, is left where
it stands for the long way (`tokens`, `recordtext`), which alone makes messages.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from balancer.dns import codes, names, rdata
from balancer.dns.fields import BadData
from balancer.dns.gathering import SPECIAL, Gathering
from balancer.dns.names import BadName
from balancer.dns.notes import Fault, Notes
from balancer.dns.tree import MASK, Node

MAX_KNOWN: Final = 4096
"""Data of one type, and TTLs, that are remembered since many names share theirs."""

MAX_LINE: Final = 4096
"""Bytes of an ordinary line: 100 is usual, and a match takes a millisecond for 16 KiB of quotes."""

_ORDINARY: Final = re.compile(
    rb"([A-Za-z0-9_*./-]*+|@)[ \t]++(?:([0-9]{1,9})[ \t]++)?(?:[Ii][Nn][ \t]++)?([A-Za-z]++)[ \t]++"
    rb"((?:[\t !#-'*-:<-\[\]-~]++|\"[ !#-\[\]-~]*+\")+)(?:;[^\n]*+)?\r?\n"
)
_WORD: Final = re.compile(rb'"([^"]*)"|([^ \t"]+)')

# Types that the short way takes; SOA stands once and over several lines.
_TYPES: Final = MappingProxyType(
    {
        spelled.encode(): number
        for word, number in codes.TYPES.items()
        for spelled in (word, word.lower())
        if number not in (codes.SOA, codes.IXFR, codes.AXFR, codes.ANY)
    }
)
_LENGTHS: Final = tuple(bytes((length,)) for length in range(names.MAX_LABEL + 1))


class Cursor:
    """Where the reader of one file is. `owner` is the last owner's key, None after one that was
    wrong and before the first; `ttl` what a record without its own gets; `pinned`: by a $TTL."""

    __slots__ = ("line", "owner", "path", "pinned", "started", "ttl")

    def __init__(self, path: str) -> None:
        self.path = path
        self.line = 1
        self.owner: bytes | None = None
        self.started = False
        self.ttl: int | None = None
        self.pinned = False

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Ordinary:
    """The short way under one $ORIGIN."""

    __slots__ = ("_gathered", "_known", "_origin", "_suffix", "_ttls", "_warnings", "usable")

    def __init__(self, gathered: Gathering, origin: bytes, warnings: Notes) -> None:
        self._gathered = gathered
        self._origin = origin
        self._warnings = warnings
        self._known: dict[int, dict[bytes, Node]] = {number: {} for number in _TYPES.values()}
        self._ttls: dict[bytes, int] = {}
        # An absolute name that ends so is the relative one in front of it.
        text = names.to_text(origin)
        self._suffix = b"" if "\\" in text or text == "." else f".{text}".lower().encode()
        within = names.is_within(origin.lower(), gathered.origin)
        self.usable = within and len(origin) + names.MAX_LABEL < names.MAX_NAME

    def take(self, text: bytes, at: int, cursor: Cursor, count: int) -> int:
        """
        Take lines up to one that is not ordinary, or so many. Returns where that is; the cursor
        counts them. The hottest loop of a load: 2 to 4 us a line, which is why it is one.
        """
        match, types, ttls, known = _ORDINARY.match, _TYPES, self._ttls, self._known
        nodes, origin, suffix = self._gathered.nodes, self._origin.lower(), self._suffix
        key, default, pinned = cursor.owner, cursor.ttl, cursor.pinned
        line = cursor.line
        for _ in range(count):
            found = match(text, at, at + MAX_LINE)
            if found is None:
                break
            owner, number, word, rest = found.groups()
            type = types.get(word)
            if type is None:
                break
            name = key
            if owner:
                owner = owner.lower()
                if suffix and owner.endswith(suffix):
                    owner = owner[: -len(suffix)] or b"."
                if b"." in owner or len(owner) > names.MAX_LABEL:
                    name = _relative(owner, origin)
                else:
                    name = origin if owner == b"@" else _LENGTHS[len(owner)] + owner + origin
            ttl = default
            if number:
                ttl = ttls.get(number) or self._ttl(number)
            if name is None or ttl is None:
                break
            node = known[type].get(rest)
            if node is None or node[0][1] != ttl:
                node = self._node(type, ttl, rest)
                if node is None:
                    break
            shard = nodes[hash(name) & MASK]
            if name not in shard and type not in SPECIAL:
                shard[name] = node
            else:
                cursor.line = line
                if not self._add(name, node, cursor):
                    break
            key = name
            if not pinned:
                default = ttl
            at = found.end()
            line += 1
        cursor.line, cursor.owner, cursor.ttl = line, key, default
        cursor.started = cursor.started or key is not None
        return at

    def _ttl(self, number: bytes) -> int:
        """A TTL that was not seen before. They are few, and objects."""
        if len(self._ttls) >= MAX_KNOWN:
            self._ttls.clear()
        return self._ttls.setdefault(number, int(number))

    def _node(self, type: int, ttl: int, rest: bytes) -> Node | None:
        """The one RRset with one record of those data, None if the long way must look at them."""
        try:
            data = rdata.from_tokens(type, _words(rest), self._origin)
        except (BadData, BadName):
            return None
        known = self._known[type]
        if len(known) >= MAX_KNOWN:
            known.clear()
        node = known[rest] = ((type, ttl, (data,)),)
        return node

    def _add(self, key: bytes, node: Node, cursor: Cursor) -> bool:
        """Whether the record could be added; if not, the long way says why not."""
        ((type, ttl, (data,)),) = node
        try:
            warning = self._gathered.add(key, (type, ttl, data), cursor)
        except Fault:
            return False
        if warning is not None:
            self._warnings.add(str(cursor), warning)
        return True


def _relative(owner: bytes, origin: bytes) -> bytes | None:
    """The key of an owner of several labels, None if the long way must look at it."""
    labels = owner.split(b".")
    if not all(labels) or max(map(len, labels)) > names.MAX_LABEL:
        return None
    name = b"".join([_LENGTHS[len(label)] + label for label in labels]) + origin
    return name if len(name) <= names.MAX_NAME else None


def _words(rest: bytes) -> list[str]:
    """The tokens, none at all if the long way must look at them: quotes within a token."""
    if b'"' not in rest:
        return rest.decode("ascii").split()
    if b'="' in rest:
        return []
    return [(quoted or bare).decode("ascii") for quoted, bare in _WORD.findall(rest)]
