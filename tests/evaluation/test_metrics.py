import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from secondcoder.evaluation import metrics


@st.composite
def decisions(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Gold and predicted positions among k classes, of which some may not occur."""
    k = draw(st.integers(2, 7))
    used = draw(st.lists(st.integers(0, k - 1), min_size=1, max_size=k, unique=True))
    pairs = draw(st.lists(st.tuples(st.sampled_from(used), st.integers(0, k - 1)), min_size=1, max_size=60))
    gold, predicted = np.array(pairs, dtype=np.int64).T
    return gold, predicted, k


@given(decisions())
def test_the_confusion_matrix_is_scikit_learns(case: tuple[NDArray[np.int64], NDArray[np.int64], int]) -> None:
    gold, predicted, k = case
    expected = oracle.confusion_matrix(gold, predicted, labels=range(k))
    np.testing.assert_array_equal(metrics.confusion_matrix(gold, predicted, k), expected)


@given(decisions())
def test_figures_per_class_are_scikit_learns_and_undefined_where_it_divides_by_zero(
    case: tuple[NDArray[np.int64], NDArray[np.int64], int],
) -> None:
    gold, predicted, k = case
    ours = metrics.per_class(metrics.confusion_matrix(gold, predicted, k))
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        gold, predicted, labels=range(k), zero_division=np.nan
    )
    np.testing.assert_allclose(ours.precision, precision)
    np.testing.assert_allclose(ours.recall, recall)
    np.testing.assert_allclose(ours.f1, f1)
    np.testing.assert_array_equal(ours.support, support)
    np.testing.assert_array_equal(np.isnan(ours.precision), ours.predicted == 0)
    np.testing.assert_array_equal(np.isnan(ours.recall), ours.support == 0)


@given(decisions())
def test_averages_are_scikit_learns(case: tuple[NDArray[np.int64], NDArray[np.int64], int]) -> None:
    gold, predicted, k = case
    matrix = metrics.confusion_matrix(gold, predicted, k)
    for average, ours in (
        ("macro", metrics.macro_average(matrix)),
        ("micro", metrics.micro_average(matrix)),
        ("weighted", metrics.weighted_average(matrix)),
    ):
        expected = oracle.precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)
        np.testing.assert_allclose(ours, expected[:3])


@given(decisions())
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_accuracies_are_scikit_learns(case: tuple[NDArray[np.int64], NDArray[np.int64], int]) -> None:
    gold, predicted, k = case
    matrix = metrics.confusion_matrix(gold, predicted, k)
    assert metrics.accuracy(matrix) == pytest.approx(oracle.accuracy_score(gold, predicted))
    assert metrics.balanced_accuracy(matrix) == pytest.approx(oracle.balanced_accuracy_score(gold, predicted))


@settings(deadline=None)
@given(decisions(), st.integers(0, 2**32 - 1))
def test_log_loss_is_scikit_learns(case: tuple[NDArray[np.int64], NDArray[np.int64], int], seed: int) -> None:
    gold, _, k = case
    probabilities = np.random.default_rng(seed).dirichlet(np.full(k, 0.3), size=len(gold))
    expected = oracle.log_loss(gold, probabilities, labels=range(k))
    assert metrics.log_loss(gold, probabilities) == pytest.approx(expected)


def test_log_loss_stays_finite_where_the_gold_class_was_held_impossible() -> None:
    loss = metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]]))
    assert loss == pytest.approx(-np.log(np.finfo(float).eps))


def test_log_loss_of_certain_and_right_is_not_negative() -> None:
    loss = metrics.log_loss(np.array([1]), np.array([[0.0, 1.0]]))
    assert 0 <= loss < 1e-12
