"""CSV with faulty rows: what is guaranteed, and what is likely."""

import io

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from secondcoder.formats import delimited
from secondcoder.formats.delimited import recovered_rows
from secondcoder.formats.files import open_reader
from secondcoder.formats.records import CUT, Rejected, cut_pieces

WIDTH = 3
# Texts as people write them: lines, quotes, delimiters; none begins with what would end a quoted cell, and none ends
# with a line end, whose closing quote, alone on its line, would open a cell with the next line where that is faulty.
LINE = st.text("ab é'\" ", max_size=6)
TEXT = st.lists(LINE, min_size=1, max_size=4).map("\n".join)
CELL = (TEXT | st.text('a,"; ', max_size=6)).filter(
    lambda text: text.lstrip('"')[:1] not in (",", "\n") and not text.rstrip('"').endswith("\n")
)


def quoted(text: str, always: bool) -> str:
    return '"' + text.replace('"', '""') + '"' if always or set(text) & set('",\n') else text


@st.composite
def sound_rows(draw):
    """Rows of three cells, as cells and as they are written."""
    rows = draw(st.lists(st.tuples(*[st.tuples(CELL, st.booleans()) for _ in range(WIDTH)]), min_size=1, max_size=8))
    cells = [[text for text, _ in row] for row in rows]
    return cells, [",".join(quoted(*cell) for cell in row) + "\n" for row in rows]


def recovered(text: str, width: int = WIDTH) -> tuple[list[list[str]], list[Rejected]]:
    header = ",".join("abcdef"[:width]) + "\n"
    found = [row for _, row in recovered_rows(io.StringIO(header + text, newline=""), ",", width)]
    return [r for r in found if not isinstance(r, Rejected)], [r for r in found if isinstance(r, Rejected)]


@settings(deadline=None)
@given(sound_rows())
def test_sound_rows_come_out_as_they_are(rows):
    cells, written = rows
    assert recovered("".join(written)) == (cells, [])


@given(sound_rows(), sound_rows(), st.tuples(CELL, CELL, CELL), st.integers(0, 2), st.sampled_from(["open", "close"]))
def test_one_unclosed_quote_costs_no_other_row(before, after, bad, where, which):
    """A quote planted before an unquoted cell, or left out behind a quoted one."""
    cells = [quoted(text, which == "close") for text in bad]
    if which == "open":
        assume(not cells[where].startswith('"'))
        cells[where] = '"' + cells[where]
    else:
        assume(bad[where].strip('"'))
        cells[where] = cells[where].removesuffix('"')
    faulty = ",".join(cells) + "\n"
    good, rejected = recovered("".join(before[1]) + faulty + "".join(after[1]))
    assert good[: len(before[0])] == before[0]
    assert good[len(good) - len(after[0]) :] == after[0]
    n_lines_before = 1 + "".join(before[1]).count("\n")
    assert rejected
    lines = {line for record in rejected for line in range(record.line, record.line + record.lines)}
    assert lines <= set(range(n_lines_before + 1, n_lines_before + faulty.count("\n") + 1))
    if faulty.count("\n") == 1:
        assert len(good) == len(before[0]) + len(after[0])
        assert [record.raw for record in rejected] == [faulty[:-1]]


@settings(deadline=None)
@given(sound_rows(), st.sampled_from(["too,few", "one,too,many,cells", '1,"he said "no"",x', '1,"x"y,z']), sound_rows())
def test_a_row_that_does_not_fit_costs_no_other_row(before, faulty, after):
    good, rejected = recovered("".join(before[1]) + faulty + "\n" + "".join(after[1]))
    assert good == before[0] + after[0]
    assert [record.raw for record in rejected] == [faulty]
    assert rejected[0].line == 2 + "".join(before[1]).count("\n")


