"""
The verb `certificate`: a first self-signed one, so that TLS can be tried before an authority has
signed anything. It never takes the place of a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from balancer.setup.names import file_name
from balancer.setup.steps import CannotSetUp, Directory, Plan, Write
from balancer.wire.pem import Broken, read

DIRECTORY: Final = "/etc/balancer/tls"

SUBJECT: Final = "self-signed by balancer-setup"

SLACK: Final = timedelta(days=1)
"""How long before now it begins: other machines' clocks may be behind."""


def path_of(names: Sequence[str]) -> str:
    """Where the certificate for `names` lies."""
    return f"{DIRECTORY}/{file_name(names[0])}"


def plan(names: Sequence[str], days: int, group: str, now: datetime, is_made: bool) -> Plan:
    """A certificate for `names` that is good for `days` days from `now`, readable by `group`.
    `is_made` says whether its directory exists."""
    path = path_of(names)
    steps = () if is_made else (Directory(DIRECTORY, 0o750, group),)
    pem = make(names, days, now)
    then = (
        f"[http NAME] listen = ADDRESS:443 tls={DIRECTORY}, then lbctl reload",
        "clients do not trust it: put an authority's certificate in its place, then reload",
    )
    write = Write(path, pem, 0o640, group, is_secret=True, replaces=False)
    return Plan((*steps, write), (), then)


def kept(path: str, there: Path, names: Sequence[str]) -> Plan:
    """What is at `path` already (`there`, as this process sees it) stays. Raises `CannotSetUp` if
    it is not what was asked for."""
    advice = "move it away, or put another name first: the first one names the file"
    try:
        pair = read(there)
    except Broken as broken:
        text = str(broken).partition(": ")[2]
        raise CannotSetUp(f"{path}: {text}. It is never overwritten: move it away") from None
    missing = [each for each in names if each not in pair.names]
    if missing:
        got = f"one for {', '.join(pair.names) or 'no name'}"
        msg = f"{path}: expected a certificate for {', '.join(missing)}, got {got}; {advice}"
        raise CannotSetUp(msg)
    told = f"{path} is there, for {', '.join(pair.names)}, until {pair.expires:%Y-%m-%d}"
    return Plan((), (told,))


def make(names: Sequence[str], days: int, now: datetime) -> str:
    """Certificate and key in PEM. P-256, which every client takes and which signs fastest."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SUBJECT)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(usage, False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (certificate.public_bytes(Encoding.PEM) + pem).decode("ascii")


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
