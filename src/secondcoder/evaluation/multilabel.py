"""How good are sets of labels? Figures of tasks in which a text may have several classes, or none.

In: which classes each text has, the probability of each class by itself, thresholds. Out: `Evaluation`.
`secondcoder.evaluation.evaluate` hands in what it has checked. The tests hold each formula against scikit-learn's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from secondcoder.corpus.corpus import split_set
from secondcoder.errors import DataError
from secondcoder.evaluation import metrics, paired_tests
from secondcoder.evaluation.calibration import Calibration, reliability
from secondcoder.evaluation.comparison import Comparison, Difference, difference_of, notes_on_groups
from secondcoder.evaluation.count_intervals import Tallies, as_f1, average_limits, equal_weights, likeness_of, shares_of
from secondcoder.evaluation.evaluation import AverageFigures, Evaluation, SetFigures, figures_by_class
from secondcoder.evaluation.intervals import LEVEL, Interval, Limits, mean_interval
from secondcoder.evaluation.metrics import Labels, metric_names
from secondcoder.evaluation.multiclass import class_position
from secondcoder.evaluation.paired_tests import McNemar
from secondcoder.evaluation.selective import risk_coverage_of
from secondcoder.evaluation.thresholds import Thresholds

Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]
_METHODS = {
    "exact-match": "wilson",
    "hamming-loss": "wilson-decisions",
    "macro": "mover",
    "micro": "wilson-decisions",
    "weighted": "wilson-effective",
    "weighted-recall": "wilson-decisions",
    "f1": "wilson-f1",
}


class SetTallies(NamedTuple):
    """What the units of one study, or of many, add up to.

    Attributes
    ----------
    classes
        Hits, gold and predicted rows of each class, each of shape (..., u, k). A unit occurs once.
    texts, right
        ndarray of shape (..., u). Texts of a unit, and those whose set is right as a whole.
    """

    classes: Tallies
    texts: Floats
    right: Floats


def set_limits(tallies: SetTallies, level: float) -> dict[str, Limits]:
    """Return the limits of every figure made of counts.

    Of a class: as with one label a text. Averages over classes: likewise, with the classes of a text varying together
    as they do in the data. Of decisions that are pooled over classes (micro averages, Hamming loss), those on one text
    hang together: the text is their unit, as a group is elsewhere, and they count at their effective number.

    Returns
    -------
    dict
        ``"exact-match"``, ``"hamming-loss"``, ``"micro-f1"`` … with limits of shape (...,); ``"precision"``,
        ``"recall"`` and ``"f1"`` with limits of shape (..., k).
    """
    own = tallies.classes
    hits, support, predicted = own[:3]
    together = own._replace(grouped=True)
    pooled_hits, pooled_support, pooled_predicted = (part.sum(axis=-1, keepdims=True) for part in own[:3])
    pooled = {
        "precision": shares_of(together, pooled_hits, pooled_predicted, level),
        "recall": shares_of(together, pooled_hits, pooled_support, level),
        "f1": as_f1(shares_of(together, pooled_hits, pooled_support + pooled_predicted - pooled_hits, level)),
    }
    likeness = likeness_of(own, pooled["recall"])
    figures = {
        "precision": shares_of(own, hits, predicted, level, likeness),
        "recall": shares_of(own, hits, support, level, likeness),
        "f1": as_f1(shares_of(own, hits, support + predicted - hits, level, likeness)),
    }
    right, texts = tallies.right[..., np.newaxis], tallies.texts[..., np.newaxis]
    wrong = pooled_support + pooled_predicted - 2 * pooled_hits
    whole = {
        "exact-match": shares_of(own, right, texts, level),
        "hamming-loss": shares_of(together, wrong, texts * hits.shape[-1], level),
        **{f"micro-{name}": shares for name, shares in pooled.items()},
    }
    found = {
        name: Limits(*(np.where(shares.known, limit, np.nan)[..., 0] for limit in shares.limits))
        for name, shares in whole.items()
    }
    present = (support + predicted).sum(axis=-2) > 0
    for name, shares in figures.items():
        found[f"macro-{name}"] = average_limits(own, shares, equal_weights(present), level)
        found[f"weighted-{name}"] = found["micro-recall"]
        if name != "recall":
            found[f"weighted-{name}"] = average_limits(own, shares, None, level)
        given = shares.known & (shares.units > (1 if own.grouped else 0))
        found[name] = Limits(*(np.where(given, limit, np.nan) for limit in shares.limits))
    if support.shape[-2] < 2 and own.grouped:
        return {name: Limits(*(np.full_like(limit, np.nan) for limit in limits)) for name, limits in found.items()}
    return found


def set_intervals(
    gold: Sets,
    given: Sets,
    of_texts: dict[str, Floats],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    level: float = LEVEL,
) -> dict[str, Interval | None]:
    """Return the interval of every figure.

    Parameters
    ----------
    gold, given
        ndarray of shape (n, k): which classes each text has, and is given.
    of_texts
        Figures that are means over texts, by name, with their value for each text, ndarray of shape (n,).
    label_names
        The k classes.
    groups
        The group of each text, or None where texts are independent.

    Returns
    -------
    dict
        By each name of `metrics.metric_names`. None as for one label a text; averages have none where no text has a
        class.

    Raises
    ------
    DataError
        If there is not one group for each text.
    """
    if groups is not None and len(groups) != len(gold):
        raise DataError(f"{len(gold):,} rows, but {len(groups):,} groups.", "Give the group of each row.")
    limits = set_limits(_tally(gold, given, groups), level) if gold.any() else {}
    found: dict[str, Interval | None] = {}
    for name in metric_names(label_names, "multi-label"):
        figure, colon, label = name.partition(":")
        method = _METHODS.get(name, _METHODS.get(name.partition("-")[0], _METHODS.get(figure, "wilson")))
        if groups is not None:
            method = f"grouped-{method}"
        if name in of_texts:
            mean = mean_interval(of_texts[name], groups, level=level, lowest=0.0)
            most = 1.0 if name == "samples-f1" else np.inf
            found[name] = None if mean is None else replace(mean, high=min(mean.high, most))
        elif not limits:
            found[name] = None
        else:
            at = list(label_names).index(label) if colon else ...
            low, high = (float(limit[at]) for limit in limits[figure if colon else name])
            found[name] = None if np.isnan(low) else Interval(low, high, method)
    return found


def _tally(gold: Sets, given: Sets, groups: Sequence[str] | None) -> SetTallies:
    hits, support, predicted = (part.astype(np.float64) for part in (gold & given, gold, given))
    texts, right = np.ones(len(gold)), (gold == given).all(axis=1).astype(np.float64)
    if groups is not None:
        _, unit = np.unique(np.asarray(groups), return_inverse=True)
        hits, support, predicted = (_summed(part, unit) for part in (hits, support, predicted))
        texts, right = np.bincount(unit).astype(np.float64), np.bincount(unit, right)
    own = Tallies(hits, support, predicted, np.ones(len(texts)), grouped=groups is not None)
    return SetTallies(own, texts, right)


def _summed(values: Floats, unit: NDArray[np.int64]) -> Floats:
    """Return the sums over each unit, shape (u, k), of values of shape (n, k)."""
    sums = np.zeros((int(unit.max()) + 1, values.shape[1]))
    np.add.at(sums, unit, values)
    return sums


def evaluate_sets(
    gold: Sets,
    probabilities: Floats,
    thresholds: Floats,
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    temperature: float = 1.0,
) -> Evaluation:
    """Return the figures of sets of labels, with their intervals.

    Parameters
    ----------
    gold
        ndarray of shape (n, k): which classes each text has.
    probabilities
        ndarray of shape (n, k): of each class by itself.
    thresholds
        ndarray of shape (k,), or (n, k) where texts were judged by several models: from which probability on a class
        is given.
    label_names
        The k classes.
    groups
        The group of each text, or None where texts are independent.
    temperature
        What the model's logits were divided by.
    """
    given = decide_set(probabilities, thresholds)
    of_texts = {"samples-f1": f1_of_texts(gold, given), "log-loss": losses_of_texts(gold, probabilities)}
    before = None
    if temperature != 1.0:
        before = calibration_of_sets(gold, expit(logit(probabilities) * temperature), groups=groups)
    sure = np.where(given, probabilities, 1 - probabilities).min(axis=1)
    return replace(
        set_points(gold, probabilities, thresholds, label_names),
        intervals=set_intervals(gold, given, of_texts, label_names, groups=groups),
        n_groups=None if groups is None else len(set(groups)),
        calibration=calibration_of_sets(gold, probabilities, groups=groups),
        uncalibrated=before,
        risk_coverage=risk_coverage_of(sure, (gold == given).all(axis=1), groups=groups),
    )


def set_points(gold: Sets, probabilities: Floats, thresholds: Floats, label_names: Sequence[str]) -> Evaluation:
    """Return the figures as `evaluate_sets` does, without intervals, calibration and risk."""
    names = tuple(label_names)
    given = decide_set(probabilities, thresholds)
    hits, support, predicted = ((part.sum(axis=0)).astype(np.int64) for part in (gold & given, gold, given))
    classes = metrics.per_class_of(hits, support, predicted)
    pooled = metrics.per_class_of(*(part.sum(keepdims=True) for part in (hits, support, predicted)))
    known, nothing = classes.recall[support > 0], (0.0, 0.0, 0.0)
    return Evaluation(
        n=len(gold),
        label_names=names,
        positive=None,
        confusion={},
        per_class=figures_by_class(classes, names),
        accuracy=float((gold == given).all(axis=1).mean()),
        balanced_accuracy=float(known.mean()) if len(known) else 0.0,
        averages={
            "macro": AverageFigures(*(metrics.macro_average_of(classes) if (support + predicted).any() else nothing)),
            "micro": AverageFigures(*(float(np.nan_to_num(f[0])) for f in pooled[:3])),
            "weighted": AverageFigures(*(metrics.weighted_average_of(classes) if support.any() else nothing)),
        },
        log_loss=float(losses_of_texts(gold, probabilities).mean()),
        thresholds=_by_name(thresholds, names),
        sets=SetFigures(
            hamming_loss=float((gold != given).mean()),
            samples_f1=float(f1_of_texts(gold, given).mean()),
            hits=dict(zip(names, hits.tolist(), strict=True)),
            gold_sizes=_sizes(gold),
            given_sizes=_sizes(given),
        ),
    )


def losses_of_texts(gold: Sets, probabilities: Floats) -> Floats:
    """Return the binary cross-entropy of each text, the mean over its k decisions, in nats; shape (n,)."""
    smallest = metrics.SMALLEST_PROBABILITY
    p = np.clip(np.where(gold, probabilities, 1 - probabilities), smallest, 1 - smallest)
    found: Floats = -np.log(p).mean(axis=1)
    return found


def f1_of_texts(gold: Sets, given: Sets) -> Floats:
    """Return ``2 |A ∩ B| / (|A| + |B|)`` of each text's two sets, shape (n,); 1 where both are empty."""
    whole = gold.sum(axis=1) + given.sum(axis=1)
    found: Floats = np.where(whole > 0, 2 * (gold & given).sum(axis=1) / np.maximum(whole, 1), 1.0)
    return found


