"""CSV and TSV, cell by cell as typed.

In: a path. Out: batches of strings, in which only the empty cell is null. Nothing is dropped, padded or trimmed: a row
that does not fit the header is an error with its line, or, where a corpus is labelled, comes out apart (`pieces`).

Python's `csv` does the parsing, in strict mode. DuckDB was tried first, with types off and its dialect fixed: it left
out blank lines in the middle of a file, accepted a surplus empty cell at the end of a row, stripped the blanks before
an opening quote and refused files of mixed line ends, which a coder must not find out from the figures.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondcoder.errors import DataError
from secondcoder.formats.records import CUT, Piece, Rejected, TextWriter, cut_pieces, readable
from secondcoder.formats.text_files import TextStream, open_text
from secondcoder.formats.values import plain_values

LONGEST_ROW = 1 << 24  # characters; what is longer is a quote that was not closed
_NOT_CLOSED = "a quote is not closed"
_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8


@dataclass(frozen=True)
class _Attempt:
    """What strict reading makes of the lines from here on: a row, or why there is none."""

    lines: list[str]
    row: list[str]
    fault: str = ""

    @property
    def parsed(self) -> bool:
        """Whether the quotes are in order, whatever the number of cells."""
        return bool(self.row) or not self.fault


def recovered_rows(lines: Iterable[str], delimiter: str, width: int) -> Iterator[tuple[int, list[str] | Rejected]]:
    """Yield the length of each row after the header in characters, and the row or what is none; see the module.

    Parameters
    ----------
    lines
        Physical lines with their ends, the header first; undecodable bytes as ``surrogateescape`` leaves them.
    delimiter
        Between two cells.
    width
        Cells of a row.
    """
    yield from _Reader(lines, delimiter, width).rows()


class _Reader:
    def __init__(self, lines: Iterable[str], delimiter: str, width: int) -> None:
        self._source = iter(lines)
        self._again: deque[str] = deque()  # lines that were looked at and not used up
        self._ahead: _Attempt | None = None
        self._taken: list[str] = []
        self._delimiter, self._width = delimiter, width
        self._line = 1
        self._csv = csv.reader(self._take(), delimiter=delimiter, strict=True)
        cell = rf'(?:"(?:[^"]|"")*"|[^"{re.escape(delimiter)}\r\n]*)'
        self._sound = re.compile(rf"{cell}(?:{re.escape(delimiter)}{cell})*(?:\r\n|\r|\n)?\Z")

    def rows(self) -> Iterator[tuple[int, list[str] | Rejected]]:
        """Yield rows and what is none, to the end of the file."""
        header = self.attempt()  # which has been read before
        self._line += len(header.lines) if header else 0
        blank: list[str] = []
        after_fault = False
        while found := self.attempt():
            if not found.row and not found.fault:
                if self._width > 1:  # else an empty line is an empty cell
                    blank += found.lines
                    continue
                found = _Attempt(found.lines, [""])
            for line in blank:  # blank lines after the last row are no rows; before it they may be lost ones
                yield self._reject([line], "blank line")
            blank = []
            n_lines = self._faulty_lines(found, after_fault)
            if n_lines == 0:
                self._line += len(found.lines)
                after_fault = False
                yield sum(map(len, found.lines)), found.row
                continue
            self._put_back(found.lines[n_lines:])
            after_fault = after_fault or not self._is_sound(found)
            reason = found.fault or (_NOT_CLOSED if len(found.lines) > 1 else "part of a faulty row")
            yield self._reject(found.lines[:n_lines], reason)

    def attempt(self) -> _Attempt | None:
        """Return what strict reading makes of the next lines, or None at the end; the lines are used up."""
        if self._ahead is not None:
            found, self._ahead = self._ahead, None
            return found
        self._taken = []
        try:
            row = next(self._csv)
        except StopIteration:
            if not self._taken:
                # A reader that has seen the end of its lines is done for; lines may be put back yet.
                self._csv = csv.reader(self._take(), delimiter=self._delimiter, strict=True)
                return None
            return _Attempt(self._taken, [], _NOT_CLOSED)
        except csv.Error as error:
            self._csv = csv.reader(self._take(), delimiter=self._delimiter, strict=True)
            inside = "expected after" in str(error)
            return _Attempt(
                self._taken, [], f"{_NOT_CLOSED}, or stands inside a quoted cell" if inside else _NOT_CLOSED
            )
        fault = ""
        if row and len(row) != self._width:
            fault = f"{len(row)} cells, the header has {self._width}"
        elif any(not line.isascii() and _ESCAPED.search(line) for line in self._taken):
            fault = "not UTF-8"
        return _Attempt(self._taken, row, fault)

    def swallows(self, found: _Attempt) -> bool:
        """Whether what reads as a row of several lines is rather a faulty line with good rows after it.

        So it is if these lines and what follows read as sound rows by themselves, the first on one line, and either the
        row is not sound, or reading on after it gives up more lines than its first one, or as many and finds fewer
        rows.
        """
        if self._width == 1 or len(found.lines) == 1:
            return False
        sound = self._is_sound(found)
        if sound and not found.fault:
            following = self._peek()
            if following is None or not following.fault:
                return False
        apart = self._read_apart(found.lines[1:])
        if apart and len(apart[0].lines) > 1:  # a row by itself is what a line of a text hardly ever is
            return False
        if not apart or not sound or found.fault:
            return bool(apart)
        rest = [line for attempt in apart for line in attempt.lines][len(found.lines) - 1 :]
        lost, rows = self._count(rest)
        return (lost, -rows - 1) > (1, -len(apart))

    def _faulty_lines(self, found: _Attempt, after_fault: bool) -> int:
        """Return how many lines are to be given up: none of a good row."""
        if not found.parsed or (len(found.lines) > 1 and self.swallows(found)):
            return 1
        if found.fault:
            return len(found.lines) if self._is_sound(found) else 1
        return int(after_fault and not self._is_sound(found))

    def _is_sound(self, found: _Attempt) -> bool:
        """Whether quotes stand only where RFC 4180 has them."""
        if not found.parsed:
            return False
        text = "".join(found.lines)
        return '"' not in text or self._sound.match(text) is not None

    def _read_apart(self, lines: list[str]) -> list[_Attempt]:
        """Return the sound rows that begin with these lines and go on into those that follow; uses up nothing."""
        drawn: list[str] = []
        inner = _Reader(chain(lines, self._draw(drawn)), self._delimiter, self._width)
        found: list[_Attempt] = []
        n = 0
        while n <= len(lines) and (attempt := inner.attempt()):
            if attempt.fault or not inner._is_sound(attempt):
                found = []
                break
            found.append(attempt)
            n += len(attempt.lines)
        self._again.extendleft(reversed(drawn))
        return found

    def _count(self, lines: list[str]) -> tuple[int, int]:
        """Return how many of these lines would be given up if they were all, and how many rows there would be."""
        lost = rows = 0
        inner = _Reader(lines, self._delimiter, self._width)
        while found := inner.attempt():
            if found.fault:
                inner._put_back(found.lines[1:])
                lost += 1
            else:
                rows += 1
        return lost, rows

    def _peek(self) -> _Attempt | None:
        self._ahead = self.attempt()
        return self._ahead

    def _put_back(self, lines: list[str]) -> None:
        """Let lines be read again, before what was looked at ahead."""
        if self._ahead is not None:
            lines, self._ahead = [*lines, *self._ahead.lines], None
        self._again.extendleft(reversed(lines))

    def _draw(self, drawn: list[str]) -> Iterator[str]:
        """Yield the lines that are next, and remember them, so that they can be put back."""
        self._put_back([])
        while (line := self._again.popleft() if self._again else next(self._source, None)) is not None:
            drawn.append(line)
            yield line

    def _reject(self, lines: list[str], reason: str) -> tuple[int, Rejected]:
        raw = "".join(lines)
        rejected = Rejected(self._line, readable(raw.rstrip("\r\n")), reason, len(lines))
        self._line += len(lines)
        return len(raw), rejected

    def _take(self) -> Iterator[str]:
        """Yield lines to the parser, and remember them; no row gets more than `LONGEST_ROW` characters."""
        size = 0
        while True:
            if not self._taken:
                size = 0
            if size > LONGEST_ROW:
                return
            line = self._again.popleft() if self._again else next(self._source, None)
            if line is None:
                return
            size += len(line)
            self._taken.append(line)
            yield line


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


class DelimitedWriter(TextWriter):
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
        """Append the rows."""
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
