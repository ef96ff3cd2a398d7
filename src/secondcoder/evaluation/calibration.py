"""Do probabilities mean what they say? Calibration error, Brier score, and the temperature that mends them.

In: gold class positions with probabilities, or with logits. Out: `Calibration`, or a temperature. Knows no model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from secondcoder.errors import DataError
from secondcoder.evaluation.count_intervals import bounded_mean_interval, share_interval
from secondcoder.evaluation.intervals import LEVEL, Interval, few_decide, units_of
from secondcoder.evaluation.likeness import worth_of
from secondcoder.storage import Stored

MOST_BINS = 10
ROWS_A_BIN = 20
"""Fewer rows make fewer bins, and fewer in all have no calibration error: of so few, a share right is hardly known."""
_DRAWS = 500
_LEAST_VARIANCE = 0.1  # of a bin's number right, below which its skewness counts as no larger
Floats = NDArray[np.float64]


def bins_of(confidence: Floats) -> NDArray[np.int64]:
    """Return the bin of each row, shape (n,): equally many rows in each, and rows of one confidence together."""
    n = len(confidence)
    k = min(MOST_BINS, max(1, n // ROWS_A_BIN))
    _, of_row, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    cuts = [0]
    for end in ends[np.searchsorted(ends, n * np.arange(1, k) / k)].tolist():
        # Large ties push cuts together; what would be less than half a bin goes with its neighbour.
        if end - cuts[-1] >= n / k / 2 and n - end >= n / k / 2:
            cuts.append(end)
    bin_of_value: NDArray[np.int64] = np.searchsorted(cuts, ends - counts, side="right") - 1
    return bin_of_value[of_row]


def calibration_error(
    confidence: Floats, right: NDArray[np.bool_], bins: NDArray[np.int64], groups: Sequence[str] | None
) -> tuple[float, Interval]:
    """Return the calibration error without what chance adds to it, and its interval.

    Parameters
    ----------
    confidence
        ndarray of shape (n,), the probability of the label given; n at least `ROWS_A_BIN`.
    right
        ndarray of shape (n,), whether that label is the gold one.
    bins
        ndarray of shape (n,), as `bins_of` gives them.
    groups
        The group of each row, or None where rows are independent; fewer than `FEWEST_GROUPS` count as none.

    Notes
    -----
    The mean of the sizes ``|share right - confidence|`` is above 0 by chance even where every probability is true. So
    the plain figure is held against what it would be if the true error were s, for any s, drawn from a normal
    distribution of the bins' differences, bent by their skewness (Cornish-Fisher): of a bin with few errors, that is
    large. The figure returned is the one under which the plain figure is the mean, and the interval holds those under
    which it is in neither tail. It reaches 0 just where a calibrated model could have shown so much. A study may also
    show less than a calibrated model would, by luck; for the upper limit then counts what half of such models show, so
    that luck does not pass for certainty. How s spreads over the bins is taken from a straight line through the
    differences: what single bins show is chance for the larger part.

    Where few are wrong, that line is chance too, and the upper limit fell short in 10 to 25 of 100 studies. The error
    is never below the distance of the mean confidence from the accuracy, so the upper limit is no lower than the
    distance to the farther end of the accuracy's interval. Simulated: benchmarks/results/2026-11-29-calibration.md.

    References
    ----------
    Naeini, Cooper & Hauskrecht 2015, doi:10.1609/aaai.v29i1.9602 (the plain figure, with bins of equal width). Kumar,
    Liang & Ma 2019, arXiv:1909.10155 (its bias; bins of equally many rows). Cowan, Cranmer, Gross & Vitells 2011,
    arXiv:1105.3166 (upper limits that luck does not shrink). Bröcker & Smith 2007, doi:10.1175/WAF993.1, and
    Vaicenavicius et al. 2019, arXiv:1902.06977 (what a calibrated model would show, as bars about each bin).
    """
    n, groups = len(right), units_of(groups)
    gaps = np.bincount(bins, right - confidence) / n  # (bins,), weighted by the bin's share of the rows
    plain = float(np.abs(gaps).sum())
    pattern = _pattern(confidence, gaps, bins)
    noise = _row_noise(confidence, pattern, bins)
    if groups is not None:
        unit = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
        noise = _grouped_noise(noise, confidence, right, bins, unit)

    def shown(s: float) -> Floats:
        sizes: Floats = np.abs(s * pattern + noise(s)).sum(axis=1)
        return sizes

    def error_at(share: float, seen: float) -> float:
        """Return the true error of which that share of studies shows no more than is seen."""
        return _root(lambda s: _quantile(shown(s), share) - seen, seen)

    tail = (1 - LEVEL) / 2
    error = _root(lambda s: float(shown(s).mean()) - plain, plain)
    high = error_at(tail, max(plain, float(np.median(shown(0)))))
    if (accuracy := share_interval(right, groups)) is not None:
        high = max(high, *(abs(limit - float(confidence.mean())) for limit in (accuracy.low, accuracy.high)))
    method = "calibration-test" if groups is None else "grouped-calibration-test"
    return error, Interval(min(error_at(1 - tail, plain), error), max(high, error), method)


def _quantile(values: Floats, share: float) -> float:
    """Return a quantile of many values, without numpy's interpolation, which takes ten times as long."""
    at = min(int(share * len(values)), len(values) - 1)
    return float(np.partition(values, at)[at])


