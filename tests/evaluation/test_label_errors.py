import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondcoder.errors import DataError
from secondcoder.evaluation.error_analysis import JudgedRows
from secondcoder.evaluation.label_errors import LabelError, find_label_errors


def make_rows(gold, p) -> JudgedRows:
    gold, p = np.asarray(gold, dtype=np.int64), np.asarray(p, dtype=np.float64)
    ids = [f"t{i}" for i in range(len(gold))]
    return JudgedRows(ids, [f"text {i}" for i in ids], gold, p, tuple("abcdefgh"[: p.shape[1]]))


def make_noisy(n: int, k: int, n_wrong: int, *, skew: float = 0.0, seed: int = 0) -> tuple[JudgedRows, set[str]]:
    """Rows that a good model judges, some of which were given a wrong label; and the ids of those."""
    generator = np.random.default_rng(seed)
    shares = np.exp(-skew * np.arange(k))
    truth = generator.choice(k, n, p=shares / shares.sum())
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), truth] += 5
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = generator.choice(n, n_wrong, replace=False)
    gold = truth.copy()
    gold[wrong] = (truth[wrong] + generator.integers(1, k, n_wrong)) % k
    return make_rows(gold, p), {f"t{i}" for i in wrong}


@pytest.mark.parametrize(("k", "skew"), [(2, 0.0), (2, 1.5), (3, 0.0), (4, 0.7)])
def test_planted_wrong_labels_are_found(k, skew):
    rows, planted = make_noisy(1000, k, 30, skew=skew)
    found = find_label_errors(rows)
    hits = planted & {error.id for error in found}
    assert len(hits) >= 0.8 * len(planted)
    assert len(hits) >= 0.6 * len(found)
    assert len({error.id for error in found[:20]} & planted) >= 18


def test_the_most_doubtful_comes_first_and_the_suggestion_is_the_most_probable_class():
    rows, _ = make_noisy(500, 3, 20)
    found = find_label_errors(rows)
    scores = [error.score for error in found]
    assert scores == sorted(scores)
    for error in found:
        i = int(error.id[1:])
        assert error.text == rows.texts[i]
        assert error.label == rows.label_names[rows.gold[i]]
        assert error.suggested == rows.label_names[rows.predicted[i]] != error.label
        assert error.score == pytest.approx(rows.probabilities[i, rows.gold[i]])


def test_clean_labels_are_hardly_doubted():
    rows, _ = make_noisy(1000, 3, 0)
    assert len(find_label_errors(rows)) <= 20


def test_a_class_that_no_row_has_is_never_suggested():
    rows, planted = make_noisy(600, 2, 20)
    third = np.concatenate([rows.probabilities * 0.9, np.full((600, 1), 0.1)], axis=1)
    found = find_label_errors(make_rows(rows.gold, third))
    assert {error.suggested for error in found} == {"a", "b"}
    assert len({error.id for error in found} & planted) >= 15
    assert [error.id for error in found] == [error.id for error in find_label_errors(rows)]


def test_rows_of_a_class_with_four_rows_are_neither_doubted_nor_suggested():
    rows, _ = make_noisy(600, 2, 20)
    gold = np.concatenate([rows.gold, [2] * 4])
    p = np.concatenate([np.insert(rows.probabilities * 0.7, 2, 0.3, axis=1), [[0.98, 0.01, 0.01]] * 4])
    found = find_label_errors(make_rows(gold, p))
    assert found
    assert not {error.id for error in found} & {f"t{i}" for i in range(600, 604)}
    assert "c" not in {error.suggested for error in found}


@pytest.mark.parametrize("gold", [[], [0], [0, 1], [0] * 50, [0] * 50 + [1] * 4])
def test_where_there_are_not_two_classes_to_tell_apart_nothing_is_found(gold):
    p = np.full((len(gold), 2), 0.5)
    assert find_label_errors(make_rows(gold, p.reshape(-1, 2))) == ()


def test_probabilities_of_zero_and_one_are_no_obstacle():
    gold = np.repeat([0, 1], 20)
    sure = np.eye(2)[gold]
    sure[[0, 39]] = sure[[39, 0]]
    found = find_label_errors(make_rows(gold, sure))
    assert {error.id for error in found} == {"t0", "t39"}
    three = np.zeros((41, 3))
    three[:40, :2], three[40, 2] = sure, 1.0  # a row that is surely of a class that nobody has
    assert {error.id for error in find_label_errors(make_rows(np.append(gold, 0), three))} == {"t0", "t39"}


@given(st.integers(2, 5), st.integers(0, 40), st.integers(0, 10**6))
def test_any_labels_and_probabilities_pass_without_a_warning_and_in_order(k, n, seed):
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, generator.integers(1, k + 1), n)
    found = find_label_errors(make_rows(gold, generator.dirichlet(np.full(k, 0.5), n).reshape(n, k)))
    assert len({error.id for error in found}) == len(found)
    assert all(error.label != error.suggested for error in found)


def test_nothing_is_printed(capfd):
    find_label_errors(make_noisy(200, 3, 5)[0])
    assert capfd.readouterr() == ("", "")


def test_cleanlab_is_not_imported_before_it_is_needed():
    code = "import sys, secondcoder.evaluation.label_errors; print('cleanlab' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_label_error_survives_json_and_other_json_is_refused():
    error = find_label_errors(make_noisy(500, 2, 20)[0])[0]
    assert LabelError.from_dict(json.loads(json.dumps(error.to_dict()))) == error
    with pytest.raises(DataError, match="not a label error"):
        LabelError.from_dict({"id": "t1"})
