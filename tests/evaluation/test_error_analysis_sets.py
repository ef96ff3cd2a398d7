"""Mistakes and doubtful labels where a text may have several classes."""

import json

import numpy as np
import pytest

from secondcoder.errors import DataError
from secondcoder.evaluation.error_analysis import JudgedRows, Mistakes, find_mistakes
from secondcoder.evaluation.label_errors import find_label_errors

NAMES = ("economic", "social", "other")


def rows_of(gold, probabilities, **more):
    n = len(gold)
    texts = [f"text {i}" for i in range(n)]
    ids = [f"id{i}" for i in range(n)]
    return JudgedRows(ids, texts, np.array(gold, bool), np.array(probabilities, float), NAMES, **more)


def test_the_surest_wrong_decision_leads_and_says_which_class_it_is_about():
    rows = rows_of(
        [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]],
        [[0.9, 0.1, 0.8], [0.9, 0.05, 0.1], [0.1, 0.2, 0.3], [0.2, 0.9, 0.1]],
        groups=["a", "a", "b", "b"],
    )
    assert rows.wrong.tolist() == [True, True, False, False]
    found = find_mistakes(rows)
    first, second = found.confident
    assert (first.id, first.label, first.missed) == ("id1", "social", True)
    assert (first.gold, first.predicted) == ("economic, social", "economic")
    assert (first.p_predicted, first.p_gold) == pytest.approx((0.95, 0.05))
    assert (second.id, second.label, second.missed) == ("id0", "other", False)
    assert second.predicted == "economic, other"
    assert (found.overall.n, found.overall.errors) == (4, 2)
    assert Mistakes.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_what_was_given_counts_and_a_set_without_a_class_has_a_word():
    given = np.array([[False, False, False]])
    found = find_mistakes(rows_of([[1, 0, 0]], [[0.6, 0.1, 0.1]], given=given))
    assert found.confident[0].predicted == "none"
    assert found.confident[0].p_predicted == pytest.approx(0.4)


def test_one_label_a_text_is_stored_as_before():
    rows = JudgedRows(["1"], ["text"], np.array([0]), np.array([[0.2, 0.8]]), ("a", "b"))
    assert set(find_mistakes(rows).to_dict()["confident"][0]) == {
        "id", "text", "gold", "predicted", "p_predicted", "p_gold"
    }  # fmt: skip


def test_planted_errors_are_doubted_with_one_class_more_or_less():
    random = np.random.default_rng(0)
    true = random.random((300, 3)) < 0.4
    p = np.clip(np.where(true, 0.93, 0.07) + random.normal(0, 0.03, true.shape), 0.01, 0.99)
    gold = true.copy()
    planted = {3: 0, 50: 1, 120: 2}
    for row, c in planted.items():
        gold[row, c] = not gold[row, c]
        p[row, c] = 0.98 if true[row, c] else 0.02  # surer than most
    found = find_label_errors(rows_of(gold, p))
    assert {error.id for error in found} == {f"id{row}" for row in planted}
    by_id = {error.id: error for error in found}
    for row in planted:
        expected = ", ".join(name for name, has in zip(NAMES, true[row], strict=True) if has) or "none"
        assert by_id[f"id{row}"].suggested == expected
        assert by_id[f"id{row}"].label != expected
    assert [error.score for error in found] == sorted(error.score for error in found)


def test_a_class_of_few_texts_is_not_doubted():
    gold = np.zeros((60, 3), bool)
    gold[:30, 0] = True
    gold[0, 1] = True  # one text of it
    p = np.where(gold, 0.9, 0.1)
    p[0, 1] = 0.02
    assert find_label_errors(rows_of(gold, p)) == ()


def test_gold_of_another_shape_is_refused():
    with pytest.raises(DataError, match="yes or no"):
        rows_of([[1, 0]], [[0.2, 0.3, 0.4]])
