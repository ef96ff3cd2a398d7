"""What every interval is made of: quantiles, degrees of freedom, Wilson's limits.

In: arrays of any shape, so that many studies are computed at once. Out: arrays. Knows nothing of labels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

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


def degrees_of_freedom(weights: Floats, effect: Floats, axis: int = -1) -> Floats:
    """Return the degrees of freedom of a variance estimated from unequal groups, at least 1.

    A group that holds the share w of the rows is expected to cause a part ``v ~ w + c w^2`` of the variance, c such
    that the whole is `effect` times that of independent rows. Satterthwaite's formula gives ``sum(v)^2 / sum(v^2)``
    independent parts, of which one is spent on the mean: G - 1 for G equal groups, fewer for unequal ones.

    Parameters
    ----------
    weights
        ndarray; sums to 1 over the groups, which lie along `axis`.
    effect
        The design effect; shape of `weights` without `axis`.

    References
    ----------
    Satterthwaite (1946), Biometrics Bulletin 2(6), 110–114. doi:10.2307/3002019
    Carter, Schnepel & Steigerwald (2017), Review of Economics and Statistics 99(4), 698–709. doi:10.1162/REST_a_00639
    """
    parts = expected_parts(weights, effect, axis)
    return freedom_of(parts, axis)


def expected_parts(weights: Floats, effect: Floats, axis: int = -1) -> Floats:
    """Return the part of the variance that each group is expected to cause, see `degrees_of_freedom`; they sum to 1."""
    squares = np.square(weights).sum(axis=axis, keepdims=True)
    slope = np.maximum(np.expand_dims(effect, axis) - 1, 0.0) / np.where(squares > 0, squares, 1.0)
    parts = weights + slope * np.square(weights)
    total = parts.sum(axis=axis, keepdims=True)
    shares: Floats = parts / np.where(total > 0, total, 1.0)
    return shares


def quantile_of(level: float, freedom: Floats | None = None) -> Floats:
    """Return the two-sided quantile of t, or of the normal distribution without degrees of freedom."""
    tail = (1 + level) / 2
    return np.asarray(special.ndtri(tail) if freedom is None else special.stdtrit(freedom, tail), dtype=np.float64)


def freedom_of(parts: Floats, axis: int) -> Floats:
    """Return the degrees of freedom of expected parts that sum to 1 along `axis`, at least 1."""
    squares = np.square(parts).sum(axis=axis)
    freedom: Floats = np.maximum(1 / np.where(squares > 0, squares, 1.0) - 1, 1.0)
    return freedom
