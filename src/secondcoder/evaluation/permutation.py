"""The paired permutation test: how large would the difference be had chance decided which of two gave which label.

In: what units (texts, or groups of them) add to sums, and figures that are computed from the sums. Out: a p value for
each figure, and the number of units that bear on it. `secondcoder.evaluation.paired_figures` makes differences of it.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Statistic = Callable[[Floats], Floats]
"""From sums, shape (…, s), to f figures of first and second, shape (…, 2, f)."""

SWAPS = 2_000
"""Random swaps where there are too many units to try all."""
MOST_FOR_ALL = 12
"""Up to so many units all swaps are tried: 2,048, as the opposite of each gives a difference of the same size."""
FEWEST_UNITS = 6
"""Of five units, all point one way by chance in 2 of 32 cases: fewer than six can show no difference."""
_SEED = 1_935
_AT_ONCE = 4_000_000  # numbers held at a time


class SwapTest(NamedTuple):
    """What swapping says of f figures.

    Attributes
    ----------
    p_values
        ndarray of shape (f,). Two-sided: how often swapping gives a difference at least as large as the observed one.
    differing
        ndarray of shape (f,). Units whose swap changes the figure.
    """

    p_values: Floats
    differing: Counts


def swap_test(statistic: Statistic, units: Floats, counts: Counts, swapped: Counts) -> SwapTest:
    """Return the paired permutation test of figures that are computed from sums over independent units.

    Had both the same quality, what they gave to a unit could as well have been given the other way round. So it is
    swapped, unit by unit, with a probability of one half. All swaps are tried where few units differ (the test is then
    exact), else `SWAPS` of them, drawn with a fixed seed, p being (1 + at least as large) / (1 + `SWAPS`).

    Parameters
    ----------
    statistic
        From sums, shape (…, s), to the figures of first and second, shape (…, 2, f).
    units : ndarray of shape (u, s)
        What a unit of each kind adds to the sums.
    counts : ndarray of shape (u,)
        Number of units of each kind.
    swapped : ndarray of shape (s,)
        Which column stands in the place of each, once first and second are swapped.

    References
    ----------
    Yeh 2000, doi:10.3115/992730.992783. Dror, Baumer, Shlomov & Reichart 2018, doi:10.18653/v1/P18-1128. Phipson &
    Smyth 2010, doi:10.2202/1544-6115.1585 (the added 1). Canay, Romano & Shaikh 2017, doi:10.3982/ECTA13081 (whole
    groups).
    """
    places = np.arange(len(swapped))
    pairs = places[swapped > places], swapped[swapped > places]
    middle = counts @ (units + units[:, swapped]) / 2  # where half of each kind is swapped
    halves, times = _merged((units[:, pairs[0]] - units[:, pairs[1]]) / 2, counts)

    def moved(shifts: Floats) -> Floats:
        sums = np.tile(middle, (len(shifts), 1))
        sums[:, pairs[0]] += shifts
        sums[:, pairs[1]] -= shifts
        return _difference(statistic(sums))

    observed = np.abs(_difference(statistic(counts @ units)))
    least = observed * (1 - 1e-9) - 1e-12  # rounding must not make two that are equal differ
    rows = max(1, _AT_ONCE // max(len(middle), len(halves), 1))
    bears = [np.abs(moved(halves[i : i + rows])) > 1e-12 for i in range(0, len(halves), rows)]
    differing = np.zeros(len(observed), dtype=np.int64)
    if bears:
        differing = times @ np.concatenate(bears).astype(np.int64)
    reached, tried = np.zeros(len(observed)), 0
    every = int(times.sum()) <= MOST_FOR_ALL
    for signs, of_units in _signs(halves, times, rows, every=every):
        reached += (~(np.abs(moved(signs @ of_units)) < least)).sum(axis=0)  # what is undefined counts as reached
        tried += len(signs)
    p = reached / tried if every else (1 + reached) / (1 + tried)
    # No fewer than two of all swaps of the units that bear on a figure are as extreme as any other.
    found: Floats = np.where(differing < FEWEST_UNITS, np.maximum(p, np.minimum(2.0 ** (1.0 - differing), 1.0)), p)
    return SwapTest(found, differing)


def _difference(both: Floats) -> Floats:
    found: Floats = both[..., 1, :] - both[..., 0, :]
    return found


def _merged(halves: Floats, counts: Counts) -> tuple[Floats, Counts]:
    """Return the distinct changes, shape (d, c), and how many units have each, without units that change nothing.

    A change and its opposite are the same: which of the two stood first makes no difference to a swap.
    """
    changed = halves.any(axis=1) & (counts > 0)
    halves, counts = halves[changed], counts[changed]
    if not len(halves):
        return halves, counts
    leading = np.take_along_axis(halves, np.argmax(halves != 0, axis=1)[:, np.newaxis], axis=1)
    distinct, place = np.unique(halves * np.sign(leading) + 0.0, axis=0, return_inverse=True)
    times = np.bincount(place.ravel(), weights=counts, minlength=len(distinct)).astype(np.int64)
    return distinct, times


def _signs(halves: Floats, times: Counts, rows: int, *, every: bool) -> Iterator[tuple[Floats, Floats]]:
    """Yield how far units of each kind point one way more than the other, shape (r, d), and the kinds' changes."""
    if every:
        m = int(times.sum())
        bits = np.arange(2 ** max(m - 1, 0))[:, np.newaxis] >> np.arange(m) & 1  # the last is never turned
        yield (2 * bits - 1).astype(np.float64), np.repeat(halves, times, axis=0)
        return
    random = np.random.default_rng(_SEED)
    many = np.flatnonzero(times > 1)
    for start in range(0, SWAPS, rows):
        shape = (min(rows, SWAPS - start), len(times))
        signs = (2 * random.integers(0, 2, shape, dtype=np.int8) - 1).astype(np.float64)
        signs[:, many] = 2 * random.binomial(times[many], 0.5, (shape[0], len(many))) - times[many]
        yield signs, halves
