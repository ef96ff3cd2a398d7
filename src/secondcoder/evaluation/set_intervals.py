"""Intervals of figures of sets of labels.

In: which classes each text has, and is given. Out: limits by figure. The formulas are those of `count_intervals`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import DataError
from secondcoder.evaluation import metrics
from secondcoder.evaluation.count_intervals import (
    Tallies,
    average_limits,
    bounded_mean_interval,
    class_shares,
    shares_of,
    shown_limits,
)
from secondcoder.evaluation.intervals import LEVEL, Interval, Limits, loss_interval

Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]
_METHODS = {
    "exact-match": "wilson",
    "hamming-loss": "wilson-decisions",
    "macro": "mover",
    "micro": "wilson-decisions",
    "weighted": "wilson-effective",
    "weighted-recall": "wilson-decisions",
    "f1": "wilson-f1",
}


class SetTallies(NamedTuple):
    """What the units of one study, or of many, add up to.

    Attributes
    ----------
    classes
        Hits, gold and predicted rows of each class, each of shape (..., u, k). A unit occurs once.
    texts, right
        ndarray of shape (..., u). Texts of a unit, and those whose set is right as a whole.
    """

    classes: Tallies
    texts: Floats
    right: Floats


def set_limits(tallies: SetTallies, level: float) -> dict[str, Limits]:
    """Return the limits of every figure made of counts.

    Of a class: as with one label a text. Averages over classes: likewise, with the classes of a text varying together
    as they do in the data. Of decisions that are pooled over classes (micro averages, Hamming loss), those on one text
    hang together: the text is their unit, as a group is elsewhere, and they count at their effective number.

    Returns
    -------
    dict
        ``"exact-match"``, ``"hamming-loss"``, ``"micro-f1"`` … with limits of shape (...,); ``"precision"``,
        ``"recall"`` and ``"f1"`` with limits of shape (..., k).
    """
    own = tallies.classes
    k = own.hits.shape[-1]
    texts = tallies.texts[..., np.newaxis]
    decisions = own._replace(grouped=True, rows=tallies.texts * k)
    hits, support, predicted = (part.sum(axis=-1, keepdims=True) for part in own[:3])
    pooled = decisions._replace(hits=hits, support=support, predicted=predicted, constant=False)
    exact = shares_of(own, tallies.right[..., np.newaxis], texts, level)
    whole = {
        "exact-match": exact,
        "hamming-loss": shares_of(decisions, support + predicted - 2 * hits, texts * k, level),
        **{f"micro-{name}": shares for name, shares in class_shares(pooled, level).items()},
    }
    found = {
        name: Limits(*(np.where(shares.known, limit, np.nan)[..., 0] for limit in shares.limits))
        for name, shares in whole.items()
    }
    of_gold = np.einsum("...uk,...u->...k", own.support, own.times)
    for name, shares in class_shares(own, level).items():
        found[f"macro-{name}"] = average_limits(own, shares, exact, None, level)
        found[f"weighted-{name}"] = found["micro-recall"]
        if name != "recall":
            found[f"weighted-{name}"] = average_limits(own, shares, exact, of_gold, level)
        found[name] = shown_limits(shares)
    return found


def set_intervals(
    gold: Sets,
    given: Sets,
    of_texts: dict[str, Floats],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    constant: bool = False,
) -> dict[str, Interval | None]:
    """Return the interval of every figure.

    Parameters
    ----------
    gold, given
        ndarray of shape (n, k): which classes each text has, and is given.
    of_texts
        Figures that are means over texts, by name, with their value for each text, ndarray of shape (n,).
    label_names
        The k classes.
    groups
        The group of each text, or None where texts are independent.
    constant
        Whether all texts are given the same, whatever they are, and each class has a text.

    Returns
    -------
    dict
        By each name of `FigureNames.of`. None as for one label a text; averages have none where no text has a
        class.

    Raises
    ------
    DataError
        If there is not one group for each text.
    """
    if groups is not None and len(groups) != len(gold):
        raise DataError(f"{len(gold):,} rows, but {len(groups):,} groups.", "Give the group of each row.")
    if groups is not None and len(set(groups)) < 2:
        return dict.fromkeys(metrics.SETS.of(label_names))
    limits = set_limits(_tally(gold, given, groups, constant=constant), LEVEL) if gold.any() else {}
    found: dict[str, Interval | None] = {}
    for name in metrics.SETS.of(label_names):
        figure, colon, label = name.partition(":")
        method = _METHODS.get(name, _METHODS.get(name.partition("-")[0], _METHODS.get(figure, "wilson")))
        if groups is not None:
            method = f"grouped-{method}"
        if name in of_texts:
            mean = of_texts[name]
            found[name] = (
                bounded_mean_interval(mean, 1.0, groups) if name == "samples-f1" else loss_interval(mean, groups)
            )
        elif not limits:
            found[name] = None
        else:
            at = list(label_names).index(label) if colon else ...
            low, high = (float(limit[at]) for limit in limits[figure if colon else name])
            found[name] = None if np.isnan(low) else Interval(low, high, method)
    return found


def _tally(gold: Sets, given: Sets, groups: Sequence[str] | None, *, constant: bool) -> SetTallies:
    hits, support, predicted = (part.astype(np.float64) for part in (gold & given, gold, given))
    texts, right = np.ones(len(gold)), (gold == given).all(axis=1).astype(np.float64)
    if groups is not None:
        _, unit = np.unique(np.asarray(groups), return_inverse=True)
        hits, support, predicted = (_summed(part, unit) for part in (hits, support, predicted))
        texts, right = np.bincount(unit).astype(np.float64), np.bincount(unit, right)
    own = Tallies(hits, support, predicted, np.ones(len(texts)), groups is not None, texts, constant)
    return SetTallies(own, texts, right)


def _summed(values: Floats, unit: NDArray[np.int64]) -> Floats:
    """Return the sums over each unit, shape (u, k), of values of shape (n, k)."""
    sums = np.zeros((int(unit.max()) + 1, values.shape[1]))
    np.add.at(sums, unit, values)
    return sums
