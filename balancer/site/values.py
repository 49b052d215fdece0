"""
How an operator writes what only [site] and [pool] have: servers, checks, algorithms, resolvers.

Pure: it reads texts and gives values.
"""

from __future__ import annotations

import os
import re

from attrs import frozen

from balancer.config.values import (
    Endpoint,
    Misspelt,
    NotBuilt,
    Unreadable,
    duration_within,
    endpoint_or_host,
    integer,
    modifiers,
    name,
    one_of,
    path,
    with_port,
)
from balancer.pool.settings import ALGORITHMS, WITH_ARGUMENT, Algorithm, Ejection

MAX_WEIGHT = 256
"""The greatest weight of a server, as HAProxy's."""

LATER_CHECKS = frozenset(("agent",))


@frozen
class ServerLine:
    """One line of a pool's option `servers`. Without a port, `endpoint` has port 0."""

    name: str
    endpoint: Endpoint
    weight: int = 1
    backup: bool = False
    max_connections: int = 0
    disabled: bool = False
    tls: bool = False
    sni: str = ""
    place: str = ""

    @property
    def portless(self) -> bool:
        """Whether it needs a port and has none."""
        return not self.endpoint.port and not self.endpoint.is_unix

    @property
    def where(self) -> str:
        """Its address as the site file has it."""
        text = str(self.endpoint)
        return text.removesuffix(":0") if self.portless else text

    @property
    def certified(self) -> str:
        """The name that its certificate must bear and that it is asked by; empty: its address."""
        return self.sni or ("" if self.endpoint.is_literal else self.endpoint.host)


@frozen
class CheckLine:
    """The option `check`: the name of the check, the words for its maker, the port to ask."""

    name: str
    words: tuple[str, ...] = ()
    port: int | None = None


_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')


def words_of(text: str) -> list[str]:
    """`text` cut at blanks; double quotes hold a word with blanks together, and are taken away."""
    if text.count('"') % 2:
        raise Unreadable("a closing quote")
    return [word.replace('"', "") for word in _WORD.findall(text)]


_SERVER = "NAME ADDRESS:PORT and its options, such as 'a 192.0.2.1:80 weight=2'"
_count = integer(1, 1_000_000)
_port = integer(1, 65535)


def dns_name(text: str) -> str:
    """A host name as it stands in a certificate."""
    if not _DNS_NAME.fullmatch(text) or len(text) > 253 or text.rpartition(".")[2].isdigit():
        raise Unreadable("a host name such as www.example.org", text)
    return text.lower()


_DNS_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_DNS_NAME = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")


def server_line(text: str) -> ServerLine:
    """`NAME ADDRESS:PORT [weight=1] [backup] [max-connections=N] [disabled] [tls] [sni=NAME]
    [place=NAME]`; whether PORT may be left out depends on who uses the pool."""
    words = text.split()
    if len(words) < 2:
        raise Unreadable(_SERVER)
    found = modifiers(
        words[2:],
        {
            "weight": integer(0, MAX_WEIGHT),
            "max-connections": _count,
            "sni": dns_name,
            "place": name,
        },
        flags=("backup", "disabled", "tls"),
    )
    if "sni" in found and "tls" not in found:
        raise Unreadable("tls beside sni=", f"sni={found['sni']}")
    return ServerLine(
        name=name(words[0]),
        endpoint=endpoint_or_host(words[1]),
        weight=found.get("weight", 1),
        backup="backup" in found,
        max_connections=found.get("max-connections", 0),
        disabled="disabled" in found,
        tls="tls" in found,
        sni=found.get("sni", ""),
        place=found.get("place", ""),
    )


def algorithm(text: str) -> Algorithm:
    """`round-robin`, or `header:NAME` and the like for those that take a name."""
    word, colon, argument = text.partition(":")
    if word not in ALGORITHMS:
        raise Misspelt(one_of(ALGORITHMS), word, ALGORITHMS)
    if word in WITH_ARGUMENT and not argument:
        raise Unreadable(f"{word}:NAME")
    if colon and word not in WITH_ARGUMENT:
        raise Unreadable(f"{word} without ':'")
    return Algorithm(word, argument)


def check_line(text: str) -> CheckLine:
    """`none`, or the name of a check and its words; `port=N` may stand among them."""
    words = words_of(text)
    if not words:
        raise Unreadable("a check such as tcp, 'http GET /' or none")
    if words[0] in LATER_CHECKS:
        raise NotBuilt(words[0])
    if words[0] == "none" and len(words) > 1:
        raise Unreadable("none alone")
    ports = [word for word in words[1:] if word.startswith("port=")]
    if len(ports) > 1:
        raise Unreadable("port= once", ports[1])
    return CheckLine(
        name=words[0],
        words=tuple(word for word in words[1:] if word not in ports),
        port=_port(ports[0].removeprefix("port=")) if ports else None,
    )


_EJECT = re.compile(r"(\S+) in (\S+) for (\S+)")


def ejection(text: str) -> Ejection:
    """`5 in 10s for 30s`: after 5 failures within 10 s a server gets nothing for 30 s."""
    match = _EJECT.fullmatch(text)
    if match is None:
        raise Unreadable("'N in TIME for TIME' such as '5 in 10s for 30s'")
    return Ejection(_count(match[1]), positive(match[2]), positive(match[3]))


positive = duration_within("1ms", "366d")


MAX_CONTROL = 107
"""Bytes of a unix socket's path: what sockaddr_un holds (unix(7))."""

DNS_PORT = 53

MAX_RESOLVERS = 8
"""DNS servers that are asked in turn: a look-up waits for each."""

def control_path(text: str) -> str:
    """The path of a unix socket. One without a file has no permissions, so it is refused."""
    if text.startswith("@") or len(os.fsencode(path(text))) > MAX_CONTROL:
        raise Unreadable(f"a path of at most {MAX_CONTROL} bytes")
    return text


def resolvers(text: str) -> tuple[Endpoint, ...]:
    """Addresses of DNS servers with blanks between them."""
    found = []
    for word in text.split():
        try:
            found.append(with_port(word, DNS_PORT))
        except Unreadable as error:
            raise Unreadable(error.expected, word, error.meant) from None
    if len(set(found)) != len(found) or len(found) > MAX_RESOLVERS:
        raise Unreadable(f"at most {MAX_RESOLVERS} DNS servers, each once")
    return tuple(found)
