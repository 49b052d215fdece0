"""
The numbers of DNS by their names, as IANA's registry of DNS parameters has them.

Knows numbers and mnemonics; what a type's data look like is in `rdata`.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

# Types: RFC 1035 3.2.2, and where else one says.
A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
HINFO: Final = 13
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28  # RFC 3596
SRV: Final = 33  # RFC 2782
DNAME: Final = 39  # RFC 6672
OPT: Final = 41  # RFC 6891
DS: Final = 43  # RFC 4034
SVCB: Final = 64  # RFC 9460
HTTPS: Final = 65  # RFC 9460
TSIG: Final = 250  # RFC 8945
IXFR: Final = 251  # RFC 1995
AXFR: Final = 252  # RFC 5936
ANY: Final = 255
CAA: Final = 257  # RFC 8659

# Classes: RFC 1035 3.2.4.
IN: Final = 1
CH: Final = 3
CLASS_NONE: Final = 254  # RFC 2136
CLASS_ANY: Final = 255

# Opcodes.
QUERY: Final = 0
NOTIFY: Final = 4  # RFC 1996

# Response codes: RFC 1035 4.1.1; from 16 on they need EDNS or TSIG.
NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
YXDOMAIN: Final = 6  # RFC 2136, 6672 2.2
NOTAUTH: Final = 9  # RFC 8945
BADVERS: Final = 16  # RFC 6891 6.1.3
BADSIG: Final = 16  # RFC 8945: the same number, in a TSIG record
BADKEY: Final = 17  # RFC 8945
BADTIME: Final = 18  # RFC 8945
BADTRUNC: Final = 22  # RFC 8945
BADCOOKIE: Final = 23  # RFC 7873

# Bits of the header's second word (RFC 1035 4.1.1, RFC 4035 3.1.6).
QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
CD: Final = 0x0010
OPCODE_MASK: Final = 0x7800

# EDNS options (RFC 6891's registry).
OPTION_NSID: Final = 3  # RFC 5001
OPTION_SUBNET: Final = 8  # RFC 7871
OPTION_COOKIE: Final = 10  # RFC 7873
OPTION_KEEPALIVE: Final = 11  # RFC 7828
OPTION_PADDING: Final = 12  # RFC 7830
OPTION_ERROR: Final = 15  # RFC 8914

# Extended errors (RFC 8914 5.2).
STALE_ANSWER: Final = 3
NOT_READY: Final = 14
NOT_AUTHORITATIVE: Final = 20
NO_REACHABLE_AUTHORITY: Final = 22
NETWORK_ERROR: Final = 23

TYPES: Final = MappingProxyType(
    {
        "A": A, "NS": NS, "CNAME": CNAME, "SOA": SOA, "PTR": PTR, "HINFO": HINFO, "MX": MX,
        "TXT": TXT, "AAAA": AAAA, "SRV": SRV, "DNAME": DNAME, "DS": DS, "SVCB": SVCB,
        "HTTPS": HTTPS, "IXFR": IXFR, "AXFR": AXFR, "ANY": ANY, "CAA": CAA,
    }
)  # fmt: skip
"""Types by mnemonic. All others are written TYPEnnn (RFC 3597 5)."""

MNEMONICS: Final = MappingProxyType({number: word for word, number in TYPES.items()})

RCODES: Final = MappingProxyType(
    {
        NOERROR: "NOERROR", FORMERR: "FORMERR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN",
        NOTIMP: "NOTIMP", REFUSED: "REFUSED", YXDOMAIN: "YXDOMAIN", NOTAUTH: "NOTAUTH",
        BADVERS: "BADVERS", BADCOOKIE: "BADCOOKIE",
    }
)  # fmt: skip

_TYPE = re.compile(r"TYPE([0-9]{1,5})", re.IGNORECASE)


def type_text(number: int) -> str:
    """`A`, or `TYPE731` for a type without a mnemonic here."""
    return MNEMONICS.get(number) or f"TYPE{number}"


def type_number(text: str) -> int | None:
    """The number of a type, in any case; None if `text` names none."""
    number = TYPES.get(text.upper())
    if number is not None:
        return number
    match = _TYPE.fullmatch(text)
    return int(match[1]) if match is not None and int(match[1]) <= 0xFFFF else None
