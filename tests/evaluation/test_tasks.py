import numpy as np
import pytest

import secondcoder as sc
from secondcoder.corpus.corpus import label_text, split_set
from secondcoder.errors import DataError, SettingsError
from secondcoder.evaluation import tasks
from secondcoder.evaluation.multiclass import MultiClass, decide_class
from secondcoder.evaluation.multilabel import decide_set
from secondcoder.evaluation.tasks import TASKS, task_rules
from tests.tiny import make_rows

P = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
ONE, SETS = task_rules("multi-class"), task_rules("multi-label")


def decided(rules, thresholds=None, separator=";"):
    named = rules.named(rules.decide(P, thresholds, ("a", "b")), ("a", "b"))
    return [label_text(label, separator) for label in named]


def confidence(rules, thresholds):
    return rules.confidence(P, rules.decide(P, thresholds, ("a", "b")))


def test_the_most_probable_class_wins_and_of_equal_ones_the_first():
    assert decide_class(P).tolist() == [0, 0, 1]
    assert decided(ONE) == ["a", "a", "b"]


def test_a_threshold_of_the_positive_class_decides_for_it_from_there_on():
    assert decide_class(P, 0.3, positive=1).tolist() == [1, 1, 1]
    assert decide_class(P, 0.6, positive=0).tolist() == [0, 1, 1]
    assert decided(ONE, {"b": 0.3}) == ["b", "b", "b"]


def test_each_class_of_a_set_has_its_own_threshold():
    assert decide_set(P).tolist() == [[True, False], [True, True], [False, True]]
    assert decide_set(P, [0.75, 0.3]).tolist() == [[False, True], [False, True], [False, True]]
    assert decided(SETS, {"a": 0.6, "b": 0.6}, "|") == ["a", "", "b"]


def test_confidence_is_that_of_the_label_or_of_the_least_sure_decision():
    assert confidence(ONE, {}).tolist() == [0.7, 0.5, 0.8]
    assert confidence(ONE, {"b": 0.25}).tolist() == [0.3, 0.5, 0.8]
    assert confidence(SETS, {"a": 0.8}) == pytest.approx([0.3, 0.5, 0.8])


def test_sets_as_text_become_indicators():
    gold = SETS.gold([split_set(text, ";") for text in ("a;b", "", "b")], ("a", "b"))
    assert gold.tolist() == [[True, True], [False, False], [False, True]]
    with pytest.raises(DataError, match="row 0 is 'c'"):
        SETS.gold([split_set("c", ";")], ("a", "b"))


def test_a_set_is_a_tuple_of_names_that_files_with_lists_hold_as_one():
    assert SETS.named(SETS.decide(P, None, ("a", "b")), ("a", "b")) == [("a",), ("a", "b"), ("b",)]
    assert SETS.writes_lists
    assert not ONE.writes_lists


def test_what_is_counted_names_the_text_of_no_class():
    found = SETS.counted([("a", "b"), (), ("b",)])
    assert (dict(found), SETS.no_class(found)) == ({"a": 1, "b": 2, "": 1}, 1)
    assert SETS.counted([["a"], []]) == {"a": 1, "": 1}
    assert ONE.no_class(ONE.counted(["a", "b", "a"])) is None


class Cautious(MultiClass):
    """A made-up scheme: the second class is given only where it is twice as probable as the first."""

    name = "cautious"
    majority_name = "The usual class"

    def decide(self, probabilities, thresholds, names, positive=None):
        return (probabilities[:, 1] > 2 * probabilities[:, 0]).astype(np.int64)


@pytest.fixture
def cautious(monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "cautious", Cautious())


def test_one_more_scheme_is_a_class_and_a_line_in_the_table(cautious, encoder_folder, tmp_path):
    """It is trained, judged, labelled with and reported on, and nothing else was touched."""
    from dataclasses import replace

    rows = [dict(zip(("text", "label"), row, strict=True)) for row in make_rows(90, seed=4)]
    corpus = replace(sc.read(rows, text="text", label="label"), task="cautious")
    run = sc.train(sc.split(corpus, seed=3), output=tmp_path / "run", model=str(encoder_folder), epochs=2, device="cpu")
    assert run.model.card.task == "cautious"
    texts = list(corpus.texts[:20])
    p = run.model.predict_proba(texts)
    expected = [run.model.label_names[int(b > 2 * a)] for a, b in p.tolist()]
    assert run.model.predict(texts) == expected
    figures = run.evaluations["dev"]["model"]
    dev = run.part("dev")
    given = run.model.predict(dev.texts)
    assert figures.accuracy == pytest.approx(np.mean([a == b for a, b in zip(given, dev.labels, strict=True)]))
    labelled = tmp_path / "labelled.csv"
    (tmp_path / "corpus.csv").write_text("text\n" + "\n".join(texts) + "\n", encoding="utf-8")
    sc.label(run, tmp_path / "corpus.csv", output=labelled, text="text")
    assert [row.split(",")[1] for row in labelled.read_text(encoding="utf-8").splitlines()[1:]] == expected
    assert "The usual class" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_the_table_names_each_scheme_as_it_names_itself():
    assert {name: rules.name for name, rules in TASKS.items()} == {name: name for name in TASKS}
    assert {name: rules.figures.task for name, rules in TASKS.items()} == {name: name for name in TASKS}


def test_an_unknown_task_is_refused_by_name():
    with pytest.raises(SettingsError, match="no task 'multilabel'; the tasks are 'multi-class', 'ordinal'"):
        sc.evaluate(["a"], [[0.5, 0.5]], ["a", "b"], task="multilabel")


def test_logits_that_are_infinite_are_refused_before_any_warning():
    logits = np.array([[np.inf, 1.0], [0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(DataError, match="not numbers"):
        ONE.temperature(np.array([0, 1, 0]), logits)
