"""
The seams: what the site asks of a kind of balancer, of a check, and what it gives to them.

Third parties write against this module alone: a kind is an `IBalancerMaker`, a check an
`ICheckMaker`, each in a file of its own in a `twisted/plugins` directory on `sys.path`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from twisted.application.service import IService
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    # Every `twistd` command imports this module by way of the plugins: it stays light.
    from twisted.internet.defer import Deferred

    from balancer.config.schema import Finding, Section
    from balancer.pool.events import Event
    from balancer.pool.pool import Pool
    from balancer.wire.address import Address
    from balancer.wire.datagrams import DatagramPort
    from balancer.wire.deadlines import Wheel
    from balancer.wire.listener import Listener
    from balancer.wire.logfile import LogFile
    from balancer.wire.reactor import IWireReactor


@frozen
class Sample:
    """One value of a metric. `suffix` is appended to the metric's name (`_bucket`, `_sum`)."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@frozen
class Metric:
    """A metric family in Prometheus' sense; `kind` is counter, gauge or histogram."""

    name: str
    help: str
    kind: str
    samples: tuple[Sample, ...]


@frozen
class Followed:
    """What a balancer (`ecmp:out`) did outside of the process, after event number `cause`; 0: no
    event led to it."""

    balancer: str
    did: str
    cause: int = 0
    server: str = field(default="", init=False)

    def text(self) -> str:
        """The event in a few words for the log."""
        text = f"{self.balancer} {self.did}"
        return f"{text} (after event {self.cause})" if self.cause else text


@frozen
class Published:
    """An event with the number and the time (Unix seconds) that the site gave it: of a pool, or
    what a balancer did that followed one, without a pool."""

    id: int
    at: float
    pool: str
    event: Event | Followed


@frozen
class Snapshot:
    """
    The site at one moment: `status` is what `/api/status` shows, ready for JSON. `metrics` are made
    while they are iterated over, once: for thousands of servers that is worth several turns.
    """

    status: Mapping[str, Any]
    metrics: Iterable[Metric]


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


class BadFiles(PrepareError):
    """Files that a section names cannot be used. `findings` says of each at which line of which
    option it is named, what was expected, what came and what to do; `title` is the section's."""

    def __init__(self, title: str, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(f"[{title}] {option}: {text}" for option, _, text in findings))
        self.findings = tuple(findings)


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


class ISections(Interface):
    """What a site file says besides the sections of one's own kind."""

    geo: str | None = Attribute("The path of the database of places, if the site file names one.")

    def sections(kind: str) -> Mapping[str, Any]:
        """The settings of the inert sections of that kind by their names, in the order of the site
        file."""


@frozen
class Flaw:
    """What is wrong with a file: the section's key (`dns:example.test`, `site:`), the option and
    the line of its value that name the file, and the fault in words. `doubt`: a start would use the
    file all the same."""

    key: str
    option: str
    index: int
    text: str
    doubt: bool = False


class IReadsFiles(IBalancerMaker):
    """A maker whose sections name files, and that can tell what a start would say of them."""

    def reading(sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        """
        Read all files that these sections (the kind's settings by name) name, by the code that
        `prepare` reads them with, and say all that is wrong with them; None after each few
        milliseconds of work. Nothing is made, bound, asked or kept; no balancer is there.
        """


class ICheck(Interface):
    """A probe, ready to be run against any server of a pool."""

    def probe(target: Address, timeout: float) -> Deferred[str]:
        """Ask `target` once. Fires within `timeout` seconds with what was seen (a few words for the
        operator), or fails with `CheckFailed` or any other exception: the server failed the check.
        Cancelling the Deferred ends the probe at once and frees what it holds."""


class CheckFailed(Exception):
    """A server did not pass a check; the text says why in a few words."""


class ICheckMaker(IPlugin):
    """Makes the checks that one word of the option `check` names."""

    name: str = Attribute("The first word of the option's value: `http`.")

    help: str = Attribute("The words that may follow, in one line, for the reference.")

    def parse(words: Sequence[str]) -> Callable[[IContext], ICheck]:
        """What follows the first word, read; raise `config.values.Unreadable` if it cannot be.
        The result makes the check; nothing is opened before it is called."""


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


class NotDone(Exception):
    """An operator's request that changed nothing: what was expected, what came, what to do.

    `problems` are a site file's, as its lines say them.
    """

    def __init__(self, text: str, problems: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.problems = tuple(problems)


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


class IOperator(Interface):
    """What an operator may ask of a running site. Servers are named POOL/NAME, or `site` for all
    of it. What cannot be done raises `NotDone` and has changed nothing."""

    def check(path: str) -> Deferred[Mapping[str, Any]]:
        """`problems` of the site file at `path`, by line, and whether it is `ok`."""

    def plan(path: str) -> Deferred[Mapping[str, Any]]:
        """`changes` that a reload of the file at `path` would make, `commands` that would do the
        same to the kernel, and `problems`."""

    def reload() -> Deferred[Mapping[str, Any]]:
        """Put the site file in force: `changes` that were made, and `problems`."""

    def drain(server: str) -> Mapping[str, Any]:
        """No new work for the server; what is in flight may end. `site`: drain and stop."""

    def ready(server: str) -> Mapping[str, Any]:
        """Give the server back to its pool."""

    def maintain(server: str) -> Mapping[str, Any]:
        """Take the server out, unchecked."""

    def weigh(server: str, weight: int) -> Mapping[str, Any]:
        """Give the server another weight until the next restart."""

    def explain(kind: str, name: str, question: Mapping[str, str]) -> Mapping[str, Any]:
        """Ask the balancer `kind:name`, see `IExplains`. With an empty name the http balancer that
        listens where the question's URL goes is asked. For dns, `name` is the domain name that is
        asked for: the zone with the longest match is asked."""


class ISite(Interface):
    """All that the admin room may know of the site."""

    def snapshot() -> Snapshot:
        """The site at this moment."""

    def telling() -> Generator[None, None, Mapping[str, Any]]:
        """The status of a snapshot in slices, each a pool."""

    def telling_of(key: str) -> Mapping[str, Any] | None:
        """What the status of a snapshot has of the balancer of that key, `http:web`; None if there
        is none. Cheap: others' sites may ask every second."""

    def metrics() -> Iterable[Metric]:
        """The metrics of a snapshot."""

    def healthy() -> bool:
        """Whether every balancer is healthy: bound, and a pool that it uses has a server up."""

    def events() -> Sequence[Published]:
        """The latest events, oldest first."""

    def subscribe(subscriber: Callable[[Published], None]) -> None:
        """Call `subscriber` for every event published from now on."""

    def unsubscribe(subscriber: Callable[[Published], None]) -> None:
        """Call it no more."""
