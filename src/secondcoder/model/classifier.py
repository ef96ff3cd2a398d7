"""What labels texts, whatever it is made of: its card, what it says, and what is asked of it.

In: texts. Out: labels, probabilities, `Scores`. The kinds are `secondcoder.model.model.Model`, a transformer, and
`secondcoder.model.tfidf_model.TfidfModel`; whoever trains, judges, labels or reports asks here and not which it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import SEPARATOR, Corpus
from secondcoder.corpus.corpus import TaskName as LabelTask
from secondcoder.errors import DataError
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.backends import ResolvedPrecision
from secondcoder.progress import Progress, ProgressTask
from secondcoder.settings import BackendName, Device, LongTexts, WindowPooling

if TYPE_CHECKING:
    from secondcoder.model.attribution import Explained
    from secondcoder.model.backend_choice import Choice, DevReference

CARD_FILE = "secondcoder.json"
CARD_FORMAT = 1
# Texts scored at a time: sorting by length needs many, memory wants few.
_WINDOW = 4096


@dataclass(frozen=True, eq=False)
class Scores:
    """What the model says about n texts.

    Attributes
    ----------
    logits : ndarray of shape (n, k)
        Columns in the order of the model's label names.
    truncated : ndarray of shape (n,)
        Which texts were cut before they were read.
    n_tokens : ndarray of shape (n,)
        Lengths in tokens before truncation; None of a model that reads no tokens.
    task
        The label scheme, which says what logits stand for.
    """

    logits: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    n_tokens: NDArray[np.int64] | None
    task: LabelTask = "multi-class"

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """What the logits stand for, shape (n, k): of one class among k, or of each class alone."""
        return task_rules(self.task).probabilities(self.logits)


@dataclass(frozen=True)
class ModelCard:
    """What a model knows of itself besides its weights; stored as ``secondcoder.json``.

    Attributes
    ----------
    label_names
        The classes, in the order of the logits.
    positive
        The positive class of a two-class task, or None.
    text_column
        The column that the training texts came from, or None.
    max_length
        Most tokens that are read at once.
    long_texts
        What becomes of a longer text.
    window_overlap, window_pooling
        Of windows: the least overlap, as it was set, and how the logits of a text's windows become the text's. None
        without windows.
    backend, precision
        What the figures in the run were computed with, and so what labels.
    base_model
        The pre-trained model it was made from; ``"tfidf"`` for none, whose cards have nothing on lengths, windows,
        backend and precision.
    temperature
        What the head's last layer was divided by, so that probabilities mean what they say; 1 if it was not.
    min_confidence
        The confidence from which on labels keep the error that training was asked to keep, or None.
    task
        Whether a text has one label, one of ordered classes, or any number of them.
    thresholds
        By class: the probability from which it is given, where that was tuned. Without it, of one label a text the most
        probable class, of several those with 0.5 and more.
    separator
        What joins the names of a set of labels in files.
    """

    label_names: tuple[str, ...]
    max_length: int = 0
    long_texts: LongTexts = "truncate"
    precision: ResolvedPrecision = "fp32"
    base_model: str = ""
    window_overlap: float | None = None
    window_pooling: WindowPooling | None = None
    backend: str = "torch"
    positive: str | None = None
    text_column: str | None = None
    temperature: float = 1.0
    min_confidence: float | None = None
    task: LabelTask = "multi-class"
    thresholds: dict[str, float] = field(default_factory=dict)
    separator: str = SEPARATOR

    def with_scheme_of(self, rows: Corpus) -> "ModelCard":
        """Return the card of a model that is trained on these rows' kind of labels."""
        return replace(self, task=rows.task, separator=rows.separator)

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64] | NDArray[np.bool_]:
        """Return the classes that probabilities of shape (n, k) make: positions, shape (n,); or sets, shape (n, k)."""
        return task_rules(self.task).decide(probabilities, self.thresholds, self.label_names)

    @property
    def decides(self) -> dict[str, Any]:
        """What a summary says of how labels are made of probabilities; nothing of the most probable of the classes."""
        decides = {"task": self.task, "thresholds": self.thresholds, "separator": self.separator}
        return decides if self.thresholds or self.task != "multi-class" else {}


