"""
Routes as a request meets them: compiled once per change of settings, the first that matches wins.

Knows what a request looks like (`Asked`). It must not know pools or connections: it is given what
an action shall become. A request pays only for the conditions that the routes really use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

from balancer.http.routes import Action, Route

Target = TypeVar("Target")
TargetSeen = TypeVar("TargetSeen", covariant=True)


class Asked(Protocol):
    """What routes look at in a request; `http.head.RequestHead` is one."""

    method: bytes
    host: bytes

    @property
    def path(self) -> bytes:
        """The target's path, without the query."""

    def field(self, name: bytes) -> bytes | None:
        """The value of the field `name` (lower case), or None."""


Client = IPv4Address | IPv6Address
Condition = Callable[[Asked, Client | None], bool]


class Table(Protocol[TargetSeen]):
    """Compiled routes."""

    @property
    def only(self) -> TargetSeen | None:
        """The target of every request, when nothing needs to be looked at."""

    @property
    def needs_client(self) -> bool:
        """Whether `find` looks at the client's address."""

    def find(self, asked: Asked, client: Client | None) -> TargetSeen:
        """The target of a request; `client` may be None unless `needs_client`."""


def compile_routes(
    routes: Sequence[Route], default: Target, resolve: Callable[[Action], Target]
) -> Table[Target]:
    """The quickest table for `routes`; `default` is the target when none of them matches."""
    for index, route in enumerate(routes):
        if route.catches_all:
            default = resolve(route.action)
            routes = routes[:index]
            break
    if not routes:
        return _One(default)
    if all(route.host_only and not route.host.startswith("*.") for route in routes):
        hosts: dict[bytes, Target] = {}
        for route in routes:
            hosts.setdefault(route.host.encode(), resolve(route.action))
        return _ByHost(hosts, default)
    rules = [(conditions(route), resolve(route.action)) for route in routes]
    return _InTurn(rules, default, any(route.source is not None for route in routes))


def host_of(host: bytes) -> bytes:
    """A Host field's value in lower case, without its port and without a final dot."""
    if host[-1:] == b"]":
        return host.lower()
    name, colon, port = host.rpartition(b":")
    if colon and (not port or port.isdigit()):
        host = name
    return host.lower().rstrip(b".")


class _One(Generic[Target]):
    needs_client = False

    def __init__(self, target: Target) -> None:
        self.only: Target | None = target
        self._target = target

    def find(self, asked: Asked, client: Client | None) -> Target:
        return self._target


class _ByHost(Generic[Target]):
    only = None
    needs_client = False

    def __init__(self, hosts: dict[bytes, Target], default: Target) -> None:
        self._hosts = hosts
        self._default = default

    def find(self, asked: Asked, client: Client | None) -> Target:
        # Most clients send the name as it stands in the site file: try that first.
        found = self._hosts.get(asked.host)
        if found is None:
            found = self._hosts.get(host_of(asked.host), self._default)
        return found


class _InTurn(Generic[Target]):
    only = None

    def __init__(
        self,
        rules: list[tuple[tuple[Condition, ...], Target]],
        default: Target,
        needs_client: bool,
    ) -> None:
        self._rules = rules
        self._default = default
        self.needs_client = needs_client

    def find(self, asked: Asked, client: Client | None) -> Target:
        for wanted, target in self._rules:
            if all(condition(asked, client) for condition in wanted):
                return target
        return self._default


def first_match(
    routes: Sequence[Route], asked: Asked, client: Client | None
) -> Route | None:
    """The route whose target `find` of the compiled ones gives; None: the default's. It is slower,
    and for those who ask why."""
    for route in routes:
        if all(condition(asked, client) for condition in conditions(route)):
            return route
    return None


def conditions(route: Route) -> tuple[Condition, ...]:
    """What must hold for `route`, cheapest first."""
    wanted: list[Condition] = []
    if route.method:
        method = route.method.encode()
        wanted.append(lambda asked, client: asked.method == method)
    if route.host:
        wanted.append(_host_condition(route.host.encode()))
    if route.path:
        wanted.append(_path_condition(route.path.encode()))
    if route.source is not None:
        source = route.source
        wanted.append(lambda asked, client: client is not None and client in source)
    wanted.extend(_field_condition(name.encode(), value.encode()) for name, value in route.fields)
    return tuple(wanted)


def _host_condition(host: bytes) -> Condition:
    if host.startswith(b"*."):
        suffix = host[1:]
        return lambda asked, client: host_of(asked.host).endswith(suffix)
    return lambda asked, client: host_of(asked.host) == host


def _path_condition(path: bytes) -> Condition:
    if path.endswith(b"*"):
        prefix = path[:-1]
        return lambda asked, client: asked.path.startswith(prefix)
    return lambda asked, client: asked.path == path


def _field_condition(name: bytes, value: bytes) -> Condition:
    if value.endswith(b"*"):
        prefix = value[:-1]
        return lambda asked, client: (asked.field(name) or b"\n").startswith(prefix) and (
            asked.field(name) is not None
        )
    return lambda asked, client: asked.field(name) == value
