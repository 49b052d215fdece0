"""
What pools must be to those who use them: how they are checked, and what their servers need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from balancer.config.schema import Problem, nearest, quoted
from balancer.config.values import Misspelt, NotBuilt, Unreadable, one_of
from balancer.interfaces import ICheck, IContext
from balancer.site.draft import Draft, meant
from balancer.site.values import CheckLine

WITHOUT_CONNECTIONS = frozenset(("udp", "dns", "ecmp"))
"""Kinds whose servers need not take TCP connections: a pool that only these use is not checked by
TCP unless it says so."""

WITHOUT_PORTS = frozenset(("dns", "ecmp"))
"""Kinds that tell clients where servers are, and leave the port to them."""

_UNVERIFIED = "servers with tls need not prove who they are: anybody at their addresses is believed"

_UNCHECKED = "its servers are taken to be up, since only {} it; set check, or check = none"


def bad_checks(
    draft: Draft, made: dict[str, Callable[[IContext], ICheck] | None]
) -> Iterator[Problem]:
    """Checks that cannot be; those that can go to `made`, by the pool's name."""
    for section in draft.sections:
        if section.kind != "pool":
            continue
        made[section.name] = None
        check, users = section.settings.check, draft.users[section.name]
        portless = [line for line in section.settings.servers if line.portless]
        if check is None:
            if portless and not users:
                continue  # nobody to say whether a port is missing
            if users and users <= WITHOUT_CONNECTIONS:
                names = sorted(users)
                who = f"{' and '.join(names)} {'uses' if len(names) == 1 else 'use'}"
                yield draft.problem(section, "", 0, _UNCHECKED.format(who), "warning")
                continue
            check = CheckLine("tcp")
        if check.name == "none":
            continue
        if portless and check.port is None and users <= WITHOUT_PORTS:
            text = f"expected port=N or none, since {portless[0].name} has no port, got "
            text += quoted(" ".join((check.name, *check.words)))
            yield draft.problem(section, "check", 0, text)
        maker = draft.makers.checks.get(check.name)
        if maker is None:
            yield draft.problem(section, "check", 0, _unknown_check(draft, check.name))
            continue
        try:
            made[section.name] = maker.parse(check.words)
        except NotBuilt as unbuilt:
            yield draft.problem(section, "check", 0, f"{unbuilt}, got {quoted(unbuilt.what)}")
        except Unreadable as error:
            got = " ".join((check.name, *check.words)) if error.got is None else error.got
            text = f"expected {error.expected}, got {quoted(got)}"
            if isinstance(error, Misspelt):
                text += meant(nearest(error.word, error.known))
            yield draft.problem(section, "check", 0, text)


def _unknown_check(draft: Draft, name: str) -> str:
    broken = draft.makers.broken.get(f"check {name}")
    if broken is not None:
        return f"the check {name!r} cannot be used: {broken}"
    known = [*draft.makers.checks, "none"]
    return f"expected {one_of(sorted(known))}, got {quoted(name)}{meant(nearest(name, known))}"


def unused(draft: Draft) -> Iterator[Problem]:
    """Pools that nobody uses."""
    for section in draft.sections:
        if section.kind == "pool" and not draft.users[section.name]:
            yield draft.problem(section, "", 0, "no section uses this pool", "warning")


def tls(draft: Draft) -> Iterator[Problem]:
    """Servers with TLS that are not verified, or that get work for which there is no TLS."""
    for section in draft.sections:
        if section.kind != "pool":
            continue
        secure = [at for at, line in enumerate(section.settings.servers) if line.tls]
        if secure and not section.settings.tls_verify:
            yield draft.problem(section, "tls-verify", 0, _UNVERIFIED, "warning")
        for kind in sorted(draft.users[section.name] & WITHOUT_CONNECTIONS):
            if secure:
                text = f"expected no tls, since a [{kind}] section uses this pool, got tls"
                yield draft.problem(section, "servers", secure[0], text)


def unix(draft: Draft) -> Iterator[Problem]:
    """Servers on unix sockets that would get datagrams."""
    for section in draft.sections:
        if section.kind != "pool" or "udp" not in draft.users[section.name]:
            continue
        for at, line in enumerate(section.settings.servers):
            if line.endpoint.host.startswith("unix:"):
                got = quoted(str(line.endpoint))
                text = f"expected an address, since a [udp] section uses this pool, got {got}"
                yield draft.problem(section, "servers", at, text)


def missing_ports(draft: Draft) -> Iterator[Problem]:
    """Servers without a port, where somebody who uses them has to know it."""
    for section in draft.sections:
        others = sorted(draft.users[section.name] - WITHOUT_PORTS)
        if section.kind != "pool" or not others:
            continue
        for at, line in enumerate(section.settings.servers):
            if line.portless:
                since = f"since a [{others[0]}] section uses this pool"
                text = f"expected ADDRESS:PORT, {since}, got {quoted(line.where)}"
                yield draft.problem(section, "servers", at, text)