def calibration_of_sets(gold: Sets, probabilities: Floats, *, groups: Sequence[str] | None = None) -> Calibration:
    """Return how far the probabilities of the n k decisions can be taken at their word.

    A decision's probability is that of the class, whatever the threshold; it is held against whether the text has the
    class. Decisions on one text hang together: their unit is the text, or its group. The Brier score is the mean
    square of (probability - 1 for a class that the text has, 0 for others): from 0, best, to 1.

    Parameters
    ----------
    gold, probabilities
        ndarray of shape (n, k).
    groups
        The group of each text, or None where texts are independent.
    """
    n, k = gold.shape
    units = np.arange(n).astype(str) if groups is None else np.asarray(groups)
    squares = np.square(probabilities - gold).mean(axis=1)
    error, error_interval, bins = reliability(probabilities.ravel(), gold.ravel(), np.repeat(units, k).tolist())
    return Calibration(error, error_interval, float(squares.mean()), mean_interval(squares, groups, lowest=0.0), bins)


def _sizes(sets: Sets) -> tuple[int, ...]:
    """Return how many texts have none, one, two … of the classes, up to all k."""
    return tuple(np.bincount(sets.sum(axis=1), minlength=sets.shape[1] + 1).tolist())


def _by_name(thresholds: Floats, names: tuple[str, ...]) -> dict[str, float]:
    """Return the thresholds of the classes; none where they differ between texts."""
    return dict(zip(names, thresholds.tolist(), strict=True)) if thresholds.ndim == 1 else {}


