"""
The seams that a kind of balancer implements: its maker, its sections at work, and what else one of
them may offer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.application.service import IService
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from balancer.config.schema import Section
    from balancer.interfaces.context import IContext
    from balancer.interfaces.telling import Metric
    from balancer.pool.pool import Pool
    from balancer.wire.address import Address


class IPrepared(Interface):
    """A change that can still be dropped without a trace."""

    def commit() -> None:
        """Put the change in force. Cannot fail."""

    def abandon() -> None:
        """Drop the change and what was opened for it."""


class IPreparedFromFiles(IPrepared):
    """A change that also depends on what files hold, which the site file does not show."""

    def changes() -> Sequence[str]:
        """What is different in files since they were last in force, for whoever reloads: `~ dns
        example.test: the zone file was read again`. Nothing at the first time."""


class IBalancer(IService):
    """
    One section of the site file at work.

    The site calls `prepare` and `commit` once before `startService`, and again at each reload; a
    section that its references name is prepared, and committed, before it. `startService` begins
    to accept, `drain` stops accepting and waits, `stopService` ends what is left.
    """

    def prepare(settings: Any) -> IPrepared:
        """Check and open all that `settings` (of the section's settings class) need, and change
        nothing that is in force. Raise `PrepareError` if that fails."""

    def drain() -> Deferred[None]:
        """Stop accepting, end idle connections, and fire when no work is left. The site bounds it
        by `drain-timeout`, and then calls `stopService`."""

    def status() -> Mapping[str, Any]:
        """The balancer's part of `/api/status`, ready for JSON."""

    def metrics() -> Sequence[Metric]:
        """What it counts; every sample bears the label `balancer`."""


class INamedServers(IBalancer):
    """
    A balancer that gives each server of a pool a host name of its own. What it tells is in force.
    Before the first commit, which `changed` tells of, there are no names and no `pool`.
    """

    zone: str = Attribute("The ZONE of the [dns ZONE] section that the names belong to.")

    pool: Pool = Attribute("The pool whose servers have the names.")

    ttl: float = Attribute("How long an answer with such a name may be kept, in seconds.")

    def names() -> Mapping[str, str]:
        """The server's name to its host name, absolute, in lower case, without the final dot:
        `{"a": "www1.example.test"}`."""

    def location(server: str, scheme: str = "http", port: int = 0) -> str:
        """The URL of the server of that name, without a slash at the end:
        `https://www1.example.test:8443`. `scheme` and `port` are those that the client came in by,
        and hold where the section gives none; a port that is the scheme's own, or 0, is left out.
        KeyError for a server without a name."""

    def changed(callback: Callable[[], None]) -> None:
        """Call `callback` whenever names or options have become others. It must not raise. Who asks
        for `names` may learn of new ones before the call."""

    def unchanged(callback: Callable[[], None]) -> None:
        """Call it no more; harmless if it is not called."""


@frozen
class HttpEndpoint:
    """Where HTTP is spoken: `tls` or plain, the protocols by their ALPN names (RFC 7301) that are
    really served there, and the pools whose servers answer."""

    address: Address
    port: int
    tls: bool
    alpn: tuple[str, ...]
    pools: tuple[str, ...]


class IEndpoints(IBalancer):
    """A balancer that tells where HTTP clients reach it."""

    def endpoints() -> Sequence[HttpEndpoint]:
        """Its listeners that are in force, in the order of the site file."""

    def changed(callback: Callable[[], None]) -> None:
        """Call `callback` whenever they have become others. It must not raise."""

    def unchanged(callback: Callable[[], None]) -> None:
        """Call it no more; harmless if it is not called."""


class IWithdraws(IBalancer):
    """A balancer that has brought traffic here from afar, and sends it elsewhere before others
    drain."""

    def withdraw() -> Deferred[None]:
        """Have traffic go elsewhere; fires when none is asked for any more. It bounds itself. The
        site calls this before it drains anybody; calling it again gives the same."""


class IPreparesInSlices(IBalancer):
    """A balancer whose `prepare` may take longer than a few milliseconds."""

    def preparing(settings: Any) -> Generator[None, None, IPrepared]:
        """What `prepare` does, in slices of a few milliseconds; the site calls this instead."""


@frozen
class PlannedServer:
    """A line of a pool's `servers` in a site file that is only looked at: `host` is an IP address,
    a DNS name or `unix:PATH`."""

    pool: str
    name: str
    host: str
    weight: int
    backup: bool
    disabled: bool


class IShowsCommands(IBalancer):
    """A balancer that changes something outside of the process, as commands could do too."""

    def commands(settings: Any, servers: Sequence[PlannedServer]) -> Sequence[str]:
        """The commands that would do what putting `settings` in force will do, with `servers` in
        its pools; what is not known of them is taken to be well. `settings` None: the section goes.
        Changes nothing, and may be asked of a balancer that was never prepared."""


class PrepareError(Exception):
    """A balancer cannot take on its settings: where, what was expected, what came, what to do."""


class NoPrivilege(PrepareError):
    """... because the process may not do what they need. `twistd lb` exits with 2 then."""


class IBalancerMaker(IPlugin):
    """
    Makes the balancers of one kind. Light to import: what is heavy is imported by `make`. It is
    never called for a kind whose section is `inert`.
    """

    kind: str = Attribute("The word that opens the section: `http` in `[http web]`.")

    section: Section = Attribute("The section's options, declared.")

    def make(name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""


class IExplains(Interface):
    """A balancer that can say where something would go, by the very code that sends it there."""

    def explain(question: Mapping[str, str]) -> Mapping[str, Any]:
        """
        For http, `question` has `method`, `url` and `from` (an address); for tcp and udp, `from`
        (ADDRESS:PORT); for dns, `name`, `type` and `from` (an address); for subdomains and ecmp
        nothing. The
        answer, ready for JSON: `rule` (which one matched), `pool`, `candidates` (each `server`,
        `usable`, `why`), `chosen` (a server's name, or None), or `answer` where the balancer
        answers by itself; for dns also `records` (texts), `ttl`, `scope` and `place`, for
        subdomains `names` (texts). Changes nothing. Raises `NotDone` for a question that it cannot
        read.
        """
