"""Many inputs as one, outputs as folders, and what is no row."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secondcoder.errors import DataError, SettingsError
from secondcoder.formats.files import read_table
from secondcoder.labelling import chunks, label
from secondcoder.labelling.label import label_file
from tests.labelling.fake import LABEL_NAMES, ROWS, FakeModel, label_of, probabilities_of, put

ENDINGS = ("csv", "csv.gz", "csv.zst", "tsv", "tsv.gz", "jsonl", "jsonl.gz", "jsonl.zst", "parquet")


@pytest.mark.parametrize("ending", ENDINGS)
def test_packed_files_are_read_and_written(tmp_path: Path, ending: str) -> None:
    source = put(tmp_path / f"in.{ending}", ROWS)
    label_file(FakeModel(), source, tmp_path / f"out.{ending}")
    assert read_table(tmp_path / f"out.{ending}")["text"].to_pylist()[:2] == ROWS["text"].to_pylist()[:2]
    packed = (tmp_path / f"out.{ending}").read_bytes()[:2]
    expected = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5"}.get(ending.rpartition(".")[2])
    assert expected is None or packed == expected


def test_files_folders_and_patterns_are_one_corpus_in_order(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("b.csv", "a.csv.gz", "deep/c.csv", "_x.csv", ".y.csv", "a.csv.rejected.jsonl"):
        put(tmp_path / "in" / name, pa.table({"text": [name]}))
    (tmp_path / "in" / "notes.txt").write_text("no data")
    label_file(FakeModel(), tmp_path / "in", tmp_path / "folder.csv")
    label_file(FakeModel(), str(tmp_path / "in" / "[ab].csv*"), tmp_path / "pattern.csv")
    label_file(FakeModel(), [tmp_path / "in" / "b.csv", tmp_path / "in" / "deep" / "c.csv"], tmp_path / "files.csv")
    assert read_table(tmp_path / "folder.csv")["text"].to_pylist() == ["a.csv.gz", "b.csv", "deep/c.csv"]
    assert read_table(tmp_path / "pattern.csv")["text"].to_pylist() == ["a.csv.gz", "b.csv"]
    assert read_table(tmp_path / "files.csv")["text"].to_pylist() == ["b.csv", "deep/c.csv"]


def test_files_that_do_not_agree_are_refused_by_name(tmp_path: Path) -> None:
    one = put(tmp_path / "one.csv", pa.table({"text": ["a"], "n": ["1"]}))
    two = put(tmp_path / "two.csv", pa.table({"n": ["1"], "text": ["a"]}))
    with pytest.raises(DataError, match=r"two\.csv has the columns 'n', 'text'"):
        label_file(FakeModel(), [one, two], tmp_path / "out.csv")
    with pytest.raises(DataError, match="named twice"):
        label_file(FakeModel(), [one, one], tmp_path / "out.csv")
    three = put(tmp_path / "three.parquet", pa.table({"text": ["a"], "n": [1]}))
    with pytest.raises(DataError, match="different types"):
        label_file(FakeModel(), [one, three], tmp_path / "out.csv")
    with pytest.raises(DataError, match="No file fits"):
        label_file(FakeModel(), tmp_path / "*.xlsx", tmp_path / "out.csv")
    with pytest.raises(SettingsError, match="in the folder that is labelled"):
        label_file(FakeModel(), tmp_path, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_json_lines_with_other_keys_and_parquet_with_empty_columns_fit_together(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": 1}\n', "utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "b", "n": "1", "more": true}\n', "utf-8")
    label_file(FakeModel(), tmp_path / "?.jsonl", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [(row["text"], row["n"], row["more"]) for row in rows] == [("a", 1, None), ("b", "1", True)]
    pq.write_table(pa.table({"text": ["a"], "n": pa.nulls(1)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["b"], "n": [5]}), tmp_path / "b.parquet")
    label_file(FakeModel(), [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["n"].to_pylist() == [None, 5]


def test_a_folder_takes_the_format_of_the_input(tmp_path: Path) -> None:
    source = put(tmp_path / "in.csv.gz", ROWS)
    (tmp_path / "out").mkdir()
    label_file(FakeModel(), source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-000000.csv.gz"]
    summary = label_file(FakeModel(), tmp_path / "out", tmp_path / "again", prefix="x_")
    assert summary.rows == len(ROWS)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_bad_rows_go_to_a_file_of_their_own_and_the_others_are_labelled(tmp_path: Path, ending: str) -> None:
    source = tmp_path / f"in.{ending}"
    n = 30
    if ending == "csv":
        rows = [f'{i},"text\n{i}"\n' for i in range(n)]
        rows[7] = '7,"never closed\n'
        source.write_text("n,text\n" + "".join(rows), "utf-8")
        line = 2 + 2 * 7
    elif ending == "jsonl":
        rows = [json.dumps({"n": str(i), "text": f"text\n{i}"}) + "\n" for i in range(n)]
        rows[7] = '{"n": "7", "text"\n'
        source.write_text("".join(rows), "utf-8")
        line = 8
    else:
        texts = pa.array([b"caf\xe9" if i == 7 else f"text\n{i}".encode() for i in range(n)], pa.binary())
        pq.write_table(pa.table({"n": [str(i) for i in range(n)], "text": texts.view(pa.string())}), source)
        line = 8
    summary = label_file(FakeModel(), source, tmp_path / "out.parquet")
    back = pq.read_table(tmp_path / "out.parquet")
    assert back["n"].to_pylist() == [str(i) for i in range(n) if i != 7]
    assert back["label"].to_pylist() == [label_of(f"text\n{i}") for i in range(n) if i != 7]
    assert summary.rejected == 1
    assert summary.rejects == tmp_path / "out.parquet.rejected.jsonl"
    record = json.loads(summary.rejects.read_text("utf-8"))
    assert (record["file"], record["line"]) == (source.as_posix(), line)
    assert {"csv": "never closed", "jsonl": '"text"', "parquet": r"caf\\xe9"}[ending] in record["raw"]
    assert record["reason"]


def test_a_file_that_is_something_else_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("n,text\n" + "1;a,b,c\n" * 3 + "1,a\n" * 9, "utf-8")
    model = FakeModel()
    with pytest.raises(DataError, match=r"3 of 12 lines .* could not be parsed(.|\n)*--allow-rejects"):
        label_file(model, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (model.calls, [path.name for path in tmp_path.iterdir()]) == ([], ["in.csv"])
    assert label_file(model, tmp_path / "in.csv", tmp_path / "out.csv", allow_rejects=True).rejected == 3
    (tmp_path / "array.jsonl").write_text('[{"text": "a"},\n{"text": "b"}]\n', "utf-8")
    with pytest.raises(DataError, match="2 of 2 lines"):
        label_file(model, tmp_path / "array.jsonl", tmp_path / "no.csv", allow_rejects=True)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_packed_file_that_breaks_off_ends_clearly(tmp_path: Path, ending: str) -> None:
    source = put(tmp_path / f"in.csv{ending}", pa.table({"text": [str(i * 7919) for i in range(50_000)]}))
    source.write_bytes(source.read_bytes()[:-1000])
    with pytest.raises(DataError, match="cannot be unpacked"):
        label_file(FakeModel(), source, tmp_path / "out.csv")


def test_only_the_first_rows_are_labelled_where_a_limit_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (label, chunks):
        monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    source = put(tmp_path / "in.csv", pa.table({"text": [f"text {i}" for i in range(20)]}))
    summary = label_file(model := FakeModel(), source, tmp_path / "out.csv", limit=6)
    assert read_table(tmp_path / "out.csv")["text"].to_pylist() == [f"text {i}" for i in range(6)]
    assert (summary.rows, sum(map(len, model.calls))) == (6, 6)
    assert label_file(FakeModel(), source, tmp_path / "all.csv", limit=99).rows == 20


def test_labels_that_the_model_is_not_sure_of_are_left_out_and_that_is_told(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(20)] + [""]
    source = put(tmp_path / "in.parquet", pa.table({"text": texts}))
    summary = label_file(FakeModel(), source, tmp_path / "out.parquet", min_confidence=0.5)
    back = pq.read_table(tmp_path / "out.parquet").to_pylist()
    sure = [max(probabilities_of(text)) >= 0.5 for text in texts[:-1]]
    assert any(sure)
    assert not all(sure)
    assert [row["label"] for row in back] == [label_of(t) if s else None for t, s in zip(texts, sure, strict=False)] + [
        None
    ]
    assert [row["reason"] for row in back] == [None if s else "below --min-confidence" for s in sure] + ["empty text"]
    assert [row["probability"] for row in back[:-1]] == [max(probabilities_of(text)) for text in texts[:-1]]
    assert summary.unlabelled == {"below --min-confidence": sure.count(False), "empty text": 1}
    assert sum(summary.label_counts[name] for name in LABEL_NAMES) == sure.count(True)
    (finding,) = summary.findings
    assert "selection" in finding.cure


@pytest.mark.parametrize(
    "options",
    [{"shard": "4/3"}, {"shard": "0/3"}, {"shard": "3"}, {"shard": "a/b"}, {"limit": 0}, {"min_confidence": 2}],
)
def test_options_out_of_bounds_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    source = put(tmp_path / "in.csv", ROWS)
    with pytest.raises(SettingsError):
        label_file(FakeModel(), source, tmp_path / "out.csv", **options)  # type: ignore[arg-type]
