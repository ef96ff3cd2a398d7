"""The classifier: weights, tokenizer, label names, and where it comes from.

In: texts. Out: logits, probabilities, labels. A model is saved as an ordinary transformers folder with one more file,
``secondcoder.json``, and is whole or refused when it is loaded.
"""

import contextlib
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from secondcoder.corpus.corpus import SEPARATOR, Corpus
from secondcoder.corpus.corpus import TaskName as LabelTask
from secondcoder.errors import DataError
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.backends import Backend, ResolvedPrecision, TorchBackend
from secondcoder.model.batches import Batch, fixed_shapes
from secondcoder.model.concurrency import compute_batches
from secondcoder.model.openvino_backend import FILE_NAME, WEIGHTS_NAME, OpenVINOBackend
from secondcoder.model.pooling import pooled_by, saved_form
from secondcoder.model.pretrained import quiet_transformers
from secondcoder.model.tokenisation import Encoded, TextEncoder
from secondcoder.progress import ProgressTask
from secondcoder.settings import LongTexts, WindowPooling
from secondcoder.storage import atomic_path, sha256_file, sha256_strings, storage_errors, write_json


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
        Lengths in tokens before truncation.
    task
        The label scheme, which says what logits stand for.
    """

    logits: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    n_tokens: NDArray[np.int64]
    task: LabelTask = "multi-class"

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """What the logits stand for, shape (n, k): of one class among k, or of each class alone."""
        return task_rules(self.task).probabilities(self.logits)


CARD_FILE = "secondcoder.json"
CARD_FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
CONVERTED = "openvino"
"""Folder in the model folder with what OpenVINO computes, where it does."""
CONVERTED_FILES = (FILE_NAME, WEIGHTS_NAME)
# Texts scored at a time: sorting by length needs many, memory wants few.
_WINDOW = 4096
# The start of a weight's name up to its layer's number: "bert.encoder.layer.0", "model.layers.11".
_LAYER = re.compile(r".*?\.\d+(?=\.)")


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
        The pre-trained model it was made from.
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
    max_length: int
    long_texts: LongTexts
    precision: ResolvedPrecision
    base_model: str
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


class Model:
    """A text classifier.

    Parameters
    ----------
    network
        The transformers classifier, on its device.
    encoder
        Its tokenisation.
    card
        Its label names and provenance.
    sha256
        Hash of what was saved and computes the scores; empty while it has not been saved.

    Attributes
    ----------
    judged_with
        Backend and precision of the figures in its run, where this model was told to compute in others; else empty.
    """

    def __init__(self, network: PreTrainedModel, encoder: TextEncoder, card: ModelCard, sha256: str = "") -> None:
        self.network = network
        self.encoder = encoder
        self.card = card
        self.sha256 = sha256
        self.judged_with = ""
        self.backend: Backend = TorchBackend(network, card.precision)

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

    def use(self, backend: Backend) -> None:
        """Compute with this backend from now on, and say so on the card."""
        self.backend = backend
        self.card = replace(self.card, backend=backend.name, precision=backend.precision)

    @property
    def n_parameters(self) -> int:
        """How many weights the network has."""
        return sum(p.numel() for p in self.network.parameters())

    def summary(self) -> dict[str, Any]:
        """Return what the run folder says about the model, as plain JSON values."""
        card = self.card
        decides = {"task": card.task, "thresholds": card.thresholds, "separator": card.separator}
        return {
            "base_model": self.card.base_model,
            "revision": getattr(self.network.config, "_commit_hash", None),
            "model_type": self.network.config.model_type,
            "n_parameters": self.n_parameters,
            "max_length": self.card.max_length,
            "pooling": pooled_by(self.network),
            "backend": self.card.backend,
            "precision": self.card.precision,
            "device": str(self.backend.device),
            "threads": torch.get_num_threads(),
            "weights_sha256": self.sha256,
            **(decides if card.thresholds or card.task != "multi-class" else {}),
            **({"judged_with": self.judged_with} if self.judged_with else {}),
        }

    def parts(self) -> list[tuple[str, int]]:
        """Return the network's layers in order, each with its number of parameters."""
        found: dict[str, int] = {}
        for name, parameter in self.network.named_parameters():
            layer = _LAYER.match(name)
            key = layer.group(0) if layer else name.rsplit(".", 1)[0].removesuffix(".dense")
            found[key] = found.get(key, 0) + parameter.numel()
        return list(found.items())

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

    def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None, first_row: int = 0) -> Scores:
        """Return what the model says about the texts, all encoded at once.

        A text's logits are the same to the last bit whatever its neighbours and their order, on one machine with one
        number of threads.

        Raises
        ------
        DataError
            If something is not a text, or is an empty one; the message counts rows from `first_row`.
        """
        for i, text in enumerate(texts, first_row):
            if not isinstance(text, str):
                raise DataError(f"Text {i + 1} is {text!r}, of type {type(text).__name__}.", "Give strings.")
            if not text.strip():
                raise DataError(f"Text {i + 1} is empty.", "Leave it out; secondcoder label does so and says why.")
        return self.score_encoded(self.encoder.encode(texts), progress=progress)

    def score_encoded(self, encoded: Encoded, *, progress: ProgressTask | None = None) -> Scores:
        """Return what the model says about texts that have been encoded."""
        windows = encoded.windows
        firsts = np.zeros(len(encoded.lengths), np.bool_)  # progress counts a text with its first window
        firsts[windows.starts[:-1]] = True
        logits = np.empty((len(encoded.lengths), len(self.label_names)), np.float32)
        plan = fixed_shapes(
            encoded.lengths,
            token_budget=self.backend.token_budget,
            max_length=self.encoder.max_length,
            rest_budget=self.backend.rest_budget,
        )

        def compute(batch: Batch) -> NDArray[np.float32]:
            return self.backend.logits(self.encoder.batch(encoded, batch.rows, batch.shape))[: len(batch.rows)]

        # Closed whatever happens: an error holds this frame, and the frame would hold threads that wait for batches.
        with contextlib.closing(compute_batches(self.backend, compute, plan)) as computed:
            for batch, found in zip(plan, computed, strict=True):
                logits[batch.rows] = found
                if progress is not None:
                    progress.advance(int(firsts[batch.rows].sum()))
        logits = windows.pool(logits, self.card.window_pooling or "mean")
        return Scores(logits, encoded.truncated, encoded.full_lengths, self.card.task)

    def save(self, folder: Path) -> None:
        """Write the model folder, whole or not at all; plain ``transformers.pipeline`` loads it too."""
        with atomic_path(Path(folder)) as temporary, quiet_transformers(), storage_errors(Path(folder)):
            with saved_form(self.network):
                self.network.save_pretrained(temporary, max_shard_size="1000GB")
            copy_mode(temporary / WEIGHTS_FILE, like=temporary / "config.json")
            self.encoder.tokenizer.save_pretrained(temporary)
            hashes = {"weights_sha256": sha256_file(temporary / WEIGHTS_FILE)}
            if isinstance(self.backend, OpenVINOBackend):
                (temporary / CONVERTED).mkdir()
                self.backend.save(temporary / CONVERTED)
                hashes["converted_sha256"] = sha256_strings(
                    [sha256_file(temporary / CONVERTED / name) for name in CONVERTED_FILES]
                )
            self.sha256 = model_sha256(**hashes)
            write_json(temporary / CARD_FILE, {"format": CARD_FORMAT, **asdict(self.card), **hashes})


def model_sha256(weights_sha256: str, converted_sha256: str = "") -> str:
    """Return the hash that a model is known by: of what computes its scores."""
    return converted_sha256 or weights_sha256


def copy_mode(path: Path, *, like: Path) -> None:
    """Let those read a file who may read its neighbour: what safetensors writes is its owner's only."""
    with contextlib.suppress(OSError):  # some file systems have no modes
        shutil.copymode(like, path)
