"""Where a run's model goes wrong: written into the run folder, with the words that led it there.

In: rows with gold labels and what the model says about them. Out: ``mistakes.json``, by part.
"""

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.evaluation.error_analysis import JudgedRows, find_mistakes
from secondcoder.evaluation.label_errors import find_label_errors
from secondcoder.evaluation.tasks import gold_of, task_rules
from secondcoder.evaluation.thresholds import Thresholds
from secondcoder.model.attribution import Explained
from secondcoder.model.classifier import Classifier
from secondcoder.runs.folder import RunFolder
from secondcoder.storage import read_json, write_json

MISTAKES_FILE = "mistakes.json"


def judged_rows(
    rows: Corpus,
    probabilities: NDArray[np.float64],
    n_tokens: NDArray[np.int64] | None = None,
    *,
    thresholds: Thresholds | None = None,
) -> JudgedRows:
    """Return rows that all have a label, with what was said about them.

    Parameters
    ----------
    rows
        With their labels.
    probabilities
        ndarray of shape (n, k).
    n_tokens
        Lengths in tokens, shape (n,).
    thresholds
        From which probability on a class is given; ndarray of shape (n, k) where several models said it.
    """
    names = rows.label_names
    given = task_rules(rows.task).decide(probabilities, thresholds, names, rows.positive)
    return JudgedRows(
        ids=rows.ids,
        texts=rows.texts,
        gold=gold_of(rows, names),
        probabilities=probabilities,
        label_names=names,
        groups=rows.units,
        n_tokens=n_tokens,
        given=given,
    )


def store_mistakes(run: RunFolder, part: str, judged: JudgedRows, model: Classifier | None = None) -> None:
    """Look at where the model goes wrong on a part, and write it down; what is known of other parts stays.

    Stored are the most confident mistakes, the worst groups, errors by length, and likely label errors.

    Parameters
    ----------
    run
        Where ``mistakes.json`` is.
    part
        Name of the part.
    judged
        Its rows, and what was said about them.
    model
        What said it: the weight of each word for the label that it gave is stored too; for the class that was decided
        wrongly, where a text may have several. None where several models said it.
    """
    mistakes = find_mistakes(judged)
    texts = [mistake.text for mistake in mistakes.confident]
    labels = [mistake.label or mistake.predicted for mistake in mistakes.confident]
    explained = Explained() if model is None else model.explain(texts, labels)
    path = run.folder / MISTAKES_FILE
    stored = read_json(path) if path.exists() else {}
    stored[part] = {
        "mistakes": mistakes.to_dict(),
        "words": [attribution.to_dict() for attribution in explained.texts],
        "occlusion": explained.occlusion,
        "label_errors": [error.to_dict() for error in find_label_errors(judged)],
    }
    write_json(path, stored)
