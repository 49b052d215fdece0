"""
The loads over TLS 1.3: HTTPS requests with the heads of the plain ones, and handshakes.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.load import FIELDS, Result, paced_script, python, script, wrk
from tests.bench.peers import Peer


def https(peer: Peer, directory: Path, seconds: float) -> Result:
    """Small requests with realistic heads over kept-alive connections; one piece is a request."""
    return wrk(peer, peer.https, script(directory, "http", FIELDS), seconds, "https")


def https_paced(peer: Peer, directory: Path, seconds: float) -> Result:
    """The same requests at the same rate for every proxy; one piece is a request."""
    return wrk(peer, peer.https, paced_script(directory), seconds, "https")


def full(peer: Peer, directory: Path, seconds: float) -> Result:
    """Connections that shake hands and end; one piece is a handshake."""
    return _handshakes(peer, "full", seconds)


def resumed(peer: Peer, directory: Path, seconds: float) -> Result:
    """The same by clients that bring the ticket of their last handshake."""
    return _handshakes(peer, "resumed", seconds)


def _handshakes(peer: Peer, kind: str, seconds: float) -> Result:
    used, (done, failed) = python(peer, "handshakes", peer.https, seconds, kind, seconds=seconds)
    if not done:
        raise RuntimeError(f"{peer.name}: no handshake of {int(failed)} succeeded")
    return Result(used.per(done), done / seconds, int(failed))
