import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.metrics import ORDERED, is_better, quadratic_kappa
from secondcoder.evaluation.ordinal import kappa_interval

NAMES = ("left", "centre", "right", "far right")


def labelled(n, k, seed, noise=0.8):
    random = np.random.default_rng(seed)
    gold = random.integers(0, k, n)
    return gold, np.clip(np.round(gold + random.normal(0, noise, n)), 0, k - 1).astype(np.int64)


@given(st.integers(1, 40), st.integers(2, 4), st.integers(0, 10_000), st.sampled_from([None, 1, 5]))
@settings(max_examples=30)
def test_kappa_and_mean_absolute_error_are_scikit_learns_and_their_intervals_hold_them(n, k, seed, n_groups):
    gold, said = labelled(n, k, seed)
    groups = None if n_groups is None else [f"g{i % n_groups}" for i in range(n)]
    names = NAMES[:k]
    found = evaluate([names[i] for i in gold], np.eye(k)[said], names, task="ordinal", groups=groups)
    assert found.task == "ordinal"
    assert set(found.figures()) == set(ORDERED.of(names))
    if found.order.quadratic_kappa is None:
        assert set(gold) == set(said)
        assert len(set(gold)) == 1
    else:
        expected = oracle.cohen_kappa_score(gold, said, weights="quadratic", labels=range(k))
        assert found.figure("quadratic-kappa") == pytest.approx(expected)
    assert found.figure("mean-absolute-error") == pytest.approx(oracle.mean_absolute_error(gold, said))
    for name in ("quadratic-kappa", "mean-absolute-error"):
        interval = found.interval(name)
        assert interval is None or interval.low <= found.figure(name) <= interval.high
    if n_groups == 1:
        alone = evaluate([names[i] for i in gold], np.eye(k)[said], names, task="ordinal")
        assert found.intervals == alone.intervals
    assert sum(found.distances) == n
    assert found.distances[0] == sum(gold == said)
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_the_standard_error_of_kappa_is_that_of_the_literature():
    """Fleiss, Cohen and Everitt (1969): kappa_w and its standard error, written out."""
    matrix = np.array([[53, 5, 2], [11, 14, 5], [1, 6, 3]])
    gold, said = (np.repeat(np.indices((3, 3))[axis].ravel(), matrix.ravel()) for axis in (0, 1))
    p = matrix / matrix.sum()
    v = 1 - np.square(np.subtract.outer(range(3), range(3))) / 4
    row, column = p.sum(axis=1), p.sum(axis=0)
    seen, by_chance = (v * p).sum(), (v * np.outer(row, column)).sum()
    mean = (v * column).sum(axis=1)[:, None] + (v * row[:, None]).sum(axis=0)[None, :]
    inner = (p * np.square(v * (1 - by_chance) - mean * (1 - seen))).sum()
    error = np.sqrt((inner - (seen * by_chance - 2 * by_chance + seen) ** 2) / 100) / (1 - by_chance) ** 2
    kappa = quadratic_kappa(matrix)
    assert kappa == pytest.approx((seen - by_chance) / (1 - by_chance))
    found = kappa_interval(gold, said, 3)
    reach = (np.arctanh(found.high) - np.arctanh(kappa)) * (1 - kappa**2)
    assert reach == pytest.approx(1.984 * error, rel=0.01)
    assert np.arctanh(kappa) - np.arctanh(found.low) == pytest.approx(np.arctanh(found.high) - np.arctanh(kappa))


def test_kappas_interval_over_groups_is_wider_where_groups_are_alike():
    gold, said = (np.repeat(column, 8) for column in labelled(40, 3, 1))
    groups = [f"g{i // 8}" for i in range(320)]
    alone, grouped = (kappa_interval(gold, said, 3, groups=g) for g in (None, groups))
    assert 2 < (grouped.high - grouped.low) / (alone.high - alone.low) < 4.5


def test_the_order_of_the_names_is_what_counts():
    gold, said = labelled(100, 3, 2)
    right = evaluate([NAMES[i] for i in gold], np.eye(3)[said], NAMES[:3], task="ordinal")
    turned = [NAMES[i] for i in (1, 0, 2)]
    wrong = evaluate([NAMES[i] for i in gold], np.eye(3)[said][:, [1, 0, 2]], turned, task="ordinal")
    assert wrong.figure("quadratic-kappa") < right.figure("quadratic-kappa") - 0.1
    assert wrong.figure("accuracy") == right.figure("accuracy")


def test_fewer_steps_are_better_and_a_plain_evaluation_stays_as_it_was():
    assert is_better("mean-absolute-error", 0.2, 0.3)
    assert is_better("quadratic-kappa", 0.3, 0.2)
    plain = evaluate(["left", "right"], np.eye(2), ("left", "right"))
    assert not {"order", "sets", "thresholds"} & set(plain.to_dict())
    assert "quadratic-kappa" not in plain.intervals


def test_a_threshold_of_the_positive_class_decides_everywhere():
    gold, p = ["neg", "pos", "pos", "neg"], np.array([[0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.9, 0.1]])
    found = evaluate(gold, p, ("neg", "pos"), positive="pos", thresholds={"pos": 0.3})
    assert found.confusion == {"neg": {"neg": 1, "pos": 1}, "pos": {"neg": 0, "pos": 2}}
    assert found.thresholds == {"pos": 0.3}
    assert found.interval("recall:pos").high == 1.0
    assert found.risk_coverage.points[-1].error == 0.25
    assert min(b.confidence for b in found.calibration.bins) == pytest.approx(np.mean([0.4, 0.3, 0.8, 0.9]))
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_intervals_end_where_figures_do_and_who_always_says_the_same_has_none_of_kappa():
    gold, groups = np.array([0, 2, 2, 0, 1, 2, 0, 2]), list("aabcdeee")
    for given_groups in (None, groups):
        found = evaluate(
            [NAMES[i] for i in gold], np.eye(3)[np.ones(8, int)], NAMES[:3], task="ordinal", groups=given_groups
        )
        assert found.figure("quadratic-kappa") == 0.0
        assert found.interval("quadratic-kappa") is None
    apart = evaluate(
        [NAMES[i] for i in gold], np.eye(3)[[2, 0, 0, 2, 1, 2, 0, 2]], NAMES[:3], task="ordinal", groups=groups
    )
    assert apart.interval("mean-absolute-error").high == 2.0
