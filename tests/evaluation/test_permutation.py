from itertools import product

import numpy as np
import pytest
from scipy import stats

from secondcoder.evaluation.permutation import swap_test


def f1_difference(gold, first, second, k):
    """Return the difference in macro-F1 and that in accuracy, shape (..., 2), from labels of shape (..., n)."""
    found = []
    for given in (first, second):
        whole = np.stack([(gold == c).sum() + (given == c).sum(axis=-1) for c in range(k)], axis=-1)
        hits = np.stack([((gold == c) & (given == c)).sum(axis=-1) for c in range(k)], axis=-1)
        f1 = np.nanmean(np.where(whole > 0, 2 * hits / np.maximum(whole, 1), np.nan), axis=-1)
        found.append(np.stack([f1, (gold == given).mean(axis=-1)], axis=-1))
    return found[1] - found[0]


def units_of(gold, first, second, k):
    """Return what each text adds: gold, hits and given of both by class; and the place of each column when swapped."""
    g, a, b = (np.eye(k)[labels] for labels in (gold, first, second))
    places = np.arange(5 * k).reshape(5, k)
    return np.concatenate([g, g * a, a, g * b, b], axis=1), places[[0, 3, 4, 1, 2]].ravel()


def statistic(sums):
    k = sums.shape[-1] // 5
    gold, *counts = np.split(sums, 5, axis=-1)
    both = []
    for hits, given in (counts[:2], counts[2:]):
        whole = gold + given
        f1 = np.where(whole > 0, 2 * hits / np.where(whole > 0, whole, 1), 0.0)
        both.append(np.stack([f1.sum(axis=-1) / (whole > 0).sum(axis=-1), hits.sum(-1) / gold.sum(-1)], axis=-1))
    assert k == gold.shape[-1]
    return np.stack(both, axis=-2)


def make(differing, n=40, k=3, seed=0):
    random = np.random.default_rng(seed)
    gold = random.integers(0, k, n)
    first = np.where(random.random(n) < 0.2, (gold + 1) % k, gold)
    second = first.copy()
    second[:differing] = (first[:differing] + random.integers(1, k, differing)) % k
    return gold, first, second


def every_swap(gold, first, second, k, of_text=None):
    """Return the p values by all swaps of the texts that differ, one by one, or of units that texts belong to."""
    units = np.where(first != second, np.cumsum(first != second) - 1, -1) if of_text is None else of_text
    turned = np.array(list(product([False, True], repeat=int(units.max()) + 1)))
    swap = np.where(units >= 0, turned[:, units], False) if turned.shape[1] else np.zeros((1, len(gold)), dtype=bool)
    made = f1_difference(gold, np.where(swap, second, first), np.where(swap, first, second), k)
    return (np.abs(made) >= np.abs(f1_difference(gold, first, second, k)) - 1e-9).mean(axis=0)


@pytest.mark.parametrize(("differing", "seed"), [(0, 1), (1, 2), (5, 3), (8, 4), (12, 5)])
def test_few_that_differ_are_swapped_in_every_way(differing, seed):
    gold, first, second = make(differing, seed=seed)
    units, swapped = units_of(gold, first, second, 3)
    found = swap_test(statistic, units, np.ones(len(gold), dtype=np.int64), swapped)
    assert found.p_values == pytest.approx(every_swap(gold, first, second, 3))
    assert found.differing[0] == differing


def test_random_swaps_come_close_to_all_of_them_and_never_to_0():
    gold, first, second = make(13, seed=8)
    units, swapped = units_of(gold, first, second, 3)
    found = swap_test(statistic, units, np.ones(len(gold), dtype=np.int64), swapped).p_values
    expected = every_swap(gold, first, second, 3)
    assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 2000))
    assert not (found == expected).all()
    gold = np.zeros(60, dtype=np.int64)
    units, swapped = units_of(gold, gold + 1, gold, 2)
    least = swap_test(statistic, units, np.ones(60, dtype=np.int64), swapped).p_values
    assert least == pytest.approx([1 / 2001, 1 / 2001])


def test_kinds_with_counts_are_texts_and_accuracy_is_mcnemars_test():
    random = np.random.default_rng(5)
    kinds = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]]).T
    units, swapped = units_of(*kinds, 2)
    for _ in range(5):
        counts = random.integers(0, 3, 6)
        counts[-2:] += 20
        alone = np.repeat(units, counts, axis=0)
        found = swap_test(statistic, units, counts, swapped)
        assert found.p_values == pytest.approx(swap_test(statistic, alone, np.ones(len(alone), int), swapped).p_values)
        first_only, second_only = counts[0] + counts[3], counts[1] + counts[2]
        if first_only + second_only:
            exact = stats.binomtest(min(first_only, second_only), first_only + second_only).pvalue
            assert found.p_values[1] == pytest.approx(exact)
    many = np.array([40, 25, 9, 14, 300, 200])
    p = swap_test(statistic, units, many, swapped).p_values[1]
    assert p == pytest.approx(stats.binomtest(34, 88).pvalue, abs=0.03)


def test_which_of_the_two_is_called_first_changes_nothing():
    gold, first, second = make(25, seed=3)
    ones = np.ones(len(gold), dtype=np.int64)
    found, turned = (
        swap_test(statistic, *_with_counts(units_of(gold, *both, 3), ones))
        for both in ((first, second), (second, first))
    )
    assert (found.p_values == turned.p_values).all()


def _with_counts(made, counts):
    units, swapped = made
    return units, counts, swapped


@pytest.mark.parametrize("differing", [1, 3, 5])
def test_under_six_that_bear_on_a_figure_no_p_value_is_below_5_per_cent(differing):
    # Thirty texts differ; only a few change whether the label is right.
    gold = np.repeat([0, 1, 2], [180, 10, 10])
    first = gold.copy()
    first[:30] = 1
    second = first.copy()
    second[:differing] = 0
    second[differing:30] = 2
    units, swapped = units_of(gold, first, second, 3)
    found = swap_test(statistic, units, np.ones(200, dtype=np.int64), swapped)
    assert found.differing.tolist() == [30, differing]
    assert found.p_values[1] >= 2 / 2**differing


def test_whole_groups_are_swapped():
    gold, first, second = make(40, seed=6)
    units, swapped = units_of(gold, first, second, 3)
    groups = np.arange(40) % 7
    sums = np.array([units[groups == g].sum(axis=0) for g in range(7)])
    found = swap_test(statistic, sums, np.ones(7, dtype=np.int64), swapped)
    assert found.p_values == pytest.approx(every_swap(gold, first, second, 3, of_text=groups))
    assert found.differing[0] == 7


def test_a_swap_that_leaves_a_figure_undefined_counts_against_a_difference():
    def ratio(sums):
        return np.where(sums[..., None] > 0.75, sums[..., None], np.nan)

    found = swap_test(ratio, np.array([[1.0, 2.0]]), np.array([1]), np.array([1, 0]))
    assert found.p_values.tolist() == [1.0]
    found = swap_test(lambda s: np.full((*s.shape[:-1], 2, 1), np.nan), np.eye(2), np.array([3, 4]), np.array([1, 0]))
    assert found.p_values.tolist() == [1.0]
