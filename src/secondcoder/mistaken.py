"""Where a run's model goes wrong: written into the run folder, with the words that led it there.

In: rows with gold labels and what the model says about them. Out: ``mistakes.json``, by part.
"""

from secondcoder.corpus.corpus import Corpus
from secondcoder.evaluation.label_errors import find_label_errors
from secondcoder.evaluation.mistakes import JudgedRows, find_mistakes
from secondcoder.model.attribution import explain_all
from secondcoder.model.model import Model, Scores
from secondcoder.run_folder import RunFolder
from secondcoder.storage import read_json, write_json
from secondcoder.training.fitting import class_indices

MISTAKES_FILE = "mistakes.json"


def store_mistakes(run: RunFolder, model: Model, part: str, rows: Corpus, scores: Scores) -> None:
    """Look at where the model goes wrong on a part, and write it down; what is known of other parts stays.

    Stored are the most confident mistakes with the weight of each word for the label that was given, the worst groups,
    errors by length, and likely label errors.
    """
    judged = JudgedRows(
        ids=rows.ids,
        texts=rows.texts,
        gold=class_indices(rows, rows.label_names),
        probabilities=scores.probabilities,
        label_names=rows.label_names,
        groups=rows.groups,
        n_tokens=scores.n_tokens,
    )
    mistakes = find_mistakes(judged)
    texts = [mistake.text for mistake in mistakes.confident]
    explained = explain_all(model, texts, [mistake.predicted for mistake in mistakes.confident])
    path = run.folder / MISTAKES_FILE
    stored = read_json(path) if path.exists() else {}
    stored[part] = {
        "mistakes": mistakes.to_dict(),
        "words": [attribution.to_dict() for attribution in explained],
        "label_errors": [error.to_dict() for error in find_label_errors(judged)],
    }
    write_json(path, stored)
