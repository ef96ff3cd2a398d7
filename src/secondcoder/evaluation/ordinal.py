"""How good are labels of ordered classes? Quadratic weighted kappa and mean absolute error, with intervals.

In: class positions, from low to high. Out: `OrderFigures`, and the `Interval`s of both.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import TaskName
from secondcoder.evaluation import metrics, paired_figures, paired_tests
from secondcoder.evaluation.comparison import Comparison, Pair
from secondcoder.evaluation.count_intervals import bounded_mean_interval
from secondcoder.evaluation.evaluation import Evaluation, OrderFigures, Predictions
from secondcoder.evaluation.intervals import LEVEL, Interval, degrees_of_freedom, quantile_of
from secondcoder.evaluation.metrics import FigureNames
from secondcoder.evaluation.multiclass import MultiClass
from secondcoder.evaluation.paired_figures import PairedFigures
from secondcoder.evaluation.paired_tests import Floats

Counts = NDArray[np.int64]
_STEP = 1e-4  # of a text, in derivatives
_NONE = 1e-9  # a smaller standard error is rounding: that of a classifier that always says the same


def order_figures(matrix: Counts) -> OrderFigures:
    """Return the figures of a (k, k) confusion matrix, classes from low to high."""
    kappa = metrics.quadratic_kappa(matrix)
    return OrderFigures(None if math.isnan(kappa) else kappa, metrics.mean_absolute_error(matrix))


def order_intervals(
    gold: Counts, given: Counts, k: int, *, groups: Sequence[str] | None = None, level: float = LEVEL
) -> dict[str, Interval | None]:
    """Return the intervals of both figures, by name; None where none can be given.

    Parameters
    ----------
    gold, given
        ndarray of shape (n,), class positions.
    k
        Number of classes.
    groups
        The group of each text, or None where texts are independent.
    """
    return {
        "quadratic-kappa": kappa_interval(gold, given, k, groups=groups, level=level),
        "mean-absolute-error": bounded_mean_interval(np.abs(gold - given), k - 1.0, groups, level=level),
    }


def kappa_interval(
    gold: Counts, given: Counts, k: int, *, groups: Sequence[str] | None = None, level: float = LEVEL
) -> Interval | None:
    """Return the interval of quadratic weighted kappa.

    The standard error is that of the delta method, or with groups of the jackknife over them, and never less than that
    of independent texts. It is carried to Fisher's scale, ``artanh``, on which t is symmetric: kappa is a kind of
    correlation, skewed the more the nearer it is to 1.

    None with fewer than two texts or groups, where kappa is undefined, where it is 1, and where it has no spread.

    References
    ----------
    Fleiss, Cohen & Everitt (1969), Psychological Bulletin 72(5), 323–327. doi:10.1037/h0028106 (delta method)
    """
    n = len(gold)
    kinds, counts = np.unique(gold * k + given, return_counts=True)
    cells = np.eye(k * k)
    kappa = float(_kappa(counts @ cells[kinds])[0])
    if n < 2 or math.isnan(kappa) or abs(kappa) >= 1:
        return None
    error = float(paired_tests.jackknife(_kappa, cells[kinds], counts.astype(np.float64), step=_STEP)[0])
    freedom = np.asarray(n - 1.0)
    if groups is not None:
        sums = paired_tests.group_sums(cells[gold * k + given], paired_tests.group_places(groups))
        if len(sums) < 2:
            return None
        sizes = sums.sum(axis=1)
        # A group without which kappa is undefined moves it by nothing that could be counted.
        over_groups = float(np.nan_to_num(paired_tests.jackknife(_kappa, sums, np.ones(len(sums)))[0]))
        effect = (over_groups / error) ** 2 if error > 0 else 1.0
        freedom = np.asarray(degrees_of_freedom(sizes / n, effect))
        error = max(error, over_groups)
    if error < _NONE:
        return None
    reach = float(quantile_of(level, freedom)) * error / (1 - kappa**2)
    low, high = (math.tanh(math.atanh(kappa) + sign * reach) for sign in (-1, 1))
    return Interval(low, high, "fisher" if groups is None else "grouped-fisher")


def _kappa(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return kappa, shape (..., 1), from counts of pairs, shape (..., k k)."""
    k = math.isqrt(sums.shape[-1])
    return metrics.quadratic_kappas(sums.reshape(*sums.shape[:-1], k, k))[..., np.newaxis]


