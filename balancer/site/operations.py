"""
What an operator may ask of the running site: the verbs of `lbctl`, and the signals that do so too.

A site file is read, checked and prepared in slices between other work, so that a large one holds
nothing up. One reload goes on at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.config.slices import Slices
from balancer.interfaces import IExplains, IOperator, IShowsCommands, NotDone, PrepareError
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.site import diff
from balancer.site.files import loading
from balancer.site.plan import BadSite, Plan, planned
from balancer.wire.bind import CannotBind
from balancer.wire.slices import in_slices

if TYPE_CHECKING:
    from balancer.site.service import SiteService

MAX_WEIGHT = 256

MOST_LOGGED = 100
"""Changes of one reload in the log: 10,000 would hold up all others for half a second."""

MOST_NAME = 255
"""Characters of a domain name that a message repeats: no name has more (RFC 1035 2.3.4)."""

log = Logger()


@implementer(IOperator)
class Operations:
    """See `IOperator`. `path` is the site file's, absolute: twistd may change directory."""

    def __init__(self, reactor: IReactorTime, site: SiteService, path: str) -> None:
        self._reactor = reactor
        self._site = site
        self._path = path
        self._again = False
        self._reloading = False
        self._signalled: IDelayedCall | None = None

    # -- site files

    def check(self, path: str) -> Deferred[Mapping[str, Any]]:
        return in_slices(self._reactor, self._checking(path))

    def _checking(self, path: str) -> Slices[Mapping[str, Any]]:
        try:
            plan = yield from loading(path, self._site.live.makers)
        except BadSite as bad:
            return {"ok": False, "problems": [str(problem) for problem in bad.problems]}
        except OSError as error:
            _cannot_read(path, error)
        return {"ok": True, "problems": [str(warning) for warning in plan.warnings]}

    def plan(self, path: str) -> Deferred[Mapping[str, Any]]:
        return in_slices(self._reactor, self._planning(path))

    def _planning(self, path: str) -> Slices[Mapping[str, Any]]:
        plan = yield from self._sound(path)
        changes = yield from self._changes(plan)
        commands = yield from self._commands(plan)
        problems = [str(each) for each in plan.warnings]
        return {"changes": changes, "commands": commands, "problems": problems}

    def reload(self) -> Deferred[Mapping[str, Any]]:
        if self._reloading:
            raise NotDone("a reload is going on already; try again when it is done")
        if self._site.draining:
            raise NotDone("the site is draining: nothing is reloaded any more")
        self._reloading = True
        self._site.supervisor.reloading()
        done = in_slices(self._reactor, self._reload())
        return done.addBoth(self._reloaded)

    def reload_again(self) -> None:
        """Reload at a signal, whose sender waits for no answer: the log has it. If a reload goes on
        already, the file is read once more after it, since it may have changed meanwhile. Signals
        of one turn are one."""
        if self._signalled is None:
            self._signalled = self._reactor.callLater(0, self._reload_at_signal)

    def _reload_at_signal(self) -> None:
        self._signalled = None
        if self._reloading:
            self._again = True
            return
        try:
            self.reload().addErrback(lambda failure: None)
        except NotDone as error:
            log.error("not reloaded: {error}", error=error)

    def _reload(self) -> Slices[Mapping[str, Any]]:
        plan = yield from self._sound(self._path)
        made = yield from self._changes(plan)
        try:
            made += yield from self._site.following(plan)
        except CannotBind as error:
            raise NotDone(f"{error}; nothing was changed") from error
        except PrepareError as error:
            problems = str(error).splitlines()
            if len(problems) < 2:
                raise NotDone(f"{error}; nothing was changed") from error
            msg = f"{self._path} cannot be put in force; nothing was changed"
            raise NotDone(msg, problems) from error
        return {"changes": made, "problems": [str(warning) for warning in plan.warnings]}

    def _reloaded(self, result: Any) -> Any:
        self._reloading = False
        self._site.tell_ready(_outcome(result))
        if self._again:
            self._again = False
            self.reload_again()
        if not isinstance(result, Failure):
            count = len(result["changes"])
            log.info("reloaded {path}: {count} changes", path=self._path, count=count)
            for change in result["changes"][:MOST_LOGGED]:
                log.info("{change}", change=change)
            if count > MOST_LOGGED:
                log.info("and {more} more", more=count - MOST_LOGGED)
            return result
        if result.check(NotDone) is not None:
            error = result.value
            log.error("not reloaded: {error}", error=error)
            for problem in getattr(error, "problems", ()):
                log.error("{problem}", problem=problem)
        else:
            log.failure("not reloaded", failure=result)
        return result

    def _sound(self, path: str) -> Slices[Plan]:
        """The plan of a file without errors that may follow the one in force."""
        try:
            plan = yield from loading(path, self._site.live.makers)
        except BadSite as bad:
            problems = [str(problem) for problem in bad.problems]
            raise NotDone(f"{path} has errors; nothing was changed", problems) from bad
        except OSError as error:
            _cannot_read(path, error)
        options = diff.refused(self._site.plan, plan)
        if options:
            raise NotDone(f"{', '.join(options)} can change only at restart; nothing was changed")
        return plan

    def _changes(self, plan: Plan) -> Slices[list[str]]:
        found = yield from diff.changing(self._site.plan, plan)
        return [change.text() for change in found]

    def _commands(self, plan: Plan) -> Slices[list[str]]:
        """What a reload would do outside of the process, as commands."""
        live = self._site.live
        found: list[str] = []
        gone = live.balancers.keys() - {each.key for each in plan.balancers}
        for key in sorted(gone):
            yield
            removed: Any = live.balancers[key]
            if IShowsCommands.providedBy(removed):
                found += removed.commands(None, ())
        for each in plan.balancers:
            yield
            balancer: Any = live.balancers.get(each.key)
            if balancer is None:
                balancer = live.makers.balancers[each.kind].make(each.name, self._site.context)
            if IShowsCommands.providedBy(balancer):
                found += balancer.commands(each.settings, planned(plan, each))
        return found

    # -- servers

    def drain(self, server: str) -> Mapping[str, Any]:
        if server == "site":
            self._site.leave()
            return {"server": "site", "state": "draining"}
        return self._change(server, lambda pool, found: pool.drain(found))

    def ready(self, server: str) -> Mapping[str, Any]:
        return self._change(server, lambda pool, found: pool.ready(found))

    def maintain(self, server: str) -> Mapping[str, Any]:
        return self._change(server, lambda pool, found: pool.maintain(found))

    def weigh(self, server: str, weight: int) -> Mapping[str, Any]:
        if not 0 <= weight <= MAX_WEIGHT:
            raise NotDone(f"expected a weight from 0 to {MAX_WEIGHT}, got {weight}")
        return self._change(server, lambda pool, found: pool.set_weight(found, weight))

    def _change(
        self, key: str, change: Callable[[Pool, Server], Sequence[Event]]
    ) -> Mapping[str, Any]:
        pool, server = self._find(key)
        events = change(pool, server)
        self._site.context.publish(pool, events)
        return {"server": server.key, "state": server.state, "weight": server.weight}

    def _find(self, key: str) -> tuple[Pool, Server]:
        pools = self._site.context.registry.pools
        name, _, server = key.partition("/")
        pool = pools.get(name)
        found = [] if pool is None else [each for each in pool.servers if each.name == server]
        if pool is None or not found:
            known = [each.key for pool in pools.values() for each in pool.servers]
            _unknown("a server (POOL/NAME)", key, known)
        return pool, found[0]

    # -- explain

    def explain(self, kind: str, name: str, question: Mapping[str, str]) -> Mapping[str, Any]:
        if kind == "http" and not name:
            name = self._http_at(question.get("url", ""))
        elif kind == "dns":
            question = {"name": name, **question}
            name = self._zone_of(name)
        balancer = self._site.live.balancers.get(f"{kind}:{name}")
        if balancer is None:
            names = [
                key.partition(":")[2] for key in self._site.live.balancers if key.startswith(kind)
            ]
            _unknown(f"the name of a [{kind} NAME] section", name, names)
        if not IExplains.providedBy(balancer):
            raise NotDone(f"[{kind} {name}] cannot explain: not in this version")
        return {"balancer": f"{kind}:{name}", **balancer.explain(question)}

    def _http_at(self, url: str) -> str:
        """The http balancer that listens where `url` goes; the only one, if there is only one."""
        balancers = [each for each in self._site.plan.balancers if each.kind == "http"]
        if len(balancers) == 1:
            return balancers[0].name
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise NotDone(f"expected a URL such as http://example.org/, got {url!r}") from None
        for each in balancers:
            if any(claim.port == port for claim in each.claims):
                return each.name
        raise NotDone(f"expected a URL with the port of an [http] listener, got port {port}")

    def _zone_of(self, name: str) -> str:
        """The [dns ZONE] section with the longest match of `name`."""
        asked = _labels(name)
        zones = self._site.context.balancers("dns")
        found = [each for each in zones if _ends_with(asked, _labels(each))]
        if found:
            return max(found, key=lambda zone: len(_labels(zone)))
        known = ", ".join(zones) or "none"
        text = f"expected a name in a zone of this site ({known}), got {name[:MOST_NAME]!r}"
        raise NotDone(text)


