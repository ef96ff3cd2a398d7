"""What intervals speak of, and what is said of classes and classifiers that the texts tell nothing of."""

import numpy as np
import pytest

from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.intervals import units_of
from secondcoder.evaluation.likeness import LIKENESS, LIKENESS_DOUBT


def limits(evaluation: Evaluation, name: str) -> tuple[float, float]:
    interval = evaluation.interval(name)
    assert interval is not None, name
    return interval.low, interval.high


def half_right(n: int, seed: int = 1) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.random(n) < 0.4
    p = np.clip(np.where(gold, 0.7, 0.3) + rng.normal(0, 0.25, n), 0.01, 0.99)
    return ["b" if g else "a" for g in gold], np.column_stack([1 - p, p])


def test_a_class_that_no_text_has_may_have_any_figure() -> None:
    """It was macro-F1 1.000 [0.929, 1.000]."""
    found = evaluate(["a"] * 50, [[0.9, 0.1]] * 50, ["a", "b"])
    for name in ("macro-f1", "balanced-accuracy"):
        assert found.figure(name) == 1
        assert limits(found, name) == (pytest.approx(0.46, abs=0.02), 1)
    assert limits(found, "macro-recall")[0] < 0.5
    assert limits(found, "accuracy")[0] > 0.9  # that is known
    assert found.absent == ("b",)
    note = "No text judged here is “b”: macro-F1 is the mean over the other classes"
    assert note in found.headline_note
    assert note in found.notes[0]
    assert note in found._repr_html_()


def test_a_class_that_is_predicted_and_that_no_text_has_is_not_taken_for_known() -> None:
    found = evaluate(["a"] * 49 + ["b"], [[0.9, 0.1, 0]] * 45 + [[0.1, 0, 0.9]] * 5, ["a", "b", "c"])
    low, high = limits(found, "balanced-accuracy")
    assert low < 0.35
    assert high > 0.9  # of b there is one text, of c none
    assert limits(found, "macro-f1")[1] > 0.6


def test_a_class_that_no_text_has_but_is_predicted_is_said_to_count_as_0() -> None:
    """It said that macro-F1, 0.495, was the mean over the other classes, which is 0.990."""
    found = evaluate(["a"] * 50, [[0.9, 0.1, 0]] * 49 + [[0.1, 0.9, 0]], ["a", "b", "c"])
    assert found.figure("macro-f1") == pytest.approx(found.figure("f1:a") / 2)
    left_out, counted = found.headline_note.split(". ")
    assert left_out.startswith("No text judged here is “c”: macro-F1 is the mean over the other classes")
    assert counted == "No text judged here is “b” (predicted for 1 text): its F1 counts as 0 in macro-F1."
    alone = evaluate(["a"] * 50, [[0.9, 0.1]] * 49 + [[0.1, 0.9]], ["a", "b"])
    assert alone.headline_note == counted


def test_where_no_text_has_a_label_and_none_is_predicted_no_interval_is_spoken_of() -> None:
    found = evaluate([set()] * 20, [[0.1, 0.2]] * 20, ["a", "b"], task="multi-label")
    assert found.interval("macro-f1") is None
    assert "is undefined" in found.headline_note
    assert "interval" not in found.headline_note
    given = evaluate([set()] * 20, [[0.1, 0.7]] * 20, ["a", "b"], task="multi-label")
    assert "interval" not in given.headline_note
    assert "“b” (predicted for 20 texts): its F1 counts as 0" in given.headline_note


def test_a_positive_class_that_no_text_has_is_said_with_its_f1() -> None:
    found = evaluate(["a"] * 20, [[0.9, 0.1]] * 20, ["a", "b"], positive="b")
    assert found.headline_note == "No text judged here is “b”: its F1 cannot be known."
    other = evaluate(["b"] * 20, [[0.2, 0.8]] * 20, ["a", "b"], positive="b")
    assert other.headline_note == ""


