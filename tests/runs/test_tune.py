import json
import os
import signal
from dataclasses import replace

import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import InterruptedRunError, RunError, SettingsError
from secondcoder.model.tokenisation import TextEncoder
from secondcoder.runs.curve import study_split
from secondcoder.runs.tune import _Tuning
from secondcoder.settings import TrainSettings, TuneSettings
from secondcoder.training.steps import Stepper
from tests.tiny import make_rows

pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def parts():
    rows = [{"id": f"t{i}", "text": text, "area": label} for i, (text, label) in enumerate(make_rows(60))]
    return sc.split(sc.read(rows, text="text", label="area", id="id"), seed=7)


@pytest.fixture(scope="module")
def settings(encoder_folder):
    return TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32", freeze=0.0, epochs=2)


@pytest.fixture(scope="module")
def tuned(parts, settings, tmp_path_factory):
    """Three trials, made without a break; returns the run and every text that was encoded meanwhile."""
    heard, encode = set(), TextEncoder.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextEncoder, "encode", lambda self, texts: heard.update(texts) or encode(self, texts))
        run = sc.tune(parts, output=tmp_path_factory.mktemp("tuned") / "run", trials=3, settings=settings, seed=5)
    return run, heard


def trials_of(folder):
    found = json.loads((folder / "tuning.json").read_text())
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in found["trials"]]


def weights(run):
    return json.loads((run.model_folder / "secondcoder.json").read_text())["weights_sha256"]


def test_the_best_trial_is_the_run_that_train_makes_with_its_settings(tuned, parts, tmp_path):
    run, _ = tuned
    stored = run.info["settings"]["train"]
    best = trials_of(run.folder)[run.info["tuning"]["best"]]
    assert {name: stored[name] for name in best["values"]} == best["values"]
    plain = sc.train(parts, output=tmp_path / "plain", seed=5, **stored)
    assert weights(plain) == weights(run)
    assert [e["macro-f1"] for e in plain.history] == [e["macro-f1"] for e in run.history]
    assert max(e["macro-f1"] for e in run.history) == best["best"]
    assert not (run.folder / "tuning").exists()
    assert not (run.folder / "checkpoints").exists()


def test_the_first_trial_is_the_settings_as_they_are_and_the_run_says_it_was_chosen(tuned, settings):
    run, _ = tuned
    trials = trials_of(run.folder)
    assert len(trials) == 3
    assert (trials[0]["values"]["epochs"], trials[0]["values"]["batch_size"]) == (2, 16)
    assert trials[0]["values"]["learning_rate"] == 1e-4  # of a small model
    assert run.info["tuning"]["best_on_dev"] == max(t["best"] for t in trials if t["state"] == "complete")
    assert any(f["kind"] == "tuned" and "3 trials" in f["message"] for f in run.info["results"]["findings"])
    report = (run.folder / "report.html").read_text()
    assert "chosen on dev among 3 trials" in report
    assert "the best on dev of 3 trials" in report


def test_dev_alone_is_asked(tuned, parts):
    _, heard = tuned
    assert heard >= {*parts.train.texts, *parts.dev.texts}
    assert heard.isdisjoint(parts.test.texts)


def test_a_stopped_tuning_goes_on_to_the_same_end(tuned, parts, settings, tmp_path, monkeypatch):
    real, taken = Stepper.take, []

    def press(self, *given, **named):
        taken.append(1)
        if len(taken) == 6:  # the first trial takes 3 steps in each of 2 epochs
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    with monkeypatch.context() as pressed:
        pressed.setattr(Stepper, "take", press)
        with pytest.raises(InterruptedRunError, match=r"Trial \d of 3: ") as caught:
            sc.tune(parts, output=tmp_path / "run", trials=3, settings=settings, seed=5)
    assert "same command" in caught.value.cure
    with pytest.raises(RunError, match="other data or settings"):  # the checkpoints are of these
        sc.tune(parts, output=tmp_path / "run", trials=3, settings=replace(settings, epochs=3), seed=5)
    again = sc.tune(parts, output=tmp_path / "run", trials=3, settings=settings, seed=5)
    assert trials_of(again.folder) == trials_of(tuned[0].folder)
    assert weights(again) == weights(tuned[0])
    before = (again.folder / "tuning.json").read_bytes()
    assert weights(sc.tune(parts, output=tmp_path / "run", trials=3, settings=settings, seed=5)) == weights(again)
    assert (again.folder / "tuning.json").read_bytes() == before
    with pytest.raises(RunError, match="other data or settings"):
        sc.tune(parts, output=tmp_path / "run", trials=3, settings=settings, seed=6)


