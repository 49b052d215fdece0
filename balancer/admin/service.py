"""
The status API: `/healthz`, `/metrics`, `/api/status`. It reads the site and changes nothing.
"""

from __future__ import annotations

import json

from twisted.application.service import Service
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from balancer.admin.metrics import CONTENT_TYPE, exposition
from balancer.interfaces import ISite
from balancer.wire.listener import Listener
from balancer.wire.stock import serve

IDLE_TIMEOUT = 60
"""Seconds that a kept-alive admin connection may be silent."""

_INDEX = b"""balancer

/healthz      200 while every balancer is healthy, else 503
/metrics      counters and histograms for Prometheus
/api/status   all of it as JSON
"""


class _QuietSite(Site):
    """A Site without a log: its dates would come from the reactor's clock, which is monotonic."""

    noisy = False

    def log(self, request: Request) -> None:
        """Admin requests are not logged."""


class _Page(Resource):
    """A leaf that may only be read, and is never cached."""

    isLeaf = True
    content_type = b"text/plain; charset=utf-8"

    def __init__(self, site: ISite) -> None:
        super().__init__()
        self._site = site

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", self.content_type)
        request.setHeader(b"Cache-Control", b"no-store")
        return self.page(request)

    def page(self, request: Request) -> bytes:
        return _INDEX


class _Health(_Page):
    def page(self, request: Request) -> bytes:
        if self._site.healthy():
            return b"ok\n"
        request.setResponseCode(503)
        status = self._site.snapshot().status
        if status["site"]["state"] == "draining":
            return b"draining\n"
        down = [name for name, each in status["balancers"].items() if not each["healthy"]]
        return ("no server is up for " + ", ".join(down) + "\n").encode()


class _Metrics(_Page):
    content_type = CONTENT_TYPE

    def page(self, request: Request) -> bytes:
        return exposition(self._site.snapshot().metrics)


class _Status(_Page):
    content_type = b"application/json"

    def page(self, request: Request) -> bytes:
        return json.dumps(self._site.snapshot().status).encode() + b"\n"


def tree(site: ISite) -> Resource:
    """The resources of the API."""
    root = Resource()
    api = Resource()
    api.putChild(b"status", _Status(site))
    root.putChild(b"", _Page(site))
    root.putChild(b"healthz", _Health(site))
    root.putChild(b"metrics", _Metrics(site))
    root.putChild(b"api", api)
    return root


class AdminService(Service):
    """Serves the API on a listener that the site bound."""

    def __init__(self, site: ISite, listener: Listener) -> None:
        self._site = site
        self._listener = listener

    def startService(self) -> None:
        super().startService()
        serve(self._listener, _QuietSite(tree(self._site), timeout=IDLE_TIMEOUT))
        self._listener.start()
