"""TF-IDF with logistic regression beside a run's model: what it was given, kept in the folder and shown."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.runs.folder import lead_of
from secondcoder.runs.run import Run
from secondcoder.training import baselines
from secondcoder.training.tfidf import TfidfSettings
from tests.tiny import make_rows

RIVAL = "tfidf-logistic"


@pytest.fixture(scope="module")
def run(encoder_folder, tmp_path_factory) -> Run:
    """A run of which some labels are wrong, so that temperature and threshold matter; test is closed."""
    rows = [
        {"text": text, "area": ("economic", "social")[i % 7 == 0 or label == "social"]}
        for i, (text, label) in enumerate(make_rows(150))
    ]
    corpus = sc.read(rows, text="text", label="area", positive="economic")
    return sc.train(
        sc.split(corpus, seed=7), output=tmp_path_factory.mktemp("runs") / "area", model=str(encoder_folder),
        freeze=0.0, epochs=1, device="cpu", tune_threshold=True,
    )  # fmt: skip


@pytest.fixture
def copied(run, tmp_path) -> Run:
    shutil.copytree(run.folder, tmp_path / "area")
    return Run(tmp_path / "area")


def test_what_it_was_given_stands_in_the_run(run):
    given = run.baselines["dev"][RIVAL]
    settings = TfidfSettings.from_dict(given["settings"])
    assert given["description"] == settings.description
    assert settings.metric == "f1:economic"
    assert settings.temperature != 1.0
    found = run.evaluations["dev"][RIVAL]
    assert found.thresholds == settings.thresholds
    assert list(found.thresholds) == ["economic"]
    assert found.uncalibrated is not None


def test_the_lead_is_over_its_labels_at_its_threshold(run):
    rows = run.part("dev")
    rival = baselines.fit_baselines(run.part("train"), rows, tune_threshold=True)[RIVAL]
    p, table = rival.predict_proba(rows.texts), pq.read_table(run.folder / "predictions.parquet")
    model = np.column_stack([table[f"probability_{name}"].to_numpy() for name in rows.label_names])
    expected = lead_of(rows, p, model, run.model.card.thresholds, of_baseline=rival.thresholds)
    assert run.leads["dev"][RIVAL] == expected
    main_figure = {d["name"]: d for d in expected["differences"]}["f1:economic"]
    by_figures = [run.evaluations["dev"][who].figure("f1:economic") for who in (RIVAL, "model")]
    assert main_figure["difference"] == pytest.approx(by_figures[1] - by_figures[0])


def test_evaluate_takes_what_was_chosen_and_chooses_nothing(copied, monkeypatch):
    def never(*args, **named):
        raise AssertionError("chosen again")

    monkeypatch.setattr(baselines, "choose_settings", never)
    copied.evaluate()
    assert copied.baselines["test"] == copied.baselines["dev"]
    assert copied.evaluations["test"][RIVAL].thresholds == copied.evaluations["dev"][RIVAL].thresholds


def test_a_run_of_an_earlier_version_is_evaluated_and_its_report_says_what_was_there(copied):
    given = copied.info.pop("baselines")
    copied.update()
    old = Run(copied.folder)
    page = old.write_report().read_text(encoding="utf-8")
    assert "counts words and word pairs." in page
    old.evaluate()
    assert old.baselines == {"test": given["dev"]}  # by the same rows of train and dev
    assert given["dev"][RIVAL]["description"].partition(",")[0] in (old.folder / "report.html").read_text("utf-8")


def test_it_is_shown(copied, capsys):
    described = copied.baselines["dev"][RIVAL]["description"]
    with pytest.raises(SystemExit):
        main(["evaluate", str(copied.folder)])
    assert f"{RIVAL}: {described}." in capsys.readouterr().out
    told = " ".join((copied.folder / "report.html").read_text(encoding="utf-8").split())
    said = described.replace("'", "&#39;")
    assert f"TF-IDF + logistic regression: {said}." in told  # under the heading of the baselines
    assert f"TF-IDF + logistic regression uses {said}." in told  # in the methods paragraph
    with pytest.raises(SystemExit):
        main(["evaluate", str(copied.folder), "--json"])
    assert json.loads(capsys.readouterr().out)["baselines"] == copied.baselines["dev"]


def test_folds_choose_each_for_themselves(copied):
    sc.cross_fit(copied, folds=2)
    each = [fold["baselines"][RIVAL]["settings"] for fold in Run(copied.folder).info["folds"]["each"]]
    assert len({settings["thresholds"]["economic"] for settings in each}) == 2
    found = copied.evaluations["folds"][RIVAL]
    assert found.thresholds == {}  # each row has its own
    assert "chosen anew in each fold" in (copied.folder / "report.html").read_text(encoding="utf-8")
