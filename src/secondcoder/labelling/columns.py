"""The columns that labelling adds to a chunk of rows.

In: a model (anything that scores texts) and the text cells of some rows. Out: the added columns, with a value or a
reason for every row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secondcoder.corpus.corpus import SEPARATOR, TaskName, label_text, split_set
from secondcoder.errors import DataError, ModelError
from secondcoder.evaluation.tasks import rules_of_model, task_rules
from secondcoder.progress import ProgressTask

EMPTY_TEXT = "empty text"
NOT_TEXT = "not text"
NOT_CONFIDENT = "below --min-confidence"


class Scored(Protocol):
    """What a model says about n texts."""

    @property
    def probabilities(self) -> NDArray[np.floating[Any]]:
        """Probability of each class, shape (n, k), columns as the label names."""

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """Which texts were cut before they were read, shape (n,)."""


class Scorer(Protocol):
    """What labelling asks of a model."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The k classes."""

    @property
    def text_column(self) -> str | None:
        """The column that the training texts came from."""

    @property
    def sha256(self) -> str:
        """Hash of the weights."""

    def summary(self) -> dict[str, Any]:
        """Return what it is and what it computes with; see `secondcoder.model.model.Model.summary`."""

    def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None) -> Scored:
        """Return what the model says about the texts, none of which is empty."""


@dataclass(frozen=True)
class Deciding:
    """How labels are made of probabilities, and written.

    Attributes
    ----------
    task
        The label scheme.
    thresholds
        By class: from which probability on it is given, where that was tuned.
    lists
        Whether a label is written as a list of names.
    separator
        What joins the names of a set; None where labels are no sets, or lists.
    """

    task: TaskName = "multi-class"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    lists: bool = False
    separator: str | None = None

    @classmethod
    def of(cls, summary: Mapping[str, Any], *, lists: bool) -> Self:
        """Return what a model's summary says; `lists` where the output's format has lists."""
        rules = rules_of_model(summary)
        separator = summary.get("separator", SEPARATOR) if rules.writes_lists and not lists else None
        return cls(rules.name, dict(summary.get("thresholds", {})), lists and rules.writes_lists, separator)


@dataclass(frozen=True)
class AddedColumns:
    """Which columns are added, and what they are called.

    Attributes
    ----------
    label_names
        The k classes.
    probabilities
        Whether each class has a column of its own.
    prefix
        Stands before every name.
    min_confidence
        A label of lower probability is left out; None leaves out none.
    deciding
        How labels are made and written.
    """

    label_names: tuple[str, ...]
    probabilities: bool = False
    prefix: str = ""
    min_confidence: float | None = None
    deciding: Deciding = Deciding()

    def fields(self) -> list[pa.Field]:
        """Return the columns in order: label, probability, truncated, reason, then one for each class."""
        classes = self.label_names if self.probabilities else ()
        return [
            pa.field(f"{self.prefix}label", self._label_type()),
            pa.field(f"{self.prefix}probability", pa.float64()),
            pa.field(f"{self.prefix}truncated", pa.bool_()),
            pa.field(f"{self.prefix}reason", pa.string()),
            *(pa.field(f"{self.prefix}probability_{name}", pa.float64()) for name in classes),
        ]

    def _label_type(self) -> pa.DataType:
        return pa.list_(pa.string()) if self.deciding.lists else pa.string()

    def behind(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema with the added columns behind its own.

        Raises
        ------
        DataError
            If a column of such a name is already there.
        """
        added = self.fields()
        if taken := [field.name for field in added if field.name in schema.names]:
            raise DataError(
                f"The input already has a column {', '.join(map(repr, taken))}, which labelling would add.",
                f"Choose a prefix for the added columns: --prefix model_ would write {'model_' + taken[0]!r}.",
            )
        return pa.schema([*schema, *added], metadata=schema.metadata)

    def values(self, model: Scorer, cells: Sequence[Any], task: ProgressTask) -> list[pa.Array]:
        """Return the added columns for the text cells of n rows; each different text is scored once.

        Parameters
        ----------
        model
            Scores the texts.
        cells
            n plain values.
        task
            Told of n rows.

        Raises
        ------
        ModelError
            If a probability is not a number.
        """
        reasons = [_reason(cell) for cell in cells]
        rows_of_texts: dict[str, int] = {}  # in order of appearance
        rows = pa.array(
            [
                None if reason else rows_of_texts.setdefault(cell, len(rows_of_texts))
                for cell, reason in zip(cells, reasons, strict=True)
            ],
            pa.int64(),
        )
        texts = list(rows_of_texts)
        counted = _Counted(task)
        probabilities, truncated = self._score(model, texts, counted)
        rules = task_rules(self.deciding.task)
        given = rules.decide(probabilities, self.deciding.thresholds, self.label_names)
        confidence = rules.confidence(probabilities, given)
        unsure = confidence < (self.min_confidence or 0.0)
        classes = probabilities.T if self.probabilities else ()
        unlabelled = pa.array([NOT_CONFIDENT if is_unsure else None for is_unsure in unsure], pa.string()).take(rows)
        columns = [
            self._labels(given, unsure).take(rows),
            pa.array(confidence).take(rows),
            pa.array(truncated, pa.bool_()).take(rows).fill_null(False),  # what was not read was not cut
            pc.coalesce(pa.array(reasons, pa.string()), unlabelled),
            *(pa.array(np.ascontiguousarray(column)).take(rows) for column in classes),
        ]
        task.advance(len(cells) - counted.done)  # rows without a text, and repetitions
        return columns

    def _labels(self, given: NDArray[Any], unsure: NDArray[np.bool_]) -> pa.Array:
        """Return the label of each text, or the set of them, as it is written; null where that is not sure enough."""
        labels, separator = task_rules(self.deciding.task).named(given, self.label_names), self.deciding.separator
        written = labels if separator is None else [label_text(label, separator) for label in labels]
        kept = [None if left else label for label, left in zip(written, unsure.tolist(), strict=True)]
        return pa.array(kept, self._label_type())

    def count(self, labels: pa.Array) -> Mapping[str, int]:
        """Return how many rows have each label, by name; ``""`` is the set of none."""
        written, separator = labels.drop_null().to_pylist(), self.deciding.separator
        found = written if separator is None else [split_set(text, separator) for text in written]
        return task_rules(self.deciding.task).counted(found)

    def _score(
        self, model: Scorer, texts: list[str], progress: ProgressTask
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        if not texts:
            return np.empty((0, len(self.label_names))), np.empty(0, np.bool_)
        scored = model.score(texts, progress=progress)
        probabilities = np.asarray(scored.probabilities, np.float64)
        bad = ~np.isfinite(probabilities).all(axis=1)
        if bad.any():  # argmax would make a label of it
            text = texts[int(bad.argmax())]
            raise ModelError(
                f"The model gives no probabilities for {bad.sum():,} texts, the first: {text[:60]!r}.",
                "Try --precision fp32; if that does not help, the weights are damaged: train again.",
            )
        return probabilities, np.asarray(scored.truncated, np.bool_)


def _reason(cell: Any) -> str | None:
    """Return why a cell cannot be labelled, or None."""
    if cell is None:
        return EMPTY_TEXT
    if not isinstance(cell, str):
        return NOT_TEXT
    return None if cell.strip() else EMPTY_TEXT


class _Counted:
    """Passes progress on and knows how much there was."""

    def __init__(self, task: ProgressTask) -> None:
        self._task, self.done = task, 0

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n
        self._task.advance(n, note)
