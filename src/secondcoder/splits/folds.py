"""Folds: every row is judged once, by a model that has learned from the others.

In: a `Corpus` whose rows all have a text and a label, the number of folds, a seed. Out: `Fold` objects, each with the
rows to judge and the train and dev rows to learn from, which share no group (where there are groups) and no text.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.near_duplicates import NearDuplicates, find_near_duplicates
from secondcoder.errors import SplitError
from secondcoder.settings import SplitSettings
from secondcoder.splits.assignment import GOOD, rarest_labels
from secondcoder.splits.draft import Draft, Resolved
from secondcoder.splits.units import FEWEST_GROUPS, Unit, cluster_units, group_units, text_units
from secondcoder.storage import sha_key

STARTS = 24
"""Most orders in which groups are tried."""
MANY = 1200
"""From so many units on, one order does: they even out by themselves."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold.

    Attributes
    ----------
    rows
        Row numbers that it judges.
    judged, train, dev
        What is judged; what a model learns from; what chooses its best epoch.
    """

    rows: tuple[int, ...]
    judged: Corpus
    train: Corpus
    dev: Corpus


def make_folds(corpus: Corpus, n_folds: int, *, dev: float, seed: int) -> list[Fold]:
    """Return the folds, each with a dev part taken out of the rows to learn from.

    Where there are groups, none stands in two folds, nor in train and dev of one. A text that stands in several folds
    all the same (a sentence that every document contains) is left out of the rows to learn from where it is judged.

    Parameters
    ----------
    corpus
        Rows that all have a text and a label.
    n_folds
        At least 2.
    dev
        Share of the rows to learn from that becomes dev.
    seed
        What chance depends on.

    Raises
    ------
    SplitError
        If there are fewer than three groups, fewer groups than folds, or too few texts of a label.
    """
    near = find_near_duplicates(corpus.texts, range(len(corpus)))
    of_row = assign_folds(corpus, n_folds, seed=seed, near=near)
    return [_make_fold(corpus, of_row, number, dev=dev, seed=seed, near=near) for number in range(n_folds)]


def assign_folds(corpus: Corpus, n_folds: int, *, seed: int, near: NearDuplicates | None = None) -> NDArray[np.int64]:
    """Return the fold of each row, from 0, shape (n,): of even sizes and label shares, whatever the order of the rows.

    Units (groups, or rows of one text and its near-duplicates, joined as in `secondcoder.splits.split.split`) go one
    after the other, the large ones first, to the fold that they bring nearest to its share of the rows and of each
    label. The first of several such orders whose result is good is taken; if none is, the most even one.
    Near-duplicates that have been looked for among all rows may be handed in.

    Raises
    ------
    SplitError
        As `make_folds`.
    """
    rows, half = list(range(len(corpus))), len(corpus) / n_folds / 2
    near = near or find_near_duplicates(corpus.texts, rows)
    clusters = near.clusters(half)
    if corpus.groups is None:
        strata = {row: str(label) for row, label in enumerate(rarest_labels(corpus))}
        units = text_units(corpus.ids, near.copies)
        units = cluster_units(units, clusters, strata, largest=half, fewest=n_folds)
        what = "different text(s)"
    else:
        fewest = max(n_folds, FEWEST_GROUPS)
        units = group_units(
            corpus.ids, corpus.groups, near.copies, clusters=clusters, largest=half, fewest=fewest
        ).units
        what = "group(s)"
        if len(units) < FEWEST_GROUPS:
            raise SplitError(
                f"There are {len(units)} group(s), and folds over groups need {FEWEST_GROUPS}: one to judge on, one to "
                "choose by, one to learn from.",
                "Label texts of more groups, or use a finer group column.",
            )
    if len(units) < n_folds:
        raise SplitError(f"There are {len(units)} {what} for {n_folds} folds.", f"Ask for at most {len(units)} folds.")
    counts = np.array([[n[name] for name in corpus.label_names] for n in _label_counts(corpus, units)], np.float64)
    sizes = np.array([len(unit.rows) for unit in units], np.float64)
    tried: list[tuple[float, list[int]]] = []
    for start in range(STARTS if corpus.groups is not None and len(units) <= MANY else 1):
        order = sorted(range(len(units)), key=lambda u: (-_weight(units[u], seed, start), sha_key(seed, units[u].key)))
        tried.append(_deal(counts, sizes, order, n_folds))
        if tried[-1][0] <= GOOD:
            break
    _, owner = min(tried, key=lambda result: result[0])  # the first of equal ones
    of_row = np.empty(len(corpus), dtype=np.int64)
    for unit, fold in zip(units, owner, strict=True):
        of_row[list(unit.rows)] = fold
    return of_row


def _label_counts(corpus: Corpus, units: Sequence[Unit]) -> list[Counter[str]]:
    sets = corpus.label_sets
    return [Counter(name for row in unit.rows for name in sets[row] or ()) for unit in units]


def _weight(unit: Unit, seed: int, start: int) -> float:
    """Return what decides when a unit is dealt: its size, but for chance in all starts after the first."""
    chance = sha_key(seed, f"{start}:{unit.key}")[0] / 256 if start else 0.0
    return len(unit.rows) * (1 + chance)


def _deal(
    counts: NDArray[np.float64], sizes: NDArray[np.float64], order: Sequence[int], k: int
) -> tuple[float, list[int]]:
    """Return how uneven the folds are, and the fold of each unit.

    The cost of a fold is that of `secondcoder.splits.assignment.assign_groups`: the squared relative error of its
    size, and the chi-square distance of its label shares. Labels are added up one by one, since numpy's own sum
    orders its additions by processor.

    Parameters
    ----------
    counts : ndarray of shape (u, s)
        Rows of each unit by label; where a text may have several, it counts for each.
    sizes : ndarray of shape (u,)
        Rows of each unit.
    order
        In which units are dealt.
    k
        Number of folds.
    """
    n, totals = sizes.sum(), counts.sum(axis=0)  # whole numbers, so sums are exact
    labels = np.flatnonzero(totals)
    rows, held = np.zeros(k), np.zeros((len(totals), k))
    empty = np.ones(k, dtype=bool)
    owner = [0] * len(order)
    for place, u in enumerate(order):
        size = sizes[u]
        # What is added to the cost of each fold, times (n / k)².
        added = size * (2 * (rows - n / k) + size)
        for s in labels[counts[u][labels] > 0]:
            added = added + n / totals[s] * counts[u, s] * (2 * (held[s] - totals[s] / k) + counts[u, s])
        if len(order) - place <= empty.sum():  # the last units are for the folds that have none
            added = np.where(empty, added, np.inf)
        fold = int(np.argmin(added))
        rows[fold] += size
        held[:, fold] += counts[u]
        empty[fold] = False
        owner[u] = fold
    cost = sum(((rows - n / k) ** 2).tolist()) * (k / n) ** 2
    for s in labels:
        cost += sum(((held[s] - totals[s] / k) ** 2).tolist()) * k**2 / (totals[s] * n)
    return cost, owner


def _make_fold(
    corpus: Corpus, of_row: NDArray[np.int64], number: int, *, dev: float, seed: int, near: NearDuplicates
) -> Fold:
    rows: list[int] = np.flatnonzero(of_row == number).tolist()
    judged = {corpus.texts[row] for row in rows}
    left = [row for row in np.flatnonzero(of_row != number).tolist() if corpus.texts[row] not in judged]
    others = corpus.take(left)
    where = f"Fold {number + 1} of {of_row.max() + 1}"
    by: Resolved = "stratified" if corpus.groups is None else "group"
    try:
        draft = Draft(others, SplitSettings(dev=dev), seed, near.taken(left))
        draft.divide(draft.rows, by, draft.wanted(len(draft.rows), ("dev",)))
    except SplitError as error:
        raise SplitError(f"{where}, in the rows to learn from: {error.what}", error.cure) from error
    train, chosen = (others.take([r for r in draft.rows if draft.part_of.get(r) == p]) for p in ("train", "dev"))
    found = sum(count > 0 for count in train.label_counts().values())
    if found < 2 or not len(chosen):
        raise SplitError(
            f"{where} leaves {len(train)} train rows with {found} label(s), and {len(chosen)} dev rows.",
            "Ask for another number of folds, or label texts of more groups.",
        )
    return Fold(tuple(rows), corpus.take(rows), train, chosen)
