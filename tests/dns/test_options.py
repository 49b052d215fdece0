"""EDNS options as values and as bytes."""

from __future__ import annotations

from ipaddress import ip_network

import dns.edns
import dns.message
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes, options
from balancer.dns.options import BadOptions, Subnet, read_options


def option(code: int, data: bytes) -> bytes:
    """One option as it stands in an OPT record."""
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def ecs(family: int, source: int, scope: int, octets: bytes) -> bytes:
    """A client subnet option, right or wrong."""
    return option(8, family.to_bytes(2, "big") + bytes((source, scope)) + octets)


class ReadTests(SynchronousTestCase):
    """What a query's OPT record says."""

    def test_record(self) -> None:
        """Size, version and DO come from the record's class and TTL; a size below 512 is 512."""
        edns = read_options(b"", 1232, 0x8000)
        self.assertEqual((edns.size, edns.version, edns.do), (1232, 0, True))
        self.assertEqual(read_options(b"", 100).size, 512)
        self.assertFalse(read_options(b"").do)

    def test_all(self) -> None:
        """Every option that is known is told, and those that are not are passed over."""
        rdata = (option(3, b"") + option(65001, b"x") + option(10, b"12345678")
                 + option(12, bytes(9)) + ecs(1, 24, 0, b"\xc0\0\2"))
        edns = read_options(rdata)
        self.assertTrue(edns.nsid)
        self.assertTrue(edns.padding)
        self.assertEqual(edns.cookie, b"12345678")
        self.assertEqual(edns.subnet, Subnet(1, 24, b"\xc0\0\2\0"))

    def test_first_counts(self) -> None:
        """Of a repeated option the first counts (RFC 7873 5.2 for cookies)."""
        self.assertEqual(read_options(option(10, b"a" * 8) + option(10, b"b")).cookie, b"a" * 8)

    def test_other_version(self) -> None:
        """Options of an unknown version are not read: they cannot be wrong."""
        edns = read_options(b"\xff", 1232, 0x10000)
        self.assertEqual((edns.version, edns.cookie), (1, None))

    def test_cookie_length(self) -> None:
        """A cookie has 8 or 16 to 40 bytes, anything else is FORMERR (RFC 7873 5.2.2)."""
        for size in range(60):
            rdata = option(10, bytes(size))
            if size == 8 or 16 <= size <= 40:
                self.assertEqual(read_options(rdata).cookie, bytes(size))
            else:
                self.assertRaises(BadOptions, read_options, rdata)

    def test_keepalive(self) -> None:
        """It counts over TCP alone, and there it must not bear data (RFC 7828 3.2.1)."""
        self.assertTrue(read_options(option(11, b""), tcp=True).keepalive)
        self.assertFalse(read_options(option(11, b"")).keepalive)
        self.assertFalse(read_options(option(11, b"ab")).keepalive)
        self.assertRaises(BadOptions, read_options, option(11, b"ab"), tcp=True)

    def test_truncated(self) -> None:
        """An option that ends before its length is refused, wherever it is cut."""
        whole = option(65001, b"abc") + option(10, bytes(8))
        for size in range(len(whole)):
            if size not in (0, 7):
                self.assertRaises(BadOptions, read_options, whole[:size])

    def test_many(self) -> None:
        """More than MOST_OPTIONS are refused: what a record may cost does not grow with it."""
        one = option(65001, b"")
        self.assertEqual(read_options(one * options.MOST_OPTIONS).version, 0)
        self.assertRaises(BadOptions, read_options, one * (options.MOST_OPTIONS + 1))

    def test_long(self) -> None:
        """A record too long to be remembered is read all the same."""
        rdata = option(12, bytes(400)) + option(3, b"")
        self.assertTrue(read_options(rdata).nsid)


