"""CSV and TSV, cell by cell as typed.

In: a path. Out: batches of strings, in which only the empty cell is null. Nothing is dropped, padded or trimmed: a row
that does not fit the header is an error with its line, or, where a corpus is labelled, comes out apart (`pieces`).

Python's `csv` does the parsing, in strict mode. DuckDB was tried first, with types off and its dialect fixed: it left
out blank lines in the middle of a file, accepted a surplus empty cell at the end of a row, stripped the blanks before
an opening quote and refused files of mixed line ends, which a coder must not find out from the figures.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from secondcoder.corpus.decoding import open_text
from secondcoder.corpus.pieces import CUT, Piece, cut_pieces
from secondcoder.corpus.recovering import recovered_rows
from secondcoder.errors import DataError

LONGEST_CELL = 1 << 26  # characters; what is longer is an unclosed quote that would swallow the file
_SAMPLE = 1 << 18  # characters, at least, from which the delimiter is found
_CANDIDATES = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Delimited:
    """A CSV or TSV file whose delimiter and header have been found.

    Attributes
    ----------
    path
        The file.
    delimiter
        The character between two cells; cells are quoted by ``"``, and a quote in them is doubled.
    schema
        The header's names, all of type string.
    """

    path: Path
    delimiter: str
    schema: pa.Schema

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, at most `rows` a batch."""
        size = 0
        cells: list[list[str]] = []
        for row in _checked_rows(self.path, self.delimiter, len(self.schema)):
            cells.append(row)
            size += sum(map(len, row))
            if len(cells) == rows or size >= CUT:
                yield self._batch(cells)
                cells, size = [], 0
        if cells:
            yield self._batch(cells)

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Yield the rows in order with what is none, at most `rows` records a piece."""
        _allow_long_cells()
        with open_text(self.path, newline="", escape=True) as stream:
            yield from cut_pieces(recovered_rows(stream, self.delimiter, len(self.schema)), rows, self._batch)

    def _batch(self, cells: list[list[str]]) -> pa.RecordBatch:
        columns = (
            ([cell or None for cell in column] for column in zip(*cells, strict=True))
            if cells
            else ([],) * len(self.schema)
        )
        return pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=self.schema)


def open_delimited(path: Path, *, tabs: bool, lenient: bool = False) -> Delimited:
    """Return the file with its delimiter (the tab, or the one that fits best) and header found.

    Parameters
    ----------
    path
        The file.
    tabs
        Whether the tab is the delimiter.
    lenient
        Whether bytes behind the header may be other than UTF-8.

    Raises
    ------
    DataError
        If the file is empty, its first line is blank, or two columns have one name.
    """
    delimiter = "\t" if tabs else _sniff(path, lenient=lenient)
    _allow_long_cells()
    with open_text(path, newline="", escape=lenient) as stream:
        header = next(_rows(path, stream, delimiter), (1, None))[1]
    if header is None:
        raise DataError(f"{path} is empty.", "The first line must name the columns.")
    if not header:
        raise DataError(f"The first line of {path} is blank.", "The first line must name the columns.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(
            f"{path} has more than one column named {', '.join(map(repr, twice))}.", "Give each column its own name."
        )
    if any("\0" in name for name in header):
        raise DataError(f"The header of {path} has NUL bytes: {header[0]!r}.", "Save the file as UTF-8.")
    if any("\udc80" <= character <= "\udcff" for name in header for character in name):
        raise DataError(f"The header of {path} is not UTF-8.", "Save the file as UTF-8.")
    return Delimited(path, delimiter, pa.schema([(name, pa.string()) for name in header]))


def _sniff(path: Path, *, lenient: bool) -> str:
    """Return the delimiter whose rows are most often as long as the header; the comma where nothing is delimited.

    Of those that fit alike, one by which quotes stand around whole cells, as a delimiter inside them is text; then the
    one that makes more columns.
    """
    with open_text(path, newline="", escape=lenient) as stream:
        lines = stream.readlines(_SAMPLE)
        whole = not stream.read(1)
    best, best_score = ",", (0.0, False, 1)
    for delimiter in _CANDIDATES:
        counts = _row_lengths(lines, delimiter, whole=whole)
        if counts and counts[0] > 1:
            fitting = [n == counts[0] for n in counts]
            score = (sum(fitting) / len(fitting), _is_quoted_by_cell("".join(lines), delimiter), counts[0])
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _is_quoted_by_cell(text: str, delimiter: str) -> bool:
    """Return whether every quote belongs to the two around a cell, or is doubled between them; the last may be open."""
    between = rf"[{delimiter}\r\n]"
    cell = rf'(?>"(?:[^"]|"")*+"|[^"{delimiter}\r\n]*+)'
    return re.fullmatch(rf'(?:{cell}{between})*+(?:{cell}|"(?:[^"]|"")*+)', text) is not None


def _row_lengths(lines: list[str], delimiter: str, *, whole: bool) -> list[int]:
    _allow_long_cells()
    counts = []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                counts.append(len(row))
    except csv.Error:
        if whole or reader.line_num < len(lines):  # else the sample only ends inside a quoted cell
            counts.append(0)
    return counts


def _allow_long_cells() -> None:
    # The limit, 131,072 characters at first, belongs to the process; it is raised and never lowered.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))


def _rows(path: Path, stream: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row begins, from 1, and the row."""
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}: the row that begins on line {line:,} cannot be read (up to line {reader.line_num:,}): "
                f"{error}.",
                'Look for a quote that is not closed, or one inside a quoted cell: write it twice (""), not as \\".',
            ) from error
        yield line, row
        line = reader.line_num + 1


def _checked_rows(path: Path, delimiter: str, width: int) -> Iterator[list[str]]:
    """Yield the rows after the header, each of `width` cells."""
    _allow_long_cells()
    blank: int | None = None
    with open_text(path, newline="") as stream:
        for line, row in islice(_rows(path, stream, delimiter), 1, None):
            if not row and width == 1:
                yield [""]  # in a file of one column, an empty line is an empty cell
                continue
            if not row:
                blank = blank or line
                continue
            if blank is not None:  # blank lines after the last row are no rows; before it they may be lost ones
                raise DataError(f"Line {blank:,} of {path} is blank.", "Remove it, or fill in its cells.")
            if len(row) != width:
                raise _misfit(path, line, row, delimiter, width)
            yield row


def _misfit(path: Path, line: int, row: list[str], delimiter: str, width: int) -> DataError:
    if len(row) == width + 1 and line == 2:
        cure = "If R wrote the file with row names, write it with row.names = FALSE. "
    else:
        cure = ""
    return DataError(
        f"Line {line:,} of {path} has {len(row)} cells, the header has {width}: {delimiter.join(row)[:120]!r}.",
        f"{cure}Put cells that contain {delimiter!r} in double quotes, and give every row a cell for each column.",
    )
