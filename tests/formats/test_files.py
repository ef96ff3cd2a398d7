import csv
import io
import json
import math
import string
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.errors import DataError
from secondcoder.formats.files import open_reader, read_table
from secondcoder.formats.jsonlines import is_json

NASTY = st.text(
    st.one_of(st.sampled_from("\",;|\t\n\r\0 \\'#é\u2028\ufeff😀"), st.characters(codec="utf-8")), max_size=12
) | st.sampled_from(["None", "NA", "NaN", "null", "001", "1.0", "True", " padded ", '"', "a\r\nb", "\\N", "=1+1"])


@st.composite
def tables(draw, least_columns=1):
    names = draw(st.lists(st.text(string.ascii_letters, min_size=1), min_size=least_columns, max_size=4, unique=True))
    return names, draw(st.lists(st.tuples(*[NASTY for _ in names]).map(list), max_size=8))


def cells(path, rows=4096):
    chunks = open_reader(path, rows)
    return [tuple(row.values()) for batch in chunks for row in batch.to_pylist()]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def csv_text(names, rows, **dialect):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, **dialect)
    writer.writerows([names, *rows])
    return stream.getvalue()


@settings(deadline=None)
@given(tables(), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_csv_gives_back_every_cell_that_was_written(tmp_path_factory, table, line_end, encoding):
    names, rows = table
    path = tmp_path_factory.getbasetemp() / "nasty.csv"
    text = csv_text(names, rows, quoting=csv.QUOTE_ALL, lineterminator=line_end)
    path.write_bytes(text.encode(encoding))
    assert list(open_reader(path).columns) == names
    assert cells(path, rows=3) == [tuple(cell or None for cell in row) for row in rows]


@settings(deadline=None)
@given(tables(least_columns=2), st.sampled_from(",;|\t"))
def test_csv_agrees_with_pythons_csv_whatever_is_quoted(tmp_path_factory, table, delimiter):
    names, rows = table
    path = tmp_path_factory.getbasetemp() / "dialect.csv"
    text = csv_text(names, rows, delimiter=delimiter)
    path.write_bytes(text.encode())
    oracle = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:]
    chunks = open_reader(path)
    if list(chunks.columns) == names:  # else another character divided the sample more evenly
        try:
            found = cells(path)
        except DataError:  # an unquoted carriage return cut a row: refused, not repaired
            assert any(len(row) != len(names) for row in oracle)
        else:
            assert found == [tuple(cell or None for cell in row) for row in oracle if row]


@settings(deadline=None)
@given(st.lists(NASTY, max_size=6))
def test_a_single_column_keeps_empty_lines_as_empty_cells(tmp_path_factory, column):
    path = tmp_path_factory.getbasetemp() / "one.csv"
    path.write_bytes(("text\n" + "".join('"' + c.replace('"', '""') + '"\n' if c else "\n" for c in column)).encode())
    assert cells(path) == [(cell or None,) for cell in column]


def test_only_the_empty_cell_is_missing(tmp_path):
    path = write(tmp_path / "a.csv", 'a,b\nNone,NA\nnull,001\n1.0,True\n,""\n x , "y" \n')
    assert cells(path) == [
        ("None", "NA"),
        ("null", "001"),
        ("1.0", "True"),
        (None, None),
        (" x ", ' "y" '),
    ]


def test_the_first_line_is_the_header_even_if_it_is_all_numbers_and_keeps_its_blanks(tmp_path):
    assert open_reader(write(tmp_path / "a.csv", "1, 2 ,3\n4,5,6\n")).columns == ("1", " 2 ", "3")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_among_texts_that_hold_the_others(tmp_path, delimiter):
    rows = [[str(i), "one, two; three | four\tfive", "pos"] for i in range(20)]
    path = write(tmp_path / "a.csv", csv_text(["id", "text", "label"], rows, delimiter=delimiter))
    assert open_reader(path).columns == ("id", "text", "label")
    assert cells(path) == [tuple(row) for row in rows]


