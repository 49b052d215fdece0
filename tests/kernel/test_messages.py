"""Netlink messages: what the kernel and `ip` really say is read, and said the same way."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.kernel import netlink, nexthop, route
from balancer.kernel.netlink import Failure, Malformed, Message
from balancer.kernel.nexthop import Group, Hop, Other, Resilient
from balancer.kernel.route import Route, Way
from tests.kernel import samples


def one(data: bytes) -> Message:
    """The only message of a datagram."""
    (message,) = netlink.messages(data)
    return message


def without_sequence(data: bytes) -> tuple[int, bytes]:
    """A message's type and payload."""
    message = one(data)
    return message.kind, message.payload


class FramingTests(SynchronousTestCase):
    """Headers and attributes."""

    def test_several(self) -> None:
        """A datagram may hold several messages, each padded to four bytes."""
        odd = netlink.pack(16, 0, 7, b"abcde") + bytes(3)
        found = list(netlink.messages(odd + samples.HOP))
        self.assertEqual([each.kind for each in found], [16, nexthop.NEW])
        self.assertEqual(found[0], Message(16, netlink.REQUEST, 7, 0, b"abcde"))
        self.assertEqual(found[1].port, 0x2C07)

    def test_truncated(self) -> None:
        """A datagram that ends anywhere within a message is refused, never half believed."""
        for end in range(1, len(samples.ROUTE)):
            self.assertRaises(Malformed, list, netlink.messages(samples.ROUTE[:end]))

    def test_attributes(self) -> None:
        """What was packed is read; a nest's flag is no part of its type."""
        data = netlink.attribute(1, b"abc") + netlink.attribute(12 | netlink.NESTED, b"")
        self.assertEqual(len(data), 12)
        self.assertEqual(netlink.attributes(data), {1: b"abc", 12: b""})
        self.assertRaises(Malformed, netlink.attributes, data[:6])
        self.assertRaises(Malformed, netlink.attributes, data + b"x")
        self.assertRaises(Malformed, netlink.attributes, struct.pack("=HH", 3, 1))
        self.assertRaises(ValueError, netlink.attribute, 1, bytes(netlink.MAX_PAYLOAD + 1))

    def test_error(self) -> None:
        """An error is told with its number and the kernel's own words, wherever those stand."""
        failure = netlink.failure(one(samples.INVALID_ID))
        self.assertEqual(failure, Failure(errno.EINVAL, "Invalid nexthop id"))
        self.assertEqual(str(failure), "Invalid nexthop id (EINVAL)")
        header = samples.HOP[:16]
        text = netlink.attribute(1, b"No.\0")
        flags = netlink.CAPPED | netlink.WITH_ATTRIBUTES
        capped = Message(netlink.ERROR, flags, 1, 0, struct.pack("=i", -1) + header + text)
        self.assertEqual(str(netlink.failure(capped)), "No (EPERM)")
        done = Message(netlink.ERROR, netlink.CAPPED, 1, 0, bytes(4) + header)
        self.assertEqual(netlink.failure(done), Failure(0))
        self.assertRaises(Malformed, netlink.failure, Message(netlink.ERROR, 0, 1, 0, bytes(8)))
        self.assertEqual(str(Failure(4095)), "error 4095")

    def test_end_of_dump(self) -> None:
        """A dump may end with an error."""
        self.assertEqual(netlink.dump_failure(Message(3, 0, 1, 0, bytes(4))).code, 0)
        refused = Message(3, 0, 1, 0, struct.pack("=i", -errno.EINVAL))
        self.assertEqual(netlink.dump_failure(refused).code, errno.EINVAL)