def test_of_sets_too_a_class_that_no_text_has_may_have_any_f1() -> None:
    rng = np.random.default_rng(2)
    p = np.column_stack([rng.random((60, 2)), np.full(60, 0.1)])
    gold = [{name for name, one in zip("ab", row, strict=False) if one >= 0.4} for row in p]
    found = evaluate(gold, p, ["a", "b", "c"], task="multi-label")
    low, high = limits(found, "macro-f1")
    assert high - low > 1 / 3
    assert low < 2 / 3 * found.figure("macro-f1") < found.figure("macro-f1") < high
    assert "“c”" in found.headline_note


def test_where_all_classes_have_texts_there_is_nothing_to_note() -> None:
    labels, p = half_right(100)
    found = evaluate(labels, p, ["a", "b"])
    assert found.notes == ()
    assert found.scope == "texts"


def test_what_a_constant_classifier_reaches_whatever_the_texts_has_no_interval() -> None:
    """It was balanced accuracy 0.500 [0.271, 0.759], and F1 0.000 [0.000, 0.683]."""
    for groups in (None, [f"g{i % 2}" for i in range(100)], [f"g{i % 12}" for i in range(100)]):
        found = evaluate(["a"] * 80 + ["b"] * 20, [[0.8, 0.2]] * 100, ["a", "b"], groups=groups)
        assert found.constant
        for name, exact in {
            "balanced-accuracy": 0.5,
            "macro-recall": 0.5,
            "f1:b": 0.0,
            "recall:b": 0.0,
            "recall:a": 1.0,
        }.items():
            assert found.figure(name) == exact
            assert found.interval(name) is None, name
        for name in ("accuracy", "macro-f1", "precision:a", "f1:a"):
            assert limits(found, name)[0] < found.figure(name) < limits(found, name)[1]
        assert any("without an interval are exact" in note for note in found.notes)


def test_labels_that_are_all_right_are_not_exact() -> None:
    """Three ordered texts, all right, had an error in steps of 0.000 and a kappa of 1.000, and no word on either."""
    names = ["low", "middle", "high"]
    found = evaluate(names, np.eye(3), names, task="ordinal")
    low, high = limits(found, "mean-absolute-error")
    assert low == 0
    assert high == pytest.approx(2 * (1 - limits(found, "accuracy")[0]))
    assert found.figure("quadratic-kappa") == 1
    assert found.interval("quadratic-kappa") is None
    assert found.spread_note.startswith("No interval for quadratic kappa and log loss: these texts show no spread")
    assert found.spread_note in found.notes
    assert found.calibration.brier_interval.high == pytest.approx(2 * (1 - limits(found, "accuracy")[0]))
    sets = evaluate([{name} for name in names], np.eye(3), names, task="multi-label")
    assert sets.figure("samples-f1") == limits(sets, "samples-f1")[1] == 1
    assert limits(sets, "samples-f1")[0] < 0.6
    assert sets.spread_note.startswith("No interval for log loss: ")


def test_all_texts_off_by_one_step_do_not_show_that_others_are() -> None:
    names = ["low", "middle", "high"]
    found = evaluate(["low", "high"] * 10, np.eye(3)[[1] * 20], names, task="ordinal")
    low, high = limits(found, "mean-absolute-error")
    assert 0.8 < low < found.figure("mean-absolute-error") == 1 < high < 1.2
    assert "quadratic kappa" in found.spread_note


def test_an_undefined_kappa_is_said_to_be() -> None:
    found = evaluate(["low"] * 20, np.eye(2)[[0] * 20], ["low", "high"], task="ordinal")
    assert "Quadratic kappa is undefined" in found.spread_note
    assert "No interval for log loss" in found.spread_note


def test_where_texts_have_spread_there_is_nothing_to_say_of_it() -> None:
    labels, p = half_right(60)
    for task in ("multi-class", "ordinal"):
        for groups in (None, [f"g{i % 6}" for i in range(60)]):
            assert evaluate(labels, p, ["a", "b"], task=task, groups=groups).spread_note == ""