def _root(excess: Callable[[float], float], near: float) -> float:
    """Return the true error from 0 to 1 at which a rising excess is 0, looked for from one `near` it on."""
    if excess(0) >= 0:
        return 0.0
    low, high = 0.0, max(near, 0.001)
    while excess(high) < 0:
        if high >= 1:
            return 1.0
        low, high = high, min(2 * high, 1.0)
    # Where all are wrong the excess is 0 again at the end: 0 counts as above, so that the first root is found.
    return float(brentq(lambda s: excess(s) or 1e-12, low, high, xtol=1e-6))


def _pattern(confidence: Floats, gaps: Floats, bins: NDArray[np.int64]) -> Floats:
    """Return how an error of 1 spreads over the bins, shape (bins,), by a line through the weighted gaps."""
    count = np.bincount(bins)
    mean = np.bincount(bins, confidence) / count
    line = np.stack([np.ones(len(count)), mean - confidence.mean()], axis=1)
    root = np.sqrt(count / len(bins))
    fitted = root**2 * (line @ np.linalg.lstsq(line * root[:, np.newaxis], gaps / root)[0])
    size = float(np.abs(fitted).sum())
    if size > 1e-9:
        return np.asarray(fitted / size)
    # A line that is flat at 0 has no direction; what the bins show may have. Else too sure is the commoner fault.
    size = float(np.abs(gaps).sum())
    return np.asarray(gaps / size if size > 1e-9 else -count / len(bins))


def _row_noise(confidence: Floats, pattern: Floats, bins: NDArray[np.int64]) -> Callable[[float], Floats]:
    """Return draws of the weighted gaps' chance part, shape (draws, bins), given the true error.

    Rows are right with the probability that they would have then. The draws have mean 0, and the variance and about the
    skewness of a share of so many rows.
    """
    n = len(confidence)
    count = np.bincount(bins)
    mean = np.bincount(bins, confidence) / count
    spread = np.bincount(bins, (confidence - mean[bins]) ** 2) / count
    random, quantiles = np.random.default_rng(0), ndtri((np.arange(_DRAWS) + 0.5) / _DRAWS)
    quantiles /= quantiles.std()
    normal = np.stack([random.permutation(quantiles) for _ in count], axis=1)  # each bin's draws spread evenly
    bent = (normal**2 - 1) / 6

    def noise(s: float) -> Floats:
        share = np.clip(mean + s * pattern * n / count, 0, 1)
        variance = share * (1 - share)
        skew = (1 - 2 * share) / np.sqrt(np.maximum(variance * count, _LEAST_VARIANCE))
        draws: Floats = (normal + skew * bent) * np.sqrt(np.maximum(variance - spread, 0) * count) / n
        return draws

    return noise


