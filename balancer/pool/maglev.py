"""
Maglev's table: names, weights and a seed give the same slots on every machine.

Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
section 3.4. Knows names and integers, no servers and no keys.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Sequence
from hashlib import blake2b
from itertools import cycle, islice

from balancer.pool.turns import reduced, spread

SLOTS = 65537
"""M: a prime, so that every skip visits every slot (the paper's and Envoy's choice)."""


def build(names: Sequence[str], weights: Sequence[int], seed: str) -> array[int]:
    """The whole table at once: SLOTS indexes into `names`, or none if no weight is positive."""
    slices = building(names, weights, seed)
    while True:
        try:
            next(slices)
        except StopIteration as done:
            table: array[int] = done.value
            return table


def building(
    names: Sequence[str], weights: Sequence[int], seed: str
) -> Generator[None, None, array[int]]:
    """
    Build in slices of about 1 ms: yields after each, and returns the table.

    Each name in its turn takes the next free slot of its own permutation of all slots: offset and
    skip are the halves of blake2b(seed, 0, name). Turns are spread by weight, in an order that
    depends on names and not on their place in the file. Every name gets its share of the slots
    to within one turn. 100 names take about 25 ms in all.
    """
    order = sorted((i for i, weight in enumerate(weights) if weight > 0), key=names.__getitem__)
    if not order:
        return array("I")
    permutations = [permutation(names[i], seed) for i in order]
    place = [offset for offset, _ in permutations]
    skip = [skip for _, skip in permutations]
    turns = cycle(_turns([weights[i] for i in order]))
    yield
    table = [-1] * SLOTS
    left = SLOTS
    while left:
        # A turn tries SLOTS / left slots on average: this many turns try a quarter of SLOTS.
        count = max(1, left // 4)
        _fill(table, islice(turns, count), place, skip)
        left -= count
        yield
    return array("I", [order[turn] for turn in table])


def permutation(name: str, seed: str) -> tuple[int, int]:
    """Where a name starts, and by how much it goes on: two 64-bit halves of blake2b."""
    digest = blake2b(seed.encode() + b"\0" + name.encode(), digest_size=16).digest()
    offset = int.from_bytes(digest[:8], "big") % SLOTS
    return offset, int.from_bytes(digest[8:], "big") % (SLOTS - 1) + 1


def _fill(table: list[int], turns: islice[int], place: list[int], skip: list[int]) -> None:
    for turn in turns:
        slot = place[turn]
        step = skip[turn]
        while table[slot] >= 0:
            slot += step
            if slot >= SLOTS:
                slot -= SLOTS
        table[slot] = turn
        place[turn] = slot


def _turns(weights: Sequence[int]) -> list[int]:
    """A period of turns, of at most about SLOTS: weights with a longer one are scaled down."""
    weights = reduced(weights)
    total = sum(weights)
    if total > SLOTS:
        weights = [max(1, round(weight * SLOTS / total)) for weight in weights]
    return spread(weights)
