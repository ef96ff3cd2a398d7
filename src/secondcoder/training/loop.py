"""The one training loop.

In: a model with an untrained head, the train and dev parts, settings. Out: the model with the weights of its best epoch
on dev, and the history of how it came there. The test part never comes here.
"""

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import ModelError
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.metrics import is_better, resolve_metric
from secondcoder.model.backends import TRAINING_TOKENS, computing
from secondcoder.model.batches import Batch, cut_step, training_steps
from secondcoder.model.encoding import Encoded
from secondcoder.model.model import Model, Scores
from secondcoder.model.pretrained import rate_for, seeded
from secondcoder.progress import Progress, Task
from secondcoder.settings import TrainSettings
from secondcoder.training.checkpoints import forget_epoch, restore_epoch, save_epoch

logger = logging.getLogger(__name__)


@dataclass
class Fit:
    """How a training went.

    Attributes
    ----------
    metric
        The figure on dev that chose the best epoch.
    learning_rate
        The peak rate that was used.
    best_epoch
        The epoch whose weights the model holds, counted from 1; None if no epoch was finished.
    best_scores
        What the model of that epoch says about dev.
    history
        One entry per evaluation on dev.
    interrupted
        Whether the user stopped it before its end.
    n_tokens : ndarray of shape (n,)
        Lengths of the train and dev texts in tokens, before truncation.
    """

    metric: str
    learning_rate: float
    best_epoch: int | None = None
    best_scores: Scores | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False
    n_tokens: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def summary(self) -> dict[str, Any]:
        """Return what the run folder says about it, as plain JSON values."""
        return {
            "metric": self.metric,
            "learning_rate": self.learning_rate,
            "best_epoch": self.best_epoch,
            "epochs_finished": len(self.history),
        }


