"""How sure is the difference between the figures of two sets of labels for the same texts: the formulas.

In: outcomes and losses, and which rows belong to one unit. Out: standard errors, intervals, p values, and the smallest
difference that could have been shown. `secondcoder.evaluation.comparison` puts them together.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from secondcoder.evaluation import metrics
from secondcoder.evaluation.intervals import LEVEL, Interval, quantile_of

POWER = 0.8
"""Share of repeated studies in which the smallest difference that could have been shown would be shown."""
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Batches = Callable[[], Iterable[tuple[Floats, Floats]]]
"""Gives, each time anew, units of shape (u, s) and their counts, shape (u,), batch by batch."""


def detectable(error: float, degrees: float) -> float | None:
    """Return the difference that is shown in about `POWER` of studies with this standard error; None without spread.

    By t alone: the permutation test, which has to agree, shows it in fewer where few texts bear on the figure.
    """
    reach = float(special.stdtrit(degrees, (1 + LEVEL) / 2) + special.stdtrit(degrees, POWER))
    return reach * error if error > 0 else None


@dataclass(frozen=True)
class McNemar:
    """The exact test of two accuracies on the same, independent texts: only texts that one alone got right count.

    Attributes
    ----------
    first_only, second_only
        Texts that only the first, or only the second, labelled as in gold.
    p_value
        Two-sided, from the binomial distribution; never too small, often somewhat too large.
    mid_p
        The same with half the probability of what was observed; about right on average.

    References
    ----------
    McNemar 1947, doi:10.1007/BF02295996. Fagerland, Lydersen & Laake 2013, doi:10.1186/1471-2288-13-91.
    """

    first_only: int
    second_only: int
    p_value: float
    mid_p: float


def mcnemar(first_only: int, second_only: int) -> McNemar:
    """Return the exact McNemar test of independent texts, by the counts of those that one alone got right."""
    discordant = first_only + second_only
    fewer = min(first_only, second_only)
    tail, without = (float(special.bdtr(k, discordant, 0.5)) if k >= 0 else 0.0 for k in (fewer, fewer - 1))
    # Where both counts are equal, both tails hold the observed one, and nothing speaks against chance.
    exact, mid = (1.0, 1.0) if first_only == second_only else (min(2 * tail, 1.0), tail + without)
    return McNemar(first_only, second_only, exact, mid)


def tango(first_only: int, second_only: int, n: int, level: float = LEVEL) -> Interval:
    """Return the score interval of the difference in accuracy, second minus first, on n independent texts.

    It holds its level with few discordant texts and with none, where the plain (Wald) interval shrinks to a point.

    References
    ----------
    Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B. Fagerland, Lydersen & Laake 2014,
    doi:10.1002/sim.6148 (its coverage, beside others).
    """
    z = float(quantile_of(level))
    observed = (second_only - first_only) / n

    def score(d: float) -> float:
        # The share that only the first gets right, if the true difference were d: root of a quadratic.
        b = (2 * n - second_only + first_only) * d - first_only - second_only
        c = -first_only * d * (1 - d)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * q + d * (1 - d))
        away = second_only - first_only - n * d
        return 0.0 if away == 0 else away / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, away)

    def limit(end: float, quantile: float) -> float:
        inside = end * (1 - 1e-12)
        beyond = (score(inside) - quantile) * (score(observed) - quantile) > 0
        if observed == end or beyond:
            return end
        return float(
            optimize.brentq(lambda d: score(d) - quantile, min(inside, observed), max(inside, observed), xtol=1e-10)
        )

    return Interval(limit(-1.0, z), limit(1.0, -z), "tango")


def group_places(groups: Sequence[str]) -> Counts:
    """Return the group of each text as a number, shape (n,); a text whose group is ``""`` is one by itself."""
    keys = [("", i) if group == "" else (group, -1) for i, group in enumerate(groups)]
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([place[key] for key in keys], dtype=np.int64)


def group_sums(columns: Floats, places: Counts) -> Floats:
    """Return the sums over each group, shape (g, s), of columns of shape (n, s); `places` as of `group_places`."""
    sums = np.zeros((int(places.max()) + 1, columns.shape[1]))
    np.add.at(sums, places, columns)
    return sums


def group_degrees(sizes: Floats) -> float:
    """Return the degrees of freedom of Student's t for groups of so many texts: their effective number.

    A few large groups among small ones tell little more than the large ones alone. At most the number of groups less 1,
    as for equal groups, and at least 1.

    References
    ----------
    Carter, Schnepel & Steigerwald 2017, doi:10.1162/REST_a_00639 (effective number of clusters, here in its simplest
    form, by size).
    """
    return max(min(float(sizes.sum() ** 2 / (sizes**2).sum()), len(sizes) - 1.0), 1.0)


def jackknife(
    statistic: Callable[[Floats], Floats],
    units: Floats,
    counts: Floats,
    *,
    step: float = 1.0,
    more: Batches | None = None,
) -> Floats:
    """Return the standard errors, shape (f,), of figures that are computed from sums over independent units.

    Parameters
    ----------
    statistic
        From sums, shape (…, s), to figures, shape (…, f).
    units : ndarray of shape (u, s)
        What a unit of each kind adds to the sums.
    counts : ndarray of shape (u,)
        Number of units of each kind; may be fractional where the step is small.
    step
        How much of a unit is left out at a time: all of it, or next to nothing (the infinitesimal jackknife, which is
        the delta method).
    more
        Further units and their counts, which are too many to be held at once.

    References
    ----------
    Efron & Stein 1981, doi:10.1214/aos/1176345462. MacKinnon, Nielsen & Webb 2023, doi:10.1002/jae.2969 (for groups).
    """
    n, sums = counts.sum(), counts @ units
    for own, times in more() if more else ():
        n, sums = n + times.sum(), sums + times @ own
    whole = statistic(sums)
    if n < 2:  # nothing would be left
        return np.zeros_like(whole)
    # Deviations from the figures of all units, not from their own mean, can be summed up batch by batch.
    moved, squares = np.zeros_like(whole), np.zeros_like(whole)
    for own, times in chain([(units, counts)], more() if more else ()):
        deviation = (statistic(np.maximum(sums - step * own, 0.0)) - whole) / step
        moved, squares = moved + times @ deviation, squares + times @ deviation**2
    found: Floats = np.sqrt((n - 1) / n * np.maximum(squares - moved**2 / n, 0.0))
    return found


def losses(gold: Counts, probabilities: Floats) -> Floats:
    """Return the log loss of each text, shape (n,), in nats."""
    of_gold = probabilities[np.arange(len(gold)), gold]
    losses: Floats = -np.log(np.clip(of_gold, metrics.SMALLEST_PROBABILITY, 1 - metrics.SMALLEST_PROBABILITY))
    return losses


def t_interval(estimate: float, error: float, degrees: float, method: str, level: float = LEVEL) -> Interval:
    """Return the interval of an estimate with a standard error, by Student's t."""
    reach = float(quantile_of(level, np.asarray(degrees))) * error
    return Interval(estimate - reach, estimate + reach, method)


def t_test(estimate: float, error: float, degrees: float) -> float:
    """Return the two-sided p value that belongs to `t_interval`: below 0.05 where the 95 % interval leaves out 0."""
    if error == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * special.stdtr(degrees, -abs(estimate) / error))
