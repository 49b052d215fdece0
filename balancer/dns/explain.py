"""
Says what a question is answered with and why, by the very look-up that answers it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from balancer.dns import codes, names, rdata
from balancer.dns.answering import NO_DATA
from balancer.dns.lookup import authority_of
from balancer.dns.pools import ANYBODY, Asker, PoolName
from balancer.dns.records import Record
from balancer.dns.served import Served
from balancer.dns.zone import Found
from balancer.interfaces import NotDone

Scope = Callable[[bytes, int, bytes], int]
"""Key and type of a question and a client's address -> for how long a prefix the answer holds."""


def explain(served: Served, question: Mapping[str, str], scope: Scope) -> Mapping[str, Any]:
    """See `IExplains`; changes nothing, takes nobody's turn."""
    key, qtype = _question(question)
    if not names.is_within(key, served.key):
        zone = names.to_text(served.key)
        raise NotDone(f"expected a name within {zone}, got {question.get('name', '')!r}")
    address = _address(question.get("from", ""))
    territory = served.territory
    ranking: tuple[str, ...] = ()
    if territory is not None and address:
        ranking = territory.rankings[territory.ranking(address)]
    found = served.zone.find(key, key, qtype, ANYBODY)
    followed = [served.names[name] for name in found.follows if name in served.names]
    # Where others than those that were asked for are in the answer, they only go beside it.
    last = followed[-1] if followed and qtype in followed[-1].types else None
    if last is not None:
        asker = Asker(ranking, last.turns(qtype, ranking).next.peek())
        found = served.zone.find(key, key, qtype, asker)
        found = found._replace(authority=authority_of(found, [last]))
    told = _told(served, found)
    if last is not None:
        told |= _of_pool(last, found, qtype, ranking)
        told["scope"] = scope(key, qtype, address) if last.by_client and address else 0
    return told


def _question(question: Mapping[str, str]) -> tuple[bytes, int]:
    text, word = question.get("name", ""), question.get("type", "A")
    try:
        key = names.from_text(text if text.endswith(".") else text + ".").lower()
    except names.BadName as error:
        raise NotDone(f"name: expected {error}, got {text!r}") from error
    qtype = codes.type_number(word)
    if qtype is None:
        raise NotDone(f"type: expected a type such as A, AAAA or TYPE65, got {word!r}")
    if qtype in NO_DATA:
        raise NotDone(f"type: expected a type of data, got {word!r}, which is refused over UDP")
    return key, qtype


def _address(text: str) -> bytes:
    if not text:
        return b""
    try:
        return ip_address(text).packed
    except ValueError as error:
        raise NotDone(f"from: expected an IP address, got {text!r}") from error


def _told(served: Served, found: Found) -> dict[str, Any]:
    rcode = codes.RCODES.get(found.rcode, str(found.rcode))
    return {
        "rule": _rule(served, found),
        "answer": f"{rcode}: {found.kind}",
        "records": [_text(record) for record in found.answers or found.authority],
        "ttl": min((record.ttl for record in found.answers or found.authority), default=0),
    }


def _rule(served: Served, found: Found) -> str:
    if found.wildcard is not None:
        return f"the wildcard {names.to_text(found.wildcard)}"
    if found.follows:
        return f"answers: {names.to_text(found.follows[-1])}"
    return f"the records of {names.to_text(served.key)}"


def _text(record: Record) -> str:
    return (
        f"{names.to_text(record.name)} {record.ttl} {codes.type_text(record.type)} "
        f"{rdata.to_text(record.type, record.data)}"
    )


def _of_pool(
    name: PoolName, found: Found, qtype: int, ranking: tuple[str, ...]
) -> dict[str, Any]:
    """What the pool has to do with it."""
    chosen = {record.data for record in found.answers if record.type == qtype}
    servers = name.answered(qtype, ranking)
    place = name.places(qtype, [ranking])[0] if name.by_client else ""
    rcode = codes.RCODES.get(found.rcode, str(found.rcode))
    if name.refuses and found.kind == "nodata":
        rcode = codes.RCODES[codes.SERVFAIL]
    answer = found.kind if name.fault is None else name.fault[1]
    return {
        "pool": name.pool.name,
        "policy": name.line.policy,
        "candidates": [
            {"server": server.name, "usable": not why, "why": why}
            for server, why in name.reasons(qtype, ranking)
        ],
        "chosen": next((server for server, data in servers if data in chosen), None),
        "place": place or None,
        "ranking": list(ranking),
        "answer": f"{rcode}: {answer}",
    }
