"""A label and the best simple rule: its two figures against scikit-learn, its choices against trying everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score

from secondcoder.corpus.label_rules import AGREEMENT, FOUND, best_rule, threshold_rule, token_rule, values_rule


def strength(own: np.ndarray, told: np.ndarray) -> float:
    """What is asked of a rule, by scikit-learn."""
    youden = 2 * balanced_accuracy_score(own, told) - 1
    return min(youden / FOUND, cohen_kappa_score(own, told) / AGREEMENT)


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_cut_and_the_values_that_are_learned_are_the_best_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(np.arange(60) % 12).astype(float)
    own = rng.random(60) < 0.1 + 0.05 * numbers
    if not 0 < own.sum() < 60:
        return
    everywhere = np.ones(60, bool)
    cuts = [numbers > cut for cut in range(12)] + [numbers <= cut for cut in range(12)]
    best = max(strength(own, told) for told in cuts if 0 < told.sum() < 60)
    assert strength(own, threshold_rule(numbers)(own, everywhere).told) == pytest.approx(best)
    chosen = values_rule("", numbers.astype(np.int64))(own, everywhere).told
    assert strength(own, chosen) >= best - 1e-12  # what one cut can do, a set of values can


def test_a_rule_is_judged_on_rows_that_it_did_not_learn_from() -> None:
    rng = np.random.default_rng(1)
    own, folds = rng.random(500) < 0.1, rng.integers(0, 5, 500)
    numbers = np.arange(500) // 4 * 1.0  # four by four: learned by heart, they say nothing of the others
    codes = numbers.astype(np.int64)
    assert values_rule("", codes)(own, np.ones(500, bool)).told[own].mean() > 0.6
    assert best_rule([values_rule("", codes), threshold_rule(numbers)], {"x": own}, folds) is None


def test_values_of_two_rows_are_not_known() -> None:
    own = np.arange(200) // 2 % 10 == 0  # each value has one label, and is seen once where it is to be told
    assert not values_rule("", np.arange(200) // 2)(own, np.arange(200) % 2 == 0).known.any()


def test_figures_are_those_of_the_rows_out_of_fold() -> None:
    rng = np.random.default_rng(2)
    own, folds = rng.random(2000) < 0.05, rng.integers(0, 5, 2000)
    coder = np.where(rng.random(2000) < 0.02, ~own, own)
    found = best_rule([values_rule("", coder.astype(np.int64))], {"y": ~own, "x": own}, folds)
    assert found is not None
    assert found.strength == pytest.approx(strength(own, coder))
    of_x = best_rule([values_rule("", coder.astype(np.int64))], {"x": own}, folds)
    assert of_x is not None
    assert (of_x.found, of_x.right) == pytest.approx(
        ((coder & own).sum() / own.sum(), (coder & own).sum() / coder.sum())
    )


def test_tokens_are_words_numbers_and_pairs_and_long_values_have_none() -> None:
    own = np.arange(200) % 10 == 0
    folds = np.arange(200) // 7 % 5
    values = [f"Http://a.org/{i}/x_{i}?q={'YES' if has else 'no'}" for i, has in enumerate(own)]
    found = best_rule([token_rule(values)], {"x": own}, folds)
    assert found is not None
    assert found.what == "where it holds 'q=yes'"
    assert best_rule([token_rule([value + " " * 200 for value in values])], {"x": own}, folds) is None
    assert best_rule([token_rule([f"n{i}" for i in range(200)])], {"x": own}, folds) is None


def test_a_column_of_one_number_has_no_cut() -> None:
    own, folds = np.arange(100) % 4 == 0, np.arange(100) % 5
    assert best_rule([threshold_rule(np.ones(100))], {"x": own}, folds) is None
