"""Intervals of figures of sets of labels.

In: which classes each text has, and is given. Out: limits by figure. The formulas are those of `count_intervals`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import DataError
from secondcoder.evaluation import metrics
from secondcoder.evaluation.count_intervals import Tallies, as_f1, average_limits, equal_weights, likeness_of, shares_of
from secondcoder.evaluation.intervals import LEVEL, Interval, Limits, mean_interval

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
    hits, support, predicted = own[:3]
    together = own._replace(grouped=True)
    pooled_hits, pooled_support, pooled_predicted = (part.sum(axis=-1, keepdims=True) for part in own[:3])
    pooled = {
        "precision": shares_of(together, pooled_hits, pooled_predicted, level),
        "recall": shares_of(together, pooled_hits, pooled_support, level),
        "f1": as_f1(shares_of(together, pooled_hits, pooled_support + pooled_predicted - pooled_hits, level)),
    }
    likeness = likeness_of(own, pooled["recall"])
    figures = {
        "precision": shares_of(own, hits, predicted, level, likeness),
        "recall": shares_of(own, hits, support, level, likeness),
        "f1": as_f1(shares_of(own, hits, support + predicted - hits, level, likeness)),
    }
    right, texts = tallies.right[..., np.newaxis], tallies.texts[..., np.newaxis]
    wrong = pooled_support + pooled_predicted - 2 * pooled_hits
    whole = {
        "exact-match": shares_of(own, right, texts, level),
        "hamming-loss": shares_of(together, wrong, texts * hits.shape[-1], level),
        **{f"micro-{name}": shares for name, shares in pooled.items()},
    }
    found = {
        name: Limits(*(np.where(shares.known, limit, np.nan)[..., 0] for limit in shares.limits))
        for name, shares in whole.items()
    }
    present = (support + predicted).sum(axis=-2) > 0
    for name, shares in figures.items():
        found[f"macro-{name}"] = average_limits(own, shares, equal_weights(present), level)
        found[f"weighted-{name}"] = found["micro-recall"]
        if name != "recall":
            found[f"weighted-{name}"] = average_limits(own, shares, None, level)
        given = shares.known & (shares.units > (1 if own.grouped else 0))
        found[name] = Limits(*(np.where(given, limit, np.nan) for limit in shares.limits))
    if support.shape[-2] < 2 and own.grouped:
        return {name: Limits(*(np.full_like(limit, np.nan) for limit in limits)) for name, limits in found.items()}
    return found


def set_intervals(
    gold: Sets,
    given: Sets,
    of_texts: dict[str, Floats],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    level: float = LEVEL,
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
    limits = set_limits(_tally(gold, given, groups), level) if gold.any() else {}
    found: dict[str, Interval | None] = {}
    for name in metrics.SETS.of(label_names):
        figure, colon, label = name.partition(":")
        method = _METHODS.get(name, _METHODS.get(name.partition("-")[0], _METHODS.get(figure, "wilson")))
        if groups is not None:
            method = f"grouped-{method}"
        if name in of_texts:
            mean = mean_interval(of_texts[name], groups, level=level, lowest=0.0)
            most = 1.0 if name == "samples-f1" else np.inf
            found[name] = None if mean is None else replace(mean, high=min(mean.high, most))
        elif not limits:
            found[name] = None
        else:
            at = list(label_names).index(label) if colon else ...
            low, high = (float(limit[at]) for limit in limits[figure if colon else name])
            found[name] = None if np.isnan(low) else Interval(low, high, method)
    return found


def _tally(gold: Sets, given: Sets, groups: Sequence[str] | None) -> SetTallies:
    hits, support, predicted = (part.astype(np.float64) for part in (gold & given, gold, given))
    texts, right = np.ones(len(gold)), (gold == given).all(axis=1).astype(np.float64)
    if groups is not None:
        _, unit = np.unique(np.asarray(groups), return_inverse=True)
        hits, support, predicted = (_summed(part, unit) for part in (hits, support, predicted))
        texts, right = np.bincount(unit).astype(np.float64), np.bincount(unit, right)
    own = Tallies(hits, support, predicted, np.ones(len(texts)), grouped=groups is not None)
    return SetTallies(own, texts, right)


def _summed(values: Floats, unit: NDArray[np.int64]) -> Floats:
    """Return the sums over each unit, shape (u, k), of values of shape (n, k)."""
    sums = np.zeros((int(unit.max()) + 1, values.shape[1]))
    np.add.at(sums, unit, values)
    return sums
