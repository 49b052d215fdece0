"""The parsers of values: what they take, and what they say of the rest."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.config import values
from balancer.config.values import Endpoint, Misspelt, NotBuilt, Unreadable

ALL: tuple[Callable[[str], Any], ...] = (
    values.duration,
    values.duration_within("1s", "1m"),
    values.size,
    values.integer(-5, 300),
    values.percent,
    values.boolean,
    values.choice("a", "b", later=("c",)),
    values.or_off(values.size),
    values.or_off(values.choice("a")),
    values.name,
    values.path,
    values.free_text,
    values.endpoint,
    values.listen_endpoint,
    values.network,
    values.networks,
)


class ValueTests(SynchronousTestCase):
    """Values that are no addresses."""

    def refused(self, parse: Callable[[str], Any], *texts: str) -> str:
        """What was expected in place of each of `texts`: always the same."""
        told = {self.assertRaises(Unreadable, parse, text).expected for text in texts}
        self.assertEqual(len(told), 1)
        return str(told.pop())

    def test_duration(self) -> None:
        """Durations are seconds; they need a unit, except 0."""
        for text, seconds in (
            ("500ms", 0.5), ("1.5s", 1.5), ("5m", 300), ("1h", 3600), ("1d", 86400), ("0", 0)
        ):
            self.assertEqual(values.duration(text), seconds)
        bad = ("", "5", "s", "-1s", "1 s", "1s ", "1S", "1m30s", "1e3s", "٣s", "inf", ".5s")
        expected = self.refused(values.duration, *bad)
        self.assertEqual(expected, "a duration such as 500ms, 2s or 5m")
        self.assertEqual(self.refused(values.duration, "367d"), "a duration of at most 366d")

    def test_duration_within(self) -> None:
        """Bounds are included and told."""
        parse = values.duration_within("10ms", "1h")
        self.assertEqual([parse("10ms"), parse("60m")], [0.01, 3600])
        told = self.refused(parse, "0", "9ms", "2h", "x")
        self.assertEqual(told, "a duration from 10ms to 1h")

    def test_size(self) -> None:
        """Sizes are bytes in powers of 1024."""
        for text, count in (("0", 0), ("512", 512), ("16k", 16384), ("1m", 1048576), ("1G", 2**30)):
            self.assertEqual(values.size(text), count)
        told = self.refused(values.size, "", "k", "1kb", "-1", "1.5k", "1 k", "1_000")
        self.assertEqual(told, "a size such as 512, 16k or 1m")
        self.assertEqual(self.refused(values.size, "1025g"), "a size of at most 1024g")

    def test_integer(self) -> None:
        """Whole numbers within bounds that are told."""
        parse = values.integer(0, 256)
        self.assertEqual([parse("0"), parse("256"), values.integer(-3, 3)("-3")], [0, 256, -3])
        told = self.refused(parse, "", "-1", "257", "1.0", "1_0", " 1", "٣", "9" * 5000)
        self.assertEqual(told, "a whole number from 0 to 256")

    def test_percent(self) -> None:
        """Shares from 0.0 to 1.0."""
        self.assertEqual([values.percent(t) for t in ("0%", "12.5%", "100%")], [0.0, 0.125, 1.0])
        self.refused(values.percent, "", "5", "101%", "-1%", "%")

    def test_boolean(self) -> None:
        """Three words for yes, three for no."""
        self.assertEqual([values.boolean(t) for t in ("yes", "on", "true")], [True] * 3)
        self.assertEqual([values.boolean(t) for t in ("no", "off", "false")], [False] * 3)
        self.refused(values.boolean, "", "1", "Yes", "y")

    def test_choice(self) -> None:
        """Words offered are told in their order; those of later versions are not built."""
        parse = values.choice("relay", "demo", "x", later=("nat",))
        self.assertEqual(parse("relay"), "relay")
        error = self.assertRaises(Misspelt, parse, "rely")
        self.assertEqual(error.expected, "one of relay, demo or x")
        self.assertEqual((error.word, error.known), ("rely", ("relay", "demo", "x")))
        self.assertEqual(self.assertRaises(NotBuilt, parse, "nat").what, "nat")
        self.assertEqual(values.one_of(("a",)), "a")
        self.assertEqual(values.one_of(("a", "b")), "a or b")

    def test_or_off(self) -> None:
        """off and none give None, and the rest is as before."""
        parse = values.or_off(values.duration)
        self.assertEqual([parse("off"), parse("none"), parse("1s")], [None, None, 1.0])
        self.assertEqual(self.refused(parse, "x"), "a duration such as 500ms, 2s or 5m, or off")
        either = values.or_off(values.choice("v1", later=("v2",)))
        self.assertEqual(self.assertRaises(Misspelt, either, "of").known, ("v1", "off"))
        self.assertRaises(NotBuilt, either, "v2")

    def test_name(self) -> None:
        """Names fit into POOL/NAME and metric labels."""
        for text in ("a", "web-1", "example.test", "_x", "9", "."):
            self.assertEqual(values.name(text), text)
        self.refused(values.name, "", "..", "a/b", "-a", ".a", "a b", 'a"', "é", "a" * 254, "a\n")

    def test_path(self) -> None:
        """Paths stand as they are."""
        self.assertEqual(values.path("run/lb.sock"), "run/lb.sock")
        self.refused(values.path, "", "a\0b", "x" * 4096, "é" * 2048)

    def test_modifiers(self) -> None:
        """Words after an address: each once, with its value's own parser."""

        def parse(text: str) -> dict[str, Any]:
            keys = {"weight": values.integer(0, 256)}
            return values.modifiers(text.split(), keys, ("backup",), ("tls", "sni"))

        self.assertEqual(parse(""), {})
        self.assertEqual(parse("backup weight=2"), {"backup": True, "weight": 2})
        for text, expected, got in (
            ("weight=x", "weight= and a whole number from 0 to 256", "weight=x"),
            ("weight", "weight= or backup", "weight"),
            ("backup=1", "weight= or backup", "backup=1"),
            ("backup backup", "backup once", "backup"),
            ("wait=1", "weight= or backup", "wait=1"),
        ):
            error = self.assertRaises(Unreadable, parse, text)
            self.assertEqual((error.expected, error.got), (expected, got))
        self.assertEqual(self.assertRaises(NotBuilt, parse, "sni=a").what, "sni=a")

    def test_whole_sentences(self) -> None:
        """An exception that says "expected" and "got" itself is taken apart."""
        error = Unreadable("expected a b, got 'c, d'")
        self.assertEqual((error.expected, error.got), ("a b", "c, d"))
        self.assertEqual(Unreadable("a b, got more", "x").expected, "a b, got more")

    @settings(deadline=None, database=None, max_examples=15)
    @given(st.text(max_size=12) | st.text("0129.:/[]%smk-*un ix", max_size=12))
    def test_any_text(self, text: str) -> None:
        """Any text gives a value, or one of the two exceptions."""
        for parse in ALL:
            try:
                parse(text)
            except (Unreadable, NotBuilt):
                continue