def _grouped_noise(
    of_rows: Callable[[float], Floats],
    confidence: Floats,
    right: NDArray[np.bool_],
    bins: NDArray[np.int64],
    unit: NDArray[np.int64],
) -> Callable[[float], Floats]:
    """Return draws of the weighted gaps' chance part, shape (draws, bins), with groups as the units.

    To what independent rows vary by, never less, comes what groups do: on the whole they are harder or easier, and all
    bins move together. How much of that there is, few groups hardly show; it is drawn from what rows of groups may be
    worth, as for shares. Where the jackknife over groups sees the bins vary more than that, it counts.
    """
    n, n_bins, g = len(bins), int(bins.max()) + 1, int(unit.max()) + 1
    sizes = np.bincount(unit).astype(np.float64)
    differences, left = right - confidence, 1 - sizes / n
    worth = worth_of(np.bincount(unit, right).astype(np.float64), sizes)
    effects, random = n / worth.rows, np.random.default_rng(1)
    effect = random.choice(effects, _DRAWS, p=worth.weights)
    together = np.sqrt(effect - 1) * random.standard_normal(_DRAWS)
    shift = together[:, np.newaxis] * np.bincount(bins) / n

    def drawn(s: float) -> Floats:
        rows = of_rows(s)
        of_mean = np.square(rows).mean(axis=0).sum()  # as Wilson has it: what rows would vary by if the error were s
        draws: Floats = rows + shift * np.sqrt(of_mean)
        return draws

    mean = np.bincount(bins, differences) / np.bincount(bins)
    sums = np.bincount(unit * n_bins + bins, differences - mean[bins], minlength=g * n_bins).reshape(g, n_bins)
    by_bin = float((g - 1) / g * np.square(sums / left[:, np.newaxis] / n).sum())
    plain = float(np.abs(np.bincount(bins, differences)).sum() / n)
    rows = np.square(of_rows(plain)).mean(axis=0).sum()
    ours = float(rows * (1 + (effects @ worth.weights - 1) * np.square(np.bincount(bins) / n).sum()))
    more = np.sqrt(max(1.0, by_bin / ours)) if ours > 0 else 1.0
    return lambda s: more * drawn(s)


TEMPERATURES = (0.05, 20.0)
"""The smallest and the largest that is fitted."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Texts of like confidence: how sure the model was of its labels, and how many of them are right.

    Attributes
    ----------
    confidence
        Mean probability of the label given.
    accuracy
        Share of texts labelled as in gold.
    interval
        Where that share may lie; None if no interval can be given.
    n
        Number of texts.
    """

    confidence: float
    accuracy: float
    interval: Interval | None
    n: int


@dataclass(frozen=True)
class Calibration(Stored, name="a calibration", cure="Run the evaluation again."):
    """How far probabilities can be taken at their word.

    Attributes
    ----------
    error
        Expected calibration error of the label given (of all k decisions on a text, where it may have several): by how
        much confidence and share right differ, on average over the bins. What chance alone adds to such a mean of sizes
        is taken off. None where there is a reason.
    error_interval
        Where it may lie; None if no interval can be given.
    brier
        Mean of the summed squares of (probability - 1 for the gold class, 0 for others): from 0, best, to 2. Where a
        text may have several classes, of their mean: from 0 to 1.
    brier_interval
        Where it may lie; None where too few texts decide it (`secondcoder.evaluation.intervals.few_decide`).
    bins
        At most 10, of equally many texts, by rising confidence; texts of one confidence are in one bin.
    reason
        Why there is no calibration error, or None.
    """

    error: float | None
    error_interval: Interval | None
    brier: float
    brier_interval: Interval | None
    bins: tuple[ReliabilityBin, ...]
    reason: str | None = None

    @property
    def shown(self) -> str:
        """The calibration error with its interval as text: ``0.031 [0.000, 0.052]``; a dash where there is none."""
        interval = self.error_interval
        limits = f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""
        return "–" if self.error is None else f"{self.error:.3f}{limits}"


