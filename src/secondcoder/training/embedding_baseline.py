"""The opponent that a fine-tuned sentence-embedding model must beat: the same model as it was, with a regression on it.

In: a pre-trained model that says of itself that it reads texts by the mean over tokens; the train part, and dev. Out: a
small model with `predict_proba`, as the other baselines. What it has learned is kept beside the model; the encoder is
not, but read again from where it came from.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import one_blas_thread
from secondcoder.errors import ModelError
from secondcoder.evaluation.tasks import Task, gold_of
from secondcoder.model.loading import start_model
from secondcoder.model.model import Model
from secondcoder.model.pooling import pooled_by
from secondcoder.model.pretrained import pretrained_sha256
from secondcoder.model.regressions import Regressions
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.storage import read_arrays, write_arrays
from secondcoder.training.activation_cache import TokenInputs
from secondcoder.training.heads import fit_logistic, head_features


class SentenceEmbeddings:
    """What the head of a pre-trained model reads of texts, as with effort quick: it must cost little beside a training.

    Each different text is read once.

    Parameters
    ----------
    settings
        Of a training: which model, device and precision.
    label_names
        For the head, whose last layer is not asked.
    """

    def __init__(self, settings: TrainSettings, label_names: tuple[str, ...], *, progress: Progress) -> None:
        frozen = TrainSettings(
            model=settings.model,
            recipe="frozen",
            effort="quick",
            device=settings.device,
            precision=settings.precision,
            token_budget=settings.token_budget,
        )
        self._settings, self._label_names, self._progress = frozen.resolved(), label_names, progress
        self._known: dict[str, NDArray[np.float32]] = {}

    @cached_property
    def model(self) -> Model:
        """The pre-trained model.

        Raises
        ------
        ModelError
            If it is not available any more.
        """
        return start_model(self._settings, label_names=self._label_names, seed=0)

    @cached_property
    def sha256(self) -> str:
        """Hash of the pre-trained weights; empty where it is not known."""
        return pretrained_sha256(self._settings.model) or ""

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return features of texts, ndarray of shape (n, d)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            encoder = self.model.encoder
            found = head_features(self.model, TokenInputs(encoder, encoder.encode(new)), self._progress)
            self._known |= dict(zip(new, found, strict=True))
        return np.stack([self._known[text] for text in texts])


def sentence_embeddings(settings: TrainSettings, rows: Corpus, *, progress: Progress) -> SentenceEmbeddings | None:
    """Return what the baseline reads of texts, where the model was made for that; else None.

    None where the model does not say of itself that it takes the mean over tokens, where the training changes nothing
    of it (`--recipe frozen`), where coders' shares are learned from, and, with a message, where it is not available.
    """
    if settings.is_tfidf or settings.planned.epochs == 0 or rows.shares is not None:
        return None
    found = SentenceEmbeddings(settings, rows.label_names, progress=progress)
    try:
        mean = pooled_by(found.model.network) == "mean"
    except ModelError as error:
        progress.say(f"The baseline of sentence embeddings is left out: {error.what}")
        return None
    return found if mean else None


@dataclass(frozen=True)
class _About:
    """What is known of a fitted baseline beside its weights."""

    sha256: str
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)


class EmbeddingLogistic:
    """A logistic regression on what a sentence-embedding model says of a text, as it was before any training.

    The strength is chosen by cross-validation on train, temperature and thresholds on dev, as the transformer's are.

    Parameters
    ----------
    embeddings
        What is read of texts.
    rules
        The label scheme.
    """

    name = "embedding-logistic"

    def __init__(self, embeddings: SentenceEmbeddings, rules: Task) -> None:
        self._embeddings, self._rules = embeddings, rules
        self._about = _About(embeddings.sha256)

    def fit(self, train: Corpus, dev: Corpus | None = None, *, tune_threshold: bool = False) -> Self:
        """Learn from the rows of `train` that have a text and a label; return itself.

        Raises
        ------
        ModelError
            If the model is not available.
        """
        train = train.take(train.usable())
        gold, k = gold_of(train, train.label_names), len(train.label_names)
        features = self._embeddings.of(train.texts)
        with one_blas_thread():
            classes, weights, biases = self._rules.fit_head(fit_logistic, features, gold, None)
        self._learned = Regressions(
            self._rules,
            self._rules.majority(gold, k),
            np.asarray(classes, np.int64),
            np.asarray(weights),
            np.asarray(biases, np.float64),
            joint=not train.multi_label,
        ).stored()
        if dev is not None and dev.usable():
            self._choose_on(dev.take(dev.usable()), tune_threshold=tune_threshold)
        return self

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return probabilities as ndarray of shape (n, k); 0 for a class without rows in train."""
        return self._learned.probabilities(self._products(list(texts)), self.temperature)

    def save(self, path: Path) -> None:
        """Write what was learned as one safetensors file, from which `load` makes the same again."""
        write_arrays(path, self._learned.learned, json.dumps(asdict(self._about) | {"joint": self._learned.joint}))

    @classmethod
    def load(cls, path: Path, embeddings: SentenceEmbeddings, rules: Task) -> Self | None:
        """Return what `save` wrote; None where the file is missing, damaged or of other pre-trained weights."""
        kept = read_arrays(path)
        if kept is None:
            return None
        about, found = json.loads(kept[1]), cls(embeddings, rules)
        if about["sha256"] != embeddings.sha256:
            return None
        found._learned = Regressions.of(kept[0], rules, joint=about.pop("joint"))
        found._about = _About(**about)
        return found

    @property
    def description(self) -> str:
        """What it was given, for people."""
        return (
            f"what {self._embeddings.model.card.base_model} says of a text before any training, the mean over "
            f"{self._embeddings.model.encoder.max_length} tokens at most, half of them from its end"
        )

    @property
    def given(self) -> dict[str, Any]:
        """What it was given, as plain JSON values."""
        read = self._embeddings.model.encoder.max_length
        return {"description": self.description, "settings": asdict(self._about) | {"max_length": read}}

    @property
    def temperature(self) -> float:
        """What its logits are divided by."""
        return self._about.temperature

    @property
    def thresholds(self) -> dict[str, float]:
        """From which probability on it gives a class, where that was chosen."""
        return self._about.thresholds

    def _products(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._embeddings.of(texts) @ self._learned.weights.T
        return found

    def _choose_on(self, dev: Corpus, *, tune_threshold: bool) -> None:
        names, rules = dev.label_names, self._rules
        gold, products = gold_of(dev, names), self._products(dev.texts)
        logits = self._learned.known_logits(products)
        # As the transformer's: not where dev lacks a class.
        heat = 1.0 if rules.uncalibratable(gold, names) else self._learned.best_temperature(gold, logits)
        limits = rules.thresholds(
            gold, self._learned.probabilities(products, heat), names, dev.positive if tune_threshold else None
        )
        self._about = replace(self._about, temperature=heat, thresholds=limits)
