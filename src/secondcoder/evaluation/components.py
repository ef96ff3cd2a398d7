"""What an evaluation is made of: figures of a class, of an average, of sets of labels, of ordered classes.

In: nothing. Out: dataclasses.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from secondcoder.evaluation.metrics import PerClass


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class; None where a figure is undefined.

    Attributes
    ----------
    precision
        Of the texts given this class, the share that are of it. None if the class was never given.
    recall
        Of the texts of this class, the share that was found. None if there are no such texts.
    f1
        ``2 TP / (2 TP + FP + FN)``. None if there are no such texts and the class was never given.
    support
        Number of texts of this class.
    predicted
        Number of texts given this class.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int


@dataclass(frozen=True)
class AverageFigures:
    """Precision, recall and F1, averaged over the classes."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class SetFigures:
    """What there is only where a text may have several classes, or none.

    Attributes
    ----------
    hamming_loss
        Share of the n k decisions, one for each text and class, that are wrong.
    samples_f1
        Mean over texts of ``2 |A ∩ B| / (|A| + |B|)`` of the two sets; 1 where both are empty.
    hits
        Texts of each class that are given it.
    gold_sizes, given_sizes
        How many texts have, and are given, none, one, two … of the classes, up to all.
    """

    hamming_loss: float
    samples_f1: float
    hits: dict[str, int]
    gold_sizes: tuple[int, ...]
    given_sizes: tuple[int, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `dataclasses.asdict` made of it, and JSON of that."""
        return cls(**{**values, **{name: tuple(values[name]) for name in ("gold_sizes", "given_sizes")}})


@dataclass(frozen=True)
class OrderFigures:
    """What there is only where the classes have an order.

    Attributes
    ----------
    quadratic_kappa
        Cohen's kappa, disagreements weighing by the square of their distance; None where all texts are of one class and
        given it.
    mean_absolute_error
        By how many steps labels are off on average.
    """

    quadratic_kappa: float | None
    mean_absolute_error: float


def figures_by_class(classes: PerClass, names: Sequence[str]) -> dict[str, ClassFigures]:
    """Return the figures of each class by its name."""
    return {
        name: ClassFigures(
            precision=_defined(classes.precision[i]),
            recall=_defined(classes.recall[i]),
            f1=_defined(classes.f1[i]),
            support=int(classes.support[i]),
            predicted=int(classes.predicted[i]),
        )
        for i, name in enumerate(names)
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
