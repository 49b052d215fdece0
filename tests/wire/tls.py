"""
Both sides of TLS for tests: a listener's handshakes over socket pairs, and a client in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import select
import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.address import literal
from balancer.wire.certificates import load
from balancer.wire.handshakes import Handshakes
from balancer.wire.listener import Listener
from balancer.wire.tls import TlsStream
from tests.wire.certificates import Authority
from tests.wire.reactors import Recorder, StillReactor, drain, tcp_pair, unix_pair

AUTHORITY = Authority()


class Client:
    """A TLS client whose bytes travel when the test says so."""

    def __init__(self, sock: socket.socket, name: str | None = "a.test", **options: Any) -> None:
        self.socket = sock
        sock.setblocking(False)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.load_verify_locations(cadata=AUTHORITY.pem.decode())
        session = options.pop("session", None)
        alpn = options.pop("alpn", None)
        if alpn:
            self.context.set_alpn_protocols(alpn)
        for option, value in options.items():
            setattr(self.context, option, value)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        wrap = (session[0] if session else self.context).wrap_bio
        self.tls = wrap(
            self.incoming,
            self.outgoing,
            server_hostname=name,
            session=session[1] if session else None,
        )
        self.established = False

    def step(self) -> None:
        """The handshake, as far as it goes with what has come."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            self.established = True

    def flush(self) -> None:
        """Send what is to be sent, as far as the socket takes it."""
        while data := self.outgoing.read(4096):
            self.socket.setblocking(True)
            self.socket.sendall(data)
            self.socket.setblocking(False)

    def feed(self) -> None:
        """Take in what has come; an end stays one."""
        self.incoming.write(drain(self.socket))

    def read(self) -> bytes:
        """All that can be deciphered; raises at close_notify (SSLZeroReturnError)."""
        parts = []
        with suppress(ssl.SSLWantReadError):
            while part := self.tls.read(1 << 16):
                parts.append(part)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        self.tls.write(data)
        self.flush()

    def close_notify(self) -> None:
        """Send our end."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()

    def said_goodbye(self) -> bool:
        """Whether close_notify has come."""
        try:
            return self.tls.read(1) == b""
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLWantReadError:
            return False


class Case(SynchronousTestCase):
    """A TLS listener that is given one end of each pair."""

    protocol_type: type[Recorder] = Recorder
    tcp = False
    options: dict[str, Any] = {}  # noqa: RUF012  # overridden as a whole
    alpn: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.reactor = StillReactor()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.certify()
        self.certificates = load(self.directory)
        unbound = socket.socket()
        self.listener = Listener(self.reactor, unbound, literal("127.0.0.1", 1))
        self.addCleanup(self.listener.stop)
        self.failed: list[tuple[Any, str]] = []
        self.handshakes = Handshakes(
            self.listener,
            self.certificates.context(self.alpn),
            lambda protocol, reason: self.failed.append((protocol, reason)),
            **self.options,
        )
        self.addCleanup(self.handshakes.stop)

    def certify(self) -> None:
        """Fill the directory."""
        AUTHORITY.issue("a.test").save(self.directory / "a.pem")

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Our end and theirs."""
        ours, theirs = tcp_pair() if self.tcp else unix_pair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours, theirs

    def serve(self) -> tuple[Recorder, socket.socket]:
        """A connection is accepted: its protocol, and the client's socket."""
        ours, theirs = self.pair()
        protocol = self.protocol_type()
        self.handshakes.serve(ours, ours.getpeername(), protocol)
        return protocol, theirs

    def shake(self, client: Client) -> None:
        """Both sides go on until the client's handshake is over."""
        for _ in range(20):
            client.step()
            client.flush()
            self.turn(2)
            client.feed()
            if client.established and not self.handshakes.in_progress:
                # Tickets.
                client.read()
                return
        raise AssertionError("the handshake does not end")

    def connect(self, name: str | None = "a.test", **options: Any) -> tuple[Recorder, Client]:
        """A connection whose handshake is done."""
        protocol, theirs = self.serve()
        client = Client(theirs, name, **options)
        self.shake(client)
        return protocol, client

    def turn(self, times: int = 1) -> None:
        """Let the reactor turn."""
        self.reactor.turn(times)

    def stream(self, protocol: Recorder) -> TlsStream:
        """The protocol's transport."""
        stream = protocol.transport
        assert isinstance(stream, TlsStream)
        return stream

    def receive(self, client: Client, size: int) -> bytes:
        """Read `size` bytes at the client, giving the reactor its turns."""
        data = b""
        patience = 1000
        while len(data) < size and patience:
            self.turn()
            if select.select([client.socket], [], [], 0.001)[0]:
                client.feed()
                data += client.read()
            else:
                patience -= 1
        return data


def stuff(sock: socket.socket) -> int:
    """Fill the kernel's buffer past TLS, so that a record does not fit; returns with how much."""
    count = 0
    for size in (1 << 16, 1):
        with suppress(BlockingIOError):
            while True:
                count += socket.socket.send(sock, b"." * size)
    return count


def unstuff(sock: socket.socket, count: int) -> None:
    """Take what `stuff` sent out of the other end."""
    while count:
        count -= len(sock.recv(count))


class Forger:
    """
    Writes a client's TLS 1.3 records by hand (RFC 8446 5.2), from its key log: for messages that
    `ssl` cannot send. The client must not have written anything under these keys.
    """

    def __init__(self, keylog: Path) -> None:
        words = [line.split() for line in keylog.read_text().splitlines()]
        [secret] = [w[2] for w in words if w and w[0] == "CLIENT_TRAFFIC_SECRET_0"]
        self._secret = bytes.fromhex(secret)
        self._rekey()

    def _expand(self, label: bytes, size: int) -> bytes:
        full = b"tls13 " + label
        info = struct.pack("!HB", size, len(full)) + full + b"\0"
        return hmac.new(self._secret, info + b"\1", hashlib.sha384).digest()[:size]

    def _rekey(self) -> None:
        self._aead = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12))
        self._count = 0

    def record(self, kind: int, content: bytes) -> bytes:
        """One record; `kind` 22 is the handshake's, 23 data."""
        inner = content + bytes([kind])
        head = b"\x17\x03\x03" + struct.pack("!H", len(inner) + 16)
        nonce = (self._iv ^ self._count).to_bytes(12)
        self._count += 1
        return head + self._aead.encrypt(nonce, inner, head)

    def update_key(self) -> None:
        """After a KeyUpdate was sent (RFC 8446 7.2)."""
        self._secret = self._expand(b"traffic upd", 48)
        self._rekey()
