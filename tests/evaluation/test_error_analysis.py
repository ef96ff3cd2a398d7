import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from secondcoder.errors import DataError
from secondcoder.evaluation.count_intervals import intervals
from secondcoder.evaluation.error_analysis import JudgedRows, Mistakes, find_mistakes
from secondcoder.evaluation.intervals import units_of

NAMES = ("left", "centre", "right")


def make_rows(wrong, *, confidence=None, texts=None, groups=None, n_tokens=None) -> JudgedRows:
    """Rows whose gold label is left; the wrong ones are taken for right."""
    n = len(wrong)
    confidence = np.full(n, 0.8) if confidence is None else np.asarray(confidence)
    p = np.repeat(((1 - confidence) / 2)[:, np.newaxis], 3, axis=1)
    p[np.arange(n), np.where(wrong, 2, 0)] = confidence
    texts = texts or [f"text {i}" for i in range(n)]
    return JudgedRows([f"t{i}" for i in range(n)], texts, np.zeros(n, np.int64), p, NAMES, groups, n_tokens)


def test_mistakes_come_by_confidence_and_right_answers_not_at_all():
    rows = make_rows([True, False, True, True], confidence=[0.5, 0.99, 0.9, 0.7])
    found = find_mistakes(rows).confident
    assert [mistake.id for mistake in found] == ["t2", "t3", "t0"]
    first = found[0]
    assert (first.text, first.gold, first.predicted) == ("text 2", "left", "right")
    assert (first.p_predicted, first.p_gold) == pytest.approx((0.9, 0.05))


def test_of_equally_confident_mistakes_the_earlier_row_comes_first_and_twenty_are_kept():
    found = find_mistakes(make_rows([True] * 30))
    assert [mistake.id for mistake in found.confident] == [f"t{i}" for i in range(20)]
    assert len(find_mistakes(make_rows([True] * 30), most=3).confident) == 3


def test_a_tiny_group_does_not_lead_by_chance():
    groups = ["tiny"] * 5 + ["large"] * 60 + ["fine"] * 60
    wrong = [True] * 2 + [False] * 3 + [True] * 24 + [False] * 36 + [True] * 3 + [False] * 57
    found = find_mistakes(make_rows(wrong, groups=groups))
    assert [(g.group, g.n, g.errors) for g in found.worst_groups] == [
        ("large", 60, 24),
        ("tiny", 5, 2),
        ("fine", 60, 3),
    ]
    rates = [g.rate for g in found.worst_groups]
    assert rates[0] == rates[1] == 0.4
    assert all(g.interval.low <= g.rate <= g.interval.high for g in found.worst_groups)


def test_groups_of_few_rows_are_taken_together():
    groups = ["a"] * 4 + ["b"] * 4 + ["c"] * 5
    found = find_mistakes(make_rows([True] * 4 + [False] * 9, groups=groups))
    assert [g.group for g in found.worst_groups] == ["c"]
    assert (found.small_groups.n, found.small_groups.errors) == (8, 4)
    assert (found.n_groups, found.n_small_groups) == (3, 2)


def test_without_groups_there_are_none():
    found = find_mistakes(make_rows([True, False]))
    assert (found.worst_groups, found.small_groups, found.n_groups, found.n_small_groups) == ((), None, 0, 0)


def test_long_texts_with_more_errors_are_seen():
    texts = ["x" * (i + 1) for i in range(100)]
    found = find_mistakes(make_rows([i >= 80 for i in range(100)], texts=texts))
    assert [(b.shortest, b.longest, b.n, b.errors) for b in found.by_length] == [
        (1, 20, 20, 0),
        (21, 40, 20, 0),
        (41, 60, 20, 0),
        (61, 80, 20, 0),
        (81, 100, 20, 20),
    ]
    assert found.length_unit == "characters"


def test_lengths_in_tokens_are_used_where_they_are_known():
    found = find_mistakes(make_rows([False] * 100, n_tokens=np.arange(100)[::-1]))
    assert found.length_unit == "tokens"
    assert (found.by_length[0].shortest, found.by_length[-1].longest) == (0, 99)


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=200))
def test_bands_of_length_hold_every_row_once_and_do_not_overlap(rows):
    lengths = np.array([length for length, _ in rows])
    bands = find_mistakes(make_rows([wrong for _, wrong in rows], n_tokens=lengths)).by_length
    assert sum(band.n for band in bands) == len(rows)
    assert sum(band.errors for band in bands) == sum(wrong for _, wrong in rows)
    assert all(band.shortest <= band.longest for band in bands)
    assert all(first.longest < second.shortest for first, second in pairwise(bands))
    assert len(bands) <= 5


