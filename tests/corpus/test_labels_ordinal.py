import numpy as np
import pytest

from secondcoder.corpus.reading import read
from secondcoder.errors import SettingsError

ROWS = [{"t": f"text {i}", "l": label} for i, label in enumerate(("right", "left", "", "centre", "left", "right"))]


def test_the_order_named_is_that_of_the_label_names():
    found = read(ROWS, text="t", label="l", ordinal="left, centre,right")
    assert found.task == "ordinal"
    assert found.label_names == ("left", "centre", "right")
    assert found.labels == ("right", "left", None, "centre", "left", "right")
    assert found.source.options == {"ordinal": "left, centre,right"}
    assert read(ROWS, text="t", label="l").task == "multi-class"


def test_natural_puts_2_before_10():
    rows = [{"t": "a text", "l": grade} for grade in ("10", "2", "1")]
    assert read(rows, text="t", label="l", ordinal="natural").label_names == ("1", "2", "10")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("left,right", "leaves out 'centre'. The labels are 'centre', 'left', 'right'"),
        ("left,centre,right,far right", "names, though no text has it, 'far right'"),
        ("left,center,right", "leaves out 'centre'; it names, though no text has it, 'center'"),
        ("left,centre,right,left", "repeats 'left'"),
    ],
)
def test_a_name_missing_extra_or_twice_is_an_error_that_lists_both(order, message):
    with pytest.raises(SettingsError, match=message):
        read(ROWS, text="t", label="l", ordinal=order)


def test_sets_of_labels_have_no_order_and_no_labels_neither():
    with pytest.raises(SettingsError, match="several of them"):
        read(ROWS, text="t", label="l", label_separator=";", ordinal="natural")
    with pytest.raises(SettingsError, match="no label column"):
        read(ROWS, text="t", ordinal="natural")


def test_shares_of_coders_follow_the_order_and_a_tie_goes_to_the_lower_class():
    rows = [{"t": "a text", "left": 2, "centre": 2, "right": 1}, {"t": "b text", "left": 0, "centre": 1, "right": 2}]
    found = read(rows, text="t", label_shares=("left", "centre", "right"), ordinal="left,centre,right")
    np.testing.assert_allclose(found.shares, [[0.4, 0.4, 0.2], [0, 1 / 3, 2 / 3]])
    assert found.labels == ("left", "right")
    assert read(rows, text="t", label_shares=("left", "centre", "right")).labels[0] == "centre"
