import itertools
import json
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from secondcoder.errors import DataError
from secondcoder.evaluation import intervals, multiclass, paired_figures, paired_tests
from secondcoder.evaluation.comparison import Comparison, shown_p
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.multiclass import compare

NAMES = ("a", "b", "c")


def make(n=200, accuracy=(0.7, 0.8), seed=0, k=3):
    """Return gold, and two sets of probabilities."""
    random = np.random.default_rng(seed)
    gold = random.integers(0, k, n)
    found = []
    for share in accuracy:
        given_ = np.where(random.random(n) < share, gold, random.integers(0, k, n))
        p = random.dirichlet(np.ones(k), n) * 0.4
        p[np.arange(n), given_] += 0.6
        found.append(p)
    return gold, *found


def one_hot(labels, k=2):
    return np.eye(k)[labels]


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([None, 2, 7]))
@settings(max_examples=40)
def test_values_are_those_of_evaluate_and_intervals_hold_the_difference(seed, n, n_groups):
    gold, first, second = make(n, seed=seed)
    groups = None if n_groups is None else [f"g{i % n_groups}" for i in range(n)]
    found = compare(gold, first, second, NAMES, groups=groups)
    labels = [NAMES[g] for g in gold]
    one, two = evaluate(labels, first, NAMES), evaluate(labels, second, NAMES)
    for d in found.differences:
        if d.difference is None:
            assert one.per_class[d.name[3:]].support == 0
            continue
        assert (d.first, d.second) == pytest.approx((one.figure(d.name), two.figure(d.name)))
        assert d.difference == pytest.approx(d.second - d.first)
        assert (d.interval is None) == (d.p_value is None) == bool(d.reason)
        if d.interval is not None:
            assert d.interval.low - 1e-9 <= d.difference <= d.interval.high + 1e-9
            assert d.shown == (d.p_value < 0.05) == d.leaves_out_0
            assert not d.shown or d.differing >= 6
            if d.name != "log-loss":
                assert -1 <= d.interval.low <= d.interval.high <= 1
                assert d.detectable is None or d.detectable <= 1
    json.dumps(found.to_dict(), allow_nan=False)


def test_tangos_interval_and_mcnemar_are_those_of_the_literature():
    # Bentur et al. 2009, in Fagerland, Lydersen & Laake, Statistical Analysis of Contingency Tables, chapter 8
    found = paired_tests.tango(7, 1, 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)
    test = paired_tests.mcnemar(7, 1)
    assert (test.p_value, test.mid_p) == pytest.approx((0.0703, 0.0391), abs=1e-4)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 40))
def test_tangos_interval_holds_the_difference_turns_with_it_and_is_never_a_point(b, c, rest):
    n = b + c + rest - 1 or 1
    found, turned = paired_tests.tango(b, c, n), paired_tests.tango(c, b, n)
    assert -1 <= found.low <= (c - b) / n <= found.high <= 1
    assert found.high - found.low > 0.01
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-6)


def test_the_exact_p_value_of_mcnemar_is_that_of_the_binomial_distribution():
    assert paired_tests.mcnemar(0, 0).p_value == paired_tests.mcnemar(4, 4).mid_p == 1.0
    assert paired_tests.mcnemar(3, 9).p_value == pytest.approx(stats.binomtest(3, 12).pvalue)


def test_the_difference_that_could_have_been_shown_is_shown_in_four_of_five_studies():
    n, discordant = 600, 0.2
    gold = np.zeros(n, dtype=np.int64)
    first, second = np.zeros((2, n), dtype=np.int64)
    first[:60], second[60:120] = 1, 1
    d = compare(gold, one_hot(first), one_hot(second), ("a", "b")).difference("accuracy").detectable
    random = np.random.default_rng(1)
    second_only = random.binomial(n, (discordant + d) / 2, 2000)
    first_only = random.binomial(n - second_only, (discordant - d) / 2 / (1 - (discordant + d) / 2))
    shown = [paired_tests.mcnemar(*counts).p_value < 0.05 for counts in zip(first_only, second_only, strict=True)]
    assert 0.75 <= np.mean(shown) <= 0.82


