"""Work that was stopped is gone on with, refused, or cleared away; never lost, doubled or changed."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from secondcoder.errors import DataError, InterruptedRunError, RunError, StorageError
from secondcoder.labelling import chunks, journal, label
from secondcoder.labelling.label import label_file
from secondcoder.labelling.outputs import Output
from secondcoder.progress import Progress, ProgressTask
from secondcoder.storage import locked, read_json
from tests.labelling.fake import FakeModel, FakeScores, put

N = 40


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "CHUNK_ROWS", 4)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 4)
    monkeypatch.setattr(journal, "PART_ROWS", 12)


class Stopped(FakeModel):
    """Does something else at the nth window."""

    def __init__(self, n: int, instead: Callable[[], object]) -> None:
        super().__init__()
        self._n, self._instead = n, instead

    def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None) -> FakeScores:
        if len(self.calls) == self._n:
            self._instead()
        return super().score(texts, progress=progress)


def interrupt() -> None:
    raise KeyboardInterrupt


def make_source(folder: Path, ending: str) -> Path:
    table = pa.table({"n": [str(i) for i in range(N)], "text": [f"text {i}\nof some lines" for i in range(N)]})
    return put(folder / f"in.{ending}", table)


def content(path: Path) -> dict[str, bytes]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name if path.is_dir() else "": file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        *((ending, f"out.{ending}") for ending in ("csv", "jsonl", "parquet", "csv.gz")),
        *((ending, "out") for ending in ("csv", "jsonl.zst", "parquet")),
    ],
)
@pytest.mark.parametrize("n", [1, 4, 9])
def test_the_same_call_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, ending: str, name: str, n: int) -> None:
    source = make_source(tmp_path, ending)
    (tmp_path / "alone").mkdir()
    label_file(FakeModel(), source, tmp_path / "alone" / name)
    with pytest.raises(InterruptedRunError, match=f"{4 * n} rows are labelled"):
        label_file(Stopped(n, interrupt), source, tmp_path / name)
    assert not (tmp_path / name).exists()
    model = FakeModel()
    summary = label_file(model, source, tmp_path / name)
    assert content(tmp_path / name) == content(tmp_path / "alone" / name)
    assert len(model.calls) == N // 4 - n, "what was labelled was labelled again"
    assert (summary.rows, summary.labelled) == (N, N)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["alone", source.name, name, f"{name}.manifest.json"]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prefix": "x_"}, "settings prefix was '' and is 'x_'"),
        ({"probabilities": True}, "settings probabilities was False and is True"),
        ({"limit": 3}, "settings limit was None and is 3"),
        ({"shard": "1/2"}, "settings shard"),
        ({"min_confidence": 0.5}, "min_confidence"),
    ],
)
def test_other_settings_on_unfinished_work_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    source = make_source(tmp_path, "csv")
    with pytest.raises(InterruptedRunError):
        label_file(Stopped(2, interrupt), source, tmp_path / "out.csv")
    with pytest.raises(StorageError, match=said) as caught:
        label_file(FakeModel(), source, tmp_path / "out.csv", **options)
    assert ".out.csv.parts" in caught.value.cure
    assert label_file(model := FakeModel(), source, tmp_path / "out.csv").rows == N
    assert len(model.calls) == N // 4 - 2


def test_another_model_or_input_on_unfinished_work_is_refused(tmp_path: Path) -> None:
    source = make_source(tmp_path, "csv")
    with pytest.raises(InterruptedRunError):
        label_file(Stopped(2, interrupt), source, tmp_path / "out.csv")
    with pytest.raises(StorageError, match="model precision was 'fp32' and is 'bf16'"):
        label_file(FakeModel(precision="bf16"), source, tmp_path / "out.csv")
    source.write_text(source.read_text("utf-8").replace("text 39", "text 93"), "utf-8")
    with pytest.raises(StorageError, match="input sha256"):
        label_file(FakeModel(), source, tmp_path / "out.csv")


@pytest.mark.parametrize("n", [0, 5])
def test_an_input_that_changes_or_vanishes_ends_the_work_without_an_output(tmp_path: Path, n: int) -> None:
    source = make_source(tmp_path, "csv")

    def grow() -> None:
        with source.open("a", encoding="utf-8") as lines:
            lines.write("40,more\n")

    with pytest.raises(DataError, match="changed while it was being labelled"):
        label_file(Stopped(n, grow), source, tmp_path / "out.csv")
    with pytest.raises(DataError, match="There is no file"):
        label_file(Stopped(n, source.unlink), source, tmp_path / "other.csv")
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "other.csv").exists()


def test_a_change_that_hides_its_time_is_found_by_the_hash(tmp_path: Path) -> None:
    source = make_source(tmp_path, "csv")
    before = source.stat()

    def swap() -> None:
        source.write_text(source.read_text("utf-8").replace("text 39", "text 93"), "utf-8")
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(DataError, match=r"changed .*at the same size"):
        label_file(Stopped(3, swap), source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["out.csv", "out"])
def test_an_output_that_appears_meanwhile_is_left_alone_and_the_labels_are_kept(tmp_path: Path, name: str) -> None:
    source, output = make_source(tmp_path, "csv"), tmp_path / name

    def appear() -> None:
        if name == "out":
            output.mkdir()
        (output / "mine" if name == "out" else output).write_text("mine")

    with pytest.raises(StorageError, match="appeared while it was being made"):
        label_file(Stopped(3, appear), source, output)
    assert "mine" in str(content(output))
    assert not (tmp_path / f"{name}.manifest.json").exists()
    output.rename(tmp_path / "moved")
    model = FakeModel()
    assert label_file(model, source, output).rows == N
    assert model.calls == []


@pytest.mark.parametrize("gone", ["", "plan.json", "journal.jsonl"])
def test_what_was_killed_after_the_output_was_there_is_finished_by_the_same_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    source, output = make_source(tmp_path, "csv"), tmp_path / "out.csv"
    with monkeypatch.context() as killed:
        killed.setattr(journal.Work, "remove", lambda self: interrupt())
        with pytest.raises(InterruptedRunError):
            label_file(FakeModel(), source, output)
    before = output.read_bytes()
    if gone:
        (tmp_path / ".out.csv.parts" / gone).unlink()
    with pytest.raises(StorageError, match="already there"):
        label_file(FakeModel(), source, output, prefix="x_")
    assert label_file(model := FakeModel(), source, output).labelled == N
    assert (output.read_bytes(), model.calls) == (before, [])
    assert not (tmp_path / ".out.csv.parts").exists()
    with pytest.raises(StorageError, match="already there"):
        label_file(FakeModel(), source, output)


@pytest.mark.parametrize("name", ["out.csv", "out"])
def test_no_output_is_there_without_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    seen = []
    publish = Output.publish

    def look(self: Output, staged: Path) -> None:
        seen.append((self.manifest.exists(), self.path.exists()))
        publish(self, staged)

    monkeypatch.setattr(Output, "publish", look)
    summary = label_file(FakeModel(), make_source(tmp_path, "csv"), tmp_path / name)
    assert seen == [(True, False)]
    manifest = read_json(summary.manifest)
    assert sum(file["rows"] for file in manifest["output"]["files"]) == N
    assert len(manifest["output"]["files"]) == (1 if name == "out.csv" else 4)


def test_two_processes_do_not_make_one_output(tmp_path: Path) -> None:
    source = make_source(tmp_path, "csv")
    with locked(tmp_path / ".out.csv.parts"), pytest.raises(RunError, match="in use"):
        label_file(FakeModel(), source, tmp_path / "out.csv")


def test_a_damaged_block_is_labelled_again(tmp_path: Path) -> None:
    source = make_source(tmp_path, "csv")
    with pytest.raises(InterruptedRunError):
        label_file(Stopped(5, interrupt), source, tmp_path / "out.csv")
    blocks = sorted((tmp_path / ".out.csv.parts").glob("blocks/*/*.arrow"))
    blocks[3].write_bytes(blocks[3].read_bytes()[:100])
    model = FakeModel()
    assert label_file(model, source, tmp_path / "out.csv").rows == N
    assert len(model.calls) == N // 4 - 3


def test_rejected_lines_are_kept_over_a_stop(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    rows = [f"{i},text {i}\n" for i in range(N)]
    for i in (0, 7, 8, 39):
        rows[i] = f"{i},one,too many\n"
    source.write_text("n,text\n" + "".join(rows), "utf-8")
    for name in ("out.csv", "out"):
        with pytest.raises(InterruptedRunError):
            label_file(Stopped(3, interrupt), source, tmp_path / name, allow_rejects=True)
        summary = label_file(FakeModel(), source, tmp_path / name, allow_rejects=True)
        assert (summary.rows, summary.rejected) == (N - 4, 4)
        assert summary.rejects is not None
        lines = [json.loads(line) for line in summary.rejects.read_text("utf-8").splitlines()]
        assert [line["line"] for line in lines] == [2, 9, 10, 41]
        assert lines[1] == {
            "file": source.as_posix(),
            "line": 9,
            "lines": 1,
            "reason": "3 cells, the header has 2",
            "raw": "7,one,too many",
        }


def test_progress_says_where_it_goes_on(tmp_path: Path) -> None:
    class Told(Progress):
        said: list[str] = []  # noqa: RUF012

        def say(self, sentence: str) -> None:
            self.said.append(sentence)

    source = make_source(tmp_path, "csv")
    with pytest.raises(InterruptedRunError):
        label_file(Stopped(2, interrupt), source, tmp_path / "out.csv")
    label_file(FakeModel(), source, tmp_path / "out.csv", progress=Told())
    assert Told.said == ["Resuming after row 8 of 40."]
