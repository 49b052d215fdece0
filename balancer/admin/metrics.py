"""
Metrics in Prometheus' text format 0.0.4, through prometheus_client's own exposition.

Pure: it gets what the site counted and gives bytes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import frozen
from prometheus_client import generate_latest
from prometheus_client.core import Metric as Family

from balancer.interfaces import Metric, Sample

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

SAMPLES_A_SLICE: Final = 500
"""Samples in one slice, or a few more: some 5 ms."""


@frozen
class _Collected:
    """What `generate_latest` asks of a registry."""

    families: tuple[Family, ...]

    def collect(self) -> Iterator[Family]:
        yield from self.families


def exposing(metrics: Iterable[Metric]) -> Generator[bytes, None, None]:
    """
    The text that `/metrics` answers, in pieces: a slice of work each, some of them empty.

    There is one family for each name, though balancers of one kind bring the same names with other
    labels: so all are gathered first.
    """
    by_name: dict[str, list[Metric]] = {}
    for metric in metrics:
        yield b""
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        by_name.setdefault(name, []).append(metric)
    for name, parts in by_name.items():
        for first, samples in _slices(parts):
            family = Family(name, parts[0].help, parts[0].kind)
            ending = "_total" if family.type == "counter" else ""
            for sample in samples:
                family.add_sample(
                    name + (sample.suffix or ending), dict(sample.labels), sample.value
                )
            registry: Any = _Collected((family,))
            text: bytes = generate_latest(registry)
            # HELP and TYPE may stand once.
            yield text if first else text.split(b"\n", 2)[2]


def _slices(parts: Sequence[Metric]) -> Iterator[tuple[bool, Sequence[Sample]]]:
    """All samples of a family, some at a time, and whether they are its first ones."""
    first, samples = True, list[Sample]()
    for part in parts:
        samples += part.samples
        if len(samples) >= SAMPLES_A_SLICE:
            yield first, samples
            first, samples = False, []
    if first or samples:
        yield first, samples


def exposition(metrics: Iterable[Metric]) -> bytes:
    """All of it."""
    return b"".join(exposing(metrics))
