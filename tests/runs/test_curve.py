import json
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace

import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import InterruptedRunError, RunError, SettingsError
from secondcoder.evaluation.learning_curve import LearningCurve
from secondcoder.progress import Progress
from secondcoder.runs.curve import choose_sizes, nested_order, study_run, study_split, trace_curve
from secondcoder.runs.run import Run
from secondcoder.settings import CurveSettings, TrainSettings
from secondcoder.splits.split import split
from secondcoder.training.steps import Stepper
from tests.tiny import make_rows

PLAN = CurveSettings(sizes="10,20,40")


@pytest.fixture(scope="module")
def settings(encoder_folder) -> TrainSettings:
    return TrainSettings(model=str(encoder_folder), learning_rate=5e-3, epochs=2, freeze=0.0, device="cpu")


@pytest.fixture(scope="module")
def study(settings):
    return study_split(split(read_rows(), seed=7), settings, seed=5)


@pytest.fixture(scope="module")
def traced(study, tmp_path_factory):
    """A curve of four sizes and two seeds, made without a break."""
    folder = tmp_path_factory.mktemp("curve")
    return folder, trace_curve(study, PLAN, output=folder, seeds=2)


@pytest.fixture
def counted(monkeypatch):
    """Count the optimizer steps that are taken."""
    taken, real = [], Stepper.take
    monkeypatch.setattr(Stepper, "take", lambda *given, **named: taken.append(1) or real(*given, **named))
    return taken


def read_rows(group: str | None = None):
    rows = [
        {"id": f"t{i}", "text": text, "area": label, "doc": f"g{i // 10}"}
        for i, (text, label) in enumerate(make_rows(120))
    ]
    return sc.read(rows, text="text", label="area", id="id", group=group)


def test_every_size_is_trained_with_every_seed_and_the_curve_is_kept(traced, study):
    folder, curve = traced
    assert Counter((p.size, p.seed) for p in curve.points) == dict.fromkeys(
        [(size, seed) for size in (10, 20, 40, 72) for seed in (5, 6)], 1
    )
    assert curve.name == "macro-f1"
    assert LearningCurve.from_dict(json.loads((folder / "curve.json").read_text())) == curve
    assert {path.name for path in folder.iterdir()} == {".lock", "curve.json", "curve-trainings.json"}
    trainings = json.loads((folder / "curve-trainings.json").read_text())["trainings"]
    assert {(t["size"], t["seed"]): t["figures"]["macro-f1"] for t in trainings} == {
        (p.size, p.seed): p.figure for p in curve.points
    }


def test_a_stopped_curve_goes_on_to_the_same_end_without_what_is_done(traced, study, tmp_path, monkeypatch):
    taken, real = [], Stepper.take

    def press(self, *given, **named):
        taken.append(1)
        if len(taken) == 8:  # sizes 10 and 20 take 2 and 4 steps, 40 takes 6
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    with monkeypatch.context() as pressed:
        pressed.setattr(Stepper, "take", press)
        with pytest.raises(InterruptedRunError, match="Training 3 of 8: 40 texts, seed 5: ") as caught:
            trace_curve(study, PLAN, output=tmp_path, seeds=2)
    assert "same command" in caught.value.cure
    with monkeypatch.context() as again:
        again.setattr(Stepper, "take", press)
        assert trace_curve(study, PLAN, output=tmp_path, seeds=2) == traced[1]
    assert len(taken) == 2 * (2 + 4 + 6 + 10)


def test_more_seeds_and_sizes_cost_only_themselves(traced, study, tmp_path, counted):
    shutil.copytree(traced[0], tmp_path / "curve")
    more = trace_curve(study, CurveSettings(sizes="10,20,30,40"), output=tmp_path / "curve", seeds=2)
    assert len(counted) == 2 * 4
    assert {point for point in more.points if point.size != 30} == set(traced[1].points)


def test_the_end_of_a_runs_curve_is_the_run_itself(settings, study, traced, tmp_path, counted):
    run = sc.train(split(read_rows(), seed=7), output=tmp_path / "run", seed=5, **settings.to_dict())
    (known,) = study_run(run).known
    assert known.size == 72
    assert [p.figure for p in traced[1].points if (p.size, p.seed) == (72, 5)] == [known.figures["macro-f1"]]
    counted.clear()
    curve = trace_curve(study_run(run), PLAN, output=run.folder, seeds=1)
    assert len(counted) == 2 + 4 + 6
    assert set(curve.points) == {point for point in traced[1].points if point.seed == 5}


def test_sizes_are_nested_and_keep_the_shares_of_the_labels():
    rows = read_rows().take([i for i in range(120) if i % 2 or i % 10 == 0])  # 60 social, 12 economic
    order = nested_order(rows, 3)
    assert sorted(order) == list(range(72))
    for size in (2, 6, 12, 30, 60):
        counts = Counter(rows.labels[row] for row in order[:size])
        assert counts["economic"] == pytest.approx(size / 6, abs=1)
        assert counts["economic"] >= 1
    shuffled = rows.take(list(range(71, -1, -1)))
    assert [shuffled.ids[row] for row in nested_order(shuffled, 3)] == [rows.ids[row] for row in order]
    assert nested_order(rows, 4) != order


def test_with_groups_sizes_add_whole_ones():
    rows = read_rows("doc")
    for seed in (1, 2):
        order = nested_order(rows, seed)
        assert sorted(order) == list(range(120))
        found = [rows.groups[row] for row in order]
        assert [len(set(found[:size])) for size in (10, 25, 60, 120)] == [1, 3, 6, 12]
    assert found != [rows.groups[row] for row in nested_order(rows, 1)]


