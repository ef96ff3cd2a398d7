"""Evaluation: every figure of one set of predictions, by name, with its interval.

In: nothing. Out: the dataclasses that `secondcoder.evaluation.evaluate.evaluate` fills in, and the run folder stores.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import TaskName
from secondcoder.evaluation.calibration import Calibration
from secondcoder.evaluation.intervals import DECIDED_BY_FEW, Interval, units_of
from secondcoder.evaluation.likeness import LIKENESS, LIKENESS_DOUBT
from secondcoder.evaluation.metrics import ONE_LABEL, ORDERED, SETS, FigureNames, PerClass
from secondcoder.evaluation.selective import RiskCoverage
from secondcoder.evaluation.thresholds import Thresholds
from secondcoder.splits.units import FEW_GROUPS
from secondcoder.storage import Stored

_NO_LOSS = 1e-9
"""A mean log loss below this says that all texts are right and sure, so that none of them stands out."""


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

    names: ClassVar[FigureNames] = SETS
    hamming_loss: float
    samples_f1: float
    hits: dict[str, int]
    gold_sizes: tuple[int, ...]
    given_sizes: tuple[int, ...]


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

    names: ClassVar[FigureNames] = ORDERED
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


def _listed(labels: Sequence[str]) -> str:
    return " or ".join(f"“{label}”" for label in labels)


def _joined(names: Sequence[str]) -> str:
    shown = [name.replace("-", " ").replace("f1", "F1") for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


Scope = Literal["texts", "these documents", "documents"]
"""What intervals speak of: other texts; other texts of the same few documents (groups); other documents."""

# Left out where they say nothing, so that what is stored of other tasks stays as it was.
_OF_SOME_TASKS = ("thresholds", "sets", "order", "constant", "scope")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What is judged: gold labels, and what was said of the same n texts.

    Attributes
    ----------
    gold
        As the label scheme has them: class positions, shape (n,), or which classes each text has, shape (n, k).
    probabilities : ndarray of shape (n, k)
        Columns in the order of `names`.
    names
        The k classes.
    positive
        The positive class of a two-class task, or None.
    thresholds
        From which probability on a class is given, where that is not the most probable one.
    groups
        The group of each text, or None where texts are independent.
    """

    gold: NDArray[Any]
    probabilities: NDArray[np.float64]
    names: tuple[str, ...]
    positive: str | None = None
    thresholds: Thresholds | None = None
    groups: Sequence[str] | None = None

    @property
    def units(self) -> Sequence[str] | None:
        """The groups that intervals take as their units; None where these are the texts."""
        return units_of(self.groups)

    @property
    def scope(self) -> "Scope":
        """What the intervals of all figures speak of."""
        if self.groups is None:
            return "texts"
        return "these documents" if self.units is None else "documents"


