"""Request heads: what is read from them, and what goes on to the server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.http.head import CHUNKED, Refused, RequestHead, RequestReader
from tests.http.feeding import GET, byte_by_byte, lines

HOST = b"Host: a.example"
BROWSER = lines(
    b"Host: shop.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"Accept-Language: en-US,en;q=0.5",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Connection: keep-alive",
    b"Cookie: session=0123456789abcdef; theme=dark",
    b"Upgrade-Insecure-Requests: 1",
    b"Cache-Control: max-age=0",
    first=b"GET /items?page=2&sort=name HTTP/1.1",
)


def read(head: bytes, trusted: bool = False, reader: RequestReader | None = None) -> RequestHead:
    """The head read whole; byte by byte gives the same."""
    found = (reader or RequestReader()).read(head, trusted)
    assert found is not None
    slow = RequestReader() if reader is None else reader
    again = byte_by_byte(lambda data: slow.read(data, trusted), head)
    for name in RequestHead.__slots__:
        assert getattr(found, name) == getattr(again, name), name
    return found


class ReadTests(SynchronousTestCase):
    """The facts of a head."""

    def test_browser(self) -> None:
        """A browser's head gives its facts, and goes on without the fields of its connection."""
        head = read(BROWSER)
        self.assertEqual((head.method, head.target), (b"GET", b"/items?page=2&sort=name"))
        self.assertEqual((head.minor, head.host, head.length), (1, b"shop.example.com", 0))
        self.assertEqual((head.keep_alive, head.expect, head.upgrade), (True, False, b""))
        self.assertEqual((head.end, head.raw), (len(BROWSER), BROWSER))
        self.assertEqual(head.out, BROWSER.replace(b"Connection: keep-alive\r\n", b"")[:-2])
        self.assertEqual(head.line, b"GET /items?page=2&sort=name HTTP/1.1")

    def test_unfinished(self) -> None:
        """A head without its blank line is None, wherever it stops."""
        for size in range(len(BROWSER)):
            self.assertIsNone(RequestReader().read(BROWSER[:size], False))

    def test_end(self) -> None:
        """What follows the head is the body's or the next request's; it is not looked at."""
        for rest in (b"body", b"\r\n", b"\0\n", BROWSER):
            head = RequestReader().read(GET + b"\r\n" + rest, False)
            self.assertEqual(head and head.end, len(GET) + 2)

    def test_pieces_of_others(self) -> None:
        """One reader serves several connections, each in the middle of its head."""
        reader = RequestReader()
        self.assertIsNone(reader.read(GET, False))
        self.assertIsNone(reader.read(b"POST / HT", False))
        self.assertIsNotNone(reader.read(GET + b"\r\n", False))
        self.assertIsNone(reader.read(GET, False))
        self.assertIsNotNone(reader.read(BROWSER, False))

    def test_no_fields(self) -> None:
        """A head in HTTP/1.0 needs no fields; its server is given a Host."""
        head = read(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((head.host, head.minor, head.keep_alive), (b"", 0, False))
        self.assertEqual(head.out, b"GET / HTTP/1.1\r\nHost: localhost\r\n")

    def test_http_1_0(self) -> None:
        """HTTP/1.0 goes on as HTTP/1.1; its connection stays open only if it asks for that."""
        head = read(lines(HOST, b"Connection: keep-alive", first=b"GET /x HTTP/1.0"))
        self.assertTrue(head.keep_alive)
        self.assertEqual(head.out, b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n")

    def test_close(self) -> None:
        """Connection: close ends the client's connection, however it is spelled."""
        for value in (b"close", b"Close", b"CLOSE ", b"keep-alive, close", b"a,close"):
            head = read(lines(HOST, b"Connection: " + value))
            self.assertEqual((head.keep_alive, head.out), (False, GET))
        both = (b"Connection: close", b"Connection: keep-alive")
        self.assertFalse(read(lines(HOST, *both)).keep_alive)

    def test_length(self) -> None:
        """Content-Length is read and travels on in one spelling."""
        for value in (b"42", b" 42", b"\t42 ", b"  0042\t"):
            field = b"Content-Length:" + value
            head = read(lines(HOST, field, first=b"POST / HTTP/1.1"))
            self.assertEqual(head.length, 42)
            self.assertEqual(head.out, b"POST" + GET[3:] + b"Content-Length: 42\r\n")

    def test_chunked(self) -> None:
        """Chunked is read in any case, and travels on in one spelling."""
        for value in (b"chunked", b" Chunked", b"\tCHUNKED "):
            head = read(lines(HOST, b"transfer-encoding:" + value, first=b"POST / HTTP/1.1"))
            self.assertEqual(head.length, CHUNKED)
            self.assertEqual(
                head.out, b"POST" + GET[3:] + b"Transfer-Encoding: chunked\r\n"
            )

    def test_empty_lines_before(self) -> None:
        """Up to two empty lines before a request are skipped and counted."""
        for blank in (b"\r\n", b"\r\n\r\n"):
            head = read(blank + GET + b"\r\n")
            self.assertEqual((head.end, head.out), (len(blank) + len(GET) + 2, GET))
            self.assertEqual(head.line, b"GET / HTTP/1.1")

    def test_any_method(self) -> None:
        """Any token is a method."""
        for method in (b"PROPFIND", b"get", b"M-SEARCH", b"!#$%&'*+-.^_`|~0"):
            self.assertEqual(read(lines(HOST, first=method + b" / HTTP/1.1")).method, method)

    def test_hosts(self) -> None:
        """Names, addresses and IP literals are hosts, with or without a port."""
        for host in (b"a", b"A.Example", b"a_b", b"10.0.0.1", b"[::]", b"[::1]:80", b"a:80", b"a:"):
            self.assertEqual(read(lines(b"host: " + host + b" ")).host, host)


class TargetTests(SynchronousTestCase):
    """The forms of a target."""

    def test_asterisk(self) -> None:
        """OPTIONS * goes on as it is."""
        head = read(lines(HOST, first=b"OPTIONS * HTTP/1.1"))
        self.assertEqual((head.target, head.path, head.out[:11]), (b"*", b"*", b"OPTIONS * H"))

    def test_absolute(self) -> None:
        """An absolute target goes on in origin form; case and default port make no other host."""
        for target, origin in (
            (b"http://a.example/x?y", b"/x?y"),
            (b"HTTP://A.EXAMPLE", b"/"),
            (b"http://a.example:80?y", b"/?y"),
            (b"https://a.example:443/", b"/"),
        ):
            head = read(lines(HOST, first=b"GET " + target + b" HTTP/1.1"))
            self.assertEqual((head.target, head.host), (origin, b"a.example"))
            self.assertEqual(head.out, b"GET " + origin + b" HTTP/1.1\r\n" + HOST + b"\r\n")

    def test_absolute_options(self) -> None:
        """An absolute target without a path is `*` for OPTIONS (RFC 9112 section 3.2.4)."""
        self.assertEqual(read(lines(HOST, first=b"OPTIONS http://a.example HTTP/1.1")).target, b"*")

    def test_absolute_in_http_1_0(self) -> None:
        """An absolute target names the host that an HTTP/1.0 head lacks."""
        head = read(lines(first=b"GET http://a.example/ HTTP/1.0"))
        self.assertEqual(head.host, b"a.example")
        self.assertEqual(head.out, GET)

    def test_lookups(self) -> None:
        """Path, parameters, cookies and fields are found when they are asked for."""
        head = read(BROWSER)
        self.assertEqual(head.path, b"/items")
        self.assertEqual((head.query(b"sort"), head.query(b"page")), (b"name", b"2"))
        self.assertEqual((head.query(b"ort"), head.query(b"x")), (None, None))
        self.assertEqual(head.cookie(b"theme"), b"dark")
        self.assertEqual(head.cookie(b"session"), b"0123456789abcdef")
        self.assertIsNone(head.cookie(b"heme"))
        self.assertEqual(head.field(b"accept-language"), b"en-US,en;q=0.5")
        self.assertEqual(head.field(b"connection"), b"keep-alive")
        self.assertIsNone(head.field(b"language"))


class CutTests(SynchronousTestCase):
    """Fields that do not go on."""

    def gone(self, *fields: bytes, reader: RequestReader | None = None) -> None:
        """None of `fields` is sent on; the others are, in order."""
        head = read(lines(b"A: b", *fields, HOST, b"C: d"), reader=reader)
        self.assertEqual(head.out, lines(b"A: b", HOST, b"C: d")[:-2])

    def test_hop_by_hop(self) -> None:
        """Fields of the connection are cut (RFC 9110 section 7.6.1)."""
        self.gone(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Proxy-Connection: x")
        self.gone(b"TE: trailers", b"Connection: TE")
        self.gone(b"HTTP2-Settings: AAMAAABkAAQAAP__")

    def test_named_by_connection(self) -> None:
        """What Connection names is cut, in any case, from one field or several."""
        self.gone(b"X-Hop: 1", b"Connection: x-hop, , Y-HOP", b"connection: z", b"y-hop:", b"Z: 1")

    def test_names_are_whole(self) -> None:
        """Fields whose names only begin like those go on."""
        fields = (b"Connections: a", b"TEx: b", b"Keep-Alive2: c", b"Upgrades: d", b"Hosts: e")
        head = read(lines(HOST, *fields))
        self.assertEqual(head.out, lines(HOST, *fields)[:-2])

    def test_removed(self) -> None:
        """Fields that the site file removes are cut, in any case, short way and long."""
        reader = RequestReader(remove=frozenset((b"x-secret", b"^odd", b"dnt")))
        self.gone(b"X-Secret: 1", b"^Odd: 2", b"DNT: 1", b"x-secret:", reader=reader)
        self.gone(b"X-Secret: 1", b"^odd: 2", b"Connection: foo", reader=reader)

    def test_framing_stays(self) -> None:
        """A reader that would remove a framing field cannot be made."""
        for name in (b"host", b"content-length", b"transfer-encoding"):
            self.assertRaises(ValueError, RequestReader, remove=frozenset((name,)))

    def test_untrusted_forwarding(self) -> None:
        """A client's own forwarding fields are dropped, spelled with underscores too."""
        self.gone(b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-Proto: https", b"Forwarded: for=1")
        self.gone(b"x_forwarded_for: 1", b"X-Forwarded-Host: b", b"X-Forwarded-Port: 1")
        self.gone(b"X-Forwarded-For: 1.1.1.1", b"Connection: x")
        self.assertIsNone(read(lines(HOST, b"X-Forwarded-For: 1")).forwarded_for)


class ForwardedTests(SynchronousTestCase):
    """A trusted peer's forwarding fields."""

    FIELDS = (b"X-Forwarded-For: 1.1.1.1, ::2 ", b"X-Forwarded-Proto: https", b"Forwarded: for=1")

    def test_x_forwarded(self) -> None:
        """X-Forwarded-For is cut out and given; the others stay."""
        head = read(lines(HOST, *self.FIELDS), trusted=True)
        self.assertEqual(head.forwarded_for, b"1.1.1.1, ::2")
        self.assertEqual(head.out, lines(HOST, *self.FIELDS[1:])[:-2])

    def test_repeated(self) -> None:
        """Repeated ones are joined in their order (RFC 9110 section 5.3)."""
        twice = lines(HOST, b"x-forwarded-for: a", b"A: b", b"X-Forwarded-For: c")
        head = read(twice, trusted=True)
        self.assertEqual((head.forwarded_for, head.out), (b"a, c", lines(HOST, b"A: b")[:-2]))

    def test_rfc_7239(self) -> None:
        """With rfc7239 it is Forwarded that is cut out and given."""
        reader = RequestReader(forwarded="rfc7239")
        head = read(lines(HOST, *self.FIELDS), trusted=True, reader=reader)
        self.assertEqual(head.forwarded_for, b"for=1")
        self.assertEqual(head.out, lines(HOST, *self.FIELDS[:2])[:-2])

    def test_off(self) -> None:
        """With off, a trusted peer's fields stay all, a client's go all the same."""
        reader = RequestReader(forwarded="off")
        head = lines(HOST, *self.FIELDS)
        self.assertEqual(read(head, trusted=True, reader=reader).out, head[:-2])
        self.assertEqual(read(head, reader=reader).out, GET)


class ExpectAndUpgradeTests(SynchronousTestCase):
    """Requests that change what happens on the connection."""

    def test_expect(self) -> None:
        """100-continue is told and goes on, if there is a body to wait for."""
        head = read(lines(HOST, b"Expect: 100-Continue", b"Content-Length: 5"))
        self.assertEqual((head.expect, b"Expect" in head.out), (True, True))
        head = read(lines(HOST, b"Expect: 100-continue"))
        self.assertEqual((head.expect, head.out), (False, GET))

    def test_expect_in_http_1_0(self) -> None:
        """Any expectation in HTTP/1.0 is ignored and cut (RFC 9110 section 10.1.1)."""
        head = read(lines(HOST, b"Expect: x", b"Content-Length: 5", first=b"PUT / HTTP/1.0"))
        self.assertEqual((head.expect, b"Expect" in head.out), (False, False))

    def test_websocket(self) -> None:
        """An upgrade is told and goes on with the fields that it needs."""
        fields = (b"Connection: x, Upgrade", b"Upgrade: WebSocket", b"Sec-WebSocket-Key: a")
        head = read(lines(HOST, *fields))
        self.assertEqual(head.upgrade, b"websocket")
        self.assertEqual(
            head.out, GET + fields[2] + b"\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
        )

    def test_no_upgrade(self) -> None:
        """Upgrades that were not asked for properly, or to HTTP/2, are cut and forgotten."""
        for fields in (
            (b"Upgrade: websocket",),
            (b"Connection: upgrade",),
            (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"),
            (b"Connection: upgrade", b"Upgrade: websocket, h2c"),
            (b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c"),
            (b"Connection: upgrade", b"Upgrade: HTTP/2.0"),
            (b"Connection: upgrade", b"Upgrade: a b"),
        ):
            head = read(lines(HOST, *fields))
            self.assertEqual((head.upgrade, head.out), (b"", GET))

    def test_upgrade_with_a_body(self) -> None:
        """An upgrade with a body is an ordinary request: its body cannot be taken for the
        tunnel."""
        fields = (b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5")
        self.assertEqual(read(lines(HOST, *fields)).upgrade, b"")

    def test_refused_text(self) -> None:
        """A refusal reads well in a log."""
        self.assertEqual(str(Refused(400, "missing Host")), "400 missing Host")
