"""
Tests of addresses that are connected to under TLS.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.address import literal
from balancer.wire.connect import Connecting, connect
from balancer.wire.connect_tls import Secured, TlsConnecting, Trust, client_context, secured
from tests.wire.reactors import Recorder, StillReactor

PLACE = literal("127.0.0.1", 443)
CONTEXT = client_context(verify=False)


class SecuredTest(SynchronousTestCase):
    """An address and whom to trust there."""

    def test_equal(self) -> None:
        """Two are equal when place, name and context are; a plain address equals none."""
        one = secured(PLACE, Trust(CONTEXT, "a.test"))
        self.assertEqual(one, secured(literal("127.0.0.1", 443), Trust(CONTEXT, "a.test")))
        self.assertEqual(hash(one), hash(secured(PLACE, Trust(CONTEXT, "a.test"))))
        for other in (
            PLACE,
            secured(PLACE, Trust(CONTEXT, "b.test")),
            secured(PLACE, Trust(client_context(verify=False), "a.test")),
            secured(literal("127.0.0.1", 444), Trust(CONTEXT, "a.test")),
        ):
            self.assertNotEqual(one, other)

    def test_text(self) -> None:
        """It reads as the address does."""
        self.assertEqual(str(secured(literal("::1", 443), Trust(CONTEXT))), "[::1]:443")

    def test_at(self) -> None:
        """Elsewhere it is trusted as before; a plain address stays plain."""
        trust = Trust(CONTEXT, "a.test")
        elsewhere = literal("127.0.0.2", 443)
        self.assertEqual(secured(PLACE, trust).at(elsewhere), secured(elsewhere, trust))
        self.assertEqual(PLACE.at(elsewhere), elsewhere)


class ConnectTest(SynchronousTestCase):
    """The one way to connect."""

    def connecting(self, address: Any) -> Connecting:
        """What connects there; nothing does yet."""
        reactor = StillReactor()
        connecting = connect(reactor, address, Recorder(), lambda error: None, 1.0)
        self.addCleanup(connecting.cancel)
        return connecting

    def test_kinds(self) -> None:
        """TLS is spoken where the address says so, and nowhere else."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            place = literal("127.0.0.1", server.getsockname()[1])
            self.assertNotIsInstance(self.connecting(place), TlsConnecting)
            address = secured(place, Trust(CONTEXT, "a.test"))
            self.assertIsInstance(address, Secured)
            found = self.connecting(address)
            assert isinstance(found, TlsConnecting)
            self.assertEqual(found.trust, address.trust)
