"""Where a classifier errs: its most confident mistakes, its worst groups, and its error rate by length of text.

In: `JudgedRows`, which are texts with their gold labels and probabilities. Out: `Mistakes`. Who made the probabilities
is of no concern here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import label_text
from secondcoder.errors import DataError
from secondcoder.evaluation.count_intervals import share_interval
from secondcoder.evaluation.intervals import Interval, units_of
from secondcoder.evaluation.tasks import Task, task_rules
from secondcoder.storage import Stored

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
        The document, author or film that each text comes from, and for a text without one something of its own
        (`Corpus.units`); None if there are none.
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
        self.rules.check_gold(self.gold, n, k)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def several(self) -> bool:
        """Whether a text may have several classes, or none."""
        return self.gold.ndim == 2

    @property
    def rules(self) -> Task:
        """Those of one label a text, or of several, as gold has them."""
        return task_rules("multi-label" if self.several else "multi-class")

    @property
    def predicted(self) -> NDArray[np.int64] | NDArray[np.bool_]:
        """What each row was given, of the shape of gold."""
        return self.rules.decide(self.probabilities, None, self.label_names) if self.given is None else self.given

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which rows are given another class than their gold label, or not just their gold classes; shape (n,)."""
        return ~self.rules.right(self.predicted, self.gold)

    def named(self, label: Any) -> str:
        """Return one row's label in words: of a position, its name; of yes and no by class, names with commas."""
        (named,) = self.rules.named(np.asarray([label]), self.label_names)
        return label_text(named, ", ") or NO_CLASS


MOST_SHOWN = 20
"""Mistakes, and groups, that are kept for showing."""
FEWEST_IN_GROUP = 5
"""A smaller group's error rate says next to nothing: 1 of 2 wrong has an interval from 0.09 to 0.91."""
LENGTH_BANDS = 5
# A band of fewer texts has an interval too wide to read anything off.
_FEWEST_IN_BAND = 20
Unit = Literal["characters", "tokens"]


@dataclass(frozen=True)
class Mistake:
    """A text that was given a class other than its gold label; or a wrong decision, where it may have several classes.

    Attributes
    ----------
    gold, predicted
        The labels; of several, with commas between them.
    p_predicted, p_gold
        Probability of the class given, and of the gold one; or of the decision made, and of the right one.
    label
        The class that was decided wrongly, where a text may have several; else None.
    missed
        Whether it should have been given and was not; None where a text has one class.
    """

    id: str
    text: str
    gold: str
    predicted: str
    p_predicted: float
    p_gold: float
    label: str | None = None
    missed: bool | None = None


@dataclass(frozen=True)
class ErrorRate:
    """How many of some texts are labelled wrongly.

    Attributes
    ----------
    n, errors
        Numbers of texts.
    interval
        Of the error rate. Over texts of several groups with groups as the units, as that of the accuracy, of which it
        is the complement; within one group for texts such as its own. None where `share_interval` gives none.
    """

    n: int
    errors: int
    interval: Interval | None

    @property
    def rate(self) -> float | None:
        """The share of errors; None without texts."""
        return self.errors / self.n if self.n else None


@dataclass(frozen=True)
class GroupErrors(ErrorRate):
    """The error rate within one group: of texts such as its own, not of groups such as this one."""

    group: str


@dataclass(frozen=True)
class LengthErrors(ErrorRate):
    """The error rate of the texts from `shortest` to `longest`, both included."""

    shortest: int
    longest: int


@dataclass(frozen=True)
class Mistakes(Stored, name="a list of mistakes", cure="Run the evaluation again."):
    """Where a classifier errs.

    Attributes
    ----------
    overall
        Error rate of all rows.
    confident
        The mistakes made with the highest probability, highest first.
    worst_groups
        Groups of at least `FEWEST_IN_GROUP` rows, by the lower limit of their error rate's interval, highest first: a
        group leads when its rate is high and so many texts say so, not when two of its three texts happen to be wrong.
    small_groups
        The rows of all smaller groups, taken together; None if there are none.
    n_groups, n_small_groups
        How many groups there are, and how many of them are smaller; 0 where rows have no groups.
    by_length
        Error rates of up to five bands with about the same number of texts, from short to long.
    length_unit
        What lengths are counted in.
    """

    overall: ErrorRate
    confident: tuple[Mistake, ...]
    worst_groups: tuple[GroupErrors, ...]
    small_groups: ErrorRate | None
    n_groups: int
    n_small_groups: int
    by_length: tuple[LengthErrors, ...]
    length_unit: Unit

    def to_dict(self) -> dict[str, Any]:
        """Return the mistakes as plain JSON values."""
        values = super().to_dict()
        values["confident"] = [
            {name: value for name, value in mistake.items() if value is not None} for mistake in values["confident"]
        ]
        return values


