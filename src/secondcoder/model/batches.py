"""Which texts are computed together, and in what shape.

In: lengths in tokens. Out: plans, which are lists of row numbers with the shape that they are padded to. Prediction
uses fixed shapes, training steps of a fixed number of texts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondcoder.model.windows import Windows

# Training steps are cut from windows of so many steps' texts, sorted by length: long enough that neighbours are of
# like length, short enough that the company a text keeps changes from epoch to epoch.
_WINDOW_STEPS = 64


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows computed together, padded to `shape` (rows, tokens); fewer rows than ``shape[0]`` are filled up."""

    rows: NDArray[np.int64]
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Pass:
    """Texts whose loss is computed together.

    Attributes
    ----------
    texts : ndarray of shape (b,)
        In the order of their windows.
    batches
        Their windows: in one batch, or, of a single text that is more than the budget, in several.
    """

    texts: NDArray[np.int64]
    batches: tuple[Batch, ...]

    @property
    def padded_tokens(self) -> int:
        """Tokens that are computed for them, padding included."""
        return sum(batch.shape[0] * batch.shape[1] for batch in self.batches)


def bucket_lengths(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each length rounded up to one of a fixed set: steps of 2 to 32, 4 to 64, 8 to 256, 16 to 512, then 64."""
    step = np.select([lengths <= 32, lengths <= 64, lengths <= 256, lengths <= 512], [2, 4, 8, 16], 64)
    rounded: NDArray[np.int64] = -(-lengths // step) * step
    return rounded


def fixed_shapes(
    lengths: NDArray[np.int64], *, token_budget: int, max_length: int, rest_budget: int | None = None
) -> list[Batch]:
    """Return batches that cover every row once, each of a shape that depends on its length bucket alone.

    With the same shape for the same length, a text's logits are bit-identical whatever its neighbours; with varying
    shapes the kernels add in another order. Longest first, so that what does not fit in memory fails at once.

    Parameters
    ----------
    lengths : ndarray of shape (n,)
        In tokens.
    token_budget
        Padded tokens of one batch.
    max_length
        Longest length in tokens.
    rest_budget
        Padded tokens of the lowest batch, for a backend that gives the same bits whatever the height; what does not
        fill a whole batch is then computed in lower ones, each half as high. None: one shape for each bucket.
    """
    buckets = np.minimum(bucket_lengths(lengths), max_length)
    batches = []
    for bucket in np.unique(buckets)[::-1]:
        rows = np.flatnonzero(buckets == bucket)
        height = least = max(1, token_budget // int(bucket))
        if rest_budget is not None:
            least = rest_height(int(bucket), rest_budget)
        heights = [least << i for i in range((max(1, height // least)).bit_length())][::-1]
        start = 0
        while start < len(rows):
            taken = next((height for height in heights if height <= len(rows) - start), least)
            batches.append(Batch(rows[start : start + taken], (taken, int(bucket))))
            start += taken
    return batches


def rest_height(length: int, rest_budget: int) -> int:
    """Return how many rows a batch has for what does not fill a whole one, at this length in tokens."""
    return max(1, rest_budget // length)


def training_steps(
    lengths: NDArray[np.int64], *, batch_size: int, generator: np.random.Generator, mixed: bool = False
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each optimizer step of one epoch: every row once, `batch_size` at a time, of like length.

    Of few texts, those would be the same steps in every epoch. Mixed steps have texts of all lengths, and like sizes.
    """
    order = generator.permutation(len(lengths))
    if mixed:
        yield from np.array_split(order, -(-len(order) // batch_size))
        return
    window = _WINDOW_STEPS * batch_size
    steps = []
    for start in range(0, len(order), window):
        rows = order[start : start + window]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        steps += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    for i in generator.permutation(len(steps)):
        yield steps[i]


def cut_step(
    texts: NDArray[np.int64], windows: Windows, lengths: NDArray[np.int64], *, token_budget: int
) -> list[Pass]:
    """Return one optimizer step's texts, longest windows first, in batches of at most `token_budget` padded tokens.

    A single window longer than the budget is a batch of its own.

    Parameters
    ----------
    texts
        Of the step.
    windows
        Of all texts.
    lengths : ndarray of shape (windows,)
        Of all windows in tokens.
    token_budget
        Padded tokens of one batch.
    """
    longest, counts = windows.largest(lengths)[texts], windows.counts[texts]
    order = np.argsort(-longest, kind="stable")
    passes = []
    start = 0
    while start < len(order):
        length = int(longest[order[start]])
        height = max(1, token_budget // length)
        n = int(np.searchsorted(np.cumsum(counts[order[start:]]), height, side="right"))  # texts that fit together
        together = texts[order[start : start + max(1, n)]]
        rows = windows.rows(together)
        cuts = [rows[i : i + height] for i in range(0, len(rows), height)]
        passes.append(Pass(together, tuple(Batch(cut, (len(cut), int(lengths[cut].max()))) for cut in cuts)))
        start += len(together)
    return passes
