"""What a model says about texts: logits, and the probabilities that they stand for.

In: logits. Out: `Scores`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax


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
    multi_label
        Whether a text may have several classes, each with a probability of its own.
    """

    logits: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    n_tokens: NDArray[np.int64]
    multi_label: bool = False

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits, shape (n, k); the logistic function of each where a text may have several classes."""
        return probabilities_of(self.logits, multi_label=self.multi_label)


def probabilities_of(logits: NDArray[np.floating[Any]], *, multi_label: bool) -> NDArray[np.float64]:
    """Return the probabilities that logits of shape (n, k) stand for: of one class a text, or of each class alone."""
    exact = logits.astype(np.float64)
    found: NDArray[np.float64] = expit(exact) if multi_label else softmax(exact, axis=1)
    return found
