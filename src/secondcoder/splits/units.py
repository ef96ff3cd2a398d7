"""What must stay together in a split: the copies of a text, its near-duplicates, and the rows of one group.

In: the rows to divide, by their texts, with ids and groups. Out: `Unit` objects, which `secondcoder.splits.assignment`
gives to the parts whole, and the rows whose text, word for word, would otherwise stand in two parts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from secondcoder.corpus.corpus import Part
from secondcoder.corpus.near_duplicates import Forest

FEWEST_GROUPS = 3
"""Groups that folds need: one to judge on, one to choose by, one to learn from."""
FEW_GROUPS = 20
"""Fewer groups are few to speak for others: splits, evaluations and comparisons then say so."""


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
        The rows of each text that stands in several groups which were not joined for it, as that would have made a unit
        too large.
    alone
        How many rows have no group; each is a unit of its own.
    """

    units: list[Unit]
    joined: list[list[str]] = field(default_factory=list)
    apart: list[Sequence[int]] = field(default_factory=list)
    alone: int = 0


def text_units(ids: Sequence[str], copies: Iterable[Sequence[int]]) -> list[Unit]:
    """Return one unit per text, named by the smallest of its ids; `copies` holds the rows of each text."""
    return [Unit(min(ids[row] for row in same), tuple(same)) for same in copies]


def cluster_units(
    units: Sequence[Unit],
    clusters: Iterable[Sequence[int]],
    strata: Mapping[int, str],
    *,
    largest: float,
    fewest: int,
) -> list[Unit]:
    """Return the units, those joined that hold near-duplicates, where that leaves each stratum divisible.

    Parameters
    ----------
    units
        Rows of one text each.
    clusters
        Rows that should stay together; a row stands in one of them at most. Their order does not matter.
    strata
        Stratum of each row, as `secondcoder.splits.assignment.assign_by_strata` has it.
    largest
        Most rows that a joined unit may have; of a stratum with a tenth of the rows, a tenth of that, but two.
    fewest
        Fewest units that joining may leave of a stratum that has as many.
    """
    unit_of = {row: u for u, unit in enumerate(units) for row in unit.rows}
    main = [most_frequent(strata[row] for row in unit.rows) for unit in units]
    holding = Counter(stratum for unit in units for stratum in {strata[row] for row in unit.rows})
    leading = Counter(main)
    rows_of = Counter(strata[row] for row in unit_of)
    gone: set[int] = set()
    joined: list[Unit] = []
    for cluster in sorted(clusters, key=lambda rows: min(units[unit_of[row]].key for row in rows)):
        own = sorted({unit_of[row] for row in cluster}, key=lambda u: units[u].key)
        rows = tuple(row for u in own for row in units[u].rows)
        stratum = most_frequent(strata[row] for row in rows)
        held = holding - Counter(s for u in own for s in {strata[row] for row in units[u].rows})
        held.update({strata[row] for row in rows})
        led = leading - Counter(main[u] for u in own)
        led[stratum] += 1
        scarce = any(
            after[s] < min(fewest, n) for before, after in ((holding, held), (leading, led)) for s, n in before.items()
        )
        if len(own) == 1 or scarce or len(rows) > max(2.0, largest * rows_of[stratum] / len(unit_of)):
            continue
        holding, leading = held, led
        gone.update(own)
        joined.append(Unit(units[own[0]].key, rows))
    return [unit for u, unit in enumerate(units) if u not in gone] + joined


def group_units(
    ids: Sequence[str],
    groups: Sequence[str],
    copies: Sequence[Sequence[int]],
    *,
    clusters: Iterable[Sequence[int]] = (),
    largest: float,
    fewest: int,
) -> Groups:
    """Return the groups as units, those that share a text joined where that leaves the parts' sizes within reach.

    The shared texts are taken up one after the other, those that stand in the fewest groups first: two documents that
    have a passage in common belong together, while a sentence such as "Yes." that stands in hundreds of them says
    nothing about them and would chain them all into one. Near-duplicates come after copies, by the same rule.

    Parameters
    ----------
    ids, groups
        Of all rows of the corpus; a row whose group is ``""`` is a group of its own.
    copies
        The rows to divide, those of one text together, in an order that does not depend on that of the rows.
    clusters
        Rows that hold near-duplicates of each other.
    largest
        Most rows that a unit of joined groups may have. Groups are not joined beyond it.
    fewest
        Fewest units that joining may leave.
    """
    members: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    name_of: dict[int, tuple[str, str]] = {}
    for row in sorted(row for same in copies for row in same):
        name_of[row] = name = ("group", groups[row]) if groups[row] else ("row", ids[row])
        members[name].append(row)
    holders = [{name_of[row] for row in same} for same in copies]
    forest = Forest({name: len(found) for name, found in members.items()})

    def join(names: Iterable[tuple[str, str]]) -> bool:
        roots = sorted({forest.root(name) for name in names})
        fits = sum(forest.rows[root] for root in roots) <= largest and forest.n - len(roots) + 1 >= fewest
        if fits:
            forest.join(roots)
        return fits or len(roots) == 1

    result = Groups([], alone=sum(kind == "row" for kind, _ in members))
    shared = sorted((t for t, names in enumerate(holders) if len(names) > 1), key=lambda t: (len(holders[t]), t))
    apart = [t for t in shared if not join(holders[t])]
    alike = [sorted({name_of[row] for row in cluster}) for cluster in clusters]
    for names in sorted((names for names in alike if len(names) > 1), key=lambda names: (len(names), names)):
        join(names)
    # A text that came too early to be joined may stand in one unit by now, through other texts.
    result.apart = [copies[t] for t in apart if len({forest.root(name) for name in holders[t]}) > 1]
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
    """Return the rows to leave out so that no text stands in two parts word for word, each with the part that keeps it.

    Test keeps its rows before dev, and dev before train: the judgement should be on what the data is like, and a row
    less to learn from costs least.
    """
    keeper: dict[str, Part] = {}
    for part in ("train", "dev", "test"):  # the last one written wins
        keeper.update((texts[row], part) for row, own in part_of.items() if own == part)
    return {row: keeper[texts[row]] for row, own in part_of.items() if keeper[texts[row]] != own}


def most_frequent(strata: Iterable[str]) -> str:
    """Return the most frequent of the values, the smallest of several; of a `Counter`, counted already."""
    counts = strata if isinstance(strata, Counter) else Counter(strata)
    return min(counts, key=lambda stratum: (-counts[stratum], stratum))
