"""Limits of all figures that are made of counts, from tallies of units; many studies at once.

In: `Tallies`: for each unit and class the hits, gold rows and predicted rows. Where rows are independent, a unit is a
pair (gold, predicted) and stands for as many rows as there are of it; else it is a group. Out: limits by name; from
gold labels and probabilities, an `Interval` for every figure of one label a text. `benchmarks/coverage.py` hands in
thousands of studies, so that what is measured is what is used.

In the shapes below ``...`` are studies, u units, k classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import DataError
from secondcoder.evaluation import metrics
from secondcoder.evaluation.intervals import (
    LEVEL,
    Counts,
    Interval,
    Limits,
    expected_parts,
    freedom_of,
    group_codes,
    mean_interval,
    quantile_of,
    wilson,
    wilson_limits,
)
from secondcoder.evaluation.metrics import SMALLEST_PROBABILITY

Floats = NDArray[np.float64]
# How alike rows of a group are in being right, before anything is known: the intraclass correlation, and its doubt as a
# standard deviation.
LIKENESS, LIKENESS_DOUBT = 0.05, 0.15


class Tallies(NamedTuple):
    """What the units of one study, or of many, add up to.

    Attributes
    ----------
    hits, support, predicted
        ndarray of shape (..., u, k). Rows of a unit that are of a class and given it, are of it, are given it.
    times
        ndarray of shape (..., u). How often a unit occurs: rows of a pair, 1 for a group.
    grouped
        Whether units are groups.
    """

    hits: Floats
    support: Floats
    predicted: Floats
    times: Floats
    grouped: bool


class Shares(NamedTuple):
    """Ratios of counts, one for each class, and how uncertain they are.

    Attributes
    ----------
    value
        ndarray of shape (..., k); 0 where undefined.
    known
        ndarray of shape (..., k). Whether the ratio is defined.
    units
        ndarray of shape (..., k). Number of units that it is made of.
    influence
        ndarray of shape (..., u, k). By how much a unit moves the ratio.
    variance
        ndarray of shape (..., k). The squared influences, summed.
    spread
        ndarray of shape (..., u, k). The part of the variance that a unit is expected to cause; sums to 1 over units.
    effect
        ndarray of shape (..., k). The variance as a multiple of that of independent rows: the design effect.
    rows
        ndarray of shape (..., k). The rows that a ratio is a share of, divided by that effect.
    of_row
        ndarray of shape (..., k). The variance that a single row would have.
    quantile
        ndarray of shape (..., k). How many standard errors the limits are away, of the normal or of a t distribution.
    limits
        0 and 1 where undefined.
    """

    value: Floats
    known: NDArray[np.bool_]
    units: NDArray[np.int64]
    influence: Floats
    variance: Floats
    spread: Floats
    effect: Floats
    rows: Floats
    of_row: Floats
    quantile: Floats
    limits: Limits


def figure_limits(tallies: Tallies, level: float) -> dict[str, Limits]:
    """Return the limits of every figure made of counts.

    Returns
    -------
    dict
        ``"accuracy"``, ``"balanced-accuracy"``, ``"macro-f1"`` … with limits of shape (...,); ``"precision"``,
        ``"recall"`` and ``"f1"`` with limits of shape (..., k).
    """
    hits, support, predicted = tallies.hits, tallies.support, tallies.predicted
    pooled = shares_of(tallies, hits.sum(axis=-1, keepdims=True), support.sum(axis=-1, keepdims=True), level)
    likeness = likeness_of(tallies, pooled)
    figures = {
        "precision": shares_of(tallies, hits, predicted, level, likeness),
        "recall": shares_of(tallies, hits, support, level, likeness),
        "f1": as_f1(shares_of(tallies, hits, support + predicted - hits, level, likeness)),
    }
    of_gold, of_predicted = (np.einsum("...uk,...u->...k", part, tallies.times) for part in (support, predicted))
    accuracy = Limits(*(limit[..., 0] for limit in pooled.limits))
    found = {
        "accuracy": accuracy,
        "balanced-accuracy": average_limits(tallies, figures["recall"], equal_weights(of_gold > 0), level),
    }
    for name, shares in figures.items():
        found[f"macro-{name}"] = average_limits(tallies, shares, equal_weights(of_gold + of_predicted > 0), level)
        found[f"micro-{name}"] = accuracy
        found[f"weighted-{name}"] = accuracy if name == "recall" else average_limits(tallies, shares, None, level)
        given = shares.known & (shares.units > (1 if tallies.grouped else 0))
        found[name] = Limits(*(np.where(given, limit, np.nan) for limit in shares.limits))
    if tallies.grouped and support.shape[-2] < 2:
        return {name: Limits(*(np.full_like(limit, np.nan) for limit in limits)) for name, limits in found.items()}
    return found


def equal_weights(present: NDArray[np.bool_]) -> Floats:
    """Return the same weight for each class that is there, shape (..., k); they sum to 1, or are 0 where none is."""
    shares: Floats = present / np.maximum(present.sum(axis=-1, keepdims=True), 1)
    return shares


def shares_of(tallies: Tallies, part: Floats, whole: Floats, level: float, likeness: Floats | None = None) -> Shares:
    """Return ratios of summed counts with Wilson's limits, for groups at their effective number of rows.

    For groups the variance is that of the leave-one-group-out jackknife. A group with the share w of the rows moves the
    ratio by ``(part - ratio * whole) / (sum(whole) (1 - w))`` when it is left out: no refitting is needed. The
    effective number of rows is ``n / effect``, and never more than n.

    References
    ----------
    MacKinnon, Nielsen & Webb (2023), Journal of Applied Econometrics 38(5), 671–694. doi:10.1002/jae.2969
    Korn & Graubard (1998), Survey Methodology 24(2), 193–201.
    Dean & Pagano (2015), Journal of Survey Statistics and Methodology 3(4), 484–503. doi:10.1093/jssam/smv024
    """
    times = tallies.times[..., np.newaxis]
    n = (whole * times).sum(axis=-2)
    safe = np.where(n > 0, n, 1.0)
    value = (part * times).sum(axis=-2) / safe
    influence = (part - value[..., np.newaxis, :] * whole) / safe[..., np.newaxis, :]
    weights = whole * times / safe[..., np.newaxis, :]
    if not tallies.grouped:
        variance = (np.square(influence) * times).sum(axis=-2)
        quantile = np.broadcast_to(quantile_of(level), n.shape)
        limits = wilson_limits(value, n, quantile)
        units, none = (whole * times > 0).sum(axis=-2), np.ones(n.shape)
        of_row = value * (1 - value)
        return Shares(value, n > 0, units, influence, variance, weights, none, n, of_row, quantile, limits)
    units = (whole > 0).sum(axis=-2)
    # Scaled such that the variance is the plain sum of squares, as it is for independent rows.
    scale = np.sqrt(np.maximum(units - 1, 0) / np.maximum(units, 1))
    influence = influence / np.where(weights < 1, 1 - weights, 1.0) * scale[..., np.newaxis, :]
    variance = np.square(influence).sum(axis=-2)
    alone = value * (1 - value) / safe
    size = np.maximum(np.square(whole).sum(axis=-2) / safe, 1.0)  # the mean size of the group that a row is in
    expected = 1 + (LIKENESS if likeness is None else likeness[..., np.newaxis]) * (size - 1)
    seen = np.where((alone > 0) & (units > 1), variance / np.where(alone > 0, alone, 1.0), expected)
    effect, freedom = moderated(seen, expected, size, weights)
    spread = expected_parts(weights, effect, axis=-2)
    quantile = quantile_of(level, freedom)
    limits = wilson_limits(value, n / effect, quantile)
    rows, of_row = n / effect, value * (1 - value)
    return Shares(value, n > 0, units, influence, variance, spread, effect, rows, of_row, quantile, limits)


def moderated(seen: Floats, expected: Floats, size: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the design effect to count with, and its degrees of freedom, from the one seen and the one expected.

    What few groups show of the effect is uncertain; what can be expected of groups of this size is so too, but the less
    the smaller they are: rows that are each of another group are independent, whatever the likeness. The two are
    weighted by their degrees of freedom, as is done for variances of few samples, and these add up.

    References
    ----------
    Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3(1), 3. doi:10.2202/1544-6115.1027
    """
    own = freedom_of(expected_parts(weights, np.maximum(seen, 1.0), axis=-2), axis=-2)
    # A scaled inverse chi-squared with d degrees of freedom has the squared coefficient of variation 2 / d, about.
    doubt = np.square(LIKENESS_DOUBT * (size - 1) / expected)
    share = 1 / (1 + own * doubt / 2)  # of what is expected
    freedom = own / np.where(share < 1, 1 - share, 1e-9)
    return np.maximum(share * expected + (1 - share) * seen, 1.0), freedom


