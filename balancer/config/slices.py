"""
Long work cut into slices, so that whoever runs it may do something else in between.

A `Slices` is a generator that yields after each slice, a few milliseconds at most, and returns the
result. Knows nothing of reactors: the site spreads slices over turns, others `finish` them at once.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Slices: TypeAlias = Generator[None, None, T]


def finish(slices: Slices[T]) -> T:
    """Do all of it now."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result
