"""Who labels the chunks: this process, or workers elsewhere (`secondcoder.labelling.ray_engine`).

In: chunks in order, and the columns to add. Out: the same chunks in the same order, each with its added columns.
Reading, writing, parts, manifest and going on are the same for all engines, and so the outputs are.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from secondcoder.formats.jsonlines import json_values
from secondcoder.labelling.chunks import Chunk
from secondcoder.labelling.columns import AddedColumns, Scorer
from secondcoder.progress import ProgressTask


class Engine(ABC):
    """Labels chunks with one model."""

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
        self, chunks: Iterable[Chunk], added: AddedColumns, *, text: str, task: ProgressTask
    ) -> Iterator[tuple[Chunk, list[pa.Array]]]:
        """Yield each chunk, in order, with the values of the added columns.

        Parameters
        ----------
        chunks
            Rows; so many are read ahead as the engine works on at once.
        added
            The columns to add.
        text
            The column with the texts.
        task
            Told of every row that is done.
        """


class LocalEngine(Engine):
    """Labels in this process, one chunk after the other.

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
        self, chunks: Iterable[Chunk], added: AddedColumns, *, text: str, task: ProgressTask
    ) -> Iterator[tuple[Chunk, list[pa.Array]]]:
        """Yield each chunk when it is labelled; nothing is read ahead."""
        for chunk in chunks:
            yield chunk, label_cells(self._model, text_cells(chunk, text), added, task)


def min_confidence(model: Scorer) -> float | None:
    """Return the confidence that was chosen for a model, or None."""
    found: float | None = getattr(getattr(model, "card", None), "min_confidence", None)
    return found


def text_cells(chunk: Chunk, text: str) -> pa.RecordBatch:
    """Return the column with the texts, alone: all that labelling needs to know of a chunk."""
    rows = chunk.rows()
    return rows.select([rows.schema.get_field_index(text)])


def label_cells(model: Scorer, cells: pa.RecordBatch, added: AddedColumns, task: ProgressTask) -> list[pa.Array]:
    """Return the values of the added columns for the text cells of a chunk."""
    return added.values(model, json_values(cells.schema.field(0), cells.column(0)), task)
