"""Where a server is probed when its check has a port of its own."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from balancer.check.flight import target_of
from balancer.interfaces import CheckFailed
from balancer.wire.address import Address, literal
from balancer.wire.connect_tls import Trust, client_context, secured


class TargetTests(SynchronousTestCase):
    """`port=N` of a check."""

    def test_port(self) -> None:
        """Only the port differs: IPv6 keeps its scope, and TLS stays TLS."""
        self.assertEqual(target_of(literal("192.0.2.1", 80), 81), literal("192.0.2.1", 81))
        scoped = Address(socket.AF_INET6, ("fe80::1", 80, 0, 7), "fe80::1%7", 80)
        self.assertEqual(target_of(scoped, 81).sockaddr, ("fe80::1", 81, 0, 7))
        trust = Trust(client_context(verify=False), "a.test")
        address = secured(literal("192.0.2.1", 443), trust)
        self.assertEqual(target_of(address, 444), secured(literal("192.0.2.1", 444), trust))
        self.assertIs(target_of(address, None), address)

    def test_portless(self) -> None:
        """A server without a port is probed at the check's."""
        self.assertEqual(target_of(literal("192.0.2.1", 0), 81), literal("192.0.2.1", 81))
        self.assertEqual(target_of(literal("2001:db8::1", 0), 81), literal("2001:db8::1", 81))

    def test_unresolved(self) -> None:
        """A name that does not resolve has no place to be probed at, with TLS or without."""
        place = literal("0.0.0.0", 0)
        for address in (place, secured(place, Trust(client_context(verify=False), "a.test"))):
            self.assertRaises(CheckFailed, target_of, address, 81)
