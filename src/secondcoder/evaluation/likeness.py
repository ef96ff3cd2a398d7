"""How many independent texts those of groups are worth, by how alike the texts of one group are.

In: hits and sizes of groups, of many studies at once. Out: `Worth`, numbers of independent rows with how probable each
is; limits of a share over it. In the shapes below ``...`` are studies, u groups, j candidates.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from secondcoder.evaluation.intervals import Limits

Floats = NDArray[np.float64]
LIKENESS, LIKENESS_DOUBT = 0.08, 0.12
"""How alike two texts of one group are taken to be in being right before anything is seen, give or take: mean and
standard deviation of the intraclass correlation."""
_PULL = 1.5
"""By how many hits a share is drawn to half of what it can be, where likeness is weighed: few errors do not prove that
there is no bad group."""
_CANDIDATES, _STEPS = 10, 14
_BENT = 2.5  # so many standard errors; beyond, the expansion is no distribution
_NODES, _NODE_WEIGHTS = np.polynomial.hermite.hermgauss(3)
_LEAST, _MOST = 1e-6, 0.9  # correlations that are tried


class Worth(NamedTuple):
    """How many independent rows the rows of groups may be worth.

    Attributes
    ----------
    rows
        ndarray of shape (..., j), from all of them downwards.
    weights
        ndarray of shape (..., j): how probable each is; they sum to 1.
    """

    rows: Floats
    weights: Floats


def worth_of(hits: Floats, sizes: Floats, most: Floats | float = 1.0) -> Worth:
    """Return how many independent rows groups are worth, from how a share differs between them.

    With an intraclass correlation of r, the mean share of n rows varies as that of ``n / (1 + r (m - 1))`` independent
    ones, m the mean size of the group that a row is in. How probable each r is, is what Bayes' rule makes of `LIKENESS`
    (as a beta distribution) and of the beta-binomial likelihood of the groups' hits, over all shares that r allows. So
    a few groups that happen to look alike do not pass for proof that groups are alike, and one large group is not
    taken for the whole of what is known of it.

    Parameters
    ----------
    hits, sizes
        ndarray of shape (..., u): rows of a group that are hits, and all its rows. Whether a group is large must not
        depend on its hits.
    most
        What the share can be at most, a number or ndarray of shape (...,). Before anything is seen, the share is taken
        to be beta-distributed around the half of that.

    References
    ----------
    Kish (1965), Survey Sampling, Wiley (the design effect).
    Crowder (1978), Applied Statistics 27(1), 34–37. doi:10.2307/2346223 (beta-binomial)
    """
    n = np.maximum(sizes.sum(axis=-1), 1.0)[..., np.newaxis]
    share = hits.sum(axis=-1)[..., np.newaxis] / n
    size = np.maximum(np.square(sizes).sum(axis=-1)[..., np.newaxis] / n, 1.0)
    likeness, prior = _candidates(size)
    rows = n / (1 + likeness * (size - 1))
    # The likelihood is summed up over shares by Gauss and Hermite's rule, on the scale of log odds.
    some = np.full_like(share, _PULL)
    none = some * (2 / np.asarray(most)[..., np.newaxis] - 1)
    total = rows + some + none
    centre = (share * rows + some) / total
    width = np.sqrt(2 / (total * centre * (1 - centre)))
    odds = special.logit(centre)[..., np.newaxis] + width[..., np.newaxis] * _NODES
    shares = np.clip(special.expit(odds), 1e-12, 1 - 1e-12)
    likely = _log_likelihood(hits, sizes, shares, likeness[..., np.newaxis])
    likely += np.square(_NODES) + np.log(_NODE_WEIGHTS)
    likely += some[..., np.newaxis] * np.log(shares) + none[..., np.newaxis] * np.log1p(-shares)
    weights = special.softmax(special.logsumexp(likely, axis=-1) + np.log(width * np.maximum(prior, 1e-300)), axis=-1)
    return Worth(rows, weights)


def _candidates(size: Floats) -> tuple[Floats, Floats]:
    """Return correlations to try, shape (..., j), and their prior probabilities; close together where they matter."""
    first = np.minimum(0.1 / np.maximum(size - 1, 1e-6), _MOST / 9)
    steps = np.arange(_CANDIDATES - 1) / (_CANDIDATES - 2)
    likeness = np.concatenate([np.full_like(first, _LEAST), first * (_MOST / first) ** steps], axis=-1)
    between = np.sqrt(likeness[..., 1:-1] * likeness[..., 2:])
    ends = np.zeros_like(first), likeness[..., 1:2] / 2, between, np.ones_like(first)
    spread = LIKENESS * (1 - LIKENESS) / LIKENESS_DOUBT**2 - 1
    below = special.betainc(LIKENESS * spread, (1 - LIKENESS) * spread, np.concatenate(ends, axis=-1))
    return likeness, np.diff(below, axis=-1)


def _log_likelihood(hits: Floats, sizes: Floats, share: Floats, likeness: Floats) -> Floats:
    """Return the beta-binomial log likelihood of groups, shape (..., j, q), but for a constant."""
    both = (1 - likeness) / likeness
    alpha, beta = share * both, (1 - share) * both
    return _rising(alpha, hits) + _rising(beta, sizes - hits) - _rising(np.broadcast_to(both, both.shape), sizes)


def _rising(start: Floats, counts: Floats) -> Floats:
    """Return the sum over groups of ``log(start (start + 1) … (start + count - 1))``, for counts of shape (..., u)."""
    most = int(counts.max(initial=0))
    total = np.zeros(np.broadcast_shapes(start.shape, (*counts.shape[:-1], 1, 1)))
    base = special.gammaln(start)
    if most < counts.shape[-1]:  # many small groups: how many have 1, 2, 3 …
        columns = ((counts == count).sum(axis=-1) for count in range(1, most + 1))
        for count, times in enumerate(columns, start=1):
            total += times[..., np.newaxis, np.newaxis] * (special.gammaln(start + count) - base)
        return total
    for own in np.moveaxis(counts, -1, 0):
        total += special.gammaln(start + own[..., np.newaxis, np.newaxis]) - base
    return total


def mixed_limits(share: Floats, worth: Worth, level: float, *, skewed: bool = False) -> Limits:
    """Return the limits of a share over all that its rows may be worth.

    A limit is the true share with which a study shows so much, or more, with the probability of the tail: that of
    Wilson's normal distribution, averaged over the candidates. So it widens for what is not known of the groups, as
    Student's t does.

    Parameters
    ----------
    share
        ndarray of shape (...,).
    skewed
        Whether to reach further to the side of the long tail. Where there is no bad group in the sample, the share is
        too good and groups look too much alike, both by the same chance. The term is that of Edgeworth's expansion of
        Student's t; the mean of beta-distributed groups is up to twice as skewed as that of as many rows as they are
        worth.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22(158), 209–212. doi:10.1080/01621459.1927.10502953
    Hall (1992), Journal of the Royal Statistical Society B 54(1), 221–228. doi:10.1111/j.2517-6161.1992.tb01876.x
    """
    wanted = special.ndtri((1 - level) / 2)
    more = 2 - worth.rows / worth.rows.max(axis=-1, keepdims=True)  # from 1 to 2

    def beyond(angle: Floats, side: int) -> Floats:
        """Return by how many standard errors a true share, as its arcsine, is still within the limit."""
        middle = np.square(np.sin(angle))
        deviation = np.sqrt(np.maximum(middle * (1 - middle), 1e-12)[..., np.newaxis] / worth.rows)
        z = (share - middle)[..., np.newaxis] / deviation
        reached = side * z
        if skewed:
            skewness = side * more * (1 - 2 * middle)[..., np.newaxis] / (deviation * worth.rows)
            reached = reached + np.maximum(skewness, 0.0) * (2 * np.square(np.clip(z, -_BENT, _BENT)) + 1) / 6
        chance = (worth.weights * special.ndtr(reached)).sum(axis=-1)
        found: Floats = special.ndtri(np.clip(chance, 1e-12, 1 - 1e-12)) - wanted
        return found

    start = np.arcsin(np.sqrt(share))
    ends = [_crossing(partial(beyond, side=side), start, np.pi / 4 * (1 + side)) for side in (-1, 1)]
    low, high = (np.square(np.sin(end)) for end in ends)
    return Limits(np.where(share > 0, low, 0.0), np.where(share < 1, high, 1.0))


def _crossing(function: Callable[[Floats], Floats], inside: Floats, edge: float) -> Floats:
    """Return where a function falls below 0 between a point inside and an edge, by regula falsi (Illinois)."""
    outside = np.full_like(inside, edge)
    above, below = function(inside), np.minimum(function(outside), -1e-9)
    before = np.full(inside.shape, np.nan)
    for _ in range(_STEPS):
        middle = outside - below * (outside - inside) / (below - above)
        value = function(middle)
        held = value > 0
        # An end that stays twice counts half, so that both ends move.
        fewer = np.where(held == before, 0.5, 1.0)
        above, below = np.where(held, value, fewer * above), np.where(held, fewer * below, value)
        inside, outside = np.where(held, middle, inside), np.where(held, outside, middle)
        before = held.astype(np.float64)
    found: Floats = outside - below * (outside - inside) / (below - above)
    return found


def ratio_limits(parts: tuple[Floats, Floats], limits: tuple[Limits, Limits], correlation: Floats) -> Limits:
    """Return the limits of ``a / (a + b)`` from those of a and of b, by MOVER; 0 and 1 where nothing is known.

    Parameters
    ----------
    parts, limits
        a and b, and their limits, ndarrays of shape (...,).
    correlation
        ndarray of shape (...,), of the errors of a and b.

    References
    ----------
    Newcombe (2016), Statistical Methods in Medical Research 25(5), 1774–1778. doi:10.1177/0962280213502144
    """
    (a, b), (of_a, of_b) = parts, limits

    def least(a: Floats, b: Floats, below: Floats, above: Floats) -> Floats:
        """Return the lower limit of a / b; a may be lower by so much, b higher."""
        middle = a * b - correlation * below * above
        under = np.maximum(np.square(middle) - (a**2 - below**2) * (b**2 - above**2), 0.0)
        divisor = middle + np.sqrt(under)
        found: Floats = np.where(divisor > 0, (a**2 - below**2) / np.where(divisor > 0, divisor, 1.0), 0.0)
        return found

    low = least(a, b, a - of_a.low, of_b.high - b)
    high = least(b, a, b - of_b.low, of_a.high - a)
    return Limits(low / (1 + low), 1 / (1 + high))
