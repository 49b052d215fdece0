"""
A line of the option `routes`, read: conditions on a request, and the action if they hold.

Knows the grammar of a route. It must not know pools or connections; `table` matches requests.
"""

from __future__ import annotations

import re

from attrs import evolve, field, frozen

from balancer.config.values import Misspelt, Network, Unreadable, network


@frozen
class ToPool:
    """`-> pool NAME`"""

    name: str


@frozen
class Redirect:
    """`-> redirect URL [CODE]`. A final `*` in the URL stands for the path and query asked for."""

    url: str
    code: int = 302


@frozen
class RedirectToHttps:
    """`-> redirect https`: the same URL by https. 308 keeps the method (RFC 9110 15.4.9)."""

    code: int = 308


@frozen
class Respond:
    """`-> respond CODE [TEXT]`"""

    code: int
    text: str = ""


@frozen
class ToSubdomains:
    """`-> subdomains NAME`: to the name of one of the servers of that section."""

    name: str


Action = ToPool | ToSubdomains | Redirect | RedirectToHttps | Respond


@frozen
class Route:
    """One line of the option `routes`. A condition that is empty matches everything."""

    action: Action
    host: str = ""
    path: str = ""
    method: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    source: Network | None = None
    text: str = field(default="", eq=False)
    """The line as it stands in the site file."""

    @property
    def catches_all(self) -> bool:
        """Whether it matches every request."""
        return self.host_only and not self.host

    @property
    def host_only(self) -> bool:
        """Whether the host is all that it looks at."""
        return not (self.path or self.method or self.fields or self.source)


CONDITIONS = ("host", "path", "method", "header", "source")
ACTIONS = ("pool", "redirect", "respond", "subdomains")
REDIRECTS = (301, 302, 303, 307, 308)

_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\Z|\[[0-9A-Fa-f:.]+\]\Z")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_URL = re.compile(r"(?:https?://|/)[\x21-\x7e]*\Z")


def parse_route(text: str) -> Route:
    """A line `[host=NAME] [path=/p/*] [method=M] [header:N=V] [source=CIDR] -> ACTION`."""
    conditions, arrow, action = text.partition("->")
    if not arrow:
        raise Unreadable("'[CONDITION ...] -> ACTION'")
    route = Route(_action(action.strip()))
    for word in conditions.split():
        route = _with_condition(route, word)
    return evolve(route, text=" ".join(text.split()))


def _with_condition(route: Route, word: str) -> Route:
    key, equals, value = word.partition("=")
    kind, colon, name = key.partition(":")
    if kind not in CONDITIONS or not equals or not value or bool(colon) != (kind == "header"):
        expected = "host=, path=, method=, header:NAME= or source="
        raise Misspelt(expected, word, [f"{kind}={value}" for kind in CONDITIONS])
    if kind != "header" and getattr(route, kind):
        raise Unreadable(f"{kind}= once in a route", word)
    if kind == "header":
        _expect(_TOKEN.match(name), "a header's name", name)
        return evolve(route, fields=(*route.fields, (name.lower(), value)))
    if kind == "source":
        return evolve(route, source=network(value))
    if kind == "host":
        _expect(_HOST.match(value), "a host name such as www.example.org or *.example.org", value)
        return evolve(route, host=value.lower())
    if kind == "path":
        _expect(value.startswith("/") and "*" not in value[:-1], "a path such as /p or /p/*", value)
        return evolve(route, path=value)
    _expect(_TOKEN.match(value), "a method such as GET", value)
    return evolve(route, method=value)


def _expect(found: object, expected: str, got: str) -> None:
    if not found:
        raise Unreadable(expected, got)


def _action(text: str) -> Action:
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if word == "pool":
        _expect(rest and " " not in rest, "'pool NAME'", text)
        return ToPool(rest)
    if word == "redirect":
        return _redirect(rest)
    if word == "respond":
        code, _, body = rest.partition(" ")
        _expect(re.match(r"[2-5][0-9][0-9]\Z", code), "'respond CODE [TEXT]'", text)
        _expect(code not in ("204", "304") or not body, f"no text: {code} has no content", text)
        return Respond(int(code), body.strip())
    if word == "subdomains":
        _expect(rest and " " not in rest, "'subdomains NAME'", text)
        return ToSubdomains(rest)
    expected = (
        "pool NAME, redirect URL [CODE], redirect https, respond CODE [TEXT] or subdomains NAME"
    )
    raise Misspelt(expected, text, [f"{known} {rest}" for known in ACTIONS])


def _redirect(text: str) -> Action:
    words = text.split()
    _expect(1 <= len(words) <= 2, "'redirect URL [CODE]'", text)
    code = int(words[1]) if len(words) == 2 and words[1].isascii() and words[1].isdigit() else 0
    _expect(len(words) == 1 or code in REDIRECTS, "a code of 301, 302, 303, 307 or 308", text)
    if words[0] == "https":
        return RedirectToHttps(code or 308)
    _expect(_URL.match(words[0]), "a URL such as https://example.org/ or 'https'", words[0])
    return Redirect(words[0], code or 302)
