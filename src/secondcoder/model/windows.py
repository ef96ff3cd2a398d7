"""Long texts in windows: where a text is cut, which windows are whose, and what those of a text say together.

In: lengths in tokens, logits of windows. Out: stretches of tokens, `Windows`, logits of texts.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from secondcoder.settings import WindowPooling


def cut(n: int, *, room: int, overlap: int) -> list[tuple[int, int]]:
    """Return from where to where each window of a text goes: as few as will do, as long as each other.

    All of a text's windows weigh the same when they are pooled. Cut to the full length one after the other, the last
    would be a rest of any length, mostly read before.

    Parameters
    ----------
    n
        Tokens of the text, special tokens not counted.
    room
        Most tokens of a window.
    overlap
        Least tokens that a window shares with the next one; fewer than `room`.
    """
    count = max(1, -(-(n - overlap) // (room - overlap)))
    length = -(-(n + (count - 1) * overlap) // count)
    last = n - length
    starts = [i * last // max(1, count - 1) for i in range(count)]
    return [(start, start + length) for start in starts]


@dataclass(frozen=True, eq=False)
class Windows:
    """Which of many windows belong to which text.

    Attributes
    ----------
    starts : ndarray of shape (n + 1,)
        The windows of text i are ``starts[i]`` up to ``starts[i + 1]``; each text has one at least.
    """

    starts: NDArray[np.int64]

    @classmethod
    def one_each(cls, n: int) -> "Windows":
        """Return the windows of n texts that have one each."""
        return cls(np.arange(n + 1))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of windows of each text, shape (n,)."""
        return np.diff(self.starts)

    @property
    def single(self) -> bool:
        """Whether each text is one window."""
        return len(self) == int(self.starts[-1])

    def rows(self, texts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the windows of these texts, one text after the other."""
        if self.single:
            return texts
        found = [np.arange(self.starts[text], self.starts[text + 1]) for text in texts]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def total(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum over each text's windows, shape (n,), of a number for each window."""
        if self.single:
            return values
        summed: NDArray[np.int64] = np.add.reduceat(values, self.starts[:-1])
        return summed

    def largest(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the largest over each text's windows, shape (n,), of a number for each window."""
        if self.single:
            return values
        found: NDArray[np.int64] = np.maximum.reduceat(values, self.starts[:-1])
        return found

    def pool(self, logits: NDArray[np.float32], how: WindowPooling) -> NDArray[np.float32]:
        """Return the logits of each text, shape (n, k), from those of the windows, shape (windows, k).

        They depend on the text's own windows alone, to the last bit.
        """
        if self.single:
            return logits
        if how == "max":
            found: NDArray[np.float32] = np.maximum.reduceat(logits, self.starts[:-1], axis=0)
            return found
        summed = np.add.reduceat(logits.astype(np.float64), self.starts[:-1], axis=0)
        return (summed / self.counts[:, None]).astype(np.float32)

    def shares(self, logits: NDArray[np.float32], how: WindowPooling) -> NDArray[np.float64]:
        """Return how much each window's logits count in those of its text, shape (windows, k).

        With the mean, all of a text's the same; with the maximum, the first largest of each class counts alone.
        """
        if how == "mean":
            return np.repeat(1 / self.counts, self.counts)[:, None].repeat(logits.shape[1], axis=1)
        found = np.zeros(logits.shape)
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            found[start + logits[start:end].argmax(axis=0), np.arange(logits.shape[1])] = 1
        return found


def pool_tensor(logits: torch.Tensor, counts: NDArray[np.int64], how: WindowPooling) -> torch.Tensor:
    """Return the logits of texts, shape (n, k), from those of their windows in order, shape (windows, k)."""
    if len(counts) == len(logits):
        return logits
    own = logits.split(counts.tolist())
    return torch.stack([part.mean(dim=0) if how == "mean" else part.amax(dim=0) for part in own])