def likeness_of(tallies: Tallies, pooled: Shares) -> Floats:
    """Return how alike rows of one group are in being right, from 0 to 1: the intraclass correlation."""
    sizes = tallies.support.sum(axis=-1)  # (..., u)
    size = np.square(sizes).sum(axis=-1) / np.maximum(sizes.sum(axis=-1), 1.0)
    found = (pooled.effect[..., 0] - 1) / np.where(size > 1, size - 1, 1.0)
    return np.clip(found, 0.0, 1.0)


def as_f1(jaccard: Shares) -> Shares:
    """Return F1 from TP / (TP + FP + FN), of which it is the rising function ``2 J / (1 + J)``; limits go along.

    References
    ----------
    Lam, Gopal & Qian (2023), arXiv 2309.14621.
    """
    slope = 2 / np.square(1 + jaccard.value)
    return jaccard._replace(
        value=_f1(jaccard.value),
        influence=jaccard.influence * slope[..., np.newaxis, :],
        variance=jaccard.variance * np.square(slope),
        of_row=jaccard.of_row * np.square(slope),
        limits=Limits(*(_f1(limit) for limit in jaccard.limits)),
    )


def _f1(jaccard: Floats) -> Floats:
    return 2 * jaccard / (1 + jaccard)


def average_limits(tallies: Tallies, shares: Shares, weights: Floats | None, level: float) -> Limits:
    """Return the limits of a weighted mean over the classes; weights None: by gold rows, which are uncertain too.

    Two intervals, and the wider at each end:

    - Wilson's at the effective number of rows, that is, the variance of a single row divided by that of the mean. The
      latter is that of the summed influences, in which classes vary together as they do in the data, with each class's
      own part replaced by the one that its Wilson interval stands for: of a class with three rows, all right, the
      influences tell nothing.
    - MOVER, which adds up the distances from each class's figure to its limits. It counts for a mean in which each
      class weighs the same, where one with few rows can be far off to one side.

    References
    ----------
    Zou & Donner (2008), Statistics in Medicine 27(10), 1693–1702. doi:10.1002/sim.3095
    """
    equal = weights is not None
    of_gold = np.einsum("...uk,...u->...k", tallies.support, tallies.times)
    n = of_gold.sum(axis=-1)
    w = of_gold / n[..., np.newaxis] if weights is None else weights
    mean = (w * shares.value).sum(axis=-1)
    influence = np.einsum("...uk,...k->...u", shares.influence, w)
    if not equal:
        moved = np.einsum("...uk,...k->...u", tallies.support, shares.value) - tallies.support.sum(-1) * mean[..., None]
        influence = influence + moved / n[..., np.newaxis]
    variance = (np.square(influence) * tallies.times).sum(axis=-1)
    z = quantile_of(level)
    half = (shares.limits.high - shares.limits.low) / 2
    own = np.square(half / np.where(shares.known, shares.quantile, z))
    variance = np.maximum(variance + (np.square(w) * (own - shares.variance)).sum(axis=-1), variance / 2)
    quantile: Floats = np.broadcast_to(z, n.shape)
    if tallies.grouped:
        parts = np.square(w) * np.maximum(own, shares.variance) * shares.known
        total = parts.sum(axis=-1, keepdims=True)
        parts = np.where(total > 0, parts / np.where(total > 0, total, 1.0), equal_weights(np.ones(parts.shape)))
        quantile = quantile_of(level, freedom_of(np.einsum("...uk,...k->...u", shares.spread, parts), axis=-1))
    # An undefined figure counts as 0 in the mean, but is not known to be 0: the interval reaches from where the mean
    # with it may lie to where that of the others may.
    defined = np.where(shares.known, w, 0.0)
    weight = defined.sum(axis=-1)
    centre = np.where(weight > 0, (defined * shares.value).sum(axis=-1) / np.where(weight > 0, weight, 1.0), mean)
    # The variance of a single row is taken as Wilson's intervals of the classes have it: at 0 and 1 it is not 0.
    more = (defined * (own * shares.rows - shares.of_row)).sum(axis=-1)
    both = []
    for middle in (centre, mean):
        effective = (middle * (1 - middle) + more) / np.where(variance > 0, variance, np.inf)
        both.append(wilson_limits(middle, np.clip(effective, 0.0, n), quantile))
    low, high = np.minimum(both[0].low, both[1].low), np.maximum(both[0].high, both[1].high)
    if equal:
        below, above = _recovered(tallies, shares, w)
        low, high = np.minimum(low, mean - below), np.maximum(high, mean + above)
    return Limits(np.clip(np.minimum(low, mean), 0.0, 1.0), np.clip(np.maximum(high, mean), 0.0, 1.0))


