"""
Server cookies (RFC 7873) as all servers make them (RFC 9018, version 1).

Who returns a cookie of ours has got an answer at the address it asks from: it forges nothing. Knows
addresses as bytes and seconds since 1970. Must not know what is answered to whom.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from hmac import compare_digest
from typing import Final, Literal

from balancer.dns.siphash import siphash24

SECRET_SIZE: Final = 16
"""Bytes of a secret: SipHash's key (RFC 9018 4.4)."""

LIFETIME: Final = 3600
"""Seconds for which a cookie is good (RFC 9018 4.3)."""

FUTURE: Final = 300
"""Seconds that another server's clock may be ahead (RFC 9018 4.3)."""

RENEW_AFTER: Final = 1800
"""Seconds after which a client gets a new cookie before its own ends (RFC 9018 4.3)."""

MOST_REMEMBERED: Final = 16384
"""Cookies whose hash was found right, of 150 bytes each. More resolvers than that ask no zone often
enough for it to matter: a cookie that is forgotten is only hashed again."""

Verdict = Literal["none", "bad", "good", "renew"]

_SIZE: Final = 24
_CLIENT: Final = 8
_VERSION: Final = b"\x01\0\0\0"
_TIME: Final = struct.Struct("!I")
_HASH: Final = struct.Struct("<Q")


class Cookies:
    """
    Makes and checks cookies under a secret; those made under the `previous` one still count, and
    are replaced (RFC 9018 5).
    """

    __slots__ = ("_remembered", "_secrets", "made_of")

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        secrets = [secret] if previous is None else [secret, previous]
        if any(len(each) != SECRET_SIZE for each in secrets):
            sizes = " and ".join(str(len(each)) for each in secrets)
            msg = f"expected secrets of {SECRET_SIZE} bytes, got {sizes} bytes"
            raise ValueError(msg)
        self._secrets: Sequence[bytes] = secrets
        self.made_of = secret, previous
        # A cookie and its address -> the second it was made in, and which secret made it.
        self._remembered: OrderedDict[bytes, tuple[int, bool]] = OrderedDict()

    def server_cookie(self, client: bytes, address: bytes, now: int) -> bytes:
        """
        The 16 bytes that go behind a client's 8: for its address of 4 or 16 bytes, at `now`.
        """
        head = _VERSION + _TIME.pack(now & 0xFFFF_FFFF)
        return head + _hash(self._secrets[0], client + head + address)

    def check(self, option: bytes, address: bytes, now: int) -> Verdict:
        """
        What a cookie option proves, that came from `address` at `now`: `none` has no server part,
        `bad` is not one of ours or too old or of the future; `good` and `renew` prove the address,
        and `renew` is to be answered with a new one.
        """
        known = self._remembered.get(option + address)
        if known is None:
            if len(option) == _CLIENT:
                return "none"
            known = self._verify(option, address)
            if known is None:
                return "bad"
        made, current = known
        # Serial numbers (RFC 1982): 32 bits of seconds are at their end in 2106.
        age = (now - made + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
        if not -FUTURE <= age <= LIFETIME:
            return "bad"
        return "good" if current and age <= RENEW_AFTER else "renew"

    def _verify(self, option: bytes, address: bytes) -> tuple[int, bool] | None:
        if len(option) != _SIZE or option[_CLIENT] != 1:
            return None
        for secret in self._secrets:
            if compare_digest(_hash(secret, option[:16] + address), option[16:]):
                (made,) = _TIME.unpack_from(option, 12)
                known = (made, secret is self._secrets[0])
                self._remember(option + address, known)
                return known
        return None

    def _remember(self, key: bytes, known: tuple[int, bool]) -> None:
        # Good ones only: who makes cookies up pushes nobody's out.
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        self._remembered[key] = known


def _hash(secret: bytes, data: bytes) -> bytes:
    return _HASH.pack(siphash24(secret, data))
