"""The report's pictures with two axes: training, reliability, risk and coverage, learning curve.

In: what `secondcoder.evaluation` found. Out: `Picture`. Nothing is computed here but the places on the page.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from secondcoder.evaluation.calibration import Calibration
from secondcoder.evaluation.learning_curve import LearningCurve
from secondcoder.evaluation.selective import Guarantee, RiskCoverage
from secondcoder.reporting.drawing import BLUE, FONT_SIZE, GREY, INK, ORANGE, PAPER, QUIET, Canvas, Picture, styled
from secondcoder.reporting.figures import WIDTH
from secondcoder.reporting.formatting import format_count, format_figure, format_metric, format_share

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
def reliability(name: str, calibration: Calibration, before: Calibration | None = None, sets: bool = False) -> Picture:
    """Return how often the model is right, by how sure it says it is; `before` is what it was without temperature.

    Of `sets` of classes: how often a class is there, by its probability.
    """
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
    titles = ("share that has the class", "probability of the class") if sets else (
        "share that is right", "how sure the model says it is"
    )  # fmt: skip
    _titled(axes, *titles)
    rows = [
        (format_share(b.confidence), format_share(b.accuracy),
         f"{b.interval.low:.1%} to {b.interval.high:.1%}" if b.interval else "–", format_count(b.n))
        for b in bins
    ]  # fmt: skip
    units, right = ("decisions", "yes") if sets else ("texts", "right")
    said = "how often the class is there" if sets else "how often the model is right"
    alt = f"Reliability diagram: for groups of {units} with alike probabilities, {said}. " + "; ".join(
        f"says {row[0]}, is {right} {row[1]}" for row in rows
    )
    return canvas.picture(alt, ("mean probability", right, "95 % interval", units), rows)


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
