"""
Zone files on disk -> trees, read again only when they have changed. Glue: it opens files.
"""

from __future__ import annotations

import gc
from itertools import chain

from attrs import define, field

from balancer.config.slices import Slices
from balancer.dns.tree import RRset, Tree, planted
from balancer.dns.zonefile import MAX_BYTES, Loaded, Master, reading
from balancer.interfaces import PrepareError
from balancer.wire.stamps import Stamps, stamps


@define(eq=False)
class Loader:
    """Loads the zone `origin` (a key) for the section `[dns NAME]`."""

    section: str
    origin: bytes
    _made_of: object = field(default=None, init=False)
    _opened: list[str] = field(factory=list, init=False)
    _stamps: Stamps = field(default=(), init=False)
    _loaded: Loaded | None = field(default=None, init=False)

    def loading(self, path: str | None, apex: tuple[RRset, ...]) -> Slices[tuple[Tree, bool]]:
        """
        The tree, and whether it is another one than at the last call. Raises `PrepareError` with
        every problem of the file; what was loaded before stays.
        """
        made_of = (path, apex)
        fresh = stamps(self._opened)
        if self._loaded is not None and made_of == self._made_of and fresh == self._stamps:
            assert self._loaded.tree is not None
            return self._loaded.tree, False
        # As they were before they were read: what changes while it is read is read again.
        opened: dict[str, Stamps] = {}
        if path is None:
            loaded = Loaded(planted(self.origin, {self.origin: apex}), (), ())
        else:
            loaded = yield from self._reading(path, apex, opened)
        if loaded.tree is None:
            problems = "\n".join(f"[dns {self.section}] zone: {each}" for each in loaded.problems)
            raise PrepareError(problems)
        self._made_of, self._opened, self._loaded = made_of, list(opened), loaded
        self._stamps = tuple(chain.from_iterable(opened.values()))
        # A collection that walks over a million names takes 0.7 s; this takes none of them over.
        gc.freeze()
        return loaded.tree, True

    def _reading(
        self, path: str, apex: tuple[RRset, ...], opened: dict[str, Stamps]
    ) -> Slices[Loaded]:
        def open_file(name: str) -> bytes:
            opened.setdefault(name, stamps([name]))
            return _read(name)

        try:
            text = open_file(path)
        except OSError as error:
            msg = f"[dns {self.section}] zone: expected a file that can be read, got {path}: " + (
                error.strerror or str(error)
            )
            raise PrepareError(msg) from error
        return (yield from reading(text, Master(path, self.origin, open_file, apex)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful in the file that is loaded."""
        return () if self._loaded is None else self._loaded.warnings


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(f"expected at most {MAX_BYTES} bytes, got more")
    return data
