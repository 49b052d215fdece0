"""
Metrics in Prometheus' text format 0.0.4, through prometheus_client's own exposition.

Pure: it gets what the site counted and gives bytes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from attrs import frozen
from prometheus_client import generate_latest
from prometheus_client.core import Metric as Family

from balancer.interfaces import Metric

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@frozen
class _Collected:
    """What `generate_latest` asks of a registry."""

    families: tuple[Family, ...]

    def collect(self) -> Iterator[Family]:
        yield from self.families


def exposing(metrics: Iterable[Metric]) -> Generator[bytes, None, None]:
    """
    The text that `/metrics` answers, in pieces: a slice of work each, some of them empty.

    There is one family for each name, though its metrics come in parts, and balancers of one kind
    bring the same names with other labels. So each part is written down as it comes, which leaves
    no object behind, and what belongs together is joined at the end.
    """
    families: dict[str, list[bytes]] = {}
    for metric in metrics:
        yield b""
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        text = _written(name, metric)
        parts = families.setdefault(name, [])
        # HELP and TYPE may stand once.
        parts.append(text.split(b"\n", 2)[2] if parts else text)
    for parts in families.values():
        yield b"".join(parts)


def _written(name: str, metric: Metric) -> bytes:
    """A metric in the text format; `name` is without the ending of counters."""
    family = Family(name, metric.help, metric.kind)
    ending = "_total" if metric.kind == "counter" else ""
    for sample in metric.samples:
        family.add_sample(name + (sample.suffix or ending), dict(sample.labels), sample.value)
    registry: Any = _Collected((family,))
    text: bytes = generate_latest(registry)
    return text


def exposition(metrics: Iterable[Metric]) -> bytes:
    """All of it."""
    return b"".join(exposing(metrics))
