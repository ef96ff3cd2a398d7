"""Optimizer steps: rows in, weights moved.

In: a network, padded inputs, targets. Out: the mean loss of each step, and what of the state must be kept to go on. A
step is `batch_size` texts however it is cut: into passes that fit in memory, and over processes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from secondcoder.corpus.corpus import TaskName
from secondcoder.errors import ModelError
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.backends import ResolvedPrecision, attention_for, computing
from secondcoder.model.batches import Batch, Pass, cut_step
from secondcoder.model.windows import Windows, pool_tensor
from secondcoder.settings import TrainSettings
from secondcoder.training.distributed import Ranks


class Loss(Protocol):
    """Sums the losses of some texts."""

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum over texts.

        Parameters
        ----------
        logits
            Of shape (b, k).
        targets
            Classes as positions, shape (b,); or a number from 0 to 1 for each class, shape (b, k).
        """


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: Sequence[float] | None = None) -> torch.Tensor:
    """Return the cross-entropy, summed: of classes, or of the shares of coders that gave each class.

    With `weights`, one for each class, each text counts so many times; they are not divided by.
    """
    weight = None if weights is None else logits.new_tensor(weights)
    return functional.cross_entropy(logits, targets, weight=weight, reduction="sum")


def binary_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: Sequence[float] | None = None
) -> torch.Tensor:
    """Return the binary cross-entropy of each class by itself: their mean, summed over texts.

    With `weights`, one for each class, texts that have the class count so many times for it.
    """
    k = logits.shape[1]
    weight = None if weights is None else logits.new_tensor(weights)
    found = functional.binary_cross_entropy_with_logits(
        logits, targets.to(logits.dtype), pos_weight=weight, reduction="sum"
    )
    return found / k


_LOSSES = {"cross-entropy": cross_entropy, "binary-cross-entropy": binary_cross_entropy}


def loss_for(task: TaskName, weights: Mapping[str, float] | None = None) -> Loss:
    """Return the loss that a task is trained by, with the weight of each class, in the order of the label names."""
    loss = _LOSSES[task_rules(task).loss]
    return loss if weights is None else partial(loss, weights=tuple(weights.values()))


Parameters = dict[str, torch.nn.Parameter]
# How memory runs out besides by `torch.OutOfMemoryError`: on MPS, in CUDA's own libraries, on a CPU that says so.
_OUT_OF_MEMORY = ("MPS backend out of memory", "CUDA error: out of memory", "ALLOC_FAILED", "DefaultCPUAllocator")


