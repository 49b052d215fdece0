"""The API's pages, asked through twisted.web's own request objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site
from zope.interface import implementer

from balancer.admin.service import MOST_CONNECTIONS, Bounded, tree
from balancer.interfaces import ISite, Metric, Published, Sample, Snapshot


@implementer(ISite)
class FakeSite:
    """A site with one balancer."""

    def __init__(self) -> None:
        self.well = True
        self.state = "running"

    def healthy(self) -> bool:
        return self.well

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        raise AssertionError("the pages do not subscribe")

    unsubscribe = subscribe

    def events(self) -> Sequence[Published]:
        return ()

    def snapshot(self) -> Snapshot:
        status = {
            "site": {"state": self.state},
            "balancers": {"http:web": {"healthy": self.well}},
        }
        return Snapshot(status, (Metric("balancer_x", "X.", "gauge", (Sample({}, 1.0),)),))

    def telling(self) -> Generator[None, None, Mapping[str, Any]]:
        yield
        return self.snapshot().status

    def telling_of(self, key: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.snapshot().status["balancers"].get(key)
        return found

    def metrics(self) -> Iterable[Metric]:
        return self.snapshot().metrics


class Pages(SynchronousTestCase):
    """Each page by its path."""

    def setUp(self) -> None:
        self.site = FakeSite()

    def ask(self, line: str) -> tuple[int, bytes]:
        """Status and body of the answer to a request."""
        transport = StringTransport()
        channel = Site(tree(self.site, Clock())).buildProtocol(None)
        assert channel is not None
        channel.makeConnection(transport)
        channel.dataReceived(f"{line} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def test_health(self) -> None:
        """/healthz is 200 ok while every balancer is healthy."""
        self.assertEqual(self.ask("GET /healthz"), (200, b"ok\n"))

    def test_not_healthy(self) -> None:
        """/healthz is 503 and names the balancers that have no server."""
        self.site.well = False
        self.assertEqual(self.ask("GET /healthz"), (503, b"no server is up for http:web\n"))

    def test_draining(self) -> None:
        """/healthz is 503 while the site drains."""
        self.site.well, self.site.state = False, "draining"
        self.assertEqual(self.ask("GET /healthz"), (503, b"draining\n"))

    def test_status(self) -> None:
        """/api/status is JSON."""
        code, body = self.ask("GET /api/status")
        self.assertEqual((code, json.loads(body)["site"]["state"]), (200, "running"))

    def test_part(self) -> None:
        """/api/status/KIND:NAME is one balancer's part of it, however the key is written in the
        path; what there is none of is 404."""
        for path in ("http:web", "http%3Aweb"):
            code, body = self.ask(f"GET /api/status/{path}")
            self.assertEqual((200, {"healthy": True}), (code, json.loads(body)))
        self.assertEqual(404, self.ask("GET /api/status/http:none")[0])
        self.assertEqual(404, self.ask("GET /api/status/http:web/more")[0])
        self.assertEqual(200, self.ask("GET /api/status/")[0])

    def test_metrics(self) -> None:
        """/metrics is the exposition."""
        code, body = self.ask("GET /metrics")
        self.assertEqual(code, 200)
        self.assertIn(b"balancer_x 1.0\n", body)

    def test_index(self) -> None:
        """/ says what there is."""
        self.assertIn(b"/metrics", self.ask("GET /")[1])

    def test_bounded(self) -> None:
        """Connections beyond the bound are refused, until others have ended."""
        factory = Bounded(Site(tree(self.site, Clock())))
        address = IPv4Address("TCP", "127.0.0.1", 1)
        protocols = []
        for _ in range(MOST_CONNECTIONS):
            protocol = factory.buildProtocol(address)
            assert protocol is not None
            protocol.makeConnection(StringTransport())
            protocols.append(protocol)
        self.assertIsNone(factory.buildProtocol(address))
        for protocol in protocols:
            protocol.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(factory.buildProtocol(address))

    def test_nothing_else(self) -> None:
        """Other paths are 404, and nothing can be posted."""
        self.assertEqual(self.ask("GET /api/none")[0], 404)
        self.assertEqual(self.ask("POST /api/status")[0], 405)
