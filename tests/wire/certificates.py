"""
Certificates for tests, made as they are needed.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@frozen
class Made:
    """A certificate and its key, as PEM."""

    chain: bytes
    key: bytes

    def save(self, path: Path) -> Path:
        """Both in one file."""
        path.write_bytes(self.chain + self.key)
        return path


class Authority:
    """Issues certificates; `pem` is its own."""

    def __init__(self, name: str = "tests' authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, self._name, self._key, NOW + 30 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.pem = _pem(builder.sign(self._key, hashes.SHA256()))

    def issue(self, *names: str, expires: datetime = NOW + 2 * DAY, password: bytes = b"") -> Made:
        """A certificate for `names`, addresses among them; none: without the extension."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name("server"), self._name, key, expires)
        if names:
            alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(alternatives, False)
        how: KeySerializationEncryption = NoEncryption()
        if password:
            how = BestAvailableEncryption(password)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
        return Made(_pem(builder.sign(self._key, hashes.SHA256())), key_pem)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, expires: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(NOW, expires) - 10 * DAY)
        .not_valid_after(expires)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
