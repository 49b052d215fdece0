"""
What all [dns] sections of a site share: listening addresses, cookies, places, news of pools.

Several zones may be served at one address, so the socket is no section's own. Knows the site's
seams; which answers a change of a pool makes outdated is `served`'s business.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from ipaddress import ip_address
from secrets import token_bytes
from socket import inet_aton
from typing import Final
from weakref import WeakKeyDictionary

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.slices import Slices
from balancer.dns.cookies import SECRET_SIZE, Cookies
from balancer.dns.front import Front
from balancer.dns.geo.service import Atlas
from balancer.dns.kept import World
from balancer.dns.responder import Responder
from balancer.dns.served import Served
from balancer.interfaces import IContext, Published
from balancer.wire.slices import in_slices

SETTLE_WITHIN: Final = 0.05
"""Seconds in which the events of a pool are gathered before its answers are made anew: a pool of
thousands of servers takes 10 ms each time. All planes follow a verdict within 0.2 s."""

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for changes that are no events: checks that disagree with a verdict,
and slow starts."""

FREED_A_LOOK: Final = 4096
"""Answers that hold no more, freed at a look, in some 5 ms. Where queries come, they are freed by
the way; this is for when they do not."""

Where = tuple[str, int]

log = Logger()


def packed(host: str) -> bytes:
    """An address as bytes: IPv4 as 4, IPv6 as 16, without its zone."""
    return inet_aton(host) if ":" not in host else ip_address(host.partition("%")[0]).packed


