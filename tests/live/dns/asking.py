"""
Ask a name server and take what comes back, as bytes. Bounded in time; of DNS it knows the length
in front of messages over TCP.
"""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

from tests.live.harness import LOOPBACK

WITHIN = 3.0
"""Seconds until an answer must be there."""


class Asker:
    """A UDP socket and a TCP connection to one port, which stay open."""

    def __init__(self, port: int, host: str = LOOPBACK, source: str = "") -> None:
        self._address = (host, port)
        self._source = source
        self._tcp: socket.socket | None = None
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.settimeout(WITHIN)
        if source:
            self._udp.bind((source, 0))
        self._udp.connect(self._address)

    def udp(self, query: bytes, within: float = WITHIN) -> bytes | None:
        """The answer to a datagram; None if none comes. Answers with another id are passed over."""
        self._udp.settimeout(within)
        self._udp.send(query)
        while True:
            try:
                answer = self._udp.recv(65536)
            except (TimeoutError, ConnectionError):
                return None
            if answer[:2] == query[:2]:
                return answer

    def tcp(self, query: bytes, within: float = WITHIN) -> bytes | None:
        """The answer over the connection, opened anew when it was closed; None if none comes."""
        for _ in range(2):
            fresh = self._tcp is None
            try:
                answer = self._exchange(query, within)
            except OSError:
                answer = None
            if answer is not None:
                return answer
            self._hang_up()
            if fresh:
                return None
        return None

    def _exchange(self, query: bytes, within: float) -> bytes | None:
        if self._tcp is None:
            source = (self._source, 0) if self._source else None
            self._tcp = socket.create_connection(self._address, within, source)
        self._tcp.settimeout(within)
        self._tcp.sendall(struct.pack("!H", len(query)) + query)
        head = self._take(2)
        return None if head is None else self._take(struct.unpack("!H", head)[0])

    def _take(self, count: int) -> bytes | None:
        """Exactly that many bytes; None at the end of the connection."""
        assert self._tcp is not None
        taken = bytearray()
        while len(taken) < count:
            more = self._tcp.recv(count - len(taken))
            if not more:
                return None
            taken += more
        return bytes(taken)

    def _hang_up(self) -> None:
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._hang_up()
        self._udp.close()
