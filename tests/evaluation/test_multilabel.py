import json
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn import metrics as oracle

from secondcoder.errors import DataError, SettingsError
from secondcoder.evaluation import metrics
from secondcoder.evaluation.evaluate import evaluate, evaluate_points
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.metrics import f1_of_texts
from secondcoder.evaluation.set_intervals import set_intervals
from secondcoder.evaluation.tasks import task_rules

NAMES = ("economic", "social", "other")
SETS = [("economic",), ("economic", "social"), (), ("social",), ("social",)]
PROBABILITIES = np.array([[0.9, 0.2, 0.1], [0.7, 0.4, 0.1], [0.1, 0.2, 0.3], [0.6, 0.8, 0.1], [0.1, 0.9, 0.1]])


def draw_sets(n, k, seed, missing=0.25):
    random = np.random.default_rng(seed)
    gold = random.random((n, k)) < random.uniform(0.05, 0.6, k)
    p = expit(np.where(gold, 1.0, -1.5) + random.normal(0, 1.2, (n, k)) - missing)
    return gold, p


def as_sets(gold, names):
    return [{name for name, has in zip(names, row, strict=True) if has} for row in gold]


def intervals_of(gold, said, groups=None):
    nothing = dict.fromkeys(("samples-f1", "log-loss"), np.zeros(len(gold)))
    return set_intervals(gold, said, nothing, "abcdefgh"[: gold.shape[1]], groups=groups)


@st.composite
def judged(draw):
    n, k, seed = draw(st.integers(1, 30)), draw(st.integers(1, 6)), draw(st.integers(0, 2**32 - 1))
    names = tuple(f"class {i}" for i in range(k))
    gold, p = draw_sets(n, k, seed)
    return gold, p, names, evaluate_points(as_sets(gold, names), p, names, task="multi-label")


@given(judged())
@settings(max_examples=30)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_every_figure_of_sets_is_scikit_learns(case):
    gold, p, names, found = case
    k, said = len(names), p >= 0.5
    there = np.flatnonzero(gold.any(axis=0) | said.any(axis=0))
    for figure, own in (
        ("f1", oracle.f1_score), ("precision", oracle.precision_score), ("recall", oracle.recall_score)
    ):  # fmt: skip
        by_class = own(gold, said, average=None, labels=range(k), zero_division=0) if k > 1 else [
            own(gold[:, 0], said[:, 0], zero_division=0)
        ]  # fmt: skip
        assert [found.figure(f"{figure}:{name}") for name in names] == pytest.approx(list(by_class))
        macro = float(np.mean([by_class[i] for i in there])) if len(there) else 0.0
        assert found.figure(f"macro-{figure}") == pytest.approx(macro)
        if k > 1:
            for average in ("micro", "weighted"):
                expected = own(gold, said, average=average, zero_division=0)
                assert found.figure(f"{average}-{figure}") == pytest.approx(expected)
    if k > 1:
        expected = oracle.f1_score(gold, said, average="samples", zero_division=1)
        assert found.figure("samples-f1") == pytest.approx(expected)
        assert found.figure("hamming-loss") == pytest.approx(oracle.hamming_loss(gold, said))
        assert found.figure("exact-match") == pytest.approx(oracle.accuracy_score(gold, said))
    losses = [oracle.log_loss(gold[:, i], p[:, i], labels=[False, True]) for i in range(k)]
    assert found.figure("log-loss") == pytest.approx(np.mean(losses))
    assert set(found.figures()) == set(metrics.SETS.of(names))


@given(judged(), st.sampled_from([None, 1, 2, 7]))
@settings(max_examples=25)
def test_intervals_hold_the_figures_and_an_evaluation_of_sets_survives_json(case, n_groups):
    gold, p, names, points = case
    groups = None if n_groups is None else [f"g{i % n_groups}" for i in range(len(gold))]
    found = evaluate(as_sets(gold, names), p, names, task="multi-label", groups=groups)
    assert found.figures() == points.figures()
    for name, value in found.figures().items():
        interval = found.interval(name)
        if interval is not None:
            assert interval.low - 1e-9 <= value <= interval.high + 1e-9, name
            assert interval.low < interval.high, name
    if n_groups == 1:
        alone = evaluate(as_sets(gold, names), p, names, task="multi-label")
        assert found.intervals == alone.intervals
    assert found.risk_coverage.points[-1].error == pytest.approx(1 - found.figure("exact-match"))
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Evaluation.from_dict(stored) == found


def test_what_is_said_of_five_texts():
    found = evaluate(SETS, PROBABILITIES, NAMES, task="multi-label")
    assert found.task == "multi-label"
    assert found.headline[0] == "macro-f1"
    assert found.figure("exact-match") == pytest.approx(3 / 5)  # the second and the fourth are wrong
    assert found.figure("hamming-loss") == pytest.approx(2 / 15)
    assert found.decisions["social"] == {"hits": 2, "missed": 1, "too_many": 0, "rightly_not": 2}
    assert found.decisions["other"] == {"hits": 0, "missed": 0, "too_many": 0, "rightly_not": 5}
    assert found.sets.gold_sizes == (1, 3, 1, 0)
    assert found.sets.given_sizes == (1, 3, 1, 0)
    assert found.per_class["other"].precision is None
    assert found.thresholds == dict.fromkeys(NAMES, 0.5)


def test_a_threshold_decides_and_those_of_several_models_go_by_row():
    by_name = evaluate_points(SETS, PROBABILITIES, NAMES, task="multi-label", thresholds={"social": 0.3})
    assert by_name.per_class["social"].predicted == 3
    assert by_name.thresholds["social"] == 0.3
    by_row = np.full((5, 3), 0.5)
    by_row[1, 1] = 0.3
    found = evaluate_points(SETS, PROBABILITIES, NAMES, task="multi-label", thresholds=by_row)
    assert found.per_class["social"].predicted == 3
    assert found.thresholds == {}


