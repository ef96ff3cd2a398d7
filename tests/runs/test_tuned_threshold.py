"""A threshold of the positive class: chosen on dev, and the same wherever a label is given."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import secondcoder as sc
from secondcoder.errors import SettingsError
from secondcoder.runs.compare import compare
from secondcoder.runs.run import Run
from tests.tiny import make_rows

TEXTS = [text for text, _ in make_rows(60, seed=3)]


def read_rows(**more):
    """Rows of two classes, of which some have the other's label, so that a threshold matters."""
    rows = [
        {"text": text, "area": ("economic", "social")[i % 7 == 0 or label == "social"]}
        for i, (text, label) in enumerate(make_rows(150))
    ]
    return sc.read(rows, text="text", label="area", **more)


def train(folder, encoder_folder, **settings):
    corpus = read_rows(positive="economic")
    return sc.train(
        sc.split(corpus, seed=7), output=folder, model=str(encoder_folder), freeze=0.0, learning_rate=5e-3, epochs=3,
        device="cpu", **settings
    )  # fmt: skip


def middle(gold, probabilities):
    """Stand in for the best threshold: one that parts the rows, whatever so small a model has learned."""
    assert gold.dtype == bool
    assert gold.any()
    return float(np.median(probabilities))


@pytest.fixture(scope="module")
def run(encoder_folder, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secondcoder.evaluation.multiclass.tune_threshold", middle)
        found = train(tmp_path_factory.mktemp("runs") / "tuned", encoder_folder, tune_threshold=True)
    found.evaluate()
    return found


@pytest.fixture
def plain(run, tmp_path) -> Run:
    """The same run, as it would be without a threshold."""
    shutil.copytree(run.folder, tmp_path / "plain")
    found, dev = Run(tmp_path / "plain"), rows_of(run, "dev")
    probabilities = np.column_stack([dev[f"probability_{name}"] for name in run.model.label_names])
    found.store_evaluation("dev", found.part("dev"), probabilities, baselines={})
    settings = found.info["settings"] | {"train": found.info["settings"]["train"] | {"tune_threshold": False}}
    found.update(settings=settings)
    return found


def rows_of(run, part):
    table = pq.read_table(run.folder / "predictions.parquet", filters=[("part", "=", part)])
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def test_it_is_chosen_on_dev_and_stands_on_the_card_and_in_the_run(run):
    dev = rows_of(run, "dev")
    expected = {"economic": pytest.approx(np.median(dev["probability_economic"]))}
    assert run.model.card.thresholds == expected
    assert run.info["results"]["thresholds"] == run.model.card.thresholds
    assert run.info["settings"]["train"]["tune_threshold"] is True


@pytest.mark.parametrize("part", ["dev", "test"])
def test_what_is_predicted_and_judged_goes_by_it(run, part):
    found, threshold = rows_of(run, part), run.model.card.thresholds["economic"]
    by_it = found["probability_economic"] >= threshold
    assert ((found["predicted"] == "economic") == by_it).all()
    figures = run.evaluations[part]["model"]
    assert figures.thresholds == {"economic": threshold}
    gold = found["label"] == "economic"
    assert figures.figure("f1:economic") == pytest.approx(2 * (gold & by_it).sum() / (gold.sum() + by_it.sum()))


def test_a_label_is_the_same_from_the_library_and_the_command(run, tmp_path):
    threshold = run.model.card.thresholds["economic"]
    column = run.model.label_names.index("economic")
    expected = np.where(run.model.predict_proba(TEXTS)[:, column] >= threshold, "economic", "social").tolist()
    assert run.model.predict(TEXTS) == expected
    source, output = tmp_path / "texts.csv", tmp_path / "labelled.parquet"
    source.write_text("text\n" + "\n".join(TEXTS), encoding="utf-8")
    sc.label(sc.load(run.folder), str(source), output=str(output), probabilities=True)
    labelled = pq.read_table(output)
    assert labelled["label"].to_pylist() == expected
    at = {name: labelled[f"probability_{name}"].to_numpy() for name in ("economic", "social")}
    given = np.where(np.array(expected) == "economic", at["economic"], at["social"])
    assert labelled["probability"].to_numpy() == pytest.approx(given)


def test_it_is_said_that_dev_is_optimistic_and_what_other_programs_do(run):
    said = {finding["kind"]: finding for finding in run.info["results"]["findings"]}["tuned-threshold"]
    assert "optimistic" in said["message"]
    assert "0.5" in said["message"]
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert f"{run.model.card.thresholds['economic']:.3f}" in page
    card = (run.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert f"{run.model.card.thresholds['economic']:.3f}" in card
    assert "0.5" in card


def test_two_runs_are_compared_by_the_labels_that_they_gave(run, plain):
    plain_dev, tuned_dev = rows_of(plain, "dev"), rows_of(run, "dev")
    assert (plain_dev["probability_economic"] == tuned_dev["probability_economic"]).all()
    assert (plain_dev["predicted"] != tuned_dev["predicted"]).any()
    found = compare(plain, run, part="dev")
    main = found.differences[0]
    by_label = [by.evaluations["dev"]["model"].figure("f1:economic") for by in (plain, run)]
    assert main.difference == pytest.approx(by_label[1] - by_label[0])
    assert any("tune_threshold" in note for note in found.notes)


def test_folds_are_judged_by_the_thresholds_of_their_models(run, monkeypatch):
    monkeypatch.setattr("secondcoder.evaluation.multiclass.tune_threshold", middle)
    found = sc.cross_fit(run, folds=2)
    table = pq.read_table(run.folder / "folds.parquet").to_pydict()
    limits = {i: each["thresholds"]["economic"] for i, each in enumerate(run.info["folds"]["each"], 1)}
    by_it = [p >= limits[fold] for p, fold in zip(table["probability_economic"], table["fold"], strict=True)]
    assert [label == "economic" for label in table["predicted"]] == by_it
    right = np.mean([a == b for a, b in zip(table["label"], table["predicted"], strict=True)])
    assert found.accuracy == pytest.approx(right)
    wrong = sum(a != b for a, b in zip(table["label"], table["predicted"], strict=True))
    stored = json.loads((run.folder / "mistakes.json").read_text())["folds"]["mistakes"]
    assert stored["overall"]["errors"] == wrong


def test_without_a_positive_class_it_is_refused(encoder_folder, tmp_path):
    with pytest.raises(SettingsError, match="positive") as caught:
        sc.train(sc.split(read_rows()), output=tmp_path / "run", model=str(encoder_folder), tune_threshold=True)
    assert "--positive" in caught.value.cure
    assert not (tmp_path / "run").exists()


def test_the_estimator_predicts_by_it(encoder_folder):
    corpus = read_rows()
    fitted = sc.SentenceClassifier(
        model=str(encoder_folder),
        freeze=0.0,
        learning_rate=1e-3,
        epochs=1,
        head_start="logistic",
        positive="economic",
        tune_threshold=True,
    ).fit(corpus.texts, corpus.labels)
    threshold = fitted.model_.card.thresholds["economic"]
    by_it = fitted.predict_proba(TEXTS)[:, list(fitted.classes_).index("economic")] >= threshold
    assert threshold != 0.5
    assert (fitted.predict(TEXTS) == np.where(by_it, "economic", "social")).all()
    assert "tuned-threshold" in [finding.kind for finding in fitted.findings_]
