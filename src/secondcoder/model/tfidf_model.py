"""TF-IDF with logistic regression as a classifier: what it has learned, and the model folder that holds it.

In: texts. Out: logits, labels. The folder holds ``secondcoder.json`` and ``tfidf.safetensors``, and is whole or refused
when it is loaded. It is fitted in `secondcoder.training.tfidf_classifier`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import ModelError
from secondcoder.evaluation.tasks import Task, task_rules
from secondcoder.model.classifier import (
    CARD_FILE,
    CARD_FORMAT,
    Classifier,
    ModelCard,
    Scores,
    check_texts,
    not_those_saved,
)
from secondcoder.model.ngrams import KINDS, Terms
from secondcoder.model.regressions import Regressions
from secondcoder.progress import Progress, ProgressTask
from secondcoder.settings import BackendName, Device
from secondcoder.storage import atomic_path, read_arrays, sha256_arrays, write_arrays, write_json

if TYPE_CHECKING:
    from secondcoder.model.attribution import Explained
    from secondcoder.model.backend_choice import Choice, DevReference

TFIDF_FILE = "tfidf.safetensors"
# Texts are counted together, up to so many and so many characters: short ones share most of their words.
_MOST_TEXTS, _MOST_CHARACTERS = 4096, 4_000_000
_NOT_ON_CARD = ("max_length", "long_texts", "precision", "window_overlap", "window_pooling", "backend")


class Learned:
    """What TF-IDF with logistic regression has learned.

    Parameters
    ----------
    terms
        The terms that are counted.
    regressions
        On these.
    settings
        What it was given, as plain JSON values; ``"kind"`` is a key of `KINDS`.
    """

    def __init__(self, terms: Terms, regressions: Regressions, settings: Mapping[str, Any]) -> None:
        self.terms, self.regressions, self.settings = terms, regressions, dict(settings)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weights of the regressions, ndarray of shape (terms, rows), with those of a term side by side."""
        return np.ascontiguousarray(self.regressions.weights.T.astype(np.float32))

    def products(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the products of texts' terms with the weights, ndarray of shape (n, rows)."""
        return self.terms.products(texts, self.weights)

    def probabilities(self, texts: Sequence[str], temperature: float) -> NDArray[np.float64]:
        """Return probabilities of texts, ndarray of shape (n, k); see `Regressions.probabilities`."""
        return self.regressions.probabilities(self.products(texts), temperature)

    @property
    def _stored(self) -> tuple[dict[str, NDArray[Any]], str]:
        about = {"settings": self.settings, "joint": self.regressions.joint}
        return self.terms.learned | self.regressions.learned, json.dumps(about)

    @property
    def sha256(self) -> str:
        """Hash of all of it; not of the file, whose head holds the same in another order each time."""
        return sha256_arrays(*self._stored)

    def save(self, path: Path) -> None:
        """Write it as one safetensors file, from which `load` makes the same again."""
        write_arrays(path, *self._stored)

    @classmethod
    def load(cls, path: Path, rules: Task) -> Self | None:
        """Return what `save` wrote, for labels of this scheme; None where the file is missing or damaged."""
        kept = read_arrays(path)
        if kept is None:
            return None
        arrays, about = kept[0], json.loads(kept[1])
        terms = Terms(about["settings"]["kind"])
        terms.restore(arrays)
        return cls(terms, Regressions.of(arrays, rules, joint=about["joint"]), about["settings"])


class TfidfModel(Classifier):
    """A text classifier by TF-IDF with logistic regression, on one core.

    Parameters
    ----------
    learned
        Terms and regressions, with one of each class that the card names.
    card
        Its label names and provenance.
    sha256
        Hash of what was saved; empty while it has not been saved.
    """

    is_read_by_others = False

    def __init__(self, learned: Learned, card: ModelCard, sha256: str = "") -> None:
        self.learned, self.card, self.sha256 = learned, card, sha256

    @property
    def device(self) -> Device:
        """Nothing to choose."""
        return "auto"

    @property
    def n_parameters(self) -> int:
        """How many weights the regressions have."""
        regressions = self.learned.regressions
        return int(regressions.weights.size + regressions.intercepts.size)

    def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None, first_row: int = 0) -> Scores:
        """Return what the model says about the texts, each read whole; see `Classifier.score`."""
        check_texts(texts, first_row)
        logits = np.empty((len(texts), len(self.label_names)), np.float32)
        start = 0
        while start < len(texts):
            end = _end_of_some(texts, start)
            logits[start:end] = self.learned.regressions.logits(self.learned.products(texts[start:end]))
            if progress is not None:
                progress.advance(end - start)
            start = end
        logits /= np.float32(self.card.temperature)
        return Scores(logits, np.zeros(len(texts), np.bool_), None, self.card.task)

    def summary(self) -> dict[str, Any]:
        """Return what the run folder says about the model, as plain JSON values."""
        return {
            "base_model": self.card.base_model,
            "model_type": self.card.base_model,
            "n_parameters": self.n_parameters,
            "terms": self.learned.settings,
            "device": "cpu",
            "threads": 1,
            "weights_sha256": self.sha256,
            **self.card.decides,
        }

    def details(self) -> dict[str, Any]:
        """Return what it counts, for people."""
        settings = self.learned.settings
        return {"counts": KINDS[settings["kind"]], "C": settings["strength"], "balanced": settings["balanced"]}

    def parts(self) -> list[tuple[str, int]]:
        """Return the kinds of terms, and the intercepts, each with their numbers of weights."""
        rows = len(self.learned.regressions.weights)
        intercepts = ("intercepts", int(self.learned.regressions.intercepts.size))
        return [*((name, n * rows) for name, n in self.learned.terms.sizes.items()), intercepts]

    def describe_lengths(self, n_tokens: NDArray[np.int64]) -> dict[str, Any] | None:
        """Return None: texts are read whole."""
        return None

    def best_temperature(self, gold: NDArray[Any], scores: Scores) -> float:
        """Return the temperature that fits best what it says about texts with gold labels, of classes that it knows."""
        known = self.learned.regressions.known
        return self.learned.regressions.best_temperature(gold, scores.logits[:, known])

    def temper(self, temperature: float) -> None:
        """Divide logits by a temperature from now on."""
        self.card = replace(self.card, temperature=temperature)

    def choose_backend(self, asked: BackendName, judges: "DevReference", progress: Progress) -> "Choice":
        """Return that there is nothing to choose."""
        from secondcoder.model.backend_choice import Choice

        return Choice(judges.reference, (), "TF-IDF with logistic regression, on one core.")

    def explain(self, texts: Sequence[str], labels: Sequence[str]) -> "Explained":
        """Return the words that push to labels; see `secondcoder.model.term_attribution.explain_terms`."""
        from secondcoder.model.term_attribution import explain_terms

        return explain_terms(self, texts, labels)

    def save(self, folder: Path) -> None:
        """Write the model folder, whole or not at all."""
        with atomic_path(Path(folder)) as temporary:
            temporary.mkdir(exist_ok=True)
            self.learned.save(temporary / TFIDF_FILE)
            self.sha256 = self.learned.sha256
            card = {name: value for name, value in asdict(self.card).items() if name not in _NOT_ON_CARD}
            write_json(temporary / CARD_FILE, {"format": CARD_FORMAT, **card, "weights_sha256": self.sha256})

    @classmethod
    def load(cls, folder: Path, card: ModelCard, saved_sha256: str) -> Self:
        """Return the model of a folder, whose card has been read.

        Raises
        ------
        ModelError
            If its weights are missing, damaged, not those that were saved, or those of other classes.
        """
        path, again = folder / TFIDF_FILE, "Copy the model folder again, or train again."
        if not path.is_file():
            raise ModelError(f"{folder} has no {TFIDF_FILE}, which holds the model’s words and weights.", again)
        learned = Learned.load(path, task_rules(card.task))
        if learned is None:
            raise ModelError(f"{path} is damaged.", again)
        if (sha256 := learned.sha256) != saved_sha256:
            raise ModelError(not_those_saved(folder, sha256, saved_sha256), again)
        if (n := len(learned.regressions.shares)) != len(card.label_names):
            raise ModelError(f"{path} has {n} classes, {CARD_FILE} names {list(card.label_names)}.", again)
        return cls(learned, card, sha256)


def _end_of_some(texts: Sequence[str], start: int) -> int:
    """Return up to where texts from `start` on are counted together: one at least."""
    characters = 0
    for i in range(start, min(start + _MOST_TEXTS, len(texts))):
        characters += len(texts[i])
        if characters > _MOST_CHARACTERS and i > start:
            return i
    return min(start + _MOST_TEXTS, len(texts))