def test_two_that_give_the_same_labels_differ_by_nothing_but_not_for_sure():
    gold, first, _ = make()
    found = compare(gold, first, first, NAMES)
    for d in found.differences:
        if d.name != "log-loss":
            assert d.interval.low < 0 < d.interval.high
        assert (d.difference, d.p_value, d.detectable, d.better) == (0.0, 1.0, None, None)
    assert "both give every text the same label" in found.verdict


def test_a_large_difference_is_shown_and_a_small_one_is_not():
    gold, first, second = make(500, (0.5, 0.9))
    found = compare(gold, first, second, NAMES)
    assert found.difference("macro-f1").shown
    assert found.verdict.startswith("The difference is real beyond chance: macro-f1 +0.")
    assert found.verdict.endswith("in favour of second.")
    assert compare(gold, second, first, NAMES).verdict.endswith("in favour of first.")
    gold, first, second = make(60, (0.7, 0.72), seed=4)
    found = compare(gold, first, second, NAMES)
    assert not found.difference("macro-f1").shown
    assert "No difference can be shown: macro-f1 " in found.verdict
    assert f"could have shown {found.difference('macro-f1').detectable:.2g}." in found.verdict


def test_less_log_loss_is_better():
    gold, first, second = make(500, (0.5, 0.9))
    difference = compare(gold, first, second, NAMES).difference("log-loss")
    assert difference.difference < 0
    assert difference.better == "second"


def test_the_log_loss_of_independent_texts_is_the_paired_t_test():
    gold, first, second = make()
    found = compare(gold, first, second, NAMES).difference("log-loss")
    losses = [-np.log(p[np.arange(len(gold)), gold]) for p in (first, second)]
    expected = stats.ttest_rel(losses[1], losses[0])
    swapped = stats.permutation_test(losses, lambda a, b: (b - a).mean(), permutation_type="samples", rng=1)
    assert found.p_value == pytest.approx(max(expected.pvalue, swapped.pvalue), abs=0.04)
    assert found.p_value >= expected.pvalue
    interval = expected.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


def test_accuracy_by_groups_of_equal_size_is_the_t_test_of_their_means():
    gold, first, second = make(240)
    groups = [f"g{i % 12}" for i in range(240)]
    found = compare(gold, first, second, NAMES, groups=groups).difference("accuracy")
    right = [(p.argmax(axis=1) == gold).astype(float) for p in (first, second)]
    means = (right[1] - right[0]).reshape(20, 12).mean(axis=0)
    expected = stats.ttest_1samp(means, 0)
    signs = np.array(list(itertools.product([-1, 1], repeat=12)))
    swapped = (np.abs(signs @ means) >= np.abs(means.sum()) - 1e-9).mean()
    assert swapped > expected.pvalue
    assert found.p_value == pytest.approx(swapped)
    interval = expected.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


def test_one_group_of_nearly_all_texts_leaves_little_to_judge_by():
    assert paired_tests.group_degrees(np.full(12, 20.0)) == pytest.approx(11)
    assert 1 <= paired_tests.group_degrees(np.array([1000.0, *[10.0] * 11])) < 1.5
    assert paired_tests.group_degrees(np.array([44.0, 16, 9, 6, 5, 4, 4, 4, 4, 4])) == pytest.approx(4.1, abs=0.1)
    gold, first, second = make(240)
    groups = ["large" if i < 200 else f"g{i % 11}" for i in range(240)]
    found = compare(gold, first, second, NAMES, groups=groups)
    assert found.n_groups == 12
    assert found.difference("accuracy").p_value > 0.1
    assert found.difference("accuracy").interval.low < -0.1


def test_texts_without_a_group_stand_for_themselves():
    gold, first, second = make(60)
    alone = compare(gold, first, second, NAMES, groups=[""] * 60)
    assert alone.n_groups == 60
    own = compare(gold, first, second, NAMES, groups=[str(i) for i in range(60)])
    assert alone.differences == own.differences