class SubnetTests(SynchronousTestCase):
    """RFC 7871."""

    def test_refused(self) -> None:
        """Whatever RFC 7871 6 and 7.2.1 have a server refuse."""
        for why, rdata in {
            "short": option(8, b"\0\1\0"),
            "too few octets": ecs(1, 24, 0, b"\xc0\0"),
            "too many octets": ecs(1, 24, 0, b"\xc0\0\2\0"),
            "bits beyond the prefix": ecs(1, 23, 0, b"\xc0\0\1"),
            "scope": ecs(1, 24, 24, b"\xc0\0\2"),
            "long prefix": ecs(1, 33, 0, b"\xc0\0\2\1\0"),
            "long prefix of IPv6": ecs(2, 129, 0, bytes(17)),
            "family": ecs(3, 8, 0, b"\1"),
            "family 0 with bits": ecs(0, 8, 0, b"\1"),
            "family 0 with octets": ecs(0, 0, 0, b"\1"),
        }.items():
            with self.subTest(why=why):
                self.assertRaises(BadOptions, read_options, rdata)

    def test_no_subnet(self) -> None:
        """Family 0 without bits is nobody's address; a prefix of length 0 is said back."""
        self.assertIsNone(read_options(ecs(0, 0, 0, b"")).subnet)
        self.assertEqual(read_options(ecs(2, 0, 0, b"")).subnet, Subnet(2, 0, bytes(16)))

    def test_text(self) -> None:
        """As operators write networks."""
        self.assertEqual(Subnet(1, 24, b"\xc0\0\2\0").text(), "192.0.2.0/24")
        self.assertEqual(Subnet(2, 32, b"\x20\x01\x0d\xb8" + bytes(12)).text(), "2001:db8::/32")

    @settings(max_examples=8, deadline=None, database=None)
    @given(st.ip_addresses(), st.integers(0, 128), st.integers(0, 32))
    def test_like_dnspython(self, address: object, source: int, scope: int) -> None:
        """What dnspython writes is read, and what is written dnspython reads."""
        bits = min(source, 32 if "." in str(address) else 128)
        network = ip_network(f"{address}/{bits}", strict=False)
        theirs = dns.edns.ECSOption(str(network.network_address), bits)
        subnet = read_options(option(8, theirs.to_wire() or b"")).subnet
        assert subnet is not None
        self.assertEqual(subnet.text(), str(network))
        ours = options.subnet_option(subnet, scope)
        back = dns.edns.option_from_wire(dns.edns.OptionType.ECS, ours, 4, len(ours) - 4)
        self.assertEqual(back, dns.edns.ECSOption(theirs.address, bits, scope))


class WriteTests(SynchronousTestCase):
    """Options of answers."""

    def test_like_dnspython(self) -> None:
        """dnspython reads a whole OPT record of ours as it was meant."""
        record = options.opt_record(1232, 1, 0, True, b"".join((
            options.cookie_option(bytes(24)), options.nsid_option(b"lb"),
            options.error_option(22, "no server is up"), options.keepalive_option(12.34),
        )))
        message = dns.message.from_wire(b"\0\0\x80\0\0\0\0\0\0\0\0\1" + record)
        self.assertEqual((message.payload, message.edns, message.rcode()), (1232, 0, 16))
        self.assertTrue(message.ednsflags & 0x8000)
        wires = {each.otype: each.to_wire() for each in message.options}
        self.assertEqual(wires, {10: bytes(24), 3: b"lb", 15: b"\0\x16no server is up",
                                 11: b"\0\x7b"})

    def test_long_text(self) -> None:
        """An error's text is cut between letters; a time beyond 16 bits is the longest."""
        text = options.error_option(22, "ü" * 150)[6:]
        self.assertEqual(text.decode(), "ü" * (options.MOST_TEXT // 2))
        self.assertEqual(options.keepalive_option(1e9)[4:], b"\xff\xff")
        self.assertEqual(len(options.opt_record(512)), 11)
        self.assertEqual(codes.OPT, 41)
