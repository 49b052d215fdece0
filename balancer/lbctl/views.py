"""
Each verb's result as lines for the operator. Pure.

A result may have grown fields since this was written: what is not known is shown as it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING

from balancer.lbctl.status import status
from balancer.lbctl.table import Column, table
from balancer.lbctl.words import moment, plain

if TYPE_CHECKING:
    from typing import Any

    View = Callable[[Mapping[str, Any], Mapping[str, Any], int], list[str]]

WARNING = "(warning)"
"""How a problem ends that is no error."""

CANDIDATES = (Column("server", shrinks=True), Column("usable"), Column("why not", fold=True))

EVENTS = (Column("time"), Column("id", right=True), Column("event", fold=True))

ONE_A_LINE = frozenset({"names", "records"})
"""Facts whose values begin on lines of their own."""

ID_WIDTH = 6
"""Characters of a number in a stream of events, where what is to come is not known."""


def problems(result: Mapping[str, Any]) -> list[str]:
    """The problems of a site file, as the file's lines say them."""
    return [plain(each) for each in result.get("problems") or ()]


def is_sound(result: Mapping[str, Any]) -> bool:
    """Whether the file that the result is about has no errors."""
    errors = [each for each in problems(result) if not each.endswith(WARNING)]
    return bool(result.get("ok", not errors))


def _check(request: Mapping[str, Any], result: Mapping[str, Any], width: int) -> list[str]:
    verdict = "ok" if is_sound(result) else "has errors; it would not be put in force"
    return [*problems(result), f"{plain(request['file'])}: {verdict}"]


def _plan(request: Mapping[str, Any], result: Mapping[str, Any], width: int) -> list[str]:
    changes = [plain(each) for each in result.get("changes") or ()]
    commands = [plain(each) for each in result.get("commands") or ()]
    told = ["", "the same by hand:", *commands] if commands else []
    return [*problems(result), *(changes or ["no changes"]), *told]


def _reload(request: Mapping[str, Any], result: Mapping[str, Any], width: int) -> list[str]:
    lines = _plan(request, result, width)
    number = len(result.get("changes") or ())
    return [*lines, f"reloaded: {number} change{'' if number == 1 else 's'}"] if number else lines


def _server(request: Mapping[str, Any], result: Mapping[str, Any], width: int) -> list[str]:
    known = {"server", "state", "weight"}
    if "server" not in result or "state" not in result:
        return facts(result, width)
    weight = f", weight {plain(result['weight'])}" if "weight" in result else ""
    rest = {name: value for name, value in result.items() if name not in known}
    return [
        f"{plain(result['server'])} is {_state(plain(result['state']))}{weight}",
        *facts(rest, width),
    ]


def _state(state: str) -> str:
    return {"drain": "draining", "maint": "in maintenance"}.get(state, state)


def _explain(request: Mapping[str, Any], result: Mapping[str, Any], width: int) -> list[str]:
    candidates = result.get("candidates") or ()
    shown = {name: value for name, value in result.items() if name != "candidates"}
    if "chosen" in shown and shown["chosen"] is None and not shown.get("answer"):
        shown["chosen"] = "nobody: no server can take it now" if candidates else None
    if request["kind"] == "dns" and shown.get("records"):
        shown = {name: value for name, value in shown.items() if value is not None}
    lines = [*_asked(request), *facts(shown, width)]
    if candidates:
        rows = [
            (each.get("server"), bool(each.get("usable")), each.get("why") or "")
            for each in candidates
        ]
        lines += ["", *table(CANDIDATES, rows, width)]
    return lines


def _asked(request: Mapping[str, Any]) -> Iterator[str]:
    question = request["question"]
    if request["kind"] == "http":
        what = f"{question['method']} {question['url']}"
    elif request["kind"] == "dns":
        what = f"{request['name']} {question['type']}"
    else:
        what = f"{request['kind']}:{request['name']}"
    yield plain(f"{what} from {question['from']}" if "from" in question else what)


def _events(request: Mapping[str, Any], result: Mapping[str, Any], width: int) -> list[str]:
    found = result.get("events") or ()
    if not found:
        return ["no events are kept"]
    return table(EVENTS, [_event(each) for each in found], width)


def _event(event: Mapping[str, Any]) -> tuple[object, ...]:
    return moment(event.get("at")), event.get("id"), event.get("text")


def event_lines(event: Mapping[str, Any], width: int) -> list[str]:
    """One event of a stream: its columns stand as those of a table whose rows are yet to come."""
    at, number, text = _event(event)
    return table(EVENTS, [(at, plain(number).rjust(ID_WIDTH), text)], width)[1:]


def facts(result: Mapping[str, Any], width: int) -> list[str]:
    """Names and values in two columns; values keep all of their text."""
    indent = max((len(name) for name in result), default=0) + 2
    lines = []
    for name, value in result.items():
        each = value if name in ONE_A_LINE and isinstance(value, (list, tuple)) else [value]
        room = max(20, width - indent)
        parts = [part for text in each for part in wrap(_value(text), room)] or [plain(None)]
        lines.append(plain(name).ljust(indent) + parts[0])
        lines += [" " * indent + part for part in parts[1:]]
    return lines


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(name)} {_value(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(each) for each in value) or plain(None)
    return plain(value)


VIEWS: Mapping[str, View] = {
    "status": lambda request, result, width: status(result, width),
    "check": _check,
    "plan": _plan,
    "reload": _reload,
    "drain": _server,
    "ready": _server,
    "maint": _server,
    "weight": _server,
    "explain": _explain,
    "events": _events,
}
"""What was asked, what came, and the width, to lines."""
