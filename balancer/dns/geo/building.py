"""
A database's tree and the places of a site -> a territory, in slices.

First the tree becomes one of classes of clients, then the networks that places list are grafted on
it, the longest last, and then classes become rankings. Pure: the database is an argument.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from attrs import frozen

from balancer.config.slices import Slices
from balancer.dns.geo.mmdb import Tree
from balancer.dns.geo.nodes import Nodes, Prefix, copying
from balancer.dns.geo.places import NOBODY, Facts, Places
from balancer.dns.geo.prefixes import V4_BITS, V6_BITS, Territory, surveying
from balancer.dns.geo.settings import PlaceSettings

_NODES_A_SLICE: Final = 1024
"""Some 1 ms, and more where many records are met for the first time."""

_RECORDS_A_SLICE: Final = 8
"""Records decoded in one slice: the library takes some 50 us for one of a city."""

_MAPPED: Final[Prefix] = (0xFFFF, 96)


@frozen
class Source:
    """A database: its tree, and what a record of it says that is no node."""

    tree: Tree
    facts: Callable[[int], Facts]


def building(places: Mapping[str, PlaceSettings], source: Source | None) -> Slices[Territory]:
    """The territory of a site's places. What `source.facts` raises is raised."""
    classes = Places(places)
    base = Nodes()
    v4 = v6 = ~NOBODY
    if source is not None:
        v4, v6 = yield from _growing(source, classes, base)
    v4 = yield from _claiming(base, v4, places, classes, V4_BITS)
    v6 = yield from _claiming(base, v6, places, classes, V6_BITS)
    v6 = base.graft(v6, _MAPPED, v4)
    nodes, done = Nodes(), base.undone()
    v4 = yield from copying(base, v4, nodes, classes.ranking, done)
    v6 = yield from copying(base, v6, nodes, classes.ranking, done)
    yield from base.forgetting()
    yield from nodes.forgetting()
    return (yield from surveying(tuple(classes.rankings), nodes, v4, v6))


def _growing(source: Source, classes: Places, into: Nodes) -> Slices[tuple[int, int]]:
    """The database's own tree with classes as leaves; the roots of IPv4 and IPv6."""
    tree, count = source.tree, source.tree.layout.nodes
    records, join = tree.records, into.join
    met: dict[int, int] = {}  # a record that is no node -> its leaf
    done = array("i", bytes(4 * count))  # a node -> its reference

    def leaf(record: int) -> int:
        met[record] = reference = ~classes.class_of(source.facts(record))
        return reference

    pause, fresh = _NODES_A_SLICE, _RECORDS_A_SLICE
    for at, node in enumerate(tree.order):
        if at >= pause or len(met) >= fresh:
            yield
            pause, fresh = at + _NODES_A_SLICE, len(met) + _RECORDS_A_SLICE
        left, right = records[2 * node], records[2 * node + 1]
        left = done[left] if left < count else met[left] if left in met else leaf(left)
        right = done[right] if right < count else met[right] if right in met else leaf(right)
        done[node] = left if left == right and left < 0 else join(left, right)
    if tree.layout.ip_version == 4:
        return done[0], ~NOBODY
    v4 = tree.ipv4
    return done[v4] if v4 < count else leaf(v4), done[0]


def _claiming(
    nodes: Nodes, root: int, places: Mapping[str, PlaceSettings], classes: Places, width: int
) -> Slices[int]:
    """A root like `root`, of addresses of `width` bits, with the networks given to the places that
    list them."""
    branches: list[tuple[Prefix, int]] = []
    for number, settings in enumerate(places.values()):
        networks = [each for each in settings.all_networks if each.max_prefixlen == width]
        done = nodes.undone() if networks else array("i")
        for network in networks:
            prefix = int(network.network_address) >> (width - network.prefixlen), network.prefixlen
            claimed = partial(classes.claimed, number)
            branch = yield from copying(nodes, nodes.at(root, prefix), nodes, claimed, done)
            branches.append((prefix, branch))
            yield
    for prefix, branch in sorted(branches, key=lambda each: each[0][1]):
        root = nodes.graft(root, prefix, branch)
        yield
    return root
