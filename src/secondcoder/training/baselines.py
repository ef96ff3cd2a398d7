"""The opponents that a transformer must beat: the majority class, and TF-IDF with a logistic regression.

A third is that of `secondcoder.training.embedding_baseline`, where the transformer is a sentence-embedding model.

Where a text may have several classes, these are the most frequent set, and a regression for each class by itself.

In: the train part, and dev, which chooses for them what it chooses for the transformer. Out: two small models with
`predict_proba`. They learn from the rows that the transformer is trained on and no others, and are made in seconds.
Neither depends on chance, so there is no seed. What the second has learned is kept beside the model, so that test is
judged without learning it again.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import one_blas_thread
from secondcoder.errors import DataError
from secondcoder.evaluation.tasks import gold_of, task_rules
from secondcoder.model.ngrams import Terms
from secondcoder.model.tfidf_model import Learned
from secondcoder.storage import read_arrays, write_arrays
from secondcoder.training.embedding_baseline import EmbeddingLogistic, SentenceEmbeddings
from secondcoder.training.tfidf import Learner, TfidfSettings, choose_settings, terms_a_kind

TFIDF_FILE, EMBEDDING_FILE = "tfidf.safetensors", "embedding.safetensors"
"""What is kept of the baselines in a run folder."""


class Baseline(Protocol):
    """A simple model that gives probabilities.

    Attributes
    ----------
    name
        Key of its figures.
    description
        What it is and what it was given, for people.
    given
        What it was given, as plain JSON values: ``"description"`` and ``"settings"``; empty where nothing is chosen.
    temperature
        What its logits are divided by.
    thresholds
        From which probability on it gives a class, where that was chosen.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def given(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def temperature(self) -> float: ...  # noqa: D102
    @property
    def thresholds(self) -> dict[str, float]: ...  # noqa: D102

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
    temperature = 1.0

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.thresholds: dict[str, float] = {}

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
    """Words, word pairs and characters, weighted by TF-IDF, with a logistic regression: the best that seconds buy.

    Which of them are counted, how strongly weights are held to zero and whether classes are balanced is chosen by
    cross-validation on train (`secondcoder.training.tfidf.choose_settings`). Its temperature is fitted on dev and its
    thresholds are chosen there, by the rules that the transformer's are made by, and where the transformer has any.

    Where all rows of train are labelled the same, it gives the shares of the classes in train.
    """

    name = "tfidf-logistic"

    def __init__(self) -> None:
        self.settings = TfidfSettings()
        self.learned: Learned | None = None
        """What it has learned; None where nothing can be."""

    def fit(
        self,
        train: Corpus,
        dev: Corpus | None = None,
        *,
        tune_threshold: bool = False,
        settings: TfidfSettings | None = None,
    ) -> Self:
        """Learn the terms of `train`; return itself.

        Parameters
        ----------
        train
            Rows without a text or a label teach nothing.
        dev
            What fits the temperature and chooses thresholds; None: neither.
        tune_threshold
            Whether the threshold of the positive class is chosen, of a two-class task.
        settings
            What was chosen before; None: it is chosen on train.

        Raises
        ------
        DataError
            If no row of train has both a text and a label.
        """
        texts, labels = _learnable(train)
        self._fallback = MajorityClass().fit(train)
        if len(set(labels)) < 2:
            self.settings = TfidfSettings(unlearned="all texts of train are labelled the same")
            return self
        train, k = train.take(train.usable()), len(train.label_names)
        self.settings = settings or choose_settings(train, tune_threshold=tune_threshold)
        terms = Terms(self.settings.kind, terms_a_kind(k))
        features = terms.fit_transform(texts)  # (n, terms), sparse
        if terms.full:
            self.settings = replace(self.settings, most_terms=terms_a_kind(k))
        learner = Learner(task_rules(train.task), balanced=self.settings.balanced)
        found = learner.fit(features, gold_of(train, train.label_names), k, strength=self.settings.strength)
        # In single precision from the beginning, so that dev and test are judged by the same weights.
        self.learned = Learned(terms, found.stored(), self.settings.to_dict())
        if dev is not None and dev.usable():
            self._choose_on(dev.take(dev.usable()), self.learned, dev.positive if tune_threshold else None)
        return self

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return probabilities as ndarray of shape (n, k); 0 for a class without rows in train."""
        texts = list(texts)
        if self.learned is None or not texts:
            return self._fallback.predict_proba(texts)
        return self.learned.probabilities(texts, self.temperature)

    def save(self, path: Path) -> None:
        """Write what was learned as one safetensors file, from which `load` makes the same again."""
        if self.learned is None:
            write_arrays(path, {}, json.dumps({"settings": self.settings.to_dict(), "joint": None}))
        else:
            Learned(self.learned.terms, self.learned.regressions, self.settings.to_dict()).save(path)

    @classmethod
    def load(cls, path: Path, train: Corpus) -> Self | None:
        """Return what `save` wrote, of the same rows of train; None where the file is missing or damaged."""
        kept = read_arrays(path)
        if kept is None:
            return None
        found, about = cls(), json.loads(kept[1])
        found.settings = TfidfSettings.from_dict(about["settings"])
        found._fallback = MajorityClass().fit(train)
        if about["joint"] is not None:
            found.learned = Learned.load(path, task_rules(train.task))
        return found

    @property
    def description(self) -> str:
        """What it was given, for people."""
        return self.settings.description

    @property
    def given(self) -> dict[str, Any]:
        """What it was given, as plain JSON values."""
        return {"description": self.description, "settings": self.settings.to_dict()}

    @property
    def temperature(self) -> float:
        """What its logits are divided by."""
        return self.settings.temperature

    @property
    def thresholds(self) -> dict[str, float]:
        """From which probability on it gives a class, where that was chosen."""
        return self.settings.thresholds

    def _choose_on(self, dev: Corpus, learned: Learned, positive: str | None) -> None:
        """Fit the temperature and choose thresholds on rows that all have a text and a label."""
        rules, names = task_rules(dev.task), dev.label_names
        gold, regressions = gold_of(dev, names), learned.regressions
        logits = regressions.known_logits(learned.products(dev.texts))
        # As the transformer's: not where dev lacks a class.
        temperature = 1.0 if rules.uncalibratable(gold, names) else regressions.best_temperature(gold, logits)
        found = learned.probabilities(dev.texts, temperature)
        self.settings = replace(
            self.settings, temperature=temperature, thresholds=rules.thresholds(gold, found, names, positive)
        )


def fit_baselines(
    train: Corpus,
    dev: Corpus | None = None,
    *,
    tune_threshold: bool = False,
    kept: Path | None = None,
    is_rival: bool = True,
    embeddings: SentenceEmbeddings | None = None,
) -> dict[str, Baseline]:
    """Return the baselines by name, trained on the rows of `train` that have a text and a label.

    Parameters
    ----------
    train
        What they learn from.
    dev
        What fits temperatures and chooses thresholds; None: there are none.
    tune_threshold
        Whether the threshold of the positive class is chosen, of a two-class task.
    kept
        A folder with what was learned from the same rows, which is read, or written if it is not there; None: nothing
        is kept.
    is_rival
        Whether TF-IDF with logistic regression is one of them; not where it is the model itself.
    embeddings
        What a sentence-embedding model says of texts, for a regression on it; None: there is none.

    Raises
    ------
    DataError
        If there is no such row.
    """
    with one_blas_thread():
        majority = MajorityClass().fit(train)
        if not is_rival:
            return {majority.name: majority}
        tfidf = None if kept is None else TfidfLogistic.load(kept / TFIDF_FILE, train)
        if tfidf is None:
            tfidf = TfidfLogistic().fit(train, dev, tune_threshold=tune_threshold)
            if kept is not None:
                tfidf.save(kept / TFIDF_FILE)
    found: dict[str, Baseline] = {majority.name: majority, tfidf.name: tfidf}
    if embeddings is None or tfidf.learned is None:  # of one label nothing can be learned
        return found
    rules, path = task_rules(train.task), None if kept is None else kept / EMBEDDING_FILE
    embedded = None if path is None else EmbeddingLogistic.load(path, embeddings, rules)
    if embedded is None:
        embedded = EmbeddingLogistic(embeddings, rules).fit(train, dev, tune_threshold=tune_threshold)
        if path is not None:
            embedded.save(path)
    return found | {embedded.name: embedded}


def _learnable(train: Corpus) -> tuple[list[str], list[str]]:
    """Return texts and labels of the rows that have both."""
    rows = [(train.texts[i], label) for i in train.usable() if (label := train.labels[i]) is not None]
    if not rows:
        raise DataError("No row of train has both a text and a label.", "Label some texts first.")
    return [text for text, _ in rows], [label for _, label in rows]
