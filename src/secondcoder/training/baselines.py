"""The opponents that a transformer must beat: the majority class, and words with a logistic regression.

Where a text may have several classes, these are the most frequent set, and a regression for each class by itself.

In: the train part. Out: two small models with `predict_proba`. They see the rows that the transformer is trained on and
no others, are made in seconds, and live in memory only. Neither depends on chance, so there is no seed.
"""

from collections.abc import Iterable
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import one_blas_thread
from secondcoder.errors import DataError
from secondcoder.evaluation.multilabel import DEFAULT_THRESHOLD
from secondcoder.evaluation.tasks import gold_of, task_rules
from secondcoder.evaluation.thresholds import tune_threshold

# Bounds the memory of the solver on large corpora; 3,000 film reviews have 313,000 words and pairs.
MOST_TERMS = 200_000
_FOLDS = 3


class Baseline(Protocol):
    """A simple model that gives probabilities."""

    name: str
    description: str

    def fit(self, train: Corpus) -> Self:
        """Learn from the rows of `train` that have a text and a label; return itself."""

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return probabilities as ndarray of shape (n, k), columns in the order of ``train.label_names``."""


class MajorityClass:
    """Gives every text the shares of the classes in train, so that the most frequent class always wins.

    Where a text may have several classes, every text gets the most frequent set, of equally frequent ones the smallest
    and then the first. The probability of a class is its share in train, or as near to that as its being in the set
    allows: with a share of 0.3 it has 0.5 if it is in the set.
    """

    name = "majority"
    description = "always the most frequent class"

    def fit(self, train: Corpus) -> Self:
        """Count the labels of `train`; return itself.

        Raises
        ------
        DataError
            If no row has both a text and a label.
        """
        _learnable(train)
        gold = gold_of(train.take(train.usable()), train.label_names)
        self._shares = task_rules(train.task).majority(gold, len(train.label_names))  # (k,)
        return self

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return the shares of the classes in train for each text, as ndarray of shape (n, k)."""
        return np.tile(self._shares, (sum(1 for _ in texts), 1))


class TfidfLogistic:
    """Words and word pairs, weighted by TF-IDF, with a logistic regression.

    Sublinear term frequency, words of one letter kept, the 200,000 most frequent terms, C = 10 and balanced class
    weights: one choice for all tasks, made on the dev parts of 3,000 film reviews and of manifesto sentences (policy
    area, economic position). Balanced weights are worth 0.03 macro-F1 and more where a class is rare; C from 3 to 30
    changes it by less than 0.025.

    Where a text may have several classes, each has a regression of its own. From which probability on it is given is
    chosen for its F1, as the transformer's is, by three folds of train; the log-odds are then moved so that it is 0.5.
    On sentences of manifestos with four classes that is worth 0.12 macro-F1 with 300 texts and 0.02 with 3,000: against
    a rival without it the transformer would look better than it is.

    Where train has only one class or no words, it gives the shares of the classes in train.
    """

    name = "tfidf-logistic"
    description = "TF-IDF (1–2 grams) with logistic regression"

    def fit(self, train: Corpus) -> Self:
        """Learn the words of `train`; return itself.

        Raises
        ------
        DataError
            If no row has both a text and a label.
        """
        texts, labels = _learnable(train)
        self._fallback = MajorityClass().fit(train)
        self._k = len(train.label_names)
        self._vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_TERMS, token_pattern=r"(?u)\b\w+\b"
        )
        self._classifiers: dict[int | None, LogisticRegression] = {}  # None: one for all classes
        self._thresholds = np.full(self._k, DEFAULT_THRESHOLD)
        analyze = self._vectorizer.build_analyzer()
        if len(set(labels)) < 2 or not any(analyze(text) for text in texts):
            return self
        terms = self._vectorizer.fit_transform(texts)  # (n, terms), sparse
        gold = gold_of(train.take(train.usable()), train.label_names)
        for i, target in task_rules(train.task).regressions(gold, self._k).items():
            self._classifiers[i] = _regression().fit(terms, target)
            if i is not None:
                self._thresholds[i] = _threshold(terms, target)
        return self

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return probabilities as ndarray of shape (n, k); 0 for a class without rows in train."""
        texts = list(texts)
        if not self._classifiers or not texts:
            return self._fallback.predict_proba(texts)
        terms = self._vectorizer.transform(texts)
        if None in self._classifiers:
            found = self._classifiers[None].predict_proba(terms)  # (n, classes in train)
            probabilities = np.zeros((found.shape[0], self._k))
            probabilities[:, self._classifiers[None].classes_] = found
            return probabilities
        probabilities = self._fallback.predict_proba(texts)  # of classes that all rows of train have, or none
        for i, classifier in self._classifiers.items():
            moved = logit(classifier.predict_proba(terms)[:, 1]) - logit(self._thresholds[i])
            probabilities[:, i] = expit(moved)
        return probabilities


def _regression() -> LogisticRegression:
    return LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)


def _threshold(terms: Any, target: NDArray[np.bool_]) -> float:
    """Return the probability from which on a class is best given, by rows that the regression has not learned from."""
    fold = np.empty(len(target), np.int64)
    for own in (target, ~target):
        fold[own] = np.arange(own.sum()) % _FOLDS
    if min(target.sum(), (~target).sum()) < _FOLDS:
        return DEFAULT_THRESHOLD
    p = np.empty(len(target))
    for i in range(_FOLDS):
        rows = fold == i
        p[rows] = _regression().fit(terms[~rows], target[~rows]).predict_proba(terms[rows])[:, 1]
    return tune_threshold(target, p)


def fit_baselines(train: Corpus) -> dict[str, Baseline]:
    """Return the baselines by name, trained on the rows of `train` that have a text and a label.

    Raises
    ------
    DataError
        If there is no such row.
    """
    baselines: tuple[Baseline, ...] = (MajorityClass(), TfidfLogistic())
    with one_blas_thread():
        return {baseline.name: baseline.fit(train) for baseline in baselines}


def _learnable(train: Corpus) -> tuple[list[str], list[str]]:
    """Return texts and labels of the rows that have both."""
    rows = [(train.texts[i], label) for i in train.usable() if (label := train.labels[i]) is not None]
    if not rows:
        raise DataError("No row of train has both a text and a label.", "Label some texts first.")
    return [text for text, _ in rows], [label for _, label in rows]
