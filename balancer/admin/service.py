"""
The status API: `/healthz`, `/metrics`, `/api/status`. It reads the site and changes nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from balancer.admin import jsontext
from balancer.admin.metrics import CONTENT_TYPE, exposing
from balancer.interfaces import ISite
from balancer.wire.listener import Listener
from balancer.wire.slices import in_slices
from balancer.wire.stock import serve

log = Logger()

IDLE_TIMEOUT = 60
"""Seconds that a kept-alive admin connection may be silent."""

MOST_CONNECTIONS = 256
"""Admin connections at once: scrapers and operators are few, and traffic needs the descriptors."""

WRITE_SIZE = 64 * 1024
"""Bytes of a long page that are written at once: a piece of it may have a few."""

_INDEX = b"""balancer

/healthz      200 while every balancer is healthy, else 503
/metrics      counters and histograms for Prometheus
/api/status   all of it as JSON; /api/status/KIND:NAME: one balancer's part
"""


class _QuietSite(Site):
    """A Site without a log: its dates would come from the reactor's clock, which is monotonic."""

    noisy = False

    def log(self, request: Request) -> None:
        """Admin requests are not logged."""


class Bounded(WrappingFactory):
    """Closes connections beyond `MOST_CONNECTIONS`."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if len(self.protocols) >= MOST_CONNECTIONS:
            return None
        return super().buildProtocol(addr)


class _Page(Resource):
    """A leaf that may only be read, and is never cached."""

    isLeaf = True
    content_type = b"text/plain; charset=utf-8"

    def __init__(self, site: ISite) -> None:
        super().__init__()
        self._site = site

    def render_GET(self, request: Request) -> bytes | int:
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


class _LongPage(_Page):
    """A page that takes work in proportion to the site: made in slices, over several turns."""

    def __init__(self, site: ISite, reactor: IReactorTime) -> None:
        super().__init__(site)
        self._reactor = reactor

    def render_GET(self, request: Request) -> int:
        super().render_GET(request)
        making = in_slices(self._reactor, self._making(request))
        request.notifyFinish().addErrback(lambda _: making.cancel())
        making.addErrback(_ended_early)
        return NOT_DONE_YET

    def _making(self, request: Request) -> Generator[None, None, None]:
        held, size = [], 0
        for piece in self.pieces():
            held.append(piece)
            size += len(piece)
            if size >= WRITE_SIZE:
                request.write(b"".join(held))
                held, size = [], 0
            yield
        request.write(b"".join(held))
        request.finish()

    def pieces(self) -> Iterable[bytes]:
        """The page, a slice of work for each piece."""
        raise NotImplementedError

    def page(self, request: Request) -> bytes:
        return b""


def _ended_early(failure: Failure) -> None:
    """The client left, which needs no word; anything else is ours."""
    if failure.check(CancelledError) is None:
        log.failure("an admin page could not be made", failure=failure)


class _Metrics(_LongPage):
    content_type = CONTENT_TYPE

    def pieces(self) -> Iterable[bytes]:
        return exposing(self._site.metrics())


class _Status(_LongPage):
    """All of it; below it, a balancer's part by its key."""

    isLeaf = False
    content_type = b"application/json"

    def getChild(self, path: bytes, request: Request) -> Resource:
        if not path:
            return self
        told = self._site.telling_of(path.decode("utf-8", "replace"))
        # Without one, what Resource says of a child that it has not: 404.
        return super().getChild(path, request) if told is None else _Part(
            self._site, self._reactor, told
        )

    def pieces(self) -> Iterable[bytes]:
        telling, status = self._site.telling(), None
        while status is None:
            try:
                next(telling)
            except StopIteration as told:
                status = told.value
            yield b""
        # Four levels: the status, its pools, one of them, its servers.
        yield from jsontext.pieces(status, 4)
        yield b"\n"


class _Part(_LongPage):
    """One balancer's part of the status. Mostly short, so that other sites may ask for it often."""

    isLeaf = False
    content_type = b"application/json"

    def __init__(self, site: ISite, reactor: IReactorTime, told: Mapping[str, Any]) -> None:
        super().__init__(site, reactor)
        self._told = told

    def pieces(self) -> Iterable[bytes]:
        # Two levels: the balancer, and its neighbors or connections.
        yield from jsontext.pieces(self._told, 2)
        yield b"\n"


def tree(site: ISite, reactor: IReactorTime) -> Resource:
    """The resources of the API."""
    root = Resource()
    api = Resource()
    api.putChild(b"status", _Status(site, reactor))
    root.putChild(b"", _Page(site))
    root.putChild(b"healthz", _Health(site))
    root.putChild(b"metrics", _Metrics(site, reactor))
    root.putChild(b"api", api)
    return root


class AdminService(Service):
    """Serves the API on a listener that the site bound."""

    def __init__(self, site: ISite, listener: Listener) -> None:
        self._site = site
        self._listener = listener

    def startService(self) -> None:
        super().startService()
        serve(
            self._listener,
            Bounded(_QuietSite(tree(self._site, self._listener.reactor), timeout=IDLE_TIMEOUT)),
        )
        self._listener.start()