def test_what_cannot_be_tuned_is_refused(parts, settings, tmp_path, encoder_folder):
    frozen = TrainSettings(model=str(encoder_folder), device="cpu", recipe="frozen")
    with pytest.raises(SettingsError, match="nothing to tune"):
        sc.tune(parts, output=tmp_path / "a", settings=frozen)
    named = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 4}
    with pytest.raises(SettingsError, match="Everything that is searched was named"):
        sc.tune(parts, output=tmp_path / "c", settings=TrainSettings(model=str(encoder_folder), device="cpu", **named))
    with pytest.raises(SettingsError, match="seeds is 3"):
        sc.tune(parts, output=tmp_path / "b", settings=TrainSettings(seeds=3))
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="something else"):
        sc.tune(parts, output=tmp_path, settings=settings)
    for wrong in ({"trials": 0}, {"timeout": 0.0}):
        with pytest.raises(SettingsError):
            TuneSettings(**wrong)


def test_what_train_would_refuse_is_refused_before_the_first_trial(parts, settings, tmp_path, monkeypatch):
    """Not after hours of them, when the run of the best one is made."""
    monkeypatch.setattr("secondcoder.runs.tune.fit_pretrained", lambda *_, **__: pytest.fail("a trial was begun"))
    with pytest.raises(SettingsError, match="tune_threshold"):
        sc.tune(parts, output=tmp_path / "a", settings=replace(settings, tune_threshold=True))
    with pytest.raises(SettingsError, match="no weight for 'social'"):
        sc.tune(parts, output=tmp_path / "a", settings=replace(settings, class_weights={"economic": 2.0}))
    sets = [{"text": text, "area": [label]} for text, label in make_rows(60)]
    several = sc.split(sc.read(sets, text="text", label="area"), seed=7)
    contrastive = replace(settings, recipe="contrastive", epochs=None, freeze=None)
    with pytest.raises(SettingsError, match="may have several"):
        sc.tune(several, output=tmp_path / "a", settings=contrastive)
    with pytest.raises(SettingsError, match="may have several"):
        study_split(several, contrastive, seed=1)
    assert not (tmp_path / "a").exists()


def test_shares_of_coders_belong_to_what_a_tuning_is_of(settings, tmp_path):
    """Other shares with the same most frequent classes are other data."""

    def of(parts):
        return _Tuning(parts.train, parts.dev, settings, 5, tmp_path)._key

    def shared(most):
        rows = [
            {"text": text, "e": most if label == "economic" else 0, "s": 1 if label == "social" else 1 - most}
            for text, label in make_rows(60)
        ]
        return sc.split(sc.read(rows, text="text", label_shares=("e", "s")), seed=7)

    one, two = shared(0.75), shared(1.0)
    assert one.train.labels == two.train.labels
    assert of(one) == of(shared(0.75)) != of(two)


@pytest.mark.slow
def test_ctrl_c_in_the_command_leaves_with_130_and_it_goes_on(
    labelled_file, encoder_folder, tmp_path, monkeypatch, capsys
):
    real, taken = Stepper.take, []

    def press(self, *given, **named):
        taken.append(1)
        if len(taken) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    monkeypatch.setattr(Stepper, "take", press)
    words = [labelled_file, "--text", "text", "--label", "area", "--id", "id", "--model", encoder_folder]
    words = [
        "tune",
        *words,
        "--epochs",
        2,
        "--freeze",
        0,
        "--device",
        "cpu",
        "--trials",
        2,
        "--output",
        tmp_path / "run",
    ]
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    assert left.value.code == 130
    assert "The same command goes on" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    out, _ = capsys.readouterr()
    assert left.value.code in (0, None)
    assert "Trials on dev" in out
    assert "Next: secondcoder evaluate" in out
