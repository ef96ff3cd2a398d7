import csv
import datetime
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secondcoder.errors import DataError, SettingsError, StorageError
from secondcoder.formats import parquet, records
from secondcoder.formats.files import open_reader, open_writer, read_table
from secondcoder.formats.jsonlines import JSON_MARK
from secondcoder.labelling.summary import not_finite_findings

ENDINGS = ("csv", "tsv", "jsonl", "parquet", "csv.gz", "tsv.zst", "jsonl.zst")
nasty = st.one_of(
    st.none(),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text("\",;|\t\r\n \\'#\x00\x85\u2028\ufeff\u00a0=aé", max_size=8),
    st.sampled_from(["NA", "null", "001", "1.0", "True", "nan", '""', '"', "\r\n", " a ", "\ufefftext"]),
)


def write(path: Path, table: pa.Table, rows: int = 3) -> records.Writer:
    with open_writer(path, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write(batch)
    return writer


@pytest.mark.parametrize("ending", ENDINGS)
@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(nasty, nasty, nasty), max_size=7),
    names=st.lists(
        nasty.filter(lambda name: name is not None and "\0" not in name), min_size=3, max_size=3, unique=True
    ),
)
# By the tab of its last name, the file is one of four columns; by the semicolons of its second, one of four too.
@example(rows=[(None, None, "\t0")], names=["", "0", "\t\t"])
@example(rows=[], names=["", ";;;", "0"])
@example(rows=[("a|b|c", "1", "2")], names=["a|b|c|d", "x", "y"])
def test_strings_are_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, ending: str, rows: list[tuple[str | None, ...]], names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("out") / f"a.{ending}"
    columns = [[row[i] for row in rows] for i in range(3)]
    write(path, pa.table([pa.array(column, pa.string()) for column in columns], names=names))
    if ending.startswith("jsonl") and not rows:
        return
    back = read_table(path)
    assert back.column_names == names
    if ending[:3] in ("csv", "tsv"):  # which have one empty cell for the missing value and for the empty string
        columns = [[value or None for value in column] for column in columns]
    assert [back[name].to_pylist() for name in names] == columns


@settings(deadline=None)
@given(st.lists(st.tuples(nasty, st.text("a,", max_size=3)), min_size=1, max_size=5))
def test_csv_is_what_the_standard_module_reads(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, str]]
) -> None:
    path = tmp_path_factory.mktemp("out") / "a.csv"
    first, second = zip(*rows, strict=True)
    write(path, pa.table({"a": pa.array(first, pa.string()), "b": second}))
    with path.open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream, strict=True)) == [["a", "b"], *[[a or "", b] for a, b in rows]]


def test_csv_quotes_only_where_it_must(tmp_path: Path) -> None:
    table = pa.table({"id": ["1", "2"], "te,xt": ["plain; text", 'a "b"'], "n": [1, None], "flag": [True, False]})
    write(tmp_path / "a.csv", table)
    assert (tmp_path / "a.csv").read_bytes() == (b'id,"te,xt",n,flag\n1,plain; text,1,true\n2,"a ""b""",,false\n')


def test_a_cell_with_a_tab_is_quoted_in_tsv_and_one_with_a_comma_is_not(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", pa.table({"a": ["x\ty"], "b": ["x,y"]}))
    assert (tmp_path / "a.tsv").read_bytes() == b'a\tb\n"x\ty"\tx,y\n'


@settings(deadline=None)
@given(st.lists(st.floats() | st.none(), max_size=6), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_numbers_in_csv_read_back_as_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, floats: list[float | None], integers: list[int]
) -> None:
    path = tmp_path_factory.mktemp("out") / "a.csv"
    n = min(len(floats), len(integers))
    write(path, pa.table({"f": pa.array(floats[:n], pa.float64()), "i": pa.array(integers[:n], pa.int64())}))
    back = read_table(path)
    found = [None if cell is None else float(cell) for cell in back["f"].to_pylist()]
    assert list(map(repr, found)) == list(map(repr, floats[:n]))
    assert [int(cell) for cell in back["i"].to_pylist()] == integers[:n]


def test_typed_and_nested_values_become_text_in_csv(tmp_path: Path) -> None:
    day = datetime.date(2024, 2, 29)
    table = pa.table({"day": [day], "list": [[1, None]], "struct": [{"a": 'é"'}], "f": pa.array([0.1], pa.float32())})
    write(tmp_path / "a.csv", table)
    row = read_table(tmp_path / "a.csv").to_pylist()[0]
    assert row == {"day": "2024-02-29", "list": "[1, null]", "struct": '{"a": "é\\""}', "f": "0.1"}


def test_json_lines_hold_typed_and_nested_values_in_column_order(tmp_path: Path) -> None:
    table = pa.table(
        {
            "z": [1, None],
            "a": [[{"deep": True}], []],
            "when": pa.array([0, None], pa.timestamp("s")),
            "mixed": pa.array(['{"b": [1, 1.0, "1"]}', None], pa.string()),
        }
    )
    mixed = table.schema.field("mixed").with_metadata(JSON_MARK)
    write(tmp_path / "a.jsonl", table.cast(table.schema.set(3, mixed)))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert lines == [
        {"z": 1, "a": [{"deep": True}], "when": "1970-01-01T00:00:00", "mixed": {"b": [1, 1.0, "1"]}},
        {"z": None, "a": [], "when": None, "mixed": None},
    ]
    assert list(lines[0]) == ["z", "a", "when", "mixed"]


def test_a_line_of_json_stays_one_line_also_for_readers_that_split_at_every_line_end(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\x85four\nfive"
    write(tmp_path / "a.jsonl", pa.table({"text": [text, "b"]}))
    lines = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [text, "b"]


def test_nan_and_infinity_are_null_in_json_and_that_is_told_by_column(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "score": [math.nan, 0.5], "deep": [[math.inf, 1.0], [2.0]]})
    (finding,) = not_finite_findings(write(tmp_path / "a.jsonl", table).not_finite)
    assert read_table(tmp_path / "a.jsonl")["score"].to_pylist() == [None, 0.5]
    assert '"deep": [null, 1.0]' in (tmp_path / "a.jsonl").read_text("utf-8")
    assert (finding.kind, finding.rows, finding.examples) == ("not-json", 2, ("score", "deep"))
    assert not_finite_findings(write(tmp_path / "b.jsonl", table.select(["text"])).not_finite) == ()


def test_a_column_wrongly_marked_as_json_is_refused_by_name(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("mixed", pa.string(), metadata=JSON_MARK)])
    with pytest.raises(DataError, match="'mixed' is marked as JSON"):
        write(tmp_path / "a.jsonl", pa.table([["{"]], schema=schema))
    assert list(tmp_path.iterdir()) == []


