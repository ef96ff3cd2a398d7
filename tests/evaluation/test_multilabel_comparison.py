import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from secondcoder.errors import DataError
from secondcoder.evaluation.comparison import Comparison
from secondcoder.evaluation.evaluate import evaluate_points
from secondcoder.evaluation.multilabel import compare_sets

NAMES = ("a", "b", "c")


def make(n=200, signals=(1.0, 2.0), seed=0, k=3):
    random = np.random.default_rng(seed)
    gold = random.random((n, k)) < np.linspace(0.5, 0.15, k)
    p = tuple(expit(np.where(gold, s, -s) + random.normal(0, 1.2, (n, k))) for s in signals)
    return gold, p, tuple(own >= 0.5 for own in p)


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([None, 2, 7]))
@settings(max_examples=30)
def test_values_are_those_of_evaluate_and_intervals_hold_the_difference(seed, n, n_groups):
    gold, p, said = make(n, seed=seed)
    groups = None if n_groups is None else [f"g{i % n_groups}" for i in range(n)]
    found = compare_sets(gold, p, said, NAMES, groups=groups)
    labels = [tuple(name for name, has in zip(NAMES, row, strict=True) if has) for row in gold]
    one, two = (evaluate_points(labels, own, NAMES, task="multi-label") for own in p)
    assert found.main == "macro-f1"
    for d in found.differences:
        if d.difference is None:
            assert not gold[:, NAMES.index(d.name[3:])].any()
            continue
        assert (d.first, d.second) == pytest.approx((one.figure(d.name), two.figure(d.name)))
        if d.interval is not None:
            assert d.interval.low - 1e-9 <= d.difference <= d.interval.high + 1e-9
            assert d.shown == (d.p_value < 0.05) == d.leaves_out_0
    assert (found.mcnemar is None) == (groups is not None and len(set(groups)) >= 5)
    assert Comparison.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_a_better_one_is_shown_to_be_better_and_hamming_loss_is_better_when_lower():
    found = compare_sets(*make(600), NAMES)
    assert found.difference("macro-f1").shown
    assert found.difference("hamming-loss").better == "second"
    assert found.difference("exact-match").better == "second"
    assert found.mcnemar.p_value < 0.001
    assert "favour of second" in found.verdict


def test_the_error_of_macro_f1_is_that_of_repeated_studies():
    differences, lengths = [], []
    for seed in range(150):
        d = compare_sets(*make(150, (1.0, 1.3), seed), NAMES).difference("macro-f1")
        differences.append(d.difference)
        lengths.append(d.interval.high - d.interval.low)
    assert np.mean(lengths) / (2 * 1.976) == pytest.approx(np.std(differences), rel=0.2)


def test_who_says_the_same_differs_in_nothing():
    gold, p, said = make()
    found = compare_sets(gold, (p[0], p[0]), (said[0], said[0]), NAMES)
    assert found.agreement == 1
    assert "the same set of labels" in found.verdict
    assert found.of_sets


def test_arrays_that_do_not_fit_are_refused():
    gold, p, said = make(10)
    with pytest.raises(DataError, match="shape"):
        compare_sets(gold[:5], p, said, NAMES)
    with pytest.raises(DataError, match="groups"):
        compare_sets(gold, p, said, NAMES, groups=["g"])


def test_one_text_makes_no_difference_real_and_rare_classes_have_no_interval():
    gold = np.zeros((60, 3), dtype=bool)
    gold[:30, 0] = gold[30:34, 1] = gold[40:50, 2] = True
    second = gold.copy()
    second[30, 1] = False
    p = tuple(np.where(own, 0.9, 0.1) for own in (gold, second))
    found = compare_sets(gold, p, (gold, second), NAMES)
    for name in ("macro-f1", "micro-f1", "exact-match", "hamming-loss"):
        d = found.difference(name)
        assert (d.p_value, d.differing, d.shown) == (1.0, 1, False), name
    assert found.difference("f1:b").reason == "class 'b' has 4 gold texts, fewer than 5"
    gold[:, 1] = False
    found = compare_sets(gold, p, (gold, second), NAMES)
    assert "cannot be said: class 'b' is not in this part" in found.verdict
    assert found.difference("micro-f1").interval is not None


def test_whole_groups_of_sets_are_swapped():
    gold, p, said = make(120, (0.5, 2.0))
    for n_groups, shown in ((5, False), (8, True)):
        found = compare_sets(gold, p, said, NAMES, groups=[f"g{i % n_groups}" for i in range(120)])
        d = found.difference("macro-f1")
        assert (d.differing, d.shown) == (n_groups, shown)
        assert d.p_value >= 2 / 2**n_groups
