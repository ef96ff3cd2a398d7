"""What two sets of labels differ in where the classes have an order: quadratic kappa and mean absolute error.

In: a `Comparison`, gold labels and what both gave, as positions from low to high. Out: the comparison with two more
figures.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from secondcoder.evaluation import metrics, paired
from secondcoder.evaluation.comparison import Comparison
from secondcoder.evaluation.difference import difference_of
from secondcoder.evaluation.paired import Floats

Counts = NDArray[np.int64]
_STEP = 1e-4  # of a text, in derivatives


def with_order(
    found: Comparison, gold: Counts, given: tuple[Counts, Counts], k: int, groups: Sequence[str] | None = None
) -> Comparison:
    """Return the comparison with the differences in kappa and in mean absolute error behind the others.

    Standard errors as elsewhere: the delta method, with groups the jackknife and never less. A figure that is undefined
    is left out.

    Parameters
    ----------
    gold
        ndarray of shape (n,), positions from low to high.
    given
        The same of the labels that the first and the second gave.
    k
        Number of classes.
    groups
        The group of each text, as in `secondcoder.evaluation.comparison.compare`.
    """
    n = len(gold)
    cells = np.concatenate([np.eye(k * k)[gold * k + own] for own in given], axis=1)  # (n, 2 k k)
    off = np.column_stack([np.ones(n), *(np.abs(gold - own) for own in given)])
    kinds, counts = np.unique(cells, axis=0, return_counts=True)
    errors = [
        paired.jackknife(_difference, kinds, counts.astype(np.float64), step=_STEP)[0],
        paired.loss_errors(off)[0],
    ]
    units, degrees, method = n, float(n - 1), "paired-t"
    if groups is not None:
        sums = paired.group_sums(np.column_stack([cells, off]), groups)
        units, degrees, method = len(sums), paired.group_degrees(sums[:, -3]), "paired-jackknife-t"
        over = paired.jackknife(_difference, sums[:, :-3], np.ones(units))[0], paired.loss_errors(sums[:, -3:])[0]
        errors = [max(own, float(np.nan_to_num(more))) for own, more in zip(errors, over, strict=True)]
    values = {"quadratic-kappa": _kappas(cells.sum(axis=0)), "mean-absolute-error": off[:, 1:].mean(axis=0)}
    more = tuple(
        difference_of(name, both, error=float(error), units=units, degrees=degrees, method=method)
        for (name, both), error in zip(values.items(), errors, strict=True)
        if np.isfinite(both).all() and np.isfinite(error)
    )
    return replace(found, differences=(*found.differences, *more))


def _kappas(sums: Floats) -> Floats:
    """Return kappa of first and second, shape (…, 2), from counts of pairs of both, shape (…, 2 k k)."""
    k = int(np.sqrt(sums.shape[-1] // 2))
    return metrics.quadratic_kappas(sums.reshape(*sums.shape[:-1], 2, k, k))


def _difference(sums: Floats) -> Floats:
    both = _kappas(sums)
    found: Floats = both[..., 1:] - both[..., :1]
    return found
