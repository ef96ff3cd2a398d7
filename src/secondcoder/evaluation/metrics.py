"""The figures: their formulas, their names, and which of two values is better.

In: class positions as integers, probabilities as an array; names as a user writes them. Out: numpy arrays and floats;
names that `secondcoder.evaluation.evaluate.Evaluation.figure` knows. Knows no model. The tests hold each formula
against scikit-learn's. Figures of whole sets of labels are in `secondcoder.evaluation.multilabel`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import TaskName
from secondcoder.errors import SettingsError, nearest

AVERAGES = ("macro", "micro", "weighted")
FIGURES = ("f1", "precision", "recall")
LOWER_IS_BETTER = ("log-loss", "hamming-loss", "mean-absolute-error")
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
# A probability of 0 on the true class would cost infinitely much. scikit-learn clips at the same place.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class FigureNames:
    """What the figures of one label scheme are called.

    Attributes
    ----------
    task
        The scheme.
    whole
        The share of texts whose label, or whole set of labels, is the gold one.
    first, last
        Figures before and behind the averages over classes.
    leading
        Those to show first, after the headline.
    history
        Those that are written down for each epoch.
    paper
        Those that the methods paragraph names.
    """

    task: TaskName
    whole: str
    first: tuple[str, ...]
    last: tuple[str, ...]
    leading: tuple[str, ...]
    history: tuple[str, ...]
    paper: tuple[str, ...]

    def of(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of all figures with these classes."""
        averaged = (f"{average}-{figure}" for average in AVERAGES for figure in FIGURES)
        by_class = (f"{figure}:{label}" for figure in FIGURES for label in label_names)
        return (*self.first, *averaged, *self.last, "log-loss", *by_class)

    def resolve(self, name: str, positive: str | None, label_names: Sequence[str]) -> str:
        """Return the figure that a metric setting names; ``"auto"`` is the positive class's F1, or else macro-F1.

        Raises
        ------
        SettingsError
            If there is no such figure; the error lists those there are, and the nearest one.
        """
        if name == "auto":
            return "macro-f1" if positive is None else f"f1:{positive}"
        known = self.of(label_names)
        if name not in known:
            raise SettingsError(
                f"There is no figure {name!r}; the figures are: {', '.join(known)}.",
                f"{nearest(name, known)}Name one of the figures.",
            )
        return name


class ReliabilityWords(NamedTuple):
    """What a reliability diagram says of its axes and dots."""

    observed: str
    stated: str
    units: str
    right: str
    how_often: str


_BY_CLASS = ("accuracy", "balanced-accuracy")
ONE_LABEL = FigureNames(
    task="multi-class",
    whole="accuracy",
    first=_BY_CLASS,
    last=(),
    leading=("macro-f1", *_BY_CLASS, "weighted-f1", "log-loss"),
    history=("accuracy", "macro-f1", "log-loss"),
    paper=("macro-f1", "accuracy"),
)
ORDERED = FigureNames(
    task="ordinal",
    whole="accuracy",
    first=_BY_CLASS,
    last=("quadratic-kappa", "mean-absolute-error"),
    leading=("macro-f1", "quadratic-kappa", "mean-absolute-error", *_BY_CLASS, "weighted-f1", "log-loss"),
    history=("accuracy", "macro-f1", "quadratic-kappa", "log-loss"),
    paper=("macro-f1", "quadratic-kappa", "mean-absolute-error", "accuracy"),
)
SETS = FigureNames(
    task="multi-label",
    whole="exact-match",
    first=("exact-match", "hamming-loss"),
    last=("samples-f1",),
    leading=("macro-f1", "micro-f1", "weighted-f1", "exact-match", "hamming-loss", "log-loss"),
    history=("exact-match", "micro-f1", "macro-f1", "log-loss"),
    paper=("macro-f1", "micro-f1", "exact-match", "hamming-loss"),
)


