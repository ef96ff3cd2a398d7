import datetime
import decimal
import json
import math
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.formats.values import plain_values

BERLIN = pa.timestamp("us", "Europe/Berlin")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["", " a ", None]), ["", " a ", None]),
        (pa.array(["x", None], pa.string_view()), ["x", None]),
        (pa.array([2**63, None], pa.uint64()), [2**63, None]),
        (pa.array([True, None, False]), [True, None, False]),
        (pa.array([0.1, 1 / 3, None]), [0.1, 1 / 3, None]),
        (pa.array([0.1, None], pa.float32()), [0.1, None]),
        (pa.array([None, None]), [None, None]),
        (pa.array(["b", "a", "b", None]).dictionary_encode(), ["b", "a", "b", None]),
        (pa.array([decimal.Decimal("100.00"), None]), ["100.00", None]),
        (pa.array([b"\x00\xff", None]), ["AP8=", None]),
        (pa.array([datetime.date(2024, 2, 29), None]), ["2024-02-29", None]),
        (pa.array([datetime.time(1, 2, 3)], pa.time64("us")), ["01:02:03.000000"]),
        (pa.array([1, None], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001", None]),
        (pa.array([0], BERLIN), ["1970-01-01T00:00:00.000000Z"]),
        (pa.array([1500, -1], pa.duration("ms")), ["PT1.500S", "PT-0.001S"]),
        (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), ["00000000-0000-0000-0000-000000000001"]),
        (pa.array([[1, None], None, []]), [[1, None], None, []]),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [[1, 2], None]),
        (pa.array([{"a": 1, "b": "x"}, None]), [{"a": 1, "b": "x"}, None]),
        (pa.array([{}, None], pa.struct([])), [{}, None]),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())), [[{"key": "k", "value": 1}], None]),
        (pa.array([{"when": [datetime.date(2024, 1, 1)]}]), [{"when": ["2024-01-01"]}]),
        (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), ["a", "a", "b"]),
    ],
)
def test_each_type_becomes_plain_values_also_in_a_slice_and_all_are_json(
    array: pa.Array, expected: list[object]
) -> None:
    assert plain_values(array) == expected
    assert plain_values(array.slice(1)) == expected[1:]
    assert json.loads(json.dumps(expected)) == expected


def test_nan_and_infinity_stay_floats_for_the_writer_to_judge() -> None:
    nan, infinite = plain_values(pa.array([math.nan, math.inf], pa.float32()))
    assert math.isnan(nan)
    assert infinite == math.inf


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_short_floats_read_back_as_the_same_32_bits(values: list[float]) -> None:
    back = np.array(plain_values(pa.array(values, pa.float32())), dtype=np.float32)
    assert back.tobytes() == np.array(values, dtype=np.float32).tobytes()


@settings(deadline=None)
@given(st.lists(st.lists(st.lists(st.none() | st.text(max_size=3), max_size=3) | st.none(), max_size=3) | st.none()))
def test_nested_lists_keep_their_shape(values: list[list[list[str | None] | None] | None]) -> None:
    kind = pa.list_(pa.large_list(pa.string()))
    array = pa.array([None, [["before"]], *values], kind)
    assert plain_values(array.slice(2)) == values
