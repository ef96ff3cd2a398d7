import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.formats.files import read_table
from secondcoder.labelling import chunks, label
from secondcoder.labelling.label import label_file
from secondcoder.progress import Progress, ProgressTask
from secondcoder.storage import read_json, sha256_file
from tests.labelling.fake import CUT, LABEL_NAMES, LONG, ROWS, FakeModel, label_of, probabilities_of, put

ENDINGS = ("csv", "tsv", "jsonl", "parquet")


class Recorded(Progress, ProgressTask):
    def __init__(self) -> None:
        self.begun: list[tuple[str, int | None]] = []
        self.done: list[int] = []

    def task(self, description: str, total: int | None, unit: str = "texts") -> "Recorded":  # type: ignore[override]
        self.begun.append((description, total))
        self.done.append(0)
        return self

    def __enter__(self) -> "Recorded":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done[-1] += n


def as_text(table: pa.Table) -> list[dict[str, str | None]]:
    """Rows as CSV shows them."""
    spelt = {True: "true", False: "false"}
    return [
        {k: None if v in ("", None) else spelt[v] if isinstance(v, bool) else str(v) for k, v in row.items()}
        for row in table.to_pylist()
    ]


@pytest.mark.parametrize("ending_out", ENDINGS)
@pytest.mark.parametrize("ending_in", ENDINGS)
def test_every_format_is_labelled_into_every_format(tmp_path: Path, ending_in: str, ending_out: str) -> None:
    source = put(tmp_path / f"in.{ending_in}", ROWS)
    output = tmp_path / "deep" / f"out.{ending_out}"
    label_file(FakeModel(), source, output, probabilities=True)
    back = read_table(output)
    assert as_text(back.select(ROWS.column_names)) == as_text(ROWS)
    assert back.column_names == [
        *ROWS.column_names,
        *("label", "probability", "truncated", "reason"),
        *("probability_left", "probability_right", "probability_no, side"),
    ]
    texts = ROWS["text"].to_pylist()
    has_text = [bool(text and text.strip()) for text in texts]
    expected = [label_of(text) if has else None for text, has in zip(texts, has_text, strict=True)]
    assert back["label"].to_pylist() == expected
    assert back["reason"].to_pylist() == [None if has else "empty text" for has in has_text]
    for i, name in enumerate(LABEL_NAMES):
        found = [None if cell is None else float(cell) for cell in back[f"probability_{name}"].to_pylist()]
        assert found == [probabilities_of(t)[i] if has else None for t, has in zip(texts, has_text, strict=True)]
    found = [None if cell is None else float(cell) for cell in back["probability"].to_pylist()]
    assert found == [max(probabilities_of(t)) if has else None for t, has in zip(texts, has_text, strict=True)]
    assert [cell in (True, "true") for cell in back["truncated"].to_pylist()] == [text == LONG for text in texts]


