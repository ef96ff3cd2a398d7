"""Rows of labelled files as they stand, to be put in another order.

In: files that `secondcoder.formats.files` wrote. Out: so many rows at a time, as lines of text or as Arrow tables,
and a file that is made of them. Text is copied, not parsed: of a CSV only the quotes are counted, since a row ends
where a line ends outside quotes.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondcoder.formats.files import TextStream, find_format, open_chunks, open_writer
from secondcoder.formats.text_files import open_text
from secondcoder.storage import atomic_path, storage_errors


class Source(ABC):
    """The rows of some files, one after the other."""

    @abstractmethod
    def take(self, n: int) -> tuple[Any, int]:
        """Return the next n rows, fewer at the end, and how many they are."""


class Target(ABC):
    """A file that takes rows as a `Source` gives them."""

    @abstractmethod
    def write(self, rows: Any) -> None:
        """Append the rows."""


class _Lines(Source):
    def __init__(self, files: list[Path], *, is_csv: bool) -> None:
        self._is_csv = is_csv
        self.header = ""
        if is_csv:
            self.header = next(self._rows(files[0]), "")
        self._records = (row for path in files for row in self._behind_header(path))

    def take(self, n: int) -> tuple[str, int]:
        rows = list(islice(self._records, n))
        return "".join(rows), len(rows)

    def _behind_header(self, path: Path) -> Iterator[str]:
        rows = self._rows(path)
        if self._is_csv:
            next(rows, None)
        return rows

    def _rows(self, path: Path) -> Iterator[str]:
        with open_text(path, newline="\n") as stream:
            if not self._is_csv:
                yield from stream
                return
            row = ""
            for line in stream:
                row += line
                if row.count('"') % 2 == 0:
                    yield row
                    row = ""


class _Batches(Source):
    def __init__(self, files: list[Path]) -> None:
        self.schema = open_chunks(files[0]).schema
        self._batches = (batch for path in files for batch in open_chunks(path))
        self._rest: pa.RecordBatch | None = None

    def take(self, n: int) -> tuple[list[pa.RecordBatch], int]:
        taken: list[pa.RecordBatch] = []
        left = n
        while left:
            batch = self._rest or next(self._batches, None)
            if batch is None:
                break
            taken.append(batch.slice(0, left))
            self._rest = batch.slice(left) if batch.num_rows > left else None
            left -= taken[-1].num_rows
        return taken, n - left


class _LinesTarget(Target):
    def __init__(self, stream: TextStream) -> None:
        self._stream = stream

    def write(self, rows: str) -> None:
        self._stream.write(rows)


class _BatchesTarget(Target):
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, rows: list[pa.RecordBatch]) -> None:
        for batch in rows:
            self._writer.write(batch)


def open_source(files: list[Path], ending: str) -> Source:
    """Return the rows of files of one labelled output."""
    kind = find_format(ending)
    return _Batches(files) if kind == "parquet" else _Lines(files, is_csv=kind != "jsonl")


@contextlib.contextmanager
def open_target(path: Path, like: Source) -> Iterator[Target]:
    """Yield a file that takes the rows of sources like this one; when the block ends well, it is there."""
    if isinstance(like, _Batches):
        with open_writer(path, like.schema) as writer:
            yield _BatchesTarget(writer)
        return
    assert isinstance(like, _Lines)
    with atomic_path(path) as temporary, storage_errors(path):
        stream = TextStream(temporary, path.suffix.lower())
        try:
            stream.write(like.header)
            yield _LinesTarget(stream)
        finally:
            stream.close()
