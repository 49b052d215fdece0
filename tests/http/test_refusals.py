"""Every request that two parties could read apart, or that asks for too much, is refused."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.http.head import Refused, RequestReader
from tests.http.feeding import GET, byte_by_byte, lines, outcome

HOST = b"Host: a.example"


class Refusals(SynchronousTestCase):
    """What all the tests below do with a head."""

    def refused(self, head: bytes, status: int = 400, reason: str = "") -> None:
        """`head` is refused whole and byte by byte; cut anywhere, it is never taken for a head."""
        whole = outcome(Refused, RequestReader().read, head, False)
        self.assertIsInstance(whole, Refused)
        self.assertEqual((whole.status, reason in whole.reason), (status, True), str(whole))
        reader = RequestReader()
        pieces = outcome(Refused, byte_by_byte, lambda data: reader.read(data, False), head)
        self.assertIsInstance(pieces, Refused)
        self.assertEqual((pieces.status, pieces.reason), (whole.status, whole.reason))
        for size in range(0, len(head), 1 + len(head) // 200):
            part = outcome(Refused, RequestReader().read, head[:size], False)
            self.assertTrue(part is None or isinstance(part, Refused), head[:size])

    def with_field(self, field: bytes, status: int = 400, reason: str = "") -> None:
        """A plain head with this field among others is refused."""
        self.refused(lines(HOST, field, b"Accept: */*"), status, reason)
        self.refused(lines(field, b"Accept: */*", HOST), status, reason)


class ContentLengthTests(Refusals):
    """A length that could be read as another one."""

    def test_with_transfer_encoding(self) -> None:
        """Content-Length with Transfer-Encoding is refused, in either order."""
        both = (b"Content-Length: 5", b"Transfer-Encoding: chunked")
        self.refused(lines(HOST, *both), 400, "Content-Length with Transfer-Encoding")
        self.refused(lines(*reversed(both), HOST), 400, "Content-Length with Transfer-Encoding")

    def test_different(self) -> None:
        """Two Content-Lengths that differ are refused."""
        self.refused(lines(HOST, b"Content-Length: 5", b"Content-Length: 6"), 400, "repeated")

    def test_zero_first(self) -> None:
        """A zero does not hide the length that comes after it."""
        self.refused(lines(HOST, b"Content-Length: 0", b"Content-Length: 6"), 400, "repeated")

    def test_same(self) -> None:
        """Two equal Content-Lengths are refused as well: no sound client sends them."""
        self.refused(lines(HOST, b"Content-Length: 5", b"content-length: 5"), 400, "repeated")

    def test_plus(self) -> None:
        """A length with a plus sign is refused."""
        self.with_field(b"Content-Length: +5", 400, "malformed Content-Length")

    def test_minus(self) -> None:
        """A negative length is refused."""
        self.with_field(b"Content-Length: -5", 400, "malformed Content-Length")

    def test_blank_within(self) -> None:
        """A length with a blank between digits is refused."""
        self.with_field(b"Content-Length: 1 2", 400, "malformed Content-Length")

    def test_list(self) -> None:
        """A list of lengths is refused, equal or not."""
        self.with_field(b"Content-Length: 5, 5", 400, "malformed Content-Length")
        self.with_field(b"Content-Length: 5,6", 400, "malformed Content-Length")

    def test_empty(self) -> None:
        """A Content-Length without digits is refused."""
        self.with_field(b"Content-Length:", 400, "malformed Content-Length")
        self.with_field(b"Content-Length: \t", 400, "malformed Content-Length")

    def test_not_decimal(self) -> None:
        """Hexadecimal, underscores, points and exponents are refused."""
        for value in (b"0x5", b"1_0", b"5.0", b"5e1", b"five", b"5;q=1", b'"5"'):
            self.with_field(b"Content-Length: " + value, 400, "malformed Content-Length")

    def test_endless(self) -> None:
        """A length of more digits than 64 bits hold is refused."""
        self.with_field(b"Content-Length: " + b"9" * 19, 400, "malformed Content-Length")

    def test_underscore(self) -> None:
        """The spelling that a CGI server takes for Content-Length is refused."""
        self.with_field(b"Content_Length: 5", 400, "content_length")

    def test_form_feed(self) -> None:
        """What Python's int() takes for a blank around the digits is refused."""
        self.with_field(b"Content-Length: \x0c5", 400, "control byte")
        self.with_field(b"Content-Length: 5\xa0", 400, "malformed Content-Length")


