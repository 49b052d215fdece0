"""
The seam that the site implements for balancers and checks: what it lends to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from balancer.interfaces.balancers import IBalancer
    from balancer.interfaces.telling import Published
    from balancer.pool.events import Event
    from balancer.pool.pool import Pool
    from balancer.wire.datagrams import DatagramPort
    from balancer.wire.deadlines import Wheel
    from balancer.wire.listener import Listener
    from balancer.wire.logfile import LogFile
    from balancer.wire.reactor import IWireReactor


class ISections(Interface):
    """What a site file says besides the sections of one's own kind."""

    geo: str | None = Attribute("The path of the database of places, if the site file names one.")

    def sections(kind: str) -> Mapping[str, Any]:
        """The settings of the inert sections of that kind by their names, in the order of the site
        file."""


class IContext(ISections):
    """
    What the site lends to balancers and checks. While a plan is being prepared, all that is told of
    the site file is that plan's; otherwise it is that of the plan in force.
    """

    site_name: str = Attribute("The site's name; the host's unless the site file gives one.")
    reactor: IWireReactor = Attribute("The reactor.")
    wheel: Wheel = Attribute("The deadline wheel: one tick for all of the site.")
    state: str = Attribute(
        "The absolute path of the directory for what must survive a restart; it may not exist "
        "before the first write. `wire.statefile` reads and writes there."
    )

    def pool(name: str) -> Pool:
        """The pool of that name; the site file was checked, so it exists."""

    def balancer(key: str) -> IBalancer:
        """The balancer of that key, `http:web`; KeyError if there is none. All are made before any
        is prepared; it was prepared before you if your references name it."""

    def balancers(kind: str) -> Mapping[str, IBalancer]:
        """All balancers of that kind by their names, in the order of the site file."""

    def healthy(key: str) -> bool:
        """Whether the balancer of that key can do its work: it is in force and needs no pool, or
        one of its pools has a server that is known to be up and may get work. KeyError if there is
        none. Events tell when to ask again."""

    def remembered(pool_name: str) -> frozenset[str]:
        """The names of the pool's servers that were up when the last process ended, at the address
        that they have now. No verdict: of use before the first one only."""

    def listener(host: str, port: int) -> Listener:
        """The bound TCP listener that the section claimed."""

    def datagrams(host: str, port: int) -> DatagramPort:
        """The bound UDP socket that the section claimed."""

    def log_file(path: str) -> LogFile:
        """The log at `path` (`-`: standard output), shared by all who name it; USR1 reopens it."""

    def publish(pool: Pool, events: Sequence[Event]) -> None:
        """Tell the site what happened in `pool`. Subscribers are called in the same turn, and
        then whoever waits in the pool's queue and may go now is told so by `admitted`."""

    def tell(balancer: str, did: str, cause: int) -> None:
        """Keep among the events that `balancer` (`ecmp:out`) `did` something outside of the process
        after event number `cause`. Who subscribes here is not told."""

    def subscribe(subscriber: Callable[[Published], None]) -> None:
        """Call `subscriber` for every event of a pool from now on. It must not raise."""

    def unsubscribe(subscriber: Callable[[Published], None]) -> None:
        """Call it no more; a balancer that stops has nothing else to do with the site."""
