"""JudgedRows: texts with gold labels and what a classifier says about them.

In: nothing. Out: what mistakes and doubtful labels are looked for in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import DataError
from secondcoder.evaluation.deciding import decide_class, decide_set

NO_CLASS = "none"
"""How a set without any class is shown to people."""


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """Rows with gold labels, and what a classifier says about them.

    Attributes
    ----------
    ids, texts
        n strings each.
    gold : ndarray of shape (n,)
        Positions of the gold labels among the label names. Where a text may have several, ndarray of shape (n, k),
        bool: which it has.
    probabilities : ndarray of shape (n, k)
        Columns in the order of `label_names`.
    label_names
        The k classes.
    groups
        The document, author or film that each text comes from; None if there are none.
    n_tokens : ndarray of shape (n,)
        Lengths in tokens before truncation; None if they are not known.
    given : ndarray of the shape of gold
        What each row was given; None: the most probable class, or those with a probability of 0.5 and more.

    Raises
    ------
    DataError
        If these do not have one entry for each row, or a gold label is not among the names.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    gold: NDArray[np.int64] | NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    label_names: tuple[str, ...]
    groups: Sequence[str] | None = None
    n_tokens: NDArray[np.int64] | None = None
    given: NDArray[np.int64] | NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.ids), len(self.label_names)
        for name in ("texts", "gold", "groups", "n_tokens", "given"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise DataError(f"There are {n} ids and {len(column)} {name}.", "Give one of each for every row.")
        if self.probabilities.shape != (n, k):
            raise DataError(
                f"The probabilities have shape {self.probabilities.shape}; expected ({n}, {k}).",
                f"Give one row for each text and one column for each of {list(self.label_names)}.",
            )
        if self.several and self.gold.shape != (n, k):
            raise DataError(f"Gold has shape {self.gold.shape}; expected ({n}, {k}).", "Say of each class, yes or no.")
        if n and not self.several and not 0 <= int(self.gold.min()) <= int(self.gold.max()) < k:
            raise DataError(
                f"Gold labels go from {self.gold.min()} to {self.gold.max()}; there are {k} label names.",
                "Give positions among the label names.",
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def several(self) -> bool:
        """Whether a text may have several classes, or none."""
        return self.gold.ndim == 2

    @property
    def predicted(self) -> NDArray[np.int64] | NDArray[np.bool_]:
        """What each row was given, of the shape of gold."""
        if self.given is not None:
            return self.given
        return decide_set(self.probabilities) if self.several else decide_class(self.probabilities)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which rows are given another class than their gold label, or not just their gold classes; shape (n,)."""
        found = np.asarray(self.predicted != self.gold, dtype=np.bool_)
        return np.asarray(found.any(axis=1)) if self.several else found

    def named(self, label: Any) -> str:
        """Return one row's label in words: of a position, its name; of yes and no by class, names with commas."""
        if not self.several:
            return str(self.label_names[label])
        return ", ".join(name for name, has in zip(self.label_names, label, strict=True) if has) or NO_CLASS
