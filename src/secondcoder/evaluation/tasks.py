"""From probabilities to labels: the one place where that is decided.

In: probabilities, thresholds. Out: classes or sets of classes, and how sure each is. What trains, judges and labels
decides here, so that a label is the same wherever it is given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secondcoder.corpus.corpus import join_set, split_set
from secondcoder.errors import DataError

DEFAULT_THRESHOLD = 0.5
"""Probability from which a class of a multi-label task is given, where no threshold was tuned."""


def decide_class(
    probabilities: ArrayLike, threshold: float | NDArray[np.float64] | None = None, *, positive: int | None = None
) -> NDArray[np.int64]:
    """Return the class of each text as its position, ndarray of shape (n,).

    Parameters
    ----------
    probabilities
        ndarray of shape (n, k); logits too, where there is no threshold. Of equal ones the first wins.
    threshold
        Probability from which the positive class of a two-class task is given, one for all rows or for each its own.
        None: the most probable class.
    positive
        Position of that class.
    """
    p = np.asarray(probabilities)
    if threshold is None or positive is None:
        most: NDArray[np.int64] = p.argmax(axis=1)
        return most
    return np.where(p[:, positive] >= threshold, positive, 1 - positive).astype(np.int64)


def decide_set(probabilities: ArrayLike, thresholds: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Return which classes each text has, ndarray of shape (n, k).

    Parameters
    ----------
    probabilities
        ndarray of shape (n, k): of each class by itself.
    thresholds
        ndarray of shape (k,): the probability from which each class is given; None: 0.5 for all.
    """
    found: NDArray[np.bool_] = np.asarray(probabilities) >= (
        DEFAULT_THRESHOLD if thresholds is None else np.asarray(thresholds)
    )
    return found


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


def threshold_array(thresholds: Mapping[str, float] | None, label_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the threshold of each class of a multi-label task, ndarray of shape (k,); 0.5 where none was tuned."""
    return np.array([(thresholds or {}).get(name, DEFAULT_THRESHOLD) for name in label_names], dtype=np.float64)


def class_threshold(
    thresholds: Mapping[str, float] | None, label_names: Sequence[str]
) -> tuple[float | None, int | None]:
    """Return the threshold of the positive class of a two-class task, and its position; None where there is none."""
    for name, threshold in (thresholds or {}).items():
        return threshold, tuple(label_names).index(name)
    return None, None


def indicators(labels: Sequence[str], label_names: Sequence[str], separator: str = ";") -> NDArray[np.bool_]:
    """Return which classes each row has, ndarray of shape (n, k), from sets as a `Corpus` holds them.

    Raises
    ------
    KeyError
        If a name is not among the label names.
    """
    position = {name: i for i, name in enumerate(label_names)}
    found = np.zeros((len(labels), len(position)), dtype=np.bool_)
    for row, label in enumerate(labels):
        for name in split_set(label, separator):
            found[row, position[name]] = True
    return found


Thresholds = Mapping[str, float] | NDArray[np.float64]
"""By class; or ndarray of shape (n, k), or for sets of labels also (k,)."""


def given_classes(
    probabilities: NDArray[np.float64], thresholds: Thresholds | None, names: tuple[str, ...], positive: str | None
) -> NDArray[np.int64]:
    """Return the class that each row is given where it has one, shape (n,).

    Raises
    ------
    DataError
        If there is a threshold, and no task of two classes one of which is positive.
    """
    threshold: Any
    if isinstance(thresholds, np.ndarray):  # of each row its own
        at = None if positive is None else names.index(positive)
        threshold = None if at is None else thresholds[:, at]
        if at is None or thresholds.shape != probabilities.shape:
            raise DataError(
                f"The thresholds have shape {thresholds.shape}, the probabilities {probabilities.shape}; positive is "
                f"{positive!r}.",
                "With one label a text, name a positive class, or give the thresholds by class.",
            )
    else:
        threshold, at = class_threshold(thresholds, names)
    if at is not None and len(names) != 2:
        raise DataError(
            f"There is a threshold of {names[at]!r}, and there are {len(names)} classes.",
            "With one label a text, only the positive class of a two-class task has one.",
        )
    return decide_class(probabilities, threshold, positive=at)


def set_thresholds_of(thresholds: Thresholds | None, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return thresholds of sets of labels as an array of shape (k,) or (n, k); 0.5 where none was named."""
    return thresholds if isinstance(thresholds, np.ndarray) else threshold_array(thresholds, names)
