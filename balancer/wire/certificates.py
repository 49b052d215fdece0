"""
The certificates of a listener: read from files, and chosen by the name that the client asks for.

Knows PEM, the names within certificates and `ssl`'s contexts; nothing of connections.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import field, frozen

from balancer.wire.pem import Broken, Pair, read
from balancer.wire.slices import at_once

__all__ = ["CIPHERS", "CannotLoad", "Certificates", "load", "loading"]

#: TLS 1.2's ciphers: forward secret and authenticated only (Mozilla's intermediate, without DHE).
#: Those of TLS 1.3 are OpenSSL's own.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: Tickets after a full TLS 1.3 handshake (RFC 8446 4.6.1 leaves it to the server; Go sends one,
#: OpenSSL by itself two). Each connection brings a new one, and each costs 5 % of a handshake.
TICKETS = 1


class CannotLoad(ValueError):
    """`problems` says of each unusable file what was expected, what came and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@frozen
class Certificates:
    """
    At least one certificate with its key.

    A name that a certificate states exactly comes before a wildcard of another one, and the file
    that sorts first before later ones. A client that asks for an unknown name gets the first file's
    certificate. One that names nothing (as clients of a bare address do, RFC 6066 3) counts as
    asking for the address that it has connected to.
    """

    pairs: tuple[Pair, ...]
    #: What the operator should know, though nothing is broken: expired, or never chosen.
    warnings: tuple[str, ...] = ()
    _exact: dict[str, int] = field(factory=dict, init=False, repr=False, eq=False)
    _wild: dict[str, int] = field(factory=dict, init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        for index, pair in enumerate(self.pairs):
            for name in pair.names:
                names = self._wild if name.startswith("*.") else self._exact
                names.setdefault(name.removeprefix("*."), index)

    @property
    def by_address(self) -> bool:
        """Whether any certificate is for an address."""
        return any(pair.addresses for pair in self.pairs)

    def choose(self, name: str) -> int:
        """The index in `pairs` for a server name (or a literal address), in any case; else 0."""
        name = name.lower().removesuffix(".")
        found = self._exact.get(name)
        if found is None:
            # A wildcard stands for one label (RFC 6125 6.4.3). An A-label is one, too: the other
            # choice is a certificate that cannot match at all.
            found = self._wild.get(name.partition(".")[2])
        return found or 0

    def explain(self, name: str) -> Path:
        """Which file a client gets that asks for `name` ('' for none): the wire's own choice."""
        return self.pairs[self.choose(name)].file

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """What `making` makes, at once."""
        return at_once(self.making(alpn))

    def making(self, alpn: Sequence[str] = ()) -> Generator[None, None, ssl.SSLContext]:
        """
        What a listener wraps its connections with, for TLS 1.2 and later; a slice each certificate.

        `alpn` names protocols, the preferred first. Raises `CannotLoad` when a file has changed
        for the worse. Session tickets are good for as long as the context is: a new one after
        each reload also renews their key, which OpenSSL never does by itself.
        """
        broken = []
        contexts = []
        for pair in self.pairs:
            yield
            try:
                contexts.append(_context_of(pair, alpn))
            except Broken as error:
                broken.append(str(error))
        if broken:
            raise CannotLoad(broken)
        # The outer one alone makes and takes tickets, whichever certificate a session began with.
        outer = contexts[0]
        outer.sslsocket_class = SteppingSocket
        if len(contexts) > 1:
            # It costs a hundredth of a handshake.
            outer.sni_callback = _chooser(self, contexts)
            _hush_undecodable_names()
        return outer


class SteppingSocket(ssl.SSLSocket):
    """A socket whose handshake is taken in steps, cheaply."""

    def settimeout(self, value: float | None) -> None:
        """As ever, but for free where it is so already: `ssl` sets after each step of a handshake
        what was set before, by a system call."""
        if value != self.gettimeout():
            super().settimeout(value)


def load(path: str | Path, now: datetime | None = None) -> Certificates:
    """What `loading` loads, at once."""
    return at_once(loading(path, now))


def loading(
    path: str | Path, now: datetime | None = None
) -> Generator[None, None, Certificates]:
    """
    The certificates at `path`: a PEM file, or a directory of them. One takes 2 ms, and is a slice.

    A file holds the chain, the server's own certificate first, and its key; or the key is in
    `NAME.key` beside it. A directory's files are `*.pem` and `*.crt`, in the order of their
    names; a directory as certbot makes it (`fullchain.pem` and `privkey.pem`) is one certificate.
    Raises `CannotLoad`. `now` is the time to judge expiry by.
    """
    pairs: list[Pair] = []
    broken: list[str] = []
    for certificate, key in _files(Path(path)):
        yield
        try:
            pair = read(certificate, key)
            _context_of(pair, ())
            pairs.append(pair)
        except Broken as error:
            broken.append(str(error))
    if not pairs and not broken:
        broken.append(f"{path}: expected *.pem or *.crt files in the directory, got none")
    if broken:
        raise CannotLoad(broken)
    return Certificates(tuple(pairs), tuple(_warnings(pairs, now or datetime.now(UTC))))


def _files(path: Path) -> Iterator[tuple[Path, Path | None]]:
    """Each file with certificates, and the file of its key if that is another one."""
    if not path.is_dir():
        yield path, _key_beside(path)
        return
    try:
        names = sorted(p for p in path.iterdir() if p.suffix in (".pem", ".crt"))
    except OSError as error:
        raise CannotLoad([f"{path}: {error.strerror}"]) from None
    whole, key = path / "fullchain.pem", path / "privkey.pem"
    certbot = (key, path / "cert.pem", path / "chain.pem") if {whole, key} <= set(names) else ()
    for name in names:
        if name == whole and certbot:
            yield whole, key
        elif name not in certbot and not name.name.startswith("."):
            yield name, _key_beside(name)


def _key_beside(path: Path) -> Path | None:
    key = path.with_suffix(".key")
    return key if key != path and key.exists() else None


def _context_of(pair: Pair, alpn: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Set by Python 3.11.2: an end without close_notify would be as good as one with it.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_ciphers(CIPHERS)
    context.num_tickets = TICKETS
    try:
        # A password, so that OpenSSL never asks for one on the terminal.
        context.load_cert_chain(pair.file, pair.key, password="")
    except OSError as error:
        raise Broken(pair.file, _explained(error, pair)) from None
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _explained(error: OSError, pair: Pair) -> str:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return (
            f"expected the key of its first certificate, got another one in {pair.key}; put the"
            " server's own certificate first, or give the key that it was made with"
        )
    return f"OpenSSL refuses it: {str(reason).lower().replace('_', ' ')}"


def _warnings(pairs: Sequence[Pair], now: datetime) -> Iterator[str]:
    taken: dict[str, Path] = {}
    for pair in pairs:
        if pair.expires <= now:
            yield f"{pair.file}: expired on {pair.expires:%Y-%m-%d}: clients refuse it; renew it"
        elif pair.begins > now:
            yield f"{pair.file}: begins on {pair.begins:%Y-%m-%d}: clients refuse it until then"
        if not pair.names:
            why = pair.complaint or "it names no server (subjectAltName)"
            yield f"{pair.file}: chosen only as the first file: {why}"
        for name in pair.names:
            first = taken.setdefault(name, pair.file)
            if first != pair.file:
                yield f"{pair.file}: not used for {name}, which {first} is for as well"


def _chooser(certificates: Certificates, contexts: Sequence[ssl.SSLContext]) -> Any:
    """What OpenSSL asks in each handshake; an exception in it would go to stderr."""
    by_address = certificates.by_address

    def chosen(sock: ssl.SSLSocket, name: str | None, outer: ssl.SSLContext) -> None:
        if name is None and by_address:
            name = _local_address(sock)
        index = certificates.choose(name) if name else 0
        if index:
            sock.context = contexts[index]

    return chosen


def _local_address(sock: ssl.SSLSocket) -> str | None:
    try:
        address = sock.getsockname()
    except OSError:
        return None
    return address[0].partition("%")[0] if isinstance(address, tuple) else None


def _hush_undecodable_names() -> None:
    """
    Keep `ssl` from printing a traceback whenever a client asks for a name that is not ASCII.

    It decodes the name before it calls us, and tells `sys.unraisablehook`; the handshake fails.
    """
    others = sys.unraisablehook
    if getattr(others, "hushes_names", False):
        return

    def hook(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(
            unraisable.object, bytes
        ):
            return
        others(unraisable)

    hook.hushes_names = True  # type: ignore[attr-defined]  # tells ours from another hook
    sys.unraisablehook = hook
