"""The report's pictures of figures with their intervals: dot plots, one row for each figure.

In: `Evaluation`, `Mistakes`, shares. Out: `Picture`. Nothing is computed here but the places on the page.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from secondcoder.evaluation.calibration import Calibration
from secondcoder.evaluation.error_analysis import ErrorRate, Mistakes
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.intervals import Interval
from secondcoder.evaluation.learning_curve import LearningCurve
from secondcoder.evaluation.metrics import ReliabilityWords
from secondcoder.evaluation.selective import Guarantee, RiskCoverage
from secondcoder.evaluation.tasks import task_rules
from secondcoder.reporting.content import PartContent, ReportContent, Shown
from secondcoder.reporting.formatting import (
    MODEL,
    TFIDF,
    UNDEFINED,
    format_count,
    format_figure,
    format_interval,
    format_metric,
    format_share,
    shortened,
)
from secondcoder.reporting.svg import (
    BLUE,
    FONT_SIZE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    QUIET,
    RULE,
    Canvas,
    Picture,
    styled,
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
        As `secondcoder.reporting.svg` and matplotlib name them.
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


_HEIGHT = 270
T = TypeVar("T")


@styled
def training(
    name: str, history: Sequence[Mapping[str, Any]], figure: str, best: tuple[int | None, int | None]
) -> Picture:
    """Return how a figure went from epoch to epoch; one line for each seed.

    Parameters
    ----------
    figure
        A key of the entries, such as ``"train_loss"``.
    best
        Seed and epoch that were kept.
    """
    seeds: dict[Any, list[Mapping[str, Any]]] = {}
    for entry in history:
        if isinstance(entry.get(figure), int | float):
            seeds.setdefault(entry.get("seed"), []).append(entry)
    canvas = Canvas(name, WIDTH, 220)
    axes = canvas.axes(44, 26, 20, 36)
    title = "training loss" if figure == "train_loss" else f"{format_metric(figure)} on dev"
    values = [entry[figure] for entries in seeds.values() for entry in entries]
    epochs = sorted({entry["epoch"] for entries in seeds.values() for entry in entries})
    own = best[0] if best[0] in seeds else next(iter(seeds), None)
    for seed, entries in sorted(seeds.items(), key=lambda item: item[0] == own):  # the kept one on top
        colour = BLUE if seed == own else GREY
        xs, ys = [entry["epoch"] for entry in entries], [entry[figure] for entry in entries]
        axes.plot(xs, ys, "o-", color=colour, linewidth=2 if seed == own else 1.2, markersize=5)
        for x, y in zip(xs, ys, strict=True):
            if seed == own and x == best[1]:
                axes.plot([x], [y], "o", color=PAPER, markersize=11, markeredgecolor=BLUE, markeredgewidth=2)
                axes.plot([x], [y], "o", color=BLUE, markersize=5)
    _limits(axes, epochs, values)
    _titled(axes, title, "epoch")
    rows = [
        (*([str(entry["seed"])] if None not in seeds else []), str(entry["epoch"]), format_figure(float(entry[figure])))
        for entries in seeds.values()
        for entry in entries
    ]
    kept = f" Epoch {best[1]} was kept." if best[1] is not None else ""
    ends = ", ".join(format_figure(float(entries[-1][figure])) for entries in seeds.values())
    alt = f"Line chart: {title} by epoch, over {len(epochs)} epochs; at the end {ends}.{kept}"
    return canvas.picture(alt, (*(["seed"] if None not in seeds else []), "epoch", title), rows)


@styled
def seeds(name: str, figures: Mapping[str, float], metric: str, best: int | None) -> Picture:
    """Return the figure on dev of every seed, with their mean and standard deviation."""
    values = list(figures.values())
    mean, spread = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    canvas = Canvas(name, WIDTH, 96)
    axes = canvas.axes(20, 30, 20, 36)
    axes.plot([mean - spread, mean + spread], [0, 0], color=GREY, linewidth=8, alpha=0.5)
    axes.plot([mean, mean], [-0.6, 0.6], color=INK, linewidth=1.5)
    for seed, value in figures.items():
        own = str(best) == seed
        axes.plot([value], [0], "o", color=BLUE if own else GREY, markersize=9, markeredgecolor=PAPER)
    low, high = min(*values, mean - spread), max(*values, mean + spread)
    room = max((high - low) * 0.15, 0.005)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(_ticks(5))
    _titled(axes, f"{format_metric(metric)} on dev: mean {mean:.3f}, standard deviation {spread:.3f}", "")
    rows = [(seed, format_figure(value)) for seed, value in figures.items()]
    rows += [("mean", format_figure(mean)), ("standard deviation", format_figure(spread))]
    title = f"{format_metric(metric)} on dev"
    alt = f"Dots: {title} of {len(values)} seeds, mean {mean:.3f}, standard deviation {spread:.3f}."
    return canvas.picture(alt, ("seed", title), rows)


@styled
def reliability(
    name: str, calibration: Calibration, words: ReliabilityWords, before: Calibration | None = None
) -> Picture:
    """Return how often the model is right, by how sure it says it is; `before` is what it was without temperature."""
    canvas = Canvas(name, WIDTH, 330)
    axes = canvas.axes(50, 26, 20, 44)
    bins = [b for b in calibration.bins if b.n]
    points = [b.confidence for b in bins] + [b.accuracy for b in bins] + [b.interval.low for b in bins if b.interval]
    points += [v for b in (before.bins if before else ()) if b.n for v in (b.confidence, b.accuracy)]
    low = max(0.0, math.floor(min(points, default=0.0) * 10) / 10)
    axes.plot([low, 1], [low, 1], color=QUIET, linewidth=1, linestyle=(0, (3, 3)))
    if before:
        old = [b for b in before.bins if b.n]
        axes.plot([b.confidence for b in old], [b.accuracy for b in old], "D-", color=GREY, linewidth=1, markersize=6,
                  markerfacecolor=PAPER)  # fmt: skip
    for b in bins:
        if b.interval:
            axes.plot([b.confidence] * 2, [b.interval.low, b.interval.high], color=BLUE, linewidth=2.5, alpha=0.5)
    axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], "o", color=BLUE, markersize=8,
              markeredgecolor=PAPER, markeredgewidth=1.2)  # fmt: skip
    axes.set_xlim(low, 1)
    axes.set_ylim(low, 1)
    axes.grid()
    _per_cent(axes)
    _titled(axes, words.observed, words.stated)
    rows = [
        (format_share(b.confidence), format_share(b.accuracy),
         f"{b.interval.low:.1%} to {b.interval.high:.1%}" if b.interval else "–", format_count(b.n))
        for b in bins
    ]  # fmt: skip
    alt = f"Reliability diagram: for groups of {words.units} with alike probabilities, {words.how_often}. " + "; ".join(
        f"says {row[0]}, is {words.right} {row[1]}" for row in rows
    )
    return canvas.picture(alt, ("mean probability", words.right, "95 % interval", words.units), rows)


@styled
def risk_coverage(name: str, risk: RiskCoverage, guarantee: Guarantee | None = None) -> Picture:
    """Return how the error falls as the least sure texts are left to people."""
    canvas = Canvas(name, WIDTH, _HEIGHT)
    axes = canvas.axes(50, 26, 20, 44)
    points = sorted(risk.points, key=lambda point: point.coverage)
    banded = [p for p in points if p.interval]
    # Of few texts next to nothing is known: their band may leave the picture, so that the rest can be seen.
    highs = [p.interval.high for p in banded if p.interval and p.coverage >= 0.3]
    top = 1.05 * max([p.error for p in points] + highs + ([guarantee.max_error] if guarantee else [])) or 0.1
    if banded:
        axes.fill_between(
            [p.coverage for p in banded],
            [p.interval.low for p in banded if p.interval],
            [min(p.interval.high, top) for p in banded if p.interval],
            color=BLUE, alpha=0.18, linewidth=0,
        )  # fmt: skip
    axes.plot([p.coverage for p in points], [p.error for p in points], color=BLUE, linewidth=2)
    if guarantee and guarantee.min_confidence is not None and guarantee.coverage is not None:
        axes.axhline(guarantee.max_error, color=ORANGE, linewidth=1.2, linestyle=(0, (3, 3)))
        axes.plot([guarantee.coverage] * 2, [0, guarantee.max_error], color=ORANGE, linewidth=2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, top)
    axes.grid()
    _per_cent(axes)
    _titled(axes, "error among the texts that it labels", "share of texts that it labels, the surest first")
    rows = [
        (format_figure(p.min_confidence), format_share(p.coverage), format_share(p.error),
         f"{p.interval.low:.1%} to {p.interval.high:.1%}" if p.interval else "–")
        for p in _some(points[::-1], 12)
    ]  # fmt: skip
    ends = "; ".join(f"labels {row[1]}, errs in {row[2]}" for row in _some(rows, 5))
    alt = f"Line chart: the error among labelled texts by the share that is labelled. {ends}."
    return canvas.picture(alt, ("least probability", "labelled", "error among them", "95 % interval"), rows)


@styled
def learning(name: str, curve: LearningCurve) -> Picture:
    """Return the figure by number of training texts: trainings, fitted law with its band, and where that leads."""
    canvas = Canvas(name, WIDTH, _HEIGHT)
    axes = canvas.axes(50, 26, 20, 44)
    sizes = sorted({point.size for point in curve.points})
    law = [(size, at) for size in _spaced(sizes[0], 2 * curve.largest) if (at := curve.at(size)) is not None]
    if law:
        axes.fill_between(
            [size for size, _ in law], [at[1] for _, at in law], [at[2] for _, at in law],
            color=BLUE, alpha=0.18, linewidth=0,
        )  # fmt: skip
        for dashed in (False, True):
            part = [(size, at[0]) for size, at in law if (size >= curve.largest if dashed else size <= curve.largest)]
            axes.plot(*zip(*part, strict=True), color=BLUE, linewidth=2, linestyle=(0, (3, 3)) if dashed else "-")
    axes.plot([p.size for p in curve.points], [p.figure for p in curve.points], "o", color=INK, markersize=5,
              markeredgecolor=PAPER)  # fmt: skip
    axes.set_xscale("log")
    ticks = _some([*sizes, 2 * curve.largest] if law else sizes, 6)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(_ticks(5))
    axes.grid()
    _titled(axes, f"{format_metric(curve.name)}", "training texts")
    rows = []
    for size in sizes:
        figures = [point.figure for point in curve.points if point.size == size]
        at = curve.at(size)
        fitted = f"{at[0]:.3f} [{at[1]:.3f}, {at[2]:.3f}]" if at else "–"
        rows.append((format_count(size), ", ".join(map(format_figure, figures)), fitted))
    if law and (at := curve.at(2 * curve.largest)):
        rows.append((format_count(2 * curve.largest), "not trained", f"{at[0]:.3f} [{at[1]:.3f}, {at[2]:.3f}]"))
    said = "; ".join(f"{row[0]} texts: {row[1]}" for row in rows)
    alt = f"Learning curve: {format_metric(curve.name)} by number of training texts. {said}."
    return canvas.picture(alt, ("training texts", "trainings", "fitted curve"), rows)


def _spaced(low: float, high: float, n: int = 33) -> list[float]:
    """Return sizes from low to high, evenly spaced in their logarithm, with half of high, where the trainings end."""
    inner = [low * (high / low) ** (i / (n - 1)) for i in range(n - 1)]
    return sorted({*inner, high / 2, high})


def _limits(axes: Axes, epochs: Sequence[int], values: Sequence[float]) -> None:
    room = max((max(values) - min(values)) * 0.15, 0.01)
    axes.set_xlim(min(epochs) - 0.3, max(epochs) + 0.3)
    axes.set_ylim(min(values) - room, max(values) + room)
    axes.set_xticks(_some(epochs, 10))
    axes.yaxis.set_major_locator(_ticks(4))
    axes.grid(axis="y")


def _titled(axes: Axes, y: str, x: str) -> None:
    """Write what goes up above the axis, where it can be read without turning the head."""
    edge = -axes.get_position().x0 / axes.get_position().width
    axes.set_title(y, loc="left", fontsize=FONT_SIZE, fontweight="bold", pad=10, x=edge)
    if x:
        axes.set_xlabel(x, loc="right", labelpad=6)


def _per_cent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_ticks(5))
        axis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def _ticks(most: int) -> MaxNLocator:
    return MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])


def _some(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many of the items, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def draw_all(content: ReportContent, shown: Shown) -> dict[str, Picture]:
    """Return the pictures by name."""
    found: dict[str, Picture] = {}

    def draw(name: str, picture: Callable[..., Picture], *given: object) -> None:
        found[name] = picture(f"p{len(found)}", *given)

    if content.parts:
        draw("shares", class_shares, content.label_names, content.parts)
    for name in ("train_loss", content.metric):
        points = [entry for entry in content.history if isinstance(entry.get(name), int | float)]
        if len({entry.get("epoch") for entry in points}) > 1:
            draw(name, training, points, name, (content.best_seed, content.best_epoch))
    if len(content.seed_figures) > 1:
        draw("seeds", seeds, content.seed_figures, content.metric, content.best_seed)
    if shown.judged_on:
        _draw_judged(shown, draw)
    if shown.curve:
        draw("curve", learning, shown.curve)
    if shown.erring_on:
        _draw_errors(shown.mistakes[shown.erring_on], draw)
    return found


def _draw_errors(mistakes: Mistakes, draw: Callable[..., None]) -> None:
    if len(mistakes.by_length) > 1:
        draw("length", errors_by_length, mistakes)
    if mistakes.worst_groups:
        draw("groups", errors_by_group, mistakes)


def _draw_judged(shown: Shown, draw: Callable[..., None]) -> None:
    model = shown.main[MODEL]
    draw("classes", class_figures, model, shown.main.get(TFIDF))
    if model.calibration and model.calibration.bins:
        words = task_rules(model.task).reliability
        draw("reliability", reliability, model.calibration, words, model.uncalibrated)
    if model.risk_coverage and len(model.risk_coverage.points) > 1:
        draw("risk", risk_coverage, model.risk_coverage, shown.guarantee)
