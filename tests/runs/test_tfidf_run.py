"""TF-IDF with logistic regression as the model of a run: trained, judged, explained, labelled with, reported."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import DataError, ModelError, SettingsError
from secondcoder.model.loading import load_encoder
from secondcoder.runs.curve import study_run, study_split, trace_curve
from secondcoder.runs.export import export_run
from secondcoder.runs.run import Run
from secondcoder.settings import OF_NETWORKS, CurveSettings, TrainOptions, TrainSettings
from secondcoder.storage import read_json
from secondcoder.training.baselines import TfidfLogistic
from tests.tiny import make_rows


def rows_of(n: int) -> list[dict[str, str]]:
    """Return texts, a seventh of the economic ones labelled wrongly, so that temperature and threshold matter."""
    return [
        {"text": text, "area": "social" if i % 7 == 0 else label}
        for i, (text, label) in enumerate(make_rows(n, seed=1))
    ]


def split_of(n: int = 150, **read: str) -> sc.Split:
    return sc.split(sc.read(rows_of(n), text="text", label="area", **read), seed=7)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    parts = split_of(positive="economic")
    return sc.train(parts, output=tmp_path_factory.mktemp("runs") / "area", model="tfidf", tune_threshold=True)


@pytest.fixture
def copied(run, tmp_path) -> Run:
    shutil.copytree(run.folder, tmp_path / "area")
    return Run(tmp_path / "area")


def test_it_says_what_the_baseline_of_the_same_rows_says(run):
    train, dev = run.part("train"), run.part("dev")
    rival = TfidfLogistic().fit(train, dev, tune_threshold=True)
    model = run.model
    np.testing.assert_allclose(model.predict_proba(dev.texts), rival.predict_proba(dev.texts), atol=1e-6)
    assert model.card.temperature == pytest.approx(rival.temperature, abs=1e-4)
    assert model.card.thresholds == pytest.approx(rival.thresholds, abs=1e-4)
    assert model.card.temperature != 1.0
    assert list(run.evaluations["dev"]) == ["model", "majority"]
    assert list(run.leads["dev"]) == ["majority"]


def test_its_folder_holds_json_and_safetensors_and_is_labelled_with(run, copied, tmp_path):
    assert {path.name for path in copied.model_folder.iterdir()} == {
        "secondcoder.json",
        "tfidf.safetensors",
        "README.md",
    }
    card = read_json(copied.model_folder / "secondcoder.json")
    assert (card["base_model"], "max_length" in card) == ("tfidf", False)
    texts = [text for text, _ in make_rows(700, seed=2)]
    (tmp_path / "in.csv").write_text("text\n" + "\n".join(texts) + "\n")
    found = sc.label(copied.folder, tmp_path / "in.csv", output=tmp_path / "out.parquet", probabilities=True)
    table = pq.read_table(tmp_path / "out.parquet")
    assert (found.labelled, found.truncated) == (700, 0)
    assert table["label"].to_pylist() == run.model.predict(texts)
    np.testing.assert_array_equal(table["probability_economic"].to_numpy(), run.model.predict_proba(texts)[:, 0])
    for shard in (1, 2):
        sc.label(copied, tmp_path / "in.csv", output=tmp_path / f"{shard}.parquet", shard=f"{shard}/2")
    with pytest.raises(SystemExit):
        main(["merge", *(str(tmp_path / f"{i}.parquet") for i in (1, 2)), "--output", str(tmp_path / "both.parquet")])
    assert pq.read_table(tmp_path / "both.parquet")["label"].equals(table["label"])


def test_it_is_evaluated_and_reported(copied, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", str(copied.folder)])
    assert "majority" in capsys.readouterr().out
    page = " ".join((copied.folder / "report.html").read_text(encoding="utf-8").split())
    assert "is this model itself: it counts" in page
    assert "Pedregosa et al. 2011" in page
    assert "language model was used" in page
    for absent in ("Wolf et al.", "pre-trained language model", "the epoch", "PyTorch", "tokens"):
        assert absent not in page
    card = (copied.model_folder / "README.md").read_text(encoding="utf-8")
    assert "pipeline(" not in card
    assert "base_model" not in card
    words = Run(copied.folder).info, read_json(copied.folder / "mistakes.json")["test"]["words"]
    assert words[1]
    assert any(word["weight"] for word in words[1][0]["words"])
    with pytest.raises(SystemExit):
        main(["show", str(copied.folder)])
    assert "counts" in capsys.readouterr().out


def test_folds_are_judged_by_models_of_the_same_kind(copied):
    found = sc.cross_fit(copied, folds=2)
    assert found.n == 150
    assert list(copied.evaluations["folds"]) == ["model", "majority"]


def test_a_curve_has_a_point_for_each_draw(copied, tmp_path):
    curve = trace_curve(study_run(copied), CurveSettings(sizes="30,60"), output=copied.folder, seeds=2)
    assert len(curve.points) == 6
    settings = TrainSettings(model="tfidf", seeds=2)  # of the curve
    study = study_split(split_of(), settings, seed=42)
    assert len(trace_curve(study, CurveSettings(sizes="40"), output=tmp_path / "curve", seeds=2).points) == 4


def test_the_same_texts_give_the_same_model_whatever_the_seed(run, copied, tmp_path):
    again = sc.train(
        split_of(positive="economic"), output=tmp_path / "again", model="tfidf", tune_threshold=True, seed=1
    )
    assert again.model.sha256 == run.model.sha256
    assert sc.compare(run, again, part="dev").differences[0].difference == 0


def test_an_error_asked_for_is_kept_by_a_confidence(tmp_path):
    run = sc.train(split_of(400), output=tmp_path / "area", model="tfidf", max_error=0.3)
    assert run.info["results"]["selection"]["max_error"] == 0.3
    assert run.model.card.min_confidence == run.info["results"]["selection"]["min_confidence"]


@pytest.mark.parametrize("scheme", ["multi-label", "ordinal"])
def test_every_label_scheme_has_it(scheme, tmp_path):
    kinds = ("economic", "economic;social", "social", "")
    rows = [
        {"text": text, "area": (kinds if scheme == "multi-label" else ("low", "middle", "high"))[i % 3]}
        for i, (text, _) in enumerate(make_rows(90))
    ]
    told = {"label_separator": ";"} if scheme == "multi-label" else {"ordinal": "low,middle,high"}
    run = sc.train(sc.split(sc.read(rows, text="text", label="area", **told)), output=tmp_path / "run", model="tfidf")
    saved = sc.load(run.folder)
    assert saved.card.task == scheme
    assert bool(saved.card.thresholds) is (scheme == "multi-label")
    p = saved.predict_proba(["tax and school"])
    assert p.shape == (1, len(saved.label_names))
    assert run.evaluate().n == len(run.part("test"))


def test_the_estimator_takes_it():
    texts, labels = zip(*make_rows(120), strict=True)
    fitted = sc.SentenceClassifier(model="tfidf").fit(texts, labels)
    assert fitted.predict(["tax tax market", "school health"]).tolist() == ["economic", "social"]
    assert fitted.best_epoch_ == 0


def test_options_of_networks_are_refused_in_one_sentence():
    with pytest.raises(SettingsError, match=r"no network, and --epochs, --lora would mean nothing") as caught:
        TrainSettings(model="tfidf", lora=4, epochs=2)
    assert caught.value.cure
    for name in OF_NETWORKS:
        assert hasattr(TrainOptions, name)
    # An option that is new says itself whether it concerns TF-IDF.
    concern = {"model", "seeds", "max_error", "tune_threshold", "population"}
    assert {*OF_NETWORKS, *concern} == set(TrainSettings().to_dict())


def test_what_it_cannot_is_refused_in_one_sentence(run, tmp_path):
    with pytest.raises(SettingsError, match="with 3 seeds, and nothing of it is chance"):
        sc.train(split_of(), output=tmp_path / "seeds", model="tfidf", seeds=3)
    assert not (tmp_path / "seeds").exists()
    with pytest.raises(SettingsError, match="nothing to tune"):
        sc.tune(split_of(), output=tmp_path / "tune", settings=TrainSettings(model="tfidf"))
    with pytest.raises(ModelError, match="OpenVINO and ONNX do not compute"):
        export_run(run, tmp_path / "onnx", form="onnx")
    with pytest.raises(ModelError, match="no choice of device"):
        sc.load(run.folder, device="cpu")
    for name in ("tfidf", str(run.folder)):
        with pytest.raises(ModelError, match="no tokens"):
            load_encoder(name)
    parts = split_of()
    shares = np.full((len(parts.train), 2), 0.5)
    with pytest.raises(SettingsError, match="shares of coders"):
        sc.train(replace(parts, train=replace(parts.train, shares=shares)), output=tmp_path / "s", model="tfidf")


def test_texts_of_one_label_set_teach_nothing(tmp_path):
    rows = [{"text": text, "area": "a;b"} for text, _ in make_rows(60)]
    corpus = sc.read(rows, text="text", label="area", label_separator=";")
    with pytest.raises(DataError, match="labelled the same"):
        sc.train(sc.split(corpus), output=tmp_path / "run", model="tfidf")
