"""What the hand-labelled texts are: said once, stored in the run, told in the methods paragraph."""

import json

import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import SettingsError
from secondcoder.runs.run import Run
from tests.reporting.made import Page
from tests.tiny import make_rows

SAID = "a random sample of 60 sentences of all speeches of 2021"


def page_of(run: Run) -> str:
    return Page((run.folder / "report.html").read_text(encoding="utf-8")).text


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code)


def train(encoder_folder, output, **more) -> Run:
    rows = [{"text": text, "area": label} for text, label in make_rows(60)]
    split = sc.split(sc.read(rows, text="text", label="area"), seed=7)
    return sc.train(split, output=output, model=str(encoder_folder), epochs=1, device="cpu", **more)


def test_it_is_said_at_training_or_later_by_report(encoder_folder, tmp_path, capsys):
    run = train(encoder_folder, tmp_path / "run", population=SAID)
    assert run.info["settings"]["train"]["population"] == SAID
    assert f"The hand-labelled texts are {SAID}." in page_of(run)
    card = (run.model_folder / "README.md").read_text(encoding="utf-8")
    assert SAID in card
    assert command("report", run.folder, "--population", "all of them") == 0
    assert "The hand-labelled texts are all of them." in page_of(Run(run.folder))
    assert command("report", run.folder) == 0
    assert "The hand-labelled texts are all of them." in page_of(Run(run.folder))
    assert command("report", run.folder, "--population", " ") == 2
    assert "population is ' '" in capsys.readouterr().err
    # It changes no result: the same training goes on, or is done, whatever is said.
    again = train(encoder_folder, tmp_path / "run", resume=True)
    assert again.info["settings"]["train"]["population"] == "all of them"


def test_of_a_run_of_before_there_is_a_gap(encoder_folder, tmp_path):
    run = train(encoder_folder, tmp_path / "run")
    path = run.folder / "run.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    del info["settings"]["train"]["population"], info["results"]["pretrained_sha256"], info["results"]["backend_choice"]
    path.write_text(json.dumps(info), encoding="utf-8")
    old = Run(run.folder)
    old.write_report()
    assert "The hand-labelled texts are [Fill in: " in page_of(old)
    assert "SHA-256 of its weights" not in page_of(old)


def test_the_weights_in_a_folder_are_named_by_their_hash(encoder_folder, tmp_path):
    run = train(encoder_folder, tmp_path / "run")
    found = run.info["results"]["pretrained_sha256"]
    assert len(found) == 64
    assert f"SHA-256 of its weights {found[:16]}…" in page_of(run)


def test_one_that_is_interrupted_may_be_told_when_it_goes_on(encoder_folder, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("secondcoder.runs.train.keep", stop)
        with pytest.raises(KeyboardInterrupt):
            train(encoder_folder, tmp_path / "run")
    run = train(encoder_folder, tmp_path / "run", resume=True, population=SAID)
    assert f"The hand-labelled texts are {SAID}." in page_of(run)


def test_it_is_a_text_wherever_it_is_said():
    with pytest.raises(SettingsError, match="population is 3"):
        sc.SentenceClassifier(population=3).fit(["a b", "c d"] * 4, ["x", "y"] * 4)