class Inputs(Protocol):
    """What the network reads: token ids, or what the frozen part made of them; in rows, which are windows of texts."""

    lengths: NDArray[np.int64]
    windows: Windows

    def batch(self, rows: NDArray[np.int64], shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Return the rows padded to `shape` (rows, tokens), as the network's keyword arguments."""


class Stepper:
    """Takes optimizer steps.

    Parameters
    ----------
    network
        The classifier, on its device.
    parameters
        Those of its weights that are trained, by the name that they have in the whole network.
    inputs
        The train part.
    targets : ndarray of shape (n,) or (n, k)
        Classes, as positions among the label names; or a number from 0 to 1 for each class.
    settings
        Batch size, weight decay, clipping.
    precision
        Arithmetic of the forward and backward pass.
    token_budget
        Most padded tokens in one pass; halved where memory runs out.
    ranks
        The processes that share each step.
    say
        Where to tell the user something.
    loss
        What is made small.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        parameters: Parameters,
        inputs: Inputs,
        targets: NDArray[Any],
        *,
        settings: TrainSettings,
        precision: ResolvedPrecision,
        token_budget: int,
        ranks: Ranks,
        say: Callable[[str], None],
        loss: Loss = cross_entropy,
    ) -> None:
        self.loss, self.pooling = loss, settings.window_pooling or "mean"
        self._text_lengths = inputs.windows.total(inputs.lengths)  # (n,)
        self.network, self.parameters, self.inputs, self.ranks = network, parameters, inputs, ranks
        self.targets = torch.from_numpy(targets)
        self.device, self.precision, self.token_budget = network.device, precision, token_budget
        self.max_grad_norm = settings.max_grad_norm
        self.optimizer = make_optimizer(parameters.values(), settings.weight_decay)
        self._say, self._said_memory = say, False

    def take(self, texts: NDArray[np.int64], rate: float, *, name: str) -> tuple[float, int]:
        """Move the weights by the gradient of these texts' mean loss; return it, and the padded tokens computed here.

        The step's `name` is for errors.

        Raises
        ------
        ModelError
            If the loss is not a finite number, or memory does not suffice for a single text.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total, padded_tokens = self._gradients(texts)
        self.ranks.add_up([total])
        if not math.isfinite(mean := total.item()):
            raise ModelError(
                f"The loss became {mean} at {name}.",
                "Lower --learning-rate, or compute with --precision fp32; if it happens at once, look for damaged "
                "weights in the pre-trained model.",
            )
        self.ranks.add_up(self._all_gradients() if self.ranks.count > 1 else ())
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return mean, padded_tokens

    def _gradients(self, texts: NDArray[np.int64]) -> tuple[torch.Tensor, int]:
        """Add up the gradients of this process's share of the texts; out of memory, halve the budget and repeat."""
        mine = self.ranks.share(texts, self._text_lengths)
        while True:
            passes = cut_step(mine, self.inputs.windows, self.inputs.lengths, token_budget=self.token_budget)
            try:
                return self._compute(passes, len(texts))
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                # What the pass computed hangs on the traceback; it must go before memory can be had again.
                reason = error.with_traceback(None)
            self._shrink(passes, reason)

    def _compute(self, passes: list[Pass], n: int) -> tuple[torch.Tensor, int]:
        """Add up the gradients of some passes of a step of n texts; return their share of its mean loss."""
        total = torch.zeros((), dtype=torch.float64 if self.network.dtype == torch.float64 else torch.float32)
        total, padded_tokens = total.to(self.device), 0
        for one in passes:
            targets = self.targets[one.texts].to(self.device)
            logits = self._read(one, twice=len(one.batches) > 1)
            # The step's mean, whatever the cut into passes and processes: each text weighs 1 / n.
            loss = self.loss(logits, targets) / n
            loss.backward()
            total += loss.detach()
            padded_tokens += one.padded_tokens
        return total, padded_tokens

    def _read(self, one: Pass, *, twice: bool) -> torch.Tensor:
        """Return what the network says about the texts of a pass, their windows pooled, shape (b, k).

        Parameters
        ----------
        one
            The texts.
        twice
            Keep nothing for the gradients, and compute each batch again, with the same dropout, when its turn comes:
            memory then holds one batch at a time.
        """
        said = [
            # The generator of the device that a tensor is on is kept, for the same dropout.
            checkpoint(self._logits, batch, torch.empty(0, device=self.device), use_reentrant=False)
            if twice
            else self._logits(batch)
            for batch in one.batches
        ]
        counts = self.inputs.windows.counts[one.texts]
        return pool_tensor(said[0] if len(said) == 1 else torch.cat(said), counts, self.pooling)

    def _logits(self, batch: Batch, *_: torch.Tensor) -> torch.Tensor:
        """Return the logits of the rows of a batch, shape (rows, k)."""
        tensors = self.inputs.batch(batch.rows, batch.shape)
        tensors = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        with computing(self.device, self.precision), attention_for(self.network, self.precision, batch.shape[1]):
            logits: torch.Tensor = self.network(**tensors).logits
        return logits if logits.dtype == torch.float64 else logits.float()

    def _all_gradients(self) -> list[torch.Tensor]:
        """Every gradient; zeros where this process had no rows."""
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]

    def _shrink(self, passes: list[Pass], error: Exception) -> None:
        """Halve the budget, counted from the largest of the passes that memory did not suffice for."""
        self.optimizer.zero_grad(set_to_none=True)
        shapes = [batch.shape for one in passes for batch in one.batches]
        longest, largest = shapes[0][1], max(math.prod(shape) for shape in shapes)
        if largest <= longest:
            raise ModelError(
                f"Memory does not suffice for a single text of {longest} tokens on {self.device}.",
                "Set a smaller --max-length, train fewer layers (--freeze), or choose a smaller model or --device cpu.",
            ) from error
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()
        self.token_budget = max(longest, min(self.token_budget, largest) // 2)
        if not self._said_memory:
            self._say(
                f"Out of memory on {self.device}: steps are cut into passes of at most {self.token_budget} tokens from "
                "here on (halved again if need be). The texts of a step stay the same."
            )
            self._said_memory = True

    def state(self) -> dict[str, torch.Tensor]:
        """Return the optimizer's state, by parameter and quantity."""
        return {
            f"optimizer.{name}.{quantity}": value
            for name, parameter in self.parameters.items()
            for quantity, value in self.optimizer.state[parameter].items()
        }

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what `state` returned."""
        for name, parameter in self.parameters.items():
            prefix = f"optimizer.{name}."
            # AdamW counts its steps on the CPU unless it is fused on a card.
            self.optimizer.state[parameter] = {
                key.removeprefix(prefix): value.clone()
                if value.ndim == 0 and self.device.type == "cpu"
                else value.to(self.device, copy=True)
                for key, value in tensors.items()
                if key.startswith(prefix)
            }


def make_optimizer(parameters: Iterable[torch.nn.Parameter], weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW with weight decay on matrices only: biases and norms, the one-dimensional weights, go free.

    References
    ----------
    Loshchilov & Hutter 2019, Decoupled weight decay regularization, arXiv:1711.05101.
    """
    weights = list(parameters)
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


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)
