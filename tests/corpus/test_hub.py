import json

import datasets
import pyarrow as pa
import pytest

from secondcoder.corpus.reading import read
from secondcoder.errors import DataError, SettingsError

FEATURES = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})


def make(labels, start=0):
    texts = [f"text {start + i}" for i in range(len(labels))]
    return datasets.Dataset.from_dict({"text": texts, "label": labels}, features=FEATURES)


def make_dict(**splits):
    start, made = 0, {}
    for name, labels in splits.items():
        made[name] = make(labels, start)
        start += len(labels)
    return datasets.DatasetDict(made)


def test_class_labels_take_their_names_and_minus_one_is_missing():
    corpus = read(make([1, 0, -1, None]), text="text", label="label", positive="pos")
    assert corpus.labels == ("pos", "neg", None, None)
    assert corpus.label_names == ("neg", "pos")
    assert corpus.columns["label"].to_pylist() == [1, 0, -1, None]
    assert corpus.parts is None


def test_a_selection_of_a_data_set_gives_its_rows_in_its_order():
    corpus = read(make([0, 1, 1]).select([2, 0]), text="text", label="label")
    assert corpus.texts == ("text 2", "text 0")
    assert corpus.labels == ("pos", "neg")


def test_class_names_are_kept_by_parquet_files_and_can_be_renamed(tmp_path):
    make([0, 1]).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", text="text", label="label").labels == ("neg", "pos")
    named = read(tmp_path / "a.parquet", text="text", label="label", label_names="neg=bad,pos=good")
    assert named.labels == ("bad", "good")


def test_a_class_that_no_row_has_is_noted_and_is_no_label_name():
    corpus = read(make([1, 1]), text="text", label="label")
    assert corpus.label_names == ("pos",)
    assert {"unseen-class", "one-label"} <= {finding.kind for finding in corpus.findings}


@pytest.mark.parametrize("dev", ["validation", "valid", "val", "dev"])
def test_given_splits_are_kept_as_parts(dev):
    data = make_dict(**{"train": [0, 1], dev: [1], "test": [0]})
    corpus = read(data, text="text", label="label")
    assert corpus.parts == ("train", "train", "dev", "test")
    assert corpus.labels == ("neg", "pos", "pos", "neg")
    assert corpus.ids == ("1", "2", "3", "4")


def test_other_splits_are_left_out_with_a_note():
    corpus = read(make_dict(train=[0, 1], test=[0], unsupervised=[-1, -1]), text="text", label="label")
    assert len(corpus) == 3
    (finding,) = corpus.findings
    assert (finding.kind, finding.rows) == ("unused-split", 2)


def test_a_single_split_is_still_to_be_split():
    assert read(make_dict(train=[0, 1]), text="text", label="label").parts is None
    assert read(make_dict(full=[0, 1]), text="text", label="label").parts is None
    taken = read(make_dict(train=[0, 1, 0]), text="text", label="label", dev_from="train", sample_dev=1)
    assert sorted(taken.parts) == ["dev", "train", "train"]


def test_a_saved_data_set_is_read_as_the_hub_is_and_sampled_as_the_notebook_does(tmp_path):
    data = make_dict(train=[0, 1] * 20, test=[1, 0] * 20)
    data.save_to_disk(tmp_path / "saved")
    corpus = read(
        tmp_path / "saved",
        text="text",
        label="label",
        sample_train=10,
        sample_dev=8,
        sample_test=6,
        dev_from="test",
    )
    assert [corpus.parts.count(part) for part in ("train", "dev", "test")] == [10, 8, 6]
    assert len(set(corpus.texts)) == 24
    in_test = set(data["test"]["text"])
    assert all((text in in_test) == (part != "train") for text, part in zip(corpus.texts, corpus.parts, strict=True))
    data["train"].save_to_disk(tmp_path / "one")
    assert read(tmp_path / "one", text="text", label="label").labels[:2] == ("neg", "pos")


def test_a_folder_with_a_file_for_each_part_is_read_cell_by_cell(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,None\nb,001\n")
    (tmp_path / "valid.csv").write_text("text,label\nc,NA\n")
    (tmp_path / "test.csv").write_text("text\nd\n")
    corpus = read(tmp_path, text="text", label="label")
    assert dict(zip(corpus.texts, zip(corpus.parts, corpus.labels, strict=True), strict=True)) == {
        "a": ("train", "None"),
        "b": ("train", "001"),
        "c": ("dev", "NA"),
        "d": ("test", None),
    }


def test_a_clone_of_a_hub_repository_is_read_from_its_numbered_files(tmp_path):
    (tmp_path / "data").mkdir()
    make([0, 1]).to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    make([1], 2).to_parquet(tmp_path / "data" / "train-00001-of-00002.parquet")
    make([0], 3).to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    corpus = read(tmp_path, text="text", label="label")
    assert corpus.texts == ("text 0", "text 1", "text 2", "text 3")
    assert corpus.labels == ("neg", "pos", "pos", "neg")
    assert corpus.parts == ("train", "train", "train", "test")


def test_parts_that_do_not_fit_together_are_refused(tmp_path):
    other = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    flipped = datasets.Dataset.from_dict({"text": ["x"], "label": [0]}, features=other)
    with pytest.raises(DataError, match="classes of 'label' are"):
        read(datasets.DatasetDict({"train": make([0]), "test": flipped}), text="text")
    (tmp_path / "train.jsonl").write_text(json.dumps({"t": "x", "n": 1}))
    (tmp_path / "test.jsonl").write_text(json.dumps({"t": "x", "n": "1"}))
    with pytest.raises(DataError, match="Column 'n' is int64 in train and string in test"):
        read(tmp_path, text="t")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (make_dict(a=[0], b=[1]), "none of which is train, dev or test"),
        (make_dict(val=[0], validation=[1]), "several of which are one part"),
        (make([0]).to_iterable_dataset(), "is a stream"),
        (datasets.IterableDatasetDict({"train": make([0]).to_iterable_dataset()}), "is a stream"),
    ],
)
def test_data_sets_that_give_no_parts_or_no_rows_are_refused(data, said):
    with pytest.raises(DataError, match=said):
        read(data, text="text")


def test_a_split_column_beside_given_splits_is_refused():
    with pytest.raises(SettingsError, match="gives its own parts"):
        read(make_dict(train=[0], test=[1]), text="text", split_column="label")


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    (tmp_path / "notes.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="no file for a part"):
        read(tmp_path, text="a")


def test_a_damaged_data_set_folder_is_refused(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="not a sound data set folder"):
        read(tmp_path, text="text")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ConnectionError("no route"), "cannot be reached.*\n.*save_to_disk"),
        (datasets.exceptions.DatasetNotFoundError("nope"), "no data set 'owner/name'.*\n.*owner/name"),
        (ValueError("Config name is missing"), "configuration 'x'.*Config name is missing\n.*name one"),
    ],
)
def test_a_hub_data_set_that_cannot_be_had_says_what_to_do(monkeypatch, raised, said):
    def load_dataset(path, config):
        assert (path, config) == ("owner/name", "x")
        raise raised

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=said):
        read("hub:owner/name:x", text="text")


def test_a_hub_address_goes_to_the_hub_with_its_configuration(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a: asked.append(a) or make_dict(train=[0], test=[1]))
    corpus = read("hub:owner/name", text="text", label="label")
    assert asked == [("owner/name", None)]
    assert corpus.source.name == "hub:owner/name"
    assert corpus.parts == ("train", "test")
    assert isinstance(corpus.columns, pa.Table)
    with pytest.raises(DataError, match="names no data set"):
        read("hub:", text="text")
