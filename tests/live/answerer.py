"""
A DNS server in a thread of the test runner, whose records change when the test says so.

It answers A and AAAA questions by UDP, and by TCP what is too long for 512 bytes; twisted.names
writes its messages.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from twisted.names import dns

from tests.live.harness import LOOPBACK, free_port

MAX_UDP = 512


class Answerer:
    """
    `records` has a TTL and addresses by name; names that are not there do not exist, and may be
    asked for again after `negative` seconds. While it is `silent` nobody gets an answer. `asked`
    counts questions. Use it in a `with`.
    """

    def __init__(self, **records: tuple[int, list[str]]) -> None:
        self.port = free_port()
        self.records = {name.replace("_", "."): found for name, found in records.items()}
        self.silent, self.negative, self.asked, self.streams = False, 1, 0, 0
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((LOOPBACK, self.port))
        self._listener = socket.create_server((LOOPBACK, self.port))
        self._threads = [threading.Thread(target=run, daemon=True)
                         for run in (self._serve_datagrams, self._serve_streams)]

    def _answer(self, data: bytes) -> bytes:
        message = dns.Message()
        message.fromStr(data)
        (query,) = message.queries
        message.answer, message.auth = True, True
        name = query.name.name.decode().lower()
        ttl, addresses = self.records.get(name, (0, []))
        if name not in self.records:
            message.rCode = dns.ENAME
            soa = dns.Record_SOA(b"ns.test", b"root.test", minimum=self.negative)
            message.authority = [dns.RRHeader(b"test", dns.SOA, dns.IN, self.negative, soa)]
        for address in addresses:
            record = dns.Record_AAAA(address) if ":" in address else dns.Record_A(address)
            if query.type == record.TYPE:
                header = dns.RRHeader(name.encode(), record.TYPE, dns.IN, ttl, record)
                message.answers.append(header)
        return bytes(message.toStr())

    def _serve_datagrams(self) -> None:
        with suppress(OSError):
            while self._datagrams.fileno() >= 0:
                data, peer = self._datagrams.recvfrom(4096)
                self.asked += 1
                if self.silent or not data:
                    continue
                answer = self._answer(data)
                if len(answer) > MAX_UDP:
                    answer = data[:2] + b"\x86\0\0\1" + bytes(6) + data[12:]
                self._datagrams.sendto(answer, peer)

    def _serve_streams(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(5)
                    length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
                    answer = self._answer(connection.recv(length, socket.MSG_WAITALL))
                    self.streams += 1
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)
                    connection.recv(1)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        for each in (self._datagrams, self._listener):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def some_addresses(count: int) -> list[str]:
    """So many addresses of 127.0.1.0/24 and what follows."""
    first = int(ipaddress.IPv4Address("127.0.1.0"))
    return [str(ipaddress.IPv4Address(first + number)) for number in range(count)]
