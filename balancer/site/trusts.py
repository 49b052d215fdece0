"""
Whom the servers' certificates are held against: made once for all servers of the same options, and
anew when the files have changed.

Knows files and `wire`'s contexts; nothing of connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator

from attrs import define, field

from balancer.config.schema import Finding
from balancer.interfaces import BadFiles
from balancer.site.plan import PoolPlan
from balancer.site.pool_section import PoolSection
from balancer.wire.certificates import CannotLoad
from balancer.wire.connect_tls import ClientContext, client_context
from balancer.wire.stamps import Stamps, stamps

Options = tuple[str | None, str | None, bool]
"""The values of tls-ca, tls-cert and tls-verify."""


def options_of(section: PoolSection) -> Options | None:
    """What the servers of a pool are trusted by; None if none of them has TLS."""
    if not any(line.tls for line in section.servers):
        return None
    return section.tls_ca, section.tls_cert, section.tls_verify


@define(eq=False)
class Trusts:
    """The contexts of all pools. An unchanged one stays itself, so that addresses stay equal."""

    _made: dict[Options, tuple[Stamps, ClientContext]] = field(factory=dict, init=False)

    def context(self, plan: PoolPlan) -> ClientContext | None:
        """
        What to connect to the pool's servers with; None if none of them has TLS.

        Raises `BadFiles` when a file cannot be used. What is in force is not changed by it.
        """
        options = options_of(plan.settings)
        if options is None:
            return None
        ca, cert, verify = options
        seen = stamps([ca, cert] if ca else [cert, *_of_the_system()])
        made = self._made.get(options)
        if made is not None and made[0] == seen:
            return made[1]
        context = _context(plan.name, ca, cert, verify)
        self._made[options] = (seen, context)
        return context

    def keep(self, plans: Iterable[PoolPlan]) -> None:
        """Forget what none of these pools uses."""
        wanted = {options_of(plan.settings) for plan in plans}
        self._made = {options: made for options, made in self._made.items() if options in wanted}


def _context(pool: str, ca: str | None, cert: str | None, verify: bool) -> ClientContext:
    problems = list(faults(ca, cert))
    if problems:
        raise BadFiles(f"pool {pool}", problems)
    return client_context(ca, cert, verify)


def faults(ca: str | None, cert: str | None) -> Iterator[Finding]:
    """What is wrong with the files of tls-ca and tls-cert, each on its own, so that the problems of
    both are told."""
    tries = (
        ("tls-ca", ca, lambda: client_context(ca=ca)),
        ("tls-cert", cert, lambda: client_context(cert=cert, verify=False)),
    )
    for name, path, attempt in tries:
        try:
            if path is not None:
                attempt()
        except CannotLoad as error:
            for text in error.problems:
                yield name, 0, text


def _of_the_system() -> tuple[str | None, str | None]:
    paths = ssl.get_default_verify_paths()
    return paths.cafile, paths.capath