class TransferEncodingTests(Refusals):
    """A coding that is not exactly `chunked`."""

    def test_other(self) -> None:
        """Any other single coding is refused."""
        for value in (b"identity", b"gzip", b"xchunked", b"chunkedx", b"chunk", b"", b'"chunked"'):
            self.with_field(b"Transfer-Encoding: " + value, 400, "other than chunked")

    def test_chunked_not_last(self) -> None:
        """Chunked before another coding is refused."""
        self.with_field(b"Transfer-Encoding: chunked, gzip", 400, "other than chunked")
        self.with_field(b"Transfer-Encoding: chunked, identity", 400, "other than chunked")

    def test_chunked_twice(self) -> None:
        """Chunked twice is refused, in one field or two."""
        self.with_field(b"Transfer-Encoding: chunked, chunked", 400, "other than chunked")
        twice = lines(HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")
        self.refused(twice, 400, "other than chunked")

    def test_hidden_in_second_field(self) -> None:
        """A second Transfer-Encoding is refused, whatever it says."""
        for value in (b"identity", b"cow", b""):
            head = lines(HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: " + value)
            self.refused(head, 400, "other than chunked")

    def test_empty_elements(self) -> None:
        """Empty elements around chunked are refused."""
        self.with_field(b"Transfer-Encoding: ,chunked", 400, "other than chunked")
        self.with_field(b"Transfer-Encoding: chunked,", 400, "other than chunked")

    def test_parameter(self) -> None:
        """Chunked with a parameter is refused."""
        self.with_field(b"Transfer-Encoding: chunked;q=1", 400, "other than chunked")

    def test_control_byte(self) -> None:
        """Chunked after a vertical tab, which some take for a blank, is refused."""
        self.with_field(b"Transfer-Encoding: \x0bchunked", 400, "control byte")

    def test_coded_content(self) -> None:
        """A coding under chunked is refused, though sound: nobody here could look inside."""
        self.with_field(b"Transfer-Encoding: gzip, chunked", 400, "other than chunked")

    def test_in_http_1_0(self) -> None:
        """Transfer-Encoding in HTTP/1.0 is refused (RFC 9112 section 6.1)."""
        head = lines(HOST, b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0")
        self.refused(head, 400, "in HTTP/1.0")

    def test_underscore(self) -> None:
        """The spelling that a CGI server takes for Transfer-Encoding is refused."""
        self.with_field(b"Transfer_Encoding: chunked", 400, "transfer_encoding")


class LineTests(Refusals):
    """Bytes that end a line for one party and not for another, or no line at all."""

    def test_bare_lf(self) -> None:
        """A line that ends with LF alone is refused, wherever it stands."""
        self.refused(GET[:14] + b"\nHost: a\r\n\r\n", 400, "bare LF")
        self.refused(GET + b"A: b\nC: d\r\n\r\n", 400, "bare LF")
        self.refused(GET + b"A: b\n\n", 400, "bare LF")
        self.refused(GET + b"\n", 400, "bare LF")
        self.refused(b"\n" + GET + b"\r\n", 400, "bare LF")

    def test_bare_cr(self) -> None:
        """A CR without LF is refused, wherever it stands."""
        self.refused(GET[:14] + b"\rHost: a\r\n\r\n", 400, "bare CR")
        self.refused(GET + b"A: b\rC: d\r\n\r\n", 400, "bare CR")
        self.refused(GET + b"A: b\r\r\n\r\n", 400, "bare CR")
        self.refused(GET + b"\r\rX", 400, "bare CR")

    def test_fold(self) -> None:
        """A folded field (obs-fold) is refused, with a space or a tab."""
        self.refused(GET + b"A: b\r\n c\r\n\r\n", 400, "folded")
        self.refused(GET + b"A: b\r\n\tc: d\r\n\r\n", 400, "folded")
        self.refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "folded")
        self.refused(GET + b"Transfer-Encoding:\r\n chunked\r\n\r\n", 400, "folded")

    def test_blank_before_colon(self) -> None:
        """A blank between a field's name and its colon is refused."""
        self.with_field(b"Content-Length : 5", 400, "blank before")
        self.with_field(b"Transfer-Encoding\t: chunked", 400, "blank before")
        self.with_field(b"A : b", 400, "blank before")

    def test_nul(self) -> None:
        """A NUL is refused in a value, a name, a target and a method."""
        for head in (GET + b"A: \0\r\n\r\n", GET + b"A\0: b\r\n\r\n"):
            self.refused(head, 400, "NUL")
        self.refused(b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "NUL")
        self.refused(b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "NUL")

    def test_control_bytes(self) -> None:
        """Every control byte but tab is refused in a value."""
        for code in {*range(32), 127} - {0, 9, 10, 13}:
            self.refused(GET + b"A: b%bc\r\n\r\n" % bytes([code]), 400, "control byte")

    def test_empty_name(self) -> None:
        """A field without a name is refused."""
        self.with_field(b": b", 400, "without a name")

    def test_no_colon(self) -> None:
        """A line without a colon is refused."""
        self.with_field(b"Nonsense", 400, "without a colon")

    def test_name_no_token(self) -> None:
        """Every byte that is not part of a token is refused in a name."""
        for byte in b'()<>@,;\\"/[]?={}\x80\xff':
            self.with_field(b"A%bB: c" % bytes([byte]), 400, "not a token")

    def test_field_before_host(self) -> None:
        """A blank in front of the first field is refused, though RFC 9112 would let us skip it."""
        self.refused(b"GET / HTTP/1.1\r\n A: b\r\nHost: a\r\n\r\n", 400, "folded")


class RequestLineTests(Refusals):
    """First lines that are none."""

    def first(self, line: bytes, status: int = 400, reason: str = "") -> None:
        """A head with this first line is refused."""
        self.refused(lines(HOST, first=line), status, reason)

    def test_versions(self) -> None:
        """HTTP versions other than 1.0 and 1.1 are refused."""
        for version in (b"1.2", b"2.0", b"0.9", b"3.0", b"1.9"):
            self.first(b"GET / HTTP/" + version, 400, "version")

    def test_malformed_version(self) -> None:
        """A version that is none is refused."""
        for version in (b"HTTP/1.", b"HTTP/1.10", b"http/1.1", b"HTTP/1,1", b"HTTP 1.1", b"X/1.1"):
            self.first(b"GET / " + version, 400, "METHOD TARGET VERSION")

    def test_http_0_9(self) -> None:
        """A request line without a version is refused."""
        self.first(b"GET /", 400, "METHOD TARGET VERSION")
        self.refused(b"GET /\r\n", 400, "METHOD TARGET VERSION")

    def test_blanks(self) -> None:
        """Anything but one space between the parts is refused."""
        for line in (b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b"GET / b HTTP/1"):
            self.first(line, 400, "METHOD TARGET VERSION")
        for line in (b" GET / HTTP/1.1", b"GET\t/ HTTP/1.1", b"\tGET / HTTP/1.1"):
            self.first(line, 400, "method")

    def test_method_no_token(self) -> None:
        """A method that is not a token is refused."""
        self.first(b"GE(T / HTTP/1.1", 400, "method")
        self.first(b"G\xe9T / HTTP/1.1", 400, "method")

    def test_endless_method(self) -> None:
        """A method of more than 64 bytes is refused before its end."""
        reader = RequestReader()
        self.assertRaises(Refused, reader.read, b"A" * 65, False)
        self.first(b"A" * 65 + b" / HTTP/1.1", 400, "method")

    def test_connect(self) -> None:
        """CONNECT is refused: the balancer is no tunnel to anywhere."""
        self.first(b"CONNECT a.example:443 HTTP/1.1", 501)
        self.first(b"CONNECT / HTTP/1.1", 501)

    def test_trace(self) -> None:
        """TRACE is refused: it would show the fields that proxies add."""
        self.first(b"TRACE / HTTP/1.1", 501)
        self.first(b"TRACE / HTTP/1.0", 501)

    def test_fragment(self) -> None:
        """A `#` in the target is refused: servers differ on where the path ends."""
        self.first(b"GET /a#b HTTP/1.1", 400, "target")

    def test_bytes_above_ascii(self) -> None:
        """Bytes above ASCII in the target are refused."""
        self.first(b"GET /\xe9 HTTP/1.1", 400, "target")

    def test_bad_targets(self) -> None:
        """Targets of no form known for the method are refused."""
        for target in (b"*", b"a", b"a.example:80", b"?a", b"ftp://a.example/", b"http:/a.example"):
            self.first(b"GET " + target + b" HTTP/1.1", 400, "target")

    def test_empty_lines(self) -> None:
        """Three empty lines before a request are refused."""
        self.refused(b"\r\n\r\n\r\n" + GET + b"\r\n", 400, "empty line")

    def test_tls(self) -> None:
        """A TLS client hello is refused with a reason that says so, from its first bytes."""
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        self.assertIn("TLS", outcome(Refused, RequestReader().read, hello, False).reason)
        self.assertRaises(Refused, RequestReader().read, hello[:1], False)

    def test_http_2_preface(self) -> None:
        """HTTP/2's preface is refused with a reason that says so."""
        self.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2 on a port")

    def test_noise(self) -> None:
        """What can be no request line is refused at its first byte."""
        for noise in (b"\xff", b" ", b":", b"\0", b"\x80"):
            self.assertRaises(Refused, RequestReader().read, noise, False)


class HostTests(Refusals):
    """Requests for nobody, or for two."""

    def test_missing(self) -> None:
        """HTTP/1.1 without Host is refused."""
        self.refused(lines(b"Accept: */*"), 400, "missing Host")
        self.refused(lines(), 400, "missing Host")

    def test_repeated(self) -> None:
        """A second Host is refused, different or equal, in HTTP/1.0 too."""
        self.refused(lines(HOST, b"Host: b.example"), 400, "repeated Host")
        self.refused(lines(HOST, HOST.lower()), 400, "repeated Host")
        self.refused(lines(HOST, HOST, first=b"GET / HTTP/1.0"), 400, "repeated Host")

    def test_malformed(self) -> None:
        """A Host that is no host is refused."""
        for value in (
            b"", b"a b", b"a, b", b"a/b", b"a@b", b"a:b", b"a:80:80", b"a:-1", b"a:123456", b"[::1",
            b"::1", b"[::1]x", b"[]", b"a?b", b"a#b", b"http://a", b"\xe9", b"a;b", b"a\\b", b":80",
        ):  # fmt: skip
            self.refused(lines(b"Host: " + value), 400, "malformed Host")

    def test_differs_from_target(self) -> None:
        """A Host that differs from an absolute target is refused."""
        for target in (b"http://b.example/", b"http://a.example:81/", b"https://a.example:80/"):
            self.refused(
                lines(HOST, first=b"GET " + target + b" HTTP/1.1"), 400, "differs from the target"
            )

    def test_no_host_in_target(self) -> None:
        """An absolute target with user information or without a host is refused."""
        for target in (b"http://u:p@a.example/", b"http:///", b"http://", b"http://a.example:x/"):
            self.refused(lines(HOST, first=b"GET " + target + b" HTTP/1.1"), 400, "in the target")

    def test_absolute_without_host(self) -> None:
        """An absolute target does not make up for a missing Host in HTTP/1.1."""
        self.refused(lines(first=b"GET http://a.example/ HTTP/1.1"), 400, "missing Host")


class OtherFieldTests(Refusals):
    """Fields that ask for what is not done."""

    def test_expect(self) -> None:
        """An expectation other than 100-continue is answered 417."""
        self.with_field(b"Expect: 200-ok", 417)
        self.with_field(b"Expect: 100-continue, more", 417)

    def test_connection_names_end_to_end_fields(self) -> None:
        """A client cannot have fields cut that are meant for the server."""
        for name in (b"Host", b"Content-Length", b"Transfer-Encoding", b"Cookie", b"Authorization",
                     b"X-Forwarded-For", b"Forwarded", b"Expect", b"Content-Type"):  # fmt: skip
            self.with_field(b"Connection: close, " + name, 400, "Connection names")

    def test_malformed_connection(self) -> None:
        """Connection options that are no tokens are refused."""
        self.with_field(b"Connection: a b", 400, "malformed Connection")


class TooMuchTests(Refusals):
    """More than the bounds."""

    def test_target(self) -> None:
        """A target of more than 8192 bytes is 414, as soon as it is too long."""
        long = b"/" + b"a" * 8192
        head = lines(HOST, first=b"GET " + long + b" HTTP/1.1")
        self.assertEqual(outcome(Refused, RequestReader().read, head, False).status, 414)
        reader, sent = RequestReader(), b"GET /" + b"a" * 8300
        self.assertEqual(outcome(Refused, reader.read, sent, False).status, 414)

    def test_target_fills_the_head(self) -> None:
        """A target that alone fills a small head is 414."""
        reader = RequestReader(max_head=1024)
        self.assertEqual(
            outcome(Refused, reader.read, b"GET /" + b"a" * 1020, False).status, 414
        )

    def test_head(self) -> None:
        """A head of max_head bytes is read, one more byte is 431, whole or in pieces."""
        exact = GET + b"A: " + b"b" * (1024 - len(GET) - 7) + b"\r\n\r\n"
        more = exact.replace(b"A: ", b"A: b")
        self.assertEqual(len(exact), 1024)
        read = RequestReader(max_head=1024).read(exact, False)
        self.assertEqual(read and read.end, 1024)
        reader = RequestReader(max_head=1024)
        self.assertIsNotNone(byte_by_byte(lambda data: reader.read(data, False), exact))
        for head in (more, more[:1024]):
            reader = RequestReader(max_head=1024)
            refused = outcome(Refused, reader.read, head, False)
            self.assertEqual(refused.status, 431)

    def test_fields(self) -> None:
        """max_fields fields are read, one more is 431."""
        many = [b"A: b"] * 100
        self.assertIsNotNone(RequestReader(max_fields=101).read(lines(HOST, *many), False))
        self.refused(lines(HOST, *many, b"A: b"), 431, "more than 101 fields")

    def test_name(self) -> None:
        """An endless field name is 431 long before the head is full."""
        self.refused(GET + b"a" * 257, 431, "field name too long")
        self.with_field(b"a" * 257 + b": b", 431, "field name too long")
