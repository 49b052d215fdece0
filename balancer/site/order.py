"""
In which order the sections of a site are made ready: each after those that it names.

Pure: knows names and who needs whom, nothing of what they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Circle(Exception):
    """Sections that need each other: each of `names` needs the next one, the last one the first."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(" -> ".join((*names, names[0])))
        self.names = names


def arranged(needs: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """
    The names in an order in which each comes after all that it needs, otherwise as they come. What
    is needed and has no entry of its own is passed over.

    Raises `Circle`.
    """
    done: dict[str, None] = {}
    for first in needs:
        # Without recursion: a chain may be as long as the site file. `path` is in order.
        path = {first: None} if first not in done else {}
        while path:
            last = next(reversed(path))
            missing = next((n for n in needs[last] if n in needs and n not in done), None)
            if missing is None:
                path.popitem()
                done[last] = None
            elif missing in path:
                names = tuple(path)
                raise Circle(names[names.index(missing) :])
            else:
                path[missing] = None
    return tuple(done)