def _outcome(result: Any) -> str:
    """What became of a reload, in a line for who started us."""
    if not isinstance(result, Failure):
        return f"reloaded: {len(result['changes'])} changes"
    error: Any = result.value
    bad, problems = error.__cause__, getattr(error, "problems", ())
    if isinstance(bad, BadSite):
        problems = [str(each) for each in bad.problems if each.severity != "warning"]
    return ": ".join(["not reloaded", str(error), *problems[:1]])


def _labels(name: str) -> list[str]:
    """A domain name's labels, in lower case; dots at its end say nothing. The root has none."""
    text = name.lower().rstrip(".")
    return text.split(".") if text else []


def _ends_with(labels: Sequence[str], end: Sequence[str]) -> bool:
    rest = len(labels) - len(end)
    return rest >= 0 and list(labels[rest:]) == list(end)


def _unknown(expected: str, got: str, known: Sequence[str]) -> NoReturn:
    text = f"expected {expected}, got {got!r}"
    near = get_close_matches(got, known, 1)
    if near:
        text += f"; did you mean {near[0]!r}?"
    raise NotDone(text)


def _cannot_read(path: str, error: OSError) -> NoReturn:
    reason = error.strerror or str(error)
    raise NotDone(f"{path}: expected a site file that can be read: {reason}") from error
