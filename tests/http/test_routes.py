"""Routes: what a line may say, and which request it matches."""

from __future__ import annotations

from ipaddress import ip_address

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.values import Misspelt, Unreadable
from balancer.http.routes import (
    Action,
    Redirect,
    RedirectToHttps,
    Respond,
    ToPool,
    ToSubdomains,
    parse_route,
)
from balancer.http.table import Table, compile_routes, host_of


@define
class Asked:
    """A request as routes see it."""

    method: bytes = b"GET"
    host: bytes = b"example.org"
    path: bytes = b"/"
    fields: dict[bytes, bytes] = field(factory=dict)

    def field(self, name: bytes) -> bytes | None:
        """A field by its lower-case name."""
        return self.fields.get(name)


def table(*lines: str) -> Table[Action]:
    """Routes compiled; targets are the actions themselves, and 404 for what is left."""
    routes = [parse_route(line) for line in lines]
    return compile_routes(routes, Respond(404), lambda action: action)


def found(routes: Table[Action], asked: Asked, client: str = "192.0.2.1") -> str:
    """The pool, or the code, that the request gets."""
    action = routes.find(asked, ip_address(client))
    return action.name if isinstance(action, (ToPool, ToSubdomains)) else str(action.code)


class ParseTests(SynchronousTestCase):
    """What a line may say."""

    def test_actions(self) -> None:
        """Every action of the contract is read."""
        for text, action in (
            ("-> pool app", ToPool("app")),
            ("-> redirect https://a.example/* 301", Redirect("https://a.example/*", 301)),
            ("-> redirect /new", Redirect("/new", 302)),
            ("-> redirect https", RedirectToHttps(308)),
            ("-> redirect https 301", RedirectToHttps(301)),
            ("-> respond 403 Go away", Respond(403, "Go away")),
            ("-> respond 204", Respond(204)),
        ):
            self.assertEqual(parse_route(text).action, action, text)

    def test_text_without_content(self) -> None:
        """A text is an error where the answer has none."""
        for code in (204, 304):
            error = self.assertRaises(Unreadable, parse_route, f"-> respond {code} hello")
            self.assertIn("no text", str(error))

    def test_conditions(self) -> None:
        """Conditions are read into the route, hosts in lower case."""
        route = parse_route(
            "host=*.Example.org path=/p/* method=PUT header:X-A=b source=192.0.2.0/24 -> pool a"
        )
        self.assertEqual((route.host, route.path, route.method), ("*.example.org", "/p/*", "PUT"))
        self.assertEqual((route.fields, str(route.source)), ((("x-a", "b"),), "192.0.2.0/24"))

    def test_subdomains(self) -> None:
        """`-> subdomains NAME` names a section."""
        self.assertEqual(parse_route("host=a.test -> subdomains www").action, ToSubdomains("www"))
        for wrong in ("-> subdomains", "-> subdomains a b"):
            self.assertRaises(Unreadable, parse_route, wrong)

    def test_unreadable(self) -> None:
        """What is no route says what was expected."""
        for text in (
            "", "pool app", "-> ", "-> pool", "-> pool a b", "-> poool a", "hots=a -> pool a",
            "host -> pool a", "host= -> pool a", "host:x=a -> pool a", "header=a -> pool a",
            "header:=a -> pool a", "host=a host=b -> pool a", "host=a/b -> pool a",
            "path=p -> pool a", "path=/a*b -> pool a", "method=A,B -> pool a",
            "source=192.0.2.1/24 -> pool a", "-> redirect", "-> redirect ftp://a",
            "-> redirect /a 200", "-> redirect /a 3x1", "-> respond", "-> respond 99",
            "-> respond x",
        ):
            self.assertRaises(Unreadable, parse_route, text)

    def test_misspelt(self) -> None:
        """A misspelt word is offered the right one, with the rest of what was written."""
        error = self.assertRaises(Misspelt, parse_route, "hots=a -> pool a")
        self.assertIn("host=a", error.known)


