"""
Small servers in threads of the test runner, for a balancer outside to send its work to.

They know nothing of the balancer. HTTP answers bear the origin's name and never close by
themselves; `delay` holds an answer back, so that a request can be in flight for as long as a test
wants.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.live.harness import LOOPBACK


class _Server(ThreadingHTTPServer):
    """A client that resets its connection, or does not like our certificate, is no news."""

    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # typeshed: socket


class HttpOrigin:
    """
    An HTTP/1.1 server on a free port that answers every request with `NAME METHOD TARGET`.

    `seen` holds each request as (method, target, fields); `delay` is in seconds; `status` is what
    it answers. Use it in a `with`.
    """

    def __init__(self, name: str, delay: float = 0.0, status: int = 200, port: int = 0,
                 host: str = LOOPBACK, tls: ssl.SSLContext | None = None) -> None:
        self.name, self.delay, self.status = name, delay, status
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._server = _Server((host, port), self._asked())
        if tls is not None:
            # The handshake is for the connection's own thread.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]

    def _asked(self) -> type[BaseHTTPRequestHandler]:
        """What http.server wants: a class, here with its origin at hand."""
        origin = self

        class Asked(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fields = {name.lower(): value for name, value in self.headers.items()}
                origin.seen.append((self.command, self.path, fields))
                time.sleep(origin.delay)
                body = f"{origin.name} {self.command} {self.path}\n".encode()
                self.send_response(origin.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the tests read `seen`."""

        return Asked

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class EchoOrigin:
    """Sends back what comes, over TCP until the client's end, and datagram by datagram over UDP."""

    def __init__(self, name: str = "") -> None:
        self.prefix = name.encode()
        self._tcp = socket.create_server((LOOPBACK, 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((LOOPBACK, self.port))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return  # closed by __exit__
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(self.prefix)
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                return  # the peer reset it

    def _datagrams(self) -> None:
        while True:
            try:
                data, peer = self._udp.recvfrom(65536)
                if peer is None:
                    return  # shut down by __exit__
                self._udp.sendto(self.prefix + data, peer)
            except OSError:
                return

    def __enter__(self) -> Self:
        for serve in (self._accept, self._datagrams):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for one in (self._tcp, self._udp):
            with suppress(OSError):  # not connected: it was woken all the same
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept or recvfrom
            one.close()


class RawOrigin:
    """
    A TCP server on a free port that does `behave(connection)` with each connection, in a thread of
    its own, and closes it afterwards. `connections` counts them; those still open end with it.
    """

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self._behave = behave
        self._listening = socket.create_server((LOOPBACK, 0), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self.connections = 0

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return  # closed by __exit__
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._behave(connection)
            except OSError:
                pass  # the peer reset it
            finally:
                self._open.discard(connection)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits
        self._listening.close()


def head_of(connection: socket.socket) -> bytes:
    """Read the head of a request; what came of it, and after it, when the peer ended early."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


def one_by_one(connection: socket.socket, data: bytes, pause: float = 1.0) -> None:
    """Send `data` a byte at a time."""
    for byte in data:
        time.sleep(pause)
        connection.sendall(bytes((byte,)))


def child(name: str, port: int) -> list[str]:
    """The command of an HttpOrigin in a process of its own, so that it can be killed or stopped."""
    return [sys.executable, "-m", "tests.live.origins", name, str(port)]


def main(name: str, port: str) -> None:
    """Serve until somebody ends the process."""
    with HttpOrigin(name, port=int(port)):
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
