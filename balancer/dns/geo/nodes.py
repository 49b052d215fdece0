"""
Binary trees of prefixes in little memory: equal subtrees are one, and equal siblings their parent.

A *reference* below zero is a leaf: `~reference` is its value. Any other is a node's number; the
children of a node have lower numbers. Knows prefixes as whole numbers, and not what values mean.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final, TypeAlias

from balancer.config.slices import Slices

Prefix: TypeAlias = tuple[int, int]
"""The bits of a prefix as a number, and how many they are."""

_NODES_A_SLICE: Final = 2048
"""Some 2 ms."""

SHARDS: Final = 64
"""A dict of a million entries takes 40 ms to grow or go; many small ones do so one by one."""

_UNDONE: Final = -1 << 31


class Nodes:
    """Nodes that only become more; a caller who drops a root makes them anew with `copying`."""

    __slots__ = ("_known", "left", "right")

    def __init__(self) -> None:
        self.left = array("i")
        self.right = array("i")
        self._known: list[dict[int, int]] = [{} for _ in range(SHARDS)]

    def __len__(self) -> int:
        return len(self.left)

    def join(self, left: int, right: int) -> int:
        """What has these two beneath it."""
        if left == right and left < 0:
            return left
        shard = self._known[(left ^ right) % SHARDS]
        known = shard.setdefault((left << 32) + right, len(self.left))
        if known == len(self.left):
            self.left.append(left)
            self.right.append(right)
        return known

    def children(self, reference: int) -> tuple[int, int]:
        """The references beneath one; a leaf is its own children."""
        if reference < 0:
            return reference, reference
        return self.left[reference], self.right[reference]

    def at(self, root: int, prefix: Prefix) -> int:
        """The reference at `prefix` beneath `root`, or the leaf that holds it."""
        bits, length = prefix
        for shift in range(length - 1, -1, -1):
            root = self.children(root)[bits >> shift & 1]
        return root

    def graft(self, root: int, prefix: Prefix, branch: int) -> int:
        """A root like `root`, but with `branch` at `prefix`."""
        bits, length = prefix
        beside = []
        for shift in range(length - 1, -1, -1):
            children = self.children(root)
            root = children[bits >> shift & 1]
            beside.append(children[1 - (bits >> shift & 1)])
        for shift in range(length):
            other = beside.pop()
            pair = (other, branch) if bits >> shift & 1 else (branch, other)
            branch = self.join(*pair)
        return branch


    def undone(self) -> array[int]:
        """What `copying` from here asks for: room to remember what became of each node."""
        return array("i", (_UNDONE,)) * len(self.left)

    def forgetting(self) -> Slices[None]:
        """Forget which nodes are there, as nothing will be joined any more."""
        while self._known:
            self._known.pop()
            yield


def copying(
    source: Nodes, root: int, target: Nodes, value: Callable[[int], int], done: array[int]
) -> Slices[int]:
    """
    What lies beneath `root`, made in `target` with other values; its reference there.

    `done` is for further roots with the same `value`. The target may be the source.
    """
    if root < 0:
        return ~value(~root)
    stack = [root]
    steps = 0
    while stack:
        steps += 1
        if steps % _NODES_A_SLICE == 0:
            yield
        node = stack[-1]
        left, right = source.left[node], source.right[node]
        new_left = done[left] if left >= 0 else ~value(~left)
        new_right = done[right] if right >= 0 else ~value(~right)
        if new_left != _UNDONE and new_right != _UNDONE:
            done[node] = target.join(new_left, new_right)
            stack.pop()
            continue
        if new_left == _UNDONE:
            stack.append(left)
        if new_right == _UNDONE:
            stack.append(right)
    return done[root]
