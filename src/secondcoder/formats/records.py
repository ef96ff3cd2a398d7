"""Pieces of a file: rows that can be used, and what could not be read between them.

In: records one by one, each a row or the reason why it is none. Out: `Piece`s of bounded size, in file order. Only
labelling reads so; training refuses a file with a faulty row.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa

from secondcoder.formats.text_files import TextStream

CUT = 1 << 25  # characters of source after which a piece or batch is closed, whatever its rows
_T = TypeVar("_T")


@dataclass(frozen=True)
class Rejected:
    """Something in a file that is no row.

    Attributes
    ----------
    line
        Where it begins, from 1; in Parquet, the row.
    raw
        What stands there, without the line end; bytes that are not UTF-8 are spelt out.
    reason
        Why it is no row.
    lines
        How many lines it has.
    at
        How many rows of its piece stand before it.
    """

    line: int
    raw: str
    reason: str
    lines: int = 1
    at: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return what is written down of it, as plain JSON values."""
        return {"line": self.line, "lines": self.lines, "reason": self.reason, "raw": self.raw}


@dataclass(frozen=True)
class Piece:
    """Some records of a file that follow each other.

    Attributes
    ----------
    batch
        The rows.
    rejected
        What is no row.
    first
        How many records of the file, rows or not, stand before the piece.
    """

    batch: pa.RecordBatch
    rejected: tuple[Rejected, ...] = ()
    first: int = 0

    @property
    def n_records(self) -> int:
        """Rows and what is none."""
        return int(self.batch.num_rows) + len(self.rejected)


def cut_pieces(
    records: Iterable[tuple[int, _T | Rejected]], rows: int, make_batch: Callable[[list[_T]], pa.RecordBatch]
) -> Iterator[Piece]:
    """Yield the records as pieces of at most `rows` records and about `CUT` characters.

    Where pieces end depends on the file and on `rows` alone, so that work which was stopped finds its place again.

    Parameters
    ----------
    records
        For each its length in characters, and the row or what is none.
    rows
        Most records in a piece.
    make_batch
        Turns rows into a batch.
    """
    good: list[_T] = []
    rejected: list[Rejected] = []
    size = first = 0
    for n_characters, record in records:
        size += n_characters
        if isinstance(record, Rejected):
            rejected.append(Rejected(record.line, record.raw, record.reason, record.lines, at=len(good)))
        else:
            good.append(record)
        n_records = len(good) + len(rejected)
        if n_records == rows or size >= CUT:
            yield Piece(make_batch(good), tuple(rejected), first)
            first += n_records
            good, rejected, size = [], [], 0
    if good or rejected:
        yield Piece(make_batch(good), tuple(rejected), first)


def readable(raw: str) -> str:
    """Return text in which bytes that could not be decoded (``surrogateescape``) are spelt out."""
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


Format = Literal["csv", "tsv", "jsonl", "parquet"]


@dataclass(frozen=True)
class Reader:
    """A file as batches of rows; iterating again begins again.

    Attributes
    ----------
    path
        The file.
    format
        What kind of file it is.
    schema
        The columns with their types: strings for CSV and TSV, what the file says for Parquet; for JSON lines see
        `secondcoder.formats.jsonlines`.
    total
        How many rows there are, or None where only reading them all would tell (CSV, TSV).
    n_rejected
        How many lines are no row, where that is known.
    json_types
        Of JSON lines, the Python types of each key's values.
    """

    path: Path
    format: Format
    schema: pa.Schema
    total: int | None
    _batches: Callable[[], Iterator[pa.RecordBatch]]
    _pieces: Callable[[pa.Schema, int], Iterator[Piece]]
    n_rejected: int = 0
    json_types: dict[str, set[type]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self.schema.names)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches()

    def pieces(self, schema: pa.Schema | None = None, skip: int = 0) -> Iterator[Piece]:
        """Yield the rows as pieces, with what is no row apart.

        Parameters
        ----------
        schema
            The columns to give the rows, where those of several files are to agree: the same names, wider types.
        skip
            How many records need not be read; pieces within them may be left out.
        """
        return self._pieces(self.schema if schema is None else schema, skip)


class Writer(ABC):
    """Takes batches of one schema, in order."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""

    @property
    def not_finite(self) -> Counter[str]:
        """Values that were written as null because JSON cannot hold them, by column."""
        return Counter()


class TextWriter(Writer):
    """What CSV and JSONL have in common: lines of UTF-8, and JSON without NaN."""

    def __init__(self, stream: TextStream, schema: pa.Schema) -> None:
        self._schema = schema
        self._not_finite: Counter[str] = Counter()
        self._encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
        self._stream = stream

    def close(self) -> None:
        """Finish the file."""
        self._stream.close()

    @property
    def not_finite(self) -> Counter[str]:
        """As in `Writer`."""
        return self._not_finite

    def _json(self, value: Any, column: str) -> str:
        try:
            return self._encoder.encode(value)
        except ValueError:  # NaN or infinity, somewhere in it
            self._not_finite[column] += 1
            return self._encoder.encode(_finite(value))


def _finite(value: Any) -> Any:
    """Return the value with null for each NaN and infinity in it."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value
