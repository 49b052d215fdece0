"""
Tests of `balancer.wire.address`.
"""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.address import from_sockaddr, literal


class LiteralTests(SynchronousTestCase):
    """Text becomes what the socket calls take."""

    def test_ipv4(self) -> None:
        """An IPv4 address is written as it came."""
        address = literal("127.0.0.1", 80)
        self.assertEqual(address.family, socket.AF_INET)
        self.assertEqual(address.sockaddr, ("127.0.0.1", 80))
        self.assertEqual(str(address), "127.0.0.1:80")

    def test_ipv6(self) -> None:
        """An IPv6 address is written in brackets."""
        address = literal("::1", 80)
        self.assertEqual(address.family, socket.AF_INET6)
        self.assertEqual(address.sockaddr, ("::1", 80, 0, 0))
        self.assertEqual(str(address), "[::1]:80")

    def test_ipv6_scope(self) -> None:
        """A link-local address keeps its device, by name or number."""
        index = socket.if_nametoindex("lo")
        self.assertEqual(literal("fe80::1%lo", 1).sockaddr, ("fe80::1", 1, 0, index))
        self.assertEqual(literal("fe80::1%7", 1).sockaddr, ("fe80::1", 1, 0, 7))
        self.assertRaises(ValueError, literal, "fe80::1%no-such-device", 1)

    def test_unix(self) -> None:
        """A unix socket has a path and no port."""
        address = literal("unix:/run/a.sock", 0)
        self.assertEqual(address.sockaddr, "/run/a.sock")
        self.assertEqual(str(address), "unix:/run/a.sock")
        self.assertTrue(address.is_unix)

    def test_abstract(self) -> None:
        """An @ stands for Linux's abstract name space, both ways."""
        address = literal("unix:@lb", 0)
        self.assertEqual(address.sockaddr, "\0lb")
        self.assertEqual(from_sockaddr(address.family, b"\0lb"), address)

    def test_not_literal(self) -> None:
        """Names, ports out of range and paths that the kernel cannot hold are refused."""
        for host, port in [
            ("example.test", 80),
            ("", 80),
            ("127.1", 80),
            ("*", 80),
            ("127.0.0.1", 65536),
            ("127.0.0.1", -1),
            ("unix:", 0),
            ("unix:/" + "a" * 107, 0),
        ]:
            with self.subTest(host=host, port=port):
                self.assertRaises(ValueError, literal, host, port)

    def test_wildcard(self) -> None:
        """The unspecified address of either family is a wildcard, however it is written."""
        for host in ("0.0.0.0", "::", "0::0"):
            self.assertTrue(literal(host, 0).is_wildcard, host)
        for host in ("127.0.0.1", "::1", "unix:/a"):
            self.assertFalse(literal(host, 0).is_wildcard, host)

    def test_from_sockaddr(self) -> None:
        """What the kernel says of a peer reads back."""
        for host in ("10.0.0.1", "2001:db8::1"):
            address = literal(host, 5)
            self.assertEqual(from_sockaddr(address.family, address.sockaddr), address)
