"""JSON lines, value for value.

In: a path. Out: batches with a column per key, in the order in which the keys first appear; a missing key is null.
The file is gone through twice: once to learn keys and types, once for the values.

A column becomes an Arrow string, bool, int64 or float64 only if all its values are of that one JSON type, so that
nothing is coerced: 1, 1.0, "1" and true stay four values. Any other column (mixed types, lists, objects, integers
beyond 64 bits) is a string column that holds each value as JSON text and is marked by `JSON_MARK` in its field's
metadata; `is_json` tells, and `json.loads` gives the values back.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from secondcoder.errors import DataError
from secondcoder.formats.records import CUT, Piece, Rejected, TextWriter, cut_pieces, readable
from secondcoder.formats.text_files import TextStream, open_text
from secondcoder.formats.values import plain_values

JSON_MARK = {b"secondcoder": b"json"}
_BLANKS = " \t\r\n"  # what JSON counts as blank
_ARROW = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


@dataclass(frozen=True)
class JsonLines:
    """A JSON-lines file whose keys and types are known.

    Attributes
    ----------
    path
        The file.
    schema
        A field per key.
    total
        How many rows there are.
    types
        For each key the Python types of its values; `object` for integers beyond 64 bits.
    n_rejected
        How many lines are no row.
    """

    path: Path
    schema: pa.Schema
    total: int
    types: dict[str, set[type]]
    n_rejected: int = 0

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, at most `rows` a batch."""
        size = 0
        objects: list[dict[str, Any]] = []
        for n_characters, value in _objects(self.path):
            objects.append(value)
            size += n_characters
            if len(objects) == rows or size >= CUT:
                yield self._batch(objects)
                objects, size = [], 0
        if objects:
            yield self._batch(objects)

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Yield the rows in order with what is none, at most `rows` records a piece."""
        return cut_pieces(_records(self.path), rows, self._batch)

    def with_schema(self, schema: pa.Schema) -> "JsonLines":
        """Return the same file with other columns, which can hold its values."""
        return replace(self, schema=schema)

    def _batch(self, objects: list[dict[str, Any]]) -> pa.RecordBatch:
        arrays = []
        for field in self.schema:
            values = [value.get(field.name) for value in objects]
            if is_json(field):
                values = [None if value is None else to_json(value) for value in values]
            arrays.append(pa.array(values, field.type))
        if not arrays:  # objects without a single key are rows all the same
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(objects), pa.struct([])))
        return pa.record_batch(arrays, schema=self.schema)


def open_json_lines(path: Path, *, lenient: bool = False) -> JsonLines:
    """Return the file with its keys, types and number of rows found.

    Parameters
    ----------
    path
        The file.
    lenient
        Whether lines that are no row are passed over, here and in `JsonLines.pieces`.

    Raises
    ------
    DataError
        If a line is not one JSON object, with the line's number.
    """
    types: dict[str, set[type]] = {}
    total = n_rejected = 0
    for _, value in _records(path) if lenient else _objects(path):
        if isinstance(value, Rejected):
            n_rejected += 1
            continue
        total += 1
        for key, item in value.items():
            kinds = types.setdefault(key, set())
            if item is not None:
                wide = type(item) is int and not -(1 << 63) <= item < 1 << 63
                kinds.add(object if wide else type(item))
    if total + n_rejected == 0:
        raise DataError(f"{path} is empty.", "Give a file with one JSON object a line.")
    return JsonLines(path, schema_of(types), total, types, n_rejected)


def schema_of(types: Mapping[str, set[type]]) -> pa.Schema:
    """Return the columns that hold values of these Python types, by key."""
    return pa.schema([_field(key, kinds) for key, kinds in types.items()])


def is_json(field: pa.Field) -> bool:
    """Return whether a string column holds JSON text instead of strings."""
    return bool(field.metadata) and (field.metadata or {}).get(b"secondcoder") == b"json"


def to_json(value: Any) -> str:
    """Return a value as JSON text, on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _field(key: str, kinds: set[type]) -> pa.Field:
    if not kinds:
        return pa.field(key, pa.null())
    arrow = _ARROW.get(next(iter(kinds))) if len(kinds) == 1 else None
    return pa.field(key, pa.string(), metadata=JSON_MARK) if arrow is None else pa.field(key, arrow)


class _FaultError(Exception):
    """Why a line is no row: what it is or has, and the cure."""


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the length of each line in characters, and its object."""
    blank: int | None = None
    with open_text(path, newline="\n") as stream:  # only a line feed ends a line of JSON
        for number, line in enumerate(stream, start=1):
            line = line.strip(_BLANKS)
            if not line:
                blank = blank or number
                continue
            if blank is not None:  # blank lines after the last row are no rows; before it they may be lost ones
                raise DataError(f"Line {blank:,} of {path} is blank.", "Remove it, or give it a JSON object.")
            try:
                yield len(line), _object(line, number)
            except _FaultError as fault:
                what, cure = fault.args
                raise DataError(f"Line {number:,} of {path} {what}.", cure) from fault


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
    """Yield the length of each line in characters, and its object or why it is none."""
    blank: list[int] = []
    with open_text(path, newline="\n", escape=True) as stream:
        for number, line in enumerate(stream, start=1):
            stripped = line.strip(_BLANKS)
            if not stripped:
                blank.append(number)
                continue
            yield from ((0, Rejected(n, "", "blank line")) for n in blank)
            blank.clear()
            try:
                yield len(line), _object(stripped, number)
            except _FaultError as fault:
                yield len(line), Rejected(number, readable(line.rstrip("\r\n")), fault.args[0])


def _object(line: str, number: int) -> dict[str, Any]:
    """Return the object on a line."""
    try:
        value = _DECODER.decode(line)
        if "\\u" in line:
            to_json(value).encode()  # a lone surrogate hides only in an escape, and cannot be encoded
        elif not line.isascii():
            line.encode()  # bytes that were not UTF-8
    except UnicodeEncodeError as error:
        bad = ord(error.object[error.start])
        if "\\u" not in line:
            raise _FaultError(f"is not UTF-8: 0x{bad & 0xFF:02x}", "Save the file as UTF-8.") from error
        raise _FaultError(
            f"has an unpaired surrogate, \\u{bad:04x}",
            "Remove it or write the whole pair; it stands for no character.",
        ) from error
    except (ValueError, RecursionError) as error:
        hint = "The file is one JSON array; write" if number == 1 and line[:1] == "[" else "Write"
        raise _FaultError(f"is not JSON: {error}", f"{hint} one JSON object a line.") from error
    if not isinstance(value, dict):
        raise _FaultError(
            f"is not a JSON object but {readable(line[:60])!r}",
            'Write one object a line, such as {"text": "...", "label": "..."}.',
        )
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} comes twice")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
# Ends of lines for str.splitlines, though not for JSON: escaped, since many a program reads JSONL that way.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_LINE_END = re.compile("[" + "".join(_LINE_ENDS) + "]")


class JsonLinesWriter(TextWriter):
    """One object a line, keys in the order of the columns, every key in every line."""

    def __init__(self, stream: TextStream, schema: pa.Schema) -> None:
        super().__init__(stream, schema)
        self._keys = [f"{self._encoder.encode(name)}: " for name in schema.names]

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows."""
        columns = [
            [key + self._json(value, field.name) for value in json_values(field, array)]
            for key, field, array in zip(self._keys, self._schema, batch.columns, strict=True)
        ]
        for pairs in zip(*columns, strict=True):
            line = "{" + ", ".join(pairs) + "}\n"
            self._stream.write(_LINE_END.sub(lambda found: _LINE_ENDS[found[0]], line))


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
