"""TF-IDF with logistic regression trained as a model, and not as the rival of one.

In: train and dev. Out: a `TfidfModel` and a `Fit`, as a transformer's training gives them away. How it is set is chosen
by cross-validation on train; nothing of it is chance.
"""

import time

from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import one_blas_thread
from secondcoder.errors import DataError
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.classifier import ModelCard
from secondcoder.model.tfidf_model import TfidfModel
from secondcoder.settings import TFIDF, TrainSettings
from secondcoder.training.baselines import TfidfLogistic
from secondcoder.training.loop import Fit, dev_figures


def fit_tfidf(train: Corpus, dev: Corpus, *, settings: TrainSettings, seed: int) -> tuple[TfidfModel, Fit]:
    """Return the model, trained on train, and what it says about dev, as epoch 0.

    Parameters
    ----------
    train, dev
        Rows that all have a text and a label.
    settings
        Of which only `tune_threshold` concerns it.
    seed
        For the record.

    Raises
    ------
    DataError
        If all texts of train are labelled the same.
    """
    started = time.monotonic()
    with one_blas_thread():
        learned = TfidfLogistic().fit(train, tune_threshold=settings.tune_threshold).learned
    if learned is None:
        raise DataError("All texts of train are labelled the same.", "Label texts of at least two classes.")
    card = ModelCard(
        train.label_names, base_model=TFIDF, positive=train.positive, text_column=train.source.columns.get("text")
    )
    model = TfidfModel(learned, card.with_scheme_of(train))
    scores = model.score(dev.texts)
    metric = task_rules(train.task).figures.resolve("auto", train.positive, train.label_names)
    entry = {"epoch": 0, "step": 0, "seconds": round(time.monotonic() - started, 2)}
    entry |= dev_figures(dev, scores, metric)
    return model, Fit(metric, None, seed, best_epoch=0, best_scores=scores, history=[entry])
