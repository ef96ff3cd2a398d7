import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from secondcoder.errors import DataError, SettingsError
from secondcoder.evaluation.calibration import top_class
from secondcoder.evaluation.count_intervals import share_interval
from secondcoder.evaluation.selective import (
    MOST_POINTS,
    Guarantee,
    RiskCoverage,
    chance_of_finding,
    risk_coverage,
    risk_guarantee,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def threshold_for_error(gold, probabilities, max_error, *, delta=0.05):
    """The guarantee of the most probable classes."""
    return risk_guarantee(*top_class(gold, probabilities), max_error, delta=delta)


def least_texts(max_error, *, delta=0.05):
    """So many texts, all labelled right, it takes at the least."""
    return math.ceil(math.log(delta) / math.log1p(-max_error))


def rows(confidence: object, right: object) -> tuple[Ints, Floats]:
    """Two-class rows of which the first class is given, with this confidence, and is right or not."""
    c = np.asarray(confidence, dtype=np.float64)
    return (~np.asarray(right, dtype=bool)).astype(np.int64), np.stack([c, 1 - c], axis=1)


def drawn(n: int, random: np.random.Generator, *, at_best: float, at_worst: float) -> tuple[Ints, Floats]:
    """Rows of which the error falls in a line from confidence 0.5 to 1."""
    confidence = random.uniform(0.5, 1, n)
    error = at_worst + (at_best - at_worst) * (confidence - 0.5) * 2
    return rows(confidence, random.random(n) >= error)


def true_error(min_confidence: float, *, at_best: float, at_worst: float) -> float:
    return (at_best + at_worst + (at_best - at_worst) * (min_confidence - 0.5) * 2) / 2


CASES = [
    (300, 0.1, {"at_best": 0.0, "at_worst": 0.4}),
    (1000, 0.05, {"at_best": 0.0, "at_worst": 0.2}),
    # Confidence that says the opposite of the truth.
    (400, 0.1, {"at_best": 0.3, "at_worst": 0.0}),
    # A flat error just above the limit: whatever is accepted breaks it.
    (400, 0.1, {"at_best": 0.101, "at_worst": 0.101}),
]


@pytest.mark.parametrize(("n", "max_error", "errors"), CASES)
def test_the_guarantee_holds_in_all_but_a_share_delta_of_data_sets(n, max_error, errors):
    delta, studies = 0.1, 600
    random = np.random.default_rng(n)
    broken, kept = 0, []
    for _ in range(studies):
        found = threshold_for_error(*drawn(n, random, **errors), max_error, delta=delta)
        if found.min_confidence is not None:
            kept.append(found.coverage)
            broken += true_error(found.min_confidence, **errors) > max_error
    assert broken <= stats.binom.ppf(0.999, studies, delta)
    if errors["at_best"] == 0:
        assert len(kept) > 0.5 * studies
    if n == 1000:
        assert np.mean(kept) > 0.25


def test_choosing_by_the_observed_error_alone_would_break_the_guarantee():
    """The simulation above can fail: here is a rule that does."""
    n, max_error, errors = CASES[0]
    random = np.random.default_rng(1)
    broken = 0
    for _ in range(300):
        points = risk_coverage(*drawn(n, random, **errors)).points
        chosen = [p.min_confidence for p in points if p.error <= max_error]
        broken += bool(chosen) and true_error(min(chosen), **errors) > max_error
    assert broken > stats.binom.ppf(0.999, 300, 0.1)


def test_the_bound_is_the_exact_binomial_one():
    found = threshold_for_error(*rows([0.9] * 200, [True] * 195 + [False] * 5), 0.1)
    assert found.bound == pytest.approx(
        stats.binomtest(5, 200, alternative="less").proportion_ci(0.95, method="exact").high
    )
    assert (found.min_confidence, found.coverage, found.error, found.n) == (0.9, 1, 0.025, 200)


def test_a_faultless_record_is_accepted_as_a_whole():
    random = np.random.default_rng(0)
    found = threshold_for_error(*rows(random.uniform(0.6, 1, 500), [True] * 500), 0.05)
    assert found.coverage == 1
    assert found.bound is not None
    assert 0 < found.bound <= 0.05


def test_a_wrong_text_ends_the_search_only_where_it_breaks_the_limit():
    """Of 93 texts one may be wrong: the row after the first 59, which must all be right, is no reason to stop."""
    right = np.arange(93) != 60
    found = threshold_for_error(*rows(np.linspace(1, 0.6, 93), right), 0.05)
    assert (found.coverage, found.error) == (1, 1 / 93)
    right[80] = False
    found = threshold_for_error(*rows(np.linspace(1, 0.6, 93), right), 0.05)
    assert (found.coverage, found.error) == (59 / 93, 0)


@pytest.mark.parametrize(
    ("confidence", "right"),
    [
        ([0.9], [True]),
        ([0.9], [False]),
        (np.linspace(0.6, 1, 500), [False] * 500),
        (np.linspace(0.6, 1, least_texts(0.05) - 1), [True] * (least_texts(0.05) - 1)),
        ([0.9] * 500, [True, False] * 250),
    ],
    ids=["one right", "one wrong", "all wrong", "too few", "one tie, half wrong"],
)
def test_where_it_is_impossible_there_is_no_confidence(confidence, right):
    found = threshold_for_error(*rows(confidence, right), 0.05)
    assert (found.min_confidence, found.coverage, found.error, found.bound) == (None, 0, None, None)
    assert Guarantee.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_least_number_of_texts_is_where_a_faultless_record_begins_to_do():
    n = least_texts(0.05)
    assert 0.95**n <= 0.05 < 0.95 ** (n - 1)
    assert threshold_for_error(*rows([0.9] * n, [True] * n), 0.05).min_confidence == 0.9


@given(st.data(), st.sampled_from([0.05, 0.2, 0.5]))
@settings(max_examples=40)
def test_what_is_promised_is_true_of_the_rows_it_was_chosen_on(data, max_error):
    n = data.draw(st.integers(1, 150))
    confidence = data.draw(st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]), min_size=n, max_size=n))
    right = data.draw(st.lists(st.sampled_from([True, True, True, False]), min_size=n, max_size=n))
    gold, p = rows(confidence, right)
    found = threshold_for_error(gold, p, max_error)
    if found.min_confidence is not None:
        accepted = p.max(axis=1) >= found.min_confidence
        wrong = (p.argmax(axis=1) != gold)[accepted]
        assert found.coverage == accepted.mean()
        assert found.error == wrong.mean()
        assert found.bound is not None
        assert found.error < found.bound <= max_error


