"""
Tests of `balancer.wire.batches`.
"""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.batches import MAX_LENGTH, batch_for, host_of


class BatchTests(SynchronousTestCase):
    """Which datagrams go together, and who sent them."""

    def test_bound(self) -> None:
        """There is no batch of datagrams so long that it would take much memory."""
        self.assertIsNotNone(batch_for(socket.AF_INET, MAX_LENGTH))
        self.assertIsNone(batch_for(socket.AF_INET, MAX_LENGTH + 1))

    def test_hosts(self) -> None:
        """Addresses are written as `socket` does, link-local ones with their device."""
        four = b"\x02\0\x12\x34" + bytes((192, 0, 2, 1)) + bytes(8)
        self.assertEqual(host_of(socket.AF_INET, four), "192.0.2.1")
        for host, device, text in (("2001:db8::1", 0, "2001:db8::1"), ("fe80::1", 1, "fe80::1%lo"),
                                   ("fe80::1", 99999, "fe80::1%99999")):
            six = b"\x0a\0\x12\x34" + bytes(4) + socket.inet_pton(socket.AF_INET6, host)
            six += device.to_bytes(4, "little")
            self.assertEqual(host_of(socket.AF_INET6, six), text)
