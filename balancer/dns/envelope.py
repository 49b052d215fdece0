"""
What surrounds an answer for one way of asking: how long it may be, and its OPT record. Pure.

Askers repeat themselves: an `Envelope` is made once for the bytes behind a question, and serves all
queries that end in the same bytes. Knows EDNS; nothing of records.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from balancer.dns.options import (
    Edns,
    cookie_option,
    error_option,
    keepalive_option,
    nsid_option,
    opt_record,
    subnet_option,
)

UDP_SIZE: Final = 1232
"""Bytes that we send and take over UDP at most: IPv6's least MTU of 1280 without its headers, so
that nothing is ever fragmented (DNS flag day 2020)."""

PLAIN_SIZE: Final = 512
"""Bytes over UDP without EDNS (RFC 1035 4.2.1)."""

TCP_SIZE: Final = 65535

SUBNET_AT: Final = 19
"""Bytes of an OPT record whose first option is a client's subnet, up to the address: 11 of the
record, 4 of the option's head, then family, source and scope."""

_OPT_HEAD: Final = 11
_SUBNET_OPTION: Final = b"\0\x08"
_SCOPES: Final = tuple(bytes((scope,)) for scope in range(129))
_PADDING: Final = {1: bytes(4), 2: bytes(16)}

Fault = tuple[int, str]
"""An extended error and its text (RFC 8914)."""


class Envelope:
    """
    `limit`: bytes of the whole answer. `plain`: its OPT record is always `opt`, whoever asks and
    whatever is answered, unless there is a fault to tell of.
    """

    __slots__ = ("_faulty", "edns", "keepalive", "limit", "nsid", "opt", "plain")

    def __init__(self, edns: Edns | None, nsid: bytes, keepalive: float | None = None) -> None:
        """`keepalive`: over TCP, seconds that an idle connection stays; None over UDP."""
        self.edns = edns
        self.nsid = nsid
        self.keepalive = keepalive
        self._faulty: dict[Fault, bytes] = {}
        if keepalive is not None:
            self.limit = TCP_SIZE
        else:
            self.limit = PLAIN_SIZE if edns is None else min(edns.size, UDP_SIZE)
        self.plain = edns is None or (edns.cookie is None and edns.subnet is None)
        self.opt = self.make() if self.plain else b""

    def opt_for(self, fault: Fault | None) -> bytes:
        """The OPT record of a plain one; there are few faults at a time, and when there were many
        they are forgotten."""
        if fault is None or not self.opt:
            return self.opt
        opt = self._faulty.get(fault)
        if opt is None:
            if len(self._faulty) > 8:
                self._faulty.clear()
            opt = self._faulty[fault] = self.make(fault)
        return opt

    def make(
        self, fault: Fault | None = None, cookie: bytes = b"", scope: int = 0, rcode: int = 0
    ) -> bytes:
        """An OPT record with what there is to say; empty if the asker has no EDNS. `cookie` is the
        whole one, `scope` that of the client's subnet."""
        edns = self.edns
        if edns is None:
            return b""
        options = b""
        if cookie:
            options += cookie_option(cookie)
        if edns.subnet is not None:
            options += subnet_option(edns.subnet, scope)
        if edns.nsid and self.nsid:
            options += nsid_option(self.nsid)
        if edns.keepalive and self.keepalive is not None:
            options += keepalive_option(self.keepalive)
        if fault is not None:
            options += error_option(*fault)
        return opt_record(UDP_SIZE, rcode >> 4, do=edns.do, options=options)


def is_subnet_alone(tail: bytes, edns: Edns | None) -> bool:
    """Whether what stands behind a question, which was parsed, is an OPT record with a subnet of
    whole bytes and no other option, so that `SubnetEnvelope` can answer all that differ from it in
    the address alone."""
    if edns is None or edns.version or edns.subnet is None or not edns.subnet.source:
        return False
    size = SUBNET_AT + edns.subnet.source // 8
    return (
        edns.subnet.source % 8 == 0
        and len(tail) == size
        and tail[_OPT_HEAD : _OPT_HEAD + 2] == _SUBNET_OPTION
    )


class SubnetEnvelope:
    """For all queries of the same OPT record but for the client's address. `size`: bytes of that
    record; `limit`: bytes of the whole answer; `bare`: what surrounds one that says nothing."""

    __slots__ = ("_head", "_padding", "_width", "bare", "limit", "size")

    def __init__(self, edns: Edns, tail: bytes) -> None:
        assert edns.subnet is not None
        self.size = len(tail)
        self.limit = min(edns.size, UDP_SIZE)
        self.bare = Envelope(evolve(edns, subnet=None), b"")
        self._padding = _PADDING[edns.subnet.family]
        self._width = len(self._padding)
        address = len(tail) - SUBNET_AT
        # All of our record up to the scope: the option's head, family and source are the query's.
        whole = opt_record(UDP_SIZE, do=edns.do, options=tail[_OPT_HEAD:])
        self._head = whole[: len(whole) - address - 1]

    def address(self, tail: bytes) -> bytes:
        """The client's, of 4 or 16 bytes."""
        return (tail[SUBNET_AT:] + self._padding)[: self._width]

    def opt(self, scope: int, tail: bytes) -> bytes:
        """The OPT record of the answer."""
        return self._head + _SCOPES[scope] + tail[SUBNET_AT:]
