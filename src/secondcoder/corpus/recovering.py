"""CSV and TSV with faulty rows: every good row, and the faulty ones apart.

In: the lines of a file, its delimiter and the number of its columns. Out: rows, and `Rejected` where none could be
read. Python's `csv`, strict, reads each row, as in `secondcoder.corpus.delimited`; where it cannot, or the number of
cells is wrong, only the line on which the row began is given up, and reading begins again on the next one. A quote that
is never closed thus costs its own row and not all that follow.

What is guaranteed. Call a row sound if it is as RFC 4180 says (quotes only around whole cells, doubled inside), has as
many cells as the header, and is no longer than `LONGEST_ROW`.

1. If all rows are sound, exactly these rows come out.
2. If all rows but one are sound, every sound row comes out once and in order, and nothing but lines of the faulty row
   is rejected, provided that in the sound rows (a) no quoted cell begins with a line end or the delimiter, leading
   quotes aside, nor ends with a line end, and (b) no line of a row but its first reads as a whole row by itself. The
   same holds for several faulty rows, if a sound row with something in quotes stands between any two of them.
3. A line of the faulty row that reads as a whole row by itself comes out as one; in a file of one column that is any
   line without a quote.

Why: a quote that is not closed runs on to the next quote in the file, which opens a cell of a sound row. By (a) neither
the delimiter nor a line end follows it, which strict reading refuses. Where (a) does not hold, the sound rows up to
there would become part of a text. That is noticed in files of two columns or more, if the lines that were swallowed
read as rows by themselves and what follows does not fit (`_Reader.swallows`): likely, but not guaranteed. A stray quote
inside an unquoted cell (``5" pipe``) is no fault, save right after a faulty row, where it is a sign of that one's end.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from secondcoder.corpus.pieces import Rejected, readable

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
