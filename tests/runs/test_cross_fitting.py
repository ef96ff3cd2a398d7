import json
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import InterruptedRunError, RunError, SettingsError, SplitError
from secondcoder.model.model import Model
from secondcoder.model.tokenisation import TextEncoder
from secondcoder.progress import Progress
from secondcoder.runs import cross_fitting
from secondcoder.runs.cross_fitting import cross_fit
from secondcoder.runs.run import Run
from secondcoder.splits.folds import make_folds
from secondcoder.splits.split import RULES
from secondcoder.storage import locked
from secondcoder.training import activation_cache, loop
from secondcoder.training.steps import Stepper
from secondcoder.training.text_pool import TextPool
from tests.tiny import make_rows


@pytest.fixture(scope="module")
def run(encoder_folder, tmp_path_factory) -> Run:
    """A complete run on 120 texts of 12 groups; tests that change it work on a copy."""
    return sc.train(
        sc.split(read_rows(), seed=7),
        output=tmp_path_factory.mktemp("runs") / "area",
        model=str(encoder_folder),
        learning_rate=5e-3,
        epochs=4,
        freeze=0.0,
        device="cpu",
        seed=5,
    )


@pytest.fixture
def copied(run, tmp_path) -> Run:
    return copy_of(run, tmp_path / "runs" / "area")


@pytest.fixture(scope="module")
def folded(run, tmp_path_factory) -> Run:
    """A run with three folds, made without a break."""
    made = copy_of(run, tmp_path_factory.mktemp("folded") / "area")
    cross_fit(made, 3)
    return made


def copy_of(run, folder) -> Run:
    shutil.copytree(run.folder, folder)
    return Run(folder)


def read_rows(groups: int = 12):
    rows = make_rows(120)
    named = [
        {"id": f"t{i}", "text": text, "area": label, "doc": f"g{i * groups // 120}"}
        for i, (text, label) in enumerate(rows)
    ]
    return sc.read(named, text="text", label="area", id="id", group="doc")


def all_rows(run) -> dict[str, tuple[str, str, str]]:
    """Return text, label and group by id, of all three parts."""
    parts = [run.part(part) for part in ("train", "dev", "test")]
    return {row[0]: row[1:] for p in parts for row in zip(p.ids, p.texts, p.labels, p.groups, strict=True)}


def test_every_row_has_one_prediction_and_no_group_stands_in_two_folds(folded):
    rows, table = all_rows(folded), pq.read_table(folded.folder / "folds.parquet").to_pylist()
    assert Counter(row["id"] for row in table) == dict.fromkeys(rows, 1)
    assert all(row["label"] == rows[row["id"]][1] for row in table)
    folds_of = {group: {row["fold"] for row in table if rows[row["id"]][2] == group} for *_, group in rows.values()}
    assert {len(folds) for folds in folds_of.values()} == {1}
    assert Counter(row["fold"] for row in table) == {1: 40, 2: 40, 3: 40}
    for row in table:
        probabilities = {name: row[f"probability_{name}"] for name in ("economic", "social")}
        assert sum(probabilities.values()) == pytest.approx(1)
        assert row["predicted"] == max(probabilities, key=probabilities.get)


def test_figures_are_those_of_all_rows_beside_baselines_of_the_same_folds(folded, run):
    table = pq.read_table(folded.folder / "folds.parquet").to_pylist()
    by_who = Run(folded.folder).evaluations["folds"]
    assert list(by_who) == ["model", "majority", "tfidf-logistic"]
    assert {e.n for e in by_who.values()} == {120}
    assert by_who["model"].accuracy == np.mean([row["label"] == row["predicted"] for row in table])
    assert by_who["tfidf-logistic"].accuracy > 0.8
    assert folded.evaluations["dev"]["model"].to_dict() == run.evaluations["dev"]["model"].to_dict()


