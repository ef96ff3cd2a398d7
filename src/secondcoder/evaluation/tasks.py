"""From probabilities to labels: the one place where that is decided.

In: probabilities, thresholds. Out: classes or sets of classes, and how sure each is. What trains, judges and labels
decides here, so that a label is the same wherever it is given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secondcoder.corpus.corpus import Corpus, TaskName, join_set
from secondcoder.evaluation.multiclass import class_indices, class_threshold, decide_class
from secondcoder.evaluation.multilabel import decide_set, indicators, threshold_array


def labels_decided(
    probabilities: ArrayLike,
    label_names: Sequence[str],
    thresholds: Mapping[str, float] | None = None,
    *,
    multi_label: bool = False,
    separator: str = ";",
) -> list[str]:
    """Return the label of each text as a `Corpus` holds it: a class, or the names of a set, joined.

    Parameters
    ----------
    probabilities
        ndarray of shape (n, k), columns as `label_names`.
    label_names
        The k classes.
    thresholds
        By class, as a model's card has them.
    multi_label
        Whether a text may have several classes.
    separator
        What joins the names of a set.
    """
    names = tuple(label_names)
    if multi_label:
        decided = decide_set(probabilities, threshold_array(thresholds, names))
        return [
            join_set((name for name, has in zip(names, row, strict=True) if has), separator) for row in decided.tolist()
        ]
    threshold, positive = class_threshold(thresholds, names)
    return [names[i] for i in decide_class(probabilities, threshold, positive=positive)]


def confidence_of(
    probabilities: ArrayLike, thresholds: Mapping[str, float] | None, label_names: Sequence[str], *, multi_label: bool
) -> NDArray[np.float64]:
    """Return how sure the label of each text is, ndarray of shape (n,), from 0 to 1.

    Of one label, its probability. Of a set, the probability of its least sure decision: of a class that is given, its
    probability; of one that is not, the probability that the text does not have it.
    """
    p, names = np.asarray(probabilities, dtype=np.float64), tuple(label_names)
    if multi_label:
        given = decide_set(p, threshold_array(thresholds, names))
        least: NDArray[np.float64] = np.where(given, p, 1 - p).min(axis=1)
        return least
    threshold, positive = class_threshold(thresholds, names)
    chosen = decide_class(p, threshold, positive=positive)
    found: NDArray[np.float64] = np.take_along_axis(p, chosen[:, np.newaxis], axis=1)[:, 0]
    return found


def history_names(metric: str, task: TaskName) -> tuple[str, ...]:
    """Return the figures that the history holds: the choosing one and the usual ones of the task."""
    usual = ("exact-match", "micro-f1") if task == "multi-label" else ("accuracy",)
    ordered = ("quadratic-kappa",) if task == "ordinal" else ()
    return tuple(dict.fromkeys((metric, *usual, "macro-f1", *ordered, "log-loss")))


def gold_of(rows: Corpus, label_names: tuple[str, ...]) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Return the gold labels as figures take them.

    Returns
    -------
    ndarray of shape (n,)
        Positions among the label names. Where a text may have several, ndarray of shape (n, k), bool.
    """
    if rows.multi_label:
        return indicators([label for label in rows.labels if label is not None], label_names, rows.separator)
    return class_indices(rows, label_names)


def targets_of(rows: Corpus, label_names: tuple[str, ...]) -> NDArray[Any]:
    """Return what a training learns: classes, shape (n,); or of each class, shape (n, k), 0, 1, or its share of coders.

    Every row has a label.
    """
    if rows.shares is not None:
        return rows.shares.astype(np.float32)
    gold = gold_of(rows, label_names)
    return gold.astype(np.float32) if gold.dtype == np.bool_ else gold