_STEP = 1e-4  # of a text, in derivatives
_OF_TEXTS = ("exact-match", "hamming-loss", "log-loss")


def compare_sets(
    gold: Sets,
    probabilities: tuple[Floats, Floats],
    given: tuple[Sets, Sets],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
) -> Comparison:
    """Return how two sets of labels for the same texts differ, and how sure that is.

    Independent texts: Tango's score interval and McNemar's exact test for the exact match; for F1, micro- and macro-F1
    Student's t with the delta method, to which for each class one half text is added on either side; for Hamming loss
    and log loss the paired t. The unit is the text, since decisions on one hang together. With groups, as for one
    label a text.

    Parameters
    ----------
    gold
        ndarray of shape (n, k): which classes each text has.
    probabilities, given
        Of the first and the second: ndarray of shape (n, k), float and bool.
    label_names
        The k classes.
    groups
        The group of each text; None if texts are independent. ``""`` is a text of its own.

    Raises
    ------
    DataError
        If the rows do not fit together.
    """
    names, n = tuple(label_names), len(gold)
    for array in (*probabilities, *given):
        if array.shape != (n, len(names)) or gold.shape != array.shape or not n:
            raise DataError(
                f"An array has shape {array.shape}; gold has {gold.shape}, and there are {len(names)} label names.",
                "Give one row for each text and one column for each class, and at least one text.",
            )
    if groups is not None and len(groups) != n:
        raise DataError(f"There are {len(groups)} groups for {n} texts.", "Give one group for each text.")
    outcomes = _columns(gold, *given)
    right = tuple((gold == own).all(axis=1) for own in given)
    of_texts = [
        np.column_stack([(1.0 * one), (1.0 * two)])
        for one, two in (
            right,
            tuple((gold != own).mean(axis=1) for own in given),
            tuple(losses_of_texts(gold, p) for p in probabilities),
        )
    ]
    values = np.column_stack([_figures(outcomes.sum(axis=0)), *(own.mean(axis=0) for own in of_texts)])  # (2, f)
    errors = _errors(outcomes, gold, of_texts)
    exact: McNemar | None = None
    notes: tuple[str, ...] = ()
    units, degrees, method = n, float(n - 1), "paired-t"
    if groups is None:
        exact = paired_tests.mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()), n)
    else:
        sums = paired_tests.group_sums(np.column_stack([outcomes, np.ones(n), *of_texts]), groups)
        at = outcomes.shape[1]
        units, degrees, method = len(sums), paired_tests.group_degrees(sums[:, at]), "paired-jackknife-t"
        found = paired_tests.jackknife(_differences, sums[:, :at], np.ones(units))
        means = [paired_tests.loss_errors(sums[:, [at, at + 1 + 2 * i, at + 2 + 2 * i]]) for i in range(len(of_texts))]
        # Few groups can be more alike than texts that are drawn one by one, and even all the same, by chance.
        errors = np.maximum(errors, np.concatenate([found, *means]))
        notes = notes_on_groups(units)
    figures = ("macro-f1", "micro-f1", *(f"f1:{name}" for name in names), *_OF_TEXTS)
    undefined = {f"f1:{name}" for name, there in zip(names, gold.sum(axis=0).tolist(), strict=True) if not there}
    agreement = float((given[0] == given[1]).all(axis=1).mean())
    differences = {
        name: Difference(name, None, None, None)
        if name in undefined
        else difference_of(name, values[:, i], error=float(errors[i]), units=units, degrees=degrees, method=method)
        for i, name in enumerate(figures)
    }
    if agreement == 1:  # the spread is that of the added half texts alone
        differences |= {name: replace(d, detectable=None) for name, d in differences.items() if name != "log-loss"}
    if exact is not None:
        interval = paired_tests.tango(exact.first_only, exact.second_only, n)
        differences["exact-match"] = replace(differences["exact-match"], interval=interval, p_value=exact.p_value)
    order = ("macro-f1", "micro-f1", "exact-match", *figures[2:])
    return Comparison(
        n=n,
        label_names=names,
        main="macro-f1",
        differences=tuple(differences[name] for name in dict.fromkeys(order)),
        agreement=agreement,
        mcnemar=exact,
        n_groups=None if groups is None else units,
        notes=notes,
    )


