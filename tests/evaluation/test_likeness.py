import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from secondcoder.evaluation import likeness
from secondcoder.evaluation.count_intervals import share_interval
from secondcoder.evaluation.intervals import Limits, share_limits, wilson_limits
from secondcoder.evaluation.likeness import Worth, mixed_limits, ratio_limits, worth_of

Floats = NDArray[np.float64]


def drawn(groups: int, of_each: int, correlation: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Hits of groups of a share of 0.8, and their sizes."""
    rng = np.random.default_rng(seed)
    both = (1 - correlation) / correlation if correlation else 1e9
    return rng.binomial(of_each, rng.beta(0.8 * both, 0.2 * both, groups)).astype(float), np.full(
        groups, float(of_each)
    )


def expected_rows(worth: Worth) -> float:
    return float((worth.rows * worth.weights).sum())


def test_groups_that_differ_much_are_worth_little_and_those_that_do_not_nearly_all_their_rows() -> None:
    alike, apart = (expected_rows(worth_of(*drawn(30, 50, correlation))) for correlation in (0.0, 0.3))
    assert alike > 0.6 * 1500
    assert apart < 0.15 * 1500  # truly 1500 / (1 + 0.3 * 49) = 95
    assert apart > 50


def test_few_groups_that_look_alike_do_not_prove_it() -> None:
    found = [expected_rows(worth_of(np.full(g, 40.0), np.full(g, 50.0))) / (50 * g) for g in (2, 6, 60)]
    assert found[0] < 0.7
    assert found[1] < 0.92
    assert found[2] > 0.98


def test_weights_are_bayes_rule_on_the_beta_binomial_likelihood() -> None:
    hits, sizes = drawn(8, 40, 0.1, seed=4)
    found, n = worth_of(hits, sizes), sizes.sum()
    correlations = (n / found.rows - 1) / (40 - 1)
    edges = np.concatenate([[0, correlations[1] / 2], np.sqrt(correlations[1:-1] * correlations[2:]), [1]])
    spread = likeness.LIKENESS * (1 - likeness.LIKENESS) / likeness.LIKENESS_DOUBT**2 - 1
    prior = np.diff(stats.beta.cdf(edges, likeness.LIKENESS * spread, (1 - likeness.LIKENESS) * spread))
    shares = np.linspace(0.002, 0.998, 499)
    likely = []
    for correlation in np.maximum(correlations, 1e-6):
        both = (1 - correlation) / correlation
        each = [
            stats.betabinom.logpmf(k, m, shares * both, (1 - shares) * both) for k, m in zip(hits, sizes, strict=True)
        ]
        likely.append((np.exp(np.sum(each, axis=0)) * (shares * (1 - shares)) ** (likeness._PULL - 1)).sum())
    weights = prior * likely / (prior * likely).sum()
    assert found.weights == pytest.approx(weights, abs=0.03)


def test_many_small_groups_are_counted_as_a_few_large_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    hits, sizes = drawn(40, 6, 0.2, seed=2)
    quick = worth_of(hits, sizes)  # 40 groups, at most 6 rows: by how many have 1, 2, 3 …
    slow = worth_of(np.append(hits, 0.0), np.append(sizes, 0.0))
    for ours, theirs in zip(quick, slow, strict=True):
        assert ours == pytest.approx(theirs)
    start = np.array([[[0.7]]])
    one_by_one = sum(likeness._rising(start, hits[i : i + 1][np.newaxis]) for i in range(40))
    assert likeness._rising(start, hits[np.newaxis]) == pytest.approx(one_by_one)


def test_many_studies_at_once_give_what_each_gives_alone() -> None:
    studies = [drawn(7, 30, 0.1, seed) for seed in range(5)]
    together = worth_of(*(np.array(part) for part in zip(*studies, strict=True)))
    share = np.array([hits.sum() / sizes.sum() for hits, sizes in studies])
    limits = mixed_limits(share, together, 0.95)
    for i, (hits, sizes) in enumerate(studies):
        alone = worth_of(hits, sizes)
        assert together.weights[i] == pytest.approx(alone.weights)
        assert mixed_limits(share[i], alone, 0.95).low == pytest.approx(limits.low[i])


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
@settings(max_examples=40)
def test_where_the_worth_is_certain_limits_are_wilsons(case: tuple[int, int], level: float) -> None:
    share, rows = np.array(case[0] / case[1]), np.array(float(case[1]))
    found = mixed_limits(share, Worth(rows[np.newaxis], np.array([1.0])), level)
    expected = wilson_limits(share, rows, stats.norm.ppf((1 + level) / 2))
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)


def test_doubt_about_the_worth_widens_the_interval() -> None:
    certain = mixed_limits(np.array(0.8), Worth(np.array([100.0]), np.array([1.0])), 0.95)
    doubted = mixed_limits(np.array(0.8), Worth(np.array([190.0, 10.0]), np.array([0.5, 0.5])), 0.95)
    assert doubted.low < certain.low < certain.high < doubted.high


@given(st.integers(0, 30), st.integers(0, 30), st.floats(-1, 1))
def test_a_ratio_lies_within_its_limits_and_these_between_0_and_1(hits: int, misses: int, correlation: float) -> None:
    parts = np.array(hits / 100), np.array(misses / 100)
    low, high = ratio_limits(
        parts,
        tuple(share_limits(part, np.array(100.0), 0.95) for part in parts),  # type: ignore[arg-type]
        np.array(correlation),
    )
    assert 0 <= low <= high <= 1
    if hits + misses:
        assert low - 1e-9 <= hits / (hits + misses) <= high + 1e-9
    else:
        assert (low, high) == (0, 1)


def test_limits_of_a_ratio_are_fiellers_where_its_parts_have_symmetric_ones() -> None:
    a, b, reach = 6.0, 3.0, 1.0
    low, high = ratio_limits(
        (np.array(a), np.array(b)),
        (Limits(np.array(a - reach), np.array(a + reach)), Limits(np.array(b - reach), np.array(b + reach))),
        np.array(0.0),
    )
    for end in (low, high):
        odds = end / (1 - end)
        assert abs(a - odds * b) == pytest.approx(reach * np.sqrt(1 + odds**2))


def test_one_large_group_among_30_does_not_make_the_rest_worthless() -> None:
    """An independent audit: mean widths of 0.60 at a correlation of 0.1, where 0.20 is what the spread shows."""
    widths = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        shares = 1 / np.arange(1, 31) ** 1.5
        sizes = np.maximum(np.round(1500 * shares / shares.sum()), 1).astype(int)
        assert 0.43 < sizes[0] / sizes.sum() < 0.46
        recalls = rng.beta(0.775 * 9, 0.225 * 9, 30)
        right = np.concatenate([rng.random(m) < r for m, r in zip(sizes, recalls, strict=True)])
        groups = np.repeat([f"g{i:02}" for i in range(30)], sizes)
        found, naive = share_interval(right, groups), share_interval(right)
        assert found is not None
        assert naive is not None
        assert found.high - found.low > 2 * (naive.high - naive.low)
        widths.append(found.high - found.low)
    assert np.mean(widths) < 0.35


def test_the_wider_of_wilson_and_jeffreys_holds_where_wilson_alone_does_not() -> None:
    """Exact, over all outcomes of 100 rows: Wilson alone falls to 92.8 %."""
    hits = np.arange(101)
    ours = share_limits(hits / 100, np.full(101, 100.0), 0.95)
    theirs = wilson_limits(hits / 100, np.full(101, 100.0), stats.norm.ppf(0.975))
    truths = np.linspace(0.05, 0.5, 1500)
    coverage = [
        [stats.binom.pmf(hits, 100, p) @ ((low <= p) & (p <= high)) for p in truths] for low, high in (ours, theirs)
    ]
    assert min(coverage[0]) > 0.938
    assert min(coverage[1]) < 0.93
    assert np.mean(ours.high - ours.low) < 1.04 * np.mean(theirs.high - theirs.low)


def test_share_limits_without_rows_are_0_and_1() -> None:
    assert share_limits(np.array(0.0), np.array(0.0), 0.95) == (0, 1)
