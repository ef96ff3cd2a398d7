"""Interval: from where to where a figure may lie, and how that was found.

In: nothing. Out: the dataclass that every file of this folder gives its intervals as.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LEVEL = 0.95
"""Confidence of every interval, unless another is asked for."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes
    ----------
    low, high
        Its limits, on the figure's own scale.
    method
        A stable key, such as ``"wilson"``; the docs page *Methods* explains each.
    """

    low: float
    high: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Return the interval as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Interval | None":
        """Return the interval that `to_dict` wrote; None stays None."""
        return None if values is None else cls(**values)