def test_each_fold_has_its_figures_and_they_have_a_spread(folded):
    made = Run(folded.folder).info["folds"]
    table = pq.read_table(folded.folder / "folds.parquet").to_pylist()
    assert (made["n_folds"], made["rows"], made["by"], made["groups"]) == (3, 120, "group", 12)
    accuracies = [np.mean([r["label"] == r["predicted"] for r in table if r["fold"] == fold]) for fold in (1, 2, 3)]
    assert [entry["figures"]["accuracy"] for entry in made["each"]] == pytest.approx(accuracies)
    assert made["mean"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert made["standard_deviation"]["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    assert {"f1:social", "recall:economic", "log-loss"} <= made["standard_deviation"].keys()


def test_the_runs_own_model_is_not_changed_and_nothing_is_left_behind(folded, run):
    assert folded.model.sha256 == run.model.sha256
    left = {path.name for path in folded.folder.iterdir()} - {path.name for path in run.folder.iterdir()}
    assert left == {"folds.parquet"}


def test_a_fold_model_never_sees_what_it_predicts_nor_its_groups(copied, monkeypatch):
    learned, predicted = [], []
    real_fit, real_score = loop.fit, Model.score

    def spy_fit(model, train, dev, **named):
        learned.append((train, dev))
        return real_fit(model, train, dev, **named)

    def spy_score(self, texts, **named):
        predicted.append(set(texts))
        return real_score(self, texts, **named)

    monkeypatch.setattr("secondcoder.training.seeds.fit", spy_fit)
    monkeypatch.setattr(Model, "score", spy_score)
    cross_fit(copied, 3)
    rows = all_rows(copied)
    group_of = {text: group for text, _, group in rows.values()}
    assert set.union(*predicted) == set(group_of)
    for (train, dev), texts in zip(learned, predicted, strict=True):
        parts = [set(train.texts), set(dev.texts), texts]
        assert set.union(*parts) == set(group_of)
        groups = [{group_of[text] for text in part} for part in parts]
        assert not any(groups[i] & groups[j] or parts[i] & parts[j] for i in range(3) for j in range(i))
        # dev has the share of the rows to learn from that it has in the run: 24 of 96, in groups of ten
        assert len(dev) == 20


def test_stopped_in_a_fold_and_between_folds_it_goes_on_to_the_same_end(folded, copied, monkeypatch):
    real_take, steps = Stepper.take, []

    def press(self, *given, **named):
        steps.append(given)
        if len(steps) == 25:  # a fold takes 16 steps
            os.kill(os.getpid(), signal.SIGINT)
        return real_take(self, *given, **named)

    with monkeypatch.context() as pressed:
        pressed.setattr(Stepper, "take", press)
        with pytest.raises(InterruptedRunError, match=r"Fold 2 of 3: .*everything is saved") as caught:
            cross_fit(copied, 3)
    assert "same command" in caught.value.cure
    assert copied.evaluations.keys() == {"dev"}
    with pytest.raises(RunError, match="3 folds that are not all done, and 4"):
        cross_fit(Run(copied.folder), 4)

    real_do = cross_fitting._Work.do

    def die(self, number, *given):
        if number == 3:
            raise KeyboardInterrupt
        real_do(self, number, *given)

    with monkeypatch.context() as killed:
        killed.setattr(cross_fitting._Work, "do", die)
        with pytest.raises(KeyboardInterrupt):
            cross_fit(Run(copied.folder), 3)
    again, trained = Run(copied.folder), []
    with monkeypatch.context() as counted:
        counted.setattr(Stepper, "take", lambda *given, **named: trained.append(1) or real_take(*given, **named))
        cross_fit(again, 3)
    assert len(trained) < 20  # of the third fold only
    tables = [pq.read_table(made.folder / "folds.parquet") for made in (again, folded)]
    assert tables[0].equals(tables[1])
    assert again.evaluations["folds"]["model"].to_dict() == folded.evaluations["folds"]["model"].to_dict()
    assert (again.info["test_openings"], len(book_of(again))) == (1, 1)


@pytest.mark.slow
def test_frozen_layers_and_token_ids_are_computed_once_for_all_folds_to_the_same_bits(
    encoder_folder, tmp_path, monkeypatch
):
    run = sc.train(
        sc.split(read_rows(), seed=7),
        output=tmp_path / "a" / "area",
        model=str(encoder_folder),
        learning_rate=5e-3,
        epochs=2,
        freeze=0.5,
        seeds=2,
        device="cpu",
        seed=5,
    )
    other, computed, tokenised = copy_of(run, tmp_path / "b" / "area"), [], []
    real, real_encode = activation_cache.cache_activations, TextEncoder.encode

    def spy(network, encoder, encoded, *given, **named):
        computed.append(len(encoded))
        return real(network, encoder, encoded, *given, **named)

    monkeypatch.setattr(activation_cache, "cache_activations", spy)
    monkeypatch.setattr(
        TextEncoder, "encode", lambda self, texts: tokenised.append(len(texts)) or real_encode(self, texts)
    )
    cross_fit(run, 3)
    assert computed == [120]
    # what is predicted is tokenised for itself, and the temperature is tried on a few words
    assert [n for n in tokenised if n > 3] == [120, 40, 40, 40]
    monkeypatch.setattr(cross_fitting, "TextPool", lambda *_: TextPool())  # nothing is shared
    cross_fit(other, 3)
    assert computed == [120, *[60] * 6]
    tables = [pq.read_table(made.folder / "folds.parquet") for made in (run, other)]
    assert tables[0].equals(tables[1])
    assert run.evaluations["folds"]["model"].to_dict() == other.evaluations["folds"]["model"].to_dict()
    assert not list(tmp_path.rglob("*.f16"))


def test_folds_that_an_earlier_version_began_go_on_unless_it_divided_the_rows_in_another_way(copied, monkeypatch):
    real_do = cross_fitting._Work.do

    def die(self, number, *given):
        if number == 2:
            raise KeyboardInterrupt
        real_do(self, number, *given)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(cross_fitting._Work, "do", die)
        cross_fit(copied, 3)
    work = copied.folder / "folds"
    plan = json.loads((work / "plan.json").read_text())
    assert plan.pop("split_rules") == RULES
    table = pq.read_table(work / "fold-1.parquet")
    (work / "plan.json").write_text(json.dumps(plan))
    pq.write_table(table.take([*range(39), 0]), work / "fold-1.parquet")
    monkeypatch.setattr(Stepper, "take", lambda *_, **__: pytest.fail("trained before it was refused"))
    with pytest.raises(RunError, match=r"fold-1\.parquet was made by an earlier version") as caught:
        cross_fit(Run(copied.folder), 3)
    assert f"Remove the folder {work}" in caught.value.cure
    pq.write_table(table, work / "fold-1.parquet")
    with pytest.raises(pytest.fail.Exception, match="trained before"):  # goes on with fold 2
        cross_fit(Run(copied.folder), 3)
    assert json.loads((work / "plan.json").read_text())["split_rules"] == RULES


def test_folds_open_the_test_part_as_evaluate_does(folded, tmp_path):
    made = copy_of(folded, tmp_path / "runs" / "area")
    shutil.copy(folded.folder.parent / "test-use.jsonl", tmp_path / "runs")
    made.evaluate()
    lines = book_of(made)
    assert len({line["test"] for line in lines}) == 1
    assert Run(made.folder).info["test_openings"] == len(lines) == 2
    assert list(made.evaluations) == ["dev", "folds", "test"]


def book_of(run):
    """Return the lines of openings that count."""
    lines = [json.loads(line) for line in (run.folder.parent / "test-use.jsonl").read_text().splitlines()]
    return [line for line in lines if line["state"] == "seen"]


def test_done_folds_are_not_done_again(folded, monkeypatch):
    monkeypatch.setattr(Stepper, "take", lambda *_, **__: pytest.fail("trained again"))
    before = Run(folded.folder).info
    assert cross_fit(Run(folded.folder), 3) == folded.evaluations["folds"]["model"]
    assert Run(folded.folder).info == before


def test_another_number_of_folds_does_not_take_the_place_of_those_that_are_done(folded, tmp_path, monkeypatch):
    made = copy_of(folded, tmp_path / "area")
    monkeypatch.setattr(cross_fitting._Work, "do", lambda *_: pytest.fail("trained again"))
    before = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="holds 3 finished folds, and 2 were asked for") as caught:
        cross_fit(made, 2)
    assert f"remove {made.folder / 'folds.parquet'}" in caught.value.cure
    assert {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()} == before
    (made.folder / "folds.parquet").unlink()
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        cross_fit(made, 2)


def test_folds_wait_for_no_other_process(copied):
    with locked(copied.folder), pytest.raises(RunError, match="is in use"):
        cross_fit(copied, 3)


@pytest.mark.parametrize(
    ("groups", "folds", "message"),
    [(2, 2, r"2 group\(s\), and folds over groups need 3"), (4, 5, r"4 group\(s\) for 5 folds")],
)
def test_too_few_groups_are_refused_with_a_cure(groups, folds, message):
    with pytest.raises(SplitError, match=message) as caught:
        make_folds(read_rows(groups), folds, dev=0.25, seed=1)
    assert caught.value.cure


def test_one_fold_is_none(run):
    with pytest.raises(SettingsError, match="at least 2"):
        cross_fit(run, 1)


def test_the_command_says_what_came_out_and_that_test_was_opened(folded, monkeypatch, capsys):
    monkeypatch.setattr(Stepper, "take", lambda *_, **__: pytest.fail("trained again"))
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(folded.folder), "--folds", "3"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    for expected in ("120 texts", "tfidf-logistic", "standard deviation", "opened once", "folds.parquet", "its group"):
        assert expected in out
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(folded.folder), "--folds", "3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (left.value.code, found["folds"]["n_folds"], found["model"]["n"]) == (0, 3, 120)
    assert list(found) == ["part", "findings", "test_openings", "folds", "model", "majority", "tfidf-logistic"]
    assert found["part"] == "folds"
    assert found["findings"] == folded.info["data"]["findings"]


def test_ctrl_c_in_the_command_leaves_with_130_and_it_goes_on(folded, copied, monkeypatch, capsys):
    real, taken = Stepper.take, []

    def press(self, *given, **named):
        taken.append(1)
        if len(taken) == 20:  # a fold takes 16 steps
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    monkeypatch.setattr(Stepper, "take", press)
    words = ["evaluate", str(copied.folder), "--folds", "3"]
    with pytest.raises(SystemExit) as left:
        main(words)
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (130, "")
    assert "Fold 2 of 3" in err
    assert "The same command goes on" in err
    with pytest.raises(SystemExit) as left:
        main(words)
    out, err = capsys.readouterr()
    assert left.value.code == 0
    assert "opened once" in out
    assert len(taken) == 3 * 16
    tables = [pq.read_table(run.folder / "folds.parquet") for run in (copied, folded)]
    assert tables[0].equals(tables[1])


def test_a_file_beside_folds_is_refused(folded, capsys):
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(folded.folder), "new.csv", "--folds", "3"])
    assert left.value.code == 2
    assert "Name one of the two" in capsys.readouterr().err


