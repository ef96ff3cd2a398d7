from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secondcoder.errors import ColumnError, DataError, ModelError, SettingsError, StorageError
from secondcoder.labelling.columns import AddedColumns
from secondcoder.labelling.label import label_file
from secondcoder.progress import ProgressTask
from tests.labelling.fake import LABEL_NAMES, ROWS, FakeModel, FakeScores, label_of, put


def test_a_column_that_would_be_added_and_is_there_is_refused_with_prefix_as_the_way_out(tmp_path: Path) -> None:
    table = ROWS.append_column("label", pa.array(["gold"] * 6)).append_column("probability_left", pa.array(range(6)))
    source = put(tmp_path / "in.parquet", table)
    with pytest.raises(DataError, match=r"'label', .*\n.*--prefix") as caught:
        label_file(FakeModel(), source, tmp_path / "out.parquet", probabilities=True)
    assert "'probability_left'" in caught.value.what
    assert not (tmp_path / "out.parquet").exists()
    label_file(FakeModel(), source, tmp_path / "out.parquet", probabilities=True, prefix="model_")
    back = pq.read_table(tmp_path / "out.parquet")
    assert back["label"].to_pylist() == ["gold"] * 6
    assert back["model_label"].to_pylist()[0] == label_of("We will cut taxes.")
    assert back.column_names[5:] == [field.name for field in AddedColumns(LABEL_NAMES, True, "model_").fields()]


def test_an_address_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = put(tmp_path / "in.csv", ROWS)
    with pytest.raises(SettingsError, match=r"is an address(.|\n)*Mount"):
        label_file(FakeModel(), source, Path("s3://bucket/out"))
    with pytest.raises(SettingsError, match=r"is an address"):
        label_file(FakeModel(), "gs://bucket/in.csv", tmp_path / "out")
    assert list(tmp_path.iterdir()) == [source]


def test_a_wrong_text_column_lists_the_columns_and_the_nearest(tmp_path: Path) -> None:
    source = put(tmp_path / "in.csv", ROWS)
    with pytest.raises(ColumnError, match=r"did you mean 'text'"):
        label_file(FakeModel(), source, tmp_path / "out.csv", text="texts")
    with pytest.raises(ColumnError, match="'id', 'text', 'note'"):
        label_file(FakeModel(text_column="sentence"), source, tmp_path / "out.csv")
    with pytest.raises(DataError, match=r"does not know .*'id', 'text', 'note'(.|\n)*--text"):
        label_file(FakeModel(text_column=None), source, tmp_path / "out.csv")
    label_file(FakeModel(text_column="sentence"), source, tmp_path / "out.csv", text="text")


def test_a_column_of_numbers_is_refused_as_text_with_its_type(tmp_path: Path) -> None:
    source = put(tmp_path / "in.parquet", pa.table({"text": [1, 2]}))
    with pytest.raises(DataError, match=r"'text' .* holds int64, not texts"):
        label_file(FakeModel(), source, tmp_path / "out.parquet")


def test_an_output_that_is_there_is_left_alone(tmp_path: Path) -> None:
    source = put(tmp_path / "in.csv", ROWS)
    before = source.read_bytes()
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(StorageError, match=r"out\.csv is already there"):
        label_file(FakeModel(), source, tmp_path / "out.csv")
    with pytest.raises(StorageError, match="is the input itself"):
        label_file(FakeModel(), source, tmp_path / "." / "in.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "error"), [("out.docx", SettingsError), ("file/out.csv", StorageError), ("in.csv/out.csv", StorageError)]
)
def test_an_output_that_cannot_be_written_is_found_before_anything_is_scored(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    source = put(tmp_path / "in.csv", ROWS)
    (tmp_path / "file").write_text("")
    model = FakeModel()
    with pytest.raises(error):
        label_file(model, source, tmp_path / name)
    assert model.calls == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_when_scoring_stops_before_anything_is_labelled(
    tmp_path: Path, error: type[BaseException]
) -> None:
    class Stopping(FakeModel):
        def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None) -> FakeScores:
            raise error

    source = put(tmp_path / "in.parquet", pa.table({"text": ["a", "b"]}))
    with pytest.raises(error):
        label_file(Stopping(), source, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_model_that_answers_nan_is_refused_with_the_text(tmp_path: Path) -> None:
    class Broken(FakeModel):
        def score(self, texts: Sequence[str], *, progress: ProgressTask | None = None) -> FakeScores:
            probabilities = np.full((len(texts), len(LABEL_NAMES)), 1 / 3)
            probabilities[1, 0] = np.nan
            return FakeScores(probabilities, np.zeros(len(texts), np.bool_))

    source = put(tmp_path / "in.csv", ROWS)
    with pytest.raises(ModelError, match="1 texts, the first: 'Say"):
        label_file(Broken(), source, tmp_path / "out.csv")
