"""Rows and what was said about them: figures, leads, labels.

In: rows that all have a label, probabilities. Out: what the run folder keeps of them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.evaluation.comparison import compare
from secondcoder.evaluation.evaluate import evaluate_rows
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.multilabel import compare_sets
from secondcoder.evaluation.tasks import (
    Thresholds,
    decide_class,
    decide_set,
    given_classes,
    labels_decided,
    set_thresholds_of,
)
from secondcoder.training.loop import class_indices, gold_of


def judge(
    rows: Corpus,
    probabilities: NDArray[np.float64],
    *,
    temperature: float = 1.0,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Return the figures of probabilities, shape (n, k), against the labels of rows that all have one.

    Groups are the unit of the intervals where the rows have any; a row without a group is one by itself.
    """
    return evaluate_rows(rows, probabilities, temperature=temperature, thresholds=thresholds)


def lead_of(
    rows: Corpus, baseline: NDArray[np.float64], model: NDArray[np.float64], thresholds: Thresholds | None = None
) -> dict[str, Any]:
    """Return how far the model leads a baseline on the rows, as `Comparison.to_dict` gives it.

    The thresholds are the model's; of an array, shape (n, k), each row has its own.
    """
    names = rows.label_names
    if rows.multi_label:
        limits = set_thresholds_of(thresholds, names)
        sets = decide_set(baseline), decide_set(model, limits)
        own = gold_of(rows, names).astype(np.bool_)
        return compare_sets(own, (baseline, model), sets, names, groups=rows.units).to_dict()
    gold = class_indices(rows, names)
    labels = decide_class(baseline), given_classes(model, thresholds, names, rows.positive)
    return compare(gold, baseline, model, names, positive=rows.positive, groups=rows.units, given=labels).to_dict()


def predicted_labels(
    rows: Corpus, probabilities: NDArray[np.float64], thresholds: Mapping[str, float] | None = None
) -> list[str]:
    """Return the labels that probabilities of shape (n, k) make; those of a set are joined."""
    several, separator = rows.multi_label, rows.separator
    return labels_decided(probabilities, rows.label_names, thresholds, multi_label=several, separator=separator)


def predictions(
    part: str, rows: Corpus, probabilities: NDArray[np.float64], thresholds: Mapping[str, float]
) -> pa.Table:
    """Return what a run folder keeps of a part: id, part, label, predicted, the probability of each class."""
    predicted = predicted_labels(rows, probabilities, thresholds)
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "part": pa.array([part] * len(rows), pa.string()),
        "label": pa.array(rows.labels, pa.string()),
        "predicted": pa.array(predicted, pa.string()),
    }
    for i, name in enumerate(rows.label_names):
        columns[f"probability_{name}"] = pa.array(probabilities[:, i], pa.float64())
    return pa.table(columns)
