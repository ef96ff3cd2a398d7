"""The report's pictures of figures with their intervals: dot plots, one row for each figure.

In: `Evaluation`, `Mistakes`, shares. Out: `Picture`. Nothing is computed here but the places on the page.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes

from secondcoder.evaluation.error_analysis import ErrorRate, Mistakes
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.intervals import Interval
from secondcoder.reporting.content import PartContent
from secondcoder.reporting.drawing import BLUE, GREEN, GREY, INK, ORANGE, PAPER, QUIET, RULE, Canvas, Picture, styled
from secondcoder.reporting.formatting import (
    UNDEFINED,
    format_count,
    format_figure,
    format_interval,
    format_metric,
    format_share,
    shortened,
)

WIDTH = 400
"""Of every picture, in pixels: on a phone its letters are then nine tenths of their size."""
_ROW, _HEAD = 19, 25
_LONGEST_NAME = 52
PER_CLASS = {"precision": (BLUE, "o"), "recall": (ORANGE, "s"), "f1": (INK, "D")}
PER_PART = {"train": (GREY, "s"), "dev": (ORANGE, "D"), "test": (BLUE, "o")}


@dataclass(frozen=True)
class Dot:
    """One row of a dot plot.

    Attributes
    ----------
    name
        Written to its left.
    value
        None where it is undefined: the row is then empty.
    interval
        Drawn as a line through the dot.
    shown
        The value as text, written to its right.
    colour, marker
        As `secondcoder.reporting.drawing` and matplotlib name them.
    rival
        A second value, drawn as an upright stroke.
    """

    name: str
    value: float | None
    interval: Interval | None
    shown: str
    colour: str = BLUE
    marker: str = "o"
    rival: float | None = None


@styled
def class_figures(name: str, evaluation: Evaluation, rival: Evaluation | None = None) -> Picture:
    """Return precision, recall and F1 of every class; a stroke marks the F1 of the rival."""
    blocks, rows = [], []
    for label, figures in evaluation.per_class.items():
        dots = []
        for figure, (colour, marker) in PER_CLASS.items():
            value, key = getattr(figures, figure), f"{figure}:{label}"
            other = rival.per_class[label].f1 if rival and figure == "f1" else None
            dots.append(
                Dot(
                    format_metric(figure),
                    value,
                    evaluation.interval(key) if value is not None else None,
                    format_figure(value),
                    colour,
                    marker,
                    other,
                )
            )
        blocks.append((label, f"{format_count(figures.support)} texts", dots))
        cells = [f"{dot.shown} {format_interval(dot.interval)}".strip() for dot in dots]
        rows.append((label, *cells, format_count(figures.support), format_count(figures.predicted)))
    alt = f"Dot plot: precision, recall and F1 of each of {len(rows)} classes, with intervals. " + " ".join(
        f"{row[0]}: precision {row[1]}, recall {row[2]}, F1 {row[3]}." for row in rows[:12]
    )
    picture = _dot_plot(Canvas(name, WIDTH, _height(blocks)), blocks)
    return picture.picture(alt, ("class", "precision", "recall", "F1", "texts", "predicted"), rows)


@styled
def class_shares(name: str, label_names: Sequence[str], parts: Mapping[str, PartContent]) -> Picture:
    """Return the share of each class in every part."""
    blocks, rows = [], []
    for label in label_names:
        dots, cells = [], []
        for part, content in parts.items():
            n = content.label_counts.get(label, 0)
            share = n / content.rows if content.rows else None
            dots.append(Dot(part, share, None, format_share(share), *PER_PART.get(part, (GREEN, "o"))))
            cells.append(f"{format_count(n)} ({format_share(share)})")
        blocks.append((label, "", dots))
        rows.append((label, *cells))
    alt = "Dot plot: the share of each class in every part of the data. " + " ".join(
        f"{label}: " + ", ".join(f"{dot.name} {dot.shown}" for dot in dots) + "." for label, _, dots in blocks[:12]
    )
    most = max((dot.value or 0.0 for *_, dots in blocks for dot in dots), default=1.0)
    canvas = Canvas(name, WIDTH, _height([(label, "", dots[:1]) for label, _, dots in blocks]))
    _dot_plot(canvas, blocks, low=0.0, high=_round_up(most), per_cent=True, overlaid=True)
    return canvas.picture(alt, ("class", *parts), rows)


@styled
def errors_by_length(name: str, mistakes: Mistakes) -> Picture:
    """Return the error rate of each band of text lengths, and of all texts."""
    unit = mistakes.length_unit
    bands = [
        (f"{_span(band.shortest, band.longest)} {unit}", "", [_error_dot("", band)]) for band in mistakes.by_length
    ]
    return _error_picture(name, f"Error rate by length of text, in {unit}", bands, mistakes.overall)


@styled
def errors_by_group(name: str, mistakes: Mistakes, most: int = 10) -> Picture:
    """Return the error rates of the groups with most errors, and of all texts."""
    blocks = [(group.group, "", [_error_dot("", group)]) for group in mistakes.worst_groups[:most]]
    return _error_picture(name, "Error rate of the worst groups", blocks, mistakes.overall)


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _error_dot(name: str, errors: ErrorRate) -> Dot:
    shown = f"{format_share(errors.rate)} of {errors.n:,}" if errors.n else UNDEFINED
    return Dot(name, errors.rate, errors.interval, shown, ORANGE)


def _error_picture(name: str, title: str, blocks: list[tuple[str, str, list[Dot]]], overall: ErrorRate) -> Picture:
    rows = [
        (head, *dot.shown.split(" of "), _limits_in_per_cent(dot.interval))
        for head, _, dots in (*blocks, ("all texts", "", [_error_dot("", overall)]))
        for dot in dots
    ]
    most = max((dot.interval.high if dot.interval else dot.value or 0) for *_, dots in blocks for dot in dots)
    canvas = _dot_plot(
        Canvas(name, WIDTH, _height(blocks)),
        blocks,
        low=0.0,
        high=_round_up(most),
        per_cent=True,
        line=overall.rate,
    )
    alt = f"Dot plot: {title.lower()}. " + " ".join(f"{row[0]}: {row[1]} of {row[2]}." for row in rows)
    return canvas.picture(alt, ("texts", "error rate", "of texts", "95 % interval"), rows)


def _limits_in_per_cent(interval: Interval | None) -> str:
    return UNDEFINED if interval is None else f"{interval.low:.1%} to {interval.high:.1%}"


def _round_up(share: float) -> float:
    return min(1.0, math.ceil(share * 10) / 10 or 0.1)


def _height(blocks: Sequence[tuple[str, str, Sequence[Dot]]]) -> float:
    return 26 + sum(_HEAD + _ROW * len(dots) for *_, dots in blocks)


def _dot_plot(
    canvas: Canvas,
    blocks: Sequence[tuple[str, str, Sequence[Dot]]],
    *,
    low: float | None = None,
    high: float = 1.0,
    per_cent: bool = False,
    line: float | None = None,
    overlaid: bool = False,
) -> Canvas:
    """Draw blocks of dots under their heads.

    Parameters
    ----------
    low, high
        Ends of the axis.
    line
        A value to compare all of them with.
    overlaid
        Put the dots of a block on one row, without words.
    """
    named = not overlaid and any(dot.name for *_, dots in blocks for dot in dots)
    axes = canvas.axes(68 if named else 8, 2, 16 if overlaid else 96 if line is not None else 50, 24)
    low = _lowest(blocks) if low is None else low
    axes.set_xlim(low, high)
    axes.set_ylim(canvas.height - 26, 0)
    ticks = _even_ticks(low, high)
    axes.set_xticks(ticks, [f"{tick:.0%}" if per_cent else f"{tick:.2g}" for tick in ticks])
    axes.set_yticks([])
    axes.grid(axis="x")
    if line is not None:
        axes.axvline(line, color=INK, linewidth=1, linestyle=(0, (3, 3)))
    y = 0.0
    for head, remark, dots in blocks:
        _head(canvas, axes, y + 15, head, remark)
        y += _HEAD
        for dot in dots:
            _row(axes, y + _ROW / 2, replace(dot, name="", shown="") if overlaid else dot)
            y += 0 if overlaid else _ROW
        y += _ROW if overlaid else 0
    return canvas


def _even_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from low to high, both included; these are multiples of 0.05."""
    steps = (0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5)
    n = next(round(x) for step in steps if (x := (high - low) / step) < 7.01 and abs(x - round(x)) < 1e-6)
    return [low + i * (high - low) / n for i in range(n + 1)]


