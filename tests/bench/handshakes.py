"""
TLS handshakes: `python -m tests.bench.handshakes PORT SECONDS full|resumed`.

Connects, shakes hands (TLS 1.3), waits for the server's ticket, says goodbye and begins anew, in
several processes. A resumed handshake uses the ticket that the one before brought. Prints how many
were done, how many a second, and how many failed or were not of the kind asked for.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import ssl
import sys
import time
from contextlib import suppress

HOST = "127.0.0.1"
NAME = "www.example.test"
PROCESSES = 8
"""Each has one connection at a time: so many are under way."""

PATIENCE = 10.0
"""Seconds after which a handshake that does not go on has failed."""


def context() -> ssl.SSLContext:
    """A client that takes any certificate, and speaks TLS 1.3 only."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def connect(port: int, client: ssl.SSLContext, session: ssl.SSLSession | None = None,
            ) -> ssl.SSLSocket:
    """A connection whose handshake is done on our side."""
    plain = socket.socket()
    try:
        plain.settimeout(PATIENCE)
        plain.connect((HOST, port))
        return client.wrap_socket(plain, server_hostname=NAME, session=session)
    except BaseException:
        plain.close()
        raise


def await_ticket(secure: ssl.SSLSocket) -> None:
    """Take the server's first ticket. It is sent when our Finished has come: the end of its work"""
    if not select.select([secure], [], [], PATIENCE)[0]:
        raise TimeoutError("no ticket")
    secure.setblocking(False)
    with suppress(ssl.SSLWantReadError):
        if not secure.recv(1):
            raise ConnectionError("no ticket, but an end")
    secure.settimeout(PATIENCE)


def shake(port: int, client: ssl.SSLContext, session: ssl.SSLSession | None, keep: bool,
          ) -> ssl.SSLSession | None:
    """
    One handshake, and an orderly end; the session to resume later, when it is to be kept.

    OSError when it fails or does not resume `session`.
    """
    with connect(port, client, session) as secure:
        await_ticket(secure)
        if secure.session_reused != (session is not None):
            raise ConnectionError("not resumed")
        found = secure.session if keep else None  # a copy, and dear
        if found is not None and not found.has_ticket:
            raise ConnectionError("no ticket")
        with suppress(OSError):  # some servers just close
            secure.unwrap().close()
        return found


def work(port: int, seconds: float, resumed: bool) -> tuple[int, int]:
    """Handshakes one after the other for that long: how many were done, and how many failed."""
    client = context()
    done = failed = 0
    session = shake(port, client, None, resumed) if resumed else None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            session = shake(port, client, session, resumed)
            done += 1
        except OSError:
            failed += 1
    return done, failed


if __name__ == "__main__":
    where, how_long = int(sys.argv[1]), float(sys.argv[2])
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        each = pool.starmap(work, [(where, how_long, sys.argv[3] == "resumed")] * PROCESSES, 1)
    print(sum(done for done, _ in each), sum(failed for _, failed in each))
