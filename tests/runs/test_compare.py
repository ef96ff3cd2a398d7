"""Two runs, compared: fake run folders, written by the run folder's own functions where it has them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import RunError, SettingsError
from secondcoder.evaluation.comparison import Comparison
from secondcoder.runs.folder import RunFolder

NAMES = ("economic", "social")
SIZES = {"train": 60, "dev": 40, "test": 120}


def write_run(
    folder: Path, *, accuracy: float = 0.8, seed: int = 1, names=NAMES, groups=None, change=None, **train
) -> Path:
    """Write a run whose test part is open; change(rows) may alter the hand-labelled rows."""
    folder.mkdir(parents=True)
    rows = [
        {
            "id": f"{part}{i}",
            "part": part,
            "text": f"text {part} {i}",
            "label": names[i % len(names)],
            "group": f"g{i % groups}" if groups else None,
        }
        for part, n in SIZES.items()
        for i in range(n)
    ]
    rows = change(rows) if change else rows
    pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet")
    data = {
        "label_names": list(names),
        "positive": None,
        "source": "made up",
        "sha256": "0" * 64,
        "columns": {"text": "text", "label": "label"},
    }
    info = {"format": 1, "status": "complete", "seed": seed, "settings": {"train": train}, "data": data}
    info |= {"results": {"best_seed": seed, "learning_rate": 1e-4}, "test_openings": 1}
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    run = RunFolder(folder)
    for part in ("dev", "test"):
        store(run, part, accuracy, seed)
    return folder


def store(run: RunFolder, part, accuracy: float, seed: int) -> None:
    random, corpus = np.random.default_rng(seed), run.part(part)
    gold = np.array([corpus.label_names.index(label) for label in corpus.labels])
    given = np.where(random.random(len(gold)) < accuracy, gold, (gold + 1) % len(corpus.label_names))
    probabilities = np.full((len(gold), len(corpus.label_names)), 0.1 / (len(corpus.label_names) - 1))
    probabilities[np.arange(len(gold)), given] = 0.9
    run.store_evaluation(part, corpus, probabilities, baselines={})


@pytest.fixture
def first(tmp_path) -> Path:
    return write_run(tmp_path / "runs" / "first", accuracy=0.65, seed=1, epochs=2)


@pytest.fixture
def second(tmp_path) -> Path:
    return write_run(tmp_path / "runs" / "second", accuracy=0.95, seed=2, epochs=3)


@pytest.fixture
def secondcoder(capsys):
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, captured.out, captured.err

    return run


def test_the_figures_are_those_that_the_runs_hold(first, second):
    found = sc.compare(first, second)
    before, after = (RunFolder(folder).evaluations["test"]["model"] for folder in (first, second))
    for difference in found.differences:
        assert difference.first == pytest.approx(before.figure(difference.name))
        assert difference.second == pytest.approx(after.figure(difference.name))
    assert (found.n, found.part, found.names) == (120, "test", (str(first), str(second)))
    assert found.main == found.differences[0].name == "macro-f1"
    assert found.verdict.startswith("The difference is real beyond chance: macro-f1 +0.")
    assert str(second) in found.verdict


def test_the_other_way_round_every_sign_turns(first, second):
    one, other = sc.compare(first, second), sc.compare(RunFolder(second), RunFolder(first))
    for a, b in zip(one.differences, other.differences, strict=True):
        assert a.difference == pytest.approx(-b.difference)
        assert (a.interval.low, a.interval.high) == pytest.approx((-b.interval.high, -b.interval.low))
    assert other.differences[0].better == "first"


def test_what_else_differs_is_said(first, second, tmp_path):
    notes = " ".join(sc.compare(first, second).notes)
    assert "epochs 2 and 3" in notes
    assert "Seeds: 1 and 2" in notes
    assert "rows differ" not in notes
    assert "opened" not in notes
    less = write_run(
        tmp_path / "less", epochs=2, change=lambda rows: [r for r in rows if r["id"] not in {"train1", "dev7"}]
    )
    notes = " ".join(sc.compare(first, less).notes)
    assert "train rows differ (60 and 59, 59 in common)" in notes
    RunFolder(second).update(test_openings=4)
    assert any("opened 4 times" in note for note in sc.compare(first, second).notes)


def test_dev_can_be_compared_and_is_said_to_be_optimistic(first, second):
    found = sc.compare(first, second, part="dev")
    assert found.n == 40
    assert "optimistic" in found.notes[0]


def set_aside(folder: Path, kept: range) -> Path:
    """Make a run one of those that predicted a part of dev only, as --max-error does."""
    path = folder / "predictions.parquet"
    table, ids = pq.read_table(path), {f"dev{i}" for i in kept}
    rows = [row["part"] != "dev" or row["id"] in ids for row in table.to_pylist()]
    pq.write_table(table.filter(pa.array(rows)), path)
    run = RunFolder(folder)
    run.update(settings=run.info["settings"] | {"train": run.info["settings"]["train"] | {"max_error": 0.1}})
    return folder


def test_where_max_error_set_dev_rows_aside_the_others_are_compared(first, second):
    found = sc.compare(set_aside(first, range(24)), set_aside(second, range(24)), part="dev")
    gold = ["economic", "social"] * 12
    for folder, values in ((first, "first"), (second, "second")):
        predicted = {r["id"]: r["predicted"] for r in pq.read_table(folder / "predictions.parquet").to_pylist()}
        right = np.mean([predicted[f"dev{i}"] == label for i, label in enumerate(gold)])
        (accuracy,) = (d for d in found.differences if d.name == "accuracy")
        assert getattr(accuracy, values) == pytest.approx(right)
    assert found.n == 24
    assert any("16 more rows of dev" in note for note in found.notes)
    assert sc.compare(first, second).n == 120


@pytest.mark.parametrize("kept", [range(16, 40), range(40)])
def test_other_rows_set_aside_are_refused_with_what_differs(first, second, kept):
    set_aside(first, range(24))
    if len(kept) < 40:
        set_aside(second, kept)
    with pytest.raises(
        RunError, match=rf"set 16 and {40 - len(kept)} rows of dev aside.* are in the first only"
    ) as caught:
        sc.compare(first, second, part="dev")
    assert "Compare on test" in caught.value.cure


def test_rows_that_are_missing_for_no_such_reason_are_refused(first, second):
    info = RunFolder(set_aside(second, range(24)))
    info.update(settings=info.info["settings"] | {"train": {"max_error": None}})
    with pytest.raises(RunError, match="do not fit together"):
        sc.compare(first, second, part="dev")


def test_folds_are_read_from_their_own_file(first, second):
    with pytest.raises(RunError, match="no out-of-fold predictions"):
        sc.compare(first, second, part="folds")
    for folder in (first, second):
        run = RunFolder(folder)
        store(run, "train", 0.8, 3)
        table = pq.read_table(folder / "predictions.parquet").drop_columns("part")
        pq.write_table(table, folder / "folds.parquet")
    assert sc.compare(first, second, part="folds").n == sum(SIZES.values())


def test_groups_are_taken_from_the_runs_and_leave_no_room_for_mcnemar(tmp_path):
    runs = [write_run(tmp_path / f"r{i}", accuracy=0.7 + i / 10, seed=i, groups=12) for i in range(2)]
    found = sc.compare(*runs)
    assert (found.n_groups, found.mcnemar) == (12, None)
    assert found.differences[0].interval.method == "paired-jackknife-t"
    alone = write_run(tmp_path / "alone", seed=5)
    found = sc.compare(runs[0], alone)
    assert found.n_groups == 12
    assert any("different groups" in note for note in found.notes)


def test_an_order_of_classes_or_rows_of_its_own_changes_nothing(first, second, tmp_path):
    turned = write_run(tmp_path / "turned", names=NAMES[::-1], change=lambda rows: rows[::-1])
    rows = {row["id"]: row for row in pq.read_table(second / "data.parquet").to_pylist()}
    pq.write_table(
        pa.Table.from_pylist([rows[id_] for id_ in pq.read_table(turned / "data.parquet")["id"].to_pylist()]),
        turned / "data.parquet",
    )
    table = pq.read_table(second / "predictions.parquet")
    pq.write_table(table.take(np.arange(len(table))[::-1]), turned / "predictions.parquet")
    expected, found = sc.compare(first, second), sc.compare(first, turned)
    assert found.differences == expected.differences
    assert found.label_names == expected.label_names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [r for r in rows if r["id"] != "test5"], r"1 of 120 are in the first only \(such as 'test5'\)"),
        (lambda rows: [r | {"text": "x"} if r["id"] == "test7" else r for r in rows], "other texts: 1 differ.*'test7'"),
        (
            lambda rows: [r | {"label": "social"} if r["id"] in {"test0", "test2"} else r for r in rows],
            "other labels: 2 differ",
        ),
    ],
)
def test_other_rows_are_refused_with_what_differs(first, tmp_path, change, message):
    with pytest.raises(RunError, match=message) as caught:
        sc.compare(first, write_run(tmp_path / "other", change=change))
    assert "same split options" in caught.value.cure


def test_other_labels_are_refused(first, tmp_path):
    other = write_run(tmp_path / "other", names=("economic", "social", "neither"))
    with pytest.raises(RunError, match=r"different labels: \['economic', 'social'\] and \['economic', 'neither'"):
        sc.compare(first, other)


def test_a_test_part_that_is_closed_is_refused_with_the_cure(first, second):
    table = pq.read_table(second / "predictions.parquet", filters=[("part", "=", "dev")])
    pq.write_table(table, second / "predictions.parquet")
    with pytest.raises(RunError, match="second has not been opened") as caught:
        sc.compare(first, second)
    assert f"secondcoder evaluate {second}" in caught.value.cure
    (second / "predictions.parquet").unlink()
    with pytest.raises(RunError, match="no predictions for dev"):
        sc.compare(first, second, part="dev")


def test_the_same_run_a_folder_that_is_none_and_an_unknown_part_are_refused(first, second, tmp_path):
    with pytest.raises(RunError, match="named twice"):
        sc.compare(first, first / ".." / "first")
    with pytest.raises(RunError, match="not a run"):
        sc.compare(first, tmp_path)
    with pytest.raises(SettingsError, match="tset"):
        sc.compare(first, second, part="tset")


def test_predictions_of_other_rows_than_the_runs_are_refused(first, second):
    pq.write_table(pq.read_table(second / "predictions.parquet").slice(45), second / "predictions.parquet")
    with pytest.raises(RunError, match="do not fit together"):
        sc.compare(first, second)


def test_another_positive_class_is_said(first, second):
    for folder, positive in ((first, "social"), (second, "economic")):
        run = RunFolder(folder)
        run.update(data=run.info["data"] | {"positive": positive})
    found = sc.compare(first, second)
    assert found.main == "macro-f1"
    assert any("positive" in note for note in found.notes)


def test_the_command_shows_figures_verdict_and_notes(secondcoder, first, second):
    code, out, err = secondcoder("compare", first, second)
    assert (code, err) == (0, "")
    for expected in (
        "macro-f1 *",
        "f1:social",
        "log-loss",
        "could have shown",
        "real beyond chance",
        "exact McNemar p",
        "exploratory",
        "note: Settings that differ",
        f"Second: {second}",
    ):
        assert expected in out


def test_the_command_says_why_there_is_a_dash(secondcoder, tmp_path):
    def rare(rows):
        kept = {f"test{i}" for i in (1, 3, 5)}
        return [row | {"label": "social" if row["id"] in kept else "economic"} for row in rows]

    runs = [write_run(tmp_path / f"r{i}", accuracy=0.7 + i / 10, seed=i, change=rare) for i in range(2)]
    code, out, _ = secondcoder("compare", *runs)
    assert code == 0
    assert "No interval for f1:social: class 'social' has 3 gold texts, fewer than 5." in out
    assert "No interval for f1:economic" not in out


def test_the_command_as_json_can_be_read_back(secondcoder, first, second):
    code, out, _ = secondcoder("compare", first, second, "--part", "dev", "--json")
    assert code == 0
    assert Comparison.from_dict(json.loads(out)) == sc.compare(first, second, part="dev")


def test_the_command_leaves_with_2_and_a_cure(secondcoder, first, second):
    shutil.rmtree(second)
    code, out, err = secondcoder("compare", first, second)
    assert (code, out) == (2, "")
    assert "is not a run" in err
    assert "Traceback" not in err
