"""
A certificate, its key and the names it is for, from PEM files. Knows files and X.509; no `ssl`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen
from cryptography import x509
from service_identity import CertificateError
from service_identity import cryptography as identity

from balancer.wire.regular import open_regular

#: A chain and a key take some 10 KB; a larger file is something else.
MAX_FILE = 1024 * 1024

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


class Broken(ValueError):
    """One unusable file; the text begins with its name."""

    def __init__(self, file: Path, text: str) -> None:
        super().__init__(f"{file}: {text}")


@frozen
class Pair:
    """
    A certificate with its key. `names` are as in the certificate, lower-case, an address as text;
    when they make no sense, `complaint` says so instead.
    """

    file: Path
    key: Path
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    begins: datetime
    expires: datetime
    complaint: str = ""


def read(file: Path, key: Path | None = None) -> Pair:
    """The pair in `file`, whose key may be in the file `key`. Raises `Broken`."""
    blocks = _blocks(file)
    chain = [whole for label, whole in blocks if label.endswith("CERTIFICATE")]
    if not chain:
        found = ", ".join(sorted({label for label, _ in blocks})) or "no PEM block at all"
        raise Broken(file, f"expected a certificate (BEGIN CERTIFICATE), got {found}")
    holder = file
    if not _has_key(file, blocks):
        if key is None or not _has_key(key, _blocks(key)):
            where = f"in {key}" if key else f"in the file or in {file.with_suffix('.key').name}"
            raise Broken(file, f"expected a private key {where}, got none; append it to the file")
        holder = key
    try:
        leaf = x509.load_pem_x509_certificate(chain[0])
        names, addresses = _names(leaf)
        complaint = ""
    except CertificateError as error:
        names = addresses = ()
        complaint = str(error)
    except ValueError as error:
        raise Broken(file, f"expected an X.509 certificate, got a damaged one: {error}") from None
    return Pair(file, holder, names + addresses, addresses, *_validity(leaf), complaint)


def _blocks(file: Path) -> list[tuple[str, bytes]]:
    """Label and whole text of each PEM block."""
    try:
        with open_regular(file) as pem:
            data = pem.read(MAX_FILE + 1)
    except OSError as error:
        text = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise Broken(file, f"{text}; check the path and who may read it") from None
    if len(data) > MAX_FILE:
        raise Broken(file, f"expected PEM of at most {MAX_FILE} bytes, got a larger file")
    return [(block[1].decode(), block[0]) for block in _BLOCK.finditer(data)]


def _has_key(file: Path, blocks: list[tuple[str, bytes]]) -> bool:
    for label, whole in blocks:
        if label.endswith("PRIVATE KEY"):
            if "ENCRYPTED" in label or b"Proc-Type: 4,ENCRYPTED" in whole:
                text = "expected a key without a passphrase, got an encrypted one"
                raise Broken(file, f"{text}; decrypt it with openssl pkey -in KEY -out PLAIN")
            return True
    return False


def _names(leaf: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Host names and addresses that the certificate is for, as service_identity reads them."""
    try:
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        # Before 23.1 service_identity would take the common name, which no client does any more.
        return (), ()
    # It was extract_ids until 23.1.
    extract = getattr(identity, "extract_patterns", None) or identity.extract_ids
    found = [pattern.pattern for pattern in extract(leaf) if hasattr(pattern, "pattern")]
    names = tuple(name.decode("ascii", "replace") for name in found if isinstance(name, bytes))
    return names, tuple(str(name) for name in found if not isinstance(name, bytes))


def _validity(leaf: x509.Certificate) -> tuple[datetime, datetime]:
    if hasattr(leaf, "not_valid_before_utc"):
        return leaf.not_valid_before_utc, leaf.not_valid_after_utc
    # cryptography before 42 gives UTC without saying so.
    return leaf.not_valid_before.replace(tzinfo=UTC), leaf.not_valid_after.replace(tzinfo=UTC)