@pytest.mark.parametrize(
    "ending", [ENDINGS[0], *(pytest.param(ending, marks=pytest.mark.slow) for ending in ENDINGS[1:])]
)
@settings(deadline=None)
@given(
    texts=st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=12),
    window=st.integers(1, 5),
)
def test_every_row_comes_out_once_in_order_with_the_label_of_its_own_text(
    tmp_path_factory: pytest.TempPathFactory, ending: str, texts: list[str | None], window: int
) -> None:
    folder = tmp_path_factory.mktemp("label")
    numbers = [str(i) for i in range(len(texts))]
    source = put(folder / f"in.{ending}", pa.table({"n": numbers, "text": pa.array(texts, pa.string())}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "CHUNK_ROWS", window)
        patch.setattr(chunks, "CHUNK_ROWS", window)
        summary = label_file(model := FakeModel(), source, folder / "out.parquet")
    assert all(len(call) <= window for call in model.calls)
    back = pq.read_table(folder / "out.parquet")
    assert back["n"].to_pylist() == numbers
    expected = [label_of(text) if text and text.strip() else None for text in texts]
    assert back["label"].to_pylist() == expected
    assert summary.rows == len(texts) == summary.labelled + sum(summary.unlabelled.values())
    assert summary.labelled == sum(label is not None for label in expected)


def test_typed_columns_stay_as_they_are_from_parquet_to_parquet(tmp_path: Path) -> None:
    table = ROWS.append_column("when", pa.array(range(6), pa.timestamp("ns", "Europe/Berlin")))
    table = table.append_column("kind", pa.array(["a", "b", None] * 2).dictionary_encode())
    table = table.append_column("nested", pa.array([[{"a": 1.5}], [], None] * 2)).replace_schema_metadata({"k": "v"})
    source = tmp_path / "in.parquet"
    pq.write_table(table, source, row_group_size=4)
    label_file(FakeModel(), source, tmp_path / "out.parquet")
    back = pq.read_table(tmp_path / "out.parquet")
    assert back.select(table.column_names).equals(pq.read_table(source))
    assert back.schema.metadata == pq.read_schema(source).metadata
    assert back.schema.field("truncated").type == pa.bool_()
    assert back.schema.field("probability").type == pa.float64()


def test_json_values_come_out_as_the_same_json_values(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "mixed": 1, "float": 1.0, "deep": {"b": [1, "1", None]}, "big": 2**70},
        {"text": 5, "mixed": "1", "float": 2.5, "deep": [], "big": 1},
        {"text": None, "mixed": True, "float": None, "deep": None, "big": None},
        {"text": {"not": "text"}, "mixed": 1.0, "float": -0.0, "deep": 0, "big": 2},
        {"text": "\u00a0", "mixed": None, "float": 1e300, "deep": "x", "big": 3},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    summary = label_file(FakeModel(), tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    back = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [json.dumps({key: row[key] for key in rows[0]}) for row in back] == [json.dumps(row) for row in rows]
    assert [row["label"] for row in back] == [label_of("a"), None, None, None, None]
    assert [row["reason"] for row in back] == [None, "not text", "empty text", "not text", "empty text"]
    assert [row["truncated"] for row in back] == [False] * 5
    assert summary.unlabelled == {"not text": 2, "empty text": 2}
    label_file(FakeModel(), tmp_path / "in.jsonl", tmp_path / "way.parquet", prefix="p_")
    put(tmp_path / "back.jsonl", read_table(tmp_path / "way.parquet").select(list(rows[0])))
    assert [json.loads(line) for line in (tmp_path / "back.jsonl").read_text("utf-8").splitlines()] == rows


def test_the_summary_and_the_manifest_say_what_was_done(tmp_path: Path) -> None:
    source = put(tmp_path / "in.csv", ROWS)
    summary = label_file(FakeModel(), source, tmp_path / "out.csv", prefix="x_")
    counts = dict.fromkeys(LABEL_NAMES, 0)
    for text in ("We will cut taxes.", 'Say "no",\nnow\t!', LONG, "We will cut taxes."):
        counts[label_of(text)] += 1
    assert summary.label_counts == counts
    assert list(summary.label_counts) == list(LABEL_NAMES)
    assert summary.label_shares == {name: n / 4 for name, n in counts.items()}
    assert (summary.rows, summary.labelled, summary.truncated) == (6, 4, 1)
    assert summary.unlabelled == {"empty text": 2}
    assert summary.texts_per_second == pytest.approx(4 / summary.seconds)
    manifest = read_json(summary.manifest)
    assert summary.manifest.name == "out.csv.manifest.json"
    file = {"name": source.as_posix(), "bytes": source.stat().st_size, "sha256": sha256_file(source)}
    assert manifest["input"] == {"name": str(source), "sha256": file["sha256"], "rows": 6, "files": [file]}
    assert manifest["model"]["sha256"] == FakeModel.sha256
    assert (manifest["model"]["precision"], manifest["model"]["device"], manifest["threads"]) == ("fp32", "cpu", [1])
    unset = dict.fromkeys(["min_confidence", "limit", "shard"])
    assert manifest["settings"] == {"text": "text", "probabilities": False, "prefix": "x_", "ending": ".csv", **unset}
    (written,) = manifest["output"]["files"]
    assert written["sha256"] == sha256_file(tmp_path / "out.csv")
    assert manifest["summary"] == json.loads(json.dumps(summary.to_dict()))
    assert manifest["versions"]["pyarrow"] == pa.__version__


def test_nan_in_json_output_is_told_in_the_summary(tmp_path: Path) -> None:
    source = put(tmp_path / "in.parquet", pa.table({"text": ["a"], "score": [math.nan]}))
    summary = label_file(FakeModel(), source, tmp_path / "out.jsonl")
    assert [finding.rows for finding in summary.findings] == [1]


def test_repeated_texts_in_a_window_are_scored_once_and_empty_ones_never(tmp_path: Path) -> None:
    model = FakeModel()
    texts = ["b", "a", "", "b", None, "a", "c"]
    label_file(model, put(tmp_path / "in.parquet", pa.table({"text": texts})), tmp_path / "out.parquet")
    assert model.calls == [["b", "a", "c"]]


def test_a_file_without_a_single_text_comes_out_with_reasons(tmp_path: Path) -> None:
    model = FakeModel()
    source = put(tmp_path / "in.parquet", pa.table({"n": [1, 2], "text": pa.nulls(2)}))
    summary = label_file(model, source, tmp_path / "out.parquet", probabilities=True)
    back = pq.read_table(tmp_path / "out.parquet")
    assert back["label"].to_pylist() == back["probability_left"].to_pylist() == [None, None]
    assert (summary.rows, summary.labelled, model.calls) == (2, 0, [])
    assert summary.label_shares == dict.fromkeys(LABEL_NAMES, 0.0)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_without_rows_comes_out_with_its_columns(tmp_path: Path, ending: str) -> None:
    source = put(tmp_path / f"in.{ending}", ROWS.slice(0, 0))
    assert label_file(FakeModel(), source, tmp_path / f"out.{ending}").rows == 0
    back = read_table(tmp_path / f"out.{ending}")
    assert back.column_names == [*ROWS.column_names, "label", "probability", "truncated", "reason"]
    assert back.num_rows == 0


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_any_string_type_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": pa.array(["a", "b", None, "a"]).cast(kind)}), source, row_group_size=2)
    label_file(FakeModel(), source, tmp_path / "out.parquet")
    expected = [label_of("a"), label_of("b"), None, label_of("a")]
    assert pq.read_table(tmp_path / "out.parquet")["label"].to_pylist() == expected


@pytest.mark.parametrize("ending", ENDINGS)
def test_progress_counts_every_row_of_a_known_total(tmp_path: Path, ending: str) -> None:
    source = put(tmp_path / f"in.{ending}", ROWS)
    progress = Recorded()
    label_file(FakeModel(), source, tmp_path / "out.csv", progress=progress)
    assert progress.begun[-2:] == [("Labelling", 6), ("Writing", 6)]
    assert progress.done == [6] * len(progress.begun)


def test_the_fake_model_cuts_where_the_tests_think() -> None:
    assert len(LONG) > CUT > len("We will cut taxes.")


LIMIT = 0.3  # gives a text one label or two


class SetsModel(FakeModel):
    def summary(self) -> dict[str, Any]:
        thresholds = dict.fromkeys(LABEL_NAMES, LIMIT)
        return super().summary() | {"task": "multi-label", "thresholds": thresholds, "separator": "|"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_sets_are_lists_where_the_format_has_them_and_joined_elsewhere(tmp_path: Path, ending: str) -> None:
    summary = label_file(SetsModel(), put(tmp_path / "in.csv", ROWS), tmp_path / f"out.{ending}")
    read = [probabilities_of(text) for text in ROWS["text"].to_pylist() if text and text.strip()]
    sets = [[name for name, p in zip(LABEL_NAMES, found, strict=True) if p >= LIMIT] for found in read]
    written = [label for label in read_table(tmp_path / f"out.{ending}")["label"].to_pylist() if label is not None]
    joined = ["|".join(names) for names in sets]
    assert written == {"parquet": sets, "jsonl": list(map(json.dumps, sets))}.get(ending, joined)
    assert summary.label_counts == {name: sum(name in names for names in sets) for name in LABEL_NAMES}
    assert {len(names) for names in sets} == {1, 2}
