"""
All loads by their names, in the order in which the tables show them.
"""

from __future__ import annotations

from tests.bench import load, queries, secure
from tests.bench.load import Kind

KINDS = (
    Kind("http", "HTTP, keep-alive", "request", load.http),
    Kind("paced", "HTTP, keep-alive, paced", "request", load.paced),
    Kind("close", "HTTP, a connection each", "connection", load.close),
    Kind("https", "HTTPS, keep-alive", "request", secure.https),
    Kind("https-paced", "HTTPS, keep-alive, paced", "request", secure.https_paced),
    Kind("full", "TLS handshakes, full", "handshake", secure.full),
    Kind("resumed", "TLS handshakes, resumed", "handshake", secure.resumed),
    Kind("small", "TCP, small messages", "message", load.small),
    Kind("connect", "TCP, a connection each", "connection", load.connect),
    Kind("bulk", "TCP, 128 MiB files", "MiB", load.bulk),
    Kind("udp", "UDP, 64 bytes and back", "datagram", load.udp, ("nginx", "balancer")),
)

_NAME_SERVERS = ("gdnsd", "knot", "nsd", "balancer")

DNS_KINDS = (
    Kind("dns", "DNS, an address", "query", queries.plain, _NAME_SERVERS),
    Kind("dns-edns", "DNS, an address, EDNS", "query", queries.with_edns, _NAME_SERVERS),
    Kind("dns-near", "DNS, the nearest, client subnet", "query", queries.near,
         ("gdnsd", "balancer")),
)