@pytest.mark.parametrize(("max_error", "fewest"), [(0.05, 59), (0.1, 29), (0.4, 6)])
def test_what_a_promise_takes_and_is_worth_stands_beside_it(max_error, fewest):
    found = threshold_for_error(*rows(np.linspace(0.6, 1, 300), [True] * 300), max_error)
    assert found.fewest == fewest == least_texts(max_error)
    assert "may also find no such confidence" in found.worth
    assert "in at least 95 of 100 studies" in found.worth
    assert f"{fewest} accepted texts, if all are right" in found.worth
    assert "group" not in found.worth
    few = threshold_for_error(*rows([0.9] * (fewest - 1), [True] * (fewest - 1)), max_error)
    assert f"With {fewest - 1} texts it could find none." in few.worth


def test_where_finding_is_rare_and_texts_come_in_groups_the_promise_says_so():
    found = threshold_for_error(*rows(np.linspace(0.6, 1, 300), [True] * 300), 0.05)
    rare, usual = (replace(found, chance=chance, n_groups=4).worth for chance in (0.05, 0.95))
    assert "Of 100 studies with 300 texts, about 5 would find one" in rare
    assert "keeps the promise less often" in rare
    assert "about 95 would find one, probably fewer: " in usual
    assert "the rest of dev, by which the model was chosen." in usual
    assert "less often" not in usual
    assert "come from 4 groups and are taken as independent" in rare
    assert "keeps the promise less often" not in replace(found, chance=0.05, min_confidence=None).worth


def test_a_promise_of_an_earlier_version_is_still_read():
    stored = threshold_for_error(*rows([0.9] * 100, [True] * 100), 0.05).to_dict()
    found = Guarantee.from_dict({name: stored[name] for name in stored if name not in ("n_groups", "chance")})
    assert (found.n_groups, found.chance, found.min_confidence) == (None, None, 0.9)


