"""One streaming reader for CSV, TSV, JSON lines and Parquet.

In: a path. Out: `Chunks`, batches of rows in file order and constant memory, with every value as it stands in the file.
Reading hand-labelled data and labelling a corpus both come through here, so that they see the same values. Training
takes batches, and a faulty row is an error; labelling takes pieces, in which what is no row stands apart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from secondcoder.corpus.decoding import PACKED, unreadable
from secondcoder.corpus.delimited import open_delimited
from secondcoder.corpus.jsonlines import open_json_lines, schema_of
from secondcoder.corpus.pieces import Piece, sound_piece
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


def ending_of(path: Path) -> str:
    """Return a file's ending in small letters, with the one before it where the file is packed: ``.csv.gz``."""
    ending = path.suffix.lower()
    return Path(path.stem).suffix.lower() + ending if ending in PACKED else ending


def find_format(ending: str) -> Format | None:
    """Return the format that an ending stands for, or None."""
    for packed in PACKED:
        if ending.endswith(packed):
            kind = FORMATS.get(ending.removesuffix(packed))
            return None if kind == "parquet" else kind
    return FORMATS.get(ending)


def format_of(path: Path) -> Format:
    """Return a file's format by its ending.

    Raises
    ------
    DataError
        If the ending is none of those supported.
    """
    ending = ending_of(path)
    kind = find_format(ending)
    if kind is None:
        found = f"the ending {ending!r}" if ending else "no ending"
        raise DataError(
            f"{path} has {found}, so its format is not known.",
            f"Supported are {', '.join(FORMATS)}, and CSV, TSV and JSONL packed as {' or '.join(PACKED)}. "
            "Save the file as one of them.",
        )
    return kind


def open_chunks(path: Path, rows: int = 4096, *, lenient: bool = False) -> Chunks:
    """Return a file as batches of at most `rows` rows.

    The delimiter, header, keys and types are found now; iterating then reads, and raises `DataError` at a faulty row.

    Parameters
    ----------
    path
        The file.
    rows
        Most rows in a batch, and most records in a piece.
    lenient
        Whether faulty rows are passed over now; `Chunks.pieces` then gives them apart.

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
        lines = open_json_lines(path, lenient=lenient)
        return Chunks(
            path,
            kind,
            lines.schema,
            lines.total,
            lambda: lines.batches(rows),
            lambda schema, _: lines.with_schema(schema).pieces(rows),
            lines.n_rejected,
            lines.types,
        )
    table = open_delimited(path, tabs=kind == "tsv", lenient=lenient)
    return Chunks(path, kind, table.schema, None, lambda: table.batches(rows), lambda _, __: table.pieces(rows))


def common_schema(files: list[Chunks]) -> pa.Schema:
    """Return columns that hold the rows of all the files.

    JSON lines may have different keys and types, Parquet columns may lack a type where they are empty; else all files
    have the same columns in the same order.

    Raises
    ------
    DataError
        If they do not agree; names the first file that differs from the first of all.
    """
    first = files[0]
    if first.format == "jsonl" and all(chunks.format == "jsonl" for chunks in files):
        types: dict[str, set[type]] = {}
        for chunks in files:
            for key, kinds in chunks.json_types.items():
                types.setdefault(key, set()).update(kinds)
        return schema_of(types)
    schema = first.schema
    for chunks in files[1:]:
        if chunks.columns != first.columns:
            raise DataError(
                f"{chunks.path} has the columns {', '.join(map(repr, chunks.columns))}, and {first.path} has "
                f"{', '.join(map(repr, first.columns))}.",
                "Give files with the same columns in the same order, or label them one by one.",
            )
        try:
            schema = pa.unify_schemas([schema, chunks.schema])
        except pa.ArrowException as error:
            raise DataError(
                f"{chunks.path} and {first.path} have columns of different types: {error}.",
                "Write them with the same types, or label them one by one.",
            ) from error
    return schema


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

    return Chunks(path, "parquet", schema, total, batches, pieces)


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
