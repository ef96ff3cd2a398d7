import dataclasses
import hashlib
import inspect
import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.corpus.reading import read
from secondcoder.errors import ColumnError, DataError, SettingsError
from secondcoder.settings import ReadSettings

ROWS = [
    {"key": "a1", "text": "We will cut taxes.", "label": "economic", "doc": "A"},
    {"key": "a2", "text": "We build schools.", "label": "social", "doc": "A"},
    {"key": "b1", "text": "", "label": None, "doc": "B"},
    {"key": "b2", "text": "More jobs.", "label": "economic", "doc": "B"},
]


def sources(folder):
    """The same rows in every form that needs no `datasets`."""
    folder.mkdir(exist_ok=True)
    frame = pd.DataFrame(ROWS)
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_csv(folder / "a.tsv", index=False, sep="\t")
    frame.to_parquet(folder / "a.parquet", index=False)
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    yield from (folder / "a.csv", str(folder / "a.tsv"), folder / "a.parquet", folder / "a.jsonl")
    yield from (ROWS, frame, frame.astype(object), pl.DataFrame(ROWS), pa.Table.from_pylist(ROWS))


def kinds(corpus):
    return {finding.kind: finding for finding in corpus.findings}


def labels(values, **options):
    return read([{"t": f"text {i}", "y": value} for i, value in enumerate(values)], text="t", label="y", **options)


def test_every_form_of_the_same_rows_gives_the_same_corpus(tmp_path):
    seen = list(sources(tmp_path / "forms"))
    assert len(seen) == 9
    for source in seen:
        corpus = read(source, text="text", label="label", group="doc", id="key")
        assert corpus.ids == ("a1", "a2", "b1", "b2")
        assert corpus.texts == ("We will cut taxes.", "We build schools.", "", "More jobs.")
        assert corpus.labels == ("economic", "social", None, "economic")
        assert corpus.label_names == ("economic", "social")
        assert corpus.groups == ("A", "A", "B", "B")
        assert corpus.parts is None
        assert corpus.columns.column_names == ["key", "text", "label", "doc"]
        assert corpus.source.columns == {"text": "text", "label": "label", "group": "doc", "id": "key"}


def test_the_parameters_are_the_settings_with_their_defaults():
    parameters = dict(inspect.signature(read).parameters)
    assert parameters.pop("source").kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters.pop("seed")
    assert {name: p.default for name, p in parameters.items()} == {
        field.name: field.default for field in dataclasses.fields(ReadSettings)
    }
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())


def test_a_file_is_known_by_the_hash_of_its_bytes_and_memory_by_its_content(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nx,a\ny,b\n")
    assert read(path, text="text").source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    one, same, other = (read([{"t": t}], text="t").source.sha256 for t in ("x", "x", "y"))
    assert one == same != other


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), min_size=1, max_size=8))
def test_string_labels_stay_as_typed(values):
    corpus = labels(values)
    assert list(corpus.labels) == values
    assert set(corpus.label_names) == set(values)


def test_words_for_missing_are_labels_in_a_csv_file_and_only_the_empty_cell_is_missing(tmp_path):
    typed = ["None", "NA", "null", "NaN", "001", "1.0", "True", "1"]
    path = tmp_path / "a.csv"
    path.write_text("t,y\n" + "".join(f"x,{value}\n" for value in [*typed, "", '""']))
    assert read(path, text="t", label="y").labels == (*typed, None, None)


def test_label_names_are_in_natural_order_whatever_the_order_of_rows():
    assert labels(["10", "9", "b", "2"]).label_names == ("2", "9", "10", "b")


