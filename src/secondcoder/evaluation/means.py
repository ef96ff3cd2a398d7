"""The interval of a share of rows, whether these are independent or come in groups.

In: for each row whether it counts, and its group. Out: `Interval`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secondcoder.evaluation.interval import LEVEL, Interval
from secondcoder.evaluation.tallies import Tallies, figure_limits
from secondcoder.evaluation.uncertainty import wilson


def share_interval(
    hits: NDArray[np.bool_], groups: Sequence[str] | NDArray[np.str_] | None = None, *, level: float = LEVEL
) -> Interval | None:
    """Return Wilson's interval of a share, for rows in groups at the number of rows that they are worth.

    None without rows, or with a single group.

    Parameters
    ----------
    hits
        ndarray of shape (n,).
    groups
        The group of each row, or None where rows are independent.
    level
        Confidence.
    """
    if groups is None or not len(hits):
        return wilson(int(hits.sum()), len(hits), level)
    _, unit = np.unique(np.asarray(groups), return_inverse=True)
    of_unit: NDArray[np.float64] = np.bincount(unit).astype(np.float64)
    if len(of_unit) < 2:
        return None
    # An accuracy is the share of hits, in a task of one class.
    hits_of_unit: NDArray[np.float64] = np.bincount(unit, hits).astype(np.float64)
    tallies = Tallies(hits_of_unit[:, None], of_unit[:, None], of_unit[:, None], np.ones(len(of_unit)), grouped=True)
    limits = figure_limits(tallies, level)["accuracy"]
    return Interval(float(limits.low), float(limits.high), "grouped-wilson")
