"""
The verbs of the control socket: what each takes, and whom it asks.

Pure: a verb is checked against one table and becomes a call of `IOperator` or `ISite`. Knows no
socket; whether an operator may ask is the socket's file permission.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from attrs import frozen

from balancer.admin.control_lines import Request, shown
from balancer.interfaces import Followed, IOperator, ISite, NotDone, Published

NOT_BUILT = frozenset({"confirm", "rollback", "connections", "top", "diff"})
"""Verbs of the contract that are not in this version."""

FIELDS_NOT_BUILT = frozenset({"confirm-within"})

ASKED_FOR: Mapping[str, tuple[str, ...]] = {
    "http": ("method", "url", "from"),
    "tcp": ("from",),
    "udp": ("from",),
    "dns": ("type", "from"),
    "subdomains": (),
    "ecmp": (),
}
"""What a question must have, by kind."""

KINDS = tuple(ASKED_FOR)
"""Kinds of balancers that can be asked where something would go."""

THIS_MACHINE = "127.0.0.1"
"""Whom a question comes from that does not say."""


MOST_NAME = 512
"""Characters of a name: it may be compared with those of all servers."""


@frozen
class Desk:
    """Whom verbs ask. `now` is the clock of the site's pools, in seconds."""

    site: ISite
    operator: IOperator
    now: Callable[[], float]


Given = Mapping[str, Any]


@frozen
class Verb:
    """`needs` and `may` name the fields with what reads each; `ask` gives the result, or a Deferred
    of it. `changes`: worth a line in the log."""

    ask: Callable[[Desk, Given], Any]
    needs: Mapping[str, Callable[[object], Any]] = {}
    may: Mapping[str, Callable[[object], Any]] = {}
    changes: bool = False

    def read(self, request: Request) -> Given:
        """The fields of `request`, each read. Raises `NotDone`."""
        known = {**self.needs, **self.may}
        for name in request.fields:
            if name in FIELDS_NOT_BUILT:
                raise NotDone(f"{request.verb} {name}: not in this version")
            if name not in known:
                takes = ", ".join(known) or "no fields"
                raise NotDone(f"{request.verb}: expected {takes}, got {shown(name)}")
        for name in self.needs:
            if name not in request.fields:
                raise NotDone(f"{request.verb}: expected the field {name!r}")
        return {name: known[name](value) for name, value in request.fields.items()}


def event_status(published: Published) -> Mapping[str, Any]:
    """An event for JSON; `at` is Unix time. What a balancer did has the event that led to it."""
    event = published.event
    known: dict[str, Any] = {
        "id": published.id,
        "at": published.at,
        "pool": published.pool,
        "server": event.server,
        "event": type(event).__name__,
        "text": event.text(),
    }
    if isinstance(event, Followed):
        known.update(balancer=event.balancer, cause=event.cause)
    return known


def events_since(site: ISite, since: int) -> tuple[Published, ...]:
    """
    The kept events after number `since`; all of them if no event has that number yet: numbers begin
    anew with each start of the balancer.
    """
    kept = tuple(site.events())
    if kept and since > kept[-1].id:
        return kept
    return tuple(each for each in kept if each.id > since)


# What reads a field. Each raises `NotDone`.


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise NotDone(f"expected {what}, got {shown(value)}")
    return value


def _file(value: object) -> str:
    path = _text(value, "the absolute path of a file")
    try:
        sound = os.path.isabs(path) and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        sound = False
    if not sound:
        raise NotDone(f"expected the absolute path of a file, got {shown(path)}")
    return path


def _server(value: object) -> str:
    expected = "a server as POOL/NAME, or 'site'"
    name = _text(value, expected)
    if len(name) > MOST_NAME:
        raise NotDone(f"expected {expected}, got {shown(name)}")
    return name


def _count(value: object) -> int:
    # JSON's true is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise NotDone(f"expected a whole number from 0, got {shown(value)}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise NotDone(f"expected true or false, got {shown(value)}")
    return value


def _kind(value: object) -> str:
    kind = _text(value, f"one of {', '.join(KINDS)}")
    if kind not in KINDS:
        raise NotDone(f"expected one of {', '.join(KINDS)}, got {shown(kind)}")
    return kind


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > MOST_NAME:
        raise NotDone(f"expected the name of a balancer, got {shown(value)}")
    return value


def _question(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise NotDone(f"expected a question as an object of texts, got {shown(value)}")
    return value


# What a verb asks.


def _status(desk: Desk, given: Given) -> Any:
    # `changed_at` of servers is a time of the pools' clock: `now` makes an age of it.
    return {**desk.site.snapshot().status, "now": desk.now()}


def _events(desk: Desk, given: Given) -> Any:
    found = events_since(desk.site, given.get("since", 0))
    return {"events": [event_status(each) for each in found]}


def _explain(desk: Desk, given: Given) -> Any:
    kind, name, question = given["kind"], given.get("name", ""), dict(given["question"])
    if kind in ("http", "dns"):
        question.setdefault("from", THIS_MACHINE)
    if kind != "http" and not name:
        what = "a domain name" if kind == "dns" else "the name of a balancer"
        raise NotDone(f"explain {kind}: expected {what}")
    for field in ASKED_FOR[kind]:
        if not question.get(field):
            raise NotDone(f"explain {kind}: expected {field!r} in the question")
    return desk.operator.explain(kind, name, question)


VERBS: Mapping[str, Verb] = {
    "status": Verb(_status),
    "check": Verb(lambda desk, given: desk.operator.check(given["file"]), {"file": _file}),
    "plan": Verb(lambda desk, given: desk.operator.plan(given["file"]), {"file": _file}),
    "reload": Verb(lambda desk, given: desk.operator.reload(), changes=True),
    "drain": Verb(
        lambda desk, given: desk.operator.drain(given["server"]), {"server": _server}, changes=True
    ),
    "ready": Verb(
        lambda desk, given: desk.operator.ready(given["server"]), {"server": _server}, changes=True
    ),
    "maint": Verb(
        lambda desk, given: desk.operator.maintain(given["server"]),
        {"server": _server},
        changes=True,
    ),
    "weight": Verb(
        lambda desk, given: desk.operator.weigh(given["server"], given["weight"]),
        {"server": _server, "weight": _count},
        changes=True,
    ),
    "explain": Verb(_explain, {"kind": _kind, "question": _question}, {"name": _name}),
    "events": Verb(_events, may={"since": _count, "follow": _flag}),
}


def find(request: Request) -> Verb:
    """What the request's verb stands for. Raises `NotDone`."""
    verb = VERBS.get(request.verb)
    if verb is not None:
        return verb
    if request.verb in NOT_BUILT:
        raise NotDone(f"{request.verb}: not in this version")
    near = get_close_matches(request.verb[:64], VERBS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise NotDone(f"expected one of {', '.join(VERBS)}, got {shown(request.verb)}{hint}")
