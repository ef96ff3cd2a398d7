import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import DataConversionWarning

from secondcoder.corpus.arrays import InputError, corpus_of, label_name
from secondcoder.errors import DataError

TEXTS = ["one", "two", "three", "four"]


def test_texts_and_labels_become_a_corpus_with_names_in_natural_order() -> None:
    corpus, classes = corpus_of(TEXTS, ["t10", "t2", "t10", "t1"], ["x", None, float("nan"), "y"], positive=None)
    assert corpus.ids == ("1", "2", "3", "4")
    assert corpus.texts == tuple(TEXTS)
    assert corpus.labels == ("t10", "t2", "t10", "t1")
    assert corpus.label_names == ("t1", "t2", "t10")
    assert corpus.groups == ("x", "", "", "y")
    assert classes.tolist() == ["t1", "t10", "t2"]


@pytest.mark.parametrize(
    ("given", "names", "classes"),
    [
        (["1.0", "01", "1.0", "NA"], ["1.0", "01", "1.0", "NA"], ["01", "1.0", "NA"]),
        ([3, -1, 3, 3], ["3", "-1", "3", "3"], [-1, 3]),
        ([1.0, 0.0, 1.0, 1.0], ["1", "0", "1", "1"], [0.0, 1.0]),
        ([True, False, True, True], ["True", "False", "True", "True"], [False, True]),
        (np.array(["a", "b", "a", "b"], dtype=np.dtypes.StringDType()), ["a", "b", "a", "b"], ["a", "b"]),
        (pd.Series([2, 1, 2, 1], dtype="Int64"), ["2", "1", "2", "1"], [1, 2]),
        (pd.Series([True, False] * 2, dtype="boolean"), ["True", "False"] * 2, [False, True]),
        (pd.Series(["b", "a"] * 2, dtype="category"), ["b", "a"] * 2, ["a", "b"]),
        (pl.Series(["b", "a"] * 2), ["b", "a"] * 2, ["a", "b"]),
        ((label for label in "abab"), list("abab"), ["a", "b"]),
    ],
)
def test_labels_get_names_and_their_values_are_kept(given: Any, names: list[str], classes: list[Any]) -> None:
    corpus, found = corpus_of(TEXTS, given)
    assert list(corpus.labels) == names
    assert found.tolist() == classes
    assert [type(value) for value in found.tolist()] == [type(value) for value in classes]


def test_a_column_vector_of_labels_is_taken_with_scikit_learn_s_warning() -> None:
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        corpus, _ = corpus_of(TEXTS, np.array([["a"], ["b"], ["a"], ["b"]]))
    assert corpus.labels == ("a", "b", "a", "b")


@pytest.mark.parametrize(
    "given",
    [
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        tuple(TEXTS),
        pd.Series(TEXTS, index=[9, 8, 7, 6]),
        pl.Series(TEXTS),
    ],
)
def test_texts_become_plain_strings_in_their_order(given: Any) -> None:
    corpus, _ = corpus_of(given, [0, 1, 0, 1])
    assert corpus.texts == tuple(TEXTS)
    assert {type(text) for text in corpus.texts} == {str}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("one text", "A single text was given: 'one text'"),
        (np.array([TEXTS]), r"X is a numpy.ndarray of shape (1, 4)"),
        (pd.DataFrame({"text": TEXTS}), "DataFrame of shape (4, 1)"),
        (csr_array(np.eye(4)), "sparse"),
        (None, "NoneType"),
        ([TEXTS], "X[0] is ['one', 'two', 'three', 'four'], of type list"),
        (["one", None, "three", "four"], "X[1] is None, of type NoneType"),
        (["one", b"two", "three", "four"], "X[1] is b'two', of type bytes"),
        (["one", "two", " \n", "four"], "X[2] is an empty text"),
        (["one", "two", "three", "\ud800"], "X[3] has an unpaired surrogate"),
        (["one"], "X has 1 texts, and there are 4 labels"),
    ],
)
def test_what_is_no_row_of_texts_is_refused_with_place_and_cure(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        corpus_of(given, [0, 1, 0, 1])
    assert caught.value.cure
    assert isinstance(caught.value, DataError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "the target y is None"),
        (["a", "b", "a"], "4 texts, and there are 3 labels"),
        (["a", None, "a", "b"], "y[1] is None"),
        (["a", "b", "", "b"], "y[2] is an empty label"),
        (["a", "b", "a", "\ud800"], "y[3] has an unpaired surrogate"),
        ([1.0, 2.0, float("nan"), 1.0], "y[2] is nan"),
        ([1.0, 2.0, float("inf"), 1.0], "y[2] is inf"),
        (pd.Series([1, None, 2, 1], dtype="Int64"), "y[1] is <NA>"),
        (pd.Series(["a", None, "b", "a"]), "y[1] is nan"),
        ([1, "1", 1, "1"], "several types, as [1, '1']"),
        ([1, True, 1, True], "several types, as [1, True]"),
        ([["a"], ["b"], ["a"], ["b"]], "y[0] is ['a'], of type list"),
        (["a"] * 4, "y has 1 class, 'a', in 4 rows"),
    ],
)
def test_what_is_no_label_is_refused_with_place_and_cure(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        corpus_of(TEXTS, given)
    assert caught.value.cure


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="y has 0 classes in 0 rows"):
        corpus_of([], [])


def test_measurements_are_no_labels() -> None:
    with pytest.raises(ValueError, match="continuous"):
        corpus_of(TEXTS, [0.5, 1.5, 0.25, 0.5])


def test_groups_must_be_as_many_as_texts() -> None:
    with pytest.raises(InputError, match="4 texts, and there are 1 groups"):
        corpus_of(TEXTS, [0, 1, 0, 1], ["one"])


def test_the_positive_class_is_named_like_the_labels() -> None:
    assert corpus_of(TEXTS, [0.0, 1.0, 0.0, 1.0], positive=1)[0].positive == "1"
    with pytest.raises(DataError, match="'2' is not among the labels"):
        corpus_of(TEXTS, [0, 1, 0, 1], positive=2)


@pytest.mark.parametrize(
    ("label", "name"), [(1, "1"), (1.0, "1"), (np.float64(2), "2"), (True, "True"), ("1.0", "1.0"), (np.int8(3), "3")]
)
def test_a_label_s_name_is_what_reading_a_file_gives_it(label: object, name: str) -> None:
    assert label_name(label) == name