@pytest.mark.parametrize(
    ("text", "width", "good", "bad"),
    [
        # Swallowed up to a text that begins with a line end: seen by what follows.
        ('1,"a\n2,b\n3,c\n9,"\nfoo"\n4,d\n', 2, ["2", "3", "9", "4"], ['1,"a']),
        # Swallowed up to a text that begins with the delimiter: seen by the stray quote.
        ('1,"a,z\n2,b,c\n3,d,",x"\n4,5,6\n', 3, ["2", "3", "4"], ['1,"a,z']),
        # A row of several lines with a cell too many is one row.
        ('1,2\n3,"x\ny",5\n4,5\n', 2, ["1", "4"], ['3,"x\ny",5']),
        # Blank lines in the middle may be lost rows; at the end they are none.
        ("1,2\n\n3,4\n\n\n", 2, ["1", "3"], [""]),
        # A stray quote in an unquoted cell is no fault.
        ('1,5" pipe\n2,b\n', 2, ["1", "2"], []),
        # The tail of a faulty row is not taken for a row.
        ('1,"he said \\"no\\", x\nleft",u\n2,3\n', 2, ["2"], ['1,"he said \\"no\\", x', 'left",u']),
        ('1,"never closed\n2,3\n4,5', 2, ["2", "4"], ['1,"never closed']),
    ],
)
def test_faults_and_what_is_left_of_the_file(text, width, good, bad):
    rows, rejected = recovered(text, width)
    assert [row[0] for row in rows] == good
    assert [record.raw for record in rejected] == bad


def test_a_good_row_of_several_lines_before_a_faulty_one_stays_whole():
    rows, rejected = recovered('1,"x\ny"\n2,z,surplus\n3,4\n', 2)
    assert rows == [["1", "x\ny"], ["3", "4"]]
    assert [(record.line, record.reason) for record in rejected] == [(4, "3 cells, the header has 2")]


def test_an_unclosed_quote_is_looked_ahead_for_no_further_than_the_longest_row(monkeypatch):
    monkeypatch.setattr(delimited, "LONGEST_ROW", 1000)
    read = 0

    def lines():
        nonlocal read
        yield "a,b\n"
        yield '1,"never closed\n'
        for i in range(1000):
            read += 1
            yield f"{i},some text\n"

    found = recovered_rows(lines(), ",", 2)
    assert isinstance(next(found)[1], Rejected)
    assert read < 100
    assert [row[0] for _, row in found] == [str(i) for i in range(1000)]


def test_a_million_rows_lose_only_the_faulty_one_in_the_middle(tmp_path):
    path = tmp_path / "a.csv"
    n = 20_000
    rows = [f'{i},"first line,\nsecond ""line"" {i}",x\n' for i in range(n)]
    rows[n // 2] = f'{n // 2},"never closed\nsecond line,x\n'
    path.write_text("id,text,note\n" + "".join(rows), "utf-8")
    pieces = list(open_reader(path, lenient=True).pieces())
    ids = [value for piece in pieces for value in piece.batch["id"].to_pylist()]
    assert ids == [str(i) for i in range(n) if i != n // 2]
    rejected = [record for piece in pieces for record in piece.rejected]
    assert [record.line for record in rejected] == [n + 2, n + 3]


def test_bytes_that_are_not_utf8_cost_their_row_only(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("a,b\n1,é\n".encode() + b"2,caf\xe9\n3,x\n")
    (piece,) = open_reader(path, lenient=True).pieces()
    assert piece.batch["a"].to_pylist() == ["1", "3"]
    assert [(record.line, record.raw, record.reason) for record in piece.rejected] == [(3, "2,caf\\xe9", "not UTF-8")]


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 5))
def test_pieces_hold_all_records_in_order(good, rows):
    import pyarrow as pa

    records = [(1, i if is_good else Rejected(i, str(i), "")) for i, is_good in enumerate(good)]
    pieces = list(cut_pieces(records, rows, lambda values: pa.record_batch({"i": pa.array(values, pa.int64())})))
    found = []
    for piece in pieces:
        values = piece.batch["i"].to_pylist()
        assert piece.first == len(found)
        assert piece.n_records <= rows
        for at in range(len(values) + 1):
            found += [record.line for record in piece.rejected if record.at == at] + values[at : at + 1]
    assert found == list(range(len(good)))
    assert CUT > 0
