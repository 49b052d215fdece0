"""
Clients that ask all the time: each request is a new connection, as one behind a resolver makes it.

A request whose connection is refused or ends without an answer is made again at once, and once, as
RFC 9110 9.2.2 lets a client do with a GET. One that is not answered within `PATIENCE` has failed.
"""

from __future__ import annotations

import socket
import threading
import time

from lab.internet import Internet
from lab.tally import Request

PATIENCE = 1.0
"""Seconds for a request, the second try included."""

RATE = 50
"""Requests a second of each client. They begin by the clock, whether others are answered or not: a
client that waits for an answer would count one failure where many users would have failed."""

GET = b"GET / HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n"


class Load:
    """Requests of `clients` to an address, while the context lasts."""

    def __init__(self, internet: Internet, address: str, clients: tuple[str, ...]) -> None:
        self._internet, self._address = internet, address
        self._over = threading.Event()
        self.requests: list[Request] = []
        self._threads = [threading.Thread(target=self._begin, args=(client,), daemon=True)
                         for client in clients]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(3 * PATIENCE)

    def _begin(self, client: str) -> None:
        """Begin requests by the clock, and wait for the last ones."""
        begun = time.monotonic()
        asking: list[threading.Thread] = []
        while not self._over.is_set():
            thread = threading.Thread(target=self._ask, args=(client,), daemon=True)
            thread.start()
            asking = [each for each in asking if each.is_alive()]
            asking.append(thread)
            begun += 1 / RATE
            self._over.wait(max(0.0, begun - time.monotonic()))
        for each in asking:
            each.join(2 * PATIENCE)

    def _ask(self, client: str) -> None:
        with self._internet.hosts.network(client):
            self.requests.append(self._request(time.time()))

    def _request(self, at: float) -> Request:
        for tries in (1, 2):
            left = at + PATIENCE - time.time()
            if left <= 0:
                break
            try:
                return Request(at, tries, self._answered(left))
            except TimeoutError:
                break
            except OSError:
                continue
        return Request(at, tries, False)

    def _answered(self, left: float) -> bool:
        """Whether it is 200. Raises OSError when the connection breaks before the first byte."""
        end = time.time() + left
        with socket.create_connection((self._address, 80), timeout=left) as connection:
            connection.sendall(GET)
            data = b""
            while b"hello from " not in data:
                connection.settimeout(max(0.001, end - time.time()))
                more = connection.recv(4096)
                if not more and not data:
                    raise ConnectionResetError
                if not more:
                    return False
                data += more
            return data.startswith(b"HTTP/1.1 200 ")
