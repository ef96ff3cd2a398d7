"""Who labels the windows: this process, or workers elsewhere (`secondcoder.labelling.ray_engine`).

In: windows in order, and the columns to add. Out: the same windows in the same order, each with its added columns.
Reading, writing, parts, manifest and going on are the same for all engines, and so the outputs are.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from secondcoder.formats.jsonlines import json_values
from secondcoder.labelling.chunks import Window
from secondcoder.labelling.columns import AddedColumns, Scorer
from secondcoder.progress import Task


class Engine(ABC):
    """Labels windows with one model."""

    @property
    @abstractmethod
    def label_names(self) -> tuple[str, ...]:
        """The k classes."""

    @property
    @abstractmethod
    def text_column(self) -> str | None:
        """The column that the training texts came from."""

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Hash of what computes the scores."""

    @property
    @abstractmethod
    def min_confidence(self) -> float | None:
        """The confidence that was chosen for the model, or None."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return what the model is and what it computes with; see `secondcoder.model.model.Model.summary`."""

    @abstractmethod
    def label(
        self, windows: Iterable[Window], added: AddedColumns, *, text: str, task: Task
    ) -> Iterator[tuple[Window, list[pa.Array]]]:
        """Yield each window, in order, with the values of the added columns.

        Parameters
        ----------
        windows
            Rows; so many are read ahead as the engine works on at once.
        added
            The columns to add.
        text
            The column with the texts.
        task
            Told of every row that is done.
        """


class LocalEngine(Engine):
    """Labels in this process, one window after the other.

    Parameters
    ----------
    model
        Scores texts.
    """

    def __init__(self, model: Scorer) -> None:
        self._model = model

    @property
    def label_names(self) -> tuple[str, ...]:
        """The model's."""
        return self._model.label_names

    @property
    def text_column(self) -> str | None:
        """The model's."""
        return self._model.text_column

    @property
    def sha256(self) -> str:
        """The model's."""
        return self._model.sha256

    @property
    def min_confidence(self) -> float | None:
        """The model's."""
        return min_confidence(self._model)

    def summary(self) -> dict[str, Any]:
        """Return the model's."""
        return self._model.summary()

    def label(
        self, windows: Iterable[Window], added: AddedColumns, *, text: str, task: Task
    ) -> Iterator[tuple[Window, list[pa.Array]]]:
        """Yield each window when it is labelled; nothing is read ahead."""
        for window in windows:
            yield window, label_cells(self._model, text_cells(window, text), added, task)


def min_confidence(model: Scorer) -> float | None:
    """Return the confidence that was chosen for a model, or None."""
    found: float | None = getattr(getattr(model, "card", None), "min_confidence", None)
    return found


def text_cells(window: Window, text: str) -> pa.RecordBatch:
    """Return the column with the texts, alone: all that labelling needs to know of a window."""
    rows = window.rows()
    return rows.select([rows.schema.get_field_index(text)])


def label_cells(model: Scorer, cells: pa.RecordBatch, added: AddedColumns, task: Task) -> list[pa.Array]:
    """Return the values of the added columns for the text cells of a window."""
    return added.values(model, json_values(cells.schema.field(0), cells.column(0)), task)
