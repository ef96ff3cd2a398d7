"""Which unit goes to which part: by strata for small units, by search for groups.

In: units of rows that must stay together, the stratum of each row, the rows asked for each part, a seed. Out: a part
per unit. Chance enters by SHA-256 of seed and unit name only, and figures are added in one fixed order, so that a
split does not depend on row order, platform or numpy version.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import PARTS, Corpus, Part
from secondcoder.errors import SplitError
from secondcoder.splits.units import Unit, most_frequent
from secondcoder.storage import sha_key

STARTS = 24
"""Random starts of the search for a grouped split, most of which only few units need."""
GOOD = 0.005
"""Cost up to which a grouped split is taken: sizes within about 5 %, label shares within about 2 points."""
FINE = 1e-5
"""Cost at which the search ends, there being nothing left to gain."""
FEW = 40
"""Up to so many units the search ends at `GOOD`: seeds would otherwise meet again and again at the one best split."""
POOL = 1200
"""Units that the search may move; the others stay where chance has put them."""
STEPS = 200
"""Most moves and swaps from one start."""
SWAPS = 200_000
"""Most figures that one look for the best swap may compute: units of one part, times of the other, times strata."""
EMPTY_PART = 1e6  # cost of a part without rows: more than any other fault


def assign_by_strata(
    units: Sequence[Unit], strata: Mapping[int, str], wanted: Mapping[Part, int], *, seed: int
) -> list[Part]:
    """Return a part per unit, each stratum divided in the same proportion.

    Rows are allotted to strata by largest remainders, so that the parts' sizes are exact except for what texts that
    stand on several rows cost. Units then fill their stratum's places in SHA-256 order.

    Parameters
    ----------
    units
        Rows that stay together.
    strata
        Stratum of each row. A unit with several belongs to the most frequent one.
    wanted
        Rows asked for each part; together all rows of the units.

    Raises
    ------
    SplitError
        If a stratum has fewer units than there are parts, or the parts are too small or too large for all strata.
    """
    holding: Counter[str] = Counter()
    by_stratum: defaultdict[str, list[int]] = defaultdict(list)
    for u, unit in enumerate(units):
        counts = Counter(strata[row] for row in unit.rows)
        holding.update(counts.keys())
        by_stratum[most_frequent(counts)].append(u)
    if scarce := sorted(stratum for stratum, found in holding.items() if found < len(wanted)):
        raise SplitError(
            f"{scarce[0] or 'The data'} has {holding[scarce[0]]} different text(s), and each of the {len(wanted)} "
            f"parts needs one{f' (the same holds for {len(scarce) - 1} more)' if len(scarce) > 1 else ''}.",
            "Label more of them, merge rare classes, stratify by fewer columns, or split with by='random'.",
        )
    places = _allot({s: sum(len(units[u].rows) for u in by_stratum[s]) for s in sorted(by_stratum)}, wanted)
    parts: list[Part] = ["train"] * len(units)
    for stratum, found in by_stratum.items():
        order = sorted(found, key=lambda u: sha_key(seed, units[u].key))
        for u, part in zip(order, _fill([len(units[u].rows) for u in order], places[stratum]), strict=True):
            parts[u] = part
    return parts


def _allot(sizes: Mapping[str, int], wanted: Mapping[Part, int]) -> dict[str, dict[Part, int]]:
    """Return how many rows each stratum gives to each part: largest remainders, in whole numbers throughout."""
    places: dict[str, dict[Part, int]] = {stratum: {} for stratum in sizes}
    left = dict(sizes)
    parts = [part for part in reversed(PARTS) if part in wanted]  # test, dev, train
    for i, part in enumerate(parts[:-1]):
        total, after = sum(left.values()), len(parts) - 1 - i
        most = {s: max(n - after, 0) for s, n in left.items()}
        least = {s: min(1, most[s]) for s in left}
        if not sum(least.values()) <= wanted[part] <= sum(most.values()):
            raise SplitError(
                f"{wanted[part]} rows were asked for {part}; so that each of {len(sizes)} strata stands in every part, "
                f"it must have between {sum(least.values())} and {sum(most.values())}.",
                "Change the sizes, stratify by fewer columns, or split with by='random'.",
            )
        given = {s: min(max(n * wanted[part] // total, least[s]), most[s]) for s, n in left.items()}
        while (missing := wanted[part] - sum(given.values())) != 0:
            step = 1 if missing > 0 else -1
            # the share that is still owed (or was given too much), exactly: n * wanted / total - given
            owed = {s: step * (n * wanted[part] - given[s] * total) for s, n in left.items()}
            free = [s for s in left if (given[s] < most[s] if step > 0 else given[s] > least[s])]
            for s in sorted(free, key=lambda s: (-owed[s], s))[: abs(missing)]:
                given[s] += step
        for s, n in given.items():
            places[s][part] = n
            left[s] -= n
    for s, n in left.items():
        places[s][parts[-1]] = n
    return places


def _fill(sizes: Sequence[int], places: Mapping[Part, int]) -> list[Part]:
    """Return a part per unit of one stratum: the first with room for it; every part gets one if there are enough."""
    room = dict(places)
    empty = set(places)
    parts: list[Part] = []
    for i, size in enumerate(sizes):
        open_to = [part for part in room if part in empty] if len(sizes) - i <= len(empty) else list(room)
        fitting = [part for part in open_to if room[part] >= size]
        part = fitting[0] if fitting else max(open_to, key=lambda part: room[part])
        room[part] -= size
        empty.discard(part)
        parts.append(part)
    return parts


def assign_groups(
    units: Sequence[Unit], strata: Mapping[int, str | tuple[str, ...]], wanted: Mapping[Part, int], *, seed: int
) -> list[Part]:
    """Return a part per unit such that sizes and shares of strata are near to what was asked.

    With ``n`` rows asked for a part and ``t`` of them expected in a stratum, the cost of a part that has ``rows`` and
    ``count`` is ``((rows - n) / n)² + Σ (count - t)² / (t n)``: the squared relative error of its size, and the
    chi-square distance of its label shares. From random starts, the move of one unit or the swap of two that lowers
    the sum over the parts most is made until none does or the cost is low
    (swaps only up to `POOL` units). The first result that is good enough wins; if none is, the
    first whose cost is at most twice the least. So seeds give different splits, all of them near.

    Parameters
    ----------
    units
        Groups, in the order of their names.
    strata
        Stratum of each row, which is the label unless columns were named; of several labels, all of them, and then the
        share of each is kept.
    wanted
        Rows asked for each part.

    Raises
    ------
    SplitError
        If there are fewer units than parts.
    """
    if len(units) < len(wanted):
        raise SplitError(
            f"There are {len(units)} group(s) for {len(wanted)} parts, and no group may stand in two parts.",
            "Use a finer group column, label texts of more groups, or split with by='stratified'.",
        )
    sets = {row: (own,) if isinstance(own := strata[row], str) else own for unit in units for row in unit.rows}
    names = sorted({name for own in sets.values() for name in own})
    column = {name: j for j, name in enumerate(names)}
    counts = np.zeros((len(units), len(names)), dtype=np.float64)  # (u, s); whole numbers, so sums are exact
    for u, unit in enumerate(units):
        for row in unit.rows:
            for name in sets[row]:
                counts[u, column[name]] += 1
    parts = [part for part in reversed(PARTS) if part in wanted]  # test, dev, train
    sizes = np.array([len(unit.rows) for unit in units], dtype=np.float64)
    search = _Search(counts, sizes, np.array([wanted[part] for part in parts], dtype=np.float64))
    found: list[tuple[float, NDArray[np.int64]]] = []
    for start in range(STARTS if len(units) <= POOL else 2):  # many units even out by themselves, or never
        order = sorted(range(len(units)), key=lambda u: sha_key(seed, f"{start}:{units[u].key}"))
        cost, owner = search.descend(search.fill(order))
        if cost <= GOOD:
            break
        found.append((cost, owner))
    else:
        least = min(cost for cost, _ in found)
        cost, owner = next(item for item in found if item[0] <= 2 * least)
    return [parts[p] for p in owner]


class _Search:
    """Local search over the parts of units; ``u`` units, ``s`` strata, ``p`` parts."""

    def __init__(self, counts: NDArray[np.float64], sizes: NDArray[np.float64], wanted: NDArray[np.float64]) -> None:
        self.counts = counts  # (u, s)
        self.sizes = sizes  # (u,)
        self.wanted = wanted  # (p,)
        self.expected = np.outer(wanted, counts.sum(axis=0)) / self.sizes.sum()  # (p, s)
        # The largest units must be movable; of the small ones, some are enough to even things out.
        by_size = np.argsort(-self.sizes, kind="stable")
        self.pool = np.sort(
            np.concatenate([by_size[: POOL // 3], by_size[POOL // 3 :: max(1, len(by_size) * 3 // (2 * POOL))]])
        )

    def fill(self, order: Sequence[int]) -> NDArray[np.int64]:
        """Return a part per unit, the parts filled one after the other in the order given."""
        sizes = self.sizes[list(order)]
        middle = np.cumsum(sizes) - sizes / 2
        owner = np.empty(len(order), dtype=np.int64)
        owner[list(order)] = np.searchsorted(np.cumsum(self.wanted)[:-1], middle, side="right")
        return owner

    def cost(self, p: int, rows: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cost of part `p` if it had these rows ``(...)`` and counts ``(..., s)``.

        The strata are added up one by one: numpy's own sum orders its additions by processor.
        """
        error = (rows - self.wanted[p]) / self.wanted[p]
        cost: NDArray[np.float64] = error * error + EMPTY_PART * (rows <= 0)
        for s, expected in enumerate(self.expected[p]):
            difference = counts[..., s] - expected
            cost = cost + difference * difference / (expected * self.wanted[p])
        return cost

    def descend(self, owner: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
        """Return the cost and the parts where no move and no swap in the pool lowers the cost further."""
        parts = range(len(self.wanted))
        rows = np.array([self.sizes[owner == p].sum() for p in parts])  # (p,)
        counts = np.array([self.counts[owner == p].sum(axis=0) for p in parts])  # (p, s)
        total = EMPTY_PART * len(self.wanted)
        for _ in range(STEPS):
            costs = np.array([self.cost(p, rows[p], counts[p]) for p in parts])
            total = float(sum(costs.tolist()))
            if total <= (GOOD if len(owner) <= FEW else FINE):
                break
            change = self._best_move(owner, rows, counts, costs)
            if change is None and len(owner) <= POOL:  # beyond, single moves come as near and swaps are slow
                change = self._best_swap(owner, rows, counts, costs)
            if change is None:
                break
            for u, p in change:
                for sign, at in ((-1, owner[u]), (1, p)):
                    rows[at] += sign * self.sizes[u]
                    counts[at] += sign * self.counts[u]
                owner[u] = p
        return total, owner

    def _best_move(
        self,
        owner: NDArray[np.int64],
        rows: NDArray[np.float64],
        counts: NDArray[np.float64],
        costs: NDArray[np.float64],
    ) -> list[tuple[int, int]] | None:
        parts = range(len(self.wanted))
        pool, own = self.pool, owner[self.pool]
        leave = np.empty(len(pool))
        for p in parts:
            at = pool[own == p]
            leave[own == p] = self.cost(p, rows[p] - self.sizes[at], counts[p] - self.counts[at]) - costs[p]
        gain = np.stack(
            [leave + self.cost(p, rows[p] + self.sizes[pool], counts[p] + self.counts[pool]) - costs[p] for p in parts]
        )  # (p, pool)
        gain[own, np.arange(len(pool))] = np.inf
        p, i = divmod(int(np.argmin(gain)), len(pool))
        return [(int(pool[i]), p)] if gain[p, i] < -1e-9 else None

    def _best_swap(
        self,
        owner: NDArray[np.int64],
        rows: NDArray[np.float64],
        counts: NDArray[np.float64],
        costs: NDArray[np.float64],
    ) -> list[tuple[int, int]] | None:
        best, change = -1e-9, None
        side = max(10, math.isqrt(SWAPS // max(1, self.counts.shape[1])))
        for p in range(len(self.wanted)):
            for q in range(p):
                a, b = (self.pool[owner[self.pool] == part][:side] for part in (p, q))
                if not (len(a) and len(b)):
                    continue
                size = self.sizes[a][:, None] - self.sizes[b][None]  # (a, b): what p loses and q gains
                count = self.counts[a][:, None] - self.counts[b][None]  # (a, b, s)
                gain = self.cost(p, rows[p] - size, counts[p] - count) + self.cost(q, rows[q] + size, counts[q] + count)
                i, j = divmod(int(np.argmin(gain)), len(b))
                if gain[i, j] - costs[p] - costs[q] < best:
                    best, change = float(gain[i, j] - costs[p] - costs[q]), [(int(a[i]), q), (int(b[j]), p)]
        return change


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
    counts = corpus.label_counts()
    return [
        None if names is None else min(names, key=lambda name: counts[name], default="") for names in corpus.label_sets
    ]
