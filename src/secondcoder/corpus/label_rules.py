"""The best simple rule by which one label follows from a column, however rare the label is.

In: the values of a column in one of several readings, which rows have which label, the fold of each row. Out: `Judged`,
the label and the rule that go together best, if they do.

A rule is simple: certain values; numbers above or below one cut; values that hold a certain token. It is learned from
four folds and judged on the fifth, for each label against all others. Two figures say how well it does, and a rare
label drowns in neither: Youden's index, the share of the label's texts that the rule finds less the share of the others
that it takes for them; and Cohen's kappa, which stays low where it finds them among many others. A rule is learned by
the one of the two that lacks more of what is asked of it. By chance it must not come to that: the binomial probability
that as many of the label's rows are found by guessing as often.

References
----------
Cohen 1960, A coefficient of agreement for nominal scales, doi:10.1177/001316446002000104.
Youden 1950, Index for rating diagnostic tests, doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import bdtrc

FOUND = 0.7
"""Youden's index from which a rule tells a label: with two labels of the same frequency, 85 % right."""
AGREEMENT = 0.5
"""Kappa from which it does. A second coder who errs on 3 % of all texts has 0.65 on a label of 3 %."""
CHANCE = 1e-6
"""Probability up to which so many could be found by chance: many columns, labels and rules are tried."""
FEWEST = 5
"""Rows of the label below which nothing is said."""
FEWEST_SEEN = 3
"""Rows of a value that a rule must have learned from: rows that share a value by twos agree by chance by twos."""
SHARE_KNOWN = 0.2
"""Share of the label's rows, and of the others, about which a rule must say something."""
LONGEST = 200
"""Characters up to which a value is cut into tokens: what is longer is a text, not an address or a name."""
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rule = Callable[[Mask, Mask], "Told"]
"""Learns from some rows (second mask) to tell those that have a label (first mask)."""


@dataclass(frozen=True, eq=False)
class Told:
    """What a rule says.

    Attributes
    ----------
    told, known : ndarrays of shape (n,)
        Whether a row has the label by the rule; whether the rule says anything about it.
    what
        The rule in words; empty where the values themselves decide.
    """

    told: Mask
    known: Mask
    what: str


@dataclass(frozen=True)
class Judged:
    """How well a rule tells a label, on rows that it did not learn from.

    Attributes
    ----------
    label
        That is told.
    found
        Share of its rows that the rule finds.
    right
        Share of the rows that it finds which have the label.
    strength
        The lesser of Youden's index and kappa, each as a share of what is asked of it; from 1 on, the label is told.
    what
        The rule in words.
    """

    label: str
    found: float
    right: float
    strength: float
    what: str


def best_rule(rules: Iterable[Rule], has: Mapping[str, Mask], folds: Codes) -> Judged | None:
    """Return the label and the rule that go together best, the first of several, or None if none do.

    Parameters
    ----------
    rules
        From `values_rule`, `threshold_rule` or `token_rule`.
    has
        ndarrays of shape (n,): which rows have each label.
    folds : ndarray of shape (n,)
        The fold of each row.
    """
    best = None
    everywhere = np.ones(len(folds), np.bool_)
    for rule in rules:
        for label, own in has.items():
            fewest = max(FEWEST, SHARE_KNOWN * own.sum()), max(FEWEST, SHARE_KNOWN * (~own).sum())
            if own.sum() < fewest[0] or (~own).sum() < fewest[1]:
                continue
            whole = rule(own, everywhere)
            if _strength(*_counts(own, whole.told, whole.known)) < 1:
                continue  # what is not there in all rows is not there out of fold
            told, known = np.zeros(len(folds), np.bool_), np.zeros(len(folds), np.bool_)
            for fold in np.unique(folds):
                held = folds == fold
                said = rule(own, ~held)
                told[held], known[held] = said.told[held], said.known[held]
            hits, false, positive, negative = _counts(own, told, known)
            if positive < fewest[0] or negative < fewest[1]:
                continue
            if bdtrc(hits - 1, positive, (hits + false) / (positive + negative)) > CHANCE:
                continue
            strength = float(_strength(hits, false, positive, negative))
            if strength >= max(1.0, 0.0 if best is None else best.strength + 1e-9):
                best = Judged(label, hits / positive, hits / (hits + false), strength, whole.what)
    return best


