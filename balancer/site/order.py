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
    done: list[str] = []
    left = dict.fromkeys(needs)
    while left:
        # Without recursion: a chain may be as long as the site file.
        path = [next(iter(left))]
        while path:
            missing = next((each for each in needs[path[-1]] if each in left), None)
            if missing is None:
                done.append(path.pop())
                del left[done[-1]]
            elif missing in path:
                raise Circle(tuple(path[path.index(missing) :]))
            else:
                path.append(missing)
    return tuple(done)
