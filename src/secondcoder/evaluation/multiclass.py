"""One label a text: which class is given, how good that is, and whether two coders differ.

In: gold classes, probabilities of shape (n, k), thresholds. Out: classes, `Evaluation`, intervals, `Comparison`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import DataError, nearest
from secondcoder.evaluation import metrics, paired_tests
from secondcoder.evaluation.comparison import Comparison, Difference, difference_of, notes_on_groups
from secondcoder.evaluation.count_intervals import Tallies, figure_limits
from secondcoder.evaluation.evaluation import AverageFigures, Evaluation, figures_by_class
from secondcoder.evaluation.intervals import LEVEL, Counts, Floats, Interval, Limits, group_codes, mean_interval
from secondcoder.evaluation.metrics import SMALLEST_PROBABILITY, Labels, metric_names
from secondcoder.evaluation.ordinal import order_figures
from secondcoder.evaluation.paired_tests import McNemar
from secondcoder.evaluation.thresholds import Thresholds


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


def class_threshold(
    thresholds: Mapping[str, float] | None, label_names: Sequence[str]
) -> tuple[float | None, int | None]:
    """Return the threshold of the positive class of a two-class task, and its position; None where there is none."""
    for name, threshold in (thresholds or {}).items():
        return threshold, tuple(label_names).index(name)
    return None, None


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


def class_indices(corpus: Corpus, label_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the position of each row's label among the label names, shape (n,)."""
    position = {name: i for i, name in enumerate(label_names)}
    return np.array([position[label] for label in corpus.labels if label is not None], dtype=np.int64)


def class_points(
    gold: NDArray[np.int64],
    p: NDArray[np.float64],
    names: tuple[str, ...],
    *,
    positive: str | None,
    thresholds: Thresholds | None,
    ordinal: bool,
) -> tuple[Evaluation, NDArray[np.int64]]:
    """Return the figures of one label a text, and the class that each row is given, shape (n,)."""
    given = given_classes(p, thresholds, names, positive)
    matrix = metrics.confusion_matrix(gold, given, len(names))
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
        per_class=figures_by_class(classes, names),
        accuracy=metrics.accuracy(matrix),
        balanced_accuracy=metrics.balanced_accuracy(matrix),
        averages={kind: AverageFigures(*average) for kind, average in averages.items()},
        log_loss=metrics.log_loss(gold, p),
        thresholds=dict(thresholds) if isinstance(thresholds, Mapping) else {},
        order=order_figures(matrix) if ordinal else None,
    ), given


