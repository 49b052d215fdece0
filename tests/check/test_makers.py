"""What may stand in the option `check`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.check.exec import ExecCheck
from balancer.check.interfaces import IServerCheck
from balancer.check.makers import exec_, tcp, udp
from balancer.check.octets import octets
from balancer.check.tcp import TcpCheck
from balancer.check.udp import UdpCheck
from balancer.config.values import Misspelt, Unreadable
from balancer.interfaces import ICheck, ICheckMaker
from balancer.wire.deadlines import Wheel
from tests.check.fakes import FakeContext


class MakerTests(SynchronousTestCase):
    """Words become checks."""

    def setUp(self) -> None:
        """What the site lends."""
        self.context: Any = FakeContext()

    def test_interfaces(self) -> None:
        """Makers and checks keep to their interfaces."""
        for maker in (tcp, udp, exec_):
            verifyObject(ICheckMaker, maker)
            self.assertIn(f"`{maker.name}", maker.help)
        verifyObject(ICheck, tcp.parse([])(self.context))
        verifyObject(ICheck, udp.parse([])(self.context))
        verifyObject(IServerCheck, exec_.parse(["/bin/true"])(self.context))

    def test_tcp(self) -> None:
        """`tcp` stands alone."""
        check = tcp.parse([])(self.context)
        assert isinstance(check, TcpCheck)
        self.assertIsInstance(check.wheel, Wheel)
        self.assertRaises(Unreadable, tcp.parse, ["GET"])

    def test_udp(self) -> None:
        """`udp` takes what to send and what to expect, with escapes."""
        check = udp.parse([r"send=\x00ping\n", r"expect=pong\\"])(self.context)
        assert isinstance(check, UdpCheck)
        self.assertEqual((check.send, check.expect), (b"\x00ping\n", b"pong\\"))

    def test_udp_alone(self) -> None:
        """Without words an empty datagram is sent and nothing is expected."""
        check = udp.parse([])(self.context)
        assert isinstance(check, UdpCheck)
        self.assertEqual((check.send, check.expect), (b"", None))

    def test_udp_wrong(self) -> None:
        """Unknown words, repeated ones and unknown escapes are refused."""
        self.assertRaises(Misspelt, udp.parse, ["sent=x"])
        for words in (["send=a", "send=b"], [r"send=\q"], ["expect=\\"], ["hello"]):
            self.assertRaises(Unreadable, udp.parse, words)

    def test_exec(self) -> None:
        """`exec` takes a path, and arguments as they are."""
        check = exec_.parse(["bin/probe", "-v", "a b", "x=$HOME"])(self.context)
        assert isinstance(check, ExecCheck)
        self.assertEqual(check.path, "bin/probe")
        self.assertEqual(check.arguments, ("-v", "a b", "x=$HOME"))
        self.assertRaises(Unreadable, exec_.parse, [])
        self.assertRaises(Unreadable, exec_.parse, [""])


class OctetsTests(SynchronousTestCase):
    """Bytes as an operator writes them."""

    def test_escapes(self) -> None:
        r"""\xNN \n \r \t \0 \\ stand for one byte each; all else is UTF-8."""
        self.assertEqual(octets(r"\xff\x0A\n\r\t\0\\é"), b"\xff\n\n\r\t\0\\\xc3\xa9")

    def test_wrong(self) -> None:
        """Other escapes, and half ones, are refused."""
        for text in (r"\x", r"\x1", r"\xg0", r"\u1234", "a\\", "\\\n"):
            self.assertRaises(Unreadable, octets, text)

    @settings(deadline=None, database=None, max_examples=25)
    @given(st.binary(max_size=50))
    def test_every_byte(self, data: bytes) -> None:
        r"""Every byte can be written as \xNN."""
        self.assertEqual(octets("".join(f"\\x{byte:02x}" for byte in data)), data)
