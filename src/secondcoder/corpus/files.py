"""One streaming reader for CSV, TSV, JSON lines and Parquet.

In: a path. Out: `Chunks`, batches of rows in file order and constant memory, with every value as it stands in the file.
Reading hand-labelled data and labelling a corpus both come through here, so that they see the same values.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from secondcoder.corpus.decoding import unreadable
from secondcoder.corpus.delimited import open_delimited
from secondcoder.corpus.jsonlines import open_json_lines
from secondcoder.errors import DataError

Format = Literal["csv", "tsv", "jsonl", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True)
class Chunks:
    """A file as batches of rows; iterating again begins again.

    Attributes
    ----------
    path
        The file.
    format
        What kind of file it is.
    schema
        The columns with their types: strings for CSV and TSV, what the file says for Parquet; for JSON lines see
        `secondcoder.corpus.jsonlines`.
    total
        How many rows there are, or None where only reading them all would tell (CSV, TSV).
    """

    path: Path
    format: Format
    schema: pa.Schema
    total: int | None
    _batches: Callable[[], Iterator[pa.RecordBatch]]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self.schema.names)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches()


def format_of(path: Path) -> Format:
    """Return a file's format by its ending.

    Raises
    ------
    DataError
        If the ending is none of those supported.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        found = f"the ending {ending!r}" if ending else "no ending"
        raise DataError(
            f"{path} has {found}, so its format is not known.",
            f"Supported are {', '.join(FORMATS)}. Save the file as one of them.",
        )
    return FORMATS[ending]


def open_chunks(path: Path, rows: int = 4096) -> Chunks:
    """Return a file as batches of at most `rows` rows.

    The delimiter, header, keys and types are found now; iterating then reads, and raises `DataError` at a faulty row.

    Raises
    ------
    DataError
        If there is no such file, its format is not supported, or it is damaged.
    """
    path = Path(path)
    kind = format_of(path)
    if path.is_dir():
        raise unreadable(path, IsADirectoryError())
    if kind == "parquet":
        return _open_parquet(path, rows)
    if kind == "jsonl":
        lines = open_json_lines(path)
        return Chunks(path, kind, lines.schema, lines.total, lambda: lines.batches(rows))
    table = open_delimited(path, tabs=kind == "tsv")
    return Chunks(path, kind, table.schema, None, lambda: table.batches(rows))


def read_table(path: Path) -> pa.Table:
    """Return a whole file as a table.

    Raises
    ------
    DataError
        As `open_chunks`, and at a faulty row.
    """
    chunks = open_chunks(path, rows=1 << 16)
    return pa.Table.from_batches(chunks, schema=chunks.schema)


def _open_parquet(path: Path, rows: int) -> Chunks:
    with _parquet(path) as file:
        schema, total = file.schema_arrow, file.metadata.num_rows
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise DataError(
            f"{path} has more than one column named {', '.join(map(repr, twice))}.", "Give each column its own name."
        )

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with _parquet(path) as file:
                yield from file.iter_batches(batch_size=rows)
        except pa.ArrowException as error:
            raise _damaged(path, error) from error

    return Chunks(path, "parquet", schema, total, batches)


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        # Buffered: a row group of any size is read a megabyte at a time.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except OSError as error:
        raise unreadable(path, error) from error
    except pa.ArrowException as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is not a sound Parquet file: {error}.", "Write or download it again.")
