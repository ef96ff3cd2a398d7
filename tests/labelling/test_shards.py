"""Shards put together are what one labelling would have written."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondcoder.errors import DataError, SettingsError, StorageError
from secondcoder.formats.files import read_table
from secondcoder.labelling import chunks, journal, shards
from secondcoder.labelling.chunks import rows_of_share
from secondcoder.labelling.label import label_file
from secondcoder.labelling.shards import merge
from secondcoder.storage import read_json
from tests.labelling.fake import FakeModel, put
from tests.labelling.test_resume import content


@pytest.fixture(autouse=True)
def _few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (chunks, shards):
        monkeypatch.setattr(module, "SHARD_ROWS", 3)
    for module in (journal, shards):
        monkeypatch.setattr(module, "PART_ROWS", 12)


def table(n: int) -> pa.Table:
    texts = [f'text "{i}",\nand more' if i % 4 else "" for i in range(n)]
    return pa.table({"n": [str(i) for i in range(n)], "text": pa.array(texts, pa.string())})


def label_shards(source: Path, folder: Path, ending: str, of: int, **options: object) -> list[Path]:
    outputs = [folder / f"shard-{i + 1}{ending}" for i in range(of)]
    for i, output in enumerate(outputs):
        label_file(FakeModel(), source, output, shard=f"{i + 1}/{of}", **options)  # type: ignore[arg-type]
    return outputs


@pytest.mark.parametrize("of", [1, 3, 7])
@pytest.mark.parametrize(
    ("ending", "shards", "out"),
    [
        ("csv", ".csv", "out.csv"),
        ("tsv", ".tsv.gz", "out.tsv"),
        ("jsonl", ".jsonl", "out.jsonl.zst"),
        ("parquet", ".parquet", "out.parquet"),
        ("csv", "", "out"),
    ],
)
def test_merged_shards_are_what_one_labelling_writes(
    tmp_path: Path, ending: str, shards: str, out: str, of: int
) -> None:
    source = put(tmp_path / f"in.{ending}", table(32))
    outputs = label_shards(source, tmp_path, shards, of)
    (tmp_path / "whole").mkdir()
    whole = label_file(FakeModel(), source, tmp_path / "whole" / out)
    pattern = [tmp_path / "shard-*"]  # manifests fit it too
    summary = merge(outputs[::-1] if of == 3 else pattern, tmp_path / out)
    if ending == "parquet":
        assert pq.read_table(tmp_path / out).equals(pq.read_table(tmp_path / "whole" / out))
    elif out == "out":
        parts = [read_table(part) for part in sorted((tmp_path / out).iterdir())]
        assert [len(part) for part in parts] == [12, 12, 8]
        assert pa.concat_tables(parts).equals(read_table(tmp_path / "whole" / out / "part-000000.csv"))
    else:
        assert content(tmp_path / out) == content(tmp_path / "whole" / out)
    counts = ("rows", "labelled", "unlabelled", "truncated", "label_counts", "rejected")
    assert [getattr(summary, name) for name in counts] == [getattr(whole, name) for name in counts]
    manifest = read_json(summary.manifest)
    assert manifest["settings"]["shard"] is None
    assert manifest["input"]["rows"] == 32
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("n", [0, 1, 3, 5])
def test_shards_without_a_row_are_merged_too(tmp_path: Path, n: int) -> None:
    source = put(tmp_path / "in.csv", table(n))
    assert merge(label_shards(source, tmp_path, ".csv", 3), tmp_path / "out.csv").rows == n
    label_file(FakeModel(), source, tmp_path / "whole.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_rejected_lines_of_shards_stand_in_the_order_of_the_input(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv"):
        rows = [f"{i},text {i}\n" if i % 5 else f"{i},one,too many\n" for i in range(20)]
        (tmp_path / name).write_text("n,text\n" + "".join(rows), "utf-8")
    sources = [tmp_path / "b.csv", tmp_path / "a.csv"]
    outputs = []
    for i in (1, 2):
        outputs.append(tmp_path / f"shard-{i}.csv")
        label_file(FakeModel(), sources, outputs[-1], shard=f"{i}/2", allow_rejects=True)
    label_file(FakeModel(), sources, tmp_path / "whole.csv", allow_rejects=True)
    summary = merge(outputs, tmp_path / "out.csv")
    assert summary.rejected == 8
    assert summary.rejects is not None
    assert summary.rejects.read_bytes() == (tmp_path / "whole.csv.rejected.jsonl").read_bytes()
    lines = [json.loads(line) for line in summary.rejects.read_text("utf-8").splitlines()]
    assert [line["line"] for line in lines] == [2, 7, 12, 17] * 2
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_shards_that_do_not_fit_together_are_refused_with_what_is_wrong(tmp_path: Path) -> None:
    source = put(tmp_path / "in.csv", table(32))
    first, second, third = label_shards(source, tmp_path, ".csv", 3)
    out = tmp_path / "out.csv"
    with pytest.raises(DataError, match="1 are missing: 2"):
        merge([first, third], out)
    with pytest.raises(DataError, match="1/3 comes twice"):
        merge([first, first, second, third], out)
    label_file(FakeModel(precision="bf16"), source, tmp_path / "bf16.csv", shard="2/3")
    with pytest.raises(DataError, match="another model: precision 'fp32' and 'bf16'"):
        merge([first, tmp_path / "bf16.csv", third], out)
    label_file(FakeModel(), source, tmp_path / "settings.csv", shard="2/3", probabilities=True)
    with pytest.raises(DataError, match="another settings: probabilities"):
        merge([first, tmp_path / "settings.csv", third], out)
    label_file(FakeModel(), put(tmp_path / "other.csv", table(31)), tmp_path / "input.csv", shard="2/3")
    with pytest.raises(DataError, match="another input"):
        merge([first, tmp_path / "input.csv", third], out)
    label_file(FakeModel(), source, tmp_path / "half.csv", shard="2/2")
    with pytest.raises(DataError, match="1/3"):
        merge([first, tmp_path / "half.csv", third], out)
    label_file(FakeModel(), source, tmp_path / "whole.csv")
    with pytest.raises(DataError, match="is no shard"):
        merge([first, tmp_path / "whole.csv", third], out)
    with pytest.raises(DataError, match="no manifest"):
        merge([first, tmp_path / "nowhere.csv", third], out)
    with pytest.raises(SettingsError, match="end in"):
        merge([first, second, third], tmp_path / "out.parquet")
    second.write_text(second.read_text("utf-8").replace("text", "TEXT", 3), "utf-8")
    with pytest.raises(DataError, match=r"shard-2\.csv was changed"):
        merge([first, second, third], out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(StorageError, match="already there"):
        merge([first, second, third], out)


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_add_up(total: int, of: int) -> None:
    n = chunks.SHARD_ROWS
    belonging = [sum(row // n % of == number for row in range(total)) for number in range(of)]
    assert [rows_of_share(total, (number + 1, of)) for number in range(of)] == belonging
