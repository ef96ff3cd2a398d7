import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, binomtest

from secondcoder.errors import DataError
from secondcoder.evaluation import metrics
from secondcoder.evaluation.count_intervals import intervals, share_interval
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.intervals import (
    Interval,
    degrees_of_freedom,
    few_decide,
    loss_interval,
    mean_interval,
    quantile_of,
    wilson_limits,
)

NAMES = ("a", "b", "c")


def draw_rows(n: int, signal: float = 1.5) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, n)
    scores = rng.normal(size=(n, 3))
    scores[np.arange(n), gold] += signal
    p = np.exp(signal * scores)
    return gold, p / p.sum(axis=1, keepdims=True)


def certain(predicted: list[int], k: int) -> NDArray[np.float64]:
    """Probabilities of 0.9 for the class given."""
    return np.full((len(predicted), k), 0.1 / (k - 1)) + (0.9 - 0.1 / (k - 1)) * np.eye(k)[predicted]


def figures(gold: NDArray[np.int64], p: NDArray[np.float64], names: tuple[str, ...]) -> dict[str, float]:
    matrix = metrics.confusion_matrix(gold, p.argmax(axis=1), len(names))
    classes = metrics.per_class(matrix)
    found = {"accuracy": metrics.accuracy(matrix), "balanced-accuracy": metrics.balanced_accuracy(matrix)}
    found["log-loss"] = metrics.log_loss(gold, p)
    averages = {"macro": metrics.macro_average, "micro": metrics.micro_average, "weighted": metrics.weighted_average}
    for figure in metrics.FIGURES:
        found |= {f"{kind}-{figure}": getattr(average(matrix), figure) for kind, average in averages.items()}
        found |= {f"{figure}:{name}": getattr(classes, figure)[c] for c, name in enumerate(names)}
    return found


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


def same(one: Interval | None, other: Interval | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.method == other.method and np.allclose((one.low, one.high), (other.low, other.high), atol=1e-9)


@st.composite
def decisions(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.float64], tuple[str, ...], list[str]]:
    """Gold, probabilities, names and groups; classes may be missing from gold, from predicted, or from both."""
    k = draw(st.integers(2, 5))
    pairs = draw(st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=40))
    groups = draw(st.lists(st.sampled_from("uvwxyz"), min_size=len(pairs), max_size=len(pairs)))
    return np.array([g for g, _ in pairs]), certain([p for _, p in pairs], k), tuple("abcde"[:k]), groups


@given(st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_wilson_is_scipys(case: tuple[int, int], level: float) -> None:
    hits, n = case
    ours = wilson_limits(np.asarray(hits / n), np.asarray(float(n)), quantile_of(level))
    theirs = binomtest(hits, n).proportion_ci(confidence_level=level, method="wilson")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high, abs=1e-12))


def test_a_share_of_no_rows_has_no_interval() -> None:
    assert share_interval(np.zeros(0, dtype=np.bool_)) is None


def of_share(hits: int, n: int) -> Interval:
    """The wider of Wilson's interval and Jeffreys', by scipy."""
    wilson, half = binomtest(hits, n).proportion_ci(method="wilson"), beta(hits + 0.5, n - hits + 0.5)
    return Interval(min(wilson.low, half.ppf(0.025)), max(wilson.high, half.ppf(0.975)), "wilson")


def test_shares_of_independent_rows_have_the_wider_of_wilsons_and_jeffreys_interval() -> None:
    gold, p = draw_rows(200)
    found, predicted = intervals(gold, p, NAMES), p.argmax(axis=1)
    right = gold == predicted
    assert same(found["accuracy"], of_share(int(right.sum()), 200))
    assert same(found["accuracy"], share_interval(right))
    for c, name in enumerate(NAMES):
        hits = int((right & (gold == c)).sum())
        assert same(found[f"recall:{name}"], of_share(hits, int((gold == c).sum())))
        assert same(found[f"precision:{name}"], of_share(hits, int((predicted == c).sum())))


def test_f1_of_a_class_has_the_interval_of_the_jaccard_share_carried_over() -> None:
    gold = np.array([0] * 12 + [1] * 8)
    predicted = [0] * 9 + [1] * 3 + [0] * 2 + [1] * 6
    jaccard, found = of_share(9, 9 + 3 + 2), intervals(gold, certain(predicted, 2), ("a", "b"))["f1:a"]
    assert found is not None
    assert found.low == pytest.approx(2 * jaccard.low / (1 + jaccard.low))
    assert found.high == pytest.approx(2 * jaccard.high / (1 + jaccard.high))