def test_a_constant_set_of_labels_has_exact_figures_too() -> None:
    gold = [{"a"}] * 30 + [{"b"}] * 10 + [{"a", "b"}] * 10
    found = evaluate(gold, [[0.8, 0.4]] * 50, ["a", "b"], task="multi-label")
    assert found.constant
    assert found.interval("f1:b") is None
    assert found.interval("recall:a") is None
    assert limits(found, "f1:a")[0] < found.figure("f1:a")


def test_a_coder_who_gave_one_label_is_no_constant() -> None:
    found = evaluate(["a"] * 18 + ["b"] * 2, [[1, 0]] * 20, ["a", "b"])
    assert not found.constant
    assert limits(found, "recall:b")[1] > 0.5


@pytest.mark.parametrize("n_groups", [1, 2, 4])
def test_with_fewer_than_five_groups_all_figures_speak_of_these_and_are_on_one_scale(n_groups: int) -> None:
    """It was accuracy [0.649, 0.990] beside weighted F1 [0.816, 0.975]."""
    labels, p = half_right(950)
    groups = [f"document {i % n_groups}" for i in range(950)]
    found, alone = evaluate(labels, p, ["a", "b"], groups=groups), evaluate(labels, p, ["a", "b"])
    assert found.scope == "these documents"
    assert found.n_groups == n_groups
    assert found.intervals == alone.intervals
    assert found.calibration == alone.calibration
    assert found.risk_coverage == alone.risk_coverage
    widths = [high - low for low, high in (limits(found, name) for name in ("accuracy", "weighted-f1"))]
    assert widths[0] == pytest.approx(widths[1], rel=0.1)
    assert "only" in found.scope_note
    assert f"it is not known from {n_groups} group" in found.scope_note


def test_of_ordered_classes_and_sets_the_scope_is_the_same() -> None:
    labels, p = half_right(60)
    groups = [f"g{i % 3}" for i in range(60)]
    found = evaluate(labels, p, ["a", "b"], groups=groups, task="ordinal")
    alone = evaluate(labels, p, ["a", "b"], task="ordinal")
    assert found.interval("quadratic-kappa") == alone.interval("quadratic-kappa")
    assert found.interval("mean-absolute-error") == alone.interval("mean-absolute-error")
    sets = [{label} for label in labels]
    both = [evaluate(sets, p, ["a", "b"], groups=g, task="multi-label") for g in (groups, None)]
    assert both[0].scope == "these documents"
    assert both[0].intervals == both[1].intervals


def test_from_five_groups_on_others_are_spoken_of_and_what_is_assumed_is_told() -> None:
    labels, p = half_right(100)
    for n_groups, told in ((5, True), (19, True), (20, False)):
        found = evaluate(labels, p, ["a", "b"], groups=[f"g{i % n_groups}" for i in range(100)])
        assert found.scope == "documents"
        assert f"other groups like these {n_groups}" in found.scope_note
        assert (f"correlation of {LIKENESS:g}, standard deviation {LIKENESS_DOUBT:g}." in found.scope_note) == told
        assert ("wider than those of independent texts" in found.scope_note) == told


def test_an_older_evaluation_is_read_and_says_nothing_that_was_not_so() -> None:
    labels, p = half_right(60)
    stored = evaluate(labels, p, ["a", "b"], groups=[f"g{i % 3}" for i in range(60)]).to_dict()
    del stored["scope"]
    found = Evaluation.from_dict(stored)
    assert found.scope is None
    assert found.scope_note == "Intervals are over 3 groups."


def test_units_are_groups_only_where_there_are_five() -> None:
    assert units_of(None) is None
    assert units_of(["a", "b", "c", "d"] * 5) is None
    five = ["a", "b", "c", "d", "e"]
    assert units_of(five) is five