class NextHopTests(SynchronousTestCase):
    """Next hops and groups."""

    def test_read(self) -> None:
        """What Linux tells of each kind of object."""
        for data, expected in (
            (samples.HOP, Hop(1, "10.1.0.2", 3, 196)),
            (samples.HOP6, Hop(2, "2001:db8::2", 3, 196)),
            (samples.RESILIENT,
             Group(10, ((1, 2), (3, 1)), 196, Resilient(128, 60.0, 5.0))),
            (samples.PLAIN_GONE, Group(11, ((1, 1), (3, 1)), 196)),
            (samples.BLACKHOLE, Other(12, 196)),
        ):
            self.assertEqual(nexthop.read(one(data)), expected)

    def test_as_ip_says_it(self) -> None:
        """A next hop and a resilient group are asked for with what `ip` sends, in any order of the
        attributes, and with both timers."""
        kind, payload = without_sequence(nexthop.put_hop(Hop(4, "10.1.0.4", 3, 196), 1))
        theirs = without_sequence(samples.ASK_HOP)
        self.assertEqual((kind, payload[:8]), (theirs[0], theirs[1][:8]))
        self.assertEqual(netlink.attributes(payload[8:]), netlink.attributes(theirs[1][8:]))

        group = Group(10, ((1, 2), (3, 1)), 196, Resilient(128, 60.0, 0.0))
        ours = nexthop.put_group(group, 1)
        self.assertEqual(one(ours).flags, one(samples.ASK_RESILIENT).flags)
        found = dict(netlink.attributes(without_sequence(ours)[1][8:]))
        theirs_found = dict(netlink.attributes(without_sequence(samples.ASK_RESILIENT)[1][8:]))
        self.assertEqual(
            netlink.attributes(found.pop(12)),
            {**netlink.attributes(theirs_found.pop(12)), 3: bytes(4)},
        )
        self.assertEqual(found, theirs_found)
        self.assertIn(struct.pack("=HH", 28, 12 | netlink.NESTED), ours)

    def test_round_trip(self) -> None:
        """What is asked for is what is read."""
        for found in (
            Group(7, ((1, 1), (2, 256)), 196),
            Group(7, ((1, 1),), 5, Resilient(65535, 0.01, 86400.0)),
        ):
            self.assertEqual(nexthop.read(one(nexthop.put_group(found, 1))), found)
        hop = Hop(0xFFFFFFFF, "fe80::1", 7, 255)
        message = one(nexthop.put_hop(hop, 9, replace=True))
        self.assertEqual(nexthop.read(message), hop)
        self.assertTrue(message.flags & netlink.REPLACE)
        self.assertEqual(nexthop.read(one(nexthop.drop(9, 1))), Other(9, 0))

    def test_malformed(self) -> None:
        """A message that is too short, or holds half a next hop, is refused."""
        for payload in (b"", bytes(7), bytes(8) + netlink.attribute(2, bytes(9))):
            self.assertRaises(Malformed, nexthop.read, Message(nexthop.NEW, 0, 0, 0, payload))


class RouteTests(SynchronousTestCase):
    """Routes."""

    def test_read(self) -> None:
        """What Linux tells of a route through a group, and of one that is not."""
        self.assertEqual(route.read(one(samples.ROUTE)), Route("192.0.2.0/24", 254, 10, 196))
        self.assertEqual(route.read(one(samples.REPLACED)), Route("192.0.2.0/24", 254, 0, 3))

    def test_round_trip(self) -> None:
        """Any prefix, of length 0 too, in any table, is read as it was asked for."""
        for found in (
            Route("0.0.0.0/0", 254, 1, 196),
            Route("::/0", 1, 2, 196),
            Route("2001:db8:1::/48", 70000, 0x20000000, 5),
        ):
            for message in (one(route.put(found, 1)), one(route.drop(found, 1))):
                self.assertEqual(route.read(message), found)
        flags = one(route.put(found, 1)).flags
        self.assertTrue(flags & netlink.EXCLUSIVE and not flags & netlink.REPLACE)
        flags = one(route.put(found, 1, replace=True)).flags
        self.assertTrue(flags & netlink.REPLACE and not flags & netlink.EXCLUSIVE)

    def test_way(self) -> None:
        """A way is direct where no gateway is named."""
        self.assertEqual(route.read_way(one(samples.REPLACED)), Way(3, False))
        direct = one(samples.REPLACED).payload[:28] + netlink.attribute(4, struct.pack("=I", 3))
        self.assertEqual(route.read_way(Message(route.NEW, 0, 0, 0, direct)), Way(3, True))
        self.assertEqual(one(route.way("10.1.0.3", 1)).payload[:2], bytes((2, 32)))
        self.assertEqual(one(route.way("fe80::1", 1)).payload[:2], bytes((10, 128)))

    def test_malformed(self) -> None:
        """A message that is too short, of another family, or contradicts itself is refused."""
        header = bytes((2, 33, 0, 0, 254, 0, 0, 1)) + bytes(4)
        for payload in (b"", bytes(11), bytes(12), header,
                        bytes((2, 24)) + bytes(10) + netlink.attribute(1, bytes(16))):
            self.assertRaises(Malformed, route.read, Message(route.NEW, 0, 0, 0, payload))


class FuzzTests(SynchronousTestCase):
    """Bytes that nobody meant."""

    @given(st.sampled_from(sorted(vars(samples))).filter(str.isupper), st.data())
    def test_bent(self, name: str, data: Any) -> None:
        """A message with any byte changed is read or refused as malformed, and nothing else."""
        sample = bytearray(getattr(samples, name))
        sample[data.draw(st.integers(0, len(sample) - 1))] = data.draw(st.integers(0, 255))
        readers: tuple[Callable[[Message], object], ...] = (
            nexthop.read, route.read, route.read_way, netlink.failure, netlink.dump_failure,
        )
        try:
            found = list(netlink.messages(bytes(sample)))
        except Malformed:
            return
        for message in found:
            for reader in readers:
                try:
                    reader(message)
                except Malformed:
                    continue
