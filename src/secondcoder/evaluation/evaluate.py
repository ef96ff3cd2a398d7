"""How good are these labels? Labels and probabilities to figures, by name.

In: gold labels, probabilities, label names; or rows of a corpus, which know what task they are of. Out: `Evaluation`.
Who made the probabilities is of no concern here: the transformer, a baseline, another human (with ones and zeros).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from secondcoder.corpus.corpus import Corpus, TaskName
from secondcoder.errors import DataError, nearest
from secondcoder.evaluation.calibration import calibration
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.metrics import Labels
from secondcoder.evaluation.multiclass import class_points, class_positions, intervals
from secondcoder.evaluation.multilabel import evaluate_sets, set_indicators, set_points, set_thresholds_of
from secondcoder.evaluation.ordinal import order_intervals
from secondcoder.evaluation.selective import risk_coverage
from secondcoder.evaluation.thresholds import Thresholds

# float32 soft-maxes miss 1 by 1e-6; probabilities rounded to four digits, as in a file, by up to 1e-4 a class.
SUM_TOLERANCE = 1e-3


def evaluate(
    labels: Labels,
    probabilities: ArrayLike,
    label_names: Sequence[str],
    *,
    positive: str | None = None,
    groups: Sequence[str] | None = None,
    temperature: float = 1.0,
    task: TaskName = "multi-class",
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Return the figures of predictions against gold labels, with their intervals.

    The class predicted is the most probable one, unless a threshold of the positive class says otherwise. Where a text
    may have several classes, those are predicted whose probability is 0.5 or reaches their threshold; the figures are
    then averages over the classes, Hamming loss, and the exact match of whole sets. `evaluate_points` is quicker, and
    gives no intervals.

    Parameters
    ----------
    labels
        Gold labels, one per row. For the task ``"multi-label"`` a collection of label names per row, as a set or a
        tuple; it may be empty.
    probabilities
        ndarray of shape (n, k): one row per label, columns in the order of `label_names`. Of equal probabilities the
        first wins. For ``"multi-label"`` each is that of a class by itself, and rows need not sum to 1.
    label_names
        The k classes; for ``"ordinal"`` from low to high. Not every one needs to occur in `labels`.
    positive
        The positive class, whose F1 is then the headline.
    groups
        The document, author or film that each row comes from, shape (n,): rows of one group are not independent, and
        the intervals take groups as their unit. None: each row by itself.
    temperature
        What the model's logits were divided by: its calibration before that is judged too. 1: there is nothing to
        compare with.
    task
        ``"multi-class"``: one class a text. ``"ordinal"``: one, of classes that have an order; quadratic kappa and the
        mean absolute error are added. ``"multi-label"``: any number of classes a text.
    thresholds
        From which probability on a class is given, by its name: of the positive class, or for ``"multi-label"`` of each
        one. Without it, the most probable class; for ``"multi-label"`` 0.5.

    Raises
    ------
    DataError
        If rows, columns and names do not fit together, a label is unknown or missing, or a row of probabilities is
        none.
    """
    names = tuple(label_names)
    _check_names(names, positive)
    sets = task == "multi-label"
    p = _checked_probabilities(probabilities, n=len(labels), names=names, sum_to_1=not sets)
    if groups is not None and len(groups) != len(labels):
        raise DataError(f"There are {len(groups)} groups for {len(labels)} rows.", "Give one group per row.")
    if sets:
        limits = set_thresholds_of(thresholds, names)
        return evaluate_sets(set_indicators(labels, names), p, limits, names, groups=groups, temperature=temperature)
    gold = class_positions(labels, names)
    points, given = class_points(gold, p, names, positive=positive, thresholds=thresholds, ordinal=task == "ordinal")
    p = p / p.sum(axis=1, keepdims=True)
    before = None
    if temperature != 1.0:
        before = calibration(gold, _at_temperature(p, 1 / temperature), groups=groups, given=given)
    found = intervals(gold, p, names, groups=groups, given=given)
    if task == "ordinal":
        found |= order_intervals(gold, given, len(names), groups=groups)
    return replace(
        points,
        intervals=found,
        n_groups=None if groups is None else len(set(groups)),
        calibration=calibration(gold, p, groups=groups, given=given),
        uncalibrated=before,
        risk_coverage=risk_coverage(gold, p, groups=groups, given=given),
    )