def test_max_error_keeps_half_of_dev_for_the_guarantee_in_folds_too(encoder_folder, tmp_path):
    run = sc.train(
        sc.split(replace(read_rows(), groups=None), seed=7),
        output=tmp_path / "area",
        model=str(encoder_folder),
        learning_rate=5e-3,
        epochs=1,
        device="cpu",
        seed=5,
        max_error=0.4,
    )
    cross_fit(run, 2)
    for fold in run.info["folds"]["each"]:
        assert fold["selection"]["max_error"] == 0.4
        assert fold["selection"]["n"] > 0
        assert fold["dev"] + fold["selection"]["n"] + fold["train"] + fold["rows"] == 120


def test_without_max_error_folds_hold_what_they_always_held(folded):
    assert all("selection" not in fold for fold in folded.info["folds"]["each"])


def test_a_fold_whose_dev_cannot_be_halved_keeps_it_whole_and_says_so(encoder_folder, tmp_path):
    said = []

    class Heard(Progress):
        def say(self, message):
            said.append(message)

    run = sc.train(
        sc.split(read_rows(), seed=7),
        output=tmp_path / "area",
        model=str(encoder_folder),
        epochs=1,
        device="cpu",
        max_error=0.4,
    )
    cross_fit(run, 2, progress=Heard())
    without = [fold for fold in run.info["folds"]["each"] if "selection" not in fold]
    warned = [message for message in said if "chooses no confidence for --max-error" in message]
    assert len(warned) == len(without) > 0
