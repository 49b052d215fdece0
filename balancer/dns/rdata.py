"""
Record data (RDATA) by type: the tokens of a master file <-> uncompressed wire bytes.

One declaration a type, in one table. A type without one is written as RFC 3597 5 has it,
`\\# LENGTH HEX`, which is taken for every type. Whatever cannot be read raises `BadData` or
`names.BadName`: ValueErrors whose text completes "expected ...". Knows neither zones nor messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from balancer.dns import codes, fields, names, svcparams
from balancer.dns.fields import BadData, Field

MAX_DATA: Final = 0xFFFF
"""Bytes of one record's data: its length is two bytes (RFC 1035 3.2.1)."""

OPAQUE: Final = "\\#"
"""What stands before data in hexadecimal (RFC 3597 5)."""

# RFC 4034 A.1 and IANA's registry.
_ALGORITHMS: Final = MappingProxyType(
    {
        "RSAMD5": 1, "DH": 2, "DSA": 3, "RSASHA1": 5, "DSA-NSEC3-SHA1": 6,
        "RSASHA1-NSEC3-SHA1": 7, "RSASHA256": 8, "RSASHA512": 10, "ECC-GOST": 12,
        "ECDSAP256SHA256": 13, "ECDSAP384SHA384": 14, "ED25519": 15, "ED448": 16,
    }
)  # fmt: skip

# Bytes of a digest by its type (RFC 4034 5.1.4, 4509, 6605).
_DIGESTS: Final = MappingProxyType({1: 20, 2: 32, 4: 48})


def _algorithm(text: str) -> int:
    number = _ALGORITHMS.get(text.upper())
    return fields.U8.parse([text], b"")[0] if number is None else number


_PARAMS: Final = Field(svcparams.parse, svcparams.show, rest=True)
_SERVICE: Final = (fields.U16, fields.NAME, _PARAMS)

_FORMS: Final = MappingProxyType(
    {
        codes.A: (fields.ADDRESS4,),
        codes.AAAA: (fields.ADDRESS6,),
        codes.NS: (fields.NAME,),
        codes.CNAME: (fields.NAME,),
        codes.PTR: (fields.NAME,),
        codes.DNAME: (fields.NAME,),
        codes.SOA: (fields.NAME, fields.NAME, fields.U32, *[fields.PERIOD] * 4),
        codes.MX: (fields.U16, fields.NAME),
        codes.TXT: (fields.STRINGS,),
        codes.HINFO: (fields.STRING, fields.STRING),
        codes.SRV: (fields.U16, fields.U16, fields.U16, fields.NAME),
        codes.CAA: (fields.U8, fields.TAG, fields.VALUE),
        codes.DS: (fields.U16, fields.number(8, _algorithm), fields.U8, fields.HEX),
        codes.SVCB: _SERVICE,
        codes.HTTPS: _SERVICE,
    }
)
"""The fields of each type's data, in order."""

_WORDS: Final = MappingProxyType(
    {
        codes.A: "ADDRESS",
        codes.AAAA: "ADDRESS",
        codes.NS: "NAME",
        codes.CNAME: "NAME",
        codes.PTR: "NAME",
        codes.DNAME: "NAME",
        codes.SOA: "MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM",
        codes.MX: "PREFERENCE NAME",
        codes.TXT: "STRING...",
        codes.HINFO: "CPU OS",
        codes.SRV: "PRIORITY WEIGHT PORT NAME",
        codes.CAA: "FLAGS TAG VALUE",
        codes.DS: "KEY-TAG ALGORITHM DIGEST-TYPE DIGEST",
        codes.SVCB: "PRIORITY NAME [KEY[=VALUE]...]",
        codes.HTTPS: "PRIORITY NAME [KEY[=VALUE]...]",
    }
)
"""What each type's data look like, for whoever wrote something else."""

# Where the name begins whose addresses go into the additional section.
_TARGETS: Final = MappingProxyType(
    {codes.NS: 0, codes.MX: 2, codes.SRV: 6, codes.SVCB: 2, codes.HTTPS: 2}
)