def test_tsv_is_divided_by_tabs_only(tmp_path):
    path = write(tmp_path / "a.tsv", "a,b\tc;d\n1,2\t3\n")
    assert cells(path) == [("1,2", "3")]
    assert open_reader(path).format == "tsv"


def test_the_delimiter_is_found_in_a_file_longer_than_the_sample(tmp_path):
    rows = [[str(i), "multi\nline; text, " * 50] for i in range(600)]
    path = write(tmp_path / "a.csv", csv_text(["id", "text"], rows, delimiter=";"))
    assert path.stat().st_size > 1 << 18
    assert cells(path) == [tuple(row) for row in rows]


def test_long_cells_nul_bytes_and_mixed_line_ends_are_kept(tmp_path):
    long = "x" * 300_000
    path = write(tmp_path / "a.csv", f'a,b\r\n1,{long}\n2,"two\r\nlines"\r\n3,n\0l\n')
    assert cells(path) == [("1", long), ("2", "two\r\nlines"), ("3", "n\0l")]


def test_batches_are_closed_at_the_asked_number_of_rows_and_can_be_read_again(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n" + "".join(f"{i},x\n" for i in range(10)))
    chunks = open_reader(path, rows=4)
    assert [batch.num_rows for batch in chunks] == [4, 4, 2]
    assert [batch.num_rows for batch in chunks] == [4, 4, 2]
    assert chunks.total is None


def test_a_header_alone_gives_no_rows(tmp_path):
    assert read_table(write(tmp_path / "a.csv", "a,b\n")).num_rows == 0
    assert read_table(write(tmp_path / "b.csv", "a,b")).column_names == ["a", "b"]


def test_blank_lines_after_the_last_row_are_no_rows(tmp_path):
    assert cells(write(tmp_path / "a.csv", "a,b\n1,2\n\n\n")) == [("1", "2")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n1,2\n", "first line .* is blank"),
        ("a,b,a\n1,2,3\n", "more than one column named 'a'"),
        ("a,b\n1,2\n3\n", "Line 3 .* has 1 cells, the header has 2: '3'"),
        ("a,b\n1,2\n3,4,\n", "Line 3 .* has 3 cells"),
        ('a,b\n1,"two\nlines"\n3,4,5\n', "Line 4 .* has 3 cells"),
        ("a,b\n1,2\n\n3,4\n", "Line 3 .* is blank"),
        ('a,b\n1,2\n3,"never closed\n5,6\n', "begins on line 3 "),
        ('a,b\n1,"he said \\"no\\", twice"\n', "begins on line 2 "),
        ('a,b\n1, "x, y"\n', "Line 2 .* has 3 cells"),
        (b"a,b\n1,ok\n2,caf\xe9\n", "byte 14 .line 3. is 0xe9"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16 without its byte-order mark"),
        ("\ufeffa,b\n1,2\n".encode("utf-16-le")[:-1], "not UTF-16|not readable"),
    ],
)
def test_a_csv_that_cannot_be_held_is_refused_with_its_place(tmp_path, content, said):
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(DataError, match=said) as caught:
        read_table(path)
    assert str(path) in caught.value.what
    assert caught.value.cure


@settings(deadline=None)
@given(st.integers(0, 3 << 20), st.booleans())
def test_the_place_of_a_wrong_byte_is_its_offset_in_the_file(tmp_path_factory, position, mark):
    path = tmp_path_factory.getbasetemp() / "latin.csv"
    start = (b"\xef\xbb\xbf" if mark else b"") + b"text\n"
    body = ("é" * (position // 2)).encode()
    path.write_bytes(start + body + b"\n\xff\n")
    with pytest.raises(DataError, match=f"byte {len(start) + len(body) + 1:,} .line 3. is 0xff"):
        read_table(path)


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.bz2", "a.parquet.gz"])
def test_an_unknown_ending_lists_those_supported(tmp_path, name):
    with pytest.raises(DataError, match=r"\.csv, \.tsv.*\.jsonl.*\.parquet"):
        open_reader(write(tmp_path / name, "a,b\n"))


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="no file"):
        open_reader(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        open_reader(tmp_path / "folder.csv")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["1", "true", "null", "\u2028\r\n\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=4,
)


def values(path):
    """The rows of a JSON-lines file as `label` writes them out again."""
    chunks = open_reader(path, rows=3)
    for batch in chunks:
        for row in batch.to_pylist():
            yield {
                f.name: json.loads(row[f.name]) if is_json(f) and row[f.name] is not None else row[f.name]
                for f in chunks.schema
            }


def same(a, b):
    """Equal in value and JSON type: 1, 1.0 and true are three."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), JSON), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_json_lines_come_back_value_for_value(tmp_path_factory, rows, ascii_only, one_type):
    path = tmp_path_factory.getbasetemp() / "nasty.jsonl"
    if one_type:
        rows = [{key: value for key, value in row.items() if isinstance(value, str)} for row in rows]
    path.write_text("".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows), "utf-8", newline="\n")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    chunks = open_reader(path)
    assert list(chunks.columns) == keys
    assert chunks.total == len(rows)
    if keys:
        found = list(values(path))
        assert len(found) == len(rows)
        assert all(same(f, {key: row.get(key) for key in keys}) for f, row in zip(found, rows, strict=True))


def test_columns_of_one_json_type_are_typed_and_others_hold_json_text(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        '{"s": "1", "i": 1, "f": 1.5, "b": true, "m": 1, "n": null, "if": 1}\n'
        '{"s": null, "i": 2, "f": -0.0, "b": false, "m": "1", "l": [1], "if": 1.0}\n',
    )
    schema = open_reader(path).schema
    assert schema.names == ["s", "i", "f", "b", "m", "n", "if", "l"]
    kinds = ["json" if is_json(f) else str(f.type) for f in schema]
    assert kinds == ["string", "int64", "double", "bool", "json", "null", "json", "json"]
    assert read_table(path)["m"].to_pylist() == ["1", '"1"']
    assert math.copysign(1, read_table(path)["f"].to_pylist()[1]) == -1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ('{"a": 1}\n{"a": }\n', "Line 2 .* not JSON"),
        ('{"a": 1}\n[1]\n', "Line 2 .* not a JSON object"),
        ('[\n{"a": 1}]', "Line 1 .* not JSON"),
        ('{"a": NaN}\n', "Line 1 .*NaN is not a JSON value"),
        ('{"a": -Infinity}\n', "Line 1 .*-Infinity"),
        ('{"a": 1e999}\n', "Line 1 .*too large"),
        ('{"a": "\\ud83d"}\n', r"Line 1 .*\\ud83d"),
        ('{"a": 1, "a": 2}\n', "Line 1 .*'a' comes twice"),
        ('{"a": 1}\n\n{"a": 2}\n', "Line 2 .* is blank"),
        ('{"a": ' + "[" * 100_000 + "\n", "Line 1 "),
        (b'{"a": "\xff"}\n', "byte 7 "),
    ],
)
def test_a_json_line_that_cannot_be_held_is_refused_with_its_number(tmp_path, content, said):
    with pytest.raises(DataError, match=said) as caught:
        read_table(write(tmp_path / "a.jsonl", content))
    assert caught.value.cure


def test_json_lines_with_pairs_of_surrogates_line_ends_of_windows_and_blank_lines_at_the_end_are_read(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"a": "\\ud83d\\ude00"}\r\n{"a": "\u2028"}\r\n\r\n')
    assert cells(path) == [("😀",), ("\u2028",)]


def test_parquet_streams_its_own_types_across_row_groups(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["a", None, "c", "d"], pa.large_string()),
            "label": pa.array(["x", "y", None, "x"]).dictionary_encode(),
            "when": pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")),
            "list": pa.array([[1], [], None, [2]]),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=3)
    chunks = open_reader(path, rows=2)
    assert chunks.total == 4
    assert chunks.schema.equals(table.schema)
    assert all(batch.num_rows <= 2 for batch in chunks)
    assert read_table(path).to_pylist() == table.to_pylist()


def test_a_damaged_parquet_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="a corrupt Parquet file"):
        open_reader(write(tmp_path / "a.parquet", b"PAR1 this is not one PAR1"))
