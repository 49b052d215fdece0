"""
What would become of a request: read, routed and keyed by the very code that does it for clients.

It gets the balancer's `Front` and routes, does no I/O, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from attrs import define

from balancer.http.front import Front, Target
from balancer.http.head import Refused
from balancer.http.routes import Redirect, RedirectToHttps, Route
from balancer.http.table import Client, first_match
from balancer.pool.pool import Pool
from balancer.wire.certificates import Certificates

Doors = Mapping[int, Certificates | None]
"""By port, what stands at it: certificates where TLS ends there, or None."""

PORTS = {"http": 80, "https": 443}
"""The schemes, each with its port where the URL names none."""

NO_ROUTE = "no route matches, and there is no pool"


class Unanswerable(Exception):
    """The question cannot be read; the text says what was expected and what came."""


@define
class Asker:
    """The client of the question, as keys are made of it."""

    source: str
    peer_port: int = 0


def explain(
    front: Front, routes: Sequence[Route], doors: Doors, question: Mapping[str, str]
) -> dict[str, Any]:
    """The answer to `question`, see `IExplains`. Raises `Unanswerable`."""
    asker, client = _asker(question.get("from") or "127.0.0.1")
    url = _url(question.get("url", ""))
    shown = _certificate(url, doors)
    return {**shown, **_explain(front, routes, url, question.get("method") or "GET", asker, client)}


def _explain(
    front: Front, routes: Sequence[Route], url: SplitResult, method: str, asker: Asker,
    client: Client,
) -> dict[str, Any]:
    data = _request(method, url)
    table = front.table
    if url.scheme == "https":
        table = front.tls_table
        routes = [route for route in routes if not isinstance(route.action, RedirectToHttps)]
    try:
        head = front.new_reader().read(data, False)
    except Refused as refused:
        return {
            "rule": "the request itself",
            "answer": {"code": refused.status, "text": refused.reason},
        }
    if head is None:
        raise Unanswerable(f"expected a URL that makes a whole request, got {url.geturl()!r}")
    target = table.find(head, client)
    route = first_match(routes, head, client)
    rule = _rule(target, route)
    if target.naming is not None:
        naming, door = target.naming, (url.scheme.encode(), url.port or PORTS[url.scheme])
        chosen = _pool(naming.pool, naming.key(asker, head))
        return {"rule": rule, **chosen, "answer": naming.explain(asker, head, door)}
    if target.pool is None:
        return {"rule": rule, "answer": _answer(target)}
    key = None if target.key_of is None else target.key_of(asker, head)
    return {"rule": rule, **_pool(target.pool, key)}


def _asker(text: str) -> tuple[Asker, Client]:
    """ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    host, port = text, "0"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        client = ip_address(host)
        return Asker(str(client), int(port)), client
    except ValueError:
        raise Unanswerable(f"from: expected ADDRESS or ADDRESS:PORT, got {text!r}") from None


def _url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        if url.scheme in PORTS and url.netloc and url.port != 0:
            return url
    except ValueError:
        pass
    msg = f"url: expected a URL such as http://www.example.org/path, got {text!r}"
    raise Unanswerable(msg)


def _certificate(url: SplitResult, doors: Doors) -> dict[str, str]:
    """Which certificate a client of `url` gets, if any. Raises `Unanswerable` for a listener that
    speaks otherwise. A port that is not ours may be mapped to ours by somebody in front of us."""
    port = url.port or PORTS[url.scheme]
    found = {port: doors[port]} if port in doors else doors
    certificates = [each for each in found.values() if each is not None]
    if url.scheme == "https" and certificates:
        return {"certificate": str(certificates[0].explain(url.hostname or ""))}
    expected = ""
    if url.scheme == "https":
        expected = "http, for no such listener has tls"
    elif certificates and len(certificates) == len(found):
        expected = "https, for its listener has tls"
    if expected:
        raise Unanswerable(f"url: expected {expected}, got {url.geturl()!r}")
    return {}


def _request(method: str, url: SplitResult) -> bytes:
    data = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
    try:
        return f"{method} {data} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode("ascii")
    except ValueError:
        msg = f"url: expected one in ASCII, got {url.geturl()!r}"
        raise Unanswerable(msg) from None


def _rule(target: Target, route: Route | None) -> str:
    if route is not None:
        return f"routes: {route.text}"
    return NO_ROUTE if target.pool is None else f"pool = {target.pool.name}"


def _answer(target: Target) -> dict[str, Any]:
    if target.redirect is not None:
        redirect = target.redirect
        to = redirect.url if isinstance(redirect, Redirect) else "https"
        return {"code": redirect.code, "text": f"redirect to {to}"}
    if target.answer is not None:
        return {"code": target.answer.code, "text": target.answer.body.decode("utf-8", "replace")}
    return {"code": 404, "text": NO_ROUTE}


def _pool(pool: Pool, key: bytes | None) -> dict[str, Any]:
    best = next(pool.rank(key), None)
    return {
        "pool": pool.name,
        "algorithm": str(pool.settings.algorithm),
        "key": None if key is None else key.hex(),
        "candidates": [
            {"server": server.name, "usable": usable, "why": why}
            for server, usable, why in pool.candidates()
        ],
        "chosen": None if best is None else best.name,
    }
