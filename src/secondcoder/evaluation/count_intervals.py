"""Limits of all figures that are made of counts, from tallies of units; many studies at once.

In: `Tallies`: for each unit and class the hits, gold rows and predicted rows. Where rows are independent, a unit is a
pair (gold, predicted) and stands for as many rows as there are of it; else it is a group. Out: limits by name; from
gold labels and probabilities, an `Interval` for every figure of one label a text. `benchmarks/coverage.py` hands in
thousands of studies, so that what is measured is what is used.

In the shapes below ``...`` are studies, u units, k classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secondcoder.errors import DataError
from secondcoder.evaluation import metrics
from secondcoder.evaluation.intervals import (
    LEVEL,
    Counts,
    Interval,
    Limits,
    group_codes,
    loss_interval,
    mean_interval,
    quantile_of,
    share_limits,
)
from secondcoder.evaluation.likeness import Worth, mixed_limits, ratio_limits, worth_of
from secondcoder.evaluation.metrics import SMALLEST_PROBABILITY

Floats = NDArray[np.float64]


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
    rows
        ndarray of shape (..., u). Rows, or decisions, of one unit; asked for where units are groups.
    constant
        Whether all rows are given the same, whatever they are, and each class has rows: then some figures are exact.
    """

    hits: Floats
    support: Floats
    predicted: Floats
    times: Floats
    grouped: bool
    rows: Floats
    constant: bool = False


class Shares(NamedTuple):
    """Ratios of counts, one for each class, and how uncertain they are.

    Attributes
    ----------
    value
        ndarray of shape (..., k); 0 where undefined.
    known
        ndarray of shape (..., k). Whether the ratio is defined.
    influence
        ndarray of shape (..., u, k). By how much a unit moves the ratio.
    variance
        ndarray of shape (..., k). The squared influences, summed.
    rows
        ndarray of shape (..., k). The rows that a ratio is a share of.
    of_row
        ndarray of shape (..., k). The variance that a single row would have.
    limits
        0 and 1 where undefined.
    worth
        What the rows of groups are worth, of a share of all rows; None of other ratios, and where rows are independent.
    """

    value: Floats
    known: NDArray[np.bool_]
    influence: Floats
    variance: Floats
    rows: Floats
    of_row: Floats
    limits: Limits
    worth: Worth | None = None


def figure_limits(tallies: Tallies, level: float) -> dict[str, Limits]:
    """Return the limits of every figure made of counts; not-a-number where there is no interval.

    Returns
    -------
    dict
        ``"accuracy"``, ``"balanced-accuracy"``, ``"macro-f1"`` … with limits of shape (...,); ``"precision"``,
        ``"recall"`` and ``"f1"`` with limits of shape (..., k).
    """
    pooled = shares_of(tallies, tallies.hits.sum(axis=-1, keepdims=True), tallies.rows[..., np.newaxis], level)
    figures = class_shares(tallies, level)
    accuracy = Limits(*(limit[..., 0] for limit in pooled.limits))
    of_gold = np.einsum("...uk,...u->...k", tallies.support, tallies.times)
    found = {"accuracy": accuracy}
    for name, shares in figures.items():
        found[f"macro-{name}"] = average_limits(tallies, shares, pooled, None, level)
        found[f"micro-{name}"] = accuracy
        found[f"weighted-{name}"] = (
            accuracy if name == "recall" else average_limits(tallies, shares, pooled, of_gold, level)
        )
        found[name] = shown_limits(shares)
    found["balanced-accuracy"] = found["macro-recall"]
    return found


def class_shares(tallies: Tallies, level: float) -> dict[str, Shares]:
    """Return precision, recall and F1 of the classes."""
    hits, support, predicted = tallies.hits, tallies.support, tallies.predicted
    found, wrongly, missed, both = None, None, None, None
    if tallies.grouped:
        of_class = (support.sum(axis=-2) + 1) / (tallies.rows.sum(axis=-1)[..., np.newaxis] + 2)
        # A class is taken to be given wrongly at most twice as often as it is there.
        too_many = np.minimum(2 * of_class, 1 - of_class)
        found, missed = _part(tallies, hits, level, of_class), _part(tallies, support - hits, level, of_class)
        wrongly = _part(tallies, predicted - hits, level, too_many)
        both = _part(tallies, support + predicted - 2 * hits, level, of_class + too_many, skewed=True)
    precision = shares_of(tallies, hits, predicted, level, (found, wrongly))
    recall = shares_of(tallies, hits, support, level, (found, missed))
    f1 = as_f1(shares_of(tallies, hits, support + predicted - hits, level, (found, both)))
    if tallies.constant:
        given = precision.known
        # What is given to no text has no hit; what is given to all misses none.
        precision = _exact(precision, ~given)
        recall, f1 = _exact(recall, recall.known), _exact(f1, recall.known & ~given)
    return {"precision": precision, "recall": recall, "f1": f1}