def test_of_five_groups_all_swaps_are_many():
    gold, first, second = make()
    five = compare(gold, first, second, NAMES, groups=[f"g{i % 5}" for i in range(200)])
    assert min(d.p_value for d in five.differences) >= 2 / 2**5
    assert five.difference("accuracy").interval is not None
    for n_groups, told in ((6, "only 6 groups"), (19, "only 19 groups"), (20, None)):
        notes = compare(gold, first, second, NAMES, groups=[f"g{i % n_groups}" for i in range(200)]).notes
        assert notes == () if told is None else f"{told} to judge others by: only large differences" in notes[0]


def test_with_five_groups_no_difference_is_promised() -> None:
    """They were told that only large differences can show, and which one could have been shown."""
    gold, first, second = make()
    five = compare(gold, first, second, NAMES, groups=[f"g{i % 5}" for i in range(200)])
    assert "only 5 groups to judge others by: no difference can be shown" in five.notes[0]
    assert {d.detectable for d in five.differences} == {None}
    six = compare(gold, first, second, NAMES, groups=[f"g{i % 6}" for i in range(200)])
    assert six.difference("accuracy").detectable is not None


@pytest.mark.parametrize(("n_groups", "which"), [(1, "this 1 group"), (2, "these 2 groups"), (4, "these 4 groups")])
def test_of_fewer_than_five_groups_a_comparison_speaks_of_these_texts_only(n_groups: int, which: str) -> None:
    gold, first, second = make()
    alone = compare(gold, first, second, NAMES)
    found = compare(gold, first, second, NAMES, groups=[f"g{i % n_groups}" for i in range(200)])
    assert (found.n_groups, found.differences, found.mcnemar) == (n_groups, alone.differences, alone.mcnemar)
    assert found.mcnemar is not None
    assert which in found.notes[0]
    assert f"For other groups it is not known from {n_groups} group" in found.notes[0]


def test_groups_that_hold_one_opinion_make_the_interval_wider():
    random = np.random.default_rng(0)
    gold = np.tile([0, 1], 300)
    groups = np.repeat(np.arange(20), 30)
    better = random.random(20) < 0.6  # in each group either the first or the second is right throughout
    second = np.where(better[groups], gold, 1 - gold)
    first = np.where(better[groups], 1 - gold, gold)
    apart, together = (
        compare(gold, one_hot(first), one_hot(second), ("a", "b"), groups=g).difference("macro-f1").interval
        for g in (None, [str(g) for g in groups])
    )
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_a_class_without_gold_texts_has_no_difference():
    gold = np.array([0, 1] * 10)
    found = compare(gold, one_hot(gold, 3), one_hot(1 - gold, 3), NAMES)
    c = found.difference("f1:c")
    assert (c.first, c.difference, c.interval, c.shown, c.better) == (None, None, None, False, None)
    assert c.reason == "class 'c' is not in this part"


def test_the_main_figure_is_that_of_the_positive_class_and_comes_first():
    gold, first, second = make(k=2)
    assert compare(gold, first, second, ("neg", "pos"), positive="pos").differences[0].name == "f1:pos"
    found = compare(gold, first, second, ("neg", "pos"))
    assert found.main == found.differences[0].name == "macro-f1"
    with pytest.raises(DataError, match="did you mean 'f1:neg'"):
        found.difference("f1:neq")


def test_the_intervals_of_f1_cover_the_truth_of_a_rare_class():
    shares = np.array([0.85, 0.15])
    random, n, held = np.random.default_rng(2), 100, []
    recall = np.array([[0.95, 0.7], [0.96, 0.8]])  # of both classes; both classifiers err on their own
    truth = []
    for correct in recall:
        hits, missed = shares[1] * correct[1], shares[1] * (1 - correct[1])
        truth.append(2 * hits / (2 * hits + missed + shares[0] * (1 - correct[0])))
    for _ in range(300):
        gold = (random.random(n) < shares[1]).astype(np.int64)
        if not gold.any():
            continue
        labels = [np.where(random.random(n) < correct[gold], gold, 1 - gold) for correct in recall]
        interval = compare(gold, *map(one_hot, labels), ("a", "b")).difference("f1:b").interval
        held.append(interval.low <= truth[1] - truth[0] <= interval.high)
    assert 0.91 <= np.mean(held) <= 0.99


