"""What a training makes small.

In: logits and targets of some texts. Out: their losses, summed. A step divides by the number of its texts, so that each
weighs the same however the step is cut into passes and processes.
"""

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


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy, summed: of classes, or of the shares of coders that gave each class."""
    return functional.cross_entropy(logits, targets, reduction="sum")


def binary_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of each class by itself: their mean, summed over texts."""
    k = logits.shape[1]
    return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="sum") / k


def loss_for(task: Task) -> Loss:
    """Return the loss that a task is trained by."""
    return binary_cross_entropy if task == "multi-label" else cross_entropy
