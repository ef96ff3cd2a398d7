"""Disjoint sets.

In: names and the rows that each has. Out: which names have been joined to one set, and the rows of that.
"""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

Name = TypeVar("Name", int, str, tuple[str, str])


class Forest(Generic[Name]):
    """Disjoint sets of names, with the rows that each set has.

    Attributes
    ----------
    rows
        The rows of each set, by its root.
    n
        How many sets there are.
    """

    def __init__(self, rows: Mapping[Name, int]) -> None:
        self.parent: dict[Name, Name] = {name: name for name in rows}
        self.rows: dict[Name, int] = dict(rows)
        self.n = len(rows)

    def root(self, name: Name) -> Name:
        """Return the name that stands for the set."""
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, roots: Sequence[Name]) -> None:
        """Put sets together under the smallest of their roots; `roots` is sorted."""
        for root in roots[1:]:
            self.parent[root] = roots[0]
            self.rows[roots[0]] += self.rows.pop(root)
            self.n -= 1
