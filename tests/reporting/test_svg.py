import xml.etree.ElementTree as ET

import matplotlib
import pytest

from secondcoder.reporting import plots
from secondcoder.reporting.content import PartContent
from secondcoder.reporting.svg import INK, Canvas, styled

PARTS = {"train": PartContent(10, {"a": 7, "b": 3}), "test": PartContent(4, {"a": 4})}


def test_text_of_the_user_comes_out_as_it_is_in_any_script() -> None:
    # warnings are errors here: the drawing's font has none of these letters
    names = ["経済政策", "سياسة", "<b> & $x_1$ \\frac", "§0§", "a\nb"]
    picture = plots.class_shares("p", names, {"train": PartContent(5, dict.fromkeys(names, 1))})
    found = [element.text for element in ET.fromstring(picture.svg).iter("text")]
    assert found[-5:] == ["経済政策", "سياسة", "<b> & $x_1$ \\frac", "§0§", "a b"]


def test_a_long_name_is_cut_in_the_picture_and_whole_in_its_table() -> None:
    name = "a very long name " * 9
    picture = plots.class_shares("p", [name], {"train": PartContent(1, {name: 1})})
    assert "a very long name a very long name a very long name…" in picture.svg
    assert picture.rows[0][0] == name


def test_colours_are_the_style_sheet_s() -> None:
    svg = plots.class_shares("p", ["a", "b"], PARTS).svg
    assert "var(--model)" in svg
    assert "#" not in svg.replace('href="#', "")


def test_ids_begin_with_the_picture_s_name() -> None:
    svg = ET.fromstring(plots.class_shares("p7", ["a", "b"], PARTS).svg)
    ids = [element.attrib["id"] for element in svg.iter() if "id" in element.attrib]
    assert ids
    assert all(id_.startswith("p7-") for id_ in ids)


def test_a_user_s_own_defaults_of_matplotlib_change_nothing() -> None:
    before = plots.class_shares("p", ["a", "b"], PARTS)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert plots.class_shares("p", ["a", "b"], PARTS) == before


def test_a_class_without_texts_is_drawn() -> None:
    picture = plots.class_shares("p", ["a", "b"], PARTS | {"dev": PartContent(0, {})})
    assert picture.rows == (("a", "7 (70.0%)", "4 (100.0%)", "0 (–)"), ("b", "3 (30.0%)", "0 (0.0%)", "0 (–)"))


@styled
def _line(words: str) -> str:
    canvas = Canvas("p", 100, 50)
    canvas.axes(0, 0, 0, 0).text(0, 0, canvas.words(words), color=INK)
    return canvas.picture('a "quoted" <alt>', ("x",), ()).svg


def test_the_alternative_text_is_escaped() -> None:
    assert 'aria-label="a &quot;quoted&quot; &lt;alt&gt;"' in _line("x")


@pytest.mark.parametrize(("low", "high"), [(low / 4, 1.0) for low in range(4)] + [(0.0, h / 10) for h in range(1, 11)])
def test_ticks_go_from_end_to_end_in_round_steps(low: float, high: float) -> None:
    ticks = plots._even_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert (ticks[0], ticks[-1]) == (low, pytest.approx(high))
    assert all(100 * tick == pytest.approx(round(100 * tick)) for tick in ticks)