def test_figures_that_are_the_accuracy_have_its_interval() -> None:
    gold, p = draw_rows(150)
    for groups in (None, [str(i % 9) for i in range(150)]):
        found = intervals(gold, p, NAMES, groups=groups)
        for name in ("micro-f1", "micro-precision", "micro-recall", "weighted-recall"):
            assert same(found[name], found["accuracy"])


@settings(max_examples=60)
@given(decisions(), st.booleans())
def test_every_figure_is_there_and_its_interval_holds_it(
    case: tuple[NDArray[np.int64], NDArray[np.float64], tuple[str, ...], list[str]], grouped: bool
) -> None:
    gold, p, names, groups = case
    found = intervals(gold, p, names, groups=groups if grouped else None)
    values = figures(gold, p, names)
    assert tuple(found) == metrics.ONE_LABEL.of(names)
    for name, interval in found.items():
        if interval is None:
            continue
        assert interval.low - 1e-9 <= values[name] <= interval.high + 1e-9, name
        assert interval.low >= 0
        if name != "log-loss":
            assert interval.high <= 1


@settings(max_examples=60)
@given(decisions())
def test_undefined_figures_of_independent_rows_and_only_they_have_no_interval(
    case: tuple[NDArray[np.int64], NDArray[np.float64], tuple[str, ...], list[str]],
) -> None:
    gold, p, names, _ = case
    p = np.eye(len(names))[p.argmax(axis=1)]  # as by a coder: one that gives all the same is no constant
    found, values = intervals(gold, p, names), figures(gold, p, names)
    right = gold == p.argmax(axis=1)  # the losses are then all the same, or those of wrong labels make them up
    for name, value in values.items():
        expected = not right.any() or (~right).sum() < 5 if name == "log-loss" else np.isnan(value)
        assert (found[name] is None) == expected, name


def test_one_group_gives_no_interval_at_all() -> None:
    gold, p = draw_rows(60)
    assert set(intervals(gold, p, NAMES, groups=["only"] * 60).values()) == {None}
    assert mean_interval(gold.astype(float), ["only"] * 60) is None


