"""The expected calibration error, freed of what chance adds to it, with an interval.

In: how sure the model was of each label, and whether it was right. Out: bins, the error, its `Interval`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from secondcoder.evaluation.interval import LEVEL, Interval

MOST_BINS = 10
ROWS_A_BIN = 20
"""Fewer rows make fewer bins: of so few, a share right is hardly known."""
_DRAWS = 1000
_IMAGINED = 4
_HALVINGS = 20

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
) -> tuple[float, Interval | None]:
    """Return the calibration error without what chance adds to it, and its interval, None if none can be given.

    Parameters
    ----------
    confidence
        ndarray of shape (n,), the probability of the label given.
    right
        ndarray of shape (n,), whether that label is the gold one.
    bins
        ndarray of shape (n,), as `bins_of` gives them.
    groups
        The group of each row, or None where rows are independent.

    Notes
    -----
    The mean of the sizes ``|share right - confidence|`` is above 0 by chance even where every probability is true. So
    the plain figure is held against what it would be if the true error were s, for any s, drawn from the normal
    distribution of the bins' differences. The figure returned is the one under which the plain
    figure is the median, and the interval holds those under which it is in neither tail. It reaches 0 just where a
    calibrated model could have shown so much. How s spreads over the bins is taken from a straight line through the
    differences: what single bins show is chance for the larger part.

    References
    ----------
    Naeini, Cooper & Hauskrecht 2015, doi:10.1609/aaai.v29i1.9602 (the plain figure). Kumar, Liang & Ma 2019,
    arXiv:1909.10155 (its bias, bins of equally many rows). Bröcker & Smith 2007, doi:10.1175/WAF993.1, and
    Vaicenavicius et al. 2019, arXiv:1902.06977 (what a calibrated model would show).
    """
    n = len(right)
    gaps = np.bincount(bins, right - confidence) / n  # (bins,), weighted by the bin's share of the rows
    plain = float(np.abs(gaps).sum())
    if plain == 0:
        return 0.0, None
    pattern = _pattern(confidence, gaps, bins)
    _, unit = np.unique(np.asarray(groups), return_inverse=True) if groups is not None else (None, np.arange(n))
    grouped = groups is not None and unit.max() > 0
    noise = _grouped_noise(right - confidence, bins, unit) if grouped else _row_noise(confidence, pattern, bins)

    def error_of(share: float) -> float:
        """Return the true error of which that share of studies shows no more than this one."""

        def excess(s: float) -> float:
            return float((np.abs(s * pattern + noise(s)).sum(axis=1) <= plain).mean()) - share

        if excess(0) <= 0:
            return 0.0
        low, high = 0.0, plain
        while excess(high) > 0:
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return min(1.0, high)

    if n < ROWS_A_BIN or unit.max() == 0:
        return error_of(0.5), None
    tail = (1 - LEVEL) / 2
    method = "grouped-calibration-test" if grouped else "calibration-test"
    return error_of(0.5), Interval(error_of(1 - tail), error_of(tail), method)


def _pattern(confidence: Floats, gaps: Floats, bins: NDArray[np.int64]) -> Floats:
    """Return how an error of 1 spreads over the bins, shape (bins,), by a line through the weighted gaps."""
    count = np.bincount(bins)
    mean = np.bincount(bins, confidence) / count
    line = np.stack([np.ones(len(count)), mean - confidence.mean()], axis=1)
    root = np.sqrt(count / len(bins))
    fitted = root**2 * (line @ np.linalg.lstsq(line * root[:, np.newaxis], gaps / root)[0])
    size = float(np.abs(fitted).sum())
    # A line that is flat at 0 has no direction; what the bins show has.
    pattern: Floats = fitted / size if size > 1e-9 else gaps / np.abs(gaps).sum()
    return pattern


def _row_noise(confidence: Floats, pattern: Floats, bins: NDArray[np.int64]) -> Callable[[float], Floats]:
    """Return draws of the weighted gaps' chance part, shape (draws, bins), given the true error.

    Rows are right with the probability that they would have then, drawn to the confidence by a few imagined rows, so
    that bins in which all are right vary too.
    """
    n = len(confidence)
    count = np.bincount(bins)
    mean = np.bincount(bins, confidence) / count
    spread = np.bincount(bins, (confidence - mean[bins]) ** 2) / count
    normal = np.random.default_rng(0).standard_normal((_DRAWS, len(count)))

    def noise(s: float) -> Floats:
        share = np.clip(mean + s * pattern * n / count, 0, 1)
        share = (share * count + _IMAGINED * mean) / (count + _IMAGINED)
        return normal * np.sqrt(np.maximum(share * (1 - share) - spread, 0) * count) / n

    return noise


def _grouped_noise(differences: Floats, bins: NDArray[np.int64], unit: NDArray[np.int64]) -> Callable[[float], Floats]:
    """Return draws of the weighted gaps' chance part, shape (draws, bins), with groups as the units.

    Bins vary together, as groups do: normal weights on what leaving out a group changes, its scale known as from G
    groups.
    """
    n_bins, g = int(bins.max()) + 1, int(unit.max()) + 1
    mean = np.bincount(bins, differences) / np.bincount(bins)
    sums = np.bincount(unit * n_bins + bins, differences - mean[bins], minlength=g * n_bins).reshape(g, n_bins)
    random = np.random.default_rng(0)
    moves = sums / (1 - np.bincount(unit)[:, np.newaxis] / len(bins))
    scale = np.sqrt((g - 1) ** 2 / g / random.chisquare(g - 1, (_DRAWS, 1)))  # the jackknife's, and Student's t
    draws: Floats = scale * (random.standard_normal((_DRAWS, g)) @ moves) / len(bins)
    return lambda _s: draws
