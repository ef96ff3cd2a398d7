"""Comparison: whether one set of labels is better than another, on the same texts.

In: gold labels and two sets of probabilities, row by row. Out: `Comparison`. The difference is always second minus
first, and its interval is paired: both are judged on the same texts, so what makes a text hard for both cancels out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import DataError, nearest
from secondcoder.evaluation.intervals import FEWEST_GROUPS, Interval
from secondcoder.evaluation.metrics import LOWER_IS_BETTER
from secondcoder.evaluation.paired_tests import McNemar
from secondcoder.evaluation.permutation import FEWEST_UNITS
from secondcoder.splits.units import FEW_GROUPS
from secondcoder.storage import Stored

ALPHA = 0.05
"""A difference is called real where its p value is below this."""


def shown_p(p: float, name: str = "") -> str:
    """Return a p value as text: ``0.034`` or ``<0.001``; with its name ``p = 0.034`` or ``p < 0.001``."""
    value = "0.001" if (small := p < 0.001) else f"{p:.3f}"
    if not name:
        return f"<{value}" if small else value
    return f"{name} {'<' if small else '='} {value}"


@dataclass(frozen=True, eq=False)
class Pair:
    """What two said of the same n texts.

    Attributes
    ----------
    gold
        As the label scheme has them: class positions, shape (n,), or which classes each text has, shape (n, k).
    probabilities
        Of the first and the second, each of shape (n, k).
    given
        The labels of the first and the second, each of the shape of gold.
    names
        The k classes.
    positive
        The positive class of a two-class task, or None.
    groups
        The group of each text, or None where texts are independent.
    low_to_high
        All names in the order of the classes, where they have one.
    """

    gold: NDArray[Any]
    probabilities: tuple[NDArray[np.float64], NDArray[np.float64]]
    given: tuple[NDArray[Any], NDArray[Any]]
    names: tuple[str, ...]
    positive: str | None = None
    groups: Sequence[str] | None = None
    low_to_high: Sequence[str] = ()


@dataclass(frozen=True)
class Difference:
    """One figure of both, and how far they differ.

    Attributes
    ----------
    name
        Of the figure, as in `secondcoder.evaluation.FigureNames.of`.
    first, second
        Its values; None where the figure is undefined.
    difference
        Second minus first. For log loss, less is better.
    interval
        Paired 95 % interval of the difference; None where none can be given.
    p_value
        Two-sided, of no difference at all: the larger of the permutation test's and that of the interval. None where
        there is no interval.
    detectable
        Size of the difference that a test set like this would have shown in about 80 % of cases; None where there is no
        spread to tell it from, where both give every text the same label, where no difference is as large, and where
        there are too few texts, or groups, to show any.
    differing
        Number of texts, or of groups, that give the figure another value when what the two gave to them is swapped;
        None in comparisons that did not count them.
    reason
        Why there is no interval, as a clause; empty where there is one.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None = None
    p_value: float | None = None
    detectable: float | None = None
    differing: int | None = None
    reason: str = ""

    @property
    def shown(self) -> bool:
        """Whether it is real beyond chance: the p value is below 0.05, and the interval leaves out 0."""
        return self.p_value is not None and self.p_value < ALPHA and self.leaves_out_0

    @property
    def leaves_out_0(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high

    @property
    def better(self) -> str | None:
        """``"first"`` or ``"second"``, whichever has the better value; None if neither."""
        if not self.difference:
            return None
        return "second" if (self.difference > 0) != (self.name in LOWER_IS_BETTER) else "first"


def notes_on_groups(n_groups: int) -> tuple[str, ...]:
    """Return what is to be said of few groups."""
    if n_groups >= FEW_GROUPS:
        return ()
    if n_groups >= FEWEST_UNITS:
        return (f"There are only {n_groups} groups to judge others by: only large differences can show.",)
    if n_groups >= FEWEST_GROUPS:
        few = f"There are only {n_groups} groups to judge others by"
        return (f"{few}: no difference can be shown, however large. It takes {FEWEST_UNITS} groups.",)
    groups = "1 group" if n_groups == 1 else f"{n_groups} groups"
    return (
        f"What is said here holds for other texts of {_these(n_groups)} only. For other groups it is not known from "
        f"{groups}.",
    )


def _these(n_groups: int) -> str:
    return "this 1 group" if n_groups == 1 else f"these {n_groups} groups"


@dataclass(frozen=True)
class Comparison(Stored, name="a comparison", cure="Compare the runs again."):
    """Two sets of labels for the same texts, judged against the same gold labels.

    Attributes
    ----------
    n
        Number of texts.
    label_names
        The classes.
    main
        Name of the figure that the verdict is about: the positive class's F1, or macro-F1. It is fixed before looking;
        the other figures are exploratory, since among many one will differ by chance.
    differences
        The main figure first.
    agreement
        Share of texts that both give the same label, or the same set of them.
    mcnemar
        The exact test of the accuracies, or exact matches; None where texts come in groups, as it takes them as
        independent.
    n_groups
        Number of groups, or None where the texts are taken as independent.
    names
        What first and second are called.
    part
        Part of the data, or None.
    notes
        What makes the comparison less than fair, or less than sure; a sentence each.
    """

    n: int
    label_names: tuple[str, ...]
    main: str
    differences: tuple[Difference, ...]
    agreement: float
    mcnemar: McNemar | None
    n_groups: int | None = None
    names: tuple[str, str] = ("first", "second")
    part: str | None = None
    notes: tuple[str, ...] = ()

    def difference(self, name: str) -> Difference:
        """Return the difference in one figure.

        Raises
        ------
        DataError
            If that figure was not compared.
        """
        known = {d.name: d for d in self.differences}
        if name not in known:
            raise DataError(
                f"{name!r} was not compared; the figures are: {', '.join(known)}.",
                f"{nearest(name, known)}Name one of the figures.",
            )
        return known[name]

    @property
    def of_sets(self) -> bool:
        """Whether a text may have several labels."""
        return any(d.name == "exact-match" for d in self.differences)

    @property
    def of_these_groups(self) -> bool:
        """Whether groups are too few to say anything of others, so that texts are the units."""
        return self.n_groups is not None and self.n_groups < FEWEST_GROUPS

    @property
    def verdict(self) -> str:
        """A sentence on the main figure."""
        main = self.difference(self.main)
        if main.difference is None or main.interval is None:
            return f"Whether they differ in {main.name} cannot be said: {main.reason or 'the figure is undefined'}."
        said = f"{main.name} {main.difference:+.3f} [{main.interval.low:.3f}, {main.interval.high:.3f}]"
        if main.shown:
            winner = self.names[0 if main.better == "first" else 1]
            where = f" for other texts of {_these(self.n_groups or 0)}" if self.of_these_groups else ""
            return f"The difference is real beyond chance{where}: {said}, in favour of {winner}."
        if self.n_groups is not None and not self.of_these_groups and self.n_groups < FEWEST_UNITS:
            return f"Whether they differ cannot be said: {self.n_groups} groups are too few to tell ({said})."
        if self.agreement == 1:
            same = "the same set of labels" if self.of_sets else "the same label"
            return f"No difference can be shown: both give every text {same} ({said})."
        if main.differing is not None and main.differing < FEWEST_UNITS:
            one = "text" if self.n_groups is None or self.of_these_groups else "group"
            rests = f"{main.differing} {one}{'' if main.differing == 1 else 's'}"
            few = f"it would rest on {rests}, and fewer than {FEWEST_UNITS} cannot rule out chance"
            return f"No difference can be shown: {few} ({said})."
        could = "" if main.detectable is None else f"; this test set could have shown {main.detectable:.2g}"
        return f"No difference can be shown: {said}{could}."

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values, with the verdict."""
        return super().to_dict() | {"verdict": self.verdict}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the comparison that `to_dict` wrote; the verdict is found anew."""
        stored = {name: value for name, value in values.items() if name != "verdict"}
        if stored.get("mcnemar"):  # it once held a difference that McNemar's test could have shown
            stored["mcnemar"] = {name: value for name, value in stored["mcnemar"].items() if name != "detectable"}
        return super().from_dict(stored)
