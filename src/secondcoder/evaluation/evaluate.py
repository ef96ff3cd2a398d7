"""How good are these labels? Labels and probabilities to figures, by name.

In: gold labels, probabilities, label names; or rows of a corpus, which know what task they are of. Out: `Evaluation`.
Who made the probabilities is of no concern here: the transformer, a baseline, another human (with ones and zeros).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secondcoder.corpus.corpus import Corpus, TaskName
from secondcoder.errors import DataError, nearest
from secondcoder.evaluation.evaluation import Evaluation, Predictions
from secondcoder.evaluation.metrics import Labels
from secondcoder.evaluation.tasks import Task, task_rules
from secondcoder.evaluation.thresholds import Thresholds


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
        Gold labels, one per row. Where a text may have several, a collection of label names per row, as a set or
        a tuple; it may be empty.
    probabilities
        ndarray of shape (n, k): one row per label, columns in the order of `label_names`. Of equal probabilities the
        first wins. Of several labels a text, each is that of a class by itself, and rows need not sum to 1.
    label_names
        The k classes; ordered ones from low to high. Not every one needs to occur in `labels`.
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
        From which probability on a class is given, by its name: of the positive class, or, of several labels a text, of
        each one. Without it, the most probable class; of several labels a text 0.5.

    Raises
    ------
    DataError
        If rows, columns and names do not fit together, a label is unknown or missing, or a row of probabilities is
        none.
    """
    rules, names = task_rules(task), tuple(label_names)
    p = _checked_probabilities(probabilities, rules, n=len(labels), names=names, positive=positive)
    if groups is not None and len(groups) != len(labels):
        raise DataError(f"There are {len(groups)} groups for {len(labels)} rows.", "Give one group per row.")
    said = Predictions(rules.gold(labels, names), p, names, positive, thresholds, groups)
    return rules.evaluate(said, temperature)


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
    rules, names = task_rules(task), tuple(label_names)
    p = _checked_probabilities(probabilities, rules, n=len(labels), names=names, positive=positive)
    return rules.points(Predictions(rules.gold(labels, names), p, names, positive, thresholds))


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
        [labels for labels in task_rules(rows.task).labels_of(rows) if labels is not None],
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
        [labels for labels in task_rules(rows.task).labels_of(rows) if labels is not None],
        probabilities,
        rows.label_names,
        positive=rows.positive,
        task=rows.task,
        thresholds=thresholds,
    )


def _check_names(names: tuple[str, ...], positive: str | None) -> None:
    if not names or len(set(names)) != len(names):
        raise DataError(f"The label names are {list(names)}.", "Name each class once.")
    if positive is not None and positive not in names:
        raise DataError(
            f"The positive class {positive!r} is not among the label names {list(names)}.",
            f"{nearest(positive, names)}Name one of them.",
        )


def _checked_probabilities(
    probabilities: ArrayLike, rules: Task, *, n: int, names: tuple[str, ...], positive: str | None
) -> NDArray[np.float64]:
    _check_names(names, positive)
    if n == 0:
        raise DataError("There are no labels to judge against.", "Give at least one labelled text.")
    p = np.asarray(probabilities, dtype=np.float64)
    if p.shape != (n, len(names)):
        raise DataError(
            f"The probabilities have shape {p.shape}; expected ({n}, {len(names)}).",
            f"Give one row per label and one column for each of {list(names)}.",
        )
    rules.checked(p)
    return p