def _exact(shares: Shares, certain: NDArray[np.bool_]) -> Shares:
    """Return the shares without doubt where they are certain."""
    limits = Limits(*(np.where(certain, shares.value, limit) for limit in shares.limits))
    return shares._replace(known=shares.known | certain, limits=limits)


def shown_limits(shares: Shares) -> Limits:
    """Return the limits of the figures of classes, not-a-number where they are undefined or exact."""
    given = shares.known & (shares.limits.high > shares.limits.low)
    return Limits(*(np.where(given, limit, np.nan) for limit in shares.limits))


class Part(NamedTuple):
    """A share of all rows of groups, with its limits, and by how much each group moves it, scaled to a length of 1."""

    share: Floats
    limits: Limits
    moved: Floats
    worth: Worth


def shares_of(
    tallies: Tallies,
    part: Floats,
    whole: Floats,
    level: float,
    of_all: tuple[Part | None, Part | None] = (None, None),
) -> Shares:
    """Return ratios of summed counts with their limits.

    Independent rows: those of a share. Groups: a share of all their rows counts at what these are worth. Of other
    ratios the denominator depends on the hits: where a model errs much, much is given to a rare class. So hits and
    misses are each taken as a share of all rows, and their limits joined; how the two go together is seen over groups.

    For groups the variance is that of the leave-one-group-out jackknife. A group with the share w of the rows moves the
    ratio by ``(part - ratio * whole) / (sum(whole) (1 - w))`` when it is left out: no refitting is needed.

    Parameters
    ----------
    part, whole
        ndarray of shape (..., u, k).
    of_all
        Of groups, `part` and the rest of `whole` as shares of all rows; not asked for where `whole` is all rows.

    References
    ----------
    MacKinnon, Nielsen & Webb (2023), Journal of Applied Econometrics 38(5), 671–694. doi:10.1002/jae.2969
    """
    times = tallies.times[..., np.newaxis]
    n = (whole * times).sum(axis=-2)
    safe = np.where(n > 0, n, 1.0)
    value = (part * times).sum(axis=-2) / safe
    influence = (part - value[..., np.newaxis, :] * whole) / safe[..., np.newaxis, :]
    of_row = value * (1 - value)
    if not tallies.grouped:
        variance = (np.square(influence) * times).sum(axis=-2)
        return Shares(value, n > 0, influence, variance, n, of_row, share_limits(value, n, level))
    units = (whole > 0).sum(axis=-2)
    scale = np.sqrt(np.maximum(units - 1, 0) / np.maximum(units, 1))[..., np.newaxis, :]
    influence = _left_out(influence, whole / safe[..., np.newaxis, :]) * scale
    variance = np.square(influence).sum(axis=-2)
    rows = np.clip(of_row / np.where(variance > 0, variance, np.inf), 0.0, n)
    rows = np.where(variance > 0, rows, n)
    hits, misses = of_all
    if hits is None or misses is None:
        hits = _part(tallies, part, level, np.ones(n.shape), skewed=True)
        return Shares(value, n > 0, influence, variance, rows, of_row, hits.limits, hits.worth)
    correlation = (hits.moved * misses.moved).sum(axis=-2)
    limits = ratio_limits((hits.share, misses.share), (hits.limits, misses.limits), correlation)
    return Shares(value, n > 0, influence, variance, rows, of_row, limits)


def _left_out(influence: Floats, weights: Floats) -> Floats:
    """Return by how much a ratio moves without each group; the weights are its shares of the rows."""
    moved: Floats = influence / np.where(weights < 1, 1 - weights, 1.0)
    return moved


def _part(tallies: Tallies, counts: Floats, level: float, most: Floats, *, skewed: bool = False) -> Part:
    sizes = np.broadcast_to(tallies.rows[..., np.newaxis], counts.shape)
    n = sizes.sum(axis=-2)
    share = counts.sum(axis=-2) / n
    worth = worth_of(np.moveaxis(counts, -1, -2), np.moveaxis(sizes, -1, -2), most)
    moved = _left_out(counts - share[..., np.newaxis, :] * sizes, sizes / n[..., np.newaxis, :])
    length = np.sqrt(np.square(moved).sum(axis=-2, keepdims=True))
    limits = mixed_limits(share, worth, level, skewed=skewed)
    return Part(share, limits, moved / np.where(length > 0, length, 1.0), worth)


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


