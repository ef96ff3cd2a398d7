"""Pictures as inline SVG: drawn by matplotlib, coloured by the page's style sheet.

In: what is drawn on a `Canvas`. Out: `Picture`, with its numbers. The same drawing gives the same characters on any
day, and can stand beside any other picture of the page.
"""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Drawn in these colours, shown in the style sheet's: light, dark and paper then need no other picture. The style
# sheet's are from the palette of Okabe and Ito, which people with any kind of colour vision can tell apart.
INK, QUIET, RULE, PAPER = "#010101", "#010102", "#010103", "#010104"
BLUE, ORANGE, GREEN, GREY = "#010105", "#010106", "#010107", "#010108"
_VARIABLES = {
    INK: "ink",
    QUIET: "quiet",
    RULE: "rule",
    PAPER: "paper",
    BLUE: "model",
    ORANGE: "accent",
    GREEN: "good",
    GREY: "rival",
}
FONT_SIZE = 12.0
_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, searchable, shaped by the browser in any script
    "svg.hashsalt": "secondcoder",
    "path.simplify": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": FONT_SIZE,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 1.0,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "xtick.major.pad": 6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "butt",
}
# A user's own defaults, of a notebook perhaps, stay out of it.
_DEFAULTS = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
styled = matplotlib.rc_context(_DEFAULTS | _STYLE)  # type: ignore[arg-type]
"""Decorates functions that draw: matplotlib looks its defaults up when something is put on the canvas."""
_NOTHING = {"Date": None, "Creator": None, "Format": None, "Type": None}
_NUMBER = re.compile(r"-?\d+\.\d+")
_PLACE = re.compile(r"§(\d+)§")


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows.

    Attributes
    ----------
    svg
        Markup to stand in the page.
    columns, rows
        Its numbers, as a table of text; the first column names the row.
    """

    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Canvas:
    """A drawing of a fixed size, in CSS pixels, for functions that are `styled`.

    Parameters
    ----------
    name
        Unlike that of every other picture on the page; the ids in the picture begin with it.
    width, height
        In pixels. Narrow enough that its letters can still be read when it is as wide as a phone.
    """

    def __init__(self, name: str, width: float, height: float) -> None:
        self.name, self.width, self.height = name, width, height
        self._words: list[str] = []
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Return axes with these margins, in pixels."""
        box = (
            left / self.width,
            bottom / self.height,
            (self.width - left - right) / self.width,
            (self.height - top - bottom) / self.height,
        )
        return self.figure.add_axes(box)

    def words(self, text: str) -> str:
        """Return what to draw in place of a text from the user's data.

        The text itself is put in afterwards, since it may be in a script that the drawing's font has no letters for, or
        hold signs that mean something to matplotlib.
        """
        self._words.append(" ".join(text.split()))
        return f"§{len(self._words) - 1}§"

    def picture(self, alt: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Picture:
        """Return the drawing, with what it says in words and in numbers."""
        buffer = io.StringIO()
        for artist in self.figure.findobj():
            artist.set_clip_on(False)  # nothing lies outside, and clipping would add ids
        FigureCanvasSVG(self.figure).print_svg(buffer, metadata=_NOTHING)  # type: ignore[no-untyped-call]
        root = ET.fromstring(buffer.getvalue())
        _plain(root)
        self._name_ids(root)
        for element in root.iter("text"):
            element.text = _PLACE.sub(lambda found: self._words[int(found[1])], element.text or "")
        height = f"{self.height:g}"
        root.attrib = {"class": "plot", "viewBox": f"0 0 {self.width:g} {height}", "role": "img", "aria-label": alt}
        root.set("style", f"max-width:{self.width:g}px")
        return Picture(Markup(ET.tostring(root, encoding="unicode")), tuple(columns), tuple(map(tuple, rows)))

    def _name_ids(self, root: ET.Element) -> None:
        """Keep only the ids that are used, under names that no other picture has."""
        used = {element.attrib["href"][1:] for element in root.iter() if "href" in element.attrib}
        names = {old: f"{self.name}-{i}" for i, old in enumerate(sorted(used))}
        for element in root.iter():
            if "href" in element.attrib:
                element.set("href", "#" + names[element.attrib["href"][1:]])
            if (old := element.attrib.pop("id", None)) in names:
                element.set("id", names[old])


def _plain(root: ET.Element) -> None:
    """Drop what an HTML page does not need of an SVG file, and put the style sheet's colours in."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in {"metadata", "style"}:
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.text = (element.text or "").strip() if element.tag == "text" else None
        element.tail = None
        element.attrib = {_local(name): value for name, value in element.attrib.items()}
        for name, value in element.attrib.items():
            element.set(name, _shortened(value) if name != "href" else value)
        if element.attrib.get("transform", "").startswith("rotate(0") or "rotate(-0" in element.get("transform", ""):
            del element.attrib["transform"]
        if "style" in element.attrib:
            element.set("style", _recoloured(element.attrib["style"]))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _shortened(value: str) -> str:
    return " ".join(_NUMBER.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), value).split())


def _recoloured(style: str) -> str:
    kept = [part.strip() for part in style.split(";") if not part.strip().startswith("font-family")]
    style = ";".join(kept)
    for colour, name in _VARIABLES.items():
        style = style.replace(colour, f"var(--{name})")
    return style
