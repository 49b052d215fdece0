"""
Which serial a zone has: one that grows whenever what a transfer would send has changed. Pure.

Knows numbers and digests. What is digested is told it, and the time; who keeps the outcome over a
restart is `primary`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from attrs import frozen

from balancer.config.slices import Slices
from balancer.dns.pools import ANYBODY, PoolName

_HALF: Final = 2**31
_ALL: Final = 2**32

NAMES_A_SLICE: Final = 20
"""Names digested in one slice: each may have a thousand addresses, which take 0.3 ms."""

DIGEST_SIZE: Final = 16
"""Bytes of a digest: nobody gains by finding two contents with the same one."""


@frozen
class Written:
    """What is written of a zone, in its file or in options: the serial of the file's SOA (None: it
    has none), and a digest of all."""

    own: int | None
    digest: bytes


@frozen
class Kept:
    """What a zone had: the serial, and a digest of the content that had it, in hexadecimals."""

    serial: int
    digest: str

    def to_json(self) -> bytes:
        """As it is kept in a file."""
        return json.dumps({"serial": self.serial, "digest": self.digest}).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Kept:
        """What `to_json` made. Raises ValueError for anything else."""
        found = json.loads(data)
        serial = found.get("serial") if isinstance(found, dict) else None
        if type(serial) is not int or not 0 <= serial < _ALL:
            raise ValueError(f"expected a serial from 0 to {_ALL - 1}, got {serial!r}")
        digest = found.get("digest")
        if not isinstance(digest, str):
            raise ValueError(f"expected a digest, got {digest!r}")
        return cls(serial, digest)


def is_newer(serial: int, than: int) -> bool:
    """Whether a secondary that has `than` takes the zone with `serial` for a newer one (RFC 1982
    3.2)."""
    return 0 < (serial - than) % _ALL < _HALF


def following(serial: int) -> int:
    """The next one (RFC 1982 3.1), never 0: BIND takes that for none at all."""
    return (serial + 1) % _ALL or 1


def serial_of(own: int | None, digest: str, kept: Kept | None, unix: int) -> int:
    """
    The serial of a zone with the content `digest`, whose file has `own`.

    What was kept is never gone back behind. A zone whose file has none begins with the seconds
    since 1970: as long as it grows by less than one a second, that is past all it had before, even
    if what was kept is lost.
    """
    if kept is None:
        return unix % _ALL if own is None else own
    if own is not None and is_newer(own, kept.serial):
        return own
    return kept.serial if digest == kept.digest else following(kept.serial)


class Said:
    """
    A digest of what names that follow pools answer to a client that nobody knows (which is what a
    transfer sends), kept up name by name. Their TTLs, which verdicts shorten for a while, are not
    in it; those that options say are.
    """

    __slots__ = ("_each", "_sum")

    def __init__(self, names: Mapping[bytes, PoolName] = MappingProxyType({})) -> None:
        self._each: dict[bytes, int] = {}
        self._sum = 0
        self.look(names, names)

    def look(self, names: Mapping[bytes, PoolName], keys: Iterable[bytes]) -> None:
        """What these of the `names` answer may have changed."""
        for _ in self.looking(names, keys):
            pass

    def looking(self, names: Mapping[bytes, PoolName], keys: Iterable[bytes]) -> Slices[None]:
        """The same in slices."""
        for at, key in enumerate(keys):
            if at % NAMES_A_SLICE == 0:
                yield
            new = _said(key, names[key])
            self._sum += new - self._each.get(key, 0)
            self._each[key] = new

    @property
    def digest(self) -> bytes:
        """Another one whenever anything that is said is another; the order does not matter."""
        rest: int = self._sum % 2 ** (8 * DIGEST_SIZE)
        return rest.to_bytes(DIGEST_SIZE, "big")


def _said(key: bytes, name: PoolName) -> int:
    hashed = blake2b(key, digest_size=DIGEST_SIZE)
    hashed.update(repr(name.line.ttl).encode())
    for qtype in sorted(name.types):
        rrset = name.records(qtype, ANYBODY)
        hashed.update(_digest(qtype, () if rrset is None else rrset.datas))
    return int.from_bytes(hashed.digest(), "big")


# Thousands of names mostly say the same.
@lru_cache(256)
def _digest(qtype: int, datas: tuple[bytes, ...]) -> bytes:
    hashed = blake2b(b"%d %d;" % (qtype, len(datas)), digest_size=DIGEST_SIZE)
    for data in sorted(datas):
        hashed.update(len(data).to_bytes(2, "big") + data)
    return hashed.digest()


def digest_of(*parts: bytes) -> str:
    """One digest of several, in hexadecimals."""
    hashed = blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.hexdigest()