def test_parquet_keeps_types_and_metadata(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("d", pa.dictionary(pa.int8(), pa.string())),
            pa.field("t", pa.timestamp("ns", "Europe/Berlin")),
            pa.field("s", pa.struct([("a", pa.list_(pa.field("element", pa.float32())))]), metadata={b"k": b"v"}),
            pa.field("b", pa.binary()),
            pa.field("n", pa.null()),
        ],
        metadata={b"pandas": b"{}"},
    )
    table = pa.table(
        [["x", "y", "x", None], [1, 2, None, 4], [{"a": [math.nan]}, None] * 2, [b"\xff"] * 4, [None] * 4], schema
    )
    write(tmp_path / "a.parquet", table, rows=1)
    back = pq.read_table(tmp_path / "a.parquet")
    assert back.schema.equals(schema, check_metadata=True)
    assert repr(back.to_pylist()) == repr(table.to_pylist())
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_batches_with_different_dictionaries_share_a_parquet_file(tmp_path: Path) -> None:
    kind = pa.dictionary(pa.int8(), pa.string())
    chunks = [pa.array(values).dictionary_encode().cast(kind) for values in (["a", "b"], ["b", "c"])]
    table = pa.table({"d": pa.chunked_array(chunks, kind)})
    write(tmp_path / "a.parquet", table)
    assert pq.read_table(tmp_path / "a.parquet")["d"].to_pylist() == ["a", "b", "b", "c"]


@pytest.mark.parametrize("limit", ["_ROW_GROUP_ROWS", "_ROW_GROUP_BYTES"])
def test_parquet_row_groups_are_written_as_they_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(parquet, limit, 10 if limit == "_ROW_GROUP_ROWS" else 80)  # bytes: 10 rows of 8
    table = pa.table({"i": range(35)})
    write(tmp_path / "a.parquet", table, rows=5)
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [10, 10, 10, 5]
    assert pq.read_table(tmp_path / "a.parquet").equals(table)


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_there_after_a_failure_in_the_middle(tmp_path: Path, ending: str) -> None:
    table = pa.table({"a": ["x"] * 100})

    def fail() -> None:
        with open_writer(tmp_path / f"a.{ending}", table.schema) as writer:
            writer.write(table.to_batches()[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_is_told_with_the_name_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    real_open = Path.open

    def open_full(path: Path, mode: str = "r", **options: str) -> object:
        return real_open(Path("/dev/full") if "w" in mode else path, mode, **options)  # type: ignore[call-overload]

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(Path, "open", open_full)
    numbers = np.random.default_rng(0).integers(0, 2**62, 100_000)
    with pytest.raises(StorageError, match=rf"Cannot write .*/a\.{ending}: No space left"):
        write(tmp_path / f"a.{ending}", pa.table({"a": numbers}), rows=10_000)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_found_when_opening(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"), open_writer(tmp_path / "file" / "a.csv", pa.schema([])):
        pytest.fail("the writer opened")


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.bz2", "a.parquet.gz"])
def test_an_unknown_ending_is_refused_with_those_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"\.parquet"), open_writer(tmp_path / name, pa.schema([])):
        pytest.fail("the writer opened")


def test_chunks_of_the_written_file_have_the_same_order(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", pa.table({"i": [str(i) for i in range(1000)], "b": ["x"] * 1000}), rows=7)
    found = [value for chunk in open_reader(tmp_path / "a.csv", rows=11) for value in chunk["i"].to_pylist()]
    assert found == [str(i) for i in range(1000)]