class Edge:
    """One for each site. Sections `join` with what they serve, and `leave`."""

    def __init__(self, context: IContext) -> None:
        self.context = context
        self.atlas = Atlas(context.reactor)
        self.atlas.subscribe(self._moved)
        self.fronts: dict[Where, Front] = {}
        # Where nothing is served any more, and connections of before are still served.
        self._leaving: set[Front] = set()
        self._served: dict[Served, tuple[Where, ...]] = {}
        self._here: dict[Where, dict[Served, None]] = {}
        self._draining: set[Served] = set()
        self.cookies = Cookies(token_bytes(SECRET_SIZE))
        # Those of sections that name a file of their own.
        self._own_cookies: dict[Served, Cookies] = {}
        self._equipped: tuple[Cookies, bytes] | None = None
        self._world = World(packed, context.reactor.seconds, time.time)
        self._revisions: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._settling: IDelayedCall | None = None
        self._at_work: Deferred[None] | None = None
        self._looking: IDelayedCall | None = None

    # Sections come and go

    def join(self, served: Served, where: Iterable[Where]) -> None:
        """Serve the zone at these addresses from now on, and at no others."""
        if not self._served:
            self.context.subscribe(self._happened)
        for front in self._move(served, tuple(where)):
            self._leaving.add(front)
            front.drain().addCallback(self._left, front)

    def leave(self, served: Served) -> None:
        """Serve it no more, nor make cookies by its secrets."""
        self._draining.discard(served)
        self._own_cookies.pop(served, None)
        if served not in self._served:
            return
        for front in self._move(served, ()):
            front.stop()
        del self._served[served]
        if not self._served:
            for front in tuple(self._leaving):
                front.stop()
            self.context.unsubscribe(self._happened)
            self._rest()

    def start(self, served: Served) -> None:
        """Answer for the zone, where it is served."""
        for where in self._served.get(served, ()):
            self.fronts[where].start()
        if self._looking is None:
            self.atlas.start()
            self._looking = self.context.reactor.callLater(LOOK_INTERVAL, self._look)

    def drain(self, served: Served) -> list[Front]:
        """The zone drains: its addresses where all others do so too, or there are none."""
        self._draining.add(served)
        return [
            self.fronts[where]
            for where in self._served.get(served, ())
            if self._draining.issuperset(self._here[where])
        ]

    def of(self, served: Served) -> list[Front]:
        """Where the zone is served."""
        return [self.fronts[where] for where in self._served.get(served, ())]

    def secure(self, served: Served, cookies: Cookies | None, own: bool) -> None:
        """Where the zone is served, make and check cookies by these secrets from now on if they are
        its `own`, elsewhere if no zone has own ones; by those of before if it is None. All under
        the site's name of now."""
        owned = self._own_cookies.pop(served, None)
        if cookies is not None and own:
            same = owned is not None and owned.made_of == cookies.made_of
            self._own_cookies[served] = owned if owned is not None and same else cookies
        elif cookies is not None and cookies.made_of != self.cookies.made_of:
            self.cookies = cookies
        # Hundreds of zones at as many addresses would equip each of these hundreds of times.
        equipped = self.cookies, self._nsid()
        everywhere = equipped != self._equipped
        self._equipped = equipped
        for where in self.fronts if everywhere else self._served.get(served, ()):
            self._equip(where)

    def _equip(self, where: Where) -> None:
        own, cookies = self._own_cookies, self.cookies
        if own:
            cookies = next((own[each] for each in self._here[where] if each in own), cookies)
        self.fronts[where].responder.equip(cookies, self._nsid())

    def _nsid(self) -> bytes:
        return self.context.site_name.encode("ascii", "replace")

    def _left(self, done: None, front: Front) -> None:
        self._leaving.discard(front)
        front.stop()

    def _move(self, served: Served, where: tuple[Where, ...]) -> list[Front]:
        """Have these addresses answer for the zone, and no others; those that have no zone left."""
        before, self._served[served] = self._served.get(served, ()), where
        gone = []
        for each in set(before) - set(where):
            del self._here[each][served]
            if self._here[each]:
                self.fronts[each].responder.leave(served)
                self._equip(each)
            else:
                del self._here[each]
                gone.append(self.fronts.pop(each))
        for each in set(where) - set(before):
            if each not in self.fronts:
                self.fronts[each] = self._front(each)
            self._here.setdefault(each, {})[served] = None
            self.fronts[each].responder.join(served)
            self._equip(each)
        return gone

    def _front(self, where: Where) -> Front:
        context = self.context
        responder = Responder(self.cookies, self._world, self._nsid())
        return Front(context, responder, context.datagrams(*where), context.listener(*where))

    # News of pools

    def _happened(self, published: Published) -> None:
        self._dirty.add(published.pool)
        if self._settling is None:
            self._settling = self.context.reactor.callLater(SETTLE_WITHIN, self._settle)

    def _settle(self) -> None:
        self._settling = None
        if self._at_work is None:
            at_work = in_slices(self.context.reactor, self._settled())
            if not at_work.called:
                self._at_work = at_work
            at_work.addErrback(self._not_settled)

    def _settled(self) -> Slices[None]:
        """Have zones look at the pools in which something happened. What happens meanwhile is
        gathered for the next time."""
        dirty, self._dirty = self._dirty, set()
        for pool in dirty:
            for served in list(self._served):
                yield from served.settling(pool)
        self._at_work = None
        if self._dirty and self._settling is None:
            self._settling = self.context.reactor.callLater(SETTLE_WITHIN, self._settle)

    def _not_settled(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._at_work = None
            log.failure("names may not follow their pools any more", failure)

    def _look(self) -> None:
        self._looking = self.context.reactor.callLater(LOOK_INTERVAL, self._look)
        any(front.responder.tidy(FREED_A_LOOK) for front in self.fronts.values())
        for served in self._served:
            for name, keys in served.pools.items():
                revision = served.names[keys[0]].pool.revision
                if self._revisions.get(name) != revision:
                    self._revisions[name] = revision
                    self._dirty.add(name)
        if self._dirty and self._settling is None:
            self._settle()

    def _moved(self) -> None:
        """There is another database of places."""
        for served in self._served:
            served.inhabit(self.atlas.territory)

    def _rest(self) -> None:
        if self._looking is not None:
            self.atlas.stop()
        for call in (self._settling, self._looking):
            if call is not None:
                call.cancel()
        self._settling = self._looking = None
        at_work, self._at_work = self._at_work, None
        if at_work is not None:
            at_work.cancel()


_edges: WeakKeyDictionary[IContext, Edge] = WeakKeyDictionary()


def edge_of(context: IContext) -> Edge:
    """The edge of the site that lends this context."""
    edge = _edges.get(context)
    if edge is None:
        edge = _edges[context] = Edge(context)
    return edge
