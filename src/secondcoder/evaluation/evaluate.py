"""How good are these labels? Labels and probabilities to figures, by name.

In: gold labels, probabilities, label names. Out: `Evaluation`. Who made the probabilities is of no concern here: the
transformer, a baseline, another human (with ones and zeros).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secondcoder.errors import DataError, nearest
from secondcoder.evaluation import metrics
from secondcoder.evaluation.metrics import metric_names, resolve_metric

# float32 soft-maxes miss 1 by 1e-6; probabilities rounded to four digits, as in a file, by up to 1e-4 a class.
SUM_TOLERANCE = 1e-3


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
class Evaluation:
    """Every figure of one set of predictions.

    Attributes
    ----------
    n
        Number of texts judged.
    label_names
        The classes, in their fixed order.
    positive
        The positive class of a two-class task, or None.
    confusion
        ``confusion[gold][predicted]``, a number of texts.
    per_class
        Figures of each class.
    accuracy
        Share of texts labelled as in gold.
    balanced_accuracy
        Mean recall of the classes that have texts.
    averages
        ``"macro"`` (each class counts the same), ``"micro"`` (each text counts the same; equals the accuracy) and
        ``"weighted"`` (classes by their number of texts). In an average an undefined figure counts as 0, and a class
        that is neither in gold nor predicted is left out: scikit-learn's ``zero_division=0``.
    log_loss
        Mean of ``-log(probability of the gold class)``, in nats; probabilities are clipped at 2.2e-16.
    """

    n: int
    label_names: tuple[str, ...]
    positive: str | None
    confusion: dict[str, dict[str, int]]
    per_class: dict[str, ClassFigures]
    accuracy: float
    balanced_accuracy: float
    averages: dict[str, AverageFigures]
    log_loss: float

    @property
    def confusion_matrix(self) -> NDArray[np.int64]:
        """Return the counts as ndarray of shape (k, k): rows are gold, columns predicted, in `label_names` order."""
        return np.array([[self.confusion[g][p] for p in self.label_names] for g in self.label_names], dtype=np.int64)

    @property
    def row_shares(self) -> dict[str, dict[str, float | None]]:
        """Return ``[gold][predicted]``: of the texts of a class, the share given each; None if there are none."""
        return {
            gold: {p: count / n if (n := self.per_class[gold].support) else None for p, count in row.items()}
            for gold, row in self.confusion.items()
        }

    @property
    def headline(self) -> tuple[str, float]:
        """Return name and value of the one figure to look at: the positive class's F1, or macro-F1 without one."""
        name = resolve_metric("auto", self.positive, self.label_names)
        return name, self.figure(name)

    def figure(self, name: str) -> float:
        """Return one figure by its name, such as ``"macro-f1"`` or ``"recall:economic"``.

        An undefined figure of a class counts as 0 here, as it does in the averages, so that epochs can be ranked;
        `per_class` tells the difference.

        Raises
        ------
        SettingsError
            If there is no such figure.
        """
        name = resolve_metric(name, self.positive, self.label_names)
        figure, colon, label = name.partition(":")
        if colon:
            value: float | None = getattr(self.per_class[label], figure)
            return 0.0 if value is None else value
        average, _, figure = name.partition("-")
        if average in self.averages:
            return float(getattr(self.averages[average], figure))
        return float(getattr(self, name.replace("-", "_")))

    def figures(self) -> dict[str, float]:
        """Return every figure by its name, in the order of `metric_names`."""
        return {name: self.figure(name) for name in metric_names(self.label_names)}

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values; undefined figures are null."""
        return asdict(self) | {"label_names": list(self.label_names)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Return the evaluation that `to_dict` wrote.

        Raises
        ------
        DataError
            If a figure is missing or unknown.
        """
        try:
            return cls(
                **{
                    **values,
                    "label_names": tuple(values["label_names"]),
                    "per_class": {label: ClassFigures(**f) for label, f in values["per_class"].items()},
                    "averages": {kind: AverageFigures(**f) for kind, f in values["averages"].items()},
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"This is not an evaluation as secondcoder writes it: {error}.", "Run the evaluation again."
            ) from error

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(label)}</td>"
            + "".join(f"<td>{'–' if v is None else f'{v:.3f}'}</td>" for v in (f.precision, f.recall, f.f1))
            + f"<td>{f.support:,}</td></tr>"
            for label, f in self.per_class.items()
        )
        name, value = self.headline
        return (
            f"<p><b>Evaluation</b> on {self.n:,} texts: {escape(name)} {value:.3f}, accuracy {self.accuracy:.3f}, "
            f"log loss {self.log_loss:.3f}</p>"
            f"<table><tr><th>label</th><th>precision</th><th>recall</th><th>F1</th><th>texts</th></tr>{rows}</table>"
        )