@pytest.mark.parametrize("groups", [None, [f"g{i % 8}" for i in range(200)]])
def test_a_comparison_survives_json(groups):
    found = compare(*make(), NAMES, groups=groups)
    assert Comparison.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_input_that_does_not_fit_is_refused():
    gold, first, second = make()
    with pytest.raises(DataError, match="second probabilities have shape"):
        compare(gold, first, second[:, :2], NAMES)
    with pytest.raises(DataError, match="2 groups for 200 texts"):
        compare(gold, first, second, NAMES, groups=["a", "b"])
    with pytest.raises(DataError, match="no texts"):
        compare(gold[:0], first[:0], second[:0], NAMES)
    stored = compare(gold, first, second, NAMES).to_dict()
    del stored["mcnemar"]
    with pytest.raises(DataError, match="mcnemar"):
        Comparison.from_dict(stored)


def test_groups_that_are_all_the_same_by_chance_are_no_less_uncertain_than_texts() -> None:
    """Eight groups, in each of which the second is better by one text: the jackknife sees no spread at all."""
    gold = np.tile([0, 1], 40)
    first = np.where(np.arange(80) % 10 == 0, 1 - gold, gold)
    soft = [np.where(one_hot(labels) > 0, 0.9, 0.1) for labels in (first, gold)]
    groups = [str(i // 10) for i in range(80)]
    alone, found = (compare(gold, *soft, ("a", "b"), groups=g) for g in (None, groups))
    for name in ("accuracy", "log-loss"):
        d = found.difference(name)
        assert d.interval.high - d.interval.low > 0.9 * (
            alone.difference(name).interval.high - alone.difference(name).interval.low
        )
        assert d.p_value > 0.001
    assert found.difference("accuracy").interval.low < 0.1 < found.difference("accuracy").interval.high


def test_of_five_groups_no_difference_is_called_real() -> None:
    gold, first, second = make(500, (0.4, 0.95))
    found = compare(gold, first, second, NAMES, groups=[f"g{i % 5}" for i in range(500)])
    main = found.difference(found.main)
    assert not main.shown
    assert not main.leaves_out_0
    assert "5 groups are too few to tell (macro-f1 +0." in found.verdict
    assert "real" not in found.verdict
    six = compare(gold, first, second, NAMES, groups=[f"g{i % 6}" for i in range(500)])
    assert six.verdict.startswith("The difference is real beyond chance: ")
    two = compare(gold, first, second, NAMES, groups=[f"g{i % 2}" for i in range(500)])
    assert two.verdict.startswith("The difference is real beyond chance for other texts of these 2 groups: ")


def test_a_loss_that_differs_by_the_same_in_every_text_has_no_interval_of_no_width() -> None:
    gold = np.zeros(30, dtype=np.int64)
    first, second = np.tile([0.75, 0.25], (30, 1)), np.tile([0.5, 0.5], (30, 1))
    for groups in (None, [str(i % 8) for i in range(30)]):
        found = compare(gold, first, second, ("a", "b"), groups=groups).difference("log-loss")
        assert found.difference == pytest.approx(np.log(1.5))
        assert (found.interval, found.p_value) == (None, None)


@pytest.mark.parametrize("better", ["first", "second"])
def test_where_one_alone_is_right_on_every_text_accuracy_has_tangos_interval(better: str) -> None:
    gold = np.arange(40) % 2
    right, wrong = sure(gold, 2), sure(1 - gold, 2)
    found = compare(gold, *((right, wrong) if better == "first" else (wrong, right)), ("a", "b"))
    d = found.difference("accuracy")
    assert abs(d.difference) == 1
    assert d.interval.method == "tango"
    assert max(abs(d.interval.low), abs(d.interval.high)) == 1
    assert min(abs(d.interval.low), abs(d.interval.high)) > 0.8
    assert d.p_value == found.mcnemar.p_value == 2**-39
    assert d.shown
    assert d.better == better


def test_units_in_batches_have_the_standard_error_of_units_at_once() -> None:
    random = np.random.default_rng(3)
    units, counts = random.random((40, 3)), random.integers(1, 5, 40).astype(float)

    def ratios(sums):
        return sums[..., :2] / sums[..., 2:]

    for step in (1.0, 1e-4):
        found = paired_tests.jackknife(
            ratios,
            units[:10],
            counts[:10],
            step=step,
            more=lambda: ((units[rows], counts[rows]) for rows in (slice(10, 11), slice(11, 40))),
        )
        n, sums = counts.sum(), counts @ units
        without = ratios(sums - step * units) / step
        squares = counts @ (without - np.average(without, axis=0, weights=counts)) ** 2
        assert found == pytest.approx(np.sqrt((n - 1) / n * squares), rel=1e-6)


def test_the_memory_that_many_classes_take_is_quadratic() -> None:
    """With 200 classes and 2,000 texts a comparison took 2.8 GB."""
    peaks = []
    for k in (60, 120):
        gold = np.arange(k)
        figures = multiclass._f1_figures(gold, (gold, np.roll(gold, 1)), tuple(map(str, gold)))
        tracemalloc.start()
        paired_figures._errors(figures, np.bincount(figures.kind))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 5 * peaks[0]  # twice the classes: 4 times if quadratic, 8 times if cubic
    assert peaks[1] < 20e6


def test_a_paper_has_one_doi() -> None:
    dois = [
        set(re.findall(r"MacKinnon, Nielsen & Webb.*?doi:(\S+\d)", text, flags=re.DOTALL))
        for text in (str(f.__doc__) for f in (paired_tests.jackknife, intervals.mean_interval))
    ]
    assert dois == [{"10.1002/jae.2969"}] * 2


@pytest.mark.parametrize(
    ("p", "alone", "named"),
    [
        (1.0, "1.000", "p = 1.000"),
        (0.001, "0.001", "p = 0.001"),
        (0.00099, "<0.001", "p < 0.001"),
        (0, "<0.001", "p < 0.001"),
    ],
)
def test_no_p_value_is_shown_as_0(p: float, alone: str, named: str) -> None:
    assert (shown_p(p), shown_p(p, "p")) == (alone, named)


def sure(labels, k):
    """Return probabilities of 0.9 on the labels."""
    return np.where(one_hot(labels, k) > 0, 0.9, 0.1 / (k - 1))


def test_one_text_of_a_hundred_makes_no_difference_real() -> None:
    gold = np.repeat([0, 1, 2, 3, 4], [90, 3, 3, 3, 1])
    second = gold.copy()
    second[-1] = 0
    found = compare(gold, sure(gold, 5), sure(second, 5), tuple("abcde"))
    main = found.difference("macro-f1")
    assert main.difference == pytest.approx(-0.201, abs=5e-4)
    assert (main.p_value, main.differing, main.shown) == (1.0, 1, False)
    assert main.interval.low < -0.3
    assert main.interval.high > 0
    assert found.mcnemar.p_value == 1.0
    assert found.verdict.startswith(
        "No difference can be shown: it would rest on 1 text, and fewer than 6 cannot rule out chance "
        "(macro-f1 -0.201 ["
    )
    e = found.difference("f1:e")
    assert (e.difference, e.interval, e.p_value, e.detectable) == (-1.0, None, None, None)
    assert e.reason == "class 'e' has 1 gold text, fewer than 5"


def test_the_only_text_of_a_class_says_nothing_of_its_f1() -> None:
    gold = np.repeat([0, 1], [49, 1])
    found = compare(gold, sure(gold, 2), sure(0 * gold, 2), ("a", "b"), positive="b")
    assert found.verdict == "Whether they differ in f1:b cannot be said: class 'b' has 1 gold text, fewer than 5."
    macro = found.difference("macro-f1")
    assert not macro.shown
    assert -1 <= macro.interval.low < 0 <= macro.interval.high <= 1


def test_a_class_that_this_part_lacks_allows_no_verdict_on_macro_f1() -> None:
    gold = np.zeros(50, dtype=np.int64)
    second = gold.copy()
    second[7] = 1
    found = compare(gold, sure(gold, 2), sure(second, 2), ("a", "b"))
    assert found.verdict == "Whether they differ in macro-f1 cannot be said: class 'b' is not in this part."
    macro = found.difference("macro-f1")
    assert macro.difference == pytest.approx(-0.505, abs=5e-4)
    assert (macro.interval, macro.p_value, macro.shown) == (None, None, False)


def test_a_class_whose_gold_texts_are_all_in_one_group_has_no_interval() -> None:
    gold, first, second = make(240, k=3)
    groups = ["g0" if g == 2 else f"g{i % 8}" for i, g in enumerate(gold.tolist())]
    found = compare(gold, first, second, NAMES, groups=groups)
    c = found.difference("f1:c")
    assert (c.interval, c.reason) == (None, "all gold texts of class 'c' are in one group")
    assert found.difference("f1:b").interval is not None


@pytest.mark.parametrize("differing", [5, 6])
def test_six_texts_of_a_class_can_show_what_five_cannot(differing) -> None:
    gold = np.repeat([0, 1], 20)
    first = gold.copy()
    first[:differing] = 1
    found = compare(gold, sure(first, 2), sure(gold, 2), ("a", "b"))
    main = found.difference("macro-f1")
    assert main.p_value == pytest.approx(2 / 2**differing)
    assert main.shown == (differing == 6)
    assert main.interval.low == 0.0 if differing == 5 else main.interval.low > 0


def repeated(n, studies, shares, recall):
    """Yield comparisons on texts of which each of two finds so many of the frequent class and of the others."""
    random = np.random.default_rng(11)
    k = len(shares)
    for _ in range(studies):
        gold = random.choice(k, size=n, p=shares)
        labels = []
        for others in recall:
            found = random.random(n) < np.where(gold == 0, 0.95, others)
            labels.append(np.where(found, gold, (gold + random.integers(1, k, n)) % k))
        even = np.full((n, k), 1 / k)
        yield compare(gold, even, even, tuple(map(str, range(k))), given=tuple(labels)).difference("macro-f1")


def test_of_two_that_are_equally_good_few_are_called_better() -> None:
    # The t test alone calls about 4 in 10 real: a text or two of a rare class differ.
    called = [d.shown for d in repeated(50, 120, (0.9, 0.025, 0.025, 0.025, 0.025), (0.6, 0.6))]
    assert np.mean(called) <= 0.09


def test_intervals_of_macro_f1_hold_the_truth_where_classes_are_rare() -> None:
    shares, recall = np.array([0.9, 0.025, 0.025, 0.025, 0.025]), (0.6, 0.8)
    truth = []
    for others in recall:
        right = shares * np.array([0.95, *[others] * 4])
        given_ = right + (((shares - right).sum() - (shares - right)) / 4)
        truth.append(np.mean(2 * right / (shares + given_)))
    found = [d.interval for d in repeated(300, 120, shares, recall) if d.interval is not None]
    held = [interval.low <= truth[1] - truth[0] <= interval.high for interval in found]
    assert len(found) >= 115
    assert np.mean(held) >= 0.92


def test_what_was_stored_before_reasons_were_told_can_still_be_read() -> None:
    stored = compare(*make(), NAMES).to_dict()
    for difference in stored["differences"]:
        del difference["differing"], difference["reason"]
    stored["mcnemar"]["detectable"] = 0.06
    read = Comparison.from_dict(stored)
    assert read.verdict.startswith(("The difference is real", "No difference"))
    assert read.difference("macro-f1").differing is None
