"""Keys as text, requests that prove who asks, and signed answers."""

from __future__ import annotations

import base64
import time

import dns.message
import dns.tsig
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes, names, tsig
from balancer.dns.keys import ALGORITHMS, BadKeys, Key, parse_keys
from balancer.dns.query import parse
from balancer.dns.reply import Body, message

SECRET = base64.b64encode(bytes(range(32))).decode()
NOW = 1_700_000_000
TEXT = f"""
# the secondaries
key "Axfr.Example.org." {{
    algorithm HMAC-SHA256;  // as tsig-keygen makes it
    secret "{SECRET}";
}};
/* one more,
   unquoted */ key other {{ secret {SECRET}; algorithm hmac-sha1; }};
"""


def key_for(algorithm: str = "hmac-sha256") -> Key:
    """Our key."""
    (key,) = parse_keys(f'key k {{ algorithm {algorithm}; secret "{SECRET}"; }};').values()
    return key


def theirs_for(algorithm: str = "hmac-sha256") -> dns.tsig.Key:
    """The same key for dnspython."""
    return dns.tsig.Key("k.", SECRET, algorithm)


class Asker:
    """A client of dnspython's, whose clock is `at`."""

    def __init__(self, case: SynchronousTestCase, algorithm: str = "hmac-sha256", at: int = NOW
                 ) -> None:
        self.query = dns.message.make_query("example.test", "AXFR", use_edns=0)
        self.key = theirs_for(algorithm)
        self.query.use_tsig(self.key)
        case.patch(time, "time", lambda: float(at))
        self.wire = self.query.to_wire()

    def read(self, wire: bytes, **more: object) -> dns.message.Message:
        """What it makes of an answer; raises if it does not believe it."""
        return dns.message.from_wire(
            wire, keyring=self.key, request_mac=self.query.mac, **more,  # type: ignore[arg-type]
        )


def judged(wire: bytes, keys: dict[bytes, Key], now: int = NOW) -> tsig.Verdict:
    """The verdict on a packet."""
    record = parse(wire).tsig
    assert record is not None
    return tsig.verify(wire, record, keys, now)


def answered(wire: bytes, rcode: int = 0) -> bytes:
    """An unsigned answer to it."""
    asked = parse(wire)
    return message(asked.id, asked.flags, wire[12 : asked.end], Body(b"", (0, 0, 0), rcode, True))


class KeyTests(SynchronousTestCase):
    """The text that BIND's tools write."""

    def test_read(self) -> None:
        """Keys by name in lower case; comments, order, quotes and letters' case do not matter."""
        keys = parse_keys(TEXT)
        self.assertEqual(list(keys), [names.from_text("axfr.example.org."), b"\5other\0"])
        first, second = keys.values()
        self.assertEqual((first.algorithm, first.digest), (b"\x0bhmac-sha256\0", "sha256"))
        self.assertEqual((second.secret, second.digest), (bytes(range(32)), "sha1"))
        self.assertEqual(parse_keys(""), {})

    def test_secret_hidden(self) -> None:
        """A key's repr does not show its secret."""
        self.assertNotIn("secret", repr(key_for()))

    def test_faults(self) -> None:
        """Each fault has its line, says what was expected, and shows no secret."""
        for text, line, words in (
            ("\nkeys {", 2, "expected 'key', got 'keys'"),
            ("key a\n[", 2, "expected '{'"),
            ("key a..b {", 1, "expected labels"),
            ("key a {\n algorithm hmac-md5; secret aaaa; };", 2, "hmac-sha256, hmac-sha512"),
            ("key a {\n\n secret 'hunter2!'; };", 3, "in base64"),
            ('key a { secret ""; };', 1, "an empty one"),
            ("key a { algorithm hmac-sha1; };", 1, "got no secret"),
            ("key a { secret aaaa; };", 1, "got no algorithm"),
            ("key a { port 53; };", 1, "expected algorithm or secret, got 'port'"),
            ('key "a', 1, "a closing quote"),
            (TEXT + "key OTHER { secret aaaa; algorithm hmac-sha1; };", 9, "'other.' again"),
            ("key a { secret aaaa\n hunter2hunter2hunter2; };", 2, "expected ';', got something"),
        ):
            with self.subTest(text=text), self.assertRaises(BadKeys) as caught:
                parse_keys(text)
            self.assertEqual(caught.exception.line, line)
            self.assertIn(words, str(caught.exception))
            self.assertNotIn("hunter2", str(caught.exception))

    def test_truncated(self) -> None:
        """A text cut within a key is a fault, wherever it is cut."""
        text = f'key "k" {{ algorithm hmac-sha1; secret "{SECRET}"; }};'
        self.assertEqual(len(parse_keys(text)), 1)
        for size in range(1, len(text)):
            self.assertRaises(BadKeys, parse_keys, text[:size])

    @settings(max_examples=10, deadline=None, database=None)
    @given(st.text(alphabet='key {};"#/*\nab=', max_size=40))
    def test_fuzz(self, text: str) -> None:
        """Any text is keys or a fault, and nothing else."""
        try:
            parse_keys(text)
        except BadKeys as fault:
            self.assertTrue(1 <= fault.line <= text.count("\n") + 1)


