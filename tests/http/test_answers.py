"""Answers of the balancer's own, and who clients are."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from balancer.http.answers import answer, error, page, redirect, response
from balancer.http.forwarded import additions, address_of, chain, client_of
from balancer.http.head import RequestReader
from balancer.http.keys import key_of, packed
from balancer.http.message import RequestHead
from balancer.http.routes import Redirect, RedirectToHttps, Respond
from balancer.pool.settings import KeySource

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


def head_of(*fields: str, target: str = "/", trusted: bool = True) -> RequestHead:
    """A request head as a trusted peer sends it."""
    lines = [f"GET {target} HTTP/1.1", "Host: x", *fields, "", ""]
    head = RequestReader().read("\r\n".join(lines).encode(), trusted)
    assert head is not None
    return head


class AnswerTests(SynchronousTestCase):
    """How they are written."""

    def test_whole(self) -> None:
        """An answer has date, type, length and body."""
        self.assertEqual(
            error(503, "no server").bytes(DATE, True),
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: 35\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
            b"503 Service Unavailable: no server\n",
        )

    def test_connection(self) -> None:
        """It says what becomes of the connection, in the words of the client's version."""
        ours = error(404)
        self.assertNotIn(b"Connection", ours.bytes(DATE, True, 1))
        self.assertIn(b"\r\nConnection: keep-alive\r\n", ours.bytes(DATE, True, 0))
        self.assertIn(b"\r\nConnection: close\r\n", ours.bytes(DATE, False, 0))

    def test_no_body(self) -> None:
        """HEAD, 204 and 304 get none."""
        self.assertTrue(error(404).bytes(DATE, True, 1, b"HEAD").endswith(b"\r\n\r\n"))
        for code in (204, 304):
            sent = response(Respond(code, "text")).bytes(DATE, True)
            self.assertTrue(sent.endswith(b"\r\n\r\n"))
            self.assertNotIn(b"Content-Length", sent)

    def test_unknown_code(self) -> None:
        """A code without a phrase has some phrase."""
        self.assertTrue(answer(299, b"").start.startswith(b"HTTP/1.1 299 Status\r\n"))

    def test_page_types(self) -> None:
        """A page's type follows its name."""
        html, json, plain = b"text/html", b"application/json", b"text/plain"
        for name, kind in (("a.html", html), ("a.json", json), ("a", plain)):
            self.assertIn(b"\r\nContent-Type: " + kind, page(503, b"x", name).start)

    def test_too_fast(self) -> None:
        """429 says when to come again, with a page as well."""
        self.assertIn(b"\r\nRetry-After: 1\r\n", error(429).start)
        self.assertIn(b"\r\nRetry-After: 1\r\n", page(429, b"x", "a").start)

    def test_redirects(self) -> None:
        """`*` stands for the path; a path cannot become a host."""
        for url, target, where in (
            ("https://a.example/*", b"/p?q", b"https://a.example/p?q"),
            ("https://a.example*", b"/p", b"https://a.example/p"),
            ("https://a.example/x/*", b"/p", b"https://a.example/x/p"),
            ("/new", b"/p", b"/new"),
            ("/*", b"//evil.example/", b"/evil.example/"),
            ("https://a.example/*", b"*", b"https://a.example/"),
        ):
            sent = redirect(Redirect(url), b"x", target).start
            self.assertIn(b"\r\nLocation: " + where + b"\r\n", sent)

    def test_redirect_to_https(self) -> None:
        """The port goes, and without a host there is nowhere to redirect to."""
        sent = redirect(RedirectToHttps(), b"[::1]:8080", b"/p").start
        self.assertIn(b"\r\nLocation: https://[::1]/p\r\n", sent)
        self.assertEqual(redirect(RedirectToHttps(), b"", b"/").code, 400)


class ClientTests(SynchronousTestCase):
    """Who the client is."""

    def test_addresses(self) -> None:
        """Addresses are read in every form that proxies write."""
        for text in ("192.0.2.1", " 192.0.2.1 ", "192.0.2.1:80", '"192.0.2.1:80"'):
            self.assertEqual(str(address_of(text)), "192.0.2.1")
        for text in ("2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80", '"[2001:db8::1]"'):
            self.assertEqual(str(address_of(text)), "2001:db8::1")
        for text in ("", "unknown", "_x", "1.2.3", "unix"):
            self.assertIsNone(address_of(text))

    def test_right_most_untrusted(self) -> None:
        """The client is the last address that is not a proxy's."""
        for field, client in (
            ("X-Forwarded-For: 1.1.1.1", "1.1.1.1"),
            ("X-Forwarded-For: 6.6.6.6, 1.1.1.1", "1.1.1.1"),
            ("X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.9.9.9", "1.1.1.1"),
            ("X-Forwarded-For: 6.6.6.6, 2001:db8::9, 10.9.9.9", "6.6.6.6"),
            ("X-Forwarded-For: 10.2.2.2, 10.3.3.3", "10.2.2.2"),
            ("X-Forwarded-For: 1.1.1.1, nonsense, 10.9.9.9", "10.9.9.9"),
            ("X-Forwarded-For: nonsense", "10.0.0.1"),
            ("X-Other: y", "10.0.0.1"),
            ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.1.1.1", "1.1.1.1"),
            ('Forwarded: for=6.6.6.6, for="[2001:db9::1]:80";proto=https', "2001:db9::1"),
        ):
            self.assertEqual(client_of(head_of(field), "10.0.0.1", PROXIES), client, field)

    def test_a_chain_is_bounded(self) -> None:
        """No more than so many addresses are looked at."""
        field = "X-Forwarded-For: 6.6.6.6, " + ", ".join(f"10.0.0.{n}" for n in range(200))
        client = client_of(head_of(field), "10.0.0.1", PROXIES)
        self.assertEqual(client, "10.0.0.168")

    def test_chain_of_forwarded(self) -> None:
        """Forwarded is read when there is no X-Forwarded-For."""
        head = head_of("Forwarded: for=1.1.1.1;by=2.2.2.2, for=3.3.3.3")
        self.assertEqual(chain(head), ["1.1.1.1", "3.3.3.3"])

    def test_unix_peers(self) -> None:
        """A peer without an address is unknown (RFC 7239 section 6.2)."""
        self.assertIn(b"for=unknown;", additions("rfc7239", "unix", head_of(), False))


class KeyTests(SynchronousTestCase):
    """What pools choose by."""

    source = "192.0.2.1"
    peer_port = 258

    def key(self, kind: str, argument: str = "", *fields: str, target: str = "/") -> bytes | None:
        """The key that a pool gets."""
        make = key_of(KeySource(kind, argument))
        assert make is not None
        return make(self, head_of(*fields, target=target))

    def test_keys(self) -> None:
        """Each kind of key is made of its part of the request."""
        self.assertIsNone(key_of(KeySource("none")))
        self.assertEqual(self.key("source"), bytes((192, 0, 2, 1)))
        self.assertEqual(self.key("address+port"), bytes((192, 0, 2, 1, 1, 2)))
        self.assertEqual(self.key("uri", target="/a?b"), b"/a")
        self.assertEqual(self.key("header", "X-K", "x-k: v"), b"v")
        self.assertEqual(self.key("cookie", "c", "Cookie: a=b; c=d"), b"d")
        self.assertEqual(self.key("query", "q", target="/?p=1&q=2"), b"2")

    def test_absent(self) -> None:
        """A part that is absent is no key."""
        for kind in ("header", "cookie", "query"):
            self.assertIsNone(self.key(kind, "x"))
        self.assertIsNone(packed("unix"))
        self.assertEqual(len(packed("::1") or b""), 16)