def fit(
    model: Model,
    train: Corpus,
    dev: Corpus,
    *,
    settings: TrainSettings,
    seed: int,
    checkpoints: Path,
    progress: Progress | None = None,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> Fit:
    """Fine-tune the model in place and return how it went; the model ends with the weights of its best epoch.

    Parameters
    ----------
    model
        With an untrained head.
    train, dev
        What it learns from, and what chooses the best epoch. Every row has a text and a label.
    settings
        Hyper-parameters.
    seed
        Of the data order and of dropout.
    checkpoints
        Folder for weights while training goes on.
    progress
        Where to show how far it has come.
    on_evaluation
        Called with each entry of the history as soon as it is there.

    Raises
    ------
    ModelError
        If the loss is no longer a finite number.
    """
    progress = progress or Progress()
    result = Fit(
        metric=resolve_metric(settings.metric, positive=model.card.positive, label_names=model.label_names),
        learning_rate=rate_for(model.network.config) if settings.learning_rate == "auto" else settings.learning_rate,
    )
    # Placement is ours (see TorchBackend) and so is autocast: training, evaluation and labelling compute alike.
    accelerator = Accelerator(cpu=model.backend.device.type == "cpu", device_placement=False, mixed_precision="no")
    if accelerator.num_processes > 1:
        raise ModelError("Training was launched in several processes.", "Launch one; several are not supported yet.")
    encoded, dev_encoded = model.encoder.encode(train.texts), model.encoder.encode(dev.texts)
    result.n_tokens = np.concatenate([encoded.full_lengths, dev_encoded.full_lengths])
    targets = class_indices(train, model.label_names)
    stepper = _Stepper(accelerator, model, encoded, targets, settings, result.learning_rate)
    best: float | None = None
    try:
        with seeded(seed), _deterministic(settings.deterministic):
            for epoch in range(1, settings.epochs + 1):
                with progress.task(f"epoch {epoch}/{settings.epochs}", len(train)) as task:
                    entry = stepper.run_epoch(epoch, np.random.default_rng([seed, epoch]), task)
                with progress.task("dev", len(dev)) as task:
                    scores = model.score_encoded(dev_encoded, progress=task)
                entry |= dev_figures(dev, scores, result.metric)
                if is_better(result.metric, entry[result.metric], best):
                    save_epoch(model.network, checkpoints, epoch)
                    # One statement: an interrupt falls before it or behind it, and either way the two belong together.
                    outdone, (result.best_epoch, result.best_scores) = result.best_epoch, (epoch, scores)
                    best = entry[result.metric]
                    if outdone is not None:
                        forget_epoch(checkpoints, outdone)
                result.history.append(entry)
                progress.say(_sentence(entry, settings.epochs, result.metric))
                on_evaluation(entry)
    except KeyboardInterrupt:
        logger.info("Training was interrupted in epoch %d.", len(result.history) + 1)
        result.interrupted = True
    if result.best_epoch is not None:
        restore_epoch(model.network, checkpoints, result.best_epoch)
    return result


def class_indices(corpus: Corpus, label_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the position of each row's label among the label names, shape (n,)."""
    position = {name: i for i, name in enumerate(label_names)}
    return np.array([position[label] for label in corpus.labels if label is not None], dtype=np.int64)


def dev_figures(dev: Corpus, scores: Scores, metric: str) -> dict[str, float]:
    """Return the figures that go into the history: the choosing one and the usual ones."""
    labels = [label for label in dev.labels if label is not None]
    evaluation = evaluate(labels, scores.probabilities, dev.label_names, positive=dev.positive)
    return {name: evaluation.figure(name) for name in dict.fromkeys((metric, "accuracy", "macro-f1", "log-loss"))}


class _Stepper:
    """Optimizer, schedule and the epochs' steps."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: Model,
        encoded: Encoded,
        targets: NDArray[np.int64],
        settings: TrainSettings,
        learning_rate: float,
    ) -> None:
        self.accelerator, self.model, self.encoded, self.settings = accelerator, model, encoded, settings
        self.network: PreTrainedModel = accelerator.prepare_model(model.network, device_placement=False)
        self.targets = torch.from_numpy(targets)
        self.peak_rate = learning_rate
        self.optimizer = make_optimizer(model.network, settings.weight_decay)
        self.n_steps = settings.epochs * math.ceil(len(encoded) / settings.batch_size)
        self.step = 0
        self.budget = settings.token_budget or TRAINING_TOKENS[model.backend.device.type]

    def run_epoch(self, epoch: int, generator: np.random.Generator, task: Task) -> dict[str, Any]:
        """Take every row once; return the epoch's history entry, without figures on dev."""
        started, loss_sum, padded_tokens = time.monotonic(), 0.0, 0
        self.network.train()
        n_seen = 0
        for rows in training_steps(self.encoded.lengths, batch_size=self.settings.batch_size, generator=generator):
            batches = cut_step(rows, self.encoded.lengths, token_budget=self.budget)
            rate = self.peak_rate * schedule(self.step, self.n_steps, self.settings.warmup)
            loss = self._take_step(rows, batches, rate)
            n_seen += len(rows)
            loss_sum += loss * len(rows)
            padded_tokens += sum(batch.shape[0] * batch.shape[1] for batch in batches)
            task.advance(len(rows), note=f"loss {loss_sum / n_seen:.3f}")
        seconds = time.monotonic() - started
        return {
            "epoch": epoch,
            "step": self.step,
            "train_loss": loss_sum / n_seen,
            "padding": 1 - int(self.encoded.lengths.sum()) / padded_tokens,
            "seconds": round(seconds, 2),
            "texts_per_second": round(n_seen / seconds, 2),
        }

    def _take_step(self, rows: NDArray[np.int64], batches: list[Batch], rate: float) -> float:
        """One optimizer step; returns the mean loss of its texts."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = torch.zeros((), device=self.model.backend.device)
        for batch in batches:
            tensors = self.model.encoder.batch(self.encoded, batch.rows, batch.shape)
            tensors = {name: tensor.to(self.model.backend.device) for name, tensor in tensors.items()}
            targets = self.targets[batch.rows].to(self.model.backend.device)
            with computing(self.model.backend.device, self.model.precision):
                logits = self.network(**tensors).logits  # (rows, k)
            # The step's mean, whatever the cut into micro-batches: each text weighs 1 / len(rows).
            loss = cross_entropy(logits.float(), targets, reduction="sum") / len(rows)
            self.accelerator.backward(loss)
            total += loss.detach()
        self.step += 1
        if not math.isfinite(mean := total.item()):
            raise ModelError(
                f"The loss became {mean} at step {self.step} of {self.n_steps}.",
                "Lower the learning rate, or compute in fp32.",
            )
        self.accelerator.clip_grad_norm_(self.network.parameters(), self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return mean


def make_optimizer(network: PreTrainedModel, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW with weight decay on matrices only: biases and norms, the one-dimensional weights, go free.

    References
    ----------
    Loshchilov & Hutter 2019, Decoupled weight decay regularization, arXiv:1711.05101.
    """
    weights = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, fused=weights[0].device.type in {"cpu", "cuda"})


def schedule(step: int, n_steps: int, warmup: float) -> float:
    """Return the share of the peak rate at a step, counted from 0: a linear rise, then a linear fall to zero."""
    rise = round(warmup * n_steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return (n_steps - step) / max(1, n_steps - rise)


def _sentence(entry: dict[str, Any], epochs: int, metric: str) -> str:
    return (
        f"epoch {entry['epoch']}/{epochs}: loss {entry['train_loss']:.3f}, dev {metric} {entry[metric]:.3f}, "
        f"{entry['seconds']:.0f} s, {entry['texts_per_second']:.1f} texts/s"
    )


@contextlib.contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Deterministic CUDA kernels inside the block; the old setting back behind it."""
    if wanted:  # cuBLAS reads it when it starts: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
