import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.errors import DataError
from secondcoder.evaluation import thresholds
from secondcoder.evaluation.thresholds import tune_threshold, tune_thresholds

ROWS = st.lists(
    st.tuples(st.booleans(), st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))), min_size=1
)


def columns(rows):
    return np.array([gold for gold, _ in rows]), np.array([p for _, p in rows])


def f1_at(gold, p, threshold):
    given_it = p >= threshold
    return 2 * (gold & given_it).sum() / max(1, gold.sum() + given_it.sum())


@settings(max_examples=40)
@given(ROWS)
def test_a_threshold_lies_between_0_and_1_and_neither_order_nor_repetition_moves_it_out(rows):
    gold, p = columns(rows)
    found = tune_threshold(gold, p)
    assert 0 < found < 1
    assert found == tune_threshold(gold[::-1], p[::-1])


@settings(max_examples=40)
@given(ROWS)
def test_without_shrinking_no_threshold_serves_better(rows):
    gold, p = columns(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "_SHRINKING_ROWS", 0)
        found = tune_threshold(gold, p)
    if gold.all() or not gold.any():
        assert found == 0.5
        return
    others = [t for t in (*p, *np.nextafter(p, 2), 0.5) if 0 < t < 1]
    # Where nothing lies between two neighbouring floats, no threshold parts them.
    gaps = np.diff(np.unique(np.append(p, [0.0, 1.0])))
    if gaps.min() > 1e-9:
        assert f1_at(gold, p, found) >= max(f1_at(gold, p, t) for t in others) - 1e-12


@settings(max_examples=40)
@given(ROWS)
def test_shrinking_goes_towards_a_half_and_never_past_it(rows):
    gold, p = columns(rows)
    shrunk = tune_threshold(gold, p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "_SHRINKING_ROWS", 0)
        best = tune_threshold(gold, p)
    assert min(best, 0.5) - 1e-12 <= shrunk <= max(best, 0.5) + 1e-12


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_classes_are_tuned_one_by_one(rows):
    table = np.array(rows, dtype=np.float64)
    gold, p = table[:, :2].astype(bool), table[:, 2:]
    assert tune_thresholds(gold, p).tolist() == [tune_threshold(gold[:, i], p[:, i]) for i in range(2)]


def test_many_rows_that_are_parted_at_one_place_are_parted_nearly_there():
    p = np.linspace(0.001, 0.999, 999)
    assert tune_threshold(p > 0.2, p) == pytest.approx(0.2, abs=0.01)
    assert tune_threshold(p > 0.9, p) == pytest.approx(0.9, abs=0.02)


def test_of_a_wide_gap_the_middle_is_taken_and_of_thresholds_as_good_the_one_nearest_to_a_half(monkeypatch):
    monkeypatch.setattr(thresholds, "_SHRINKING_ROWS", 0)
    assert tune_threshold(np.array([True, False]), np.array([0.4, 0.2])) == pytest.approx(0.3)
    # F1 is 2/3 between 0.9 and 0.6, and below 0.1.
    gold, p = np.array([True, False, False, True]), np.array([0.9, 0.6, 0.3, 0.1])
    assert f1_at(gold, p, 0.75) == f1_at(gold, p, 0.05) == pytest.approx(2 / 3)
    assert tune_threshold(gold, p) == pytest.approx(0.75)


def test_a_class_with_few_rows_hardly_leaves_a_half():
    p = np.concatenate([[0.05], np.full(99, 0.01)])
    gold = p == 0.05
    assert 0.25 < tune_threshold(gold, p) < 0.5
    many = np.repeat(gold, 100), np.repeat(p, 100)
    assert tune_threshold(*many) < 0.05


def test_it_does_better_than_a_half_on_fresh_rows_where_probabilities_are_shifted():
    generator = np.random.default_rng(0)

    def draw(n):
        gold = generator.random(n) < 0.1
        log_odds = 2 * generator.normal(0, 1, n) + 4 * gold - 2 - 2.2
        return gold, 1 / (1 + np.exp(-(0.5 * log_odds + 1.5)))

    fresh = draw(5000)
    tuned = np.mean([f1_at(*fresh, tune_threshold(*draw(200))) for _ in range(20)])
    assert tuned > f1_at(*fresh, 0.5) + 0.1


@pytest.mark.parametrize(
    ("gold", "p"),
    [([1, 0], [0.5, 0.5]), ([True], [0.5, 0.5]), ([True], [np.nan]), ([True], [1.1]), ([[True]], [[0.5]])],
)
def test_what_is_no_probability_or_does_not_fit_is_refused(gold, p):
    with pytest.raises(DataError) as caught:
        tune_threshold(gold, p)
    assert caught.value.cure
