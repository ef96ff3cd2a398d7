"""Figures of two on the same texts, and what is known of their difference.

In: what each text adds to sums from which the figures of both are computed, and groups. Out: a `Difference` for each.
The label schemes say which figures there are; the formulas are in `paired_tests` and `permutation`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.evaluation import paired_tests
from secondcoder.evaluation.comparison import ALPHA, Difference
from secondcoder.evaluation.intervals import FEWEST_GROUPS, LEVEL, Interval, quantile_of
from secondcoder.evaluation.paired_tests import Batches, Counts, Floats, McNemar
from secondcoder.evaluation.permutation import FEWEST_UNITS, Statistic, swap_test

FEWEST_GOLD_TEXTS = 5
"""With fewer gold texts of a class, no interval of a difference in its F1 would hold what it promises."""
Outcomes = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]
# Added to the texts before a standard error is taken, for each class: half as a text that only the first gets right and
# half as one that only the second does. (Agresti & Min 2005, doi:10.1002/sim.1781, add as much for one share.) Without
# them, two classifiers that happen to agree on all texts of a class would be taken as equal there. What other amounts
# and other methods do is in benchmarks/results/2026-11-29-comparison.md.
ADDED_TEXTS = 1.0


@dataclass(frozen=True, eq=False)
class PairedFigures:
    """f figures of both that are computed from sums over n texts.

    Attributes
    ----------
    names
        Of the figures.
    kinds
        ndarray of shape (u, s): what a text of each kind adds to the sums.
    kind
        ndarray of shape (n,): the kind of each text, as a row of `kinds`.
    statistic
        From sums, shape (…, s), to the figures of first and second, shape (…, 2, f).
    swapped
        ndarray of shape (s,): which column stands in the place of each, once first and second are swapped.
    bounds
        The largest size that the difference in each can have.
    added
        Kinds and counts, batches of shapes (a, s) and (a,), that standard errors of independent texts take in beside
        the texts; None: none.
    step
        How much of a text these leave out at a time, see `paired_tests.jackknife`.
    """

    names: tuple[str, ...]
    kinds: Floats
    kind: Counts
    statistic: Statistic
    swapped: Counts
    bounds: tuple[float, ...]
    added: Batches | None = None
    step: float = 1.0

    def difference(self, sums: Floats) -> Floats:
        """Return second minus first, shape (…, f), from sums of shape (…, s)."""
        both = self.statistic(sums)
        found: Floats = both[..., 1, :] - both[..., 0, :]
        return found


def paired_units(groups: Sequence[str] | None) -> tuple[Counts | None, int | None]:
    """Return the group of each text where differences go by groups, else None; and how many groups there are.

    As in `secondcoder.evaluation.intervals.units_of`, of fewer than five groups nothing is said on others: texts are
    the units then. ``""`` is a group of its own each time.
    """
    if groups is None:
        return None, None
    places = paired_tests.group_places(groups)
    n = int(places.max()) + 1
    return (places if n >= FEWEST_GROUPS else None), n


def differences(
    figures: PairedFigures,
    places: Counts | None = None,
    *,
    exact: tuple[str, McNemar] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> dict[str, Difference]:
    """Return the difference of each figure that is defined for both, second minus first, by name.

    Its p value is the larger of two: of the paired permutation test, and of Student's t with a standard error. The
    interval is that of t, widened to 0 where the permutation test does not reject 0. So a p value below 0.05 and an
    interval without 0 are one and the same.

    The standard error of independent texts is the delta method's (for means: the paired one); with groups it is that of
    the jackknife over them, and never less than that of independent texts.

    Parameters
    ----------
    figures
        What is compared.
    places
        ndarray of shape (n,): the group of each text, see `paired_units`; None if texts are the units.
    exact
        Name of the figure that is a share of texts, and its exact test, which takes texts as independent. Where they
        are, it stands for both tests, beside Tango's interval.
    reasons
        By figure, why it has no interval, and so no p value.
    """
    n = len(figures.kind)
    counts = np.bincount(figures.kind, minlength=len(figures.kinds))
    values = figures.statistic((counts[:, np.newaxis] * figures.kinds).sum(axis=0))  # (2, f)
    errors = _errors(figures, counts)
    units, of_kind, degrees, method = figures.kinds, counts, float(n - 1), "paired-t"
    if places is not None:
        sums = paired_tests.group_sums(np.column_stack([figures.kinds[figures.kind], np.ones(n)]), places)
        units, of_kind = sums[:, :-1], np.ones(len(sums), dtype=np.int64)
        degrees, method = paired_tests.group_degrees(sums[:, -1]), "paired-jackknife-t"
        if exact is not None:
            at = figures.names.index(exact[0])
            errors[at] = max(errors[at], _width(_tango(exact[1], n)) / 2 / float(quantile_of(LEVEL)))
        # Few groups can be more alike than texts that are drawn one by one, and even all the same, by chance.
        errors = np.maximum(
            errors, np.nan_to_num(paired_tests.jackknife(figures.difference, units, of_kind.astype(np.float64)))
        )
    enough = (n if places is None else len(units)) >= FEWEST_UNITS
    tested = swap_test(figures.statistic, units, of_kind, figures.swapped)
    found: dict[str, Difference] = {}
    for i, (name, bound, error) in enumerate(zip(figures.names, figures.bounds, errors.tolist(), strict=True)):
        if not np.isfinite([*values[:, i], error]).all():
            continue
        first, second = (float(value) for value in values[:, i])
        d = Difference(name, first, second, second - first, differing=int(tested.differing[i]))
        by_counts = exact[1] if exact is not None and name == exact[0] and places is None else None
        # Tango's interval and McNemar's test need no spread, as where one is right on all texts and the other on none.
        why = (reasons or {}).get(name) or _no_spread(error if by_counts is None else math.inf, second - first, n)
        if why:
            found[name] = replace(d, reason=why)
            continue
        if by_counts is not None:
            interval, p = _tango(by_counts, n), by_counts.p_value
        else:
            interval = paired_tests.t_interval(second - first, error, degrees, method)
            p = max(float(tested.p_values[i]), paired_tests.t_test(second - first, error, degrees))
        least = paired_tests.detectable(error, degrees)
        found[name] = replace(
            d,
            interval=_agreeing(interval, p, bound),
            p_value=p,
            # Where no swap changes the figure, the spread is that of the added texts alone.
            detectable=least if enough and d.differing and least is not None and least <= bound else None,
        )
    return found


def f1_figures(
    outcomes: Outcomes,
    names: Sequence[str],
    *,
    kind: Counts | None = None,
    added: Callable[[], Iterable[tuple[Outcomes, Floats]]] | None = None,
    pooled: bool = False,
) -> PairedFigures:
    """Return macro-F1, where wanted micro-F1, and F1 of each class.

    Parameters
    ----------
    outcomes
        Which classes texts have in gold, and from the first and the second: each ndarray of shape (u, k).
    names
        The k classes.
    kind
        ndarray of shape (n,): of each text, its row in `outcomes`; None: the texts themselves.
    added
        Texts of the same form, and how many of each, that standard errors take in, batch by batch.
    pooled
        Whether micro-F1 is one of the figures.
    """
    k = len(names)

    def statistic(sums: Floats) -> Floats:
        support, *counts = np.split(sums, 5, axis=-1)
        found = []
        for hits, given in (counts[:2], counts[2:]):
            whole = support + given
            f1 = np.divide(2 * hits, whole, out=np.zeros_like(whole), where=whole > 0)
            # A class that is in neither gold nor the labels is left out of the average (metrics.macro_average).
            averages = [f1.sum(axis=-1) / np.maximum((whole > 0).sum(axis=-1), 1)]
            if pooled:
                both = whole.sum(axis=-1)
                averages.append(2 * hits.sum(axis=-1) / np.where(both > 0, both, 1.0))
            found.append(np.concatenate([np.stack(averages, axis=-1), f1], axis=-1))
        return np.stack(found, axis=-2)

    figures = ("macro-f1", *(("micro-f1",) if pooled else ()), *(f"f1:{name}" for name in names))
    columns = np.arange(5 * k).reshape(5, k)
    return PairedFigures(
        names=figures,
        kinds=_columns(*outcomes),
        kind=np.arange(len(outcomes[0])) if kind is None else kind,
        statistic=statistic,
        swapped=columns[[0, 3, 4, 1, 2]].ravel(),
        bounds=(1.0,) * len(figures),
        added=None if added is None else lambda: ((_columns(*own), times) for own, times in added()),
        step=1e-4,
    )


def _columns(gold: NDArray[np.bool_], first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Floats:
    """Return what texts add to gold rows, and to hits and given labels of both, by class: shape (u, 5 k)."""
    parts = (gold, gold & first, first, gold & second, second)
    return np.concatenate(parts, axis=1).astype(np.float64)


def means(values: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], bounds: Mapping[str, float]) -> PairedFigures:
    """Return figures that are means over texts: of each the values of first and second, shape (n,), by name."""
    both = [np.asarray(own, dtype=np.float64) for pair in values.values() for own in pair]
    kinds = np.column_stack([np.ones(len(both[0])), *both])
    odd = np.arange(1, len(both), 2)

    def statistic(sums: Floats) -> Floats:
        averages = sums[..., 1:] / sums[..., :1]
        return np.stack([averages[..., ::2], averages[..., 1::2]], axis=-2)

    return PairedFigures(
        names=tuple(values),
        kinds=kinds,
        kind=np.arange(len(kinds)),
        statistic=statistic,
        swapped=np.concatenate([[0], np.column_stack([odd + 1, odd]).ravel()]),
        bounds=tuple(bounds.get(name, math.inf) for name in values),
    )


def reasons_of_classes(is_gold: NDArray[np.bool_], names: Sequence[str], places: Counts | None) -> dict[str, str]:
    """Return why F1 of a class, or macro-F1, has no interval, by name of the figure.

    Parameters
    ----------
    is_gold
        ndarray of shape (n, k): which texts are of which class.
    names
        The k classes.
    places
        ndarray of shape (n,): the group of each text, or None.
    """
    found = {}
    rows = is_gold.sum(axis=0)
    in_groups = (
        None if places is None else (paired_tests.group_sums(is_gold.astype(np.float64), places) > 0).sum(axis=0)
    )
    for i, name in enumerate(names):
        if not rows[i]:
            found[f"f1:{name}"] = f"class {name!r} is not in this part"
        elif rows[i] < FEWEST_GOLD_TEXTS:
            many = f"{rows[i]} gold text{'' if rows[i] == 1 else 's'}"
            found[f"f1:{name}"] = f"class {name!r} has {many}, fewer than {FEWEST_GOLD_TEXTS}"
        elif in_groups is not None and in_groups[i] == 1:
            found[f"f1:{name}"] = f"all gold texts of class {name!r} are in one group"
    absent = [repr(name) for name, n in zip(names, rows, strict=True) if not n]
    if absent:
        said = f"class {absent[0]} is" if len(absent) == 1 else f"classes {', '.join(absent)} are"
        found["macro-f1"] = f"{said} not in this part"
    return found


def undefined(is_gold: NDArray[np.bool_], names: Sequence[str], reasons: Mapping[str, str]) -> dict[str, Difference]:
    """Return the differences that have no value: in F1 of classes without a gold text."""
    missing = [f"f1:{name}" for name, there in zip(names, is_gold.sum(axis=0).tolist(), strict=True) if not there]
    return {name: Difference(name, None, None, None, reason=reasons[name]) for name in missing}


def _errors(figures: PairedFigures, counts: Counts) -> Floats:
    """Return the standard errors of the differences between independent texts, shape (f,)."""
    return paired_tests.jackknife(
        figures.difference, figures.kinds, counts.astype(np.float64), step=figures.step, more=figures.added
    )


def _no_spread(error: float, difference: float, n: int) -> str:
    """Return why there is no spread to judge by; nothing where there is some."""
    if n < 2:
        return "one text has no spread to judge by"
    # a difference that is the same in every text, to the last digit
    return "it is the same in every text" if error < 1e-9 * abs(difference) else ""


def _tango(exact: McNemar, n: int) -> Interval:
    return paired_tests.tango(exact.first_only, exact.second_only, n)


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def _agreeing(interval: Interval, p: float, bound: float) -> Interval:
    """Return the interval within what is possible, and with 0 in it where 0 is not rejected.

    A 95 % interval is the set of differences that are not rejected at 5 %: widening it to one that is not can only add
    to how often it holds the truth.
    """
    low, high = max(interval.low, -bound), min(interval.high, bound)
    if p >= ALPHA:
        low, high = min(low, 0.0), max(high, 0.0)
    return replace(interval, low=low, high=high)