@dataclass(frozen=True)
class Evaluation(Stored, name="an evaluation", cure="Run the evaluation again."):
    """Every figure of one set of predictions.

    Attributes
    ----------
    n
        Number of texts judged.
    label_names
        The classes, in their fixed order; of an ordinal task from low to high.
    positive
        The positive class of a two-class task, or None.
    confusion
        ``confusion[gold][predicted]``, a number of texts; empty where a text may have several classes.
    per_class
        Figures of each class.
    accuracy
        Share of texts labelled as in gold; where a text may have several classes, the exact match: all of them right.
    balanced_accuracy
        Mean recall of the classes that have texts.
    averages
        ``"macro"`` (each class counts the same), ``"micro"`` (each text counts the same; equals the accuracy) and
        ``"weighted"`` (classes by their number of texts). Where a text may have several classes, ``"micro"`` pools the
        decisions for all texts and classes. In an average an undefined figure counts as 0, and a class
        that is neither in gold nor predicted is left out: scikit-learn's ``zero_division=0``.
    log_loss
        Mean of ``-log(probability of the gold class)``, in nats; probabilities are clipped at 2.2e-16. Where a text may
        have several classes, the mean over its decisions: binary cross-entropy.
    intervals
        95 % intervals by the figure's name, as `figure` knows it; None where none can be given. Empty where none were
        asked for.
    n_groups
        Number of groups that the texts come from; None where texts are taken as independent.
    calibration
        Whether probabilities mean what they say; None where intervals were not asked for.
    uncalibrated
        The same before the temperature, where there was one.
    risk_coverage
        What comes of leaving doubtful texts unlabelled; None where intervals were not asked for.
    thresholds
        By class, from which probability on it is given; empty where the most probable class is.
    sets, order
        What belongs to tasks with several classes a text, or with ordered classes; else None.
    scope
        What the intervals of all figures speak of: ``"texts"`` like these, which are independent; ``"documents"`` like
        these, from which groups of texts come; with fewer than five ``"these documents"`` alone, on other texts of
        them. None: not asked for, or as version 0.1 had it, over any two groups.
    constant
        Whether the same was predicted of every text, whatever it is. Figures without an interval are then exact.
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
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    n_groups: int | None = None
    calibration: Calibration | None = None
    uncalibrated: Calibration | None = None
    risk_coverage: RiskCoverage | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    sets: SetFigures | None = None
    order: OrderFigures | None = None
    scope: Scope | None = None
    constant: bool = False

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that none of the texts has."""
        return tuple(label for label, figures in self.per_class.items() if not figures.support)

    @property
    def headline_note(self) -> str:
        """What has to be known with the headline figure, as a sentence; empty where there is nothing."""
        name = self.headline[0]
        if not self.absent or (name != "macro-f1" and name.partition(":")[2] not in self.absent):
            return ""
        if name != "macro-f1":
            return f"No text judged here is {_listed(self.absent)}: its F1 cannot be known."
        predicted = {label: n for label in self.absent if (n := self.per_class[label].predicted)}
        left_out = [label for label in self.absent if label not in predicted]
        if len(left_out) == len(self.label_names):
            return f"No text judged here is {_listed(left_out)}, and none is predicted to be: macro-F1 is undefined."
        found = []
        if left_out:
            known = " and its interval includes all that theirs may be" if self.interval(name) else ""
            found.append(
                f"No text judged here is {_listed(left_out)}: macro-F1 is the mean over the other classes{known}."
            )
        if predicted:
            counts = [
                f"“{label}” (predicted for {n:,} {'text' if n == 1 else 'texts'})" for label, n in predicted.items()
            ]
            whose = "its F1" if len(predicted) == 1 else "the F1 of each"
            found.append(f"No text judged here is {' or '.join(counts)}: {whose} counts as 0 in macro-F1.")
        return " ".join(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be known to read the figures and their intervals, in sentences."""
        found = [self.headline_note, self.scope_note, self.spread_note]
        if self.constant:
            found.append("The same is predicted for every text, so that figures without an interval are exact.")
        return tuple(filter(None, found))

    @property
    def spread_note(self) -> str:
        """Which of the leading figures have no interval though they are not exact, and why, in sentences."""
        if self.scope is None or self.constant:
            return ""
        without = [name for name in self.leading if ":" not in name and self.interval(name) is None]
        said = []
        one_class = len(self.absent) == len(self.label_names) - 1
        if "quadratic-kappa" in without and one_class and self.accuracy == 1:
            without.remove("quadratic-kappa")
            said.append("Quadratic kappa is undefined: all texts are of one class and are labelled so.")
        if len(self.absent) == len(self.label_names):
            said.append(f"No interval for {_joined(without)}: no text has a label.")
            without = []
        if "log-loss" in without and self.log_loss > _NO_LOSS:
            without.remove("log-loss")
            said.append(f"No interval for log loss: {DECIDED_BY_FEW}, or it is the same for all.")
        if without:
            them = "it" if len(without) == 1 else "them"
            said.append(
                f"No interval for {_joined(without)}: these texts show no spread to estimate one from, which does not "
                f"make {them} exact."
            )
        return " ".join(said)

    @property
    def scope_note(self) -> str:
        """What the intervals speak of where texts come in groups, as a sentence; else empty."""
        if not self.intervals or self.n_groups is None:
            return ""
        groups = f"{self.n_groups:,} {'group' if self.n_groups == 1 else 'groups'}"
        if self.scope == "these documents":
            which = "this 1 group" if self.n_groups == 1 else f"these {groups}"
            return f"Intervals hold for other texts of {which} only. For other groups it is not known from {groups}."
        if self.scope is None:
            return "" if self.n_groups < 2 else f"Intervals are over {groups}."
        if self.n_groups >= FEW_GROUPS:
            return f"Intervals hold for other groups like these {self.n_groups:,}."
        return (
            f"Intervals hold for other groups like these {self.n_groups}. They are wider than those of independent "
            "texts, as texts of one group may be alike in being classified correctly. With so few groups, how alike is "
            f"largely assumed beforehand: an intraclass correlation of {LIKENESS:g}, standard deviation "
            f"{LIKENESS_DOUBT:g}."
        )

    @property
    def names(self) -> FigureNames:
        """What its figures are called."""
        special = self.sets or self.order
        return special.names if special else ONE_LABEL

    @property
    def task(self) -> TaskName:
        """The label scheme, by its name."""
        return self.names.task

    @property
    def distances(self) -> tuple[int, ...]:
        """How many texts are right, off by one step, by two …, up to k - 1; of an ordinal task."""
        k = len(self.label_names)
        steps = np.abs(np.arange(k)[:, np.newaxis] - np.arange(k))
        return tuple(np.bincount(steps.ravel(), self.confusion_matrix.ravel(), k).astype(int).tolist())

    @property
    def decisions(self) -> dict[str, dict[str, int]]:
        """By class, how many texts have it and are given it (``"hits"``), and so on; of tasks with sets of classes."""
        hits = self.sets.hits if self.sets else {}
        return {
            label: {
                "hits": n,
                "missed": (f := self.per_class[label]).support - n,
                "too_many": f.predicted - n,
                "rightly_not": self.n - f.support - f.predicted + n,
            }
            for label, n in hits.items()
        }

    @property
    def leading(self) -> tuple[str, ...]:
        """Names of the figures to show first, the headline before all."""
        return tuple(dict.fromkeys((self.headline[0], *self.names.leading)))

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
        name = self._resolved("auto")
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
        name = self._resolved(name)
        figure, colon, label = name.partition(":")
        if colon:
            value: float | None = getattr(self.per_class[label], figure)
            return 0.0 if value is None else value
        if name == "exact-match":
            return self.accuracy
        for part in (self.sets, self.order):
            if hasattr(part, key := name.replace("-", "_")):
                return getattr(part, key) or 0.0
        average, _, figure = name.partition("-")
        if average in self.averages:
            return float(getattr(self.averages[average], figure))
        return float(getattr(self, name.replace("-", "_")))

    def interval(self, name: str) -> Interval | None:
        """Return the interval of one figure by its name, or None where there is none.

        Raises
        ------
        SettingsError
            If there is no such figure.
        """
        return self.intervals.get(self._resolved(name))

    def figures(self) -> dict[str, float]:
        """Return every figure by its name, in the order of `FigureNames.of`."""
        return {name: self.figure(name) for name in self.names.of(self.label_names)}

    def _resolved(self, name: str) -> str:
        return self.names.resolve(name, self.positive, self.label_names)

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values; undefined figures are null."""
        return {name: value for name, value in super().to_dict().items() if value or name not in _OF_SOME_TASKS}

    def shown(self, name: str, value: float | None) -> str:
        """Return a figure with its interval as text: ``0.912 [0.890, 0.931]``; a dash where it is undefined."""
        if value is None:
            return "–"
        interval = self.interval(name)
        return f"{value:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(label)}</td>"
            + "".join(
                f"<td>{self.shown(f'{name}:{label}', getattr(f, name))}</td>" for name in ("precision", "recall", "f1")
            )
            + f"<td>{f.support:,}</td></tr>"
            for label, f in self.per_class.items()
        )
        name, value = self.headline
        whole = self.names.whole
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"<p><b>Evaluation</b> on {self.n:,} texts: {escape(name)} {self.shown(name, value)}, "
            f"{whole.replace('-', ' ')} {self.shown(whole, self.accuracy)}, "
            f"log loss {self.shown('log-loss', self.log_loss)}</p>{notes}"
            f"<table><tr><th>label</th><th>precision</th><th>recall</th><th>F1</th><th>texts</th></tr>{rows}</table>"
        )
