"""How far may a figure lie from the truth, by the chance of which texts were judged? Intervals of means and shares.

In: values of rows, and their groups. Out: `Interval`, or None where none can be given. Rows are independent of each
other, or else come in groups (documents, authors, films), and then what counts is the number of groups. Nothing is
drawn at random. `benchmarks/coverage.py` measures how often they hold the truth. Those of counts: `count_intervals`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from secondcoder.errors import DataError

LEVEL = 0.95
"""Confidence of every interval, unless another is asked for."""
FEWEST_GROUPS = 5
"""Fewer groups say nothing on others: intervals then hold for these groups, their texts taken as independent."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes
    ----------
    low, high
        Its limits, on the figure's own scale.
    method
        A stable key, such as ``"wilson"`` (of shares: the wider of Wilson's and Jeffreys' limits); the docs page
        *Methods* explains each.
    """

    low: float
    high: float
    method: str


Floats = NDArray[np.float64]


class Limits(NamedTuple):
    """Lower and upper limits, ndarrays of one shape; not-a-number where there is no interval."""

    low: Floats
    high: Floats


def wilson_limits(share: Floats, n: Floats, quantile: Floats | float) -> Limits:
    """Return Wilson's limits of shares of n rows, n not necessarily whole; 0 and 1 where n is 0.

    They enclose the p for which ``|share - p| <= quantile * sqrt(p (1 - p) / n)``.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22(158), 209–212. doi:10.1080/01621459.1927.10502953
    """
    z = np.square(quantile) / np.where(n > 0, n, 1.0)
    centre = (share + z / 2) / (1 + z)
    half = np.sqrt(z * share * (1 - share) + z**2 / 4) / (1 + z)
    # At a share of 0 or 1 rounding would leave the limit beside it by 1e-17.
    low = np.where((n > 0) & (share > 0), np.clip(centre - half, 0.0, 1.0), 0.0)
    high = np.where((n > 0) & (share < 1), np.clip(centre + half, 0.0, 1.0), 1.0)
    return Limits(low, high)


def share_limits(share: Floats, n: Floats, level: float) -> Limits:
    """Return the limits of shares of n independent rows, n not necessarily whole; 0 and 1 where n is 0.

    At each end the wider of two counts, Wilson's and Jeffreys' (quantiles of Beta(hits + 1/2, misses + 1/2)). As the
    true share changes, the coverage of either jumps up and down, and mostly where the other's does not: Wilson's
    alone holds in as few as 92.8 of 100 studies of 100 rows, Jeffreys' in 93.2, both together in 93.9 or more (five
    or more hits and misses expected), while they are only 1 to 3 % wider.

    References
    ----------
    Brown, Cai & DasGupta (2001), Statistical Science 16(2), 101–133. doi:10.1214/ss/1009213286
    """
    wilson = wilson_limits(share, n, quantile_of(level))
    hits, misses = share * n + 0.5, (1 - share) * n + 0.5
    jeffreys = (special.betaincinv(hits, misses, tail) for tail in ((1 - level) / 2, (1 + level) / 2))
    low, high = (np.where(n > 0, limit, edge) for limit, edge in zip(jeffreys, (0.0, 1.0), strict=True))
    return Limits(np.minimum(wilson.low, low), np.maximum(wilson.high, high))


def units_of(groups: Sequence[str] | None) -> Sequence[str] | None:
    """Return the groups that intervals take as their units: None where there are none, or fewer than five.

    Of fewer, nothing is said on other groups; texts then are their own units, and intervals hold for these groups. All
    figures of an evaluation go by the same answer, that of all its rows.
    """
    return None if groups is None or len(set(groups)) < FEWEST_GROUPS else groups


def degrees_of_freedom(weights: Floats, effect: float) -> float:
    """Return the degrees of freedom of a variance estimated from unequal groups, at least 1.

    A group that holds the share w of the rows is expected to cause a part ``v ~ w + c w^2`` of the variance, c such
    that the whole is `effect` times that of independent rows. Satterthwaite's formula gives ``sum(v)^2 / sum(v^2)``
    independent parts, of which the mean takes the share 1 / G: G - 1 for G equal groups, fewer for unequal ones.

    Parameters
    ----------
    weights
        ndarray of shape (groups,); sums to 1.
    effect
        The design effect.

    References
    ----------
    Satterthwaite (1946), Biometrics Bulletin 2(6), 110–114. doi:10.2307/3002019
    Carter, Schnepel & Steigerwald (2017), Review of Economics and Statistics 99(4), 698–709. doi:10.1162/REST_a_00639
    """
    parts = weights + max(effect - 1, 0.0) / float(np.square(weights).sum()) * np.square(weights)
    parts = parts / parts.sum()
    return max(1.0, (1 - 1 / len(parts)) / float(np.square(parts).sum()))


def quantile_of(level: float, freedom: Floats | None = None) -> Floats:
    """Return the two-sided quantile of t, or of the normal distribution without degrees of freedom."""
    tail = (1 + level) / 2
    return np.asarray(special.ndtri(tail) if freedom is None else special.stdtrit(freedom, tail), dtype=np.float64)


Counts = NDArray[np.int64]


def mean_interval(
    values: ArrayLike, groups: Sequence[str] | None = None, *, level: float = LEVEL, lowest: float | None = None
) -> Interval | None:
    """Return the interval of the mean of row values, which may be skewed: log losses, Brier scores, differences.

    Student's t is straightened for skewness by Hall's cubic transformation. With groups, the mean is a ratio of
    sums, whose variance is that of the leave-one-group-out jackknife, and t has `limits.degrees_of_freedom`.

    Parameters
    ----------
    values
        ndarray of shape (n,).
    groups
        The group of each row, or None where rows are independent.
    lowest
        What the mean cannot fall below; the interval ends there.

    Returns
    -------
    Interval or None
        None with fewer than two rows, or fewer than two groups, and where all values are the same: how far others may
        lie from them, they do not tell.

    References
    ----------
    Hall (1992), Journal of the Royal Statistical Society B 54(1), 221–228. doi:10.1111/j.2517-6161.1992.tb01876.x
    MacKinnon, Nielsen & Webb (2023), Journal of Applied Econometrics 38(5), 671–694. doi:10.1002/jae.2969
    """
    v = np.asarray(values, dtype=np.float64)
    n = len(v)
    if n and np.ptp(v) <= 1e-9 * np.abs(v).max():
        return None
    if groups is None:
        if n < 2:
            return None
        mean = float(v.mean())
        moves = (v - mean) / np.sqrt(n * (n - 1))  # their sum of squares is the variance of the mean
        freedom = np.asarray(n - 1.0)
    else:
        codes = group_codes(groups, n)
        sizes = np.bincount(codes).astype(np.float64)
        g = len(sizes)
        if g < 2:
            return None
        mean = float(v.mean())
        weights = sizes / n
        moves = np.bincount(codes, weights=v - mean) / n / (1 - weights) * np.sqrt((g - 1) / g)
        alone = v.var() / n
        effect = float(np.square(moves).sum() / alone) if alone > 0 else 1.0
        freedom = np.asarray(degrees_of_freedom(weights, effect))
        # Few groups can look more alike than independent rows would be, and less skewed: both by chance.
        moves = moves / np.sqrt(min(effect, 1.0)) if effect > 1e-6 else (v - mean) / n
    third = max(float(np.power(moves, 3).sum()), float(np.power((v - mean) / n, 3).sum()), key=abs)
    below, above = _straightened(float(np.sqrt(np.square(moves).sum())), third, float(quantile_of(level, freedom)))
    low = mean - below if lowest is None else max(mean - below, min(lowest, mean))
    return Interval(low, mean + above, "hall" if groups is None else "grouped-hall")


FEWEST_DECIDING = 5
"""Where fewer rows make up nearly all of a loss, no interval of its mean would hold what it promises."""
DECIDED_BY_FEW = f"fewer than {FEWEST_DECIDING} texts make up nearly all of it"


def few_decide(values: ArrayLike) -> bool:
    """Return whether fewer than `FEWEST_DECIDING` rows make up nearly all of the sum of values from 0 on.

    By the number of equal values that would vary as much, (Σ v)² / Σ v² (Kish 1965). Of a classifier that is seldom
    wrong but then sure, 100 texts tell next to nothing about the mean of such losses: those of a large error that did
    not occur are missing from their spread. Intervals held the truth in 76 % there for 95, by the bootstrap in fewer.
    """
    v = np.asarray(values, dtype=np.float64)
    total = float(v.sum())
    return total > 0 and total**2 < FEWEST_DECIDING * float(np.square(v).sum())


def loss_interval(values: ArrayLike, groups: Sequence[str] | None = None, *, level: float = LEVEL) -> Interval | None:
    """Return the interval of the mean of losses from 0 on, by `mean_interval`; None also where `few_decide`."""
    return None if few_decide(values) else mean_interval(values, groups, level=level, lowest=0.0)


def _straightened(error: float, third: float, quantile: float) -> tuple[float, float]:
    """Return how far below and above a mean its limits lie, by Hall's transformation.

    With T the mean's error in standard errors and a its skewness, ``T + a T^2 / 3 + a^2 T^3 / 27 + a / 6`` is closer to
    symmetric than T is; its inverse is taken at the quantiles. `third` is the mean's third cumulant.
    """
    cube = error**3
    skew = float(np.clip(third / cube, -1.0, 1.0)) if cube else 0.0
    if abs(skew) < 1e-6:  # the inverse divides by it
        return quantile * error, quantile * error
    high, low = (3 / skew * (np.cbrt(1 + skew * (q - skew / 6)) - 1) for q in (quantile, -quantile))
    return max(float(high), 0.0) * error, max(float(-low), 0.0) * error


def group_codes(groups: Sequence[str], n: int) -> Counts:
    """Return the group of each of n rows as a number from 0, shape (n,)."""
    if len(groups) != n:
        raise DataError(f"{n:,} rows, but {len(groups):,} groups.", "Give the group of each row.")
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
