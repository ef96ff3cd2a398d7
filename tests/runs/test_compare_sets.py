"""Runs in which a text may have several labels, compared; and their leads over baselines."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

import secondcoder as sc
from secondcoder.cli import output
from secondcoder.cli.main import main
from secondcoder.errors import RunError
from secondcoder.runs.folder import RunFolder
from secondcoder.training.baselines import fit_baselines

NAMES = ("economic", "social", "other")


def write_run(folder: Path, signal: float, *, task: str = "multi-label", separator: str = ";") -> Path:
    """Write a run whose test part is open."""
    folder.mkdir()
    gold = np.random.default_rng(0).random((160, 3)) < (0.5, 0.3, 0.2)
    labels = [separator.join(np.array(NAMES)[row]) if task == "multi-label" else NAMES[row.argmax()] for row in gold]
    rows = [
        {"id": f"{i}", "part": "test" if i < 120 else "train", "text": f"text {i}", "label": label, "group": None}
        for i, label in enumerate(labels)
    ]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([(n, pa.string()) for n in rows[0]])), folder / "data.parquet")
    data = {"label_names": NAMES, "positive": None, "task": task, "source": "made up", "sha256": "0"}
    data |= {"separator": separator, "columns": {"text": "text", "label": "label"}}
    info = {"format": 1, "status": "complete", "seed": 1, "settings": {"train": {}}, "data": data, "test_openings": 1}
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    run = RunFolder(folder)
    p = expit(np.where(gold[:120], signal, -signal) + np.random.default_rng(3).normal(0, 1.5, (120, 3)))
    if task != "multi-label":
        p /= p.sum(axis=1, keepdims=True)
    thresholds = dict.fromkeys(NAMES, 0.4) if task == "multi-label" else None
    baselines = fit_baselines(run.part("train"))
    run.store_evaluation("test", run.part("test"), p, baselines=baselines, thresholds=thresholds)
    return folder


def test_runs_with_sets_are_compared_by_what_they_gave(tmp_path, capsys):
    first, second = write_run(tmp_path / "first", 0.5), write_run(tmp_path / "second", 2.0)
    found = sc.compare(first, second)
    for i, run in enumerate((first, second)):
        held = RunFolder(run).evaluations["test"]["model"]
        assert held.thresholds == dict.fromkeys(NAMES, 0.4)
        for d in found.differences:
            assert (d.first, d.second)[i] == pytest.approx(held.figure(d.name)), d.name
    assert found.difference("macro-f1").better == "second"
    with pytest.raises(SystemExit) as done:
        main(["compare", str(first), str(second)])
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "the same set of labels" in said
    assert "exact-match" in said


def test_sets_are_the_same_whatever_joined_them_in_the_files_that_were_read(tmp_path):
    first, second = write_run(tmp_path / "first", 0.5), write_run(tmp_path / "second", 2.0)
    other = write_run(tmp_path / "other", 2.0, separator="|")
    assert sc.compare(first, other).differences == sc.compare(first, second).differences


def test_the_lead_over_each_baseline_is_stored(tmp_path):
    run = RunFolder(write_run(tmp_path / "run", 2.0))
    leads = run.leads["test"]
    assert set(leads) == {"majority", "tfidf-logistic"}
    figures = run.evaluations["test"]
    first = leads["majority"]["differences"][0]
    assert first["name"] == "macro-f1"
    expected = figures["model"].figure("macro-f1") - figures["majority"].figure("macro-f1")
    assert first["difference"] == pytest.approx(expected)


def test_the_command_line_says_of_a_lead_whether_it_may_be_chance(tmp_path, capsys):
    run = RunFolder(write_run(tmp_path / "run", 2.0))
    output.say_winner(run, "test")
    said = capsys.readouterr().out
    assert "Lead over majority, text by text: macro-f1 +0." in said
    assert "may be chance" not in said
    stored = json.loads((run.folder / "leads.json").read_text(encoding="utf-8"))
    main_figure = stored["test"]["majority"]["differences"][0]
    main_figure["p_value"], main_figure["interval"]["low"] = 0.06, 0.0
    stored["test"]["tfidf-logistic"]["differences"][0] |= {"interval": None, "p_value": None, "reason": "why"}
    (run.folder / "leads.json").write_text(json.dumps(stored), encoding="utf-8")
    output.say_winner(run, "test")
    said = capsys.readouterr().out
    assert said.count(", which may be chance") == 1
    assert "Whether the lead over tfidf-logistic is more than chance cannot be said: why." in said


def test_runs_of_other_tasks_are_refused(tmp_path):
    first, second = write_run(tmp_path / "first", 1.0), write_run(tmp_path / "second", 1.0, task="multi-class")
    with pytest.raises(RunError, match="may have several"):
        sc.compare(first, second)


def test_runs_with_ordered_classes_are_compared_by_kappa_and_steps_too(tmp_path):
    first, second = (write_run(tmp_path / name, s, task="ordinal") for name, s in (("first", 0.3), ("second", 2.0)))
    found = sc.compare(first, second)
    for name in ("quadratic-kappa", "mean-absolute-error"):
        d = found.difference(name)
        held = [RunFolder(run).evaluations["test"]["model"].figure(name) for run in (first, second)]
        assert (d.first, d.second) == pytest.approx(tuple(held))
        assert d.better == "second"
        assert d.interval.low < d.difference < d.interval.high
