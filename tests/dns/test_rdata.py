"""Record data as text and on the wire: RFC 1035 3.3, 3597, 8659, 9460."""

from __future__ import annotations

import dns.rdata
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes, fields, names, rdata, tokens
from tests.dns.zones import ORIGIN, n

SOUND = (
    ("A", "192.0.2.1", "c0000201"),
    ("AAAA", "2001:db8::1", "20010db8000000000000000000000001"),
    ("AAAA", "::ffff:192.0.2.1", "00000000000000000000ffffc0000201"),
    ("NS", "ns.x.", "026e7301780 0".replace(" ", "")),
    ("CNAME", ".", "00"),
    ("PTR", "x.", "017800"),
    ("DNAME", "x.", "017800"),
    ("MX", "10 mail.x.", "000a046d61696c01780 0".replace(" ", "")),
    ("TXT", '"a b" c "" "\\"\\\\\\255"', "03612062 0163 00 03225cff".replace(" ", "")),
    ("HINFO", '"RFC8482" ""', "0752464338343832 00".replace(" ", "")),
    ("SRV", "0 5 5060 sip.x.", "0000000513c4 0373697001780 0".replace(" ", "")),
    ("CAA", '0 issue "ca.x; a=b"', "00056973737565 63612e783b20613d62".replace(" ", "")),
    ("CAA", "128 iodef \"\"", "8005696f646566"),
    ("DS", "60485 5 1 2BB183AF5F22588179A53B0A 98631FAD1A292118",
     "ec450501 2bb183af5f22588179a53b0a98631fad1a292118".replace(" ", "")),
    ("DS", "1 ED25519 9 AB", "00010f09ab"),
    ("SOA", "a. b. 1 2h 30m 1w 1h30m",
     "016100 016200 00000001 00001c20 00000708 00093a80 00001518".replace(" ", "")),
    ("A", "\\# 4 0A000001", "0a000001"),
    ("TYPE731", "\\# 6 abcd ( ef 01 23 45 )", "abcdef012345"),
    ("TYPE62347", "\\# 0", ""),
)  # fmt: skip

# RFC 9460 D, the vectors that are to succeed.
SERVICES = (
    ("0 foo.example.com.", "0000 03666f6f 076578616d706c65 03636f6d 00"),
    ("1 .", "0001 00"),
    ("16 foo.example.com. port=53",
     "0010 03666f6f 076578616d706c65 03636f6d 00 0003 0002 0035"),
    ("1 foo.example.com. key667=hello",
     "0001 03666f6f 076578616d706c65 03636f6d 00 029b 0005 68656c6c6f"),
    ("1 foo.example.com. key667=\"hello\\210qoo\"",
     "0001 03666f6f 076578616d706c65 03636f6d 00 029b 0009 68656c6c6fd2716f6f"),
    ('1 foo.example.com. ( ipv6hint="2001:db8::1,2001:db8::53:1" )',
     "0001 03666f6f 076578616d706c65 03636f6d 00 0006 0020"
     "20010db8000000000000000000000001 20010db8000000000000000000530001"),
    ("16 foo.example.org. ( alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1 )",
     "0010 03666f6f 076578616d706c65 036f7267 00 0000 0004 0001 0004"
     "0001 0009 02 6832 05 68332d3139 0004 0004 c0000201"),
    ('16 foo.example.org. alpn="f\\\\\\\\oo\\\\,bar,h2"',
     "0010 03666f6f 076578616d706c65 036f7267 00 0001 000c 08 665c6f6f2c626172 02 6832"),
    ("16 foo.example.org. alpn=f\\\\\\092oo\\092,bar,h2",
     "0010 03666f6f 076578616d706c65 036f7267 00 0001 000c 08 665c6f6f2c626172 02 6832"),
    ("1 . alpn=h3 no-default-alpn ech=AAEC",
     "0001 00 0001 0003 02 6833 0002 0000 0005 0003 000102"),
    ("1 . key1=\\002h2", "0001 00 0001 0003 02 6832"),
    ("1 . key700", "0001 00 02bc 0000"),
)  # fmt: skip

