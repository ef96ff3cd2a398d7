"""What labels promise, before anything is trained: the figure of quick ways to learn from them, by cross-validation.

In: hand-labelled rows and settings. Out: `Forecast`. It takes seconds, also of many or long texts, of which some are
drawn.
"""

from dataclasses import dataclass

import numpy as np

from secondcoder.corpus.corpus import Corpus
from secondcoder.evaluation.evaluate import evaluate_rows
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.reporting.formatting import format_metric
from secondcoder.settings import TFIDF, TrainSettings
from secondcoder.storage import sha_key
from secondcoder.training.recipes import cross_validate

LEAST_ROWS = 40
"""Of fewer rows the figure would be chance."""
_MOST_ROWS, _MOST_CHARACTERS = 500, 150_000


@dataclass(frozen=True)
class Forecast:
    """What some labels promise.

    Attributes
    ----------
    rows
        How many labelled texts it is of.
    drawn_from
        How many there are.
    evaluations
        By way to learn, ``"frozen"`` and ``"tfidf"``: its figures, each row judged by a model that has learned from
        others, four fifths of them.
    model
        The one that ``"frozen"`` leaves as it is.
    """

    rows: int
    drawn_from: int
    evaluations: dict[str, Evaluation]
    model: str

    @property
    def sentence(self) -> str:
        """What is to be expected, in words."""
        names = {"frozen": f"{self.model} as it is, with a logistic regression", TFIDF: "TF-IDF"}
        metric = next(iter(self.evaluations.values())).headline[0]
        told = [f"{found.shown(*found.headline)} ({names[way]})" for way, found in self.evaluations.items()]
        of = f"{self.rows:,}" if self.rows == self.drawn_from else f"{self.rows:,} of the {self.drawn_from:,}"
        return (
            f"With {of} labels of train expect {format_metric(metric)} about {' or '.join(told)}; by cross-validation."
        )

    def to_dict(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        figures = {}
        for way, found in self.evaluations.items():
            metric, value = found.headline
            interval = found.interval(metric)
            limits = {} if interval is None else {"low": interval.low, "high": interval.high}
            figures[way] = {"metric": metric, "value": value, **limits}
        return {"rows": self.rows, "drawn_from": self.drawn_from, "model": self.model, "figures": figures}


def forecast(train: Corpus, settings: TrainSettings, *, seed: int) -> Forecast | None:
    """Return what the labels of some rows promise; None of fewer than `LEAST_ROWS`.

    Parameters
    ----------
    train
        Rows without a text or a label are left out.
    settings
        With the model that is to learn from them.
    seed
        Of rows that are drawn, and of folds.

    Raises
    ------
    ModelError
        If the model cannot be had.
    SplitError
        If the rows cannot be divided into folds.
    """
    usable = train.usable()
    drawn = sorted(usable, key=lambda row: sha_key(seed, train.ids[row]))[:_MOST_ROWS]
    short = np.cumsum([len(train.texts[row]) for row in drawn]) <= _MOST_CHARACTERS
    some = train.take(sorted(drawn[: max(LEAST_ROWS, int(short.sum()))]))
    if len(some) < LEAST_ROWS:
        return None
    said = cross_validate(some, settings, seed=seed)
    evaluations = {way: evaluate_rows(some, probabilities) for way, probabilities in said.items()}
    return Forecast(len(some), len(usable), evaluations, settings.model)