def _columns(gold: Sets, first: Sets, second: Sets) -> Floats:
    """Return gold rows, and hits and given of both, of each text by class: shape (n, 5 k)."""
    parts = (gold, gold & first, first, gold & second, second)
    return np.concatenate(parts, axis=1).astype(np.float64)


def _figures(sums: Floats) -> Floats:
    """Return macro-F1, micro-F1 and F1 by class of first and second, shape (…, 2, 2 + k), from shape (…, 5 k)."""
    support, *counts = np.split(sums, 5, axis=-1)
    found = []
    for hits, given in (counts[:2], counts[2:]):
        whole = support + given
        f1 = np.divide(2 * hits, whole, out=np.zeros_like(whole), where=whole > 0)
        macro = f1.sum(axis=-1) / np.maximum((whole > 0).sum(axis=-1), 1)
        pooled = whole.sum(axis=-1)
        micro = np.where(pooled > 0, 2 * hits.sum(axis=-1) / np.where(pooled > 0, pooled, 1.0), 0.0)
        found.append(np.concatenate([macro[..., np.newaxis], micro[..., np.newaxis], f1], axis=-1))
    return np.stack(found, axis=-2)


def _differences(sums: Floats) -> Floats:
    both = _figures(sums)
    found: Floats = both[..., 1, :] - both[..., 0, :]
    return found


