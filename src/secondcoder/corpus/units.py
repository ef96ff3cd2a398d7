"""What must stay together in a split: the rows of one text, and the rows of one group.

In: ids, texts and groups of the rows to divide. Out: `Unit` objects, which `secondcoder.corpus.assignment` gives to
the parts whole, and the rows whose text would otherwise stand in two parts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from secondcoder.corpus.corpus import Part


@dataclass(frozen=True)
class Unit:
    """Rows that go to one part together.

    Attributes
    ----------
    key
        Name that does not depend on the order of the rows; with the seed, it decides the part.
    rows
        Row numbers in the corpus.
    """

    key: str
    rows: tuple[int, ...]


@dataclass
class Groups:
    """Groups made into units.

    Attributes
    ----------
    units
        One per group, or per several groups that share a text.
    joined
        The names of the groups in each unit that holds several.
    apart
        Texts that stand in several groups which were not joined for it, as that would have made a unit too large.
    alone
        How many rows have no group; each is a unit of its own.
    """

    units: list[Unit]
    joined: list[list[str]] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    alone: int = 0


def text_units(ids: Sequence[str], texts: Sequence[str], rows: Iterable[int]) -> list[Unit]:
    """Return one unit per distinct text, named by the smallest of its ids."""
    by_text: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_text[texts[row]].append(row)
    return [Unit(min(ids[row] for row in same), tuple(same)) for same in by_text.values()]


def group_units(
    ids: Sequence[str],
    texts: Sequence[str],
    groups: Sequence[str],
    rows: Iterable[int],
    *,
    largest: float,
    fewest: int,
) -> Groups:
    """Return the groups as units, those that share a text joined where that leaves the parts' sizes within reach.

    The shared texts are taken up one after the other, those that stand in the fewest groups first: two documents that
    have a passage in common belong together, while a sentence such as "Yes." that stands in hundreds of them says
    nothing about them and would chain them all into one.

    Parameters
    ----------
    ids, texts, groups
        Of all rows of the corpus; a row whose group is ``""`` is a group of its own.
    rows
        The rows to divide.
    largest
        Most rows that a unit of joined groups may have. Groups are not joined beyond it.
    fewest
        Fewest units that joining may leave.
    """
    members: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    holders: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        name = ("group", groups[row]) if groups[row] else ("row", ids[row])
        members[name].append(row)
        holders[texts[row]].add(name)
    forest = _Forest({name: len(found) for name, found in members.items()})
    result = Groups([], alone=sum(kind == "row" for kind, _ in members))
    for text in sorted((t for t, names in holders.items() if len(names) > 1), key=lambda t: (len(holders[t]), t)):
        roots = sorted({forest.root(name) for name in holders[text]})
        fits = sum(forest.rows[root] for root in roots) <= largest and forest.n - len(roots) + 1 >= fewest
        if len(roots) == 1 or fits:
            forest.join(roots)
        else:
            result.apart.append(text)
    # A text that came too early to be joined may stand in one unit by now, through other texts.
    result.apart = [t for t in result.apart if len({forest.root(name) for name in holders[t]}) > 1]
    together: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name in sorted(members):
        together[forest.root(name)].append(name)
    for names in together.values():
        kind, first = names[0]
        # NUL cannot begin a group's name that came from a file, so a lone row's id is not taken for a group.
        key = first if kind == "group" else f"\0{first}"
        result.units.append(Unit(key, tuple(row for member in names for row in members[member])))
        if len(names) > 1:
            result.joined.append([member for _, member in names])
    result.units.sort(key=lambda unit: unit.key)
    return result


def repeated_texts(texts: Sequence[str], part_of: Mapping[int, Part]) -> dict[int, Part]:
    """Return the rows to leave out so that no text stands in two parts, each with the part that keeps its text.

    Test keeps its rows before dev, and dev before train: the judgement should be on what the data is like, and a row
    less to learn from costs least.
    """
    keeper: dict[str, Part] = {}
    for part in ("train", "dev", "test"):  # the last one written wins
        keeper.update((texts[row], part) for row, own in part_of.items() if own == part)
    return {row: keeper[texts[row]] for row, own in part_of.items() if keeper[texts[row]] != own}


class _Forest:
    """Disjoint sets of groups, with the rows that each set has."""

    def __init__(self, rows: dict[tuple[str, str], int]) -> None:
        self.parent = {name: name for name in rows}
        self.rows = dict(rows)
        self.n = len(rows)

    def root(self, name: tuple[str, str]) -> tuple[str, str]:
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, roots: Sequence[tuple[str, str]]) -> None:
        """Put sets together under the smallest of their roots; `roots` is sorted."""
        for root in roots[1:]:
            self.parent[root] = roots[0]
            self.rows[roots[0]] += self.rows.pop(root)
            self.n -= 1
