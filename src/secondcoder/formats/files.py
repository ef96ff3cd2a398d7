"""One streaming reader for CSV, TSV, JSON lines and Parquet.

In: a path. Out: `Reader`, batches of rows in file order and constant memory, with every value as it stands in the file.
Reading hand-labelled data and labelling a corpus both come through here, so that they see the same values. Training
takes batches, and a faulty row is an error; labelling takes pieces, in which what is no row stands apart.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from secondcoder.errors import DataError, SettingsError
from secondcoder.formats.delimited import DelimitedWriter, open_delimited
from secondcoder.formats.jsonlines import JsonLinesWriter, open_json_lines, schema_of
from secondcoder.formats.parquet import ParquetWriter, open_parquet
from secondcoder.formats.records import Format, Reader, Writer
from secondcoder.formats.text_files import PACKED, TextStream, unreadable
from secondcoder.storage import atomic_path, storage_errors

FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


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


def open_reader(path: Path, rows: int = 4096, *, lenient: bool = False) -> Reader:
    """Return a file as batches of at most `rows` rows.

    The delimiter, header, keys and types are found now; iterating then reads, and raises `DataError` at a faulty row.

    Parameters
    ----------
    path
        The file.
    rows
        Most rows in a batch, and most records in a piece.
    lenient
        Whether faulty rows are passed over now; `Reader.pieces` then gives them apart.

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
        return open_parquet(path, rows)
    if kind == "jsonl":
        lines = open_json_lines(path, lenient=lenient)
        return Reader(
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
    return Reader(path, kind, table.schema, None, lambda: table.batches(rows), lambda _, __: table.pieces(rows))


def common_schema(files: list[Reader]) -> pa.Schema:
    """Return columns that hold the rows of all the files.

    JSON lines may have different keys and types, Parquet columns may lack a type where they are empty; else all files
    have the same columns in the same order.

    Raises
    ------
    DataError
        If they do not agree; names the first file that differs from the first of all.
    """
    first = files[0]
    if first.format == "jsonl" and all(reader.format == "jsonl" for reader in files):
        types: dict[str, set[type]] = {}
        for reader in files:
            for key, kinds in reader.json_types.items():
                types.setdefault(key, set()).update(kinds)
        return schema_of(types)
    schema = first.schema
    for reader in files[1:]:
        if reader.columns != first.columns:
            raise DataError(
                f"{reader.path} has the columns {', '.join(map(repr, reader.columns))}, and {first.path} has "
                f"{', '.join(map(repr, first.columns))}.",
                "Give files with the same columns in the same order, or label them one by one.",
            )
        try:
            schema = pa.unify_schemas([schema, reader.schema])
        except pa.ArrowException as error:
            raise DataError(
                f"{reader.path} and {first.path} have columns of different types: {error}.",
                "Write them with the same types, or label them one by one.",
            ) from error
    return schema


def read_table(path: Path) -> pa.Table:
    """Return a whole file as a table.

    Raises
    ------
    DataError
        As `open_reader`, and at a faulty row.
    """
    reader = open_reader(path, rows=1 << 16)
    return pa.Table.from_batches(reader, schema=reader.schema)


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
                writer = ParquetWriter(temporary, schema)
            else:
                stream = TextStream(temporary, path.suffix.lower())
                tab = "\t" if kind == "tsv" else ","
                writer = JsonLinesWriter(stream, schema) if kind == "jsonl" else DelimitedWriter(stream, schema, tab)
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
