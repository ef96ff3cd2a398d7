"""Do probabilities mean what they say? Calibration error, Brier score, and the temperature that mends them.

In: gold class positions with probabilities, or with logits. Out: `Calibration`, or a temperature. Knows no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_softmax, softmax

from secondcoder.errors import DataError
from secondcoder.evaluation.calibration_error import bins_of, calibration_error
from secondcoder.evaluation.deciding import decide_class
from secondcoder.evaluation.interval import Interval
from secondcoder.evaluation.means import share_interval
from secondcoder.evaluation.uncertainty import mean_interval

TEMPERATURES = (0.05, 20.0)
"""The smallest and the largest that is fitted."""

Floats = NDArray[np.float64]


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
class Calibration:
    """How far probabilities can be taken at their word.

    Attributes
    ----------
    error
        Expected calibration error of the label given (of all k decisions on a text, where it may have several): by how
        much confidence and share right differ, on average over the bins. What chance alone adds to such a mean of sizes
        is taken off; `plain_error` is the figure with it.
    error_interval
        Where it may lie; None if no interval can be given.
    brier
        Mean of the summed squares of (probability - 1 for the gold class, 0 for others): from 0, best, to 2. Where a
        text may have several classes, of their mean: from 0 to 1.
    brier_interval
        Where it may lie; None if no interval can be given.
    bins
        At most 10, of equally many texts, by rising confidence; texts of one confidence are in one bin.
    """

    error: float
    error_interval: Interval | None
    brier: float
    brier_interval: Interval | None
    bins: tuple[ReliabilityBin, ...]

    @property
    def plain_error(self) -> float:
        """The expected calibration error as most papers give it, never 0, and the larger the fewer the texts."""
        return sum(b.n * abs(b.accuracy - b.confidence) for b in self.bins) / sum(b.n for b in self.bins)

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as plain JSON values."""
        return asdict(self) | {"bins": [asdict(b) for b in self.bins]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Return the calibration that `to_dict` wrote.

        Raises
        ------
        DataError
            If a figure is missing or unknown.
        """
        try:
            return cls(
                **{
                    **values,
                    "error_interval": Interval.from_dict(values["error_interval"]),
                    "brier_interval": Interval.from_dict(values["brier_interval"]),
                    "bins": tuple(
                        ReliabilityBin(**{**b, "interval": Interval.from_dict(b["interval"])}) for b in values["bins"]
                    ),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"This is not a calibration as secondcoder writes it: {error}.", "Run the evaluation again."
            ) from error


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
    if given is None:
        given = decide_class(probabilities)
    return np.take_along_axis(probabilities, given[:, np.newaxis], axis=1)[:, 0], given == gold


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
    Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2 (Brier score). Bröcker & Smith 2007,
    doi:10.1175/WAF993.1 (bins). For the calibration error see `secondcoder.evaluation.calibration_error`.
    """
    confidence, right = top_class(gold, probabilities, given)
    error, error_interval, bins = reliability(confidence, right, groups)
    squares = np.sum((probabilities - np.eye(probabilities.shape[1])[gold]) ** 2, axis=1)
    return Calibration(error, error_interval, float(squares.mean()), mean_interval(squares, groups, lowest=0.0), bins)


def reliability(
    confidence: Floats, right: NDArray[np.bool_], groups: Sequence[str] | None
) -> tuple[float, Interval | None, tuple[ReliabilityBin, ...]]:
    """Return calibration error, its interval and bins of decisions, by how sure they were and whether they were right.

    Parameters
    ----------
    confidence, right
        ndarray of shape (n,).
    groups
        What each decision hangs together with; None where they are independent.
    """
    bins = bins_of(confidence)
    error, error_interval = calibration_error(confidence, right, bins, groups)
    names = None if groups is None else np.asarray(groups)
    found = (
        ReliabilityBin(
            confidence=float(confidence[rows].mean()),
            accuracy=float(right[rows].mean()),
            interval=share_interval(right[rows], None if names is None else names[rows]),
            n=len(rows),
        )
        for rows in (np.flatnonzero(bins == b) for b in range(bins.max() + 1))
    )
    return error, error_interval, tuple(found)


def fit_temperature(gold: NDArray[np.int64] | NDArray[np.bool_], logits: NDArray[np.floating[Any]]) -> float:
    """Return the temperature by which logits are to be divided, so that their softmax has the least log loss.

    Where a text may have several classes, it is the logistic function that is to have the least log loss.

    Labels stay as they are: dividing changes no order. As in Platt's scaling, the gold labels are softened by
    one imagined text that is spread over all classes; a temperature for a hundred texts that are all right would
    else be as near 0 as is allowed. It is never one of which the log loss is above that of temperature 1.

    Parameters
    ----------
    gold
        Of rows that were not trained on: ndarray of shape (n,), class positions; or, of bool and of shape (n, k), which
        classes each row has.
    logits
        ndarray of shape (n, k).

    Returns
    -------
    float
        From 0.05 to 20; above 1 where the model is too sure of itself.

    Raises
    ------
    DataError
        If rows do not fit together, or a logit is not a number.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599. Platt 1999, "Probabilistic outputs for support vector machines", in Advances in
    Large Margin Classifiers, MIT Press.
    """
    z = np.asarray(logits, dtype=np.float64)
    sets = gold.ndim == 2
    if sets and (gold.shape != z.shape or not len(gold)):
        raise DataError(
            f"Gold has shape {gold.shape}, the logits have {z.shape}.", "Give both for the same texts and classes."
        )
    if not sets:
        top_class(gold.astype(np.int64), z)
    if not np.isfinite(z).all():
        raise DataError("Among the logits are some that are not numbers.", "Train again with a lower learning rate.")
    n, k = z.shape
    z = z if sets else z - z.max(axis=1, keepdims=True)
    if not z.any():
        return 1.0  # all classes alike in every row: no temperature changes anything
    targets = (gold * n + 0.5) / (n + 1) if sets else (np.eye(k)[gold] * n + 1 / k) / (n + 1)
    wanted = float((targets * z).sum())

    def slope(inverse: float) -> float:
        """Return the log loss's derivative by 1 / temperature; it rises throughout, as the loss is convex in that."""
        return float(((expit(inverse * z) if sets else softmax(inverse * z, axis=1)) * z).sum()) - wanted

    def log_loss(inverse: float) -> float:
        if sets:
            return float((np.logaddexp(0.0, inverse * z) - gold * inverse * z).sum())
        return float(-log_softmax(inverse * z, axis=1)[np.arange(n), gold].sum())

    lowest, highest = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(lowest) >= 0:
        inverse = lowest
    elif slope(highest) <= 0:
        inverse = highest
    else:
        inverse = brentq(slope, lowest, highest)
    return 1 / inverse if log_loss(inverse) <= log_loss(1) else 1.0