def class_positions(labels: Labels, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the position of each row's label among the names, shape (n,)."""
    position = {name: i for i, name in enumerate(names)}
    return np.array([class_position(label, row, position) for row, label in enumerate(labels)], dtype=np.int64)


def class_position(label: object, row: int, position: Mapping[str, int]) -> int:
    """Return the position of one row's label.

    Raises
    ------
    DataError
        If it is none of the label names; names the row.
    """
    if not isinstance(label, str) or label not in position:
        names = list(position)
        hint = nearest(label, names) if isinstance(label, str) else "Leave out rows without a label. "
        if isinstance(label, tuple | list | set | frozenset):
            hint = "Say that a text may have several classes: task='multi-label'. "
        raise DataError(
            f"The label of row {row} is {label!r}; the label names are {names}.",
            f"{hint}Labels must be among the classes that the model knows.",
        )
    return position[label]


_METHODS = {"micro": "wilson", "macro": "mover", "balanced": "mover", "weighted": "wilson-effective", "f1": "wilson-f1"}


def intervals(
    gold: Counts,
    probabilities: Floats,
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    level: float = LEVEL,
    given: Counts | None = None,
) -> dict[str, Interval | None]:
    """Return the interval of every figure.

    Parameters
    ----------
    gold
        ndarray of shape (n,), class positions.
    probabilities
        ndarray of shape (n, k).
    label_names
        The k classes.
    groups
        The group of each row, or None where rows are independent.
    given
        ndarray of shape (n,), the class predicted; None: the most probable one, the first of equals.

    Returns
    -------
    dict
        By each name of `metrics.metric_names`. None where a figure is undefined, where there is but one group, and, for
        a figure of a class, where all its rows are of one group. An interval holds the figure itself, and is never that
        point alone.

    Notes
    -----
    Shares: Wilson. F1 of a class: Wilson on TP / (TP + FP + FN), carried over (arXiv 2309.14621). Averages over
    classes: `tallies._average`. Log loss: `mean_interval`. With groups: the same with variances of the jackknife over
    groups and t for the normal distribution.

    Raises
    ------
    DataError
        If there are no rows, or not one group for each.
    """
    if len(gold) == 0:
        raise DataError("There are no rows to judge.", "Give at least one labelled text.")
    predicted = decide_class(probabilities) if given is None else given
    k = len(label_names)
    codes = None if groups is None else group_codes(groups, len(gold))
    tallies = _pairs(gold, predicted, k) if codes is None else _by_group(gold, predicted, codes, k)
    limits = figure_limits(tallies, level)
    found: dict[str, Interval | None] = {}
    for name in metric_names(label_names):
        figure, colon, label = name.partition(":")
        method = _METHODS.get(name.partition("-")[0], _METHODS.get(figure, "wilson"))
        if name == "weighted-recall":
            method = "wilson"
        if codes is not None:
            method = f"grouped-{method}"
        if name == "log-loss":
            of_gold = np.take_along_axis(probabilities, gold[:, np.newaxis], axis=1)[:, 0]
            losses = -np.log(np.clip(of_gold, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
            found[name] = mean_interval(losses, groups, level=level, lowest=0.0)
        elif colon:
            at = list(label_names).index(label)
            found[name] = _interval(Limits(*(limit[at] for limit in limits[figure])), method)
        else:
            found[name] = _interval(limits[name], method)
    return found


def _pairs(gold: Counts, predicted: Counts, k: int) -> Tallies:
    """Return tallies of independent rows: a unit is a pair (gold, predicted) that occurs."""
    pairs, times = np.unique(gold * k + predicted, return_counts=True)
    of_gold, of_predicted = np.eye(k)[pairs // k], np.eye(k)[pairs % k]
    return Tallies(of_gold * of_predicted, of_gold, of_predicted, times.astype(np.float64), grouped=False)


def _by_group(gold: Counts, predicted: Counts, codes: Counts, k: int) -> Tallies:
    g = int(codes.max()) + 1

    def count(classes: Counts, rows: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        return np.bincount(codes[rows] * k + classes[rows], minlength=g * k).reshape(g, k).astype(np.float64)

    return Tallies(count(gold, gold == predicted), count(gold), count(predicted), np.ones(g), grouped=True)


def _interval(limits: Limits, method: str) -> Interval | None:
    low, high = float(limits.low), float(limits.high)
    return None if np.isnan(low) else Interval(low, high, method)


def compare(
    gold: NDArray[np.int64],
    first: Floats,
    second: Floats,
    label_names: Sequence[str],
    *,
    positive: str | None = None,
    groups: Sequence[str] | None = None,
    given: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Comparison:
    """Return how two sets of probabilities for the same texts differ, and how sure that is.

    Independent texts: Tango's score interval and McNemar's exact test for accuracy; for F1 and macro-F1 Student's t
    with the delta method on the joint outcomes (gold, first, second), to which one half text is added on either side;
    for log loss the paired t. With groups: the jackknife over groups with Student's t, and a standard error no less
    than that of independent texts. Below `FEWEST_GROUPS_TO_TEST` groups there is no p value, and no difference is
    called real.

    Parameters
    ----------
    gold
        ndarray of shape (n,), positions in `label_names`.
    first, second
        ndarray of shape (n, k); the most probable class is the label, of equal ones the first.
    label_names
        The k classes.
    positive
        The positive class, whose F1 is then the main figure; macro-F1 without one.
    groups
        The document, author or film of each text; None if texts are independent. ``""`` is a text of its own.
    given
        The labels that each gave, as positions, of shape (n,), where a threshold decided and not which is most
        probable.

    Raises
    ------
    DataError
        If the rows do not fit together.
    """
    names = tuple(label_names)
    _check(gold, first, second, names, groups)
    n, labels = len(gold), given or (decide_class(first), decide_class(second))
    right = labels[0] == gold, labels[1] == gold
    outcomes = paired_tests.outcome_columns(gold, *labels, k=len(names))
    losses = np.column_stack([np.ones(n), *(paired_tests.losses(gold, p) for p in (first, second))])
    values = np.concatenate(
        [paired_tests.figures(outcomes.sum(axis=0)), losses.mean(axis=0)[1:, np.newaxis]], axis=1
    )  # (2, f)
    errors = np.append(paired_tests.outcome_errors(gold, *labels, k=len(names)), paired_tests.loss_errors(losses))
    exact: McNemar | None = None
    notes: tuple[str, ...] = ()
    if groups is None:
        units, degrees, method = n, float(n - 1), "paired-t"
        exact = paired_tests.mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()), n)
    else:
        sums = paired_tests.group_sums(np.concatenate([outcomes, losses], axis=1), groups)
        units, degrees, method = len(sums), paired_tests.group_degrees(sums[:, -3]), "paired-jackknife-t"
        found = paired_tests.jackknife(paired_tests.differences, sums[:, :-3], np.ones(units))
        # Few groups can be more alike than texts that are drawn one by one, and even all the same, by chance.
        errors = np.maximum(errors, np.append(found, paired_tests.loss_errors(sums[:, -3:])))
        notes = notes_on_groups(units)
    main = metrics.resolve_metric("auto", positive, names)
    figures = ("accuracy", "macro-f1", *(f"f1:{name}" for name in names), "log-loss")
    undefined = {f"f1:{names[i]}" for i in np.flatnonzero(np.bincount(gold, minlength=len(names)) == 0)}
    differences = {
        name: Difference(name, None, None, None)
        if name in undefined
        else difference_of(name, values[:, i], error=float(errors[i]), units=units, degrees=degrees, method=method)
        for i, name in enumerate(figures)
    }
    agreement = float((labels[0] == labels[1]).mean())
    if agreement == 1:  # the spread is that of the added half texts alone
        differences |= {name: replace(d, detectable=None) for name, d in differences.items() if name != "log-loss"}
    if exact is not None:
        interval = paired_tests.tango(exact.first_only, exact.second_only, n)
        differences["accuracy"] = replace(differences["accuracy"], interval=interval, p_value=exact.p_value)
    return Comparison(
        n=n,
        label_names=names,
        main=main,
        differences=tuple(differences[name] for name in dict.fromkeys((main, *figures))),
        agreement=agreement,
        mcnemar=exact,
        n_groups=None if groups is None else units,
        notes=notes,
    )


def _check(
    gold: NDArray[np.int64], first: Floats, second: Floats, names: tuple[str, ...], groups: Sequence[str] | None
) -> None:
    expected = (len(gold), len(names))
    for which, probabilities in (("first", first), ("second", second)):
        if probabilities.shape != expected:
            raise DataError(
                f"The {which} probabilities have shape {probabilities.shape}; expected {expected}.",
                f"Give one row for each text and one column for each of {list(names)}.",
            )
    if groups is not None and len(groups) != len(gold):
        raise DataError(f"There are {len(groups)} groups for {len(gold)} texts.", "Give one group for each text.")
    if not len(gold):
        raise DataError("There are no texts to compare on.", "Give at least one labelled text.")