def check_texts(texts: Sequence[str], first_row: int) -> None:
    """Raise `DataError` if something is not a text, or is an empty one; rows are counted from `first_row`."""
    for i, text in enumerate(texts, first_row):
        if not isinstance(text, str):
            raise DataError(f"Text {i + 1} is {text!r}, of type {type(text).__name__}.", "Give strings.")
        if not text.strip():
            raise DataError(f"Text {i + 1} is empty.", "Leave it out; secondcoder label does so and says why.")


def not_those_saved(folder: Path, sha256: str, saved_sha256: str) -> str:
    """Return what is wrong with a folder whose weights have another hash than its card says."""
    return f"The weights in {folder} are not those that were saved (SHA-256 {sha256}, saved {saved_sha256})."


class Classifier(ABC):
    """A text classifier.

    Attributes
    ----------
    card
        Its label names and provenance.
    sha256
        Hash of what was saved and computes the scores; empty while it has not been saved.
    judged_with
        Backend and precision of the figures in its run, where this model was told to compute in others; else empty.
    is_read_by_others
        Whether other programs can load what it saves.
    """

    card: ModelCard
    sha256: str
    judged_with: str = ""
    is_read_by_others = True

    def __repr__(self) -> str:
        return f"<Model from {self.card.base_model}, labels: {', '.join(self.label_names)}>"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes, in the order of the columns of `predict_proba`."""
        return self.card.label_names

    @property
    def text_column(self) -> str | None:
        """The column that the training texts came from."""
        return self.card.text_column

    @property
    def precision(self) -> ResolvedPrecision:
        """The arithmetic that this model computes in."""
        return self.card.precision

    @property
    @abstractmethod
    def device(self) -> Device:
        """Where to load it so that it computes as it does here."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """How many weights it has."""

    def predict(self, texts: Iterable[str]) -> list[Any]:
        """Return the label of each text, a string; where a text may have several, a tuple of them, perhaps empty."""
        card = self.card
        return task_rules(card.task).named(card.decide(self.predict_proba(texts)), card.label_names)

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return the probability of each class for each text, ndarray of shape (n, k), columns as `label_names`.

        Rows sum to 1, but where a text may have several classes: then each probability is that of its class alone.
        """
        return task_rules(self.card.task).probabilities(self.logits(texts))

    def logits(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the logits of each text, ndarray of shape (n, k), in the order of the texts.

        Raises
        ------
        DataError
            If something is not a text, or is an empty one.
        """
        if isinstance(texts, str):
            raise DataError(f"A single text was given: {texts[:40]!r}.", "Put it in a list: [text].")
        iterator = iter(texts)
        found = [np.empty((0, len(self.label_names)), np.float32)]
        n = 0
        while window := list(islice(iterator, _WINDOW)):
            found.append(self.score(window, first_row=n).logits)
            n += len(window)
        return np.concatenate(found)

    @abstractmethod
    def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None, first_row: int = 0) -> Scores:
        """Return what the model says about the texts.

        A text's logits are the same to the last bit whatever its neighbours and their order, on one machine with one
        number of threads.

        Raises
        ------
        DataError
            If something is not a text, or is an empty one; the message counts rows from `first_row`.
        """

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return what the run folder says about the model, as plain JSON values."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """Return what `summary` leaves out and people may want to know."""

    @abstractmethod
    def parts(self) -> list[tuple[str, int]]:
        """Return what it is made of, in order, each with its number of parameters."""

    @abstractmethod
    def describe_lengths(self, n_tokens: NDArray[np.int64]) -> dict[str, Any] | None:
        """Return how long texts are, in tokens, and what becomes of long ones; None of a model that reads all."""

    @abstractmethod
    def best_temperature(self, gold: NDArray[Any], scores: Scores) -> float:
        """Return the temperature that fits best what it says about texts with gold labels."""

    @abstractmethod
    def temper(self, temperature: float) -> None:
        """Divide logits by a temperature from now on, and say so on the card.

        Raises
        ------
        ModelError
            If it cannot; it is then as it was.
        """

    @abstractmethod
    def choose_backend(self, asked: BackendName, judges: "DevReference", progress: Progress) -> "Choice":
        """Take what labels fastest and says the same on dev, and return what was compared."""

    @abstractmethod
    def explain(self, texts: Sequence[str], labels: Sequence[str]) -> "Explained":
        """Return which words push the first of some texts to their labels, as many as some seconds allow."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model folder, whole or not at all."""