# RFC 9460 D.3 and what else no reader should have to take.
BAD_SERVICES = (
    "1 foo. key123=abc key123=def", "1 foo. mandatory", "1 foo. alpn", "1 foo. port",
    "1 foo. ipv4hint", "1 foo. ipv6hint", "1 foo. no-default-alpn=abc",
    "1 foo. mandatory=key123", "1 foo. mandatory=mandatory", "1 foo. no-default-alpn",
    "1 foo. mandatory=key123,key123 key123=abc", "0 foo. port=53", "1", "", "1 foo. port=65536",
    "1 foo. alpn=h2,,h3", "1 foo. alpn=,", "1 foo. ech=???", "1 foo. key65535=a",
    "1 foo. key01=a", "1 foo. nokey=a", "1 foo. ipv4hint=::1", "1 foo. key3=abc", "65536 .",
    "1 foo. Port=1", "1 . key4=abc", "1 . key0=\\000\\001", "1 . alpn=h2 alpn=h3",
)  # fmt: skip

BAD = (
    ("A", ""), ("A", "1.2.3"), ("A", "1.2.3.256"), ("A", "1.2.3.04"), ("A", "1.2.3.4 5"),
    ("A", "::1"), ("A", "1.2.3.٤"), ("AAAA", "1.2.3.4"), ("AAAA", ":::"), ("AAAA", "fe80::1%lo"),
    ("AAAA", "1:2:3:4:5:6:7"), ("AAAA", "1:2:3:4:5:6:7:8::"), ("AAAA", "12345::"), ("AAAA", ""),
    ("NS", ""), ("NS", "a b"), ("NS", "a..b"), ("NS", "\udcff"), ("MX", "10"), ("MX", "a b"),
    ("MX", "65536 a"), ("MX", "-1 a"), ("TXT", ""), ("TXT", "a" * 256), ("TXT", "\\256"),
    ("HINFO", "a"), ("SRV", "1 2 3"), ("CAA", "256 issue a"), ("CAA", "0 is-sue a"),
    ("CAA", "0 issue"), ("DS", "1 8 1 00"), ("DS", "1 8 9"), ("DS", "1 8 9 0"), ("DS", "1 X 9 00"),
    ("SOA", "a. b. 1 2 3 4"), ("SOA", "a. b. 1 2 3 4 5 6"), ("SOA", "a. b. 4294967296 2 3 4 5"),
    ("SOA", "a. b. 1 2x 3 4 5"), ("SOA", "a. b. 1 9999999999 3 4 5"), ("TYPE731", "abcd"),
    ("TYPE731", "\\#"), ("TYPE731", "\\# 3 abcd"), ("TYPE731", "\\# x abcd"),
    ("TYPE731", "\\# 2 abc"), ("TYPE731", "\\# 0 ab"), ("A", "\\# 3 000000"), ("MX", "\\# 2 0001"),
    ("NS", "\\# 2 c000"), ("A", "\\# 5 0000000000"), ("TXT", "\\# 0"), ("CAA", "\\# 4 0001 2d00"),
)  # fmt: skip

LABEL = st.text("abcXYZ019-_", min_size=1, max_size=9)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join(labels) + ".")
BYTE = st.integers(0, 255)
U16 = st.integers(0, 65535)
U32 = st.integers(0, 2**31 - 1)
STRING = st.binary(max_size=40).map(lambda data: f'"{fields.shown(data)}"')
IP4 = st.ip_addresses(v=4).map(str)
IP6 = st.ip_addresses(v=6).map(str)


