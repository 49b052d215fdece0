"""
One look-up: which name is asked of which server next, until there are addresses. Pure.

A generator: it yields what is to be asked, is sent what came of it, and returns the end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Sequence
from typing import Final, TypeAlias

from attrs import frozen

from balancer.resolve.conf import Conf
from balancer.resolve.message import AAAA, NOERROR, NXDOMAIN, A, Answer, Question, follow, wire_name

MAX_ADDRESSES: Final = 128
"""Addresses of one name that are looked at, as `message.MAX_RECORDS`."""

UNKNOWN: Final = "no such name"
NO_ADDRESS: Final = "the name has no address"


@frozen
class Ask:
    """Ask the server at that place both questions, and wait as long as is said for both."""

    server: tuple[str, int]
    questions: tuple[Question, Question]
    timeout: float


@frozen
class Found:
    """Addresses, IPv6 or IPv4, in the order of the answers, and for how long they hold."""

    addresses: tuple[str, ...]
    ttl: float


@frozen
class Nothing:
    """There is no address, because of `reason`; `ttl` if it is known for how long."""

    reason: str
    ttl: float | None = None


Reply: TypeAlias = Answer | str
"""What came of a question: an answer, or why there is none."""

LookUp: TypeAlias = Generator[Ask, Sequence[Reply], Found | Nothing]


def looking_up(name: str, conf: Conf) -> LookUp:
    """
    Look `name` up as `conf` says. The servers are asked in turn until one knows whether there are
    addresses; a name that does not exist leads on to the next that `name` may stand for.
    """
    nothing = Nothing(UNKNOWN)
    for candidate in conf.candidates(name):
        try:
            wire = wire_name(candidate)
        except ValueError:
            continue  # too long behind this domain
        found = yield from _asking(wire, conf)
        if isinstance(found, Found) or found.ttl is None:
            return found
        nothing = found
    return nothing


def _asking(wire: bytes, conf: Conf) -> LookUp:
    """Ask for one name. `Nothing` without a TTL: nobody knew."""
    questions = (Question(wire, AAAA), Question(wire, A))
    half: Found | None = None
    reason = "no DNS server"
    for _ in range(conf.attempts):
        for server in conf.servers:
            replies = yield Ask(server, questions, conf.timeout)
            told = [each for each in replies if isinstance(each, Answer) and _knows(each)]
            found = _addresses(told, questions)
            if len(told) == len(questions):
                return found or _negative(told)
            # Half of an answer would have the name move from one family to the other by a lost
            # datagram; but some servers never answer for AAAA, so it counts the second time.
            if found is not None and half is not None:
                return found
            half = found or half
            reason = next(f"{server[0]}: {_told(each)}" for each in replies if each not in told)
    return half or Nothing(reason)


def _knows(answer: Answer) -> bool:
    return answer.rcode in (NOERROR, NXDOMAIN) and not answer.truncated


def _told(reply: Reply) -> str:
    if isinstance(reply, str):
        return reply
    return {2: "SERVFAIL", 5: "REFUSED"}.get(reply.rcode, f"rcode {reply.rcode}")


def _addresses(told: Sequence[Answer], questions: Sequence[Question]) -> Found | None:
    addresses: list[str] = []
    ttls: list[int] = []
    for answer in told:
        for question in questions:
            data, ttl = follow(answer, question)
            size = 16 if question.type == AAAA else 4
            addresses += [str(ipaddress.ip_address(each)) for each in data if len(each) == size]
            if data:
                ttls.append(ttl)
    if not addresses:
        return None
    return Found(tuple(dict.fromkeys(addresses))[:MAX_ADDRESSES], float(min(ttls)))


def _negative(told: Sequence[Answer]) -> Nothing:
    ttls = [each.negative_ttl for each in told if each.negative_ttl is not None]
    gone = any(each.rcode == NXDOMAIN for each in told)
    return Nothing(UNKNOWN if gone else NO_ADDRESS, float(min(ttls, default=0)))
