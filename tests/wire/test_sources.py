"""
Tests of `balancer.wire.sources`: control messages in memory, as the kernel writes them.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from array import array

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.pktinfo import ControlMessage, local_of, reply_from
from balancer.wire.sources import Sources, messages

FOUR, SIX = socket.AF_INET, socket.AF_INET6
MOST = 8

OTHERS = st.sampled_from((
    (socket.SOL_SOCKET, 29, bytes(range(16))),  # a time, as long as in_pktinfo with its padding
    (socket.IPPROTO_IP, 2, b"\x40\0\0\0"),  # TTL
    (socket.IPPROTO_IPV6, 52, b"\x40\0\0\0"),  # hop limit
    (1, 2, b""),
    (socket.SOL_SOCKET, 37, bytes(56)),  # so long that nothing is left
))
DEVICES = st.integers(0, 2**31 - 1)
HOSTS_V4 = st.binary(min_size=4, max_size=4)
HOSTS_V6 = st.one_of(
    st.binary(min_size=16, max_size=16),
    *(st.just(socket.inet_pton(SIX, host)) for host in ("2001:db8::1", "fe80::1", "febf::1",
                                                        "fec0::1", "fe00::fe80", "::1")),
)


def told_v4(device: int, local: bytes, header: bytes) -> ControlMessage:
    """IP_PKTINFO as ip(7) has it."""
    return socket.IPPROTO_IP, 8, struct.pack("@i", device) + local + header


def told_v6(device: int, local: bytes) -> ControlMessage:
    """IPV6_PKTINFO as ipv6(7) has it."""
    return socket.IPPROTO_IPV6, 50, local + struct.pack("@i", device)


V4 = st.builds(told_v4, DEVICES, HOSTS_V4, HOSTS_V4)
V6 = st.builds(told_v6, DEVICES, HOSTS_V6)


def rows(usual: st.SearchStrategy[ControlMessage]) -> st.SearchStrategy[list[list[ControlMessage]]]:
    """What the kernel tells of each datagram: mostly one thing."""
    alone = usual.map(lambda one: [one])
    return st.one_of(
        st.lists(alone, max_size=MOST),
        st.lists(st.one_of(alone, alone, st.lists(OTHERS | usual, max_size=3)), max_size=MOST),
    )


def put(row: list[ControlMessage], room: int) -> tuple[bytes, list[ControlMessage]]:
    """These in so many bytes as the kernel's put_cmsg does, and what of them is whole."""
    written, whole = b"", []
    for level, kind, data in row:
        left = room - len(written)
        if left < socket.CMSG_LEN(0):
            break
        size = min(socket.CMSG_LEN(len(data)), left)
        one = struct.pack("@Lii", size, level, kind) + data
        written += one[:size].ljust(min(socket.CMSG_SPACE(len(data)), left), b"\xee")
        if size == socket.CMSG_LEN(len(data)):
            whole.append((level, kind, data))
    return written, whole


class SourcesTests(SynchronousTestCase):
    """What came becomes what leaves."""

    def check(self, family: int, sources: Sources, row: list[list[ControlMessage]]) -> None:
        """It is as `pktinfo` has it for each, whatever was there before."""
        written = [put(each, sources.room) for each in row]
        for at, (control, _) in zip(sources.addresses, written, strict=False):
            ctypes.memmove(at, control, len(control))
        told = memoryview(array("L", [len(control) for control, _ in written]))
        sizes = sources.echo(told)
        for number, (_, whole) in enumerate(written):
            size = sources.size if sizes is None else sizes[number]
            left = list(messages(ctypes.string_at(sources.addresses[number], size)))
            local = local_of(whole)
            self.assertEqual(left, [] if local is None else [reply_from(family, local)])

    @settings(deadline=None, database=None, max_examples=40)
    @given(rows(V4), rows(V4))
    @example([[told_v4(3, b"\x7f\0\0\5", b"\x7f\0\0\6")]] * MOST, [[]] * MOST)
    def test_v4(self, first: list[list[ControlMessage]], then: list[list[ControlMessage]]) -> None:
        """Of IPv4 the address stays, and nothing else; what is missing or cut is not made up."""
        sources = Sources(FOUR, MOST)
        self.check(FOUR, sources, first)
        self.check(FOUR, sources, then)

    @settings(deadline=None, database=None, max_examples=40)
    @given(rows(V6), rows(V6))
    @example([[told_v6(3, HOST)] for HOST in (b"\xfe\x80" + bytes(14), b"\x20" + bytes(15))], [])
    def test_v6(self, first: list[list[ControlMessage]], then: list[list[ControlMessage]]) -> None:
        """Of IPv6 link-local addresses keep their device."""
        sources = Sources(SIX, MOST)
        self.check(SIX, sources, first)
        self.check(SIX, sources, then)

    def test_usual(self) -> None:
        """What is told of nearly all is not read one by one: None says so."""
        for family, one in ((FOUR, told_v4(3, b"\x7f\0\0\5", b"\x7f\0\0\5")),
                            (SIX, told_v6(3, b"\x20" + bytes(15)))):
            sources = Sources(family, MOST)
            control, _ = put([one], sources.room)
            for at in sources.addresses:
                ctypes.memmove(at, control, len(control))
            self.assertIsNone(sources.echo(memoryview(array("L", [len(control)] * MOST))))


class MessagesTests(SynchronousTestCase):
    """Control messages are found where C puts them."""

    @given(st.binary(max_size=100))
    def test_anything(self, control: bytes) -> None:
        """Whatever is there, it comes to an end, and nothing raises."""
        for _level, _kind, data in messages(control):
            self.assertLessEqual(len(data), len(control))

    def test_cut(self) -> None:
        """One that is longer than what is there, or shorter than its own head, ends them."""
        whole = struct.pack("@Lii", 20, 1, 2) + b"abcd" + bytes(4)
        self.assertEqual(list(messages(whole * 2)), [(1, 2, b"abcd")] * 2)
        for size in (0, 15, 21 + 4, 2**64 - 1):
            broken = struct.pack("@Lii", size, 1, 2) + bytes(8)
            self.assertEqual(list(messages(whole + broken)), [(1, 2, b"abcd")])
