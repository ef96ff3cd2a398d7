"""What a training makes small.

In: logits and targets of some texts. Out: their losses, summed. A step divides by the number of its texts, so that each
weighs the same however the step is cut into passes and processes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
from torch.nn import functional

from secondcoder.corpus.corpus import Task


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


def loss_for(task: Task, weights: Mapping[str, float] | None = None) -> Loss:
    """Return the loss that a task is trained by, with the weight of each class, in the order of the label names."""
    loss = binary_cross_entropy if task == "multi-label" else cross_entropy
    return loss if weights is None else partial(loss, weights=tuple(weights.values()))