def evaluate_points(
    labels: Labels,
    probabilities: ArrayLike,
    label_names: Sequence[str],
    *,
    positive: str | None = None,
    task: TaskName = "multi-class",
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Return the figures as `evaluate` does, without intervals, calibration and risk: for choosing between models."""
    names = tuple(label_names)
    _check_names(names, positive)
    p = _checked_probabilities(probabilities, n=len(labels), names=names, sum_to_1=task != "multi-label")
    if task == "multi-label":
        return set_points(set_indicators(labels, names), p, set_thresholds_of(thresholds, names), names)
    return class_points(
        class_positions(labels, names), p, names, positive=positive, thresholds=thresholds, ordinal=task == "ordinal"
    )[0]


def evaluate_rows(
    rows: Corpus, probabilities: ArrayLike, *, temperature: float = 1.0, thresholds: Thresholds | None = None
) -> Evaluation:
    """Return what `evaluate` does, of rows that know their labels, groups and task; those without a label are left out.

    Parameters
    ----------
    rows
        Of which probabilities, shape (n, k), are given for those with a label. A row without a group is one by itself.
    """
    return evaluate(
        [labels for labels in labels_of_rows(rows) if labels is not None],
        probabilities,
        rows.label_names,
        positive=rows.positive,
        groups=rows.units,
        temperature=temperature,
        task=rows.task,
        thresholds=thresholds,
    )


def points_of_rows(rows: Corpus, probabilities: ArrayLike, *, thresholds: Thresholds | None = None) -> Evaluation:
    """Return what `evaluate_points` does, of rows as in `evaluate_rows`."""
    return evaluate_points(
        [labels for labels in labels_of_rows(rows) if labels is not None],
        probabilities,
        rows.label_names,
        positive=rows.positive,
        task=rows.task,
        thresholds=thresholds,
    )


def labels_of_rows(rows: Corpus) -> Sequence[Any]:
    """Return the labels of rows as `evaluate` takes them: a name each, or a tuple of names; None for no label."""
    return rows.label_sets if rows.task == "multi-label" else rows.labels


def _at_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return what the probabilities, shape (n, k), would be with logits divided by the temperature."""
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) / temperature
    found: NDArray[np.float64] = softmax(logits, axis=1)
    return found


def _check_names(names: tuple[str, ...], positive: str | None) -> None:
    if not names or len(set(names)) != len(names):
        raise DataError(f"The label names are {list(names)}.", "Name each class once.")
    if positive is not None and positive not in names:
        raise DataError(
            f"The positive class {positive!r} is not among the label names {list(names)}.",
            f"{nearest(positive, names)}Name one of them.",
        )


def _checked_probabilities(
    probabilities: ArrayLike, *, n: int, names: tuple[str, ...], sum_to_1: bool
) -> NDArray[np.float64]:
    if n == 0:
        raise DataError("There are no labels to judge against.", "Give at least one labelled text.")
    p = np.asarray(probabilities, dtype=np.float64)
    if p.shape != (n, len(names)):
        raise DataError(
            f"The probabilities have shape {p.shape}; expected ({n}, {len(names)}).",
            f"Give one row per label and one column for each of {list(names)}.",
        )
    if not sum_to_1:
        strange = np.flatnonzero(~((p >= 0) & (p <= 1)).all(axis=1))
        if len(strange):
            raise DataError(
                f"Row {strange[0]} of the probabilities is {p[strange[0]].tolist()} ({len(strange)} such rows).",
                "Each must be a number from 0 to 1; apply the logistic function to logits first.",
            )
        return p
    sums = p.sum(axis=1)
    # "not inside" catches not-a-number too
    bad = np.flatnonzero(~((p >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)))
    if len(bad):
        raise DataError(
            f"Row {bad[0]} of the probabilities is {p[bad[0]].tolist()}, which sums to {sums[bad[0]]:.6g}"
            f" ({len(bad)} such rows).",
            "Each row must hold numbers from 0 to 1 that sum to 1; apply softmax to logits first.",
        )
    return p
