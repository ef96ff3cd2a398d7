"""Parquet files, read and written.

In: a path, or batches of rows. Out: `Reader` in file order, with rows whose strings are not UTF-8 apart; or a file.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from secondcoder.errors import DataError
from secondcoder.formats.records import Piece, Reader, Rejected, Writer
from secondcoder.formats.text_files import unreadable


def open_parquet(path: Path, rows: int) -> Reader:
    """Return a Parquet file as batches of at most `rows` rows.

    Raises
    ------
    DataError
        If it is corrupt, or two columns have one name.
    """
    with _parquet(path) as file:
        schema, total = file.schema_arrow, file.metadata.num_rows
        groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise DataError(
            f"{path} has more than one column named {', '.join(map(repr, twice))}.", "Give each column its own name."
        )

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with _parquet(path) as file:
                yield from file.iter_batches(batch_size=rows)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error

    def pieces(wanted: pa.Schema, skip: int) -> Iterator[Piece]:
        first = 0
        try:
            with _parquet(path) as file:
                for i, n in enumerate(groups):  # one by one, so that pieces are the same wherever reading begins
                    if first + n <= skip:
                        first += n
                        continue
                    for batch in file.iter_batches(batch_size=rows, row_groups=[i]):
                        piece = sound_piece(batch, first)
                        yield (
                            piece
                            if wanted.equals(schema)
                            else Piece(piece.batch.cast(wanted), piece.rejected, piece.first)
                        )
                        first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error

    return Reader(path, "parquet", schema, total, batches, pieces)


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        # Buffered: a row group of any size is read a megabyte at a time.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except OSError as error:
        raise unreadable(path, error) from error
    except pa.ArrowException as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is a corrupt Parquet file: {error}.", "Write or download it again.")


_ROW_GROUP_ROWS = 1 << 16
_ROW_GROUP_BYTES = 1 << 26  # long texts make a row group earlier, so that memory stays the same


class ParquetWriter(Writer):
    """Types as they are; zstd; row groups of many batches."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._stream = path.open("wb")  # Arrow would take some paths for addresses
        self._writer = pq.ParquetWriter(self._stream, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows, as soon as they make a row group."""
        self._pending.append(batch)
        rows = sum(pending.num_rows for pending in self._pending)
        if rows >= _ROW_GROUP_ROWS or sum(pending.nbytes for pending in self._pending) >= _ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        with self._stream:
            self._flush()
            self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, self._schema)
            self._pending = []
            self._writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)


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