def test_a_size_of_one_label_is_left_out_and_said(settings, tmp_path, counted):
    rows = read_rows("doc")
    rows = rows.take([i for i in range(120) if i % 2 == i // 10 % 2])  # groups of one label each
    told = []

    class Told(Progress):
        def say(self, sentence):
            told.append(sentence)

    study = study_split(split(rows, seed=7), settings, seed=5)
    curve = trace_curve(study, CurveSettings(sizes="4,20"), output=tmp_path, seeds=1, progress=Told())
    assert {p.size for p in curve.points} == {20, len(study.train)}
    assert any("one label only" in sentence for sentence in told)
    assert "no forecast of what more labels would bring: there are 3 sizes" in told[0]  # before any training


def test_the_share_of_errors_only_takes_rows_from_dev(study, settings):
    rows = split(read_rows(), seed=7)
    one, two = (study_split(rows, replace(settings, max_error=share), seed=5) for share in (0.1, 0.2))
    assert one.key == two.key != study.key
    assert len(one.dev) == len(two.dev) < len(study.dev)


def test_sizes_halve_unless_named():
    rows = read_rows()
    assert choose_sizes(rows, CurveSettings()) == [15, 30, 60, 120]
    assert choose_sizes(rows, CurveSettings(sizes="100, 50")) == [50, 100, 120]
    with pytest.raises(SettingsError, match="size 200 was asked for, and train has 120 rows"):
        choose_sizes(rows, CurveSettings(sizes="100,200"))


@pytest.mark.parametrize("values", [{"sizes": "100;200"}, {"sizes": "0"}, {"sizes": ""}, {"more": 0}])
def test_what_is_no_size_is_refused(values):
    with pytest.raises(SettingsError):
        CurveSettings(**values)


def test_a_curve_of_other_data_or_a_strangers_folder_is_left_alone(traced, study, settings, tmp_path):
    other = study_split(split(read_rows(), seed=8), settings, seed=5)
    with pytest.raises(RunError, match="other data or settings"):
        trace_curve(other, PLAN, output=traced[0], seeds=2)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="something else"):
        trace_curve(study, PLAN, output=tmp_path)


@pytest.fixture
def command(capsys):
    def run(*words) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["curve", *map(str, words)])
        return left.value.code, *capsys.readouterr()

    return run


def test_the_command_traces_a_file_and_then_its_run(command, labelled_file, encoder_folder, tmp_path):
    columns = ["--text", "text", "--label", "area", "--id", "id"]
    recipe = ["--model", encoder_folder, "--epochs", 1, "--freeze", 0, "--learning-rate", 5e-3, "--device", "cpu"]
    words = [labelled_file, *columns, *recipe, "--sizes", "12,24,48", "--seeds", 1, "--output", tmp_path / "curve"]
    code, out, err = command(*words)
    assert code == 0
    assert "the sizes 12, 24, 48 and 1 more have one seed only" in err
    assert err.index("no forecast") < err.index("Training 1 of 4")
    for expected in ("macro-f1, mean", "12", "72", "more labels", "contains the smaller ones"):
        assert expected in out
    code, out, _ = command(*words, "--json", "--more", 50)
    found = json.loads(out)
    assert (code, found["more"], len(found["curve"]["points"])) == (0, 50, 4)
    with pytest.raises(SystemExit):
        main(["train", *map(str, [labelled_file, *columns, *recipe, "--output", tmp_path / "run"])])
    code, out, err = command(tmp_path / "run", "--sizes", "12,24,48", "--seeds", 1)
    assert code == 0, err
    assert "report.html" in out
    assert (tmp_path / "run" / "curve.json").read_text() == (tmp_path / "curve" / "curve.json").read_text()
    assert Run(tmp_path / "run").evaluations.keys() == {"dev"}


def test_ctrl_c_in_the_command_leaves_with_130_and_it_goes_on(
    command, labelled_file, encoder_folder, tmp_path, monkeypatch
):
    real, taken = Stepper.take, []

    def press(self, *given, **named):
        taken.append(1)
        if len(taken) == 5:  # sizes 12 and 24 take 1 and 2 steps in each of 2 epochs
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    monkeypatch.setattr(Stepper, "take", press)
    columns = ["--text", "text", "--label", "area", "--id", "id", "--device", "cpu", "--seeds", 1, "--freeze", 0]
    words = [labelled_file, *columns, "--model", encoder_folder, "--epochs", 2, "--sizes", "12,24"]
    code, out, err = command(*words, "--output", tmp_path / "curve")
    assert (code, out) == (130, "")
    assert "Training 2 of 3: 24 texts" in err
    assert "The same command goes on" in err
    code, out, _ = command(*words, "--output", tmp_path / "curve")
    assert code == 0
    assert len(taken) == 2 + 4 + 10
    monkeypatch.setattr(Stepper, "take", real)
    assert command(*words, "--output", tmp_path / "whole")[0] == 0
    assert (tmp_path / "curve" / "curve.json").read_bytes() == (tmp_path / "whole" / "curve.json").read_bytes()


def test_the_command_refuses_what_does_not_go_together(command, traced, labelled_file, tmp_path):
    code, _, err = command(labelled_file, "--text", "text", "--label", "area")
    assert (code, "--output is required" in err) == (2, True)
    code, _, err = command(labelled_file, "--text", "text", "--output", tmp_path / "curve")
    assert (code, "--label is required" in err) == (2, True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    code, _, err = command(tmp_path / "run", "--epochs", 3)
    assert (code, "brings its own data and settings" in err) == (2, True)
