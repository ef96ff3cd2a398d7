"""The transformer as a classifier: weights, tokenizer, label names, and where it comes from.

In: texts. Out: logits, probabilities, labels. A model is saved as an ordinary transformers folder with one more file,
``secondcoder.json``, and is whole or refused when it is loaded.
"""

import contextlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.backends import Backend, TorchBackend
from secondcoder.model.batches import Batch, fixed_shapes
from secondcoder.model.classifier import CARD_FILE, CARD_FORMAT, Classifier, ModelCard, Scores, check_texts
from secondcoder.model.concurrency import compute_batches
from secondcoder.model.openvino_backend import FILE_NAME, WEIGHTS_NAME, OpenVINOBackend
from secondcoder.model.pooling import pooled_by, saved_form
from secondcoder.model.pretrained import quiet_transformers
from secondcoder.model.tokenisation import Encoded, TextEncoder, describe_lengths
from secondcoder.progress import Progress, ProgressTask
from secondcoder.settings import BackendName, Device
from secondcoder.storage import atomic_path, sha256_file, sha256_strings, storage_errors, write_json

if TYPE_CHECKING:
    from secondcoder.model.attribution import Explained
    from secondcoder.model.backend_choice import Choice, DevReference

WEIGHTS_FILE = "model.safetensors"
CONVERTED = "openvino"
"""Folder in the model folder with what OpenVINO computes, where it does."""
CONVERTED_FILES = (FILE_NAME, WEIGHTS_NAME)
# The start of a weight's name up to its layer's number: "bert.encoder.layer.0", "model.layers.11".
_LAYER = re.compile(r".*?\.\d+(?=\.)")


class Model(Classifier):
    """A text classifier by a transformer.

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

    @property
    def device(self) -> Device:
        """Where to load it so that it computes as it does here."""
        return cast(Device, "auto" if self.card.backend == "openvino" else self.backend.device.type)

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
            **self.card.decides,
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

    def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None, first_row: int = 0) -> Scores:
        """Return what the model says about the texts, all encoded at once; see `Classifier.score`."""
        check_texts(texts, first_row)
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

    def details(self) -> dict[str, Any]:
        """Return what `summary` leaves out and people may want to know."""
        config = self.network.config
        return {
            "layers": getattr(config, "num_hidden_layers", None),
            "hidden_size": getattr(config, "hidden_size", None),
            "long_texts": self.card.long_texts,
            "window_pooling": self.card.window_pooling,
        }

    def describe_lengths(self, n_tokens: NDArray[np.int64]) -> dict[str, Any] | None:
        """Return how long texts are, in tokens, and what becomes of long ones."""
        return describe_lengths(n_tokens, self.encoder)

    def best_temperature(self, gold: NDArray[Any], scores: Scores) -> float:
        """Return the temperature that fits best what it says about texts with gold labels."""
        return task_rules(self.card.task).temperature(gold, scores.logits)

    def temper(self, temperature: float) -> None:
        """Fold a temperature into the head; see `secondcoder.model.temperature.fold_temperature`."""
        from secondcoder.model.temperature import fold_temperature

        fold_temperature(self, temperature)
        self.card = replace(self.card, temperature=temperature)

    def choose_backend(self, asked: BackendName, judges: "DevReference", progress: Progress) -> "Choice":
        """Take the backend that labels; see `secondcoder.model.backend_choice.choose_backend`."""
        from secondcoder.model.backend_choice import choose_backend

        return choose_backend(self, asked, judges, progress)

    def explain(self, texts: Sequence[str], labels: Sequence[str]) -> "Explained":
        """Return the words that push to labels; see `secondcoder.model.attribution.explain_some`."""
        from secondcoder.model.attribution import explain_some

        return explain_some(self, texts, labels)

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
