"""One streaming reader for CSV, TSV, JSON lines and Parquet.

In: a path. Out: `Chunks`, batches of rows in file order and constant memory, with every value as it stands in the file.
Reading hand-labelled data and labelling a corpus both come through here, so that they see the same values. Training
takes batches, and a faulty row is an error; labelling takes pieces, in which what is no row stands apart.
"""

import contextlib
import gzip
import io
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from secondcoder.corpus.findings import Finding
from secondcoder.errors import DataError, SettingsError
from secondcoder.formats.delimited import open_delimited
from secondcoder.formats.jsonlines import is_json, open_json_lines, schema_of
from secondcoder.formats.records import Piece, sound_piece
from secondcoder.formats.text_files import PACKED, unreadable
from secondcoder.formats.values import plain_values
from secondcoder.storage import atomic_path, storage_errors

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


_ROW_GROUP_ROWS = 1 << 16
_ROW_GROUP_BYTES = 1 << 26  # long texts make a row group earlier, so that memory stays the same
# Ends of lines for str.splitlines, though not for JSON: escaped, since many a program reads JSONL that way.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_LINE_END = re.compile("[" + "".join(_LINE_ENDS) + "]")


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


def not_finite_findings(not_finite: Counter[str]) -> tuple[Finding, ...]:
    """Return what to say about NaN and infinity that were written as null."""
    if not not_finite:
        return ()
    columns = ", ".join(f"{name!r} ({n:,})" for name, n in not_finite.items())
    return (
        Finding(
            kind="not-json",
            severity="warning",
            message=f"JSON cannot hold NaN and infinity; they were written as null in {columns}.",
            cure="Write Parquet if they matter.",
            rows=not_finite.total(),
            examples=tuple(not_finite),
        ),
    )


def output_format(path: Path) -> Format:
    """Return the format that the ending of an output file asks for.

    Raises
    ------
    SettingsError
        If it is none of those supported.
    """
    ending = ending_of(path)
    kind = find_format(ending)
    if kind is None:
        raise SettingsError(
            f"The output {path} has {f'the ending {ending!r}' if ending else 'no ending'}, which names no format.",
            f"Let it end in {', '.join(FORMATS)}, text also with {' or '.join(PACKED)} behind.",
        )
    return kind


@contextlib.contextmanager
def open_writer(path: Path, schema: pa.Schema) -> Iterator[Writer]:
    """Yield a writer; when the block ends well, the file is there, else nothing is.

    Parameters
    ----------
    path
        The output; its ending chooses the format. Missing folders are made.
    schema
        The schema of all batches to come.

    Raises
    ------
    SettingsError
        If the ending names no format.
    StorageError
        If the folder cannot be written to, which is found at once, or the disk is full.
    """
    kind = output_format(path)
    with atomic_path(path) as temporary:
        writer: Writer
        with storage_errors(path):
            if kind == "parquet":
                writer = _ParquetWriter(temporary, schema)
            else:
                stream = TextStream(temporary, path.suffix.lower())
                tab = "\t" if kind == "tsv" else ","
                writer = _JsonLinesWriter(stream, schema) if kind == "jsonl" else _DelimitedWriter(stream, schema, tab)
        try:
            yield _Explained(writer, path)
        except BaseException:
            with contextlib.suppress(OSError, pa.ArrowException):  # the first error is the one to tell
                writer.close()
            raise
        with storage_errors(path):
            writer.close()


class _Explained(Writer):
    """Names the output, not its temporary, when the disk refuses."""

    def __init__(self, writer: Writer, path: Path) -> None:
        self._writer, self._path = writer, path

    def write(self, batch: pa.RecordBatch) -> None:
        with storage_errors(self._path):
            self._writer.write(batch)

    def close(self) -> None:
        self._writer.close()

    @property
    def not_finite(self) -> Counter[str]:
        return self._writer.not_finite


class TextStream:
    """A text file in UTF-8, packed by its ending; the same text gives the same bytes."""

    def __init__(self, path: Path, ending: str) -> None:
        self._file = path.open("wb")
        packed: Any = self._file
        if ending == ".gz":
            packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=self._file, mtime=0)
        elif ending == ".zst":
            packed = io.BufferedWriter(cast(Any, pa.CompressedOutputStream(self._file, "zstd")))
        self._text = io.TextIOWrapper(cast(BinaryIO, packed), "utf-8", newline="")

    def write(self, text: str) -> None:
        """Append the text."""
        self._text.write(text)

    def close(self) -> None:
        """Finish the file."""
        with self._file:
            self._text.close()