def test_texts_are_the_unit_where_decisions_on_one_text_hang_together():
    """Each text counts twice in the second study, in two classes that always agree: nothing more is known."""
    gold, p = draw_sets(300, 3, 5)
    plain = intervals_of(gold, p >= 0.5)
    twice = intervals_of(np.tile(gold, 2), np.tile(p >= 0.5, 2))
    widths = [found["micro-f1"].high - found["micro-f1"].low for found in (plain, twice)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    macro = [found["macro-f1"].high - found["macro-f1"].low for found in (plain, twice)]
    assert macro[1] == pytest.approx(macro[0], rel=0.15)  # a few texts of a class count somewhat more


def test_intervals_over_groups_are_wider_where_groups_are_alike():
    gold, p = draw_sets(40, 3, 5)
    copies, groups = np.repeat(gold, 8, axis=0), [f"g{i // 8}" for i in range(320)]
    said = np.repeat(p >= 0.5, 8, axis=0)
    alone, grouped = (intervals_of(copies, said, groups=g) for g in (None, groups))
    for name in ("macro-f1", "micro-f1", "hamming-loss", "exact-match", "weighted-f1", "f1:a"):
        ratio = (grouped[name].high - grouped[name].low) / (alone[name].high - alone[name].low)
        assert 2 < ratio < 4.5, name  # sqrt(8) = 2.8, and t for the normal distribution
        assert grouped[name].method.startswith("grouped-")


def test_figures_of_sets_do_not_depend_on_the_order_of_rows_or_classes():
    gold, p = draw_sets(40, 4, 3)
    names, random = tuple("abcd"), Random(1)
    rows, columns = list(range(40)), list(range(4))
    random.shuffle(rows)
    random.shuffle(columns)
    one = evaluate(as_sets(gold, names), p, names, task="multi-label")
    turned = [names[j] for j in columns]
    two = evaluate(as_sets(gold[rows][:, columns], turned), p[rows][:, columns], turned, task="multi-label")
    assert two.figures() == pytest.approx(one.figures())
    for name, interval in one.intervals.items():
        other = two.intervals[name]
        assert (other.low, other.high) == pytest.approx((interval.low, interval.high))


def test_without_any_label_there_is_no_average_to_give_an_interval_of():
    found = evaluate([(), (), ()], [[0.1, 0.2], [0.3, 0.6], [0.2, 0.1]], "ab", task="multi-label")
    assert found.figure("exact-match") == pytest.approx(2 / 3)
    assert found.figure("macro-f1") == found.figure("weighted-f1") == found.figure("micro-recall") == 0.0
    assert found.interval("macro-f1") is None
    assert found.interval("log-loss") is None  # three texts say nothing of it
    alike = evaluate([(), ()], [[0.1, 0.2], [0.1, 0.2]], "ab", task="multi-label")
    assert alike.figure("samples-f1") == 1.0


def test_two_empty_sets_agree():
    assert f1_of_texts(np.zeros((1, 3), bool), np.zeros((1, 3), bool)).tolist() == [1.0]


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 2)), "no labels"),
        (["a"], [[0.5, 0.5]], "set or a tuple"),
        ([None], [[0.5, 0.5]], "set or a tuple"),
        ([("c",)], [[0.5, 0.5]], "label of row 0 is 'c'"),
        ([("a",)], [[0.5, 1.5]], "logistic function"),
        ([("a",)], [[np.nan, 0.5]], "logistic function"),
        ([("a",)], [[0.5, 0.5, 0.5]], r"expected \(1, 2\)"),
    ],
)
def test_sets_that_do_not_fit_are_refused(labels, probabilities, message):
    with pytest.raises(DataError, match=message):
        evaluate(labels, probabilities, "ab", task="multi-label")


def test_sets_are_not_taken_for_labels():
    with pytest.raises(DataError, match="task='multi-label'"):
        evaluate([("a",)], [[0.5, 0.5]], "ab")


def test_figures_of_other_tasks_are_refused_by_name():
    assert metrics.SETS.resolve("exact-match", None, NAMES) == "exact-match"
    for name, task in (("accuracy", "multi-label"), ("exact-match", "multi-class"), ("quadratic-kappa", "multi-class")):
        with pytest.raises(SettingsError, match="no figure"):
            task_rules(task).figures.resolve(name, None, NAMES)


def test_calibration_is_that_of_the_decisions():
    random = np.random.default_rng(0)
    true = random.beta(0.6, 2.0, (900, 4))
    gold = random.random((900, 4)) < true
    names = tuple("abcd")
    honest = evaluate(as_sets(gold, names), true, names, task="multi-label").calibration
    assert honest.error_interval.low == 0.0
    assert honest.error < 0.02
    assert honest.brier == pytest.approx(np.square(true - gold).mean())
    logits = np.log(true / (1 - true))
    boastful = evaluate(as_sets(gold, names), expit(2 * logits), names, task="multi-label", temperature=0.5)
    assert boastful.calibration.error_interval.low > 0.02
    assert boastful.uncalibrated.error == pytest.approx(honest.error, abs=1e-6)
    assert task_rules("multi-label").temperature(gold, 2 * logits) == pytest.approx(2.0, abs=0.25)
    assert task_rules("multi-label").temperature(gold, logits) == pytest.approx(1.0, abs=0.15)
    with pytest.raises(DataError, match="Gold has shape"):
        task_rules("multi-label").temperature(gold[:3], logits)
