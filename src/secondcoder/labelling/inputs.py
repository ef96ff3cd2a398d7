"""The corpus to be labelled: one file, many, a folder, or a pattern, as one stream of records.

In: paths. Out: `Inputs`: the files in order, columns that hold all their rows, pieces from any place on, and what the
files were when work began, so that work on files that have changed is stopped.
"""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondcoder.errors import DataError, StorageError
from secondcoder.formats.files import common_schema, ending_of, find_format, open_reader
from secondcoder.formats.records import Piece
from secondcoder.formats.text_files import unreadable
from secondcoder.labelling.outputs import SIDECARS, refuse_address
from secondcoder.progress import Progress
from secondcoder.storage import sha256_file, sha256_strings


@dataclass(frozen=True)
class Cursor:
    """A place in the input.

    Attributes
    ----------
    records
        How many records stand before it, rows or not.
    rows
        How many rows stand before it.
    """

    records: int = 0
    rows: int = 0


START = Cursor()


@dataclass(frozen=True)
class Placed:
    """A piece of a file and where it stands in the whole input."""

    piece: Piece
    file: Path
    start: Cursor

    @property
    def end(self) -> Cursor:
        """The place behind it."""
        return Cursor(self.start.records + self.piece.n_records, self.start.rows + self.piece.batch.num_rows)


class Inputs:
    """The files of a corpus, in order.

    Parameters
    ----------
    sources
        Files, folders (whose files of known formats are taken in the order of their names, subfolders too) and
        patterns such as ``part-*.parquet``.
    rows
        Most records in a piece.

    Raises
    ------
    DataError
        If there is no such file, one comes twice, or their columns do not agree.
    """

    def __init__(self, sources: Sequence[Path], *, rows: int) -> None:
        paths = [path for source in sources for path in expand(Path(source))]
        if len(set(paths)) < len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise DataError(f"{twice} is named twice.", "Name each file once.")
        if not paths:
            raise DataError("No file to label was given.", "Name a file, a folder or a pattern.")
        self._before = [_stat(path) for path in paths]
        self.readers = [open_reader(path, rows, lenient=True) for path in paths]
        self.schema: pa.Schema = common_schema(self.readers)
        self._hashes = [sha256_file(path) for path in paths]

    @property
    def name(self) -> str:
        """What to call the input in a message."""
        first = self.readers[0].path
        return str(first) if len(self.readers) == 1 else f"{first} and {len(self.readers) - 1} more"

    @property
    def ending(self) -> str:
        """The ending of the first file."""
        return ending_of(self.readers[0].path)

    def describe(self) -> dict[str, Any]:
        """Return names, sizes and hashes, as plain JSON values; one hash stands for all."""
        files = [
            {"name": reader.path.as_posix(), "bytes": size, "sha256": sha256}
            for reader, (size, _), sha256 in zip(self.readers, self._before, self._hashes, strict=True)
        ]
        one = self._hashes[0] if len(files) == 1 else sha256_strings(self._hashes)
        return {"name": self.name, "sha256": one, "files": files}

    def pieces(self, start: Cursor = START) -> Iterator[Placed]:
        """Yield the pieces from a place on, which is where some piece begins."""
        records = rows = 0
        for reader in self.readers:
            base, known = records, None if reader.total is None else reader.total + reader.n_rejected
            for piece in reader.pieces(self.schema, skip=start.records - records):
                records = base + piece.first
                if records >= start.records:
                    if records == start.records:
                        rows = start.rows
                    yield Placed(piece, reader.path, Cursor(records, rows))
                elif records + piece.n_records > start.records:
                    raise StorageError(
                        f"{self.name} does not divide where the work was stopped.",
                        "Label it anew, into another output.",
                    )
                records += piece.n_records
                rows += piece.batch.num_rows
            records = records if known is None else base + known
            if records == start.records:
                rows = start.rows

    def count(self, progress: Progress) -> tuple[int, int]:
        """Return how many rows there are, and how many records are none (in Parquet: are not known yet)."""
        rows = rejected = 0
        for reader in self.readers:
            if reader.total is not None:
                rows, rejected = rows + reader.total, rejected + reader.n_rejected
                continue
            with progress.task("Reading", None, unit="rows") as task:
                for piece in reader.pieces():
                    rows, rejected = rows + piece.batch.num_rows, rejected + len(piece.rejected)
                    task.advance(piece.batch.num_rows)
        return rows, rejected

    def first_rejected(self) -> str:
        """Return where the first record that is no row stands, and why it is none."""
        for placed in self.pieces():
            for rejected in placed.piece.rejected:
                return f"line {rejected.line:,} of {placed.file} ({rejected.reason}): {rejected.raw[:80]!r}"
        return ""

    def check_unchanged(self, *, contents: bool = False) -> None:
        """Raise `DataError` if a file is not what it was when the work began.

        Parameters
        ----------
        contents
            Whether to read and hash the files again; sizes and times of change are compared in any case.
        """
        for reader, before, sha256 in zip(self.readers, self._before, self._hashes, strict=True):
            now = _stat(reader.path)
            if now != before or (contents and sha256_file(reader.path) != sha256):
                what = f"from {before[0]:,} to {now[0]:,} bytes" if now[0] != before[0] else "at the same size"
                raise DataError(
                    f"{reader.path} changed while it was being labelled ({what}).",
                    "Label a copy that nobody writes to, into another output.",
                )


def expand(source: Path, *, folders: bool = True) -> list[Path]:
    """Return the files that a source stands for: itself, those in the folder, or those that fit the pattern.

    Parameters
    ----------
    source
        What the user named.
    folders
        Whether a folder stands for what is in it, and patterns for files only.
    """
    source = source.expanduser()
    refuse_address(source)
    if folders and source.is_dir():
        found = [path for path in sorted(source.rglob("*")) if _is_data(path, source)]
        if not found:
            raise DataError(f"{source} is a folder without a file of a known format.", "Name the files.")
        return found
    if not source.exists() and glob.has_magic(str(source)):
        found = [Path(path) for path in sorted(glob.glob(str(source), recursive=True))]  # noqa: PTH207 (absolute ones too)
        if not found:
            raise DataError(f"No file fits {source}.", "Check the pattern.")
        return [path for path in found if path.is_file() and not path.name.endswith(SIDECARS)] if folders else found
    return [source]


def _is_data(path: Path, folder: Path) -> bool:
    """Whether a file in a folder belongs to the corpus; not hidden ones, nor what labelling writes beside outputs."""
    parts = path.relative_to(folder).parts
    hidden = any(part.startswith((".", "_")) for part in parts)
    return (
        not hidden and not path.name.endswith(SIDECARS) and find_format(ending_of(path)) is not None and path.is_file()
    )


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return found.st_size, found.st_mtime_ns