def find_mistakes(rows: JudgedRows, *, most: int = MOST_SHOWN) -> Mistakes:
    """Return where the classifier errs.

    Parameters
    ----------
    rows
        The texts, what they are and what they were taken for. The probabilities should be out of sample.
    most
        How many mistakes, and how many groups, to keep.

    References
    ----------
    Brown, Cai & DasGupta (2001), Statistical Science 16(2), 101–133. doi:10.1214/ss/1009213286 (intervals of rates)
    """
    worst, small, n_groups, n_small = _by_group(rows, most)
    return Mistakes(
        overall=ErrorRate(*_count(rows, np.arange(len(rows)))),
        confident=_most_confident(rows, most),
        worst_groups=worst,
        small_groups=small,
        n_groups=n_groups,
        n_small_groups=n_small,
        by_length=_by_length(rows),
        length_unit="characters" if rows.n_tokens is None else "tokens",
    )


def _count(rows: JudgedRows, own: NDArray[np.int64]) -> tuple[int, int, Interval | None]:
    """Return how many texts these rows are, how many of them are wrong, and the interval of that share."""
    wrong = rows.wrong[own]
    groups = None if (units := units_of(rows.groups)) is None else np.asarray(units)[own]
    return len(own), int(wrong.sum()), share_interval(wrong, groups)


def _most_confident(rows: JudgedRows, most: int) -> tuple[Mistake, ...]:
    predicted, p = rows.predicted, rows.probabilities
    at = np.flatnonzero(rows.wrong)
    labels: list[str | None] = [None] * len(at)
    missed: list[bool | None] = [None] * len(at)
    if rows.several:
        at, classes = np.nonzero(predicted != rows.gold)
        of_given = np.where(predicted, p, 1 - p)[at, classes]
        of_gold, labels = 1 - of_given, [rows.label_names[i] for i in classes.tolist()]
        missed = rows.gold[at, classes].tolist()
    else:
        of_given, of_gold = p[at, predicted[at]], p[at, rows.gold[at]]
    first = np.argsort(-of_given, kind="stable")[:most]  # of equal ones the earlier row first
    return tuple(
        Mistake(
            id=rows.ids[at[i]],
            text=rows.texts[at[i]],
            gold=rows.named(rows.gold[at[i]]),
            predicted=rows.named(predicted[at[i]]),
            p_predicted=float(of_given[i]),
            p_gold=float(of_gold[i]),
            label=labels[i],
            missed=missed[i],
        )
        for i in first.tolist()
    )


def _by_group(rows: JudgedRows, most: int) -> tuple[tuple[GroupErrors, ...], ErrorRate | None, int, int]:
    """Return the worst groups, the small ones together, and how many there are of both."""
    if rows.groups is None:
        return (), None, 0, 0
    names, of_row, sizes = np.unique(np.asarray(rows.groups), return_inverse=True, return_counts=True)
    wrong = np.bincount(of_row, rows.wrong, minlength=len(names)).astype(int)
    found = [
        GroupErrors(n, errors, share_interval(np.arange(n) < errors), group)
        for group, n, errors in zip(names.tolist(), sizes.tolist(), wrong.tolist(), strict=True)
        if n >= FEWEST_IN_GROUP
    ]
    found.sort(key=lambda errors: (-_low(errors), -errors.errors, errors.group))
    small = np.flatnonzero(sizes[of_row] < FEWEST_IN_GROUP)
    together = ErrorRate(*_count(rows, small)) if len(small) else None
    return tuple(found[:most]), together, len(names), int((sizes < FEWEST_IN_GROUP).sum())


def _low(errors: ErrorRate) -> float:
    return errors.interval.low if errors.interval else 0.0


def _by_length(rows: JudgedRows) -> tuple[LengthErrors, ...]:
    """Return the error rates of bands of length; texts of one length stay in one band."""
    n_bands = min(LENGTH_BANDS, max(1, len(rows) // _FEWEST_IN_BAND))
    if len(rows) == 0:
        return ()
    lengths = np.array([len(text) for text in rows.texts]) if rows.n_tokens is None else np.asarray(rows.n_tokens)
    inner = np.quantile(lengths, np.arange(1, n_bands) / n_bands, method="inverted_cdf")
    band = np.searchsorted(inner, lengths, side="left")  # a band ends with its edge
    return tuple(
        LengthErrors(*_count(rows, own), int(lengths[own].min()), int(lengths[own].max()))
        for own in (np.flatnonzero(band == b) for b in np.unique(band))
    )
