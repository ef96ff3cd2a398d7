"""Pieces of a file: rows that can be used, and what could not be read between them.

In: records one by one, each a row or the reason why it is none. Out: `Piece`s of bounded size, in file order. Only
labelling reads so; training refuses a file with a faulty row.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

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


def sound_piece(batch: pa.RecordBatch, first: int) -> Piece:
    """Return the rows of a Parquet file whose strings are the UTF-8 that their type promises, and the others apart.

    Parameters
    ----------
    batch
        Rows as they were read.
    first
        How many rows stand before them in the file.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        kept: list[int] = []
        rejected = []
        for i in range(batch.num_rows):
            row = batch.slice(i, 1)
            if fault := _fault(row):
                rejected.append(Rejected(first + i + 1, _raw(row), fault, at=len(kept)))
            else:
                kept.append(i)
        return Piece(batch.take(pa.array(kept, pa.int64())), tuple(rejected), first)
    return Piece(batch, (), first)


def _fault(row: pa.RecordBatch) -> str:
    """Return what is wrong with one row, or nothing."""
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            if pa.types.is_dictionary(column.type):
                column = column.dictionary.take(column.indices)  # its other values are other rows' business
            column.validate(full=True)
        except pa.ArrowInvalid:
            return f"column {name!r} has a string that is not UTF-8"
    return ""


def _raw(row: pa.RecordBatch) -> str:
    """Return one row as JSON, as far as its values can be shown."""
    shown: dict[str, str | None] = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            value = column[0].as_py()
            shown[name] = None if value is None else str(value)
        except UnicodeDecodeError as error:
            shown[name] = error.object.decode("utf-8", "backslashreplace")
    return json.dumps(shown, ensure_ascii=False)


def readable(raw: str) -> str:
    """Return text in which bytes that could not be decoded (``surrogateescape``) are spelt out."""
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