@pytest.mark.parametrize("n_groups", [None, 2, 12])
def test_the_error_rate_has_the_interval_of_the_accuracy(n_groups):
    """Two groups of 950 texts, 8 % wrong: the error rate had [0.07, 0.09] beside an accuracy of [0.53, 0.99]."""
    random = np.random.default_rng(3)
    groups = None if n_groups is None else [f"g{i * n_groups // 1900}" for i in range(1900)]
    wrong = random.random(1900) < np.repeat([0.05, 0.11], 950)
    rows = make_rows(wrong.tolist(), groups=groups)
    accuracy = intervals(rows.gold, rows.probabilities, NAMES, groups=units_of(groups))["accuracy"]
    found = find_mistakes(rows)
    error = found.overall.interval
    assert (error.low, error.high) == pytest.approx((1 - accuracy.high, 1 - accuracy.low), abs=1e-9)
    assert error.method == accuracy.method
    for group in found.worst_groups:  # of texts of the one group: independent
        wilson = stats.binomtest(group.errors, group.n).proportion_ci(method="wilson")
        low, high = stats.beta(group.errors + 0.5, group.n - group.errors + 0.5).ppf((0.025, 0.975))
        expected = min(wilson.low, low), max(wilson.high, high)
        assert (group.interval.low, group.interval.high) == pytest.approx(expected)


def test_the_texts_of_the_only_group_have_the_interval_of_all_texts():
    """Of 100 texts with 5 errors: [0.0193, 0.1118] overall, and [0.0215, 0.1118] as a group."""
    found = find_mistakes(make_rows([i < 5 for i in range(100)], groups=["g"] * 100))
    assert found.worst_groups[0].interval == found.overall.interval


def test_bands_of_length_and_small_groups_have_groups_as_units():
    """Texts of a group are all right or all wrong: 40 groups of 4 say much less than 160 texts."""
    groups = [f"g{i // 4}" for i in range(160)]
    wrong = [i // 4 % 2 == 0 for i in range(160)]
    grouped = find_mistakes(make_rows(wrong, groups=groups, n_tokens=np.arange(160)))
    alone = find_mistakes(make_rows(wrong, n_tokens=np.arange(160)))
    widths = [[b.interval.high - b.interval.low for b in found.by_length] for found in (grouped, alone)]
    assert len(widths[0]) == 5
    assert min(np.divide(*widths)) > 1.2
    assert grouped.small_groups.interval == grouped.overall.interval
    assert grouped.overall.interval.high - grouped.overall.interval.low > 0.2


def test_few_texts_make_few_bands():
    assert len(find_mistakes(make_rows([False] * 19, n_tokens=np.arange(19))).by_length) == 1
    assert len(find_mistakes(make_rows([False] * 40, n_tokens=np.arange(40))).by_length) == 2


def test_no_rows_make_no_mistakes():
    found = find_mistakes(make_rows([]))
    assert (found.overall.n, found.overall.rate, found.overall.interval) == (0, None, None)
    assert found.confident == found.by_length == ()


def test_mistakes_survive_json():
    groups = ["a"] * 6 + ["b"] * 2
    found = find_mistakes(make_rows([True, False] * 4, groups=groups))
    assert Mistakes.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    alone = find_mistakes(make_rows([True]))
    assert Mistakes.from_dict(json.loads(json.dumps(alone.to_dict()))) == alone


def test_other_json_is_refused():
    values = find_mistakes(make_rows([True])).to_dict()
    for damaged in ({}, values | {"unknown": 1}, values | {"overall": None}):
        with pytest.raises(DataError, match="not a list of mistakes"):
            Mistakes.from_dict(damaged)


def test_rows_that_do_not_fit_together_are_refused():
    good = {"ids": ["a", "b"], "texts": ["x", "y"], "gold": np.array([0, 2]), "probabilities": np.full((2, 3), 1 / 3)}
    JudgedRows(**good, label_names=NAMES)
    cases = (
        ({"texts": ["x"]}, "2 ids and 1 texts"),
        ({"groups": ["g"] * 3}, "3 groups"),
        ({"n_tokens": np.array([1])}, "1 n_tokens"),
        ({"probabilities": np.full((2, 2), 0.5)}, r"expected \(2, 3\)"),
        ({"gold": np.array([0, 3])}, "from 0 to 3"),
        ({"gold": np.array([-1, 0])}, "from -1"),
    )
    for change, message in cases:
        with pytest.raises(DataError, match=message):
            JudgedRows(**good | change, label_names=NAMES)