def _lowest(blocks: Sequence[tuple[str, str, Sequence[Dot]]]) -> float:
    """Return where the axis of dots begins: dots, unlike bars, need no zero; but never so late that noise looks big."""
    values = [v for *_, dots in blocks for dot in dots for v in (dot.value, dot.rival) if v is not None]
    values += [dot.interval.low for *_, dots in blocks for dot in dots if dot.interval]
    lowest = min(values, default=0.0)
    return next(limit for limit in (0.75, 0.5, 0.25, 0.0, -math.inf) if lowest > limit + 0.01 or limit == 0.0)


def _head(canvas: Canvas, axes: Axes, y: float, head: str, remark: str) -> None:
    across = axes.get_yaxis_transform()
    edge = -axes.get_position().x0 / axes.get_position().width
    name = shortened(head, _LONGEST_NAME - len(remark))
    axes.text(edge, y, canvas.words(name), transform=across, fontweight="bold", va="center")
    if remark:
        end = (1 - axes.get_position().x0) / axes.get_position().width
        axes.text(end, y, remark, transform=across, color=QUIET, va="center", ha="right")


def _row(axes: Axes, y: float, dot: Dot) -> None:
    across = axes.get_yaxis_transform()
    if dot.name:
        axes.text(-0.02, y, dot.name, transform=across, color=QUIET, va="center", ha="right")
    axes.text(1.03, y, dot.shown, transform=across, va="center")
    if dot.rival is not None:
        axes.plot([dot.rival] * 2, [y - 6, y + 6], color=GREY, linewidth=3)
    if dot.interval:
        axes.plot([dot.interval.low, dot.interval.high], [y, y], color=dot.colour, linewidth=2.5, alpha=0.55)
    if dot.value is not None:
        axes.plot(
            [dot.value], [y], dot.marker, color=dot.colour, markersize=8, markeredgecolor=PAPER, markeredgewidth=1.2
        )
    else:
        axes.plot([0, 1], [y, y], color=RULE, linewidth=1, transform=across)
