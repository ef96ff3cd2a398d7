import numpy as np
import pytest

from secondcoder.evaluation.multiclass import decide_class
from secondcoder.evaluation.multilabel import decide_set, indicators
from secondcoder.evaluation.tasks import confidence_of, labels_decided

P = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])


def test_the_most_probable_class_wins_and_of_equal_ones_the_first():
    assert decide_class(P).tolist() == [0, 0, 1]
    assert labels_decided(P, ("a", "b")) == ["a", "a", "b"]


def test_a_threshold_of_the_positive_class_decides_for_it_from_there_on():
    assert decide_class(P, 0.3, positive=1).tolist() == [1, 1, 1]
    assert decide_class(P, 0.6, positive=0).tolist() == [0, 1, 1]
    assert labels_decided(P, ("a", "b"), {"b": 0.3}) == ["b", "b", "b"]


def test_each_class_of_a_set_has_its_own_threshold():
    assert decide_set(P).tolist() == [[True, False], [True, True], [False, True]]
    assert decide_set(P, [0.75, 0.3]).tolist() == [[False, True], [False, True], [False, True]]
    found = labels_decided(P, ("a", "b"), {"a": 0.6, "b": 0.6}, multi_label=True, separator="|")
    assert found == ["a", "", "b"]


def test_confidence_is_that_of_the_label_or_of_the_least_sure_decision():
    assert confidence_of(P, {}, ("a", "b"), multi_label=False).tolist() == [0.7, 0.5, 0.8]
    assert confidence_of(P, {"b": 0.25}, ("a", "b"), multi_label=False).tolist() == [0.3, 0.5, 0.8]
    assert confidence_of(P, {"a": 0.8}, ("a", "b"), multi_label=True) == pytest.approx([0.3, 0.5, 0.8])


def test_sets_as_text_become_indicators():
    assert indicators(["a;b", "", "b"], ("a", "b")).tolist() == [[True, True], [False, False], [False, True]]
    with pytest.raises(KeyError):
        indicators(["c"], ("a", "b"))
