"""Openings of the test part: which count, what is written down when, and what is told of them."""

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import StorageError
from secondcoder.model.model import Model
from secondcoder.runs import openings
from secondcoder.runs import run as run_module
from secondcoder.runs.openings import changes, opening, openings_of
from secondcoder.runs.report import report_content
from secondcoder.runs.run import Run
from tests.reporting.made import Page
from tests.tiny import make_rows


@pytest.fixture(scope="module")
def run(encoder_folder, tmp_path_factory) -> Run:
    """A complete run with its test part closed; tests that change it work on a copy."""
    rows = [{"text": text, "area": label} for text, label in make_rows(60)]
    return sc.train(
        sc.split(sc.read(rows, text="text", label="area"), seed=7),
        output=tmp_path_factory.mktemp("runs") / "area",
        model=str(encoder_folder),
        learning_rate=5e-3,
        epochs=1,
        device="cpu",
        seed=5,
    )


@pytest.fixture
def copied(run, tmp_path) -> Run:
    return copy_of(run, tmp_path / "runs" / "area")


def copy_of(run: Run, folder: Path, **train) -> Run:
    """A copy of a run, perhaps with other settings."""
    shutil.copytree(run.folder, folder)
    made = Run(folder)
    settings = made.info["settings"]
    made.update(settings=settings | {"train": settings["train"] | train})
    return made


def book_of(run: Run) -> list[dict]:
    path = run.folder.parent / "test-use.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def states(run: Run) -> list[str]:
    return [line["state"] for line in book_of(run)]


def kill_in(monkeypatch, owner, name: str, run: Run) -> None:
    """Evaluate a run in a fork that is killed when it comes to a function."""
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        try:
            run.evaluate()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def page_of(run: Run) -> str:
    return Page((run.folder / "report.html").read_text(encoding="utf-8")).text


def test_an_evaluate_that_is_killed_at_its_start_is_written_down_as_crashed_and_not_counted(
    copied, monkeypatch, capsys
):
    kill_in(monkeypatch, Model, "score", copied)
    assert states(copied) == ["begun"]
    with pytest.raises(SystemExit):
        main(["evaluate", str(copied.folder)])
    assert states(copied) == ["begun", "crashed", "begun", "seen"]
    again = Run(copied.folder)
    assert again.info["test_openings"] == 1
    said = "opened once. One more ended before a figure was seen, not counted."
    assert said in " ".join(capsys.readouterr().out.split())
    text = page_of(again)
    assert "The test part was opened 2 times" not in text
    assert "The test part was opened once. One further opening of the test part ended before a figure was seen" in text
    assert "crashed before a figure was seen, not counted" in text


def test_what_was_computed_and_not_written_does_not_count(copied, monkeypatch):
    kill_in(monkeypatch, run_module, "judge_part", copied)
    assert states(copied) == ["begun"]
    assert "test" not in Run(copied.folder).evaluations


def test_from_the_first_file_with_a_figure_on_it_counts(copied, monkeypatch):
    kill_in(monkeypatch, Run, "store", copied)
    assert states(copied) == ["begun", "seen"]
    assert [one.state for one in openings_of(copied)] == ["seen"]
    again = Run(copied.folder)
    again.evaluate()
    assert again.info["test_openings"] == 2


