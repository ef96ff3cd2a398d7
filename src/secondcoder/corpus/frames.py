"""Data handed over in memory, as Arrow tables.

In: a list of dicts, a pandas or polars data frame, or anything that speaks Arrow's C stream. Out: `Rows`. No package is
imported for it: pandas is recognised by the name of its module, everything else by `__arrow_c_stream__`.

Values come out as they went in. Where Python values of several types stand in one column, which Arrow cannot hold, the
column holds them as JSON text, as `secondcoder.formats.jsonlines` does; NaN among values that are no floats, which is
how pandas writes a missing cell, is null.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from secondcoder.corpus.corpus import Part
from secondcoder.corpus.findings import Finding
from secondcoder.errors import DataError
from secondcoder.formats.jsonlines import JSON_MARK, to_json

_EXACT = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), bytes: pa.binary()}


@dataclass(frozen=True)
class Rows:
    """What every source is brought to.

    Attributes
    ----------
    name
        Path, ``hub:`` address, or a word for data handed over in memory.
    table
        Every column as it came.
    parts
        The part that the source itself gives each row to, or None.
    sha256
        Hash of the file's bytes, or None where there is no one file.
    findings
        What was noticed on the way.
    """

    name: str
    table: pa.Table
    parts: tuple[Part, ...] | None = None
    sha256: str | None = None
    findings: tuple[Finding, ...] = ()


def from_memory(source: object) -> Rows:
    """Return the rows of a list of dicts or a data frame.

    Raises
    ------
    DataError
        If it is neither, or a column cannot be held value for value.
    """
    package = type(source).__module__.partition(".")[0]
    if package == "pandas" and hasattr(source, "columns"):
        return Rows("pandas data frame", _from_pandas(source))
    if hasattr(source, "__arrow_c_stream__"):
        # polars' own conversion: its stream hands out string views, which Arrow cannot yet take, sort or cast in lists.
        table = source.to_arrow() if package == "polars" and hasattr(source, "to_arrow") else pa.table(source)
        columns = [_without_views(column) for column in table.columns]
        _refuse_twice(table.column_names)
        fields = [f.with_type(c.type) for f, c in zip(table.schema, columns, strict=True)]
        return Rows(
            f"{package} data frame", pa.table(columns, schema=pa.schema(fields, metadata=table.schema.metadata))
        )
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        if wrong := sorted({type(item).__name__ for item in source if not isinstance(item, dict)}):
            raise DataError(f"A list of {', '.join(wrong)} was given.", "Give a list of dicts, one a row.")
        return Rows("list of dicts", _from_dicts(source))
    hint = "Call its collect() first." if hasattr(source, "collect") else ""
    raise DataError(
        f"A {type(source).__module__}.{type(source).__qualname__} cannot be read.",
        hint or "Give a path, a list of dicts, a pandas or polars data frame, a datasets.Dataset or DatasetDict.",
    )


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the classes for each column of a `datasets.ClassLabel`, or of lists of one.

    `datasets` writes them into the schema, so that Parquet files downloaded from the hub have them too.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: list(own["names"])
            for column, feature in features.items()
            if isinstance(own := _item(feature), dict) and own.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError):  # no such metadata, or another package's
        return {}


def _item(feature: Any) -> Any:
    """Return what a list of `datasets` holds, or the feature itself; its older versions write a list as ``[item]``."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    return feature.get("feature", feature) if isinstance(feature, dict) else feature


def with_class_names(names: Mapping[str, list[str]]) -> dict[bytes, bytes]:
    """Return the metadata of a schema from which `class_names` gives these names."""
    features = {column: {"names": values, "_type": "ClassLabel"} for column, values in names.items()}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()} if names else {}


def _from_dicts(rows: Sequence[dict[Any, Any]]) -> pa.Table:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return _table(keys, ([row.get(key) for row in rows] for key in keys), len(rows))


def _from_pandas(frame: Any) -> pa.Table:
    # Column by column: `pa.Table.from_pandas` guesses at object columns, making 1 and 1.5 two floats.
    columns = [frame.iloc[:, i] for i in range(len(frame.columns))]
    values = (s.tolist() if s.dtype == object else pa.Array.from_pandas(s) for s in columns)
    return _table(list(frame.columns), values, len(frame))


def _table(names: Sequence[Any], columns: Iterable[Any], n: int) -> pa.Table:
    texts = [str(name) for name in names]
    _refuse_twice(texts)
    fields, arrays = [], []
    for name, column in zip(texts, columns, strict=True):
        array, metadata = _array(name, column) if isinstance(column, list) else (column, None)
        fields.append(pa.field(name, array.type, metadata=metadata))
        arrays.append(array)
    if not arrays:
        raise DataError(f"The data has no columns, and {n} rows.", "Give each row its text and label.")
    return pa.table(arrays, schema=pa.schema(fields))


def _array(name: str, values: list[Any]) -> tuple[pa.Array, dict[bytes, bytes] | None]:
    """Return the column as Arrow holds it, and the mark of JSON where Arrow cannot."""
    plain = [_plain(value) for value in values]
    if any(type(value) is not float for value in plain if value is not None):
        plain = [None if type(value) is float and math.isnan(value) else value for value in plain]
    kinds = {type(value) for value in plain if value is not None}
    try:
        if len(kinds) == 1:
            try:
                return pa.array(plain, _EXACT.get(next(iter(kinds)))), None
            except (pa.ArrowException, OverflowError, TypeError):
                pass  # integers beyond 64 bits, lists of mixed types: JSON holds them
        if not kinds:
            return pa.nulls(len(plain)), None
        return pa.array([None if value is None else to_json(value) for value in plain], pa.string()), JSON_MARK
    except UnicodeEncodeError as error:
        row = next(i for i, value in enumerate(plain, 1) if value is not None and not _encodable(value))
        raise DataError(
            f"Column {name!r}, row {row:,}: an unpaired surrogate ({error.object[error.start]!r}).",
            "Remove it; it stands for no character.",
        ) from error
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Column {name!r} mixes values of {sorted(kind.__name__ for kind in kinds)}: {error}.",
            "Give the column one type.",
        ) from error


def _plain(value: Any) -> Any:
    """Return numpy's scalars as Python's, and pandas' signs for missing as None."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package == "pandas" and kind.__name__ in ("NAType", "NaTType"):
        return None
    if package == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return value


def _encodable(value: Any) -> bool:
    try:
        (value if isinstance(value, str) else to_json(value)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def _refuse_twice(names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"There is more than one column named {', '.join(map(repr, twice))}.", "Give each column its own name."
        )
