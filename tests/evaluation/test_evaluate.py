import json
import subprocess
import sys
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from secondcoder.errors import DataError, SettingsError
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.metrics import ONE_LABEL, is_better

NAMES = ("economic", "social", "other")
LABELS = ["economic", "economic", "social", "social", "social"]
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1]]
)  # predicted: economic, social, social, social, economic; other neither in gold nor predicted


@st.composite
def evaluations(draw: st.DrawFn) -> tuple[list[str], np.ndarray, list[str], Evaluation]:
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=7, unique=True))
    labels = draw(st.lists(st.sampled_from(names), min_size=1, max_size=30))
    seed = draw(st.integers(0, 2**32 - 1))
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(names)), size=len(labels))
    return labels, probabilities, names, evaluate(labels, probabilities, names)


@given(evaluations())
def test_every_named_figure_is_scikit_learns(case: tuple[list[str], np.ndarray, list[str], Evaluation]) -> None:
    labels, probabilities, names, evaluation = case
    predicted = [names[i] for i in probabilities.argmax(axis=1)]
    report = oracle.classification_report(labels, predicted, labels=names, output_dict=True, zero_division=0)
    for name in names:
        # asked for alone: the report below keys its averages as it keys classes
        alone = oracle.precision_recall_fscore_support(labels, predicted, labels=[name], zero_division=0)
        ours = [evaluation.figure(f"{figure}:{name}") for figure in ("precision", "recall", "f1")]
        assert ours == pytest.approx([float(values[0]) for values in alone[:3]])
    assert evaluation.figure("accuracy") == pytest.approx(oracle.accuracy_score(labels, predicted))
    assert evaluation.figure("macro-f1") == pytest.approx(
        oracle.f1_score(labels, predicted, average="macro", zero_division=0)
    )
    assert evaluation.figure("weighted-precision") == pytest.approx(report["weighted avg"]["precision"])
    assert evaluation.figure("micro-recall") == evaluation.accuracy
    # scikit-learn sorts the labels, so the columns are sorted for it
    order = sorted(range(len(names)), key=names.__getitem__)
    expected_loss = oracle.log_loss(labels, probabilities[:, order], labels=[names[i] for i in order])
    assert evaluation.figure("log-loss") == pytest.approx(expected_loss)


@given(evaluations())
def test_an_evaluation_survives_json(case: tuple[list[str], np.ndarray, list[str], Evaluation]) -> None:
    *_, evaluation = case
    stored = json.dumps(evaluation.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(stored)) == evaluation


@given(evaluations(), st.randoms(use_true_random=False))
def test_figures_do_not_depend_on_the_order_of_rows_or_classes(
    case: tuple[list[str], np.ndarray, list[str], Evaluation], random: Random
) -> None:
    labels, probabilities, names, evaluation = case
    rows, columns = list(range(len(labels))), list(range(len(names)))
    random.shuffle(rows)
    random.shuffle(columns)
    other = evaluate([labels[i] for i in rows], probabilities[rows][:, columns], [names[j] for j in columns])
    assert other.confusion == evaluation.confusion
    assert other.figures() == pytest.approx(evaluation.figures())


def test_the_confusion_matrix_has_gold_in_rows_and_predictions_in_columns() -> None:
    evaluation = evaluate(LABELS, PROBABILITIES, NAMES)
    np.testing.assert_array_equal(evaluation.confusion_matrix, [[1, 1, 0], [1, 2, 0], [0, 0, 0]])
    assert evaluation.confusion["economic"] == {"economic": 1, "social": 1, "other": 0}
    assert evaluation.row_shares["social"] == {"economic": 1 / 3, "social": 2 / 3, "other": 0.0}
    assert evaluation.row_shares["other"]["other"] is None


def test_a_class_without_gold_rows_has_no_recall_and_one_never_predicted_has_no_precision() -> None:
    evaluation = evaluate(["a", "a"], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], ["a", "b", "c"])
    a, b, c = (evaluation.per_class[name] for name in "abc")
    assert (a.precision, a.recall, a.support, a.predicted) == (1.0, 0.5, 2, 1)
    assert (b.precision, b.recall, b.f1, b.support, b.predicted) == (0.0, None, 0.0, 0, 1)
    assert (c.precision, c.recall, c.f1) == (None, None, None)


def test_a_class_that_is_neither_in_gold_nor_predicted_does_not_pull_the_macro_average_down() -> None:
    with_other = evaluate(LABELS, PROBABILITIES, NAMES)
    without = evaluate(LABELS, PROBABILITIES[:, :2] / PROBABILITIES[:, :2].sum(axis=1, keepdims=True), NAMES[:2])
    assert with_other.averages == without.averages
    assert with_other.balanced_accuracy == without.balanced_accuracy


