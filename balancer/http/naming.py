"""
`-> subdomains NAME`: a request is sent to the name of the server that its pool chooses.

Knows `INamedServers` and answers; the client goes there by itself, so nothing is in flight here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from balancer.http.answers import Answer, answer, phrase
from balancer.http.keys import key_of
from balancer.http.message import RequestHead
from balancer.interfaces import INamedServers
from balancer.pool.server import Server

if TYPE_CHECKING:
    from balancer.http.keys import Asker

FOUND: Final = 302
TEMPORARY: Final = 307
"""The same for another method than GET and HEAD: it stays what it is (RFC 9110 15.4.8). Neither is
kept by the client (RFC 9111 4.2.2), so that its next request is balanced anew."""

Door = tuple[bytes, int]
"""How a client came in: the scheme, and the port of the listener."""


class Naming:
    """The servers of a `[subdomains NAME]` section by their names; `pool` is the section's."""

    __slots__ = ("_key_of", "_names", "_ready", "pool")

    def __init__(self, names: INamedServers) -> None:
        self.pool = names.pool
        self._names = names
        self._key_of = key_of(self.pool.needs_key)
        # URLs by door and server's name, made when first needed: there are few doors.
        self._ready: dict[Door, dict[str, bytes]] = {}
        names.changed(self._forget)

    def let_go(self) -> None:
        """The routes name it no more."""
        self._names.unchanged(self._forget)

    def _forget(self) -> None:
        self._ready.clear()

    def choose(self, asker: Asker, head: RequestHead) -> Server | None:
        """The server that the pool's algorithm gives the request; None: no one may get work."""
        return self.pool.choose(self.key(asker, head))

    def key(self, asker: Asker, head: RequestHead) -> bytes | None:
        """What the pool wants to choose by."""
        return None if self._key_of is None else self._key_of(asker, head)

    def answer(self, server: Server, head: RequestHead, door: Door) -> Answer:
        """The redirect to `server` of a request that came in by `door`."""
        return self._redirect(head, self._location(server, door))

    def _redirect(self, head: RequestHead, base: bytes) -> Answer:
        where = base + (b"/" if head.target == b"*" else head.target)
        code = FOUND if head.method in (b"GET", b"HEAD") else TEMPORARY
        body = b"%d %b: %b\n" % (code, phrase(code).encode(), where)
        return answer(code, body, fields=b"Location: %b\r\n" % where)

    def _location(self, server: Server, door: Door) -> bytes:
        ready = self._ready.get(door)
        if ready is None:
            ready = self._ready[door] = {}
        found = ready.get(server.name)
        if found is None:
            scheme, port = door
            found = self._names.location(server.name, scheme.decode(), port).encode("ascii")
            # What was told meanwhile may have emptied it all.
            self._ready.setdefault(door, {})[server.name] = found
        return found

    def explain(self, asker: Asker, head: RequestHead, door: Door) -> dict[str, Any]:
        """What `choose` and `answer` would do; changes nothing."""
        best = next(self.pool.rank(self.key(asker, head)), None)
        if best is None:
            return {"code": 503, "text": "no server is available"}
        # Past what is ready: an operator may ask for any door.
        base = self._names.location(best.name, door[0].decode(), door[1])
        found = self._redirect(head, base.encode("ascii"))
        where = found.body.decode("ascii", "replace").partition(": ")[2].strip()
        return {"code": found.code, "text": f"redirect to {where}"}
