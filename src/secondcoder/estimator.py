"""secondcoder as a scikit-learn estimator, for pipelines, cross-validation and searches.

In: texts and labels in memory. Out: a fitted `SentenceClassifier`. It divides the texts into train and dev and hands
them to the training loop that `secondcoder.train` uses; there is no other. No file stays behind but by `save`.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from secondcoder.corpus.arrays import corpus_for, label_name, list_of_texts
from secondcoder.errors import InterruptedRunError, SettingsError, StorageError
from secondcoder.evaluation.tasks import task_rules
from secondcoder.progress import LiveProgress, Progress, default_progress
from secondcoder.settings import DEFAULT_SEED, SplitSettings, TrainOptions, TrainSettings
from secondcoder.signatures import init_takes
from secondcoder.splits.split import set_aside, take_dev
from secondcoder.training.classifier import (
    LearnedFrom,
    finish_classifier,
)
from secondcoder.training.recipes import settle, settled_for
from secondcoder.training.seeds import fit_seeds, start_for


@dataclass(frozen=True, kw_only=True)
class Parameters(TrainOptions):
    """What a `SentenceClassifier` is made with: the options of a training, and four of its own."""

    dev: float = SplitSettings.dev
    positive: str | int | bool | None = None
    seed: int = DEFAULT_SEED
    progress: bool | None = None


class SentenceClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A pre-trained transformer, fine-tuned to classify texts, as a scikit-learn estimator; or ``model="tfidf"``.

    X is a sequence of strings: a list, a one-dimensional array, a pandas or polars column. Labels may be strings, whole
    numbers or booleans, and come back as they were given; the saved model names them by strings.

    A part of the rows given to `fit` becomes dev, which chooses the best epoch; the others are learned from. Judge the
    model on rows that `fit` has not had, as `cross_val_score` does.

    Parameters
    ----------
    dev
        Size of dev: a share of the rows below 1, a number of rows from 1 on. Label shares are kept, and rows of the
        same text stay together; so do groups where `fit` is given any.
    positive
        The positive class of a two-class task, as it stands in y.
    seed
        Of the division, the head's first weights, the order of the data, and dropout: what other estimators call
        ``random_state``, but always a number. Two fits with one seed give bit-identical probabilities on one machine's
        CPU.
    progress
        Whether to show how far `fit` has come; unset, it is shown in notebooks.
    **options
        The others, from `model` on: see `secondcoder.settings.TrainOptions`.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        The labels, sorted, of the type that they had in y; the columns of an indicator matrix.
    model_ : secondcoder.Model
        The fine-tuned model, with the weights of its best epoch. Its label names are strings, in natural order.
    history_ : list of dict
        One entry per evaluation on dev, with its figures.
    best_epoch_ : int
        The epoch whose weights the model holds, counted from 1; 0 where a logistic head was best as it started.
    promise_ : secondcoder.evaluation.selective.Guarantee or None
        From which confidence on the error stays below `max_error`, where that was asked for.
    recipes_ : secondcoder.training.recipes.RecipeComparison or None
        With few labels, what recipes gave on train.
    findings_ : list of secondcoder.corpus.findings.Finding
        What was noticed when dev was taken out, and what to know about how the training went.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from secondcoder import SentenceClassifier
    >>> cross_val_score(SentenceClassifier(model="minilm"), texts, labels, scoring="f1_macro")  # doctest: +SKIP
    """

    @init_takes(Parameters)
    def __init__(self, given: Parameters) -> None:
        for name, value in vars(given).items():
            setattr(self, name, value)

    def fit(self, X: Iterable[str], y: Iterable[Any], groups: Iterable[Any] | None = None) -> Self:  # noqa: N803
        """Fine-tune the model on the texts and return it fitted.

        Parameters
        ----------
        X : array-like of str of shape (n,)
            Texts, none of them empty.
        y : array-like of shape (n,) or (n, k)
            Their labels, of two classes or more. Where a text may have several: a matrix of 0 and 1 with a column for
            each class, or a list of sets.
        groups : array-like of shape (n,), optional
            The document, author or film that each text comes from: none will stand in train and in dev. In a pipeline
            or a search it has to be passed on, as fit parameters are.

        Raises
        ------
        InputError
            If the texts or labels cannot be learned from; it is a ValueError and a DataError.
        SettingsError
            If a parameter is out of bounds.
        ModelError
            If the model cannot be had, or its loss diverges.
        KeyboardInterrupt
            If the user stopped it; what was fitted before stays as it was.
        """
        corpus, classes = corpus_for(X, y, groups, positive=self.positive)
        settings, seed = settled_for(corpus, self._settings()), _plain(self.seed)
        train, dev, findings = take_dev(corpus, SplitSettings(dev=_plain(self.dev)), seed)
        reserved = None
        if settings.max_error is not None:
            dev, reserved, noticed = set_aside(dev, seed=seed)
            findings += noticed
        with TemporaryDirectory(prefix="secondcoder-") as folder:
            try:
                settings, self.recipes_ = settle(
                    settings, train, seed=seed, folder=Path(folder) / "recipes", progress=self._progress()
                )
                model, result = fit_seeds(
                    lambda seed: start_for(train, settings, seed=seed),
                    train,
                    dev,
                    settings=settings,
                    seed=seed,
                    checkpoints=Path(folder),
                    progress=self._progress(),
                )
            except InterruptedRunError:
                # A search takes any other error for one failed candidate, and goes on with the next.
                raise KeyboardInterrupt from None
        finished = finish_classifier(model, result, LearnedFrom(train, dev, reserved), settings, self._progress())
        findings += finished.findings
        self.promise_ = finished.guarantee
        self.model_, self.classes_ = model, classes
        self.history_ = result.history
        self.best_epoch_ = result.best_epoch
        self.findings_ = findings + result.findings
        return self

    def predict(self, X: Iterable[str]) -> NDArray[Any]:  # noqa: N803
        """Return the label of each text, ndarray of shape (n,), of the type that the labels had in y.

        Where a text may have several: ndarray of shape (n, k), 0 and 1, columns as ``classes_``.
        """
        p = self.predict_proba(X)  # first of all, as it asks whether there is a model
        names, card = tuple(map(label_name, self.classes_.tolist())), self.model_.card
        rules = task_rules(card.task)
        return rules.as_y(rules.decide(p, card.thresholds, names), self.classes_)

    def predict_proba(self, X: Iterable[str]) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class for each text, ndarray of shape (n, k), columns as ``classes_``.

        Rows sum to 1, but where a text may have several classes.

        Raises
        ------
        InputError
            If something is not a text, or is an empty one; it is a ValueError and a DataError.
        NotFittedError
            If `fit` has not been called.
        """
        check_is_fitted(self, "model_")
        columns = [self.model_.label_names.index(label_name(label)) for label in self.classes_.tolist()]
        found: NDArray[np.float64] = self.model_.predict_proba(list_of_texts(X))[:, columns]
        return found

    def save(self, folder: Path | str) -> None:
        """Write the model folder, which `secondcoder.load`, ``secondcoder label`` and `transformers.pipeline` read.

        That of ``model="tfidf"`` is not read by the last.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        StorageError
            If something is in the folder, or it cannot be written.
        """
        check_is_fitted(self, "model_")
        folder = Path(folder)
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise StorageError(f"{folder} is already there.", "Choose another folder, or remove it first.")
        self.model_.save(folder)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def _settings(self) -> TrainSettings:
        """Return the parameters of the training, checked."""
        seed = _plain(self.seed)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise SettingsError(f"seed is {seed!r}.", "Give a whole number, at least 0.")
        return TrainSettings(**{field.name: _plain(getattr(self, field.name)) for field in fields(TrainSettings)})

    def _progress(self) -> Progress:
        if self.progress is None:
            return default_progress()
        return LiveProgress() if self.progress else Progress()


def _plain(value: Any) -> Any:
    """Return a parameter as the settings take it: searches hand out numpy's scalars, users paths."""
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value