class PerClass(NamedTuple):
    """Figures of each class; not-a-number where a figure is undefined.

    Attributes
    ----------
    precision
        ndarray of shape (k,). Of the rows given this class, the share that are; undefined if there are none.
    recall
        ndarray of shape (k,). Of the rows that are of this class, the share found; undefined if there are none.
    f1
        ndarray of shape (k,). ``2 TP / (2 TP + FP + FN)``; undefined only where it divides by 0.
    support
        ndarray of shape (k,). Gold rows of each class.
    predicted
        ndarray of shape (k,). Rows given each class.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Counts
    predicted: Counts


class Average(NamedTuple):
    """Precision, recall and F1 averaged over the classes in one way."""

    precision: float
    recall: float
    f1: float


def confusion_matrix(gold: Counts, predicted: Counts, k: int) -> Counts:
    """Return how many rows of each gold class were given each class.

    Parameters
    ----------
    gold, predicted
        ndarray of shape (n,), class positions from 0 to k - 1.
    k
        Number of classes.

    Returns
    -------
    ndarray of shape (k, k)
        Rows are gold, columns are predicted.
    """
    return np.bincount(gold * k + predicted, minlength=k * k).reshape(k, k).astype(np.int64)


def per_class(matrix: Counts) -> PerClass:
    """Return precision, recall, F1, support and predicted count of each class of a (k, k) confusion matrix."""
    return per_class_of(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0))


def per_class_of(hits: Counts, support: Counts, predicted: Counts) -> PerClass:
    """Return the figures of each class from its hits, gold rows and predicted rows, each of shape (k,)."""
    return PerClass(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),  # support + predicted = 2 TP + FP + FN
        support=support,
        predicted=predicted,
    )


def accuracy(matrix: Counts) -> float:
    """Return the share of rows on the diagonal of a (k, k) confusion matrix."""
    return float(np.trace(matrix) / matrix.sum())


def balanced_accuracy(matrix: Counts) -> float:
    """Return the mean recall of the classes that have gold rows, from a (k, k) confusion matrix."""
    return float(np.nanmean(per_class(matrix).recall))


def macro_average(matrix: Counts) -> Average:
    """Return the unweighted mean over the classes that are in gold or predicted, from a (k, k) confusion matrix.

    A class that is in neither says nothing and is left out; for the others an undefined figure counts as 0. These are
    the figures of scikit-learn's ``average="macro", zero_division=0``.
    """
    return macro_average_of(per_class(matrix))


def macro_average_of(figures: PerClass) -> Average:
    """Return `macro_average` from the figures of the classes."""
    present = (figures.support + figures.predicted) > 0
    return Average(*(float(np.nan_to_num(f[present]).mean()) for f in figures[:3]))


def weighted_average(matrix: Counts) -> Average:
    """Return the mean weighted by gold rows, an undefined figure counting as 0, from a (k, k) confusion matrix."""
    return weighted_average_of(per_class(matrix))


def weighted_average_of(figures: PerClass) -> Average:
    """Return `weighted_average` from the figures of the classes."""
    return Average(*(float(np.average(np.nan_to_num(f), weights=figures.support)) for f in figures[:3]))


def micro_average(matrix: Counts) -> Average:
    """Return precision, recall and F1 over all decisions pooled; with one label a text, all three are the accuracy."""
    share = accuracy(matrix)
    return Average(share, share, share)


def log_loss(gold: Counts, probabilities: Floats) -> float:
    """Return the mean of ``-log(probability of the gold class)``, in nats.

    Parameters
    ----------
    gold
        ndarray of shape (n,), class positions.
    probabilities
        ndarray of shape (n, k).
    """
    of_gold = np.take_along_axis(probabilities, gold[:, np.newaxis], axis=1)  # (n, 1)
    return float(-np.log(np.clip(of_gold, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)).mean())


def quadratic_kappa(matrix: Counts) -> float:
    """Return Cohen's kappa of ordered classes, disagreements weighing by the square of their distance in steps.

    Not-a-number where all rows are of one class and given it: there is nothing to agree on.

    Parameters
    ----------
    matrix
        ndarray of shape (k, k), counts by gold and predicted class, both from low to high.

    References
    ----------
    Cohen, J. (1968). Weighted kappa. Psychological Bulletin, 70(4), 213–220. doi:10.1037/h0026256
    """
    return float(quadratic_kappas(matrix))


def quadratic_kappas(matrix: NDArray[Any]) -> Floats:
    """Return `quadratic_kappa` of many matrices of shape (..., k, k), ndarray of shape (...,)."""
    k = matrix.shape[-1]
    weights = np.square(np.arange(k)[:, np.newaxis] - np.arange(k)).astype(np.float64)
    seen = (weights * matrix).sum(axis=(-2, -1))
    by_chance = np.einsum("...i,ij,...j->...", matrix.sum(axis=-1), weights, matrix.sum(axis=-2))
    n = matrix.sum(axis=(-2, -1))
    found: Floats = np.where(by_chance > 0, 1 - seen * n / np.where(by_chance > 0, by_chance, 1.0), np.nan)
    return found


def mean_absolute_error(matrix: Counts) -> float:
    """Return by how many steps labels of ordered classes are off on average, from a (k, k) confusion matrix."""
    k = len(matrix)
    return float((np.abs(np.arange(k)[:, np.newaxis] - np.arange(k)) * matrix).sum() / matrix.sum())


def is_constant(probabilities: Floats) -> bool:
    """Return whether the same is said of every text, whatever it is, as by a majority baseline.

    Two texts or more with the same probabilities, shape (n, k), show it. Ones and zeros do not: a coder who gave all
    of some texts one label may give another to the next.
    """
    first = probabilities[0]
    return len(probabilities) > 1 and not np.isin(first, (0, 1)).all() and bool((probabilities == first).all())


def is_better(name: str, new: float, old: float | None) -> bool:
    """Return whether a figure improved; equal is not better, anything is better than None; losses are to be low."""
    if old is None:
        return True
    return new < old if name in LOWER_IS_BETTER else new > old


def _ratio(part: Counts, whole: Counts) -> Floats:
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


Labels = Sequence[str] | Sequence[Collection[str]]


def losses_of_texts(gold: NDArray[np.bool_], probabilities: Floats) -> Floats:
    """Return the binary cross-entropy of each text, the mean over its k decisions, in nats; shape (n,)."""
    smallest = SMALLEST_PROBABILITY
    p = np.clip(np.where(gold, probabilities, 1 - probabilities), smallest, 1 - smallest)
    found: Floats = -np.log(p).mean(axis=1)
    return found


def f1_of_texts(gold: NDArray[np.bool_], given: NDArray[np.bool_]) -> Floats:
    """Return ``2 |A ∩ B| / (|A| + |B|)`` of each text's two sets, shape (n,); 1 where both are empty."""
    whole = gold.sum(axis=1) + given.sum(axis=1)
    found: Floats = np.where(whole > 0, 2 * (gold & given).sum(axis=1) / np.maximum(whole, 1), 1.0)
    return found