def average_limits(tallies: Tallies, shares: Shares, whole: Shares, of_gold: Floats | None, level: float) -> Limits:
    """Return the limits of a mean over the classes: each counts the same, or by its gold rows, which are uncertain too.

    Two intervals of the mean over the classes that have the figure, and the wider at each end:

    - that of a share at the effective number of rows, that is, the variance of a single row divided by that of the
      mean. The latter is that of the summed influences, in which classes vary together as they do in the data, with
      each class's own part replaced by the one that its interval stands for: of a class with three rows, all right, the
      influences tell nothing.
    - MOVER, which adds up the distances from each class's figure to its limits. It counts for a mean in which each
      class weighs the same, where one with few rows can be far off to one side.

    A class that does not have the figure, for want of rows, may have any value from 0 to 1: the interval includes all.

    Parameters
    ----------
    whole
        The share of all rows that are right, of which groups say what their rows are worth.
    of_gold
        ndarray of shape (..., k), or None for the same weight.

    References
    ----------
    Zou & Donner (2008), Statistics in Medicine 27(10), 1693–1702. doi:10.1002/sim.3095
    """
    support = np.where(shares.known[..., np.newaxis, :], tallies.support, 0.0)
    n = np.einsum("...uk,...u->...", tallies.support, tallies.times)
    weight = np.full(shares.value.shape, 1 / shares.value.shape[-1])
    if of_gold is not None:
        weight = of_gold / of_gold.sum(axis=-1, keepdims=True)
    defined = np.where(shares.known, weight, 0.0)
    share = defined.sum(axis=-1)
    w = defined / np.where(share > 0, share, 1.0)[..., np.newaxis]
    mean = (w * shares.value).sum(axis=-1)
    influence = np.einsum("...uk,...k->...u", shares.influence, w)
    if of_gold is not None:
        moved = np.einsum("...uk,...k->...u", support, shares.value) - support.sum(axis=-1) * mean[..., np.newaxis]
        influence = influence + moved / np.maximum(np.where(shares.known, of_gold, 0.0).sum(-1), 1.0)[..., np.newaxis]
    variance = (np.square(influence) * tallies.times).sum(axis=-1)
    half = (shares.limits.high - shares.limits.low) / 2
    plain = shares.variance * shares.rows / np.maximum(shares.rows - 1, 1.0)
    own = np.maximum(np.square(half / quantile_of(level)), 0.0 if tallies.grouped else plain)
    variance = np.maximum(variance + (np.square(w) * (own - shares.variance)).sum(axis=-1), variance / 2)
    # The variance of a single row is taken as the intervals of the classes have it: at 0 and 1 it is not 0.
    of_row = mean * (1 - mean) + (w * (own * shares.rows - shares.of_row)).sum(axis=-1)
    effective = np.clip(of_row / np.where(variance > 0, variance, np.inf), 0.0, n)
    low, high = _at_worth(mean, effective, whole, level)
    if of_gold is None:
        reach = np.sqrt(0.0 if tallies.grouped else plain) * quantile_of(level)
        below, above = _recovered(tallies, shares, w, reach)
        low, high = np.minimum(low, mean - below), np.maximum(high, mean + above)
    low, high = (np.where(variance > 0, np.clip(limit, 0.0, 1.0), mean) for limit in (low, high))
    low, high = share * np.minimum(low, mean), share * np.maximum(high, mean) + 1 - share
    return Limits(*(np.where(high > low, limit, np.nan) for limit in (low, high)))


def _at_worth(mean: Floats, effective: Floats, whole: Shares, level: float) -> Limits:
    """Return the limits of a mean that varies as a share of so many rows; over groups, for all these may be worth."""
    if whole.worth is None:
        return share_limits(mean, effective, level)
    # Both as the jackknife over the same groups sees them: their ratio is known better than either.
    ratio = np.clip(effective / np.maximum(whole.rows[..., 0], 1e-9), 1e-9, 1.0)[..., np.newaxis]
    rows, weights = (part[..., 0, :] for part in whole.worth)
    return mixed_limits(mean, Worth(rows * ratio, weights), level, skewed=True)


def _recovered(tallies: Tallies, shares: Shares, w: Floats, least: Floats) -> tuple[Floats, Floats]:
    """Return how far below and above a mean its limits lie by MOVER.

    ``sqrt(sum_cd w_c w_d r_cd (m_c - low_c) (m_d - low_d))``, likewise above, with r the correlation of two classes'
    figures. As that is a sum of squares over units, no matrix of correlations is needed.
    """
    known = shares.variance > 0
    deviation = np.sqrt(np.where(known, shares.variance, 1.0))
    unit = shares.influence / deviation[..., np.newaxis, :]
    found = []
    for distance, most in (
        (shares.value - shares.limits.low, shares.value),
        (shares.limits.high - shares.value, 1 - shares.value),
    ):
        reach = w * np.maximum(distance, np.minimum(least, most))
        together = np.einsum("...uk,...k->...u", unit, np.where(known, reach, 0.0))
        square = (np.square(together) * tallies.times).sum(axis=-1) + np.square(np.where(known, 0.0, reach)).sum(-1)
        found.append(np.sqrt(square))
    return found[0], found[1]