class TableTests(SynchronousTestCase):
    """Which request a route matches."""

    def test_no_routes(self) -> None:
        """Without routes there is one target, and nothing is looked at."""
        self.assertEqual(table().only, Respond(404))

    def test_catch_all(self) -> None:
        """A route without conditions takes whatever the routes before it left."""
        routes = table("host=a.example -> pool a", "-> pool rest", "-> pool never")
        self.assertEqual(found(routes, Asked(host=b"a.example")), "a")
        self.assertEqual(found(routes, Asked(host=b"b.example")), "rest")
        self.assertEqual(table("-> pool rest").only, ToPool("rest"))

    def test_hosts(self) -> None:
        """Hosts match whatever their case, port and final dot."""
        same = (b"a.example", b"A.EXAMPLE", b"a.example:8080", b"a.example.", b"a.example.:1")
        for condition in ("host=A.example", "host=a.Example path=/*"):
            routes = table(f"{condition} -> pool a")
            for host in same:
                self.assertEqual(found(routes, Asked(host=host)), "a", host)
            for host in (b"", b"b.a.example", b"example", b"a.example.org"):
                self.assertEqual(found(routes, Asked(host=host)), "404", host)

    def test_first_host_wins(self) -> None:
        """The first of two routes for one host wins."""
        self.assertEqual(
            found(table("host=a -> pool one", "host=a -> pool two"), Asked(host=b"a")), "one"
        )

    def test_wildcard(self) -> None:
        """`*.example.org` matches names below it, at any depth, and not the name itself."""
        routes = table("host=*.example.org -> pool a")
        self.assertEqual(found(routes, Asked(host=b"x.Example.org:80")), "a")
        self.assertEqual(found(routes, Asked(host=b"y.x.example.org")), "a")
        self.assertEqual(found(routes, Asked(host=b"example.org")), "404")
        self.assertEqual(found(routes, Asked(host=b"badexample.org")), "404")

    def test_ipv6_host(self) -> None:
        """A literal address is a host as well."""
        routes = table("host=[::1] -> pool a")
        self.assertEqual(found(routes, Asked(host=b"[::1]:8080")), "a")
        self.assertEqual(found(routes, Asked(host=b"[::1]")), "a")
        self.assertEqual(host_of(b"[2001:DB8::1]"), b"[2001:db8::1]")

    def test_paths(self) -> None:
        """A path is exact, or a prefix when it ends with `*`."""
        routes = table("path=/a/* -> pool prefix", "path=/b -> pool exact")
        self.assertEqual(found(routes, Asked(path=b"/a/b")), "prefix")
        self.assertEqual(found(routes, Asked(path=b"/a")), "404")
        self.assertEqual(found(routes, Asked(path=b"/b")), "exact")
        self.assertEqual(found(routes, Asked(path=b"/b/")), "404")

    def test_method(self) -> None:
        """Methods match in their case (RFC 9110 9.1)."""
        routes = table("method=PUT -> respond 405")
        self.assertEqual(found(routes, Asked(method=b"PUT")), "405")
        self.assertEqual(found(routes, Asked(method=b"put")), "404")

    def test_fields(self) -> None:
        """Header values are exact, or a prefix when they end with `*`; `*` alone is any value."""
        routes = table(
            "header:X-A=b -> pool a", "header:X-B=c* -> pool b", "header:X-C=* -> pool c"
        )
        self.assertEqual(found(routes, Asked(fields={b"x-a": b"b"})), "a")
        self.assertEqual(found(routes, Asked(fields={b"x-b": b"cd"})), "b")
        self.assertEqual(found(routes, Asked(fields={b"x-c": b""})), "c")
        self.assertEqual(found(routes, Asked(fields={b"x-a": b"bb"})), "404")

    def test_source(self) -> None:
        """A source matches the client's address, and nothing of another family."""
        routes = table("source=192.0.2.0/24 -> pool a")
        self.assertTrue(routes.needs_client)
        self.assertEqual(found(routes, Asked()), "a")
        self.assertEqual(found(routes, Asked(), "198.51.100.1"), "404")
        self.assertEqual(found(routes, Asked(), "::1"), "404")
        self.assertEqual(routes.find(Asked(), None), Respond(404))

    def test_all_conditions_must_hold(self) -> None:
        """A route matches when each of its conditions does."""
        routes = table("host=a path=/p method=GET -> pool a")
        self.assertEqual(found(routes, Asked(host=b"a", path=b"/p")), "a")
        self.assertEqual(found(routes, Asked(host=b"a", path=b"/p", method=b"PUT")), "404")