class _TextWriter(Writer):
    """What CSV and JSONL have in common: lines of UTF-8, and JSON without NaN."""

    def __init__(self, stream: TextStream, schema: pa.Schema) -> None:
        self._schema = schema
        self._not_finite: Counter[str] = Counter()
        self._encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
        self._stream = stream

    def close(self) -> None:
        self._stream.close()

    @property
    def not_finite(self) -> Counter[str]:
        return self._not_finite

    def _json(self, value: Any, column: str) -> str:
        try:
            return self._encoder.encode(value)
        except ValueError:  # NaN or infinity, somewhere in it
            self._not_finite[column] += 1
            return self._encoder.encode(_finite(value))


class _DelimitedWriter(_TextWriter):
    """RFC 4180 with line feeds: quotes only where needed, doubled inside."""

    def __init__(self, stream: TextStream, schema: pa.Schema, delimiter: str) -> None:
        super().__init__(stream, schema)
        self._delimiter = delimiter
        # Blanks at the ends are quoted against readers that trim; U+FEFF, as it would be taken for a byte-order mark.
        self._to_quote = re.compile(rf'["\r\n\ufeff{delimiter}]|\A\s|\s\Z')
        # In the header also around what a reader that looks for the delimiter there could take for it.
        odd = re.compile(r"[,;\t|]")
        self._write_lines([[self._quoted(name, always=bool(odd.search(name)))] for name in schema.names])

    def write(self, batch: pa.RecordBatch) -> None:
        self._write_lines(
            [
                [self._cell(value, field.name) for value in plain_values(array)]
                for field, array in zip(self._schema, batch.columns, strict=True)
            ]
        )

    def _write_lines(self, columns: list[list[str]]) -> None:
        for cells in zip(*columns, strict=True):
            self._stream.write(self._delimiter.join(cells) + "\n")

    def _cell(self, value: Any, column: str) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return self._quoted(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        return repr(value) if isinstance(value, int | float) else self._quoted(self._json(value, column))

    def _quoted(self, text: str, *, always: bool = False) -> str:
        return '"' + text.replace('"', '""') + '"' if always or self._to_quote.search(text) else text


class _JsonLinesWriter(_TextWriter):
    """One object a line, keys in the order of the columns, every key in every line."""

    def __init__(self, stream: TextStream, schema: pa.Schema) -> None:
        super().__init__(stream, schema)
        self._keys = [f"{self._encoder.encode(name)}: " for name in schema.names]

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [
            [key + self._json(value, field.name) for value in json_values(field, array)]
            for key, field, array in zip(self._keys, self._schema, batch.columns, strict=True)
        ]
        for pairs in zip(*columns, strict=True):
            line = "{" + ", ".join(pairs) + "}\n"
            self._stream.write(_LINE_END.sub(lambda found: _LINE_ENDS[found[0]], line))


class _ParquetWriter(Writer):
    """Types as they are; zstd; row groups of many batches."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._stream = path.open("wb")  # Arrow would take some paths for addresses
        self._writer = pq.ParquetWriter(self._stream, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        self._pending.append(batch)
        rows = sum(pending.num_rows for pending in self._pending)
        if rows >= _ROW_GROUP_ROWS or sum(pending.nbytes for pending in self._pending) >= _ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        with self._stream:
            self._flush()
            self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, self._schema)
            self._pending = []
            self._writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)


def json_values(field: pa.Field, array: pa.Array) -> list[Any]:
    """Return a column's plain values, those that are kept as JSON text (see `jsonlines`) as what the text stands for.

    Raises
    ------
    DataError
        If the column is marked as JSON text and is not.
    """
    values = plain_values(array)
    if not is_json(field):
        return values
    try:
        return [None if value is None else json.loads(value) for value in values]
    except ValueError as error:
        raise DataError(
            f"Column {field.name!r} is marked as JSON text, but a value is not JSON: {error}.",
            "Write the file again from its source, without the mark.",
        ) from error


def _finite(value: Any) -> Any:
    """Return the value with null for each NaN and infinity in it."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value
