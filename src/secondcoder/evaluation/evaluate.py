"""How good are these labels? Labels and probabilities to figures, by name.

In: gold labels, probabilities, label names. Out: `Evaluation`. Who made the probabilities is of no concern here: the
transformer, a baseline, another human (with ones and zeros).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from secondcoder.errors import DataError, nearest
from secondcoder.evaluation import metrics
from secondcoder.evaluation.calibration import calibration
from secondcoder.evaluation.figures import AverageFigures, ClassFigures, Evaluation
from secondcoder.evaluation.selection import risk_coverage
from secondcoder.evaluation.uncertainty import intervals

# float32 soft-maxes miss 1 by 1e-6; probabilities rounded to four digits, as in a file, by up to 1e-4 a class.
SUM_TOLERANCE = 1e-3


def evaluate(
    labels: Sequence[str],
    probabilities: ArrayLike,
    label_names: Sequence[str],
    *,
    positive: str | None = None,
    groups: Sequence[str] | None = None,
    temperature: float = 1.0,
) -> Evaluation:
    """Return the figures of predictions against gold labels, with their intervals.

    The class predicted is the most probable one. `evaluate_points` is quicker, and gives no intervals.

    Parameters
    ----------
    labels
        Gold labels, one per row.
    probabilities
        ndarray of shape (n, k): one row per label, columns in the order of `label_names`. Of equal probabilities the
        first wins.
    label_names
        The k classes. Not every one needs to occur in `labels`.
    positive
        The positive class, whose F1 is then the headline.
    groups
        The document, author or film that each row comes from, shape (n,): rows of one group are not independent, and
        the intervals take groups as their unit. None: each row by itself.
    temperature
        What the model's logits were divided by: its calibration before that is judged too. 1: there is nothing to
        compare with.

    Raises
    ------
    DataError
        If rows, columns and names do not fit together, a label is unknown or missing, or a row of probabilities is
        none.
    """
    points = evaluate_points(labels, probabilities, label_names, positive=positive)
    names = points.label_names
    gold = _positions(labels, names)
    p = np.asarray(probabilities, dtype=np.float64)
    p = p / p.sum(axis=1, keepdims=True)
    if groups is not None and len(groups) != len(gold):
        raise DataError(f"There are {len(groups)} groups for {len(gold)} rows.", "Give one group per row.")
    before = None
    if temperature != 1.0:
        before = calibration(gold, _at_temperature(p, 1 / temperature), groups=groups)
    return replace(
        points,
        intervals=intervals(gold, p, names, groups=groups),
        n_groups=None if groups is None else len(set(groups)),
        calibration=calibration(gold, p, groups=groups),
        uncalibrated=before,
        risk_coverage=risk_coverage(gold, p, groups=groups),
    )


def evaluate_points(
    labels: Sequence[str], probabilities: ArrayLike, label_names: Sequence[str], *, positive: str | None = None
) -> Evaluation:
    """Return the figures as `evaluate` does, without intervals, calibration and risk: for choosing between models."""
    names = tuple(label_names)
    _check_names(names, positive)
    gold = _positions(labels, names)
    p = _checked_probabilities(probabilities, n=len(gold), names=names)
    matrix = metrics.confusion_matrix(gold, p.argmax(axis=1), len(names))
    classes = metrics.per_class(matrix)
    averages = {
        "macro": metrics.macro_average(matrix),
        "micro": metrics.micro_average(matrix),
        "weighted": metrics.weighted_average(matrix),
    }
    return Evaluation(
        n=len(gold),
        label_names=names,
        positive=positive,
        confusion={g: dict(zip(names, row, strict=True)) for g, row in zip(names, matrix.tolist(), strict=True)},
        per_class={
            name: ClassFigures(
                precision=_defined(classes.precision[i]),
                recall=_defined(classes.recall[i]),
                f1=_defined(classes.f1[i]),
                support=int(classes.support[i]),
                predicted=int(classes.predicted[i]),
            )
            for i, name in enumerate(names)
        },
        accuracy=metrics.accuracy(matrix),
        balanced_accuracy=metrics.balanced_accuracy(matrix),
        averages={kind: AverageFigures(*average) for kind, average in averages.items()},
        log_loss=metrics.log_loss(gold, p),
    )


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


def _positions(labels: Sequence[str], names: tuple[str, ...]) -> NDArray[np.int64]:
    if len(labels) == 0:
        raise DataError("There are no labels to judge against.", "Give at least one labelled text.")
    position = {name: i for i, name in enumerate(names)}
    for row, label in enumerate(labels):
        if label not in position:
            hint = nearest(label, names) if isinstance(label, str) else "Leave out rows without a label. "
            raise DataError(
                f"The label of row {row} is {label!r}; the label names are {list(names)}.",
                f"{hint}Labels must be among the classes that the model knows.",
            )
    return np.array([position[label] for label in labels], dtype=np.int64)


def _checked_probabilities(probabilities: ArrayLike, *, n: int, names: tuple[str, ...]) -> NDArray[np.float64]:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.shape != (n, len(names)):
        raise DataError(
            f"The probabilities have shape {p.shape}; expected ({n}, {len(names)}).",
            f"Give one row per label and one column for each of {list(names)}.",
        )
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


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
