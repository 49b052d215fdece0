"""
Which local address a datagram came to, and how an answer leaves from it (ip(7), ipv6(7)). Pure.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Final

# Python names some of them late or never: linux/in.h, linux/in6.h.
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
# struct in_pktinfo: device, local address, address in the header; in6_pktinfo: address, device.
_V4 = struct.Struct("@i4s4s")
_V6 = struct.Struct("@16si")

#: Room for the control message of either family.
ANCILLARY_SIZE = socket.CMSG_SPACE(_V4.size) + socket.CMSG_SPACE(_V6.size)

#: Bytes of what `local_of` gives, by the family.
LOCAL_SIZE: Final[Mapping[int, int]] = {socket.AF_INET: _V4.size, socket.AF_INET6: _V6.size}

#: Where the numbers of 4 bytes are that it clears, if the address is not link-local.
CLEARED: Final[Mapping[int, tuple[int, ...]]] = {socket.AF_INET: (0, 8), socket.AF_INET6: (16,)}

ControlMessage = tuple[int, int, bytes]


def ask_for(family: int) -> tuple[int, int, int]:
    """The socket option (level, name, value) that has the kernel tell the local address."""
    if family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1
    return socket.IPPROTO_IP, _IP_PKTINFO, 1


def local_of(ancillary: Iterable[ControlMessage]) -> bytes | None:
    """A token of the local address that the control messages tell, None if they do not."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= _V4.size:
            _device, local, _header = _V4.unpack_from(data)
            # Device 0: the routing table decides, as it does for every other answer.
            return _V4.pack(0, local, bytes(4))
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO and len(data) >= _V6.size:
            local, device = _V6.unpack_from(data)
            # A link-local address means nothing without its device (RFC 4007).
            link_local = local[0] == 0xFE and local[1] & 0xC0 == 0x80
            return _V6.pack(local, device if link_local else 0)
    return None


def reply_from(family: int, local: bytes) -> ControlMessage:
    """The control message that makes an answer leave from `local`."""
    if family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, _IPV6_PKTINFO, local
    return socket.IPPROTO_IP, _IP_PKTINFO, local