def evaluate(
    labels: Sequence[str], probabilities: ArrayLike, label_names: Sequence[str], *, positive: str | None = None
) -> Evaluation:
    """Return the figures of predictions against gold labels; the class predicted is the most probable one.

    Parameters
    ----------
    labels
        Gold labels, one per row.
    probabilities
        ndarray of shape (n, k): one row per label, columns in the order of `label_names`. Of equal probabilities the
        first wins.
    label_names
        The k classes. Not every one needs to occur in `labels`.
    positive
        The positive class, whose F1 is then the headline.

    Raises
    ------
    DataError
        If rows, columns and names do not fit together, a label is unknown or missing, or a row of probabilities is
        none.
    """
    names = tuple(label_names)
    _check_names(names, positive)
    gold = _positions(labels, names)
    p = _checked_probabilities(probabilities, n=len(gold), names=names)
    matrix = metrics.confusion_matrix(gold, p.argmax(axis=1), len(names))
    classes = metrics.per_class(matrix)
    averages = {
        "macro": metrics.macro_average(matrix),
        "micro": metrics.micro_average(matrix),
        "weighted": metrics.weighted_average(matrix),
    }
    return Evaluation(
        n=len(gold),
        label_names=names,
        positive=positive,
        confusion={g: dict(zip(names, row, strict=True)) for g, row in zip(names, matrix.tolist(), strict=True)},
        per_class={
            name: ClassFigures(
                precision=_defined(classes.precision[i]),
                recall=_defined(classes.recall[i]),
                f1=_defined(classes.f1[i]),
                support=int(classes.support[i]),
                predicted=int(classes.predicted[i]),
            )
            for i, name in enumerate(names)
        },
        accuracy=metrics.accuracy(matrix),
        balanced_accuracy=metrics.balanced_accuracy(matrix),
        averages={kind: AverageFigures(*average) for kind, average in averages.items()},
        log_loss=metrics.log_loss(gold, p),
    )


def _check_names(names: tuple[str, ...], positive: str | None) -> None:
    if not names or len(set(names)) != len(names):
        raise DataError(f"The label names are {list(names)}.", "Name each class once.")
    if positive is not None and positive not in names:
        raise DataError(
            f"The positive class {positive!r} is not among the label names {list(names)}.",
            f"{nearest(positive, names)}Name one of them.",
        )


def _positions(labels: Sequence[str], names: tuple[str, ...]) -> NDArray[np.int64]:
    if len(labels) == 0:
        raise DataError("There are no labels to judge against.", "Give at least one labelled text.")
    position = {name: i for i, name in enumerate(names)}
    for row, label in enumerate(labels):
        if label not in position:
            hint = nearest(label, names) if isinstance(label, str) else "Leave out rows without a label. "
            raise DataError(
                f"The label of row {row} is {label!r}; the label names are {list(names)}.",
                f"{hint}Labels must be among the classes that the model knows.",
            )
    return np.array([position[label] for label in labels], dtype=np.int64)


def _checked_probabilities(probabilities: ArrayLike, *, n: int, names: tuple[str, ...]) -> NDArray[np.float64]:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.shape != (n, len(names)):
        raise DataError(
            f"The probabilities have shape {p.shape}; expected ({n}, {len(names)}).",
            f"Give one row per label and one column for each of {list(names)}.",
        )
    sums = p.sum(axis=1)
    # "not inside" catches not-a-number too
    bad = np.flatnonzero(~((p >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)))
    if len(bad):
        raise DataError(
            f"Row {bad[0]} of the probabilities is {p[bad[0]].tolist()}, which sums to {sums[bad[0]]:.6g}"
            f" ({len(bad)} such rows).",
            "Each row must hold numbers from 0 to 1 that sum to 1; apply softmax to logits first.",
        )
    return p


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