def with_order(
    found: Comparison, gold: Counts, given: tuple[Counts, Counts], k: int, groups: Sequence[str] | None = None
) -> Comparison:
    """Return the comparison with the differences in kappa and in mean absolute error behind the others.

    As for the others, see `secondcoder.evaluation.paired_figures.differences`; a figure that is undefined is left out.

    Parameters
    ----------
    gold
        ndarray of shape (n,), positions from low to high.
    given
        The same of the labels that the first and the second gave.
    k
        Number of classes.
    groups
        The group of each text, as in `secondcoder.evaluation.comparison.compare`.
    """
    cells = np.eye(k * k)
    codes, kind = np.unique((gold * k + given[0]) * k + given[1], return_inverse=True)
    one, two = codes // k, codes // k**2 * k + codes % k  # pairs (gold, given) of both
    places = np.arange(2 * k * k)
    kappa = PairedFigures(
        names=("quadratic-kappa",),
        kinds=np.concatenate([cells[one], cells[two]], axis=1),
        kind=kind,
        statistic=_kappas,
        swapped=np.roll(places, k * k),
        bounds=(2.0,),
        step=_STEP,
    )
    off = paired_figures.means(
        {"mean-absolute-error": (np.abs(gold - given[0]), np.abs(gold - given[1]))}, {"mean-absolute-error": k - 1.0}
    )
    at, _ = paired_figures.paired_units(groups)
    more = paired_figures.differences(kappa, at) | paired_figures.differences(off, at)
    return replace(found, differences=(*found.differences, *more.values()))


def _kappas(sums: Floats) -> Floats:
    """Return kappa of first and second, shape (…, 2, 1), from counts of pairs of both, shape (…, 2 k k)."""
    k = int(np.sqrt(sums.shape[-1] // 2))
    return metrics.quadratic_kappas(sums.reshape(*sums.shape[:-1], 2, k, k))[..., np.newaxis]


class Ordinal(MultiClass):
    """One of ordered classes a text: the rules of one label, and how many steps off counts."""

    name: TaskName = "ordinal"
    figures: FigureNames = metrics.ORDERED
    cited = ("cohen1968",)
    figures_note = " Quadratic kappa is that of Cohen (1968); the error is counted in steps."

    def points(self, said: Predictions) -> Evaluation:
        """Return the figures of classes and those of their order."""
        found = super().points(said)
        return replace(found, order=order_figures(found.confusion_matrix))

    def evaluate(self, said: Predictions, temperature: float) -> Evaluation:
        """Return the figures of classes and those of their order, with their intervals."""
        found = super().evaluate(said, temperature)
        given = self.decide(said.probabilities, said.thresholds, said.names, said.positive)
        return replace(
            found,
            order=order_figures(found.confusion_matrix),
            intervals=found.intervals | order_intervals(said.gold, given, len(said.names), groups=said.units),
        )

    def compare(self, pair: Pair) -> Comparison:
        """Return how two differ, in kappa and in steps too."""
        found = super().compare(pair)
        place = np.array([pair.low_to_high.index(name) for name in pair.names], dtype=np.int64)
        given = place[pair.given[0]], place[pair.given[1]]
        return with_order(found, place[pair.gold], given, len(pair.names), pair.groups)

    def without_order(self) -> MultiClass:
        """Return the rules of one label a text."""
        return MultiClass()

    def described(self, classes: str, all_names: str) -> str:
        """Return all classes, as their order is what they mean."""
        return f"ordered classes, from low to high {all_names}"

    def labels_texts(self, names: str, either: str) -> str:
        """Return: as this or that, and that they are ordered."""
        return f"{super().labels_texts(names, either)}, which are ordered from low to high"

    def tables(self, evaluation: Evaluation) -> list[tuple[list[str], list[list[Any]], str]]:
        """Return how far off labels are, and the confusion matrix."""
        steps = enumerate(evaluation.distances)
        rows: list[list[Any]] = [[str(step), n, f"{n / evaluation.n:.1%}"] for step, n in steps]
        return [(["steps off", "texts", "share"], rows, "How far off"), *super().tables(evaluation)]
