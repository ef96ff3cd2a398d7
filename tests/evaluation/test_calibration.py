import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.special import log_softmax, softmax
from sklearn.metrics import brier_score_loss

from secondcoder.errors import DataError
from secondcoder.evaluation.calibration import MOST_BINS, Calibration, bins_of, calibration, calibration_error
from secondcoder.evaluation.count_intervals import share_interval
from secondcoder.evaluation.multiclass import MultiClass

MULTI_CLASS = MultiClass()

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def plain_error(found: Calibration) -> float:
    """The expected calibration error as most papers give it, never 0, and the larger the fewer the texts."""
    return sum(b.n * abs(b.accuracy - b.confidence) for b in found.bins) / sum(b.n for b in found.bins)


def study(n: int, *, seed: int, k: int = 3, sharpness: float = 1.0) -> tuple[Ints, Floats]:
    """Gold labels drawn from true probabilities, and the logits of a model that is so much too sure."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, k))
    gold = (softmax(logits, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return gold.clip(0, k - 1), logits * sharpness


def log_loss(gold: Ints, logits: Floats, temperature: float = 1.0) -> float:
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(gold)), gold].mean())


def test_a_calibrated_model_has_an_interval_that_reaches_0_and_an_overconfident_one_has_not():
    gold, logits = study(2000, seed=11)
    true, sure = (calibration(gold, softmax(z, axis=1)) for z in (logits, 3 * logits))
    assert true.error_interval is not None
    assert true.error_interval.low == 0
    assert true.error < 0.02
    assert sure.error_interval is not None
    assert sure.error_interval.low > 0.05
    assert sure.error_interval.low < sure.error < sure.error_interval.high


def test_what_chance_adds_is_taken_off():
    """Of calibrated models the plain figure is far from 0 on 200 rows, by theory 0.8 standard errors a bin."""
    found = [calibration(gold, softmax(z, axis=1)) for gold, z in (study(200, seed=seed) for seed in range(60))]
    plain, error = np.mean([plain_error(c) for c in found]), np.mean([c.error for c in found])
    assert plain > 0.05
    assert error < 0.45 * plain


@pytest.mark.parametrize("sharpness", [1.0, 0.5, 2.0])
def test_the_interval_of_the_error_covers_it(sharpness):
    gold, logits = study(100_000, seed=0, sharpness=sharpness)
    p, true_p = softmax(logits, axis=1), softmax(logits / sharpness, axis=1)
    bins, rows = bins_of(p.max(axis=1)), np.arange(len(p))
    differences = true_p[rows, p.argmax(axis=1)] - p.max(axis=1)
    truth = float(np.abs(np.bincount(bins, differences)).sum() / len(p))
    misses = 0
    for seed in range(1, 121):
        gold, logits = study(400, seed=seed, sharpness=sharpness)
        interval = calibration(gold, softmax(logits, axis=1)).error_interval
        assert interval is not None
        misses += not interval.low - 1e-9 <= truth <= interval.high + 1e-9
    assert misses <= stats.binom.ppf(0.999, 120, 0.07)


def test_groups_that_err_together_widen_the_intervals():
    random = np.random.default_rng(4)
    confidence = random.uniform(0.6, 0.95, 600)
    groups = [f"g{i // 50}" for i in range(600)]
    of_group = np.repeat(random.normal(0, 0.3, 12), 50)  # calibrated over all groups, and in none
    gold = (random.random(600) > np.clip(confidence + of_group, 0, 1)).astype(np.int64)
    p = np.stack([confidence, 1 - confidence], axis=1)
    alone, grouped, one = (calibration(gold, p, groups=g) for g in (None, groups, ["one"] * 600))
    assert alone.error_interval is not None
    assert grouped.error_interval is not None
    assert alone.error_interval.low > 0
    assert grouped.error_interval.low == 0
    for a, g in zip(
        (alone.brier_interval, *(b.interval for b in alone.bins)),
        (grouped.brier_interval, *(b.interval for b in grouped.bins)),
        strict=True,
    ):
        assert a is not None
        assert g is not None
        assert g.high - g.low > 1.1 * (a.high - a.low)
    assert (one.error_interval, one.brier_interval, one.bins[0].interval) == (None, None, None)


@given(st.lists(st.sampled_from([0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0]), min_size=1, max_size=300))
def test_rows_of_one_confidence_are_in_one_bin_and_bins_rise(confidences):
    confidence = np.array(confidences)
    bins = bins_of(confidence)
    ranges = [(confidence[bins == b].min(), confidence[bins == b].max()) for b in range(bins.max() + 1)]
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))
    assert len(ranges) <= MOST_BINS
    assert min(np.bincount(bins)) >= min(len(bins), 10)


def test_without_ties_bins_hold_equally_many_rows():
    for n in (1, 19, 20, 39, 40, 100, 217, 1000):
        counts = np.bincount(bins_of(np.random.default_rng(n).random(n)))
        assert len(counts) == min(10, max(1, n // 20))
        assert counts.max() - counts.min() <= 1


def test_bins_say_how_sure_the_model_was_and_how_often_right():
    p = np.array([[0.9, 0.1]] * 30 + [[0.4, 0.6]] * 30)
    gold = np.array([0] * 27 + [1] * 3 + [1] * 15 + [0] * 15)
    found = calibration(gold, p)
    assert [(b.confidence, b.accuracy, b.n) for b in found.bins] == [
        (pytest.approx(0.6), 0.5, 30),
        (pytest.approx(0.9), pytest.approx(0.9), 30),
    ]
    assert plain_error(found) == pytest.approx(0.05)
    interval = found.bins[0].interval
    expected = share_interval(np.arange(30) < 15)
    assert interval is not None
    assert expected is not None
    assert (interval.low, interval.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(3, 5))
@settings(max_examples=40)
def test_the_brier_score_is_scikit_learns(seed, n, k):
    gold, logits = study(n, seed=seed, k=k)
    p = softmax(logits, axis=1)
    found = calibration(gold, p)
    expected = brier_score_loss(gold, p, scale_by_half=False, labels=list(range(k)))
    assert found.brier == pytest.approx(expected)


def test_of_two_classes_the_brier_score_counts_both():
    p = np.array([[0.8, 0.2], [0.3, 0.7]])
    assert calibration(np.array([0, 0]), p).brier == pytest.approx((2 * 0.2**2 + 2 * 0.7**2) / 2)


@given(st.integers(0, 10_000), st.integers(1, 200), st.sampled_from([0.2, 1.0, 5.0, 100.0]))
@settings(max_examples=40)
def test_intervals_hold_their_figures_and_json_gives_them_back(seed, n, sharpness):
    gold, logits = study(n, seed=seed, sharpness=sharpness)
    found = calibration(gold, softmax(logits, axis=1), groups=[f"g{i % 7}" for i in range(n)] if seed % 2 else None)
    for value, interval in ((found.error, found.error_interval), (found.brier, found.brier_interval)):
        assert interval is None or interval.low <= value <= interval.high
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_hard_labels_are_judged_too():
    """Another human gives ones and zeros: the confidence is 1, and the error is the share wrong."""
    gold = np.array([0, 1] * 50)
    flipped = np.where(np.arange(100) < 10, 1 - gold, gold)
    found = calibration(gold, np.eye(2)[flipped])
    assert found.error == pytest.approx(0.1, abs=0.01)
    assert found.brier == pytest.approx(0.2)
    perfect = calibration(gold, np.eye(2)[gold])
    assert (perfect.error, perfect.brier, perfect.error_interval) == (0, 0, None)


def test_rows_that_do_not_fit_and_files_that_are_none_are_refused():
    with pytest.raises(DataError, match="2 gold labels, and probabilities of shape"):
        calibration(np.array([0, 1]), np.array([[1.0, 0.0]]))
    with pytest.raises(DataError, match="0 gold labels"):
        calibration(np.array([], dtype=np.int64), np.empty((0, 2)))
    with pytest.raises(DataError, match="not a calibration"):
        Calibration.from_dict({"error": 1})


def test_the_temperature_that_made_a_model_too_sure_is_found():
    for sharpness in (0.5, 1.0, 3.0):
        gold, logits = study(5000, seed=2, sharpness=sharpness)
        assert MULTI_CLASS.temperature(gold, logits) == pytest.approx(sharpness, rel=0.1)
        found = MULTI_CLASS.temperature(gold, logits)
        before, after = (calibration(gold, softmax(logits / t, axis=1)) for t in (1, found))
        assert after.error < 0.02
        assert after.brier <= before.brier + 1e-4


def test_on_many_rows_no_other_temperature_has_less_log_loss():
    gold, logits = study(3000, seed=3, sharpness=2.5)
    found = MULTI_CLASS.temperature(gold, logits)
    best = min(log_loss(gold, logits, t) for t in np.geomspace(0.05, 20, 500))
    assert log_loss(gold, logits, found) <= best + 1e-6


@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([0.0, 1e-6, 0.1, 1.0, 7.0, 1e3]),
    st.sampled_from(["drawn", "one class", "all right", "all wrong"]),
)
@settings(max_examples=40)
def test_never_worse_than_temperature_1_and_labels_stay(seed, n, sharpness, kind):
    gold, logits = study(n, seed=seed, sharpness=sharpness)
    gold = {
        "drawn": gold,
        "one class": np.zeros_like(gold),
        "all right": logits.argmax(axis=1),
        "all wrong": logits.argmin(axis=1),
    }[kind]
    found = MULTI_CLASS.temperature(gold, logits)
    assert 0.05 - 1e-9 <= found <= 20 + 1e-9
    assert log_loss(gold, logits, found) <= log_loss(gold, logits) + 1e-9
    assert np.array_equal((logits / found).argmax(axis=1), logits.argmax(axis=1))


def test_a_hundred_rows_that_are_all_right_do_not_make_the_model_certain():
    _, logits = study(100, seed=5, sharpness=0.3)
    found = MULTI_CLASS.temperature(logits.argmax(axis=1), logits)
    assert 0.05 < found < 1
    sure = softmax(logits / found, axis=1).max(axis=1)
    assert 0.9 < sure.mean() < 0.999


def test_temperatures_do_not_depend_on_order_or_on_a_shift_of_logits():
    gold, logits = study(300, seed=6)
    found = MULTI_CLASS.temperature(gold, logits)
    assert MULTI_CLASS.temperature(gold[::-1], logits[::-1] + 5) == pytest.approx(found, rel=1e-6)
    assert MULTI_CLASS.temperature(gold, logits.astype(np.float32)) == pytest.approx(found, rel=1e-4)


def test_logits_that_are_not_numbers_are_refused():
    with pytest.raises(DataError, match="not numbers"):
        MULTI_CLASS.temperature(np.array([0]), np.array([[np.nan, 1.0]]))


def test_of_rows_that_are_all_right_groups_say_less():
    right, pairs = np.ones(100, dtype=bool), [f"g{i // 50}" for i in range(100)]
    alone, grouped = share_interval(right), share_interval(right, pairs)
    assert alone is not None
    assert grouped is not None
    assert grouped.high == 1
    assert grouped.low < alone.low - 0.1
    assert share_interval(right, ["one"] * 100) is None
    assert share_interval(right[:0]) is None


@pytest.mark.parametrize("groups", [None, [f"g{i % 10}" for i in range(100)]])
@pytest.mark.parametrize(("confidence", "right"), [(0.77, 77), (0.75, 75), (0.9, 90)])
def test_luck_does_not_pass_for_certainty(confidence, right, groups):
    """Just as many right as promised: less than nearly every calibrated model shows, and no proof of anything."""
    p = np.tile([confidence, 1 - confidence], (100, 1))
    found = calibration((np.arange(100) >= right).astype(np.int64), p, groups=groups)
    assert found.error_interval is not None
    assert found.error == found.error_interval.low == 0
    assert 0.05 < found.error_interval.high < 0.4
    assert plain_error(found) < 1e-9


def test_no_interval_of_a_calibrated_models_error_is_a_point():
    for seed in range(40):
        gold, logits = study(60, seed=seed)
        interval = calibration(gold, softmax(logits, axis=1)).error_interval
        assert interval is not None
        assert interval.high > interval.low + 0.02


@pytest.mark.parametrize("n_groups", [6, 12])
def test_the_error_over_few_groups_is_rarely_above_its_interval(n_groups):
    """Nominal 2.5 %, 16 and 10 % when only the spread between the groups' bins was counted."""
    random, missed, truth = np.random.default_rng(1), 0, 0.107  # of very many groups
    for _ in range(40):
        confidence = random.uniform(0.6, 0.95, n_groups * 50)
        of_group = random.normal(-0.1, 0.2, n_groups)
        right = random.random(len(confidence)) < np.clip(confidence + np.repeat(of_group, 50), 0, 1)
        groups = np.repeat([f"g{i}" for i in range(n_groups)], 50)
        _, interval = calibration_error(confidence, right, bins_of(confidence), groups.tolist())
        assert interval is not None
        missed += interval.high < truth
    assert missed <= stats.binom.ppf(0.99, 40, 0.025)


def test_groups_that_cancel_leave_no_less_doubt_than_rows_and_three_none_that_can_be_told():
    random = np.random.default_rng(3)
    confidence = random.uniform(0.6, 0.95, 240)
    right = random.random(240) < confidence
    order = np.argsort(confidence + 2 * right, kind="stable")
    for g in (5, 8):
        groups = np.empty(240, dtype=object)
        groups[order] = [f"g{i % g}" for i in range(240)]  # all as hard, all as sure
        bins = bins_of(confidence)
        alone, grouped = (calibration_error(confidence, right, bins, u)[1] for u in (None, groups.tolist()))
        assert alone is not None
        assert grouped is not None
        assert grouped.high > 0.95 * alone.high
    three = calibration_error(confidence, right, bins, [f"g{i % 3}" for i in range(240)])
    assert three[1] is None
