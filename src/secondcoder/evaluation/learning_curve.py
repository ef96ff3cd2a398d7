"""LearningCurve: how a figure rises with the number of labelled texts, and what more of them would bring.

In: sizes of the train part and the figures that models of those sizes reached. Out: a power law with its band, and
what may be expected of more labels; or the reason why nothing can be said. Whoever trains the models does so elsewhere.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from secondcoder.errors import DataError
from secondcoder.evaluation.intervals import LEVEL
from secondcoder.storage import Stored

FEWEST_SIZES = 4
"""A power law has three parameters; fewer sizes cannot tell them apart."""
NARROWEST = 3
"""The sizes must span this factor."""
FEWEST_SEEDS = 2
"""Trainings of each size: those of one size tell chance from a curve that is no power law."""
FARTHEST = 4
"""Nothing is said beyond so many times the largest size."""

# What is held possible before looking (coverage: benchmarks/results/2026-11-29-learning-curve.md). Exponents lie
# around 0.5 (Hoiem et al. 2021), 95 % from 0.07 to 3.5. Of the error at the largest size any share may stay
# for ever; all of it and none of it are the likelier ones, and a little less than none: dev may be too easy by chance,
# by as much at all sizes. (From 0 on, where no error stays, dev differs from other texts by 0.02 and trainings by
# little, the gain was above the band in 41 of 100 studies.) Of noise as much is known as two trainings that lie 0.01
# apart would say, and that it falls with some power of the size.
_EXPONENT, _EXPONENT_SPREAD = 0.5, 1.0
_STAYING = 0.3, 0.3
_LEAST_STAYING = -0.5
_NOISE, _NOISE_DEGREES = 0.01, 2.0
_NOISE_FALLS = 0.0, 0.25, 0.5
# Of the grid: exponents, shares that stay, errors at the largest size. With half as many a side, where trainings differ
# by little, the likely laws fall between the grid's: coverage of 82 % for 95.
_POINTS = 81, 81, 9
# Of the weight that the level leaves out at either end, so much is: with all of it, where no error stays (c = 0),
# the gain was above the band in 6 to 9 of 100 studies.
_LEFT_OUT = 0.5
_LEAST = 14.0  # laws less likely than the likeliest by this logarithm are left out
_KEPT = 400
_OUTLYING = 3.0  # standard deviations from the median of its size
# Sizes of two tests: above the first a rise is taken for chance; below the second, no power law is taken to fit.
_CHANCE_OF_RISE, _CHANCE_OF_MISFIT = 0.01, 0.02
# With two trainings a size what is held known of noise weighs more than what they show, and the test rejects fewer
# power laws than it may: at 0.02 up to 1.8 %, at 0.04 up to 3.3 %, and of sigmoids 97.1 % for 93.0 %.
_CHANCE_OF_MISFIT_OF_TWO = 0.04
_TRIED = 40  # exponents that the test of fit tries

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CurvePoint:
    """One training: the number of its texts, its seed, the figure that it reached."""

    size: int
    seed: int
    figure: float


@dataclass(frozen=True)
class LearningCurve(Stored, name="a learning curve", cure="Make the curve again."):
    """How a figure rises with the number of labelled texts: ``figure(n) = 1 − (a n^−b + c)``.

    Attributes
    ----------
    name
        Of the figure.
    points
        The trainings, by size and seed.
    law
        ``(a, b, c)`` with a ≥ 0, b > 0; c is a little below 0 where dev seems too easy. None where there is a reason.
    laws
        As many triples as make up the band, each about as likely as the others.
    reason
        Why nothing can be said about more labels, or None.
    level
        How often the band is meant to hold the truth. It holds the chance of training and the uncertainty of the law,
        on the rows that judged all points; not that of drawing other rows to judge on.
    """

    name: str
    points: tuple[CurvePoint, ...]
    law: tuple[float, float, float] | None
    laws: tuple[tuple[float, float, float], ...]
    reason: str | None
    level: float = LEVEL

    @property
    def largest(self) -> int:
        """The largest size."""
        return max(point.size for point in self.points)

    def at(self, size: float) -> tuple[float, float, float] | None:
        """Return the figure of an average training of a size, and the low and high end of the band there.

        None below the smallest size, beyond `FARTHEST` times the largest one, or where there is a reason.
        """
        smallest = min(point.size for point in self.points)
        if self.law is None or not smallest <= size <= FARTHEST * self.largest:
            return None
        return self._banded(lambda a, b, c: np.minimum(1 - (a * size**-b + c), 1.0))

    def expect(self, more: int) -> tuple[float, float, float] | None:
        """Return what so many more labelled texts than the largest size would add, with the ends of its interval.

        None beyond `FARTHEST` times the largest size, or where there is a reason.

        Raises
        ------
        DataError
            If the number is below 0.
        """
        if more < 0:
            raise DataError(f"{more} more labels were asked for.", "Ask for a number from 0 on.")
        n, size = float(self.largest), float(self.largest + more)
        if self.law is None or size > FARTHEST * n:
            return None
        return self._banded(lambda a, b, _: a * (n**-b - size**-b))

    def sentence(self, more: int) -> str:
        """Return what so many more labels would bring, in words."""
        found = self.expect(more)
        if found is not None:
            gain, low, high = found
            return f"With {more:,} more labels expect {self.name} {gain:+.3f} [{low:.3f}, {high:.3f}]."
        if self.reason is not None:
            return f"What more labels would bring cannot be said: {self.reason}."
        return (
            f"What {more:,} more labels would bring cannot be said: that is more than {FARTHEST} times the "
            f"{self.largest:,} that were tried."
        )

    @cached_property
    def _parameters(self) -> Floats:
        return np.array(self.laws).T  # (3, laws)

    def _banded(self, figure: Any) -> tuple[float, float, float]:
        value = float(figure(*(self.law or ())))
        tail = (1 - self.level) / 2 * _LEFT_OUT
        low, high = np.quantile(figure(*self._parameters), [tail, 1 - tail])
        return value, min(float(low), value), max(float(high), value)


def fit_power_law(
    sizes: Sequence[int],
    figures: Sequence[float],
    *,
    seeds: Sequence[int] | None = None,
    name: str = "figure",
    level: float = LEVEL,
) -> LearningCurve:
    """Return the learning curve through trainings of several sizes, with its band.

    The errors ``1 − figure`` are taken to scatter around a power law ``a n^−b + c``. All laws are weighed by how well
    they fit and by what is usual for learning curves (on a grid, by Bayes' rule), and the band is where most of the
    weight lies: least squares alone would give one law and a standard error that is meaningless when c is at its limit.
    A training that lies far from the others of its size counts less.

    Parameters
    ----------
    sizes
        Number of labelled texts of each training.
    figures
        Figure that each reached, from 0 to 1, higher being better; all judged on the same rows.
    seeds
        Seed of each training; unset, trainings of one size are counted.
    name
        Of the figure.
    level
        Confidence of the band.

    Raises
    ------
    DataError
        If the lists are empty or of unequal length, a size is below 1, or a figure is not between 0 and 1.

    References
    ----------
    Viering & Loog 2023, doi:10.1109/TPAMI.2022.3220744 (shapes of learning curves). Hoiem, Gupta, Li &
    Shlapentokh-Rothman 2021, Learning Curves for Analysis of Deep Networks, arXiv:2010.11029 (law, exponents, weights).
    """
    n, y = np.asarray(sizes, dtype=np.float64), np.asarray(figures, dtype=np.float64)
    if not len(n) or len(n) != len(y) or (seeds is not None and len(seeds) != len(n)):
        raise DataError(f"There are {len(n)} sizes and {len(y)} figures.", "Give a size, a seed and a figure each.")
    if not (n >= 1).all() or not ((y >= 0) & (y <= 1)).all():
        raise DataError("A size is below 1, or a figure is not between 0 and 1.", "Give sizes and shares.")
    if seeds is None:
        seeds = [int((n[:i] == n[i]).sum()) for i in range(len(n))]
    points = tuple(sorted(map(CurvePoint, map(int, sizes), map(int, seeds), map(float, figures)), key=_by_size))
    reason = _why_not(points)
    if reason is not None:
        return LearningCurve(name, points, None, (), reason, level)
    laws = _likely_laws(n, 1 - y)
    return LearningCurve(name, points, _middle(laws, n), tuple(map(_rounded, laws)), None, level)


def why_no_forecast(trainings: Iterable[tuple[int, int]]) -> str | None:
    """Return why trainings of these sizes and seeds can give no forecast, whatever they reach; None if they may.

    Parameters
    ----------
    trainings
        Size and seed of each.
    """
    seeds: dict[int, set[int]] = {}
    for size, seed in trainings:
        seeds.setdefault(size, set()).add(seed)
    if len(seeds) < FEWEST_SIZES:
        return f"there are {len(seeds)} sizes, and a curve needs {FEWEST_SIZES}"
    if max(seeds) < NARROWEST * min(seeds):
        return f"the sizes span less than a factor of {NARROWEST}"
    if few := [size for size in sorted(seeds) if len(seeds[size]) < FEWEST_SEEDS]:
        shown = [f"{size:,}" for size in few[:3]] + [f"{len(few) - 3} more"] * (len(few) > 3)
        sizes = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
        return (
            f"{'the size' if len(few) == 1 else 'the sizes'} {sizes} {'has' if len(few) == 1 else 'have'} one seed "
            f"only, and it takes {FEWEST_SEEDS} for each to tell chance from a curve that no power law fits"
        )
    return None


def _by_size(point: CurvePoint) -> tuple[int, int]:
    return point.size, point.seed


def _rounded(law: Floats) -> tuple[float, float, float]:
    """Return a law short enough to be written down; a millionth of it is no matter."""
    a, b, c = (float(f"{value:.7g}") for value in law)
    return a, b, c


def _why_not(points: Sequence[CurvePoint]) -> str | None:
    """Return why nothing can be said about larger sizes, or None."""
    if reason := why_no_forecast((point.size, point.seed) for point in points):
        return reason
    n, y = np.array([float(point.size) for point in points]), np.array([point.figure for point in points])
    usual = _weights(n, 1 - y) > 0.5
    n, y, seeds = n[usual], y[usual], np.array([point.seed for point in points])[usual]
    if np.ptp(y) == 0 or stats.linregress(np.log(n), y, alternative="greater").pvalue > _CHANCE_OF_RISE:
        return "the figure does not rise with the number of labels by more than chance"
    most = max(Counter(point.size for point in points).values())
    if (p := _chance_of_misfit(n, 1 - y, seeds)) < (_CHANCE_OF_MISFIT if most > 2 else _CHANCE_OF_MISFIT_OF_TWO):
        return (
            "no power law fits the figures, which depart from the best one by more than trainings of one size differ "
            f"(p = {max(p, 0.0001):.4f}); curves that are flat at first, then rise and level off do so, and what they "
            "would do next does not follow from the sizes tried"
        )
    return None


def _chance_of_misfit(n: Floats, errors: Floats, seeds: NDArray[np.int64]) -> float:
    """Return the probability that points about a power law depart from it as far as these: a test of lack of fit.

    An F test. Its denominator is what trainings of one size differ by (pure error), less what seeds differ by at all
    sizes, together with what is known of noise before looking, as for the band. Its numerator is by how much better the
    sizes' own means fit than the best power law ``a n^-b + c``, where c may be below 0: by how much dev happens to be
    too easy or too hard moves all figures alike, and is no lack of fit. Noise that falls with the size is allowed for,
    by the power of the size that is likeliest by the pure error alone.

    References
    ----------
    Draper & Smith 1998, Applied Regression Analysis, section 2.1, doi:10.1002/9781118625590 (lack of fit and pure
    error).
    """
    of_sizes = (n[:, np.newaxis] == np.unique(n)).astype(np.float64)
    of_seeds = (seeds[:, np.newaxis] == np.unique(seeds)).astype(np.float64)
    both = np.concatenate([of_seeds, of_sizes], axis=1)
    if np.linalg.matrix_rank(both) < both.shape[1] - 1:  # sizes that share no seed: what seeds differ by is not known
        both, of_seeds = of_sizes, np.ones((len(n), 1))
    exponents = np.exp(stats.norm.ppf((np.arange(_TRIED) + 0.5) / _TRIED, np.log(_EXPONENT), _EXPONENT_SPREAD))
    laws = (n[:, np.newaxis] / n.max()) ** -exponents  # (m, exponents)
    likeliest, chance = -np.inf, 1.0
    for fall in _NOISE_FALLS:
        root = ((n / n.max()) ** fall)[:, np.newaxis]
        e = root[:, 0] * errors
        basis, _ = np.linalg.qr(root * of_seeds)
        # What seeds explain is taken off both; of a law's sign only falling errors count.
        left, shapes = (x - basis @ (basis.T @ x) for x in (e, root * laws))
        along = np.maximum(left @ shapes, 0) / np.sqrt(np.square(shapes).sum(axis=0))
        fitted, _, rank, singular = np.linalg.lstsq(root * both, e)
        degrees = len(n) - rank
        pure = float(np.square(e - root * both @ fitted).sum())
        lack = float(left @ left - np.square(along).max() - pure)
        freedom = rank - of_seeds.shape[1] - 2  # a law has a slope and an exponent beside what seeds have
        noise = (pure + _NOISE_DEGREES * _NOISE**2) / (degrees + _NOISE_DEGREES)
        likely = float(
            np.log(root).sum() - np.log(singular[:rank]).sum() - (degrees + _NOISE_DEGREES) / 2 * np.log(noise)
        )
        if likely > likeliest:
            likeliest = likely
            chance = float(stats.f.sf(max(lack, 0.0) / freedom / noise, freedom, degrees + _NOISE_DEGREES))
    return chance


def _weights(n: Floats, errors: Floats) -> Floats:
    """Return below 1 for trainings that lie far from the median of their size, such as those that learned nothing."""
    away = np.zeros_like(errors)
    for size in np.unique(n):
        same = n == size
        if same.sum() > 2:
            away[same] = np.abs(errors[same] - np.median(errors[same]))
    spread = max(1.4826 * float(np.median(away[away > 0])), _NOISE / 5) if (away > 0).any() else _NOISE
    found: Floats = np.minimum(1.0, _OUTLYING * spread / np.maximum(away, 1e-12)) ** 2
    return found


@lru_cache(maxsize=1)
def _held_possible(sizes: tuple[float, ...]) -> tuple[Floats, Floats, Floats]:
    """Return laws that are equally likely before looking.

    Their exponents, the shares of the error that stay, shapes (g,), and their errors at the sizes as multiples of that
    at the largest one, shape (g, sizes).
    """
    exponents, shares = ((np.arange(points) + 0.5) / points for points in _POINTS[:2])
    b = np.exp(stats.norm.ppf(exponents, np.log(_EXPONENT), _EXPONENT_SPREAD))
    shares = _LEAST_STAYING + (1 - _LEAST_STAYING) * stats.beta.ppf(shares, *_STAYING)
    b, staying = (x.ravel() for x in np.meshgrid(b, shares))
    falling = (np.array(sizes) / sizes[-1]) ** -b[:, np.newaxis]
    return b, staying, staying[:, np.newaxis] + (1 - staying[:, np.newaxis]) * falling


def _likely_laws(n: Floats, errors: Floats) -> Floats:
    """Return `_KEPT` laws, shape (laws, 3), each standing for the same share of what is held likely after looking."""
    largest, m, weights = n.max(), len(n), _weights(n, errors)
    # The error at size n is u shape(n), u being that at the largest size: only u is left to be estimated.
    sizes, of_size = np.unique(n, return_inverse=True)
    b, staying, shape = _held_possible(tuple(sizes.tolist()))
    squared = shape**2
    degrees = m + _NOISE_DEGREES - 1
    ends = stats.t.ppf((np.arange(_POINTS[2]) + 0.5) / _POINTS[2], degrees)
    logs, middles, spreads = [], [], []
    for fall in _NOISE_FALLS:
        w = weights * (n / largest) ** (2 * fall)
        information = squared @ np.bincount(of_size, w)
        u = shape @ np.bincount(of_size, w * errors) / information
        squares = w @ errors**2 - u**2 * information + _NOISE_DEGREES * _NOISE**2
        logs.append(0.5 * np.log(w).sum() - 0.5 * np.log(information) - 0.5 * degrees * np.log(squares))
        middles.append(u)
        spreads.append(np.sqrt(squares / degrees / information))
    log, middle, spread = (np.concatenate(found) for found in (logs, middles, spreads))
    likely = np.flatnonzero(log > log.max() - _LEAST)
    b, staying = (np.tile(x, len(_NOISE_FALLS))[likely, np.newaxis] for x in (b, staying))
    u = np.maximum(middle[likely, np.newaxis] + spread[likely, np.newaxis] * ends, 0.0)
    # By their gain, so that the laws kept give its quantiles as the grid does.
    order = np.argsort((u * (1 - staying) * (1 - 2.0**-b)).ravel())
    reached = np.cumsum(np.repeat(np.exp(log[likely] - log.max()), len(ends))[order])
    kept = order[np.minimum(np.searchsorted(reached / reached[-1], (np.arange(_KEPT) + 0.5) / _KEPT), len(order) - 1)]
    b, staying, u = (np.broadcast_to(x, u.shape).ravel()[kept] for x in (b, staying, u))
    return np.column_stack([u * (1 - staying) * largest**b, b, u * staying])


def _middle(laws: Floats, n: Floats) -> tuple[float, float, float]:
    """Return the law that runs nearest the middle of all, from the smallest size to the farthest."""
    sizes = np.geomspace(n.min(), FARTHEST * n.max(), 20)
    a, b, c = laws.T[..., np.newaxis]
    runs = a * sizes**-b + c  # (laws, sizes)
    gains = a * (n.max() ** -b - sizes[-1] ** -b)  # (laws, 1)
    runs = np.concatenate([runs, gains], axis=1)
    away = np.abs(runs - np.median(runs, axis=0)) / (runs.std(axis=0) + 1e-12)
    return _rounded(laws[np.argmin((away**2).sum(axis=1))])