@pytest.mark.parametrize(
    ("values", "read_as"),
    [
        ([1, 0, None, 1], ("1", "0", None, "1")),
        ([True, False], ("True", "False")),
        ([0.5, 1.0, float("nan")], ("0.5", "1.0", None)),
        (["pos", float("nan"), "neg"], ("pos", None, "neg")),
        ([1, "two"], ("1", "two")),
        (["", "a"], (None, "a")),
    ],
)
def test_typed_labels_become_strings(values, read_as):
    assert labels(values).labels == read_as


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_decimal_labels_that_are_all_whole_are_pointed_out_and_can_be_named(make):
    frame = make({"t": ["a", "b", "c"], "y": [0.0, 1.0, None]})
    corpus = read(frame, text="t", label="y")
    assert corpus.labels == ("0", "1", None)
    assert kinds(corpus)["float-labels"].severity == "warning"
    assert corpus.columns["y"].to_pylist() == [0.0, 1.0, None]
    named = read(frame, text="t", label="y", label_names="0=negative,1=positive", positive="positive")
    assert named.labels == ("negative", "positive", None)


def test_whole_numbers_are_not_pointed_out():
    assert "float-labels" not in kinds(labels([0, 1, 0]))


def test_two_values_that_would_read_as_one_label_are_refused():
    with pytest.raises(DataError, match=r"1 and '1', of types int and str"):
        labels([1, "1"])
    with pytest.raises(DataError, match="True"):
        labels([True, "True"])


@pytest.mark.parametrize("value", [{"a": 1}, b"a"])
def test_a_value_that_cannot_be_one_label_is_refused(value):
    with pytest.raises(DataError, match="label column 'y' holds"):
        labels([value, value])


def test_label_names_must_cover_the_codes_found_and_those_not_found_are_noted():
    with pytest.raises(DataError, match=r"'0', '1'.*'2'"):
        labels([0, 1, 2], label_names={"0": "a", "1": "b"})
    corpus = labels([0, 1, 0], label_names={0: "no", 1: "yes", 2: "maybe"})
    assert corpus.label_names == ("no", "yes")
    assert "'2'" in kinds(corpus)["unseen-code"].message
    with pytest.raises(SettingsError, match="one name"):
        labels([0, 1], label_names={0: "a", 1: "a"})


def test_labels_that_differ_in_blanks_or_capitals_are_kept_and_pointed_out():
    corpus = labels(["pos", "Pos ", "neg", "  "])
    assert corpus.labels == ("pos", "Pos ", "neg", "  ")
    assert kinds(corpus)["similar-labels"].rows == 2
    assert kinds(corpus)["blank-label"].rows == 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "a"], "one-label"),
        ([None, None], "no-labels"),
        ([f"sentence {i}" for i in range(11)], "many-labels"),
        ([i % 1001 for i in range(3000)], "many-labels"),
    ],
)
def test_labels_that_nothing_can_be_learned_from_are_an_error_finding(values, kind):
    assert kinds(labels(values))[kind].severity == "error"


def test_a_file_without_rows_is_read_and_found_wanting(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    corpus = read(tmp_path / "a.csv", text="text", label="label")
    assert len(corpus) == 0
    assert "no-labels" in kinds(corpus)


def test_without_a_label_column_no_row_has_a_label():
    corpus = read(ROWS, text="text")
    assert corpus.labels == (None,) * 4
    assert corpus.label_names == ()
    assert corpus.ids == ("1", "2", "3", "4")
    assert corpus.findings == ()


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        ({}, ColumnError, "No text column was named; the columns are: 'key', 'text', 'label', 'doc'"),
        ({"text": "txt"}, ColumnError, "no column 'txt'.*'text'.*\n.*did you mean 'text'"),
        ({"text": "text", "label": "Labels"}, ColumnError, "did you mean 'label'"),
        ({"text": "text", "label": "text"}, SettingsError, "'text' was named as text and as label"),
        ({"text": "text", "positive": "a"}, SettingsError, "no label column"),
        ({"text": "text", "label_names": "0=a"}, SettingsError, "no label column"),
        ({"text": "text", "label": "label", "positive": "econ"}, DataError, "did you mean 'economic'"),
        ({"text": "text", "id": "doc"}, DataError, "2 ids of column 'doc' come more than once, first 'A', 'B'"),
        ({"text": "text", "id": "label"}, DataError, r"empty in 1 rows, first in \[3\]"),
        ({"text": "text", "split_column": "doc"}, DataError, "split column 'doc' holds 'a', 'b'"),
        ({"text": "text", "sample_train": 1}, SettingsError, "gives no parts"),
        ({"text": "text", "sample_train": 0}, SettingsError, "sample_train is 0"),
        ({"text": "text", "dev_from": "test"}, SettingsError, "how many rows"),
    ],
)
def test_what_cannot_be_meant_is_refused(columns, error, said):
    with pytest.raises(error, match=said):
        read(ROWS, **columns)