def test_an_error_before_a_figure_is_written_down_and_is_told_itself(copied, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as failing:
        failing.setattr(run_module, "fit_baselines", fail)
        with pytest.raises(KeyboardInterrupt):
            copied.evaluate()
    assert states(copied) == ["begun", "crashed"]
    assert copied.info.get("test_openings", 0) == 0
    copied.write_report()
    text = page_of(copied)
    assert "test opened never; 1 opening ended before a figure was seen, not counted" in text
    assert "One opening of the test part ended before a figure was seen, and is not counted." in text
    assert report_content(copied).crashed == 1


def test_nothing_is_written_where_the_opening_cannot_be(copied, monkeypatch):
    real = openings.append_json_line

    def full(path, value):
        if value["state"] != "begun":
            raise StorageError("Cannot write: no space left.", "Free space.")
        real(path, value)

    before = {path: path.read_bytes() for path in copied.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(openings, "append_json_line", full)
    with pytest.raises(StorageError, match="no space"):
        copied.evaluate()
    after = {path: path.read_bytes() for path in copied.folder.rglob("*") if path.is_file()}
    assert after == before


def test_the_opening_is_on_the_disk_before_a_figure_is(copied, monkeypatch):
    seen, real = [], Run.store

    def store(self, judged):
        seen.extend(states(self))
        real(self, judged)

    monkeypatch.setattr(Run, "store", store)
    copied.evaluate()
    assert seen == ["begun", "seen"]


def test_a_book_of_an_earlier_version_is_read_each_line_as_seen(copied):
    copied.evaluate()
    key = book_of(copied)[0]["test"]
    line = {"test": key, "rows": 12, "run": "gone", "model": "0" * 64, "time": "2026-01-02T10:00:00+00:00"}
    book = copied.folder.parent / "test-use.jsonl"
    book.write_text(json.dumps(line) + "\n" + book.read_text(), encoding="utf-8")
    again = Run(copied.folder)
    again.evaluate()
    assert again.info["test_openings"] == 3
    found = openings_of(again)
    assert [(one.run, one.state) for one in found] == [("gone", "seen"), ("area", "seen"), ("area", "seen")]
    assert [changes(*pair) for pair in pairwise(found)] == [None, []]


def test_old_lines_take_their_settings_from_the_run_while_it_holds_that_model(copied):
    copied.evaluate()
    old = [line for line in book_of(copied) if line["state"] == "begun"]
    for line in old:
        for name in ("opening", "state", "settings"):
            line.pop(name)
    book = copied.folder.parent / "test-use.jsonl"
    book.write_text("".join(json.dumps(line) + "\n" for line in old), encoding="utf-8")
    assert openings_of(copied)[0].settings["epochs"] == 1
    results = copied.info["results"]
    copied.update(results=results | {"weights_sha256": "another"})
    assert openings_of(copied)[0].settings is None


def test_what_changed_between_openings_is_told_with_what_follows_from_it(run, copied):
    copied.evaluate()
    other = copy_of(run, copied.folder.parent / "second", epochs=4, learning_rate=2e-5)
    other.update(results=other.info["results"] | {"learning_rate": 2e-5})
    with opening(other, other.part("test"), by="1" * 64) as about_to_show:
        assert about_to_show() == 2
    first, second = openings_of(other)
    assert changes(first, second) == ["epochs 4 (before: 1)", "learning rate 2e-05 (before: 0.005)"]
    copied.write_report()  # the first run tells of the second as well
    text = page_of(copied)
    assert "The test part was opened 2 times: first for the run “area”" in text
    assert "then for “second”" in text
    assert "with epochs 4 (before: 1) and learning rate 2e-05 (before: 0.005). What was changed after a look" in text
    assert "figures on test are to be read as those of dev" in text


def test_looking_at_one_model_twice_chooses_nothing(copied):
    copied.evaluate()
    copied.evaluate()
    text = page_of(copied)
    assert copied.info["test_openings"] == 2
    assert "opened 2 times, each time to judge this same model" in text
    assert "read as those of dev" not in text
    assert "treat its figures as those of dev" not in text


def test_a_model_that_took_the_place_of_the_one_that_was_judged_is_not_called_the_same(copied):
    copied.evaluate()
    copied.evaluate()
    copied.update(results=copied.info["results"] | {"weights_sha256": "2" * 64})
    assert not report_content(copied).always_same_model
    copied.write_report()
    assert "this same model" not in page_of(copied)


def test_population_is_no_change_and_neither_is_another_number_of_test_rows(run, copied):
    copied.evaluate()
    other = copy_of(run, copied.folder.parent / "second", population="all speeches of 2021")
    with opening(other, other.part("test"), by="1" * 64) as about_to_show:
        about_to_show()
    assert changes(*openings_of(other)) == []
    assert openings_of(copy_of(run, copied.folder.parent.parent / "alone" / "area")) == []


def test_runs_side_by_side_are_counted_each_once(run, tmp_path):
    runs = [copy_of(run, tmp_path / "runs" / f"r{i}") for i in range(8)]

    def look(made: Run) -> int:
        with opening(made, made.part("test"), by=made.info["results"]["weights_sha256"]) as about_to_show:
            return about_to_show()

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(look, runs))
    assert sorted(states(runs[0])) == ["begun"] * 8 + ["seen"] * 8
    assert max(counts) == 8
    assert [one.state for one in openings_of(runs[3])] == ["seen"] * 8
    assert report_content(runs[0]).test_openings == 8


def test_what_another_run_has_begun_is_left_alone(run, copied):
    other = copy_of(run, copied.folder.parent / "second")
    with opening(other, other.part("test"), by="1" * 64) as about_to_show:
        copied.evaluate()
        assert states(copied) == ["begun", "begun", "seen"]
        assert copied.info["test_openings"] == 1
        about_to_show()
    assert Run(other.folder).info["test_openings"] == 2


def test_a_run_that_is_named_by_a_dot_is_known_by_its_folder(copied, monkeypatch):
    monkeypatch.chdir(copied.folder)
    Run(".").evaluate()
    assert book_of(copied)[0]["run"] == "area"
