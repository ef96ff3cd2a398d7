import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secondcoder.corpus.reading import read
from secondcoder.errors import DataError, SettingsError


def rows(*labels, column="l"):
    return [{"text": f"text {i}", column: label} for i, label in enumerate(labels)]


def columns(*cells):
    return [{"text": f"text {i}"} | dict(zip("CAB", row, strict=True)) for i, row in enumerate(cells)]


def test_a_cell_with_separators_is_a_set_in_the_order_of_the_label_names():
    corpus = read(rows("b; a", "c", "", "none", " "), text="text", label="l", label_separator=";", no_label="none")
    assert corpus.task == "multi-label"
    assert corpus.label_names == ("a", "b", "c")
    assert corpus.labels == ("a;b", "c", None, "", None)
    assert corpus.label_sets == (("a", "b"), ("c",), None, (), None)
    assert corpus.label_counts() == {"a": 1, "b": 1, "c": 1}
    assert corpus.usable() == [0, 1, 3]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("a;;b", "an empty name"),
        ("a;", "an empty name"),
        ("a;b;a", "'a' twice"),
        ("none;a", "stands for no class, beside others"),
        (1.5, "decimal number"),
    ],
)
def test_a_faulty_set_is_an_error_with_its_row(cell, said):
    data = [{"text": "x", "l": "a;b", "id": "r1"}, {"text": "y", "l": cell, "id": "r2"}]
    with pytest.raises(DataError, match=f"Row 'r2'.*{said}"):
        read(data, text="text", label="l", id="id", label_separator=";", no_label="none")


def test_lists_in_json_lines_and_parquet_are_sets(tmp_path):
    lists = [["b", "a"], [], None, ["c"]]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(*lists)))
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(4)], "l": lists}), tmp_path / "data.parquet")
    for file in (path, tmp_path / "data.parquet"):
        corpus = read(file, text="text", label="l")
        assert (corpus.task, corpus.labels) == ("multi-label", ("a;b", "", None, "c")), file


def test_lists_of_class_labels_take_their_names():
    features = datasets.Features(
        {"text": datasets.Value("string"), "l": datasets.List(datasets.ClassLabel(names=["x", "y", "z"]))}
    )
    data = datasets.Dataset.from_dict({"text": ["a", "b"], "l": [[1, 0], []]}, features=features)
    corpus = read(datasets.DatasetDict(train=data, test=data), text="text", label="l")
    assert corpus.labels == ("x;y", "", "x;y", "")
    assert [finding.kind for finding in corpus.findings] == ["unseen-class"]


@pytest.mark.parametrize("item", [["a;b"], ["a", None], ["a", ""], "a"])
def test_a_faulty_list_is_an_error_with_its_row(item):
    with pytest.raises(DataError, match="Row '2'"):
        read(rows(["a", "c"], item), text="text", label="l")


def test_another_separator_lets_names_contain_the_usual_one():
    corpus = read(rows(["a;b", "c"], ["c"]), text="text", label="l", label_separator="|")
    assert corpus.labels == ("a;b|c", "c")
    assert corpus.label_sets[1] == ("c",)


def test_columns_of_zero_and_one_are_sets():
    corpus = read(
        columns((1, "no", True), ("0", "FALSE", False), (None, "", None), (0.0, " yes", False)),
        text="text",
        label_columns=("C", "A", "B"),
    )
    assert corpus.label_names == ("A", "B", "C")
    assert corpus.labels == ("B;C", "", None, "A")
    assert corpus.source.columns == {"text": "text", "label 1": "C", "label 2": "A", "label 3": "B"}


@pytest.mark.parametrize(("cells", "said"), [((2, 0, 0), "'C' holds 2"), (("x", 0, 0), "'x'"), (("", 0, 1), "empty")])
def test_other_cells_in_label_columns_are_errors_with_their_row(cells, said):
    with pytest.raises(DataError, match=f"Row '2'.*{said}"):
        read(columns((1, 0, 1), cells), text="text", label_columns=("C", "A", "B"))


def test_label_names_name_codes_in_sets():
    corpus = read(rows("1;2", "2"), text="text", label="l", label_separator=";", label_names="1=yes,2=also")
    assert corpus.labels == ("also;yes", "also")
    with pytest.raises(DataError, match="also has '3'"):
        read(rows("1;3"), text="text", label="l", label_separator=";", label_names="1=yes,2=also")


def test_a_task_of_one_class_is_an_error_finding():
    corpus = read(rows("a", "none"), text="text", label="l", label_separator=";", no_label="none")
    assert [(f.kind, f.severity) for f in corpus.findings] == [("one-label", "error")]


def test_a_positive_class_does_not_go_with_sets():
    with pytest.raises(DataError, match="may have several"):
        read(rows("a;b", "b"), text="text", label="l", label_separator=";", positive="a")


@pytest.mark.parametrize(
    "named",
    [
        {"label": "l", "label_columns": ("A", "B")},
        {"label": "l", "no_label": "none"},
        {"label_columns": ("A",)},
        {"label_columns": ("A", "A")},
        {"label": "l", "label_separator": " "},
        {"label_shares": ("A", "B"), "label_separator": ";"},
        {"no_label": "none"},
    ],
)
def test_contradictions_are_refused(named):
    with pytest.raises(SettingsError):
        read(rows("a", "b"), text="text", **named)


def test_shares_sum_to_one_and_the_most_frequent_class_is_the_label():
    data = [
        {"text": "a", "A": 3, "B": 1},
        {"text": "b", "A": 1, "B": 1},
        {"text": "c", "A": None, "B": None},
        {"text": "d", "A": 0.25, "B": 0.75},
    ]
    corpus = read(data, text="text", label_shares=("B", "A"), positive="B")
    assert corpus.task == "multi-class"
    assert corpus.labels == ("A", "A", None, "B")
    assert corpus.shares[[0, 1, 3]].tolist() == [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]
    assert corpus.take([3]).shares.tolist() == [[0.25, 0.75]]
    assert {f.kind: (f.rows, f.examples) for f in corpus.findings} == {
        "tied-shares": (1, ("2",)),
        "shares-scaled": (2, ("1", "2")),
    }


@pytest.mark.parametrize("cells", [(-1, 2), ("x", 1), (0, 0), ("inf", 0), ("1_0", 1), (True, 1), (None, 1)])
def test_what_is_no_share_is_an_error_with_its_row(cells):
    data = [{"text": "a", "A": 1, "B": 2}, {"text": "b", "A": cells[0], "B": cells[1]}]
    with pytest.raises(DataError, match="Row '2'"):
        read(data, text="text", label_shares=("A", "B"))


def test_other_shares_are_other_data():
    hashes = {read([{"text": "a", "A": 1, "B": b}], text="text", label_shares=("A", "B")).source.sha256 for b in (2, 3)}
    assert len(hashes) == 2