def values_rule(what: str, codes: Codes) -> Rule:
    """Return the rule that certain values have the label; `codes` of shape (n,) are whole numbers from 0 on."""
    n_values = int(codes.max()) + 1

    def learn(own: Mask, rows: Mask) -> Told:
        total = np.bincount(codes[rows], minlength=n_values)
        hits = np.bincount(codes[rows & own], minlength=n_values)
        seen = total >= FEWEST_SEEN
        total, hits = total * seen, hits * seen
        order = np.argsort(-hits / np.maximum(total, 1), kind="stable")
        reached = np.cumsum(hits[order]), np.cumsum((total - hits)[order])
        cut = int(np.argmax(_strength(*reached, hits.sum(), total.sum() - hits.sum()))) + 1
        chosen = np.zeros(n_values, np.bool_)
        chosen[order[:cut]] = True
        return Told(chosen[codes], seen[codes], what)

    return learn


def threshold_rule(numbers: NDArray[np.float64]) -> Rule:
    """Return the rule that numbers, shape (n,), above or below one cut have the label."""
    order = np.argsort(numbers, kind="stable")

    def learn(own: Mask, rows: Mask) -> Told:
        ranked = order[rows[order]]
        values = numbers[ranked]
        hits = np.cumsum(own[ranked])  # up to each number
        false = np.arange(1, len(ranked) + 1) - hits
        ends = np.flatnonzero(values[1:] != values[:-1])
        total = hits[-1], false[-1]
        up_to = _strength(hits[ends], false[ends], *total)
        above = _strength(total[0] - hits[ends], total[1] - false[ends], *total)
        is_above = above.max(initial=-1) > up_to.max(initial=-1)
        at = ends[int(np.argmax(above if is_above else up_to))] if len(ends) else len(ranked) - 1
        cut = values[at]
        told = numbers > cut if is_above else numbers <= cut
        return Told(told, np.ones(len(numbers), np.bool_), f"{'above' if is_above else 'up to'} {cut:g}")

    return learn


_TOKEN = re.compile(r"\w+=\w+|[^\W_]+")  # "lab=1" is one


def token_rule(values: Sequence[str]) -> Rule:
    """Return the rule that values, n of them, which hold a certain token have the label."""
    found = [set(_TOKEN.findall(value.casefold())) if len(value) <= LONGEST else set() for value in values]
    counts = Counter(token for tokens in found for token in tokens)
    names = sorted(token for token, n in counts.items() if FEWEST <= n < len(values))
    place = {token: i for i, token in enumerate(names)}
    cells = [(place[token], row) for row, tokens in enumerate(found) for token in tokens if token in place]
    at, rows_of = np.array(cells, np.int64).reshape(-1, 2).T
    holds: Any = csr_array((np.ones(len(cells), np.int64), (at, rows_of)), shape=(len(names), len(values)))
    known = np.ones(len(values), np.bool_)

    def learn(own: Mask, rows: Mask) -> Told:
        if not names:
            return Told(~known, known, "")
        hits = holds @ (own & rows).astype(np.int64)
        false = holds @ (rows & ~own).astype(np.int64)
        best = int(np.argmax(_strength(hits, false, (own & rows).sum(), (rows & ~own).sum())))
        told = np.zeros(len(values), np.bool_)
        told[holds[[best]].indices] = True
        return Told(told, known, f"where it holds {names[best]!r}")

    return learn


def _counts(own: Mask, told: Mask, known: Mask) -> tuple[int, int, int, int]:
    """Return the rows that are told rightly and wrongly, and how many have the label and not, all of known ones."""
    return (
        int((own & told & known).sum()),
        int((~own & told & known).sum()),
        int((own & known).sum()),
        int((~own & known).sum()),
    )


def _strength(hits: Any, false: Any, positive: Any, negative: Any) -> Any:
    """Return the lesser of Youden's index and kappa, each as a share of what is asked of it; any shapes.

    Kappa is that of the 2 × 2 table, by its determinant.
    """
    hits, false = np.asarray(hits, np.float64), np.asarray(false, np.float64)
    positive, negative = float(positive), float(negative)
    if not positive or not negative:
        return np.full(hits.shape, -1.0)
    told = hits + false
    determinant = hits * (negative - false) - false * (positive - hits)
    by_chance = told * negative + (positive + negative - told) * positive
    return np.minimum(determinant / (positive * negative) / FOUND, 2 * determinant / by_chance / AGREEMENT)
