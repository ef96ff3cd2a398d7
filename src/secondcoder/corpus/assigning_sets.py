"""Which unit goes to which part where a text may have several labels: iterative stratification.

In: units of rows that must stay together, the labels of each row, the rows asked for each part, a seed. Out: a part per
unit, such that each label is as frequent in one part as in another. Chance enters by SHA-256 of seed and unit name
only, and all figures are whole numbers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from secondcoder.corpus.assignment import sha_key
from secondcoder.corpus.corpus import PARTS, Corpus, Part
from secondcoder.corpus.units import Unit


def assign_sets(
    units: Sequence[Unit], sets: Mapping[int, Sequence[str]], wanted: Mapping[Part, int], *, seed: int
) -> list[Part]:
    """Return a part per unit, each label divided in the same proportion as far as sets of labels allow.

    The label with the fewest rows left is dealt out first, as later ones can make up for little: its units go one after
    the other, in SHA-256 order, to the part that is owed most rows of that label, of equal ones to that which is owed
    most rows. A label with no more units left than there are parts without it goes to these. Units without a label come
    last, to the part that is owed most rows. Sizes come out near to what was asked: labels go first.

    Parameters
    ----------
    units
        Rows that stay together.
    sets
        The labels of each row.
    wanted
        Rows asked for each part; together all rows of the units.

    References
    ----------
    Sechidis, Tsoumakas & Vlahavas (2011), On the stratification of multi-label data, ECML PKDD 2011, Part III,
    145–158. doi:10.1007/978-3-642-23808-6_10
    """
    counts = [Counter(name for row in unit.rows for name in sets[row]) for unit in units]
    total: Counter[str] = sum(counts, Counter())
    n, parts = sum(wanted.values()), [part for part in PARTS if part in wanted]
    # What a part is owed, times n, so that it is a whole number.
    owed = {name: {part: total[name] * wanted[part] for part in parts} for name in total}
    room = {part: wanted[part] * n for part in parts}
    order = sorted(range(len(units)), key=lambda u: sha_key(seed, units[u].key))
    holding = {name: [u for u in order if counts[u][name]] for name in total}
    rows_left, units_left = Counter(total), {name: len(found) for name, found in holding.items()}
    lacking = {name: set(parts) for name in total}
    given: dict[int, Part] = {}

    def give(u: int, name: str | None) -> None:
        open_to, first = parts, room
        if name is not None:
            first = owed[name]
            without = [part for part in parts if part in lacking[name]]
            open_to = without if units_left[name] <= len(without) else parts
        part = max(open_to, key=lambda p: (first[p], room[p], sha_key(seed, f"{p}:{units[u].key}")))
        given[u] = part
        room[part] -= len(units[u].rows) * n
        for own, count in counts[u].items():
            owed[own][part] -= count * n
            rows_left[own] -= count
            units_left[own] -= 1
            lacking[own].discard(part)

    while waiting := [name for name in rows_left if rows_left[name] > 0]:
        rarest = min(waiting, key=lambda name: (rows_left[name], name))
        for u in holding[rarest]:
            if u not in given:
                give(u, rarest)
    for u in order:
        if u not in given:
            give(u, None)
    return [given[u] for u in range(len(units))]


def rarest_labels(corpus: Corpus) -> list[str | None]:
    """Return the one label of each row; where it may have several, the rarest of them, and ``""`` where it has none.

    Whole sets of labels are mostly too rare to be strata.
    """
    if not corpus.multi_label:
        return list(corpus.labels)
    counts = corpus.label_counts()
    return [
        None if names is None else min(names, key=lambda name: counts[name], default="") for names in corpus.label_sets
    ]