def _recovered(tallies: Tallies, shares: Shares, w: Floats) -> tuple[Floats, Floats]:
    """Return how far below and above a mean its limits lie by MOVER.

    ``sqrt(sum_cd w_c w_d r_cd (m_c - low_c) (m_d - low_d))``, likewise above, with r the correlation of two classes'
    figures. As that is a sum of squares over units, no matrix of correlations is needed.
    """
    known = shares.variance > 0
    deviation = np.sqrt(np.where(known, shares.variance, 1.0))
    unit = shares.influence / deviation[..., np.newaxis, :]
    found = []
    for distance in (shares.value - shares.limits.low, shares.limits.high - shares.value):
        reach = w * distance
        together = np.einsum("...uk,...k->...u", unit, np.where(known, reach, 0.0))
        square = (np.square(together) * tallies.times).sum(axis=-1) + np.square(np.where(known, 0.0, reach)).sum(-1)
        found.append(np.sqrt(square))
    return found[0], found[1]


def share_interval(
    hits: NDArray[np.bool_], groups: Sequence[str] | NDArray[np.str_] | None = None, *, level: float = LEVEL
) -> Interval | None:
    """Return Wilson's interval of a share, for rows in groups at the number of rows that they are worth.

    None without rows, or with a single group.

    Parameters
    ----------
    hits
        ndarray of shape (n,).
    groups
        The group of each row, or None where rows are independent.
    level
        Confidence.
    """
    if groups is None or not len(hits):
        return wilson(int(hits.sum()), len(hits), level)
    _, unit = np.unique(np.asarray(groups), return_inverse=True)
    of_unit: NDArray[np.float64] = np.bincount(unit).astype(np.float64)
    if len(of_unit) < 2:
        return None
    # An accuracy is the share of hits, in a task of one class.
    hits_of_unit: NDArray[np.float64] = np.bincount(unit, hits).astype(np.float64)
    tallies = Tallies(hits_of_unit[:, None], of_unit[:, None], of_unit[:, None], np.ones(len(of_unit)), grouped=True)
    limits = figure_limits(tallies, level)["accuracy"]
    return Interval(float(limits.low), float(limits.high), "grouped-wilson")