class VerifyTests(SynchronousTestCase):
    """RFC 8945 5.2, against what dnspython signs."""

    def setUp(self) -> None:
        """A signed request."""
        self.asker = Asker(self)
        self.keys = {b"\1k\0": key_for()}

    def test_every_algorithm(self) -> None:
        """Each is verified, and its answer is believed."""
        for algorithm in ALGORITHMS:
            asker = Asker(self, algorithm)
            key = key_for(algorithm)
            verdict = judged(asker.wire, {key.name: key})
            self.assertEqual((verdict.error, verdict.rcode, verdict.key), (0, 0, key))
            plain = answered(asker.wire)
            signed = tsig.sign(plain, verdict, NOW)
            self.assertEqual(len(signed), len(plain) + tsig.room(verdict))
            self.assertTrue(asker.read(signed).had_tsig)

    def test_changed_id(self) -> None:
        """A forwarder may change the id: what was signed is the original one."""
        self.assertEqual(judged(b"\0\1" + self.asker.wire[2:], self.keys).error, 0)

    def test_bad_key(self) -> None:
        """An unknown key, or one of another algorithm, is BADKEY; the answer bears no MAC."""
        other = key_for("hmac-sha512")
        for keys in ({}, {other.name: other}):
            verdict = judged(self.asker.wire, keys)
            self.assertEqual((verdict.error, verdict.rcode, verdict.key),
                             (codes.BADKEY, codes.NOTAUTH, None))
            signed = tsig.sign(answered(self.asker.wire, verdict.rcode), verdict, NOW)
            self.assertEqual(len(signed), len(answered(self.asker.wire)) + tsig.room(verdict))
            self.assertRaises(dns.tsig.PeerBadKey, self.asker.read, signed)

    def test_bad_signature(self) -> None:
        """One changed bit anywhere in what is signed is BADSIG."""
        record = parse(self.asker.wire).tsig
        assert record is not None
        # RD, a letter of the name, the size in the OPT record, the time, and the MAC's end.
        at_time = record.offset + 3 + 10 + len(record.algorithm) + 5
        for at in (2, 14, record.offset - 8, at_time, len(self.asker.wire) - 7):
            changed = bytearray(self.asker.wire)
            changed[at] ^= 1
            verdict = judged(bytes(changed), self.keys)
            self.assertEqual((verdict.error, verdict.key), (codes.BADSIG, None), at)
        signed = tsig.sign(answered(self.asker.wire, verdict.rcode), verdict, NOW)
        self.assertRaises(dns.tsig.PeerBadSignature, self.asker.read, signed)

    def test_bad_time(self) -> None:
        """Beyond the fudge it is BADTIME, signed, with the asker's time and ours beside it."""
        for now in (NOW - 300, NOW + 300):
            self.assertEqual(judged(self.asker.wire, self.keys, now).error, 0)
        for now in (NOW - 301, NOW + 301):
            verdict = judged(self.asker.wire, self.keys, now)
            self.assertEqual((verdict.error, verdict.rcode), (codes.BADTIME, codes.NOTAUTH))
            plain = answered(self.asker.wire, verdict.rcode)
            signed = tsig.sign(plain, verdict, now)
            self.assertEqual(len(signed), len(plain) + tsig.room(verdict))
            self.assertRaises(dns.tsig.PeerBadTime, self.asker.read, signed)
            theirs = parse(b"".join((signed[:2], b"\0", signed[3:]))).tsig
            assert theirs is not None
            self.assertEqual((theirs.time, theirs.other), (NOW, now.to_bytes(6, "big")))
            self.assertTrue(theirs.mac)

    def test_short_macs(self) -> None:
        """A MAC cut to half of the hash counts; shorter, empty or longer is FORMERR, unsigned."""
        record = parse(self.asker.wire).tsig
        assert record is not None
        head, tail = self.asker.wire[: record.offset], self.asker.wire[-6:]
        name = b"\1k\0" + record.algorithm
        for size in range(34):
            mac = (record.mac + b"xx")[:size]
            data = record.algorithm + NOW.to_bytes(6, "big") + b"\x01\x2c" + bytes((0, size)) + mac
            data += tail
            wire = head + b"\1k\0\0\xfa\0\xff\0\0\0\0" + len(data).to_bytes(2, "big") + data
            verdict = judged(wire, self.keys)
            self.assertEqual(verdict.error, 0 if 16 <= size <= 32 else codes.FORMERR, size)
        self.assertEqual(verdict.rcode, codes.FORMERR)
        plain = answered(wire)
        self.assertEqual(tsig.sign(plain, verdict, NOW), plain)
        self.assertEqual((tsig.room(verdict), name[:3]), (0, record.key))


class StreamTests(SynchronousTestCase):
    """RFC 8945 5.3.1."""

    def test_transfer(self) -> None:
        """Each message of a transfer is believed by one who has read those before it."""
        asker = Asker(self)
        signing = tsig.Signing(judged(asker.wire, {b"\1k\0": key_for()}))
        plain = answered(asker.wire)
        context, wires = None, [signing.sign(plain, NOW + each) for each in range(4)]
        for wire in wires:
            read = asker.read(wire, tsig_ctx=context, multi=True)
            context = read.tsig_ctx
            self.assertTrue(read.had_tsig)
        first = asker.read(wires[0], multi=True)
        with self.assertRaises(dns.tsig.BadSignature):
            asker.read(wires[2], tsig_ctx=first.tsig_ctx, multi=True)
