"""SentenceClassifier where a text may have several labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import MultiLabelBinarizer

import secondcoder as sc
from secondcoder.corpus.arrays import InputError, corpus_for
from tests.several import made_sets

TEXTS = ["one", "two", "three"]


def test_sets_give_the_matrix_of_scikit_learns_binarizer(encoder_folder, tmp_path):
    texts, sets = made_sets(60)
    found = sc.SentenceClassifier(
        model=str(encoder_folder), effort="normal", epochs=1, freeze=0.0, learning_rate=0.003, device="cpu"
    ).fit(texts, sets)
    binarizer = MultiLabelBinarizer().fit(sets)
    assert found.classes_.tolist() == binarizer.classes_.tolist()
    given, p = found.predict(texts[:10]), found.predict_proba(texts[:10])
    assert given.shape == p.shape == (10, 2)
    assert set(np.unique(given)) <= {0, 1}
    names = binarizer.inverse_transform(given)
    assert names == [tuple(own) for own in found.model_.predict(texts[:10])]
    assert 0 <= found.score(texts, binarizer.transform(sets)) <= 1
    found.save(tmp_path / "model")
    assert sc.load(tmp_path / "model").predict(texts[:10]) == names


def test_a_matrix_and_a_data_frame_name_the_columns():
    matrix = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    corpus, classes = corpus_for(TEXTS, matrix)
    assert (corpus.labels, corpus.label_names, classes.tolist()) == (("0", "1", "0;1"), ("0", "1", "2"), [0, 1, 2])
    assert corpus_for(TEXTS, matrix.tolist())[0].labels == corpus.labels
    corpus, classes = corpus_for(TEXTS, pd.DataFrame(matrix == 1, columns=["b", "a", "c"]))
    assert (corpus.labels, corpus.label_names, classes.tolist()) == (
        ("b", "a", "a;b"),
        ("a", "b", "c"),
        ["b", "a", "c"],
    )


def test_a_name_that_contains_the_separator_is_joined_by_another():
    corpus, _ = corpus_for(TEXTS, [{"a;b"}, {"c", "a;b"}, set()])
    assert corpus.labels == ("a;b", "a;b|c", "")
    assert corpus.label_sets == (("a;b",), ("a;b", "c"), ())


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.array([[1, 2], [0, 1], [1, 1]]), "is 2"),
        (np.array([[1, np.nan], [0, 1], [1, 1]]), "is nan"),
        ([{"a"}, {"b"}, "c"], "'c', and other rows are sets"),
        ([["a", "a"], ["b"], []], "once"),
        ([{"a"}, {1}, set()], "several types"),
        ([{"a"}, {"a"}, set()], "two or more"),
        ([{"a"}, {"b"}], "3 texts"),
    ],
)
def test_what_is_no_set_is_refused(y, said):
    with pytest.raises(InputError, match=said):
        corpus_for(TEXTS, y)


def test_a_positive_class_is_refused_with_sets():
    with pytest.raises(InputError, match="several labels"):
        corpus_for(TEXTS, [{"a"}, {"b"}, set()], positive="a")
