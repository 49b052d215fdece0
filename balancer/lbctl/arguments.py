"""
The command line: words to a request, as the control socket takes it. Exits with 2 for bad usage.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

from balancer.lbctl.connection import PATHS

if TYPE_CHECKING:
    from typing import Any

USAGE = 2
"""The exit code for a command line that cannot be read."""

THIS_MACHINE = "127.0.0.1"
"""Whom `explain http` and `explain dns` ask for when they are not told."""

NOT_BUILT = {
    "confirm": "keep what a reload with --confirm-within changed",
    "rollback": "go back to the site before the last reload",
    "connections": "the connections of now",
    "top": "who is busiest, again and again",
    "diff": "what the running site has that its file does not say",
}
"""Verbs of the contract that are not in this version, and what they will do."""

EPILOG = f"""SERVER is POOL/NAME, or the word 'site' for drain. The control socket is looked for at
{PATHS[0]}, then {PATHS[1]}. Exit codes: 0 done, 1 failed, 2 bad usage."""


class _Parser(argparse.ArgumentParser):
    """Says what was meant in place of what was written."""

    def error(self, message: str) -> NoReturn:
        found = re.match(r"argument .*?: invalid choice: '(.*?)' \(choose from (.*)\)$", message)
        if found is not None:
            word, choices = found[1], re.findall(r"[a-z]+", found[2])
            near = get_close_matches(word[:64], choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            message = f"expected one of {', '.join(choices)}, got {word!r}{hint}"
        self.exit(USAGE, f"lbctl: {message}\n{self.format_usage()}")


def parser() -> _Parser:
    """The whole of it."""
    anywhere = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    anywhere.add_argument("--control", metavar="PATH", help="the balancer's control socket")
    anywhere.add_argument("--json", action="store_true", help="print results as they come")
    top = _Parser(
        "lbctl",
        description="Shows and changes a running balancer.",
        epilog=EPILOG,
        parents=[anywhere],
        allow_abbrev=False,
    )
    top.add_argument("--version", action="store_true", default=False, help="print it and exit")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)

    def verb(name: str, help: str) -> _Parser:
        return verbs.add_parser(
            name, help=help, description=help, parents=[anywhere], allow_abbrev=False
        )

    verb("status", "the site, its balancers, and every server")
    verb("check", "every error of a site file").add_argument("file", metavar="FILE")
    verb("plan", "what a reload of a site file would change").add_argument("file", metavar="FILE")
    verb("reload", "put the site file in force").add_argument("--confirm-within", metavar="T")
    for name, help in (
        ("drain", "no new work for the server; what is in flight may end ('site': all, then stop)"),
        ("ready", "give the server back to its pool"),
        ("maint", "take the server out, unchecked"),
        ("weight", "give the server another weight until the next restart"),
    ):
        verb(name, help).add_argument("server", metavar="SERVER")
    verbs.choices["weight"].add_argument("weight", metavar="N", type=_weight)
    _add_explain(verb("explain", "where something would go, and why"), anywhere)
    events = verb("events", "what happened, the oldest first")
    events.add_argument("--follow", action="store_true", help="go on with what happens now")
    events.add_argument("--since", metavar="ID", type=_weight, help="only what came after ID")
    for name, help in NOT_BUILT.items():
        verb(name, f"{help}: not in this version").add_argument("rest", nargs="*")
    return top


def _add_explain(explain: _Parser, anywhere: _Parser) -> None:
    kinds = explain.add_subparsers(
        dest="kind", metavar="http|tcp|udp|dns|subdomains|ecmp", required=True, parser_class=_Parser
    )
    http = kinds.add_parser("http", parents=[anywhere], help="a request", allow_abbrev=False)
    http.add_argument("method", metavar="METHOD")
    http.add_argument("url", metavar="URL", type=_url)
    http.add_argument("--from", dest="source", metavar="IP", default=THIS_MACHINE)
    for kind, help in (("tcp", "a connection"), ("udp", "a flow")):
        flow = kinds.add_parser(kind, parents=[anywhere], help=help, allow_abbrev=False)
        flow.add_argument("name", metavar="NAME")
        flow.add_argument(
            "--from", dest="source", metavar="IP:PORT", required=True, type=_address_and_port
        )
    dns = kinds.add_parser("dns", parents=[anywhere], help="a query", allow_abbrev=False)
    dns.add_argument("name", metavar="NAME")
    dns.add_argument("type", metavar="TYPE", type=_record_type)
    dns.add_argument("--from", dest="source", metavar="IP", default=THIS_MACHINE)
    for kind, help in (("subdomains", "the servers' own names"), ("ecmp", "the next hops")):
        named = kinds.add_parser(kind, parents=[anywhere], help=help, allow_abbrev=False)
        named.add_argument("name", metavar="NAME")


def _weight(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _url(text: str) -> str:
    if not re.match("https?://.", text, re.IGNORECASE):
        msg = f"expected a URL such as http://www.example.org/path, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text


def _record_type(text: str) -> str:
    if not re.fullmatch("[A-Za-z][A-Za-z0-9-]{0,19}", text):
        raise argparse.ArgumentTypeError(f"expected a type such as A or AAAA, got {text!r}")
    return text.upper()


def _address_and_port(text: str) -> str:
    if not re.fullmatch(r"([0-9.]+|\[[0-9A-Fa-f:.%a-z]+\]):[0-9]{1,5}", text):
        msg = f"expected ADDRESS:PORT such as 192.0.2.1:40000 or [2001:db8::1]:40000, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text


def read(words: Sequence[str]) -> argparse.Namespace:
    """The command line, with `control`, `json` and `verb` always there."""
    top = parser()
    found = top.parse_args(words)
    found.control = getattr(found, "control", None)
    found.json = getattr(found, "json", False)
    if found.verb is None and not found.version:
        top.error("expected a verb, such as: lbctl status")
    return found


def not_built(found: argparse.Namespace) -> str:
    """What of the command line is not in this version, or ''."""
    if found.verb in NOT_BUILT:
        return str(found.verb)
    if found.verb == "reload" and found.confirm_within is not None:
        return "reload --confirm-within"
    return ""


def request(found: argparse.Namespace) -> dict[str, Any]:
    """The request that the command line stands for. Files are named absolutely: the balancer's
    directory is another one."""
    verb: dict[str, Any] = {"verb": found.verb}
    if found.verb in ("check", "plan"):
        verb["file"] = os.path.abspath(found.file)
    elif found.verb in ("drain", "ready", "maint", "weight"):
        verb["server"] = found.server
        if found.verb == "weight":
            verb["weight"] = found.weight
    elif found.verb == "events":
        verb["since"] = found.since or 0
        verb["follow"] = found.follow
    elif found.verb == "explain":
        question = {} if found.kind in ("subdomains", "ecmp") else {"from": found.source}
        if found.kind == "http":
            question = {"method": found.method, "url": found.url, **question}
        elif found.kind == "dns":
            question = {"type": found.type, **question}
        verb |= {"kind": found.kind, "name": getattr(found, "name", ""), "question": question}
    return verb