@pytest.mark.parametrize(("n", "max_error"), [(120, 0.1), (200, 0.1), (400, 0.15)])
def test_the_chance_of_finding_a_confidence_is_that_of_fresh_studies(n, max_error):
    random, errors = np.random.default_rng(5), {"at_best": 0.0, "at_worst": 0.4}
    found = [threshold_for_error(*drawn(n, random, **errors), max_error).min_confidence for _ in range(300)]
    often = np.mean([one is not None for one in found])
    chance = chance_of_finding(*top_class(*drawn(20_000, random, **errors)), n, max_error)
    assert chance == pytest.approx(often, abs=0.12)
    assert often > 0.05
    assert chance_of_finding(*top_class(*drawn(1000, random, **errors)), least_texts(max_error) - 1, max_error) == 0


def test_shares_out_of_bounds_are_refused():
    gold, p = rows([0.9], [True])
    for max_error, delta, name in (
        (0, 0.05, "max_error"),
        (1, 0.05, "max_error"),
        (0.1, 0, "delta"),
        (0.1, 1, "delta"),
    ):
        with pytest.raises(SettingsError, match=name):
            threshold_for_error(gold, p, max_error, delta=delta)


def test_the_curve_is_what_it_says_of_every_confidence():
    random = np.random.default_rng(3)
    gold, p = drawn(1000, random, at_best=0.0, at_worst=0.5)
    found = risk_coverage(gold, p)
    assert len(found.points) == MOST_POINTS
    assert found.points[-1].coverage == 1
    for point in found.points:
        accepted = p.max(axis=1) >= point.min_confidence
        wrong = (p.argmax(axis=1) != gold)[accepted]
        assert point.coverage == pytest.approx(accepted.mean())
        assert point.error == pytest.approx(wrong.mean())
        assert point.interval is not None
        expected = share_interval(wrong)
        assert expected is not None
        assert (point.interval.low, point.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.points[0].error < found.points[-1].error


def test_the_area_is_the_mean_error_over_all_coverages():
    gold, p = rows([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert risk_coverage(gold, p).area == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    tied, p = rows([0.9, 0.7, 0.7, 0.7], [True, False, True, False])
    assert risk_coverage(tied, p).area == pytest.approx((0 + 3 * 2 / 4) / 4)


@given(st.data())
@settings(max_examples=40)
def test_the_curve_does_not_depend_on_the_order_of_rows(data):
    n = data.draw(st.integers(1, 80))
    confidence = np.array(data.draw(st.lists(st.sampled_from([0.5, 0.7, 0.9, 1.0]), min_size=n, max_size=n)))
    right = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    groups = np.array([f"g{i % 5}" for i in range(n)])
    order = np.array(data.draw(st.permutations(range(n))))
    first = risk_coverage(*rows(confidence, right), groups=groups.tolist())
    second = risk_coverage(*rows(confidence[order], right[order]), groups=groups[order].tolist())
    assert first.area == pytest.approx(second.area)
    for a, b in zip(first.points, second.points, strict=True):
        assert (a.min_confidence, a.coverage, a.error) == (b.min_confidence, b.coverage, b.error)
        assert (a.interval is None) == (b.interval is None)
    thresholds = [point.min_confidence for point in first.points]
    assert thresholds == sorted(set(thresholds), reverse=True)
    assert RiskCoverage.from_dict(json.loads(json.dumps(first.to_dict()))) == first


def test_groups_that_err_together_widen_the_curves_intervals():
    random = np.random.default_rng(8)
    right = np.repeat(random.random(12) < 0.6, 40)
    gold, p = rows(random.uniform(0.6, 1, 480), right)
    alone = risk_coverage(gold, p).points[-1].interval
    grouped = risk_coverage(gold, p, groups=[f"g{i // 40}" for i in range(480)]).points[-1].interval
    assert alone is not None
    assert grouped is not None
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_one_row_is_a_curve_and_none_is_refused():
    found = risk_coverage(*rows([0.9], [False]))
    assert [(p.min_confidence, p.coverage, p.error) for p in found.points] == [(0.9, 1, 1)]
    assert found.area == 1
    with pytest.raises(DataError, match="0 gold labels"):
        risk_coverage(np.array([], dtype=np.int64), np.empty((0, 2)))
    with pytest.raises(DataError, match="not a risk-coverage curve"):
        RiskCoverage.from_dict({"points": [{}]})
    with pytest.raises(DataError, match="not a guarantee"):
        Guarantee.from_dict({"bounds": 1})