def test_of_a_class_that_only_one_group_has_hardly_anything_is_known() -> None:
    gold = np.array([0, 1] * 45 + [2, 2])
    found = intervals(gold, certain(list(gold), 3), NAMES, groups=[str(i // 12) for i in range(92)])
    for figure in ("recall", "precision", "f1"):
        assert width(found[f"{figure}:c"]) > max(0.6, 2 * width(found[f"{figure}:a"]))
    assert width(found["macro-f1"]) > width(found["accuracy"])


@pytest.mark.parametrize("grouped", [False, True])
def test_neither_the_order_of_rows_nor_the_names_of_groups_matter(grouped: bool) -> None:
    gold, p = draw_rows(120)
    rng = np.random.default_rng(3)
    groups = rng.choice(list("stuvwxyz"), 120)
    order = rng.permutation(120)
    renamed = [{"s": "z", "t": "1", "u": "t"}.get(g, g + "'") for g in groups]
    first = intervals(gold, p, NAMES, groups=list(groups) if grouped else None)
    second = intervals(gold[order], p[order], NAMES, groups=[renamed[i] for i in order] if grouped else None)
    assert all(same(first[name], second[name]) for name in first)


def test_a_perfect_result_does_not_pretend_to_be_certain() -> None:
    gold = np.array([0] * 90 + [1] * 10)
    p = certain(list(gold), 2)
    found = intervals(gold, p, ("a", "b"))
    grouped = intervals(gold, p, ("a", "b"), groups=[str(i % 10) for i in range(100)])
    for name in ("accuracy", "macro-f1", "balanced-accuracy", "f1:b", "weighted-f1", "macro-precision"):
        alone, together = found[name], grouped[name]
        assert alone is not None
        assert together is not None
        assert alone.high == together.high == 1
        assert 0.4 < together.low < alone.low < 0.99


def test_clustered_errors_widen_and_scattered_ones_hardly() -> None:
    gold = np.tile([0, 1], 300)
    groups = [str(i // 30) for i in range(600)]
    bad = np.isin(np.arange(600) // 30, range(0, 20, 4))  # every fourth group is wrong throughout
    clustered = certain(list(np.where(bad, 1 - gold, gold)), 2)
    scattered = certain(list(np.where(np.arange(600) % 8 < 2, 1 - gold, gold)), 2)
    for name in ("accuracy", "macro-f1", "weighted-precision", "recall:a", "log-loss"):
        apart = width(intervals(gold, clustered, ("a", "b"))[name])
        assert width(intervals(gold, clustered, ("a", "b"), groups=groups)[name]) > 3 * apart, name
        assert width(intervals(gold, scattered, ("a", "b"), groups=groups)[name]) < 1.5 * apart, name


def test_groups_of_one_row_are_nearly_independent_rows() -> None:
    gold, p = draw_rows(300)
    alone, grouped = intervals(gold, p, NAMES), intervals(gold, p, NAMES, groups=[str(i) for i in range(300)])
    for name in alone:
        assert width(grouped[name]) == pytest.approx(width(alone[name]), rel=0.08), name


def test_a_higher_level_is_wider_everywhere() -> None:
    gold, p = draw_rows(200)
    groups = [str(i % 12) for i in range(200)]
    for named in (None, groups):
        wide, narrow = (intervals(gold, p, NAMES, groups=named, level=level) for level in (0.99, 0.8))
        assert all(width(wide[name]) > width(narrow[name]) for name in wide)


def test_degrees_of_freedom_are_groups_less_one_only_where_groups_are_equal() -> None:
    assert degrees_of_freedom(np.full(12, 1 / 12), np.asarray(5.0)) == pytest.approx(11)
    unequal = np.array([0.5, *[0.05] * 10])
    assert 1 <= degrees_of_freedom(unequal, np.asarray(5.0)) < degrees_of_freedom(unequal, np.asarray(1.0)) < 10


def test_the_mean_of_symmetric_values_has_students_interval() -> None:
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    found, error = mean_interval(values), np.sqrt(2.5 / 5)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(-2.776445 * error), pytest.approx(2.776445 * error))


def test_the_mean_of_skewed_values_reaches_further_to_the_long_side() -> None:
    values = np.random.default_rng(1).exponential(size=80)
    for groups in (None, [str(i // 8) for i in range(80)]):
        right, left = mean_interval(values, groups), mean_interval(-values, groups)
        assert right is not None
        assert left is not None
        assert right.high - values.mean() > 1.1 * (values.mean() - right.low)
        assert (left.low, left.high) == (pytest.approx(-right.high), pytest.approx(-right.low))


def test_values_that_are_all_the_same_do_not_tell_how_far_others_may_lie() -> None:
    """Such as the log losses of a model that gives 0.9 to every text, all of them of the frequent class."""
    for values in ([0.3] * 9, [0.3], [0.0] * 9):
        assert mean_interval(values) is None
    assert mean_interval([0.1 + 0.2, 0.3] * 5, list("uvwxyuvwxy")) is None  # but for rounding
    assert mean_interval([0.3, 0.4] * 5) is not None


def test_the_mean_ends_where_it_cannot_go_further() -> None:
    free, bounded = mean_interval([0.0, 0.0, 0.0, 1.0]), mean_interval([0.0, 0.0, 0.0, 1.0], lowest=0.0)
    assert free is not None
    assert bounded is not None
    assert free.low < 0 == bounded.low
    assert free.high == bounded.high


def test_groups_that_cancel_are_no_less_uncertain_than_rows() -> None:
    values = np.array([0.0, 1.0] * 30)  # every group has the same mean
    assert width(mean_interval(values, [str(i // 6) for i in range(60)])) >= width(mean_interval(values))


def test_without_rows_or_with_other_than_one_group_a_row_it_says_so() -> None:
    gold, p = draw_rows(5)
    with pytest.raises(DataError, match="no rows"):
        intervals(gold[:0], p[:0], NAMES)
    with pytest.raises(DataError, match="5 rows, but 4 groups"):
        intervals(gold, p, NAMES, groups=["x"] * 4)


def test_over_six_groups_the_truth_is_held_where_the_percentile_bootstrap_loses_it() -> None:
    """200 studies of 6 groups whose accuracy varies around 0.75; both intervals are asked to hold it."""
    rng = np.random.default_rng(11)
    groups = np.repeat(np.arange(6), 40)
    ours = theirs = 0
    for _ in range(200):
        right = rng.random(240) < rng.beta(7.5, 2.5, 6)[groups]
        interval = share_interval(right, groups.astype(str))
        assert interval is not None
        ours += interval.low <= 0.75 <= interval.high
        means = right.reshape(6, 40).mean(axis=1)[rng.integers(0, 6, (400, 6))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        theirs += low <= 0.75 <= high
    assert theirs < 0.91 * 200
    assert ours >= 0.92 * 200


def test_with_few_of_a_class_macro_f1_is_held_where_the_percentile_bootstrap_loses_it() -> None:
    """300 studies of 100 rows, 90:10, with recalls of 0.99 and 0.9; the true macro-F1 follows from these."""
    rng = np.random.default_rng(12)
    shares = np.array([0.891, 0.009, 0.01, 0.09])  # (gold, predicted): aa, ab, ba, bb
    truth = 0.5 * (2 * 0.891 / (0.9 + 0.901) + 2 * 0.09 / (0.1 + 0.099))
    ours = theirs = 0
    for _ in range(300):
        pairs = np.repeat(np.arange(4), rng.multinomial(100, shares))
        interval = intervals(pairs // 2, certain(list(pairs % 2), 2), ("a", "b"))["macro-f1"]
        assert interval is not None
        ours += interval.low <= truth <= interval.high
        aa, ab, ba, bb = rng.multinomial(100, np.bincount(pairs, minlength=4) / 100, size=300).T
        f1 = (2 * aa / (2 * aa + ab + ba) + 2 * bb / np.maximum(2 * bb + ab + ba, 1)) / 2
        low, high = np.quantile(f1, [0.025, 0.975])
        theirs += low <= truth <= high
    assert theirs < 0.92 * 300
    assert ours >= 0.93 * 300


@pytest.mark.parametrize("groups", [None, [str(i // 25) for i in range(600)]])
def test_a_class_that_is_never_given_does_not_push_the_interval_off_the_figure(groups: list[str] | None) -> None:
    gold = np.array([0, 1, 2] * 200)
    right = np.random.default_rng(0).random(600) < 0.97
    predicted = np.where(gold == 2, np.arange(600) % 4 // 3, np.where(right, gold, 1 - np.minimum(gold, 1)))
    p = certain([int(c) for c in predicted], 3)
    found, values = intervals(gold, p, NAMES, groups=groups), figures(gold, p, NAMES)
    for name in ("weighted-precision", "macro-precision", "weighted-f1", "macro-f1"):
        interval = found[name]
        assert interval is not None
        assert interval.low < values[name] - 0.02 < values[name] + 0.02 < interval.high, name


KINDS = ["as drawn", "all right", "all wrong", "one class never given", "groups all alike", "ten times as many"]


@given(decisions(), st.booleans(), st.sampled_from(KINDS))
def test_no_figure_between_0_and_1_lies_at_an_end_of_its_interval(
    case: tuple[NDArray[np.int64], NDArray[np.float64], tuple[str, ...], list[str]], grouped: bool, kind: str
) -> None:
    gold, p, names, groups = case
    predicted = p.argmax(axis=1)
    if kind in ("all right", "all wrong"):
        predicted = gold if kind == "all right" else (gold + 1) % len(names)
    elif kind == "one class never given":
        predicted = np.where(predicted == gold[0], (gold[0] + 1) % len(names), predicted)
    elif kind == "ten times as many":
        gold, predicted, groups = np.tile(gold, 10), np.tile(predicted, 10), groups * 10
    elif kind == "groups all alike":
        groups = [g for g in "uvwxyz" for _ in gold]
        gold, predicted = np.tile(gold, 6), np.tile(predicted, 6)
    p = certain([int(c) for c in predicted], len(names))
    values = figures(gold, p, names)
    for name, interval in intervals(gold, p, names, groups=groups if grouped else None).items():
        if interval is not None and name != "log-loss" and 1e-9 < values[name] < 1 - 1e-9:
            assert interval.low + 1e-6 < values[name] < interval.high - 1e-6, name
        elif interval is not None:
            assert interval.high - interval.low > 0.001, name


def test_a_loss_that_few_texts_make_up_has_no_interval():
    rare = np.full(100, 0.01)
    rare[:4] = 4.0
    assert few_decide(rare)
    assert loss_interval(rare) is None
    assert mean_interval(rare) is not None
    rare[:8] = 4.0
    assert not few_decide(rare)
    assert loss_interval(rare) == mean_interval(rare, lowest=0.0)
    assert not few_decide(np.full(100, 1e-9))
    assert not few_decide(np.zeros(100))


def test_of_a_classifier_that_is_seldom_wrong_but_then_sure_no_interval_of_its_losses_is_given():
    gold, names = ["a"] * 50 + ["b"] * 50, ("a", "b")
    sure = np.array([[0.999, 0.001]] * 50 + [[0.001, 0.999]] * 48 + [[0.99, 0.01]] * 2)
    found = evaluate(gold, sure, names)
    assert found.intervals["log-loss"] is None
    assert found.calibration.brier_interval is None
    assert "No interval for log loss: fewer than 5 texts make up nearly all of it" in found.spread_note
    assert "show no spread" not in found.spread_note
    assert evaluate(gold, 0.2 + 0.6 * sure, names).intervals["log-loss"] is not None
    sure[98:] = [[0.4, 0.6]] * 2  # all right, of which two are doubtful
    assert "texts make up nearly all of it" in evaluate(gold, sure, names).spread_note