def test_of_equal_probabilities_the_first_class_wins() -> None:
    evaluation = evaluate(["b"], [[0.5, 0.5]], ["a", "b"])
    assert evaluation.confusion["b"] == {"a": 1, "b": 0}


def test_the_headline_is_macro_f1_or_the_positive_class() -> None:
    evaluation = evaluate(LABELS, PROBABILITIES, NAMES)
    assert evaluation.headline == ("macro-f1", evaluation.averages["macro"].f1)
    binary = evaluate(["neg", "pos"], [[0.4, 0.6], [0.2, 0.8]], ["neg", "pos"], positive="pos")
    assert binary.headline == ("f1:pos", pytest.approx(2 / 3))


def test_a_label_may_hold_colons_and_look_like_a_figure() -> None:
    evaluation = evaluate(["f1:a", "macro-f1"], [[0.9, 0.1], [0.9, 0.1]], ["f1:a", "macro-f1"])
    assert evaluation.figure("recall:f1:a") == 1.0
    assert evaluation.figure("recall:macro-f1") == 0.0


@pytest.mark.parametrize("wrong", ["macro_f1", "f1:economics", "f1", "log_loss"])
def test_an_unknown_figure_is_refused_with_the_list_and_the_nearest(wrong: str) -> None:
    near = {"macro_f1": "macro-f1", "f1:economics": "f1:economic", "log_loss": "log-loss"}.get(wrong, "")
    with pytest.raises(SettingsError, match="balanced-accuracy, macro-f1") as caught:
        ONE_LABEL.resolve(wrong, None, NAMES)
    assert near in caught.value.cure
    with pytest.raises(SettingsError):
        evaluate(LABELS, PROBABILITIES, NAMES).figure(wrong)


def test_auto_is_the_positive_classs_f1_or_macro_f1() -> None:
    assert ONE_LABEL.resolve("auto", "pos", ["neg", "pos"]) == "f1:pos"
    assert ONE_LABEL.resolve("auto", None, NAMES) == "macro-f1"
    assert all(ONE_LABEL.resolve(name, None, NAMES) == name for name in ONE_LABEL.of(NAMES))


def test_log_loss_is_better_when_lower_and_all_else_when_higher() -> None:
    assert is_better("log-loss", 0.3, 0.4)
    assert not is_better("log-loss", 0.4, 0.3)
    assert is_better("macro-f1", 0.4, 0.3)
    assert not is_better("macro-f1", 0.3, 0.3)
    assert is_better("log-loss", 9.0, None)


@pytest.mark.parametrize(
    ("labels", "probabilities", "names", "positive", "message"),
    [
        ([], np.zeros((0, 2)), ["a", "b"], None, "no labels"),
        (["a"], [[0.5, 0.5]], ["a", "a"], None, "label names"),
        (["A"], [[0.5, 0.5]], ["a", "b"], None, "did you mean 'a'"),
        ([None], [[0.5, 0.5]], ["a", "b"], None, "without a label"),
        (["a"], [[0.5, 0.5]], ["a", "b"], "c", "positive class 'c'"),
        (["a"], [[0.2, 0.3, 0.5]], ["a", "b"], None, r"shape \(1, 3\); expected \(1, 2\)"),
        (["a", "b"], [[0.5, 0.5]], ["a", "b"], None, r"shape \(1, 2\); expected \(2, 2\)"),
        (["a"], [[0.5, 0.4]], ["a", "b"], None, "sums to 0.9"),
        (["a"], [[1.5, -0.5]], ["a", "b"], None, "softmax"),
        (["a"], [[np.nan, 1.0]], ["a", "b"], None, "Row 0"),
        (["a"], [[np.inf, 0.0]], ["a", "b"], None, "Row 0"),
    ],
)
def test_input_that_does_not_fit_is_refused(
    labels: list[str], probabilities: np.ndarray, names: list[str], positive: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(labels, probabilities, names, positive=positive)


def test_a_damaged_stored_evaluation_is_refused() -> None:
    stored = evaluate(LABELS, PROBABILITIES, NAMES).to_dict()
    del stored["averages"]
    with pytest.raises(DataError, match="averages"):
        Evaluation.from_dict(stored)


def test_a_notebook_shows_labels_as_text() -> None:
    shown = evaluate(["<b>", "b"], [[0.9, 0.1], [0.2, 0.8]], ["<b>", "b"])._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<td><b>" not in shown


def test_evaluation_imports_no_deep_learning() -> None:
    code = (
        "import sys, secondcoder.evaluation.evaluate; print(*{'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