_METHODS = {"micro": "wilson", "macro": "mover", "balanced": "mover", "weighted": "wilson-effective", "f1": "wilson-f1"}


def intervals(
    gold: Counts,
    probabilities: Floats,
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    level: float = LEVEL,
    given: Counts | None = None,
) -> dict[str, Interval | None]:
    """Return the interval of every figure.

    Parameters
    ----------
    gold
        ndarray of shape (n,), class positions.
    probabilities
        ndarray of shape (n, k).
    label_names
        The k classes.
    groups
        The group of each row, or None where rows are independent.
    given
        ndarray of shape (n,), the class predicted; None: the most probable one, the first of equals.

    Returns
    -------
    dict
        By each name of `FigureNames.of`. None where a figure is undefined, where there is but one group, and, for
        a figure of a class, where all its rows are of one group. An interval holds the figure itself, and is never that
        point alone.

    Notes
    -----
    Shares: Wilson. F1 of a class: Wilson on TP / (TP + FP + FN), carried over (arXiv 2309.14621). Averages over
    classes: `average_limits`. Log loss: `mean_interval`. With groups: the same with variances of the jackknife over
    groups and t for the normal distribution.

    Raises
    ------
    DataError
        If there are no rows, or not one group for each.
    """
    if len(gold) == 0:
        raise DataError("There are no rows to judge.", "Give at least one labelled text.")
    predicted = probabilities.argmax(axis=1) if given is None else given
    k = len(label_names)
    codes = None if groups is None else group_codes(groups, len(gold))
    tallies = _pairs(gold, predicted, k) if codes is None else _by_group(gold, predicted, codes, k)
    limits = figure_limits(tallies, level)
    found: dict[str, Interval | None] = {}
    for name in metrics.ONE_LABEL.of(label_names):
        figure, colon, label = name.partition(":")
        method = _METHODS.get(name.partition("-")[0], _METHODS.get(figure, "wilson"))
        if name == "weighted-recall":
            method = "wilson"
        if codes is not None:
            method = f"grouped-{method}"
        if name == "log-loss":
            of_gold = np.take_along_axis(probabilities, gold[:, np.newaxis], axis=1)[:, 0]
            losses = -np.log(np.clip(of_gold, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
            found[name] = mean_interval(losses, groups, level=level, lowest=0.0)
        elif colon:
            at = list(label_names).index(label)
            found[name] = _interval(Limits(*(limit[at] for limit in limits[figure])), method)
        else:
            found[name] = _interval(limits[name], method)
    return found


def _pairs(gold: Counts, predicted: Counts, k: int) -> Tallies:
    """Return tallies of independent rows: a unit is a pair (gold, predicted) that occurs."""
    pairs, times = np.unique(gold * k + predicted, return_counts=True)
    of_gold, of_predicted = np.eye(k)[pairs // k], np.eye(k)[pairs % k]
    return Tallies(of_gold * of_predicted, of_gold, of_predicted, times.astype(np.float64), grouped=False)


def _by_group(gold: Counts, predicted: Counts, codes: Counts, k: int) -> Tallies:
    g = int(codes.max()) + 1

    def count(classes: Counts, rows: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        return np.bincount(codes[rows] * k + classes[rows], minlength=g * k).reshape(g, k).astype(np.float64)

    return Tallies(count(gold, gold == predicted), count(gold), count(predicted), np.ones(g), grouped=True)


def _interval(limits: Limits, method: str) -> Interval | None:
    low, high = float(limits.low), float(limits.high)
    return None if np.isnan(low) else Interval(low, high, method)
