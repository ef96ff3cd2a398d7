"""What rows are given, whichever form thresholds come in.

In: probabilities; thresholds by class, or one for each row, where the rows were judged by several models. Out: classes,
thresholds as an array. The decision itself is `secondcoder.evaluation.deciding`'s.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import DataError
from secondcoder.evaluation.deciding import class_threshold, decide_class, threshold_array

Thresholds = Mapping[str, float] | NDArray[np.float64]
"""By class; or ndarray of shape (n, k), or for sets of labels also (k,)."""


def given_classes(
    probabilities: NDArray[np.float64], thresholds: Thresholds | None, names: tuple[str, ...], positive: str | None
) -> NDArray[np.int64]:
    """Return the class that each row is given where it has one, shape (n,).

    Raises
    ------
    DataError
        If there is a threshold, and no task of two classes one of which is positive.
    """
    threshold: Any
    if isinstance(thresholds, np.ndarray):  # of each row its own
        at = None if positive is None else names.index(positive)
        threshold = None if at is None else thresholds[:, at]
        if at is None or thresholds.shape != probabilities.shape:
            raise DataError(
                f"The thresholds have shape {thresholds.shape}, the probabilities {probabilities.shape}; positive is "
                f"{positive!r}.",
                "With one label a text, name a positive class, or give the thresholds by class.",
            )
    else:
        threshold, at = class_threshold(thresholds, names)
    if at is not None and len(names) != 2:
        raise DataError(
            f"There is a threshold of {names[at]!r}, and there are {len(names)} classes.",
            "With one label a text, only the positive class of a two-class task has one.",
        )
    return decide_class(probabilities, threshold, positive=at)


def set_thresholds_of(thresholds: Thresholds | None, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return thresholds of sets of labels as an array of shape (k,) or (n, k); 0.5 where none was named."""
    return thresholds if isinstance(thresholds, np.ndarray) else threshold_array(thresholds, names)
