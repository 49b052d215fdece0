"""
What all connections of one balancer share: its settings, made ready for use, and its figures.

Connections hold the `Front` itself; a commit writes new values into it, so that the next request
on every connection, old ones too, goes by them. Knows no protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from balancer.config.values import Network
from balancer.http.answers import Answer, error
from balancer.http.dates import Dates
from balancer.http.figures import Figures
from balancer.http.head import RequestReader, ResponseReader
from balancer.http.keys import KeyOf
from balancer.http.log import Lines
from balancer.http.routes import Redirect, RedirectToHttps
from balancer.http.table import Table
from balancer.limit.counts import Counts
from balancer.limit.rates import Rates
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.wire.deadlines import Wheel
from balancer.wire.reactor import IWireReactor

if TYPE_CHECKING:
    from balancer.http.client import ClientConnection
    from balancer.http.links import Links
    from balancer.http.naming import Naming

UNLIMITED: Final = 1 << 62
"""`max_body` when there is none: greater than any Content-Length that is read."""


class Connect(Protocol):
    """`wire.connect.connect`, with the reactor and the wheel already given."""

    def __call__(
        self, address: Any, protocol: Any, failed: Callable[[Any], None], timeout: float
    ) -> Any:
        """Connect; the result can be cancelled."""


class Target:
    """Where a route leads: a pool with the connections to its servers, the servers' own names, or
    an answer of our own."""

    __slots__ = ("active", "answer", "key_of", "links", "naming", "pool", "redirect")

    def __init__(
        self,
        pool: Pool | None = None,
        links: dict[Server, Links] | None = None,
        key_of: KeyOf | None = None,
        answer: Answer | None = None,
        redirect: Redirect | RedirectToHttps | None = None,
        naming: Naming | None = None,
    ) -> None:
        self.pool = pool
        self.links = {} if links is None else links
        self.key_of = key_of
        self.answer = answer
        self.redirect = redirect
        self.naming = naming
        self.active = 0


class Front:
    """See the module. Everything down to `proxies` is set by a commit."""

    __slots__ = (
        "answer_reader",
        "clock",
        "connect",
        "connections",
        "dates",
        "draining",
        "figures",
        "forwarded",
        "head_timeout",
        "idle_timeout",
        "left",
        "limited",
        "log",
        "max_body",
        "name",
        "new_answer_reader",
        "new_id",
        "new_reader",
        "only",
        "pages",
        "per_source",
        "proxies",
        "publish",
        "rates",
        "reader",
        "request_id",
        "request_lines",
        "response_timeout",
        "shortest",
        "table",
        "tail",
        "tail_close",
        "tail_old",
        "tls_table",
        "wheel",
    )

    def __init__(
        self,
        name: str,
        reactor: IWireReactor,
        wheel: Wheel,
        connect: Connect,
        publish: Callable[[Pool, Sequence[Event]], None],
        dates: Dates,
        new_id: Callable[[], bytes],
    ) -> None:
        self.name = name
        self.clock: Callable[[], float] = reactor.seconds
        self.wheel = wheel
        self.connect = connect
        self.publish = publish
        self.dates = dates
        self.new_id = new_id
        # Who is told of each client that is gone; `Arrivals` sets it.
        self.left: Callable[[ClientConnection], None]
        self.figures = Figures()
        self.connections: set[ClientConnection] = set()
        self.draining = False

        self.new_reader: Callable[[], RequestReader] = RequestReader
        self.new_answer_reader: Callable[[], ResponseReader] = ResponseReader
        # Shared by all connections while no head is half read; see `lend_reader`.
        self.reader = RequestReader()
        self.answer_reader = ResponseReader()
        self.only: Target | None = None
        self.table: Table[Target]
        # For requests under TLS that `table` would send to https: it has no such routes.
        self.tls_table: Table[Target]
        self.log: Lines | None = None
        self.pages: dict[int, Answer] = {}
        self.rates: Rates | None = None
        self.per_source: Counts | None = None
        self.limited = False
        self.proxies: Sequence[Network] = ()
        self.forwarded = "x-forwarded"
        self.request_id: bytes | None = None
        self.request_lines = b""
        self.set_answer_lines(b"")
        self.max_body = UNLIMITED
        self.set_timeouts(10.0, 60.0, 60.0)

    def set_timeouts(self, head: float, idle: float, response: float) -> None:
        """Seconds, each."""
        self.head_timeout = head
        self.idle_timeout = idle
        self.response_timeout = response
        self.shortest = min(head, idle, response)

    def set_answer_lines(self, lines: bytes) -> None:
        """What is appended to the head of every answer, each line with its CRLF."""
        self.tail = lines + b"\r\n"
        # RFC 9112 section 9.3: an HTTP/1.0 client believes in keep-alive only if it is said.
        self.tail_old = lines + b"Connection: keep-alive\r\n\r\n"
        self.tail_close = lines + b"Connection: close\r\n\r\n"

    def lend_reader(self) -> RequestReader:
        """The reader that has just begun a head that is not complete: its connection keeps it."""
        reader, self.reader = self.reader, self.new_reader()
        return reader

    def lend_answer_reader(self) -> ResponseReader:
        """As `lend_reader`, for answers. The next one knows what this one has learned."""
        reader, self.answer_reader = self.answer_reader, self.new_answer_reader()
        self.answer_reader.shapes = reader.shapes
        return reader

    def error(self, code: int, reason: str = "") -> Answer:
        """The answer to an error: the operator's page, or a line of text."""
        return self.pages.get(code) or error(code, reason)