def _errors(outcomes: Floats, gold: Sets, of_texts: Sequence[Floats]) -> Floats:
    """Return standard errors of the differences between independent texts, in the order of the figures."""
    n, k = gold.shape
    share = gold.mean(axis=0)
    pseudo, weights = [], []
    for c in range(k):
        for is_class, weight in ((True, share[c]), (False, 1 - share[c])):
            for first, second in ((True, False), (False, True)):
                one = np.zeros((5, k))
                one[:, c] = (is_class, is_class and first, first, is_class and second, second)
                pseudo.append(one.ravel())
                weights.append(weight / 2)
    units = np.concatenate([outcomes, np.array(pseudo)])
    counts = np.concatenate([np.ones(n), np.array(weights)])
    errors = paired_tests.jackknife(_differences, units, counts, step=_STEP)
    means = [paired_tests.loss_errors(np.column_stack([np.ones(n), own])) for own in of_texts]
    return np.concatenate([errors, *means])


DEFAULT_THRESHOLD = 0.5
"""Probability from which a class of a multi-label task is given, where no threshold was tuned."""


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


def threshold_array(thresholds: Mapping[str, float] | None, label_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the threshold of each class of a multi-label task, ndarray of shape (k,); 0.5 where none was tuned."""
    return np.array([(thresholds or {}).get(name, DEFAULT_THRESHOLD) for name in label_names], dtype=np.float64)


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


def set_thresholds_of(thresholds: Thresholds | None, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return thresholds of sets of labels as an array of shape (k,) or (n, k); 0.5 where none was named."""
    return thresholds if isinstance(thresholds, np.ndarray) else threshold_array(thresholds, names)


def set_indicators(labels: Labels, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which classes each row has, shape (n, k)."""
    position = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(labels), len(names)), dtype=np.bool_)
    for row, own in enumerate(labels):
        if own is None or isinstance(own, str):
            raise DataError(
                f"The labels of row {row} are {own!r}.",
                "Give a set or a tuple of label names for each row, an empty one where a text has no class.",
            )
        for label in own:
            found[row, class_position(label, row, position)] = True
    return found
