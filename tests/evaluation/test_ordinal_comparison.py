import numpy as np
import pytest

from secondcoder.evaluation.evaluate import evaluate_points
from secondcoder.evaluation.multiclass import compare
from secondcoder.evaluation.ordinal import with_order

NAMES = ("low", "middle", "high")


def compared(seed, noises=(0.9, 0.6), n=150, n_groups=None):
    random = np.random.default_rng(seed)
    gold = random.integers(0, 3, n)
    given = tuple(np.clip(np.round(gold + random.normal(0, noise, n)), 0, 2).astype(np.int64) for noise in noises)
    groups = None if n_groups is None else [f"g{i % n_groups}" for i in range(n)]
    plain = compare(gold, np.eye(3)[given[0]], np.eye(3)[given[1]], NAMES, groups=groups)
    return gold, given, with_order(plain, gold, given, 3, groups)


def test_values_are_those_of_evaluate_and_the_other_figures_stay():
    gold, given, found = compared(0, n_groups=10)
    both = [evaluate_points([NAMES[i] for i in gold], np.eye(3)[own], NAMES, task="ordinal") for own in given]
    for name in ("quadratic-kappa", "mean-absolute-error"):
        d = found.difference(name)
        assert (d.first, d.second) == pytest.approx(tuple(own.figure(name) for own in both))
        assert d.interval.method == "paired-jackknife-t"
    assert found.main == "macro-f1"
    assert found.differences[0].name == "macro-f1"
    assert found.difference("mean-absolute-error").better == "second"


@pytest.mark.parametrize("name", ["quadratic-kappa", "mean-absolute-error"])
def test_the_standard_error_is_that_of_repeated_studies(name):
    found = [compared(seed)[2].difference(name) for seed in range(150)]
    length = np.mean([d.interval.high - d.interval.low for d in found]) / (2 * 1.976)
    assert length == pytest.approx(np.std([d.difference for d in found]), rel=0.2)


def test_an_undefined_kappa_is_left_out():
    ones = np.ones(5, np.int64)
    plain = compare(ones, np.eye(3)[ones], np.eye(3)[ones], NAMES)
    names = [d.name for d in with_order(plain, ones, (ones, ones), 3).differences]
    assert "quadratic-kappa" not in names
    assert "mean-absolute-error" in names


def test_one_text_makes_no_difference_real_and_limits_stay_where_figures_live():
    gold = np.repeat([0, 1, 2], [60, 3, 2])
    second = gold.copy()
    second[-1] = 0
    plain = compare(gold, np.eye(3)[gold], np.eye(3)[second], NAMES)
    found = with_order(plain, gold, (gold, second), 3)
    for name, bound in (("quadratic-kappa", 2), ("mean-absolute-error", 2)):
        d = found.difference(name)
        assert (d.p_value, d.differing, d.shown) == (1.0, 1, False), name
        assert -bound <= d.interval.low <= 0 <= d.interval.high <= bound
    turned = with_order(plain, gold, (2 - gold, gold), 3).difference("quadratic-kappa")
    assert turned.shown
    assert turned.interval.high <= 2


def test_whole_groups_are_swapped():
    for n_groups, shown in ((5, False), (8, True)):
        _, _, found = compared(3, (1.2, 0.3), n_groups=n_groups)
        for name in ("quadratic-kappa", "mean-absolute-error"):
            d = found.difference(name)
            assert (d.differing, d.shown) == (n_groups, shown), name
            assert d.p_value >= 2 / 2**n_groups