class AddressTests(SynchronousTestCase):
    """Addresses and networks."""

    def test_servers(self) -> None:
        """IPv4, [IPv6], names and unix sockets, in one form each."""
        for text, host, port, shown in (
            ("127.0.0.1:80", "127.0.0.1", 80, "127.0.0.1:80"),
            ("[2001:DB8:0::1]:65535", "2001:db8::1", 65535, "[2001:db8::1]:65535"),
            ("App-1.Example:8080", "app-1.example", 8080, "app-1.example:8080"),
            ("a_b.example.:1", "a_b.example.", 1, "a_b.example.:1"),
            ("unix:run/a:1.sock", "unix:run/a:1.sock", 0, "unix:run/a:1.sock"),
        ):
            found = values.endpoint(text)
            self.assertEqual(found, Endpoint(host, port))
            self.assertEqual(str(found), shown)
            self.assertEqual(values.endpoint(shown), found)
            self.assertEqual(found.is_literal, "." not in host or host[0] in "u1")

    def test_bad_servers(self) -> None:
        """What is no address is refused, and IPv6 without brackets is seen through."""
        for text in (
            "", ":", ":80", "a", "a:", "a:0", "a:65536", "a:-1", "a:080", "a:٣", "1.2.3:80",
            "1.2.3.4.5:1", "256.0.0.1:80", "01.2.3.4:80", "[1.2.3.4]:80", "[a]:80", "[]:80",
            "[::1]", "[::1:80", "::1]:80",
            "a..b:80", "-a:80", "a-:80", "é:80", "a b:80", "a/b:80", "x" * 64 + ":80", "[::1]x:80",
            "unix:", "unix:" + "x" * 108,
        ):
            self.assertRaises(Unreadable, values.endpoint, text)
        self.assertEqual(self.assertRaises(Unreadable, values.endpoint, "::1:80").meant, "[::1]:80")
        self.assertRaises(NotBuilt, values.endpoint, "[fe80::1%eth0]:80")

    def test_listening(self) -> None:
        """Only literal addresses are listened on; port 0 is any that is free."""
        self.assertEqual(values.listen_endpoint("[::]:0"), Endpoint("::", 0))
        self.assertEqual(values.listen_endpoint("0.0.0.0:80"), Endpoint("0.0.0.0", 80))
        for text, meant in (
            ("*:80", "0.0.0.0:80"), ("localhost:80", "127.0.0.1:80"), ("example:80", None),
            (":::80", "[::]:80"), ("unix:/x", None), ("80", None),
        ):
            error = self.assertRaises(Unreadable, values.listen_endpoint, text)
            self.assertEqual(error.meant, meant)

    def test_network(self) -> None:
        """CIDRs and single addresses; bits beyond the length are seen through."""
        self.assertEqual(values.network("10.0.0.0/8"), ip_network("10.0.0.0/8"))
        self.assertEqual(values.network("::1"), ip_network("::1/128"))
        error = self.assertRaises(Unreadable, values.network, "10.1.0.0/8")
        self.assertEqual(error.meant, "10.0.0.0/8")
        for text in ("", "x", "1", "::/129", "10.0.0.0/255.0.0.0", "fe80::1%a", "1.2.3.4/", "/8"):
            self.assertRaises(Unreadable, values.network, text)

    def test_networks(self) -> None:
        """Blanks or commas stand between them; the one at fault is named."""
        expected = (ip_network("10.0.0.0/8"), ip_network("::/0"))
        self.assertEqual(values.networks("10.0.0.0/8, ::/0"), expected)
        self.assertEqual(values.networks("none"), ())
        error = self.assertRaises(Unreadable, values.networks, "::/0 ten")
        self.assertEqual(error.got, "ten")
        self.assertRaises(Unreadable, values.networks, " , ")