def top_class(
    gold: NDArray[np.int64], probabilities: Floats, given: NDArray[np.int64] | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the probability of the class that each row is given, and whether that is the gold one; shapes (n,).

    Without `given`, ndarray of shape (n,), it is the most probable one, of equal ones the first.

    Raises
    ------
    DataError
        If there are no rows, or not one row of probabilities for each gold class.
    """
    if probabilities.ndim != 2 or len(gold) != len(probabilities) or not len(gold):
        raise DataError(
            f"There are {len(gold)} gold labels, and probabilities of shape {probabilities.shape}.",
            "Give one row of probabilities for each label, and at least one.",
        )
    chosen = probabilities.argmax(axis=1) if given is None else given
    return np.take_along_axis(probabilities, chosen[:, np.newaxis], axis=1)[:, 0], chosen == gold


def calibration(
    gold: NDArray[np.int64],
    probabilities: Floats,
    *,
    groups: Sequence[str] | None = None,
    given: NDArray[np.int64] | None = None,
) -> Calibration:
    """Return how far probabilities can be taken at their word.

    Parameters
    ----------
    gold
        ndarray of shape (n,), class positions.
    probabilities
        ndarray of shape (n, k).
    groups
        The group of each row, or None where rows are independent.
    given
        ndarray of shape (n,), the class that each row is given; None: the most probable one.

    Raises
    ------
    DataError
        If rows and probabilities do not fit together.

    References
    ----------
    Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2 (Brier score). For the calibration error see
    `calibration_error`.
    """
    confidence, right = top_class(gold, probabilities, given)
    squares = np.sum((probabilities - np.eye(probabilities.shape[1])[gold]) ** 2, axis=1)
    return calibration_of(confidence, right, squares, (groups, groups))


def calibration_of(
    confidence: Floats,
    right: NDArray[np.bool_],
    squares: Floats,
    groups: tuple[Sequence[str] | None, Sequence[str] | None],
    *,
    worst: float = 2.0,
) -> Calibration:
    """Return the calibration of decisions, by how sure they were and whether they were right.

    Parameters
    ----------
    confidence, right
        ndarray of shape (m,), of decisions.
    squares
        ndarray of shape (n,), of texts: what the Brier score is the mean of.
    groups
        What each decision, and each text, hangs together with; None where they are independent.
    worst
        The largest Brier score there can be.
    """
    bins, (of_decisions, of_texts) = bins_of(confidence), map(units_of, groups)
    enough = len(squares) >= ROWS_A_BIN
    error, error_interval = calibration_error(confidence, right, bins, of_decisions) if enough else (None, None)
    reason = None if enough else f"it takes {ROWS_A_BIN} texts, and there are {len(squares)}"
    names = None if of_decisions is None else np.asarray(of_decisions)
    found = (
        ReliabilityBin(
            confidence=float(confidence[rows].mean()),
            accuracy=float(right[rows].mean()),
            interval=share_interval(right[rows], None if names is None else names[rows]),
            n=len(rows),
        )
        for rows in (np.flatnonzero(bins == b) for b in range(bins.max() + 1))
    )
    brier_interval = None if few_decide(squares) else bounded_mean_interval(squares, worst, of_texts)
    brier = float(squares.mean())
    return Calibration(error, error_interval, brier, brier_interval, tuple(found), reason)


def fit_temperature(
    logits: Floats,
    targets: Floats,
    probabilities: Callable[[Floats], Floats],
    log_loss: Callable[[Floats], float],
) -> float:
    """Return the temperature by which logits are to be divided, so that their probabilities have the least log loss.

    Labels stay as they are: dividing changes no order. As in Platt's scaling, the gold labels are softened by
    one imagined text that is spread over all classes; a temperature for a hundred texts that are all right would
    else be as near 0 as is allowed. It is never one of which the log loss is above that of temperature 1.

    Parameters
    ----------
    logits
        ndarray of shape (n, k), of rows that were not trained on.
    targets
        ndarray of shape (n, k): the softened gold labels.
    probabilities, log_loss
        What scaled logits stand for, and what they cost against the gold labels.

    Returns
    -------
    float
        From 0.05 to 20; above 1 where the model is too sure of itself.

    Raises
    ------
    DataError
        If a logit is not a number.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599. Platt 1999, "Probabilistic outputs for support vector machines", in Advances in
    Large Margin Classifiers, MIT Press.
    """
    if not np.isfinite(logits).all():
        raise DataError("Among the logits are some that are not numbers.", "Train again with a lower learning rate.")
    if not logits.any():
        return 1.0  # all classes alike in every row: no temperature changes anything
    wanted = float((targets * logits).sum())

    def slope(inverse: float) -> float:
        """Return the log loss's derivative by 1 / temperature; it rises throughout, as the loss is convex in that."""
        return float((probabilities(inverse * logits) * logits).sum()) - wanted

    lowest, highest = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(lowest) >= 0:
        inverse = lowest
    elif slope(highest) <= 0:
        inverse = highest
    else:
        inverse = brentq(slope, lowest, highest)
    return 1 / inverse if log_loss(inverse * logits) <= log_loss(logits) else 1.0
