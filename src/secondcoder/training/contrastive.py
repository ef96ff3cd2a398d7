"""Learning from few labels by comparing texts: those of one class are drawn together, those of two pushed apart.

In: rows of a step, with their classes. Out: moved weights, of all of the network but the last layer of its head. What
is compared is what that layer reads, so that a logistic regression on it is an ordinary head afterwards.

References
----------
Tunstall et al. 2022, Efficient few-shot learning without prompts, arXiv:2209.11055 (SetFit).
"""

import numpy as np
import torch
from torch.nn.functional import normalize

from secondcoder.model.batches import Pass
from secondcoder.training.heads import reading
from secondcoder.training.steps import Stepper


class ContrastiveStepper(Stepper):
    """Takes optimizer steps that make texts of one class alike, and those of two classes unlike."""

    def _compute(self, passes: list[Pass], n: int) -> tuple[torch.Tensor, int]:
        """Add up the gradients of a step's loss, which is of pairs; return it.

        The pairs go across the passes that a step is cut into. So each of several passes is computed twice: what it
        kept for its gradients is thrown away, and made again, with the same dropout, when it is its turn.
        """
        several = sum(len(one.batches) for one in passes) > 1
        with reading(self.network):
            read = [self._read(one, twice=several) for one in passes]
            texts = np.concatenate([one.texts for one in passes])
            loss = pair_loss(torch.cat(read), self.targets[texts].to(self.device))
            if loss.requires_grad:
                loss.backward()
        return loss.detach(), sum(one.padded_tokens for one in passes)


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
