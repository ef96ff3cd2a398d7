"""Learning from few labels by comparing texts: those of one class are drawn together, those of two pushed apart.

In: rows of a step, with their classes. Out: moved weights, of all of the network but the last layer of its head. What
is compared is what that layer reads, so that a logistic regression on it is an ordinary head afterwards.

References
----------
Tunstall et al. 2022, Efficient few-shot learning without prompts, arXiv:2209.11055 (SetFit).
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from secondcoder.model.backends import attention_for, computing
from secondcoder.model.batches import Batch
from secondcoder.training.heads import reading
from secondcoder.training.steps import Stepper


class ContrastiveStepper(Stepper):
    """Takes optimizer steps that make texts of one class alike, and those of two classes unlike."""

    def _compute(self, passes: list[Batch], n: int) -> tuple[torch.Tensor, int]:
        """Add up the gradients of a step's loss, which is of pairs; return it.

        The pairs go across the passes that a step is cut into. So each pass is computed twice: what it kept for its
        gradients is thrown away, and made again, with the same dropout, when it is its turn.
        """
        with reading(self.network):
            read = [checkpoint(self._read, batch, use_reentrant=False) for batch in passes]
            rows = np.concatenate([batch.rows for batch in passes])
            loss = pair_loss(torch.cat(read), self.targets[rows].to(self.device))
            if loss.requires_grad:
                loss.backward()
        return loss.detach(), sum(batch.shape[0] * batch.shape[1] for batch in passes)

    def _read(self, batch: Batch) -> torch.Tensor:
        """Return what the last layer reads of the rows, shape (rows, features)."""
        tensors = self.inputs.batch(batch.rows, batch.shape)
        tensors = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        with computing(self.device, self.precision), attention_for(self.network, self.precision, batch.shape[1]):
            read: torch.Tensor = self.network(**tensors).logits
        return read if read.dtype == torch.float64 else read.float()


def pair_loss(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how far the cosines of all pairs are from 1 (one class) and 0 (two): the mean of their squares.

    Pairs of one class and pairs of two weigh half each, however many there are: of ten classes a tenth of the pairs are
    of one.

    Parameters
    ----------
    features
        Of shape (b, d).
    targets
        Classes, shape (b,).
    """
    unit = normalize(features, dim=1)
    cosines = unit @ unit.T  # (b, b)
    first, second = torch.triu_indices(len(targets), len(targets), offset=1, device=targets.device)
    found, same = cosines[first, second], targets[first] == targets[second]
    distances = (found - same.to(found.dtype)).square()
    kinds = [distances[kind] for kind in (same, ~same) if kind.any()]
    return torch.stack([kind.mean() for kind in kinds]).mean() if kinds else features.sum() * 0


def mixed_steps(n: int, *, batch_size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each step of an epoch: every row once, in steps of like size, at most `batch_size`, at random.

    Of few texts, steps of like length would be the same ones in every epoch, and most pairs would never meet.
    """
    yield from np.array_split(generator.permutation(n), -(-n // batch_size))
