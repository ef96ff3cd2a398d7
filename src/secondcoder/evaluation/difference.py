"""Difference: one figure of two sets of labels, how far apart they are, and how sure that is.

In: values and a standard error. Out: `Difference`.
"""

from dataclasses import dataclass, replace

from secondcoder.evaluation import paired
from secondcoder.evaluation.interval import Interval
from secondcoder.evaluation.metrics import LOWER_IS_BETTER
from secondcoder.evaluation.paired import FEWEST_GROUPS, FEWEST_GROUPS_TO_TEST, Floats

_FEW_GROUPS = 10


@dataclass(frozen=True)
class Difference:
    """One figure of both, and how far they differ.

    Attributes
    ----------
    name
        Of the figure, as in `secondcoder.evaluation.metrics.metric_names`.
    first, second
        Its values; None where the figure is undefined.
    difference
        Second minus first. For log loss, less is better.
    interval
        Paired 95 % interval of the difference; None where none can be given.
    p_value
        Two-sided, of no difference at all; None where it would not be honest.
    detectable
        Size of the difference that a test set like this would have shown in 80 % of cases; None where there is no
        spread to tell it from, or both give every text the same label.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None = None
    p_value: float | None = None
    detectable: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0, and there are enough groups to say so."""
        return self.p_value is not None and self.leaves_out_0

    @property
    def leaves_out_0(self) -> bool:
        """Whether the interval leaves out 0, however few the groups."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high

    @property
    def better(self) -> str | None:
        """``"first"`` or ``"second"``, whichever has the better value; None if neither."""
        if not self.difference:
            return None
        return "second" if (self.difference > 0) != (self.name in LOWER_IS_BETTER) else "first"


def difference_of(name: str, values: Floats, *, error: float, units: int, degrees: float, method: str) -> Difference:
    """Return second minus first of one figure, with what its standard error says."""
    first, second = (float(value) for value in values)
    found = Difference(name, first, second, second - first)
    if units < FEWEST_GROUPS or error < 1e-9 * abs(second - first):
        return found  # a difference that is the same in every text, to the last digit, has no spread to judge by
    return replace(
        found,
        interval=paired.t_interval(second - first, error, degrees, method),
        p_value=None if units < FEWEST_GROUPS_TO_TEST else paired.t_test(second - first, error, degrees),
        detectable=paired.detectable(error, degrees),
    )


def notes_on_groups(n_groups: int) -> tuple[str, ...]:
    """Return what is to be said of few groups."""
    if n_groups >= _FEW_GROUPS:
        return ()
    many = "is only 1 group" if n_groups == 1 else f"are only {n_groups} groups"
    return (f"There {many}: what is said here holds for these texts, hardly for those of other groups.",)
