"""How good are sets of labels? Figures of tasks in which a text may have several classes, or none.

In: which classes each text has, the probability of each class by itself, thresholds. Out: `Evaluation`.
`secondcoder.evaluation.evaluate` hands in what it has checked. The tests hold each formula against scikit-learn's.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from secondcoder.evaluation import metrics
from secondcoder.evaluation.calibration import Calibration, reliability
from secondcoder.evaluation.components import AverageFigures, SetFigures, figures_by_class
from secondcoder.evaluation.deciding import decide_set
from secondcoder.evaluation.figures import Evaluation
from secondcoder.evaluation.selection import risk_coverage_of
from secondcoder.evaluation.set_limits import set_intervals
from secondcoder.evaluation.uncertainty import mean_interval

Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]


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
