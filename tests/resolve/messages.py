"""Answers of DNS servers, written by twisted.names: another hand than the one that reads them."""

from __future__ import annotations

from typing import Any

from twisted.names import dns

from balancer.resolve.message import Answer, Question, read, wire_name

ID = 0x1234


def reply(name: str, type: int, *records: Any, rcode: int = 0, soa: int | None = None) -> bytes:
    """
    The answer to a question. A record is (owner, ttl, data), the data one of twisted.names' records
    or the text of an address. `soa` is the minimum of an SOA record with a TTL of 60 s.
    """
    message = dns.Message(id=ID, answer=1, rCode=rcode)
    message.queries = [dns.Query(name.encode(), type, dns.IN)]
    message.answers = [header(*each) for each in records]
    if soa is not None:
        data = dns.Record_SOA(b"ns.test", b"root.test", minimum=soa)
        message.authority = [dns.RRHeader(b"test", dns.SOA, dns.IN, 60, data)]
    return bytes(message.toStr())


def header(owner: str, ttl: int, data: Any) -> dns.RRHeader:
    """One record."""
    if isinstance(data, str):
        data = dns.Record_AAAA(data) if ":" in data else dns.Record_A(data)
    return dns.RRHeader(owner.encode(), data.TYPE, dns.IN, ttl, data)


def answer(name: str, type: int, *records: Any, rcode: int = 0, soa: int | None = None) -> Answer:
    """The same as it is read."""
    question = Question(wire_name(name), type)
    return read(reply(name, type, *records, rcode=rcode, soa=soa), ID, question)
