"""
The files that `[http NAME]` sections name: read as by a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from balancer.http.arrivals import ALPN
from balancer.http.pages import read_pages
from balancer.http.settings import HttpSettings
from balancer.interfaces import Flaw
from balancer.wire.keyring import judging


def reading(sections: Mapping[str, HttpSettings]) -> Iterator[Flaw | None]:
    """See `IReadsFiles`."""
    for name, settings in sections.items():
        key = f"http:{name}"
        yield from _certificates(key, settings)
        for option, index, text in read_pages(settings)[1]:
            yield Flaw(key, option, index, text)
        yield None


def _certificates(key: str, settings: HttpSettings) -> Iterator[Flaw | None]:
    seen = set()
    for index, line in enumerate(settings.listen):
        if line.tls is None or line.tls in seen:
            continue
        seen.add(line.tls)
        verdict = yield from judging(line.tls, ALPN)
        for text in verdict.problems:
            yield Flaw(key, "listen", index, f"tls: {text}")
        for text in verdict.warnings:
            yield Flaw(key, "listen", index, f"tls: {text}", doubt=True)
