"""
Where peers do otherwise than the table of `cases`, and why that is no fault of the table.
"""

from __future__ import annotations

from collections.abc import Mapping

WRONG_COOKIES = ("cookie of 7 bytes", "cookie of 41 bytes", "cookie alone")
WRONG_SUBNETS = ("subnet with bits past its length", "subnet with a scope", "subnet of 33 bits",
                 "subnet too short")
UNREADABLE = ("a header alone", "two questions", "half a name", "half a type",
              "a pointer to itself", "a pointer ahead", "a label of type 01", "a label of type 10",
              "a name of 256 bytes")

_REASONS = (
    ("knot", UNREADABLE, "says nothing to what it cannot read"),
    ("knot", ("type0",), "NOTIMP is as good as what the table asks"),
    ("knot", ("chaos",), "answers version.bind"),
    ("knot", WRONG_COOKIES, "cookies are a module, which is off"),
    ("knot", WRONG_SUBNETS, "client subnets are off, so the option is one of the unknown"),
    ("knot", ("an OPT with a name",), "takes it as if its name were the root"),
    ("nsd", ("all bits",), "takes a query with TC and an rcode for malformed"),
    ("nsd", ("class NONE", "notify by a stranger"), "leaves the question out of errors"),
    ("nsd", ("opcode and bits",), "sends the bits back"),
    ("nsd", WRONG_COOKIES, "cookies are off, so the option is one of the unknown"),
    ("nsd", WRONG_SUBNETS, "knows no client subnets, so the option is one of the unknown"),
    ("gdnsd", ("chaos", "chaos in the zone"), "answers every question of class CH in one way"),
    ("gdnsd", ("AXFR by a stranger",), "has no AXFR at all"),
    ("gdnsd", ("an OPT with a name",), "takes it as if its name were the root"),
)

OTHERWISE: Mapping[tuple[str, str], str] = {
    (peer, case): why for peer, cases, why in _REASONS for case in cases}
"""The reason by the peer and the case."""