def words(*parts: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    """The parts with blanks between."""
    return st.tuples(*parts).map(lambda values: " ".join(map(str, values)))


def several(part: st.SearchStrategy[str], between: str) -> st.SearchStrategy[str]:
    """One to four of them."""
    return st.lists(part, min_size=1, max_size=4).map(between.join)


PARAM = st.fixed_dictionaries({}, optional={
    "alpn": several(st.text("abch23", min_size=1, max_size=5), ","),
    "port": U16.map(str), "ipv4hint": several(IP4, ","), "ipv6hint": several(IP6, ","),
    # dnspython wants a list of configurations; any of an unknown version will do.
    "ech": st.binary(max_size=20).map(lambda data: fields.to_base64(
        (len(data) + 4).to_bytes(2, "big") + b"\xaa\xaa" + len(data).to_bytes(2, "big") + data)),
    "key667": STRING,
}).map(lambda params: " ".join(f"{key}={value}" for key, value in params.items()))

TEXTS = {
    "A": IP4, "AAAA": IP6, "NS": NAME, "CNAME": NAME, "PTR": NAME, "DNAME": NAME,
    "SOA": words(NAME, NAME, U32, U32, U32, U32, U32), "MX": words(U16, NAME),
    "TXT": several(STRING, " "), "HINFO": words(STRING, STRING), "SRV": words(U16, U16, U16, NAME),
    "CAA": words(BYTE, st.text("abz09", min_size=1, max_size=15), STRING),
    "DS": words(U16, BYTE, st.integers(5, 255), st.binary(min_size=1).map(bytes.hex)),
    "SVCB": words(st.integers(1, 65535), NAME, PARAM),
    "HTTPS": words(st.integers(1, 65535), NAME, PARAM),
}  # fmt: skip
ANY_TEXT = st.sampled_from(sorted(TEXTS)).flatmap(
    lambda word: st.tuples(st.just(word), TEXTS[word])
)


def wire(word: str, text: str) -> bytes:
    """The data of a line's end."""
    number = codes.type_number(word)
    if number is None:
        raise AssertionError(word)
    raw = text.encode("utf-8", "surrogateescape")
    return rdata.from_tokens(number, tokens.entry(raw, 0).tokens, ORIGIN)


class RdataTests(SynchronousTestCase):
    """The table of types."""

    def test_sound(self) -> None:
        """Every type's text gives its wire form, which gives a text for the same."""
        services = [(word, *each) for each in SERVICES for word in ("SVCB", "HTTPS")]
        for word, text, raw in (*SOUND, *services):
            with self.subTest(word=word, text=text):
                data = wire(word, text)
                self.assertEqual(data, bytes.fromhex(raw))
                again = rdata.to_text(codes.type_number(word) or 0, data)
                self.assertEqual(wire(word, again), data)

    def test_bad(self) -> None:
        """Whatever a type does not have is a ValueError that says what was expected."""
        services = [(word, each) for each in BAD_SERVICES for word in ("SVCB", "HTTPS")]
        for word, text in (*BAD, *services):
            with self.subTest(word=word, text=text):
                error = self.assertRaises(ValueError, wire, word, text)
                self.assertRegex(str(error), r"^(?!expected)[a-zA-Z0-9'].+")
                self.assertIn(type(error), (fields.BadData, names.BadName))

    def test_relative(self) -> None:
        """A name without a dot at its end is relative to the origin."""
        self.assertEqual(wire("NS", "ns"), n("ns"))
        self.assertEqual(wire("MX", "0 @")[2:], ORIGIN)

    def test_cut_short(self) -> None:
        """Data that end early are never shown as whole ones, and raise nothing else."""
        for word, text, _ in SOUND:
            number = codes.type_number(word) or 0
            data = wire(word, text)
            for end in range(len(data)):
                try:
                    shown = rdata.to_text(number, data[:end])
                except fields.BadData:
                    continue
                self.assertEqual(wire(word, shown), data[:end])

    def test_too_long(self) -> None:
        """Data of more than 65535 bytes are refused."""
        self.assertRaises(fields.BadData, wire, "TXT", " ".join(["a" * 255] * 257))

    def test_targets(self) -> None:
        """The name whose addresses help: of NS, MX, SRV and services, where it is not nobody."""
        for word, text, name in (
            ("NS", "a", n("a")), ("MX", "1 a", n("a")), ("SRV", "1 2 3 a", n("a")),
            ("HTTPS", "1 a port=1", n("a")), ("SVCB", "0 a", n("a")), ("HTTPS", "1 .", b"\0"),
            ("HTTPS", "0 .", None), ("MX", "0 .", None), ("SRV", "0 0 0 .", None),
            ("CNAME", "a", None), ("A", "192.0.2.1", None),
        ):  # fmt: skip
            found = rdata.target(codes.TYPES[word], wire(word, text))
            self.assertEqual(found, name, (word, text))

    @settings(max_examples=10)
    @given(ANY_TEXT)
    def test_peer(self, case: tuple[str, str]) -> None:
        """dnspython reads the same bytes from a text, and from the text made of the bytes."""
        word, text = case
        data = wire(word, text)
        self.assertEqual(data, dns.rdata.from_text("IN", word, text).to_wire())
        again = rdata.to_text(codes.TYPES[word], data)
        self.assertEqual(data, dns.rdata.from_text("IN", word, again).to_wire())

    @settings(max_examples=10)
    @given(st.sampled_from(sorted(codes.TYPES.values())), st.binary(max_size=60))
    def test_any_bytes(self, number: int, data: bytes) -> None:
        """Any bytes are data that come back from their text, or BadData."""
        try:
            text = rdata.to_text(number, data)
        except fields.BadData:
            return
        self.assertEqual(wire(codes.type_text(number), text), data)

    @settings(max_examples=10)
    @given(st.ip_addresses(v=6), st.booleans())
    def test_address6(self, address: object, full: bool) -> None:
        """Any IPv6 address is read, short or long."""
        text = getattr(address, "exploded" if full else "compressed")
        self.assertEqual(fields.address6(text), getattr(address, "packed"))  # noqa: B009