def share_interval(
    hits: NDArray[np.bool_], groups: Sequence[str] | NDArray[np.str_] | None = None, *, level: float = LEVEL
) -> Interval | None:
    """Return the interval of a share: of independent rows the wider of Wilson's and Jeffreys', see `share_limits`.

    Of rows in groups, that of Wilson's tails, averaged over what the rows may be worth, see `mixed_limits`. None
    without rows, or with a single group.

    Parameters
    ----------
    hits
        ndarray of shape (n,).
    groups
        The group of each row, or None where rows are independent.
    level
        Confidence.
    """
    if not len(hits):
        return None
    if groups is None:
        limits = share_limits(np.asarray(np.mean(hits)), np.asarray(float(len(hits))), level)
        return Interval(float(limits.low), float(limits.high), "wilson")
    _, unit = np.unique(np.asarray(groups), return_inverse=True)
    of_unit: NDArray[np.float64] = np.bincount(unit).astype(np.float64)
    if len(of_unit) < 2:
        return None
    worth = worth_of(np.bincount(unit, hits).astype(np.float64), of_unit)
    limits = mixed_limits(np.asarray(np.mean(hits)), worth, level, skewed=True)
    return Interval(float(limits.low), float(limits.high), "grouped-wilson")


def bounded_mean_interval(
    values: ArrayLike, most: float, groups: Sequence[str] | None = None, *, level: float = LEVEL
) -> Interval | None:
    """Return the interval of the mean of row values that lie from 0 to `most`: that of `mean_interval`, cut off there.

    Where all values are the same, v, their spread tells nothing. But the share of other values has an upper limit u,
    that of a share of no hits, and the mean lies between ``v - u v`` and ``v + u (most - v)`` whatever the others are.

    Parameters
    ----------
    values
        ndarray of shape (n,).
    groups
        The group of each row, or None where rows are independent.

    Returns
    -------
    Interval or None
        None without rows, or with a single group.
    """
    v = np.asarray(values, dtype=np.float64)
    found = mean_interval(v, groups, level=level, lowest=0.0)
    if found is not None:
        return replace(found, high=min(found.high, most))
    others = share_interval(np.zeros(len(v), dtype=np.bool_), groups, level=level)
    if others is None:
        return None
    mean = float(v.mean())
    low, high = mean - others.high * mean, mean + others.high * (most - mean)
    return Interval(max(low, 0.0), min(high, most), others.method)


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
        By each name of `FigureNames.of`. None where a figure is undefined, where it is exact, as it does not
        depend on which rows were drawn, and where there is but one group. An interval holds the figure itself, and is
        never that point alone.

    Notes
    -----
    Shares: the wider of Wilson's and Jeffreys' limits. F1 of a class: those of TP / (TP + FP + FN), carried over (arXiv
    2309.14621). Averages over classes: `average_limits`. Log loss: `loss_interval`. With groups: shares at what
    their rows are worth, see `secondcoder.evaluation.likeness`.

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
    if codes is not None and not codes.any():
        return dict.fromkeys(metrics.ONE_LABEL.of(label_names))
    tallies = _pairs(gold, predicted, k) if codes is None else _by_group(gold, predicted, codes, k)
    constant = metrics.is_constant(probabilities) and len(np.unique(gold)) == k
    limits = figure_limits(tallies._replace(constant=constant), level)
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
            found[name] = loss_interval(losses, groups, level=level)
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
    return Tallies(of_gold * of_predicted, of_gold, of_predicted, times.astype(np.float64), False, np.ones(len(pairs)))


def _by_group(gold: Counts, predicted: Counts, codes: Counts, k: int) -> Tallies:
    g = int(codes.max()) + 1

    def count(classes: Counts, rows: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        return np.bincount(codes[rows] * k + classes[rows], minlength=g * k).reshape(g, k).astype(np.float64)

    sizes = np.bincount(codes, minlength=g).astype(np.float64)
    return Tallies(count(gold, gold == predicted), count(gold), count(predicted), np.ones(g), True, sizes)


def _interval(limits: Limits, method: str) -> Interval | None:
    low, high = float(limits.low), float(limits.high)
    return None if np.isnan(low) else Interval(low, high, method)
