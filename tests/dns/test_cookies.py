"""SipHash and server cookies."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import cookies
from balancer.dns.cookies import Cookies
from balancer.dns.siphash import siphash24

SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
CLIENT = bytes.fromhex("2464c4abcf10c957")
ADDRESS = ip_address("198.51.100.100").packed


class SipHashTests(SynchronousTestCase):
    """The vectors of the reference implementation (vectors_sip64)."""

    VECTORS = (
        0x726FDB47DD0E0E31, 0x74F839C593DC67FD, 0x0D6C8009D9A94F5A, 0x85676696D7FB7E2D,
        0xCF2794E0277187B7, 0x18765564CD99A68D, 0xCBC9466E58FEE3CE, 0xAB0200F58B01D137,
        0x93F5F5799A932462, 0x9E0082DF0BA9E4B0, 0x7A5DBBC594DDB9F3, 0xF4B32F46226BADA7,
        0x751E8FBC860EE5FB, 0x14EA5627C0843D90, 0xF723CA908E7AF2EE, 0xA129CA6149BE45E5,
        0x3F2ACC7F57C29BDB,
    )

    def test_vectors(self) -> None:
        """The bytes 0, 1, 2... of every length up to 16, and of 63, under the key 0, 1 ... 15."""
        key = bytes(range(16))
        for size, expected in enumerate(self.VECTORS):
            self.assertEqual(siphash24(key, bytes(range(size))), expected, size)
        self.assertEqual(siphash24(key, bytes(range(63))), 0x958A324CEB064572)


class VectorTests(SynchronousTestCase):
    """RFC 9018 appendix A."""

    def test_new(self) -> None:
        """A.1: a client gets its first cookie."""
        made = Cookies(SECRET).server_cookie(CLIENT, ADDRESS, 1559731985)
        self.assertEqual(made.hex(), "010000005cf79f111f8130c3eee29480")

    def test_renewed(self) -> None:
        """A.2: 40 minutes later the cookie still counts, and is replaced."""
        ours = Cookies(SECRET)
        option = bytes.fromhex("2464c4abcf10c957010000005cf79f111f8130c3eee29480")
        self.assertEqual(ours.check(option, ADDRESS, 1559734385), "renew")
        made = ours.server_cookie(CLIENT, ADDRESS, 1559734385)
        self.assertEqual(made.hex(), "010000005cf7a871d4a564a1442aca77")

    def test_reserved(self) -> None:
        """A.3: the reserved bytes of a cookie are hashed as they came; in a new one they are 0."""
        ours = Cookies(SECRET)
        option = bytes.fromhex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5")
        address = ip_address("203.0.113.203").packed
        self.assertEqual(ours.check(option, address, 1559727985), "good")
        self.assertEqual(ours.check(option, address, 1559734700), "bad", "it is too old by then")
        made = ours.server_cookie(option[:8], address, 1559734700)
        self.assertEqual(made.hex(), "010000005cf7a9acf73a7810aca2381e")

    def test_new_secret(self) -> None:
        """A.4: a cookie of the previous secret counts, and is replaced by one of the new."""
        ours = Cookies(bytes.fromhex("445536bcd2513298075a5d379663c962"),
                       bytes.fromhex("dd3bdf9344b678b185a6f5cb60fca715"))
        option = bytes.fromhex("22681ab97d52c298010000005cf7c57926556bd0934c72f8")
        address = ip_address("2001:db8:220:1:59de:d0f4:8769:82b8").packed
        self.assertEqual(ours.check(option, address, 1559741961), "renew")
        made = ours.server_cookie(option[:8], address, 1559741961)
        self.assertEqual(made.hex(), "010000005cf7c609a6bb79d16625507a")


class CheckTests(SynchronousTestCase):
    """What a cookie proves."""

    def setUp(self) -> None:
        """A cookie made at 1000000."""
        self.ours = Cookies(SECRET)
        self.option = CLIENT + self.ours.server_cookie(CLIENT, ADDRESS, 1_000_000)

    def test_ages(self) -> None:
        """Good from 5 minutes ahead to 30 minutes, renewed up to an hour; when asked again too."""
        for age, verdict in ((-301, "bad"), (-300, "good"), (0, "good"), (1800, "good"),
                             (1801, "renew"), (3600, "renew"), (3601, "bad")) * 2:
            self.assertEqual(self.ours.check(self.option, ADDRESS, 1_000_000 + age), verdict, age)

    def test_client_alone(self) -> None:
        """A client's part alone proves nothing, and is no fault."""
        self.assertEqual(self.ours.check(CLIENT, ADDRESS, 1_000_000), "none")

    def test_forged(self) -> None:
        """Another address, any changed byte, another length or version: bad."""
        check = self.ours.check
        self.assertEqual(check(self.option, ADDRESS, 1_000_000), "good")
        self.assertEqual(check(self.option, b"\1\2\3\4", 1_000_000), "bad")
        self.assertEqual(check(self.option, bytes(16), 1_000_000), "bad")
        for at in range(24):
            changed = bytearray(self.option)
            changed[at] ^= 1
            self.assertEqual(check(bytes(changed), ADDRESS, 1_000_000), "bad", at)
        for size in (16, 23):
            self.assertEqual(check(self.option[:size], ADDRESS, 1_000_000), "bad")
        self.assertEqual(check(self.option + b"x", ADDRESS, 1_000_000), "bad")

    def test_other_secret(self) -> None:
        """Without the secret it was made with, a cookie is bad."""
        other = Cookies(bytes(16))
        self.assertEqual(other.check(self.option, ADDRESS, 1_000_000), "bad")

    def test_wrap(self) -> None:
        """Seconds beyond 32 bits are serial numbers: 2106 passes like any year."""
        at = 2**32 - 10
        option = CLIENT + self.ours.server_cookie(CLIENT, ADDRESS, at)
        self.assertEqual(self.ours.check(option, ADDRESS, at + 60), "good")
        self.assertEqual(self.ours.check(option, ADDRESS, at + 3700), "bad")

    def test_remembered(self) -> None:
        """A repeated cookie is not hashed again, forged ones are not kept, and the table ends."""
        self.patch(cookies, "MOST_REMEMBERED", 3)
        hashed: list[bytes] = []

        def counted(key: bytes, data: bytes) -> int:
            hashed.append(data)
            return siphash24(key, data)

        self.patch(cookies, "siphash24", counted)
        ours = Cookies(SECRET)
        for _ in range(3):
            self.assertEqual(ours.check(self.option, ADDRESS, 1_000_000), "good")
        self.assertEqual(len(hashed), 1)
        for each in range(1, 9):
            forged = self.option[:-1] + bytes((self.option[-1] ^ each,))
            self.assertEqual(ours.check(forged, ADDRESS, 1_000_000), "bad")
            ours.check(self.option, ADDRESS, 1_000_000)
        self.assertEqual(len(hashed), 9, "the one that was right needed no further hash")
        for each in range(3):
            client = bytes(7) + bytes((each,))
            ours.check(client + ours.server_cookie(client, ADDRESS, 1_000_000), ADDRESS, 1_000_000)
        del hashed[:]
        self.assertEqual(ours.check(self.option, ADDRESS, 1_000_000), "good")
        self.assertEqual(len(hashed), 1, "the oldest had been forgotten")

    def test_secrets(self) -> None:
        """A secret of the wrong size is refused, and not shown."""
        with self.assertRaises(ValueError) as caught:
            Cookies(b"hunter2", bytes(16))
        self.assertNotIn("hunter2", str(caught.exception))
