"""The opponents that a transformer must beat: the majority class, and words with a logistic regression.

In: the train part. Out: two small models with `predict_proba`. They see the rows that the transformer is trained on and
no others, are made in seconds, and live in memory only. Neither depends on chance, so there is no seed.
"""

from collections.abc import Iterable
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import DataError

# Bounds the memory of the solver on large corpora; 3,000 film reviews have 313,000 words and pairs.
MOST_TERMS = 200_000


class Baseline(Protocol):
    """A simple model that gives probabilities."""

    name: str
    description: str

    def fit(self, train: Corpus) -> Self:
        """Learn from the rows of `train` that have a text and a label; return itself."""

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return probabilities as ndarray of shape (n, k), columns in the order of ``train.label_names``."""


class MajorityClass:
    """Gives every text the shares of the classes in train, so that the most frequent class always wins."""

    name = "majority"
    description = "always the most frequent class"

    def fit(self, train: Corpus) -> Self:
        """Count the labels of `train`; return itself.

        Raises
        ------
        DataError
            If no row has both a text and a label.
        """
        _, labels = _learnable(train)
        counts = np.array([labels.count(name) for name in train.label_names], dtype=np.float64)
        self._shares = counts / counts.sum()  # (k,)
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
        self._classifier: LogisticRegression | None = None
        position = {name: i for i, name in enumerate(train.label_names)}
        analyze = self._vectorizer.build_analyzer()
        if len(set(labels)) > 1 and any(analyze(text) for text in texts):
            terms = self._vectorizer.fit_transform(texts)  # (n, terms), sparse
            self._classifier = LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)
            self._classifier.fit(terms, [position[label] for label in labels])
        return self

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return probabilities as ndarray of shape (n, k); 0 for a class without rows in train."""
        texts = list(texts)
        if self._classifier is None or not texts:
            return self._fallback.predict_proba(texts)
        found = self._classifier.predict_proba(self._vectorizer.transform(texts))  # (n, classes in train)
        probabilities = np.zeros((found.shape[0], self._k))
        probabilities[:, self._classifier.classes_] = found
        return probabilities


def fit_baselines(train: Corpus) -> dict[str, Baseline]:
    """Return the baselines by name, trained on the rows of `train` that have a text and a label.

    Raises
    ------
    DataError
        If there is no such row.
    """
    baselines: tuple[Baseline, ...] = (MajorityClass(), TfidfLogistic())
    return {baseline.name: baseline.fit(train) for baseline in baselines}


def _learnable(train: Corpus) -> tuple[list[str], list[str]]:
    """Return texts and labels of the rows that have both."""
    rows = [(train.texts[i], label) for i in train.usable() if (label := train.labels[i]) is not None]
    if not rows:
        raise DataError("No row of train has both a text and a label.", "Label some texts first.")
    return [text for text, _ in rows], [label for _, label in rows]
