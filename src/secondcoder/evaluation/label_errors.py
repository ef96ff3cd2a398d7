"""Which gold labels are probably wrong: confident learning, by cleanlab.

In: `JudgedRows` with probabilities from models that were not trained on the rows they judge. Out: `LabelError`s, for
people to look at again. Nothing is changed or removed here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondcoder.evaluation.error_analysis import JudgedRows
from secondcoder.storage import Stored

FEWEST_OF_CLASS = 5
"""A class with fewer gold rows has no threshold worth the name; its rows are neither doubted nor suggested."""
# Of cleanlab's rules the one with the best balance on planted errors in benchmarks/label_errors.py.
_RULE = "confident_learning"


@dataclass(frozen=True)
class LabelError(Stored, name="a label error", cure="Run the evaluation again."):
    """A text whose gold label is probably wrong.

    Attributes
    ----------
    label
        The gold label; of several, with commas between them.
    suggested
        The most probable class; where a text may have several, the gold ones with one more or one less.
    score
        Probability of the gold label (of several, that this one is there, or not), by a model that did not see it: the
        lower, the more doubtful.
    """

    id: str
    text: str
    label: str
    suggested: str
    score: float


def find_label_errors(rows: JudgedRows) -> tuple[LabelError, ...]:
    """Return the rows whose gold label is probably wrong, the most doubtful first.

    Confident learning: a row is doubted if its probability of another class j is at least the mean probability of j
    among the rows labelled j, and j is the most probable class. The thresholds are each class's own, so that a
    class which the model is less sure of is not doubted for that alone. The order is that of the gold
    label's probability: with the thresholds taken off it, errors that people made came less far ahead.

    A poor classifier doubts good labels: on economic position, a hard task with three classes, a third of all rows
    were pointed out, and one in twenty of these was a planted error (benchmarks/results/2026-11-23-label-errors.md).

    Where a text may have several classes, each of them is looked at by itself, as a task of yes and no.

    Classes with fewer than `FEWEST_OF_CLASS` gold rows are left out, with their rows; with fewer than two classes left
    there is nothing to find.

    Parameters
    ----------
    rows
        The probabilities must be out of sample, as from cross-fitting: a model believes the labels that it was trained
        on.

    References
    ----------
    Northcutt, C. G., Jiang, L., & Chuang, I. L. (2021). Confident learning: Estimating uncertainty in dataset labels.
    Journal of Artificial Intelligence Research, 70, 1373–1411. doi:10.1613/jair.1.12125
    """
    if rows.several:
        return _of_sets(rows)
    counts = np.bincount(rows.gold, minlength=len(rows.label_names))
    classes = np.flatnonzero(counts >= FEWEST_OF_CLASS)
    if len(classes) < 2:
        return ()
    kept = np.flatnonzero(np.isin(rows.gold, classes))
    gold = np.searchsorted(classes, rows.gold[kept])  # positions among the classes that are left
    own = rows.probabilities[np.ix_(kept, classes)]
    totals = own.sum(axis=1, keepdims=True)
    # A row that is surely of a class left out says nothing about the others.
    p = np.where(totals > 0, own / np.where(totals > 0, totals, 1), 1 / len(classes))

    at, scores = _doubted(gold, p)
    return tuple(
        LabelError(
            id=rows.ids[kept[i]],
            text=rows.texts[kept[i]],
            label=rows.label_names[classes[gold[i]]],
            suggested=rows.label_names[classes[p[i].argmax()]],
            score=float(score),
        )
        for i, score in zip(at, scores, strict=True)
    )


def _of_sets(rows: JudgedRows) -> tuple[LabelError, ...]:
    """Return what is doubted of each class by itself, all classes together by the score."""
    found = []
    for c, name in enumerate(rows.label_names):
        gold, p = rows.gold[:, c].astype(np.int64), rows.probabilities[:, c]
        if min(gold.sum(), len(gold) - gold.sum()) < FEWEST_OF_CLASS:
            continue
        for i, score in zip(*_doubted(gold, np.column_stack([1 - p, p])), strict=True):
            other = rows.gold[i] ^ (np.arange(len(rows.label_names)) == c)
            found.append((float(score), i, rows.named(rows.gold[i]), rows.named(other), name))
    found.sort(key=lambda error: (error[0], error[1], error[4]))
    return tuple(
        LabelError(id=rows.ids[i], text=rows.texts[i], label=label, suggested=suggested, score=score)
        for score, i, label, suggested, _ in found
    )


def _doubted(gold: NDArray[np.int64], p: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows whose label is doubted, the most doubtful first, and their scores."""
    # Here, not at the top: it takes longer to import than all else in this folder, and is needed once a study.
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    doubted = find_label_issues(gold, p, filter_by=_RULE, n_jobs=1)  # one process: it may fork otherwise
    scores = get_label_quality_scores(gold, p, method="self_confidence")
    at = np.flatnonzero(doubted)
    at = at[np.argsort(scores[at], kind="stable")]
    return at, scores[at]
