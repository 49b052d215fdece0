"""
Zone files on disk -> trees, read again only when they have changed. Glue: it opens files.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from io import BytesIO
from typing import BinaryIO, Final

from attrs import define, field, frozen

from balancer.config.slices import Slices
from balancer.dns import codes
from balancer.dns.names import from_text
from balancer.dns.serials import DIGEST_SIZE, Written
from balancer.dns.settings import DnsSettings
from balancer.dns.tree import RRset, Tree, find_type, planted
from balancer.dns.zone import apex
from balancer.dns.zonefile import MAX_BYTES, Loaded, Master, reading
from balancer.interfaces import BadFiles
from balancer.wire.regular import open_regular
from balancer.wire.stamps import Stamps, stamps

MIDDLE_EACH: Final = 32
"""How often middle-aged objects are looked through while a tree is freed, in its slices."""

BYTES_A_SLICE: Final = 1024 * 1024
"""Bytes read, or digested, before others have their turn: about 1 ms."""


@frozen(eq=False)
class Opened:
    """A file that was read, with its stamp of before: one that was replaced while it was read will
    be read again."""

    name: str
    stamps: Stamps
    text: bytes

MANY_NAMES: Final = 20_000
"""Names of a zone that take a collection 14 ms. Only then it is worth what is lost: garbage that
was not collected yet never will be."""


@define(eq=False)
class Loader:
    """Loads the zone `origin` (a key) for the section `[dns NAME]`."""

    section: str
    origin: bytes
    _made_of: object = field(default=None, init=False)
    _opened: list[str] = field(factory=list, init=False)
    _stamps: Stamps = field(default=(), init=False)
    _loaded: Loaded | None = field(default=None, init=False)
    written: Written = field(default=Written(None, b""), init=False)
    """Of what `loading` gave last."""

    def loading(self, path: str | None, apex: tuple[RRset, ...]) -> Slices[tuple[Tree, bool]]:
        """
        The tree, and whether it is another one than at the last call. Raises `BadFiles` with
        every problem of the file; what was loaded before stays.
        """
        made_of = (path, apex)
        fresh = stamps(self._opened)
        if self._loaded is not None and made_of == self._made_of and fresh == self._stamps:
            assert self._loaded.tree is not None
            return self._loaded.tree, False
        opened: list[Opened] = []
        if path is None:
            loaded = Loaded(planted(self.origin, {self.origin: apex}), (), ())
        else:
            loaded = yield from self._reading(path, apex, opened)
        if loaded.tree is None:
            raise self._bad(loaded.problems)
        self.written = yield from _written(loaded.tree, apex, (each.text for each in opened))
        self._made_of, self._loaded = made_of, loaded
        before = {each.name: each.stamps for each in reversed(opened)}
        self._opened = list(before)
        self._stamps = tuple(stamp for each in before.values() for stamp in each)
        if sum(map(len, loaded.tree.nodes)) > MANY_NAMES:
            # A collection that walks over a million names takes 0.7 s; this takes none over.
            gc.freeze()
        return loaded.tree, True

    def _reading(
        self, path: str, apex: tuple[RRset, ...], opened: list[Opened]
    ) -> Slices[Loaded]:
        def open_file(name: str) -> Slices[bytes]:
            opened.append((yield from _opening(name)))
            return opened[-1].text

        try:
            file = yield from _opening(path)
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"expected a file that can be read, got {path}: {reason}"
            raise self._bad([text]) from error
        opened.append(file)
        return (yield from reading(file.text, Master(path, self.origin, open_file, apex)))

    def _bad(self, problems: Sequence[str]) -> BadFiles:
        return BadFiles(f"dns {self.section}", [("zone", 0, each) for each in problems])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful in the file that is loaded."""
        return () if self._loaded is None else self._loaded.warnings


def apex_of(settings: DnsSettings, key: bytes) -> tuple[RRset, ...]:
    """SOA and NS for the zone `key` if its file has none. Negative answers are kept no longer than
    others: they follow pools too."""
    servers = [from_text(each) for each in settings.ns] or [from_text("ns1", key)]
    contact = from_text(settings.contact) if settings.contact else from_text("hostmaster", key)
    return apex(key, servers, contact, 1, settings.ttl)


def forgetting(tree: Tree) -> Slices[None]:
    """
    Free a tree that no zone uses any more. Until that is done Python does not notice how many
    objects are new, because it takes those that go from their number: after another zone that is
    read meanwhile, it would look through a million of them at once for 0.3 s.
    """
    for at, _ in enumerate(tree.forgetting(), 1):
        # Not 1 each time: 200 of these bring a collection of all that is there.
        gc.collect(0 if at % MIDDLE_EACH else 1)
        yield


def _written(tree: Tree, apex: tuple[RRset, ...], texts: Iterable[bytes]) -> Slices[Written]:
    hashed = blake2b(repr(apex).encode(), digest_size=DIGEST_SIZE)
    for text in texts:
        hashed.update(len(text).to_bytes(8, "big"))
        for at in range(0, len(text), BYTES_A_SLICE):
            hashed.update(memoryview(text)[at : at + BYTES_A_SLICE])
            yield
    soa = find_type(tree.get(tree.origin) or (), codes.SOA)
    made = find_type(apex, codes.SOA)
    assert soa is not None  # or it were no zone
    # What was read from a file is another object, even if it says the same.
    own = made is None or soa[2][0] is not made[2][0]
    return Written(int.from_bytes(soa[2][0][-20:-16], "big") if own else None, hashed.digest())


def _opening(name: str) -> Slices[Opened]:
    """Read a file, piece by piece. Raises OSError."""
    before = stamps([name])
    # It gives up its bytes without a copy, where to join the pieces of 100 MB takes 80 ms.
    text = BytesIO()
    with open_regular(name) as file:
        rests = _change(file)
        while piece := file.read(BYTES_A_SLICE):
            if text.tell() + len(piece) > MAX_BYTES:
                raise OSError(f"expected at most {MAX_BYTES} bytes, got more")
            text.write(piece)
            yield
        if _change(file) != rests:
            raise OSError("it changed while it was read; reload when it is complete")
    return Opened(name, before, text.getvalue())


def _change(file: BinaryIO) -> tuple[int, int]:
    """What writing to an open file changes, and replacing it does not."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns
