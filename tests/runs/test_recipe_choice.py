import json
import os
import signal

import pytest

import secondcoder as sc
from secondcoder import settings
from secondcoder.cli.main import main
from secondcoder.errors import InterruptedRunError
from secondcoder.progress import Progress
from secondcoder.runs.run import Run
from secondcoder.training import recipes
from secondcoder.training.steps import Stepper
from tests.tiny import make_rows


@pytest.fixture
def quick(monkeypatch):
    """A comparison in two folds, of recipes that take few steps, whatever the machine; TF-IDF is never the best."""
    monkeypatch.setattr(recipes, "_FEWEST_COMPARED", 0)
    monkeypatch.setattr(recipes, "_DEAR_SECONDS", 1e9)
    monkeypatch.setitem(recipes._EXPECTED, "tfidf", -100.0)
    monkeypatch.setattr(recipes, "FOLDS", 2)
    monkeypatch.setattr(recipes, "_MOST_REPEATS", 1)
    for recipe in settings.LEAST_STEPS:
        monkeypatch.setitem(settings.LEAST_STEPS, recipe, 4)


@pytest.fixture
def parts():
    rows = [{"id": f"t{i}", "text": text, "area": label} for i, (text, label) in enumerate(make_rows(40))]
    return sc.split(sc.read(rows, text="text", label="area", id="id"), seed=7)


def options(encoder_folder, **more):
    return {"model": str(encoder_folder), "device": "cpu", "precision": "fp32", "learning_rate": 5e-3, **more}


def weights(run):
    return json.loads((run.model_folder / "secondcoder.json").read_text())["weights_sha256"]


@pytest.mark.slow
def test_a_run_with_few_labels_is_one_of_the_recipe_that_did_best_on_train(quick, parts, encoder_folder, tmp_path):
    said = []

    class Told(Progress):
        def say(self, sentence):
            said.append(sentence)

    run = sc.train(parts, output=tmp_path / "auto", progress=Told(), **options(encoder_folder))
    found = run.info["recipes"]
    assert set(found["figures"]) == set(found["spread"]) == set(recipes.COMPARED)
    assert any(f"Taken: {found['chosen']}" in sentence for sentence in said)
    asked = {"recipe": "auto", "epochs": 2, "freeze": 0.5, "head_start": "random"}
    assert {name: found["asked"][name] for name in asked} == asked
    stored = run.info["settings"]["train"]
    assert {name: stored[name] for name in found["settings"]} == found["settings"]
    assert not (run.folder / "recipes").exists()
    report = (run.folder / "report.html").read_text()
    assert all(f"{name} {figure:.3f}" in report for name, figure in found["figures"].items())
    named = sc.train(parts, output=tmp_path / "named", **options(encoder_folder, recipe=found["chosen"]))
    assert weights(named) == weights(run)
    assert "recipes" not in named.info


def test_where_tfidf_is_the_best_on_train_it_is_the_model(quick, parts, encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "_DEAR_SECONDS", 0.0)
    monkeypatch.setitem(recipes._EXPECTED, "tfidf", 100.0)
    asked = options(encoder_folder, seeds=2)
    run = sc.train(parts, output=tmp_path / "auto", **asked)
    assert run.info["recipes"]["chosen"] == run.info["settings"]["train"]["model"] == "tfidf"
    assert run.info["settings"]["train"]["seeds"] == 1  # nothing of it is chance
    assert run.info["recipes"]["asked"]["model"] == str(encoder_folder)
    again = sc.train(parts, output=tmp_path / "auto", resume=True, **asked)
    assert again.info == run.info
    report = (run.folder / "report.html").read_text()
    assert f"on the train part, over ways to train the language model {encoder_folder} (frozen" in report
    named = sc.train(parts, output=tmp_path / "named", model="tfidf")
    assert sc.load(named.folder).sha256 == sc.load(run.folder).sha256
    texts, labels = zip(*make_rows(40), strict=True)
    found = sc.SentenceClassifier(**options(encoder_folder)).fit(texts, labels)
    assert found.recipes_.chosen == "tfidf"
    assert (
        found.predict(texts).tolist() == sc.SentenceClassifier(model="tfidf").fit(texts, labels).predict(texts).tolist()
    )


def test_of_fewer_than_50_texts_nothing_is_compared_and_that_is_said(parts, encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(settings.LEAST_STEPS, "contrastive", 4)
    run = sc.train(parts, output=tmp_path / "run", **options(encoder_folder))
    n = len(parts.train)
    assert n < 50
    assert run.info["settings"]["train"]["recipe"] == run.info["recipes"]["chosen"] == "contrastive"
    assert run.info["recipes"]["figures"] == {}
    report = (run.folder / "report.html").read_text()
    assert f"Recipes were not compared, as figures of {n} texts (fewer than 50) would be mostly chance" in report
    assert "by cross-validation on the train part" not in report


@pytest.mark.parametrize("recipe", ["frozen", "contrastive", pytest.param("full", marks=pytest.mark.slow)])
def test_a_named_recipe_gives_an_ordinary_model_at_any_number_of_labels(recipe, quick, encoder_folder, tmp_path):
    rows = [{"text": text, "area": label} for text, label in make_rows(180)]
    parts = sc.split(sc.read(rows, text="text", label="area"), seed=7)  # 54 texts of each class in train
    run = sc.train(parts, output=tmp_path / "run", **options(encoder_folder, recipe=recipe))
    assert "recipes" not in run.info
    assert run.info["results"]["temperature"] > 0
    assert [entry["epoch"] for entry in run.history] == [0] if recipe == "frozen" else [0, 1, 2]
    probabilities = sc.load(run.folder).predict_proba(parts.test.texts)
    assert probabilities.shape == (36, 2)
    text = (run.folder / "report.html").read_text()
    assert ("Tunstall" in text) == (recipe == "contrastive")
    assert ("stayed as pre-trained; its head is a logistic regression" in text) == (recipe == "frozen")


@pytest.mark.slow
def test_a_run_stopped_while_it_compares_or_trains_ends_as_one_that_was_not(
    quick, parts, encoder_folder, tmp_path, monkeypatch
):
    monkeypatch.setitem(recipes._EXPECTED, "full", 100.0)
    whole = sc.train(parts, output=tmp_path / "whole", **options(encoder_folder))
    real, taken = Stepper.take, []

    def press(self, *given, **named):
        taken.append(1)
        if len(taken) in stops:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    monkeypatch.setattr(Stepper, "take", press)
    stops = ()
    sc.train(parts, output=tmp_path / "counted", **options(encoder_folder))
    steps, of_training = len(taken), whole.info["settings"]["train"]["epochs"] * 2
    taken.clear()
    stops = (steps - of_training - 1, steps - 1)  # in the last fold, and near the end of the training
    with pytest.raises(InterruptedRunError, match="Comparing recipes, fold 2 of 2, "):
        sc.train(parts, output=tmp_path / "run", **options(encoder_folder))
    assert Run(tmp_path / "run").status == "interrupted"
    with pytest.raises(InterruptedRunError, match="at step"):
        sc.train(parts, output=tmp_path / "run", resume=True, **options(encoder_folder))
    run = sc.train(parts, output=tmp_path / "run", resume=True, **options(encoder_folder))
    assert len(taken) == steps  # no step was taken twice
    assert weights(run) == weights(whole)
    assert run.info["recipes"]["figures"] == whole.info["recipes"]["figures"]


@pytest.mark.slow
def test_the_command_says_what_it_compares_and_how_long_that_takes(
    quick, labelled_file, encoder_folder, tmp_path, capsys
):
    words = [labelled_file, "--text", "text", "--label", "area", "--id", "id", "--model", encoder_folder]
    with pytest.raises(SystemExit) as left:
        main(["train", *map(str, words), "--learning-rate", "5e-3", "--device", "cpu", "--output", str(tmp_path / "r")])
    out, err = capsys.readouterr()
    assert left.value.code in (0, None)
    assert "Few labels (72 texts of train, at most 800): frozen, tfidf, contrastive, full are compared on train" in err
    assert "seconds, at most" in err
    assert "Recipes by cross-validation on train (macro-f1, 2 folds;" in err
    assert "tfidf-logistic" in out
    with pytest.raises(SystemExit) as left:
        main(["train", *map(str, words), "--recipe", "frozen", "--epochs", "3", "--output", str(tmp_path / "x")])
    assert left.value.code == 2
    assert "Remove --epochs or --recipe frozen." in capsys.readouterr().err


@pytest.mark.slow
def test_the_estimator_compares_recipes_too(quick, encoder_folder):
    texts, labels = zip(*make_rows(40), strict=True)
    found = sc.SentenceClassifier(**options(encoder_folder)).fit(texts, labels)
    assert found.recipes_.fewest == 16
    named = sc.SentenceClassifier(**options(encoder_folder, recipe=found.recipes_.chosen)).fit(texts, labels)
    assert named.recipes_ is None
    assert (named.predict_proba(texts) == found.predict_proba(texts)).all()
