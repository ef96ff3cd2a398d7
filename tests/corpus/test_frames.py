import datetime
import decimal
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.corpus.cells import values_of
from secondcoder.corpus.frames import class_names, from_memory, with_class_names
from secondcoder.errors import DataError
from secondcoder.formats.jsonlines import is_json

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.lists(st.integers(0, 3), max_size=2),
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), CELLS, min_size=1), min_size=1, max_size=6), st.booleans())
def test_values_come_back_as_they_went_in_whatever_their_types(rows, as_frame):
    names = list(dict.fromkeys(key for row in rows for key in row))
    source = pd.DataFrame({n: pd.Series([r.get(n) for r in rows], dtype=object) for n in names}) if as_frame else rows
    table = from_memory(source).table
    assert table.column_names == names
    for name in names:
        found, put = values_of(table, name), [row.get(name) for row in rows]
        assert json.dumps(found) == json.dumps(put)


@pytest.mark.parametrize(
    "value", [datetime.date(2024, 1, 2), decimal.Decimal("1.10"), b"\xff", datetime.datetime(2024, 1, 2, 3, 4)]
)
def test_other_types_of_one_kind_are_held_as_arrow_holds_them(value):
    assert from_memory([{"a": value}, {"a": None}]).table["a"].to_pylist() == [value, None]


def test_numpy_scalars_and_pandas_signs_for_missing_are_plain_values():
    rows = [{"a": np.int64(1), "b": np.str_("x"), "c": pd.NA}, {"a": 2, "b": np.nan, "c": True}]
    table = from_memory(rows).table
    assert table.to_pylist() == [{"a": 1, "b": "x", "c": None}, {"a": 2, "b": None, "c": True}]
    assert not any(map(is_json, table.schema))


def test_pandas_columns_keep_their_types():
    frame = pd.DataFrame(
        {
            "s": ["x", None],
            "c": pd.Categorical(["u", None]),
            "i": pd.array([1, None], dtype="Int64"),
            "f": [1.5, None],
            7: [1, 2],
        },
        index=[5, 6],
    )
    assert from_memory(frame).table.to_pylist() == [
        {"s": "x", "c": "u", "i": 1, "f": 1.5, "7": 1},
        {"s": None, "c": None, "i": None, "f": None, "7": 2},
    ]


def test_polars_columns_keep_their_types():
    frame = pl.DataFrame(
        {"s": ["x", None], "c": pl.Series(["u", None], dtype=pl.Categorical), "l": [["a"], ["b", "c"]]}
    )
    table = from_memory(frame).table
    assert table.to_pylist() == [{"s": "x", "c": "u", "l": ["a"]}, {"s": None, "c": None, "l": ["b", "c"]}]
    assert table.take(pa.array([1])).num_rows == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([["a", "b"]], "A list of list"),
        (["a"], "A list of str"),
        ([{"a": 1}, None], "A list of NoneType"),
        ([], "no columns"),
        (3, "int cannot be read"),
        (pl.LazyFrame({"a": [1]}), "collect"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'"),
        (pd.DataFrame([[1, 2]], columns=["1", 1]), "more than one column named '1'"),
        ([{"a": object()}], "Column 'a'"),
        ([{"a": datetime.date(2024, 1, 1)}, {"a": "x"}], "mixes values of .'date', 'str'."),
    ],
)
def test_what_cannot_be_held_is_refused(source, said):
    with pytest.raises(DataError, match=said):
        from_memory(source)


def test_class_names_travel_in_the_schema_and_foreign_metadata_does_no_harm():
    schema = pa.schema([("y", pa.int64())], metadata=with_class_names({"y": ["neg", "pos"]}))
    assert class_names(schema) == {"y": ["neg", "pos"]}
    for foreign in (None, {b"pandas": b"{}"}, {b"huggingface": b"["}, {b"huggingface": b"[]"}):
        assert class_names(schema.with_metadata(foreign)) == {}


def test_reading_a_list_imports_neither_polars_nor_datasets():
    # pandas is not in the list: pyarrow itself imports it, where it is installed, to look at what it is given.
    code = (
        "import sys; from secondcoder.corpus.reading import read; read([{'t': 'x'}], text='t'); "
        "print(sorted({'polars', 'datasets', 'torch', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