def from_tokens(type: int, tokens: Sequence[str], origin: bytes) -> bytes:
    """The data that the tokens write, without their quotes but with their escapes."""
    if tokens and tokens[0] == OPAQUE:
        data = _opaque(tokens)
        if type in _FORMS:
            to_text(type, data)
    elif (form := _FORMS.get(type)) is None:
        raise BadData(f"'{OPAQUE} LENGTH HEX' as the data of {codes.type_text(type)}")
    elif len(form) == 1 and len(tokens) == 1:
        data = form[0].parse(tokens, origin)
    else:
        data = _read(type, form, tokens, origin)
    if len(data) > MAX_DATA:
        raise BadData(f"at most {MAX_DATA} bytes of data in one record")
    return data


def _opaque(tokens: Sequence[str]) -> bytes:
    """RFC 3597 5: the length, then pairs of digits with or without space between."""
    if len(tokens) < 2 or not tokens[1].isascii() or not tokens[1].isdigit():
        raise BadData(f"'{OPAQUE} LENGTH HEX'")
    data = fields.from_hex("".join(tokens[2:])) if tokens[2:] else b""
    if tokens[1].lstrip("0") != str(len(data)).lstrip("0"):
        raise BadData(f"as many bytes as '{OPAQUE} LENGTH' says")
    return data


def _read(type: int, form: tuple[Field, ...], tokens: Sequence[str], origin: bytes) -> bytes:
    rest = form[-1].rest
    fixed = len(form) - rest
    # TXT and DS need one token at least; the parameters of a service may be none.
    least = fixed + (rest and form[-1] is not _PARAMS)
    if len(tokens) < least or (len(tokens) > fixed and not rest):
        raise BadData(f"'{_WORDS[type]}' as the data of {codes.type_text(type)}")
    data = b"".join(
        field.parse(tokens[at : at + 1], origin)
        for at, field in zip(range(fixed), form, strict=False)
    )
    if rest:
        data += form[-1].parse(tokens[fixed:], origin)
    _check(type, data)
    return data


def _check(type: int, data: bytes) -> None:
    """What concerns several fields of one record."""
    if type == codes.DS:
        length = _DIGESTS.get(data[3])
        if length is not None and len(data) != 4 + length:
            raise BadData(f"a digest of {length} bytes for digest type {data[3]}")
    elif type in (codes.SVCB, codes.HTTPS):
        alias = data[:2] == b"\0\0"
        # RFC 9460 2.4.2: readers ignore them, so whoever writes them errs.
        if alias and len(data) > 2 + len(fields.wire_name(data, 2)):
            raise BadData("no parameters where the priority is 0 (AliasMode)")


def to_text(type: int, rdata: bytes) -> str:
    """The data as a master file writes it. Raises `BadData` if they are none of that type."""
    form = _FORMS.get(type)
    if form is None:
        return f"{OPAQUE} {len(rdata)} {rdata.hex().upper()}".rstrip()
    tokens, at = [], 0
    for field in form:
        found, at = field.show(rdata, at)
        tokens += found
    if at != len(rdata):
        raise BadData(f"the data of {codes.type_text(type)} to end after {at} bytes")
    _check(type, rdata)
    return " ".join(tokens)


def target(type: int, rdata: bytes) -> bytes | None:
    """
    The name whose addresses belong into the additional section, None if there is none.

    The root is 'nobody' for MX and SRV (RFC 7505, 2782) and for AliasMode, and then None; for
    ServiceMode it is returned and stands for the record's owner (RFC 9460 2.5).
    """
    at = _TARGETS.get(type)
    if at is None:
        return None
    name = rdata[at:]
    if type in (codes.SVCB, codes.HTTPS):
        name = fields.wire_name(rdata, at)
        return None if name == names.ROOT and rdata[:2] == b"\0\0" else name
    return None if name == names.ROOT else name
