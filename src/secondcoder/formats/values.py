"""Columns as plain values: what text formats can hold of what typed columns contain.

In: an Arrow array of any type. Out: a list of strings, numbers, booleans, None, and lists and dicts of them, exact to
the last digit. The CSV, TSV and JSONL writers use it; Parquet keeps the types and needs none of this.

Numbers and booleans stay what they are, 32-bit floats with their own shortest digits (0.1, not 0.10000000149011612).
Dates and times become ISO 8601 text (moments with a time zone in UTC, ending in Z), decimals their digits as text,
bytes base64, a map a list of ``{"key": …, "value": …}``.
"""

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_PER_SECOND_EXPONENT = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def plain_values(array: pa.Array) -> list[Any]:
    """Return the array's values as plain JSON values; NaN and infinities stay Python floats.

    Parameters
    ----------
    array
        Any type, n values.

    Returns
    -------
    list
        n values; None where the array has null.
    """
    for holds, convert in _CONVERSIONS:
        if holds(array.type):
            return convert(array)
    return [None if value is None else str(value) for value in array.to_pylist()]  # what Arrow may invent later


def _as_they_are(array: pa.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _texts(array: pa.Array) -> list[Any]:
    return _as_they_are(array.cast(pa.large_string()))


def _is_short_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_float16(kind) or pa.types.is_float32(kind))


def _short_floats(array: pa.Array) -> list[Any]:
    scalar = array.type.to_pandas_dtype()  # numpy.float16 or float32, whose str is the shortest that reads back equal
    return [None if value is None else float(str(scalar(value))) for value in array.to_pylist()]


def _decimals(array: pa.Array) -> list[Any]:
    return [None if value is None else format(value, "f") for value in array.to_pylist()]


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _bytes(array: pa.Array) -> list[Any]:
    return [None if value is None else base64.b64encode(value).decode("ascii") for value in array.to_pylist()]


def _timestamps(array: pa.Array) -> list[Any]:
    # Without the zone it is UTC; printing a zoned column would need a time zone database, which Windows has not.
    naive = array.cast(pa.int64()).cast(pa.timestamp(array.type.unit)).cast(pa.string())
    end = "Z" if array.type.tz is not None else ""
    return [None if value is None else value.replace(" ", "T") + end for value in naive.to_pylist()]


def _durations(array: pa.Array) -> list[Any]:
    shift = -_PER_SECOND_EXPONENT[array.type.unit]
    counts = array.cast(pa.int64()).to_pylist()
    return [None if count is None else f"PT{format(Decimal(count).scaleb(shift), 'f')}S" for count in counts]


def _decoded(array: pa.Array) -> list[Any]:
    return plain_values(array.dictionary_decode())


def _is_run_end_encoded(kind: pa.DataType) -> bool:
    return bool(pa.types.is_run_end_encoded(kind))


def _run_ends_decoded(array: pa.Array) -> list[Any]:
    return plain_values(pc.run_end_decode(array))


def _is_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType)


def _extension(array: pa.Array) -> list[Any]:
    if array.type == pa.uuid():
        return [None if value is None else str(value) for value in array.to_pylist()]
    return plain_values(array.storage)


def _structs(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    fields = [plain_values(values) for values in array.flatten()]
    rows = zip(*fields, strict=True) if fields else iter([()] * len(array))
    return [
        dict(zip(names, row, strict=True)) if valid else None
        for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)
    ]


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _lists(array: pa.Array) -> list[Any]:
    items = iter(plain_values(array.flatten()))  # flatten leaves out what stands behind nulls
    lengths = pc.list_value_length(array).to_pylist()
    return [None if length is None else [next(items) for _ in range(length)] for length in lengths]


def _maps(array: pa.Array) -> list[Any]:
    pair = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    return _lists(array.cast(pa.list_(pair)))


# The first that holds converts; extension and encoded types come first, since they hide another type.
_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], list[Any]]], ...] = (
    (_is_extension, _extension),
    (pa.types.is_dictionary, _decoded),
    (_is_run_end_encoded, _run_ends_decoded),
    (pa.types.is_null, _as_they_are),
    (pa.types.is_boolean, _as_they_are),
    (pa.types.is_integer, _as_they_are),
    (pa.types.is_float64, _as_they_are),
    (_is_short_float, _short_floats),
    (pa.types.is_string, _as_they_are),
    (pa.types.is_large_string, _as_they_are),
    (pa.types.is_string_view, _as_they_are),
    (pa.types.is_decimal, _decimals),
    (_is_bytes, _bytes),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_duration, _durations),
    (pa.types.is_date, _texts),
    (pa.types.is_time, _texts),
    (pa.types.is_map, _maps),
    (_is_list, _lists),
    (pa.types.is_struct, _structs),
)