@pytest.mark.parametrize("values", [[1, 2], [1.5, None], [True, False], ["a", 3], [["a"], ["b"]]])
def test_texts_that_are_no_strings_are_refused_by_type_and_row(values):
    with pytest.raises(DataError, match=r"text column 't' holds \w+ values .*in row '[12]'"):
        read([{"t": value} for value in values], text="t")


def test_half_a_character_is_refused_with_its_row():
    with pytest.raises(DataError, match="'t', row 2: an unpaired surrogate"):
        read([{"t": "fine"}, {"t": "\ud83d"}], text="t")


def test_strings_that_are_not_utf8_in_parquet_are_refused(tmp_path):
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\x01\0\0\0"), pa.py_buffer(b"\xff"))
    pq.write_table(pa.table({"t": bad}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'t' has a string that is not UTF-8"):
        read(tmp_path / "a.parquet", text="t")


def test_a_row_without_a_group_is_pointed_out():
    corpus = read([{"t": "x", "g": "1"}, {"t": "y", "g": None}], text="t", group="g")
    assert corpus.groups == ("1", "")
    assert kinds(corpus)["missing-group"].examples == ("2",)


def test_other_columns_come_along_value_for_value(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("t,n,empty,pad\nx,007,, a \ny,1e3,,\n")
    corpus = read(path, text="t")
    assert corpus.columns.to_pylist() == [
        {"t": "x", "n": "007", "empty": None, "pad": " a "},
        {"t": "y", "n": "1e3", "empty": None, "pad": None},
    ]


def test_the_split_column_gives_parts_by_any_of_their_names():
    names = ["train", "Validation", "valid", "VAL", "dev", " test ", None, ""]
    corpus = read([{"t": "x", "s": name} for name in names], text="t", split_column="s")
    assert corpus.parts == ("train", "dev", "dev", "dev", "dev", "test", None, None)


def given_parts(n_train=60, n_test=60, order=1):
    rows = [
        {"id": f"{part}{i}", "t": "x", "s": part}
        for part, n in (("train", n_train), ("test", n_test))
        for i in range(n)
    ]
    return rows[::order]


def test_samples_are_drawn_without_replacement_by_seed_and_id_alone():
    options = {"text": "t", "id": "id", "split_column": "s", "sample_train": 20, "sample_test": 10}
    corpus = read(given_parts(), **options)
    assert corpus.parts.count("train") == 20
    assert corpus.parts.count("test") == 10
    assert len(set(corpus.ids)) == 30
    assert set(read(given_parts(order=-1), **options).ids) == set(corpus.ids)
    assert set(read(given_parts(), **options, seed=7).ids) != set(corpus.ids)
    assert corpus.columns["id"].to_pylist() == list(corpus.ids)


@pytest.mark.parametrize("part", ["train", "test"])
def test_dev_is_taken_out_of_the_named_part(part):
    options = {"text": "t", "id": "id", "split_column": "s", "dev_from": part, "sample_dev": 15}
    corpus = read(given_parts(), **options)
    assert corpus.parts.count("dev") == 15
    assert corpus.parts.count(part) == 45
    assert len(set(corpus.ids)) == 120
    assert all(i.startswith(part) for i, own in zip(corpus.ids, corpus.parts, strict=True) if own == "dev")
    rest = read(given_parts(), **options, **{f"sample_{part}": 45})
    assert rest.ids == corpus.ids
    with pytest.raises(SettingsError, match=f"46 rows of {part} were asked, and it has 45"):
        read(given_parts(), **options, **{f"sample_{part}": 46})


def test_dev_is_not_taken_from_a_part_where_there_is_one():
    rows = [*given_parts(), {"id": "d", "t": "x", "s": "dev"}]
    with pytest.raises(SettingsError, match="has a dev part already"):
        read(rows, text="t", split_column="s", dev_from="test", sample_dev=1)
