"""How often do the intervals hold the truth? Simulated studies over two grids.

In: nothing. Out: tables in markdown and the same figures as JSON: for each figure the coverage of nominal 95 %, its
minimum and where that is, the mean width, how often there is no interval; beside it the percentile bootstrap on a
smaller grid.

    python benchmarks/coverage.py --result benchmarks/results/2026-11-29-coverage

The first grid, of recalls. A text of the first class is found with a probability of 0.95, one of another class with
0.6; if not, it gets another class by how frequent these are. Two classes at 50:50, 90:10 or 97:3, or five at 90:2.5×4
or 97:0.75×4. Either texts are independent; or groups have 50 texts on average, all alike, or with shares that fall as
1 / i^1.5 (the largest has 60, 57, 52, 49 or 44 % of 4, 5, 8, 12 or 30). Recalls of a group are then beta-distributed
with an intraclass correlation of 0, 0.1 or 0.3, and one uniform number decides for all classes: a group that is hard
is so throughout. The truth is that of infinitely many groups; with four groups, as intervals speak of these documents
only, that of infinitely many texts of these four. A missing interval counts as one that misses.

The second grid, of signals. A study draws n rows of k classes, in equal shares or 90 % of the first and 10 % shared
by the others. A classifier sees each row with noise and gives the class that Bayes' rule finds most probable; its
probabilities are overconfident (temperature 2/3). How much it sees is chosen such that the mean recall over the
classes is 0.6, 0.8 or 0.95; the accuracy is then between 0.6 and 0.99. Grouped rows: the sizes of groups are log-
normal (the largest of 12 has some 20 % of the rows, each has one at least). Each group has its own shares of the
classes (Dirichlet), its own leaning to each class, and is harder or easier as a whole; the truth is that of
infinitely many groups.
"""

import argparse
import itertools
import json
import multiprocessing
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from secondcoder.environment import machine, versions
from secondcoder.evaluation.count_intervals import Tallies, figure_limits
from secondcoder.evaluation.intervals import FEWEST_GROUPS, loss_interval

LEVEL = 0.95
SIZES = (100, 300, 1_000)
SHARES = ("balanced", "90:10")
CLASSES = (2, 3, 7)
QUALITIES = (0.6, 0.8, 0.95)
GROUPS = (None, 12, 30)
RECALLS, A_GROUP = (0.95, 0.6), 50
MIXES = {
    "50:50": (0.5, 0.5),
    "90:10": (0.9, 0.1),
    "97:3": (0.97, 0.03),
    "90:2.5×4": (0.9, 0.025, 0.025, 0.025, 0.025),
    "97:0.75×4": (0.97, 0.0075, 0.0075, 0.0075, 0.0075),
}
CHUNK = 250  # studies drawn at once
OVERCONFIDENCE = 1.5
SIZE_SPREAD, SHARE_WEIGHT, LEANING, EASE = 0.6, 15.0, 0.5, 0.25
# Distance of the class means in standard deviations of the noise, by grouped, shares, classes: one for each quality.
SIGNALS = {
    (False, "balanced", 2): (0.36, 1.19, 2.33),
    (False, "90:10", 2): (0.97, 1.61, 2.62),
    (False, "balanced", 3): (0.95, 1.65, 2.72),
    (False, "90:10", 3): (1.56, 2.17, 3.08),
    (False, "balanced", 7): (1.56, 2.26, 3.24),
    (False, "90:10", 7): (2.17, 2.73, 3.56),
    (True, "balanced", 2): (0.38, 1.32, 2.73),
    (True, "90:10", 2): (0.98, 1.75, 3.01),
    (True, "balanced", 3): (0.98, 1.86, 3.26),
    (True, "90:10", 3): (1.56, 2.30, 3.55),
    (True, "balanced", 7): (1.66, 2.56, 3.88),
    (True, "90:10", 7): (2.22, 2.92, 4.05),
}
AVERAGED = [
    "accuracy",
    "balanced-accuracy",
    *[f"{average}-{figure}" for average in ("macro", "weighted") for figure in ("f1", "precision", "recall")],
]
MEANS = ["log-loss", "brier"]
BY_CLASS = ["f1", "precision", "recall"]
FIGURES = [*AVERAGED, *MEANS, *BY_CLASS]
WHO = ("ours", "bootstrap")


class Cell(NamedTuple):
    """One point of the grid."""

    groups: int | None
    n: int
    shares: str
    k: int
    quality: float

    def __str__(self) -> str:
        rows = "independent" if self.groups is None else f"{self.groups} groups"
        return f"{rows}, n = {self.n:,}, {self.k} classes, {self.shares}, recall {self.quality}"


class Rows(NamedTuple):
    """Drawn rows: gold and predicted class, log loss and Brier score, each ndarray of shape (studies, n)."""

    gold: np.ndarray
    predicted: np.ndarray
    loss: np.ndarray
    brier: np.ndarray


def class_shares(shares, k):
    return np.full(k, 1 / k) if shares == "balanced" else np.array([0.9, *[0.1 / (k - 1)] * (k - 1)])


def draw(cell, signal, owner, rng):
    """Return rows; `owner`, ndarray of shape (studies, n), says of which group of its study each is, None for none."""
    prior = class_shares(cell.shares, cell.k)
    shape = owner.shape
    chance = rng.random((*shape, 1), dtype=np.float32)
    noise = rng.standard_normal((*shape, cell.k), dtype=np.float32)
    seen = np.full((*shape, 1), signal, dtype=np.float32)
    if cell.groups is None:
        gold = (chance > np.cumsum(prior)[:-1]).sum(axis=-1)
    else:
        of_group = (len(owner), int(owner.max()) + 1)
        mine = np.maximum(rng.gamma(prior * SHARE_WEIGHT, size=(*of_group, cell.k)), 1e-12)
        bounds = np.cumsum(mine / mine.sum(axis=-1, keepdims=True), axis=-1)[..., :-1].astype(np.float32)
        leaning = rng.normal(0, LEANING, (*of_group, cell.k)).astype(np.float32)
        ease = np.exp(rng.normal(0, EASE, (*of_group, 1))).astype(np.float32)
        study = np.arange(len(owner))[:, np.newaxis]
        gold = (chance > bounds[study, owner]).sum(axis=-1)
        noise += leaning[study, owner]
        seen *= ease[study, owner]
    at = gold[..., np.newaxis]
    np.put_along_axis(noise, at, np.take_along_axis(noise, at, -1) + seen, -1)
    scores = np.float32(signal) * noise + np.log(prior).astype(np.float32)
    predicted = scores.argmax(axis=-1)
    p = np.exp(OVERCONFIDENCE * (scores - scores.max(axis=-1, keepdims=True)))
    p /= p.sum(axis=-1, keepdims=True)
    of_gold = np.take_along_axis(p, at, -1)[..., 0].astype(np.float64)
    brier = np.square(p).sum(axis=-1) - 2 * of_gold + 1
    return Rows(gold, predicted, -np.log(np.clip(of_gold, 2.2e-16, 1)), np.maximum(brier, 0.0))


def draw_owners(cell, studies, rng):
    """Return which group each row is of, in order: at least one row a group, sizes else by log-normal weights."""
    if cell.groups is None:
        return np.zeros((studies, cell.n), dtype=np.int64)
    weights = np.exp(rng.normal(0, SIZE_SPREAD, (studies, cell.groups)))
    share = np.cumsum(weights, axis=-1) / weights.sum(axis=-1, keepdims=True)
    last = np.round(share * (cell.n - cell.groups)).astype(np.int64) + np.arange(1, cell.groups + 1)
    return (np.arange(cell.n)[np.newaxis, :, np.newaxis] >= last[:, np.newaxis, :-1]).sum(axis=-1)


def tally(rows, owner, cell):
    """Return the tallies of studies, as `uncertainty.intervals` makes them of one."""
    k, studies = cell.k, len(owner)
    if cell.groups is None:
        pair = rows.gold * k + rows.predicted + k * k * np.arange(studies)[:, np.newaxis]
        times = np.bincount(pair.ravel(), minlength=studies * k * k).reshape(studies, k * k).astype(float)
        gold, predicted = np.repeat(np.eye(k), k, axis=0), np.tile(np.eye(k), (k, 1))
        parts = (gold * predicted, gold, predicted)
        parts = (np.broadcast_to(part, (studies, k * k, k)) for part in parts)
        return Tallies(*parts, times, False, np.ones(times.shape))
    unit = owner + cell.groups * np.arange(studies)[:, np.newaxis]
    hit = (rows.gold == rows.predicted).astype(float)

    def count(classes, weights=None):
        at = (unit * k + classes).ravel()
        found = np.bincount(
            at, weights=None if weights is None else weights.ravel(), minlength=studies * cell.groups * k
        )
        return found.reshape(studies, cell.groups, k).astype(float)

    parts = (count(rows.gold, hit), count(rows.gold), count(rows.predicted))
    return Tallies(*parts, np.ones((studies, cell.groups)), True, parts[1].sum(axis=-1))


def figures_of(hits, support, predicted):
    """Return the figures of summed counts, each ndarray of shape (..., k), as `metrics.py` defines them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        by_class = {
            "f1": 2 * hits / (support + predicted),
            "precision": hits / predicted,
            "recall": hits / support,
        }
    n, present = support.sum(axis=-1), support + predicted > 0
    found = {"accuracy": hits.sum(axis=-1) / n}
    found["balanced-accuracy"] = np.nansum(by_class["recall"], axis=-1) / (support > 0).sum(axis=-1)
    for name, value in by_class.items():
        zeroed = np.nan_to_num(value)
        found[f"macro-{name}"] = zeroed.sum(axis=-1) / present.sum(axis=-1)
        found[f"weighted-{name}"] = (zeroed * support).sum(axis=-1) / n
    return found | by_class


def truth_of(cell, rows=3_000_000):
    """Return every figure of the distribution that studies are drawn from, by drawing very many rows.

    Of groups, six rows each are drawn: many groups with few rows tell most about the average group.
    """
    rng = np.random.default_rng([7, *map(ord, str(cell))])
    counts, losses, briers, done = np.zeros((3, cell.k)), 0.0, 0.0, 0
    while done < rows:
        studies, n = (100, 600) if cell.groups is None else (10_000, 6)
        drawn = draw(cell, signal_of(cell), np.zeros((studies, n), dtype=np.int64), rng)
        g, p = drawn.gold.ravel(), drawn.predicted.ravel()
        counts += [np.bincount(c, minlength=cell.k) for c in (g[g == p], g, p)]
        losses, briers, done = losses + drawn.loss.sum(), briers + drawn.brier.sum(), done + g.size
    return figures_of(*counts) | {"log-loss": losses / done, "brier": briers / done}


def row_means(rows, owner, cell):
    """Return the limits of log loss and Brier score, one call of the library a study."""
    found = {}
    for name, values in (("log-loss", rows.loss), ("brier", rows.brier)):
        groups = owner if cell.groups else [None] * len(owner)
        given = [loss_interval(v, g) for v, g in zip(values, groups, strict=True)]
        found[name] = tuple(np.array([getattr(i, end, np.nan) for i in given]) for end in ("low", "high"))
    return found


def bootstrap(rows, owner, cell, rng, draws=500):
    """Return percentile limits over resampled rows or groups."""
    tallies = tally(rows, owner, cell)
    studies, units = tallies.times.shape
    found = {name: (np.empty(studies), np.empty(studies)) for name in AVERAGED}
    found |= {name: (np.empty((studies, cell.k)), np.empty((studies, cell.k))) for name in BY_CLASS}
    for s in range(studies):
        share = tallies.times[s] / tallies.times[s].sum()
        size = cell.n if cell.groups is None else units
        times = rng.multinomial(size, share, size=draws).astype(float)
        figures = figures_of(*(times @ np.ascontiguousarray(part[s]) for part in tallies[:3]))
        for name, (low, high) in found.items():
            # An undefined figure of a resample is left out, as most implementations do.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a figure that no resample defines
                quantile = np.quantile if np.isfinite(figures[name]).all() else np.nanquantile
                low[s], high[s] = quantile(figures[name], [0.025, 0.975], axis=0)
    return found


def count_hits(limits, truth, tallied):
    """Add studies to the counts: given, holding the truth, width; by figure, for the first class and for the others."""
    for name, (low, high) in limits.items():
        if name not in FIGURES:
            continue
        real = truth[name]
        given = np.isfinite(low) & np.isfinite(high)
        held = given & (low <= real + 1e-12) & (high >= real - 1e-12)
        width = np.where(given, high - low, 0.0)
        for part, at in (("first", np.s_[..., :1]), ("others", np.s_[..., 1:])) if name in BY_CLASS else (("", ...),):
            key = f"{name} ({part})" if part else name
            below, above = given & (low > real), given & (high < real)
            one = np.array([x[at].sum() for x in (np.ones_like(width), given, held, width, below, above)])
            tallied[key] = tallied.get(key, 0) + one


def signal_of(cell):
    return SIGNALS[cell.groups is not None, cell.shares, cell.k][QUALITIES.index(cell.quality)]


def population_of(cell):
    """Return the cell whose truth is also this one's: neither the number of rows nor that of groups changes it."""
    return cell._replace(n=0, groups=None if cell.groups is None else 0)


class RecallCell(NamedTuple):
    """One point of the grid of recalls."""

    groups: int | None
    equal: bool
    n: int
    mix: str
    likeness: float

    def __str__(self) -> str:
        if self.groups is None:
            return f"n = {self.n:,}, {self.mix}"
        sizes = "equal" if self.equal else "unequal"
        return f"{self.groups} {sizes} groups, {self.mix}, correlation {self.likeness:g}"

    @property
    def rarest(self) -> float:
        """Texts of the rarest class that are expected."""
        return self.n * min(MIXES[self.mix])


def recall_grid():
    cells = [RecallCell(None, True, n, mix, 0.0) for n in (50, 100, 300) for mix in MIXES]
    for groups, equal, mix, likeness in itertools.product((4, 5, 8, 12, 30), (True, False), MIXES, (0.0, 0.1, 0.3)):
        cells.append(RecallCell(groups, equal, A_GROUP * groups, mix, likeness))
    return cells


def confusion_of(shares, recalls):
    """Return the expected shares of (gold, predicted), ndarray of shape (..., k, k), with recalls of shape (..., k)."""
    k = len(shares)
    wrong = np.tile(shares, (k, 1))
    np.fill_diagonal(wrong, 0)
    wrong /= wrong.sum(axis=1, keepdims=True)
    rows = wrong * (1 - recalls)[..., np.newaxis] + np.eye(k) * recalls[..., np.newaxis]
    return shares[:, np.newaxis] * rows


def draw_recalls(cell, studies, rng):
    """Return counts by (gold, predicted) of each group, (studies, groups, k, k), and what is true of these groups."""
    shares = np.array(MIXES[cell.mix])
    k, means = len(shares), np.array((RECALLS[0], *[RECALLS[1]] * (len(shares) - 1)))
    groups = cell.groups or 1
    weights = np.ones(groups) if cell.equal else 1 / np.arange(1, groups + 1) ** 1.5
    sizes = np.maximum(np.round(weights / weights.sum() * cell.n), 1).astype(int)
    recalls = np.broadcast_to(means, (studies, groups, k))
    if cell.likeness:
        both = (1 - cell.likeness) / cell.likeness
        chance = rng.random((studies, groups, 1))
        recalls = special.betaincinv(means * both, (1 - means) * both, np.broadcast_to(chance, recalls.shape))
    expected = confusion_of(shares, recalls)
    flat = expected.reshape(studies, groups, k * k)
    counts = rng.multinomial(sizes, flat / flat.sum(axis=-1, keepdims=True)).reshape(expected.shape).astype(float)
    of_these = np.einsum("sgij,g->sij", expected, sizes / sizes.sum())
    return counts, of_these


def tally_counts(counts, grouped):
    """Return the tallies of counts by group, or, with groups left aside, by pair of gold and predicted class."""
    studies, _, k, _ = counts.shape
    hits, gold, predicted = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)
    if grouped:
        return Tallies(hits, gold, predicted, np.ones(gold.shape[:2]), True, gold.sum(axis=-1))
    times = counts.sum(axis=1).reshape(studies, k * k)
    gold, predicted = np.repeat(np.eye(k), k, axis=0), np.tile(np.eye(k), (k, 1))
    parts = (np.broadcast_to(part, (studies, k * k, k)) for part in (gold * predicted, gold, predicted))
    return Tallies(*parts, times, False, np.ones(times.shape))


def study_recalls(cell, studies, seed):
    """Return coverage, mean width and share without an interval of one cell, by figure."""
    rng = np.random.default_rng([seed, *map(ord, str(cell))])
    shares = np.array(MIXES[cell.mix])
    means = np.array((RECALLS[0], *[RECALLS[1]] * (len(shares) - 1)))
    fixed, tallied, done = confusion_of(shares, means), {}, 0
    while done < studies:
        counts, of_these = draw_recalls(cell, min(CHUNK, studies - done), rng)
        few = cell.groups is not None and cell.groups < FEWEST_GROUPS
        matrix = of_these if few else fixed[np.newaxis]
        truth = figures_of(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2))
        limits = figure_limits(tally_counts(counts, cell.groups is not None and not few), LEVEL)
        count_hits(limits, truth, tallied)
        done += len(counts)
    found = {}
    for name, (every, given, held, width, below, above) in tallied.items():
        shares = {"coverage": held, "none": every - given, "above_truth": below, "below_truth": above}
        found[name.replace("(others)", "(rarer)").replace("(first)", "(frequent)")] = {
            "width": round(float(width / max(given, 1)), 4),
            **{key: round(float(value / every), 4) for key, value in shares.items()},
        }
    return found


def study_cell(cell, truth, studies, bootstrapped, seed):
    """Return the counts of one cell, for our intervals and, for `bootstrapped` studies, for the bootstrap's."""
    signal = signal_of(cell)
    rng = np.random.default_rng([seed, *map(ord, str(cell))])
    ours, theirs, done = {}, {}, 0
    while done < studies:
        owner = draw_owners(cell, min(CHUNK, studies - done), rng)
        rows = draw(cell, signal, owner, rng)
        count_hits(figure_limits(tally(rows, owner, cell), LEVEL) | row_means(rows, owner, cell), truth, ours)
        if done < bootstrapped:
            few = bootstrapped - done
            count_hits(bootstrap(Rows(*(part[:few] for part in rows)), owner[:few], cell, rng), truth, theirs)
        done += len(owner)
    return {"ours": summary(ours), "bootstrap": summary(theirs), "accuracy": round(float(truth["accuracy"]), 4)}


def summary(tallied):
    """Return coverage, mean width, misses to either side and the share without an interval, by figure."""
    found = {}
    for name, (every, given, held, width, below, above) in tallied.items():
        found[name] = {"none": round(1 - given / every, 4)}
        if given:
            shares = {"coverage": held, "width": width, "above_truth": below, "below_truth": above}
            found[name] |= {key: round(float(value / given), 4) for key, value in shares.items()}
            found[name]["studies"] = int(given)
    return found


def table(results, who, kept):
    """Return a markdown table of the cells that `kept` lets through; cells count alike."""
    lines = [
        "| figure | mean coverage | minimum | where | mean width | no interval |",
        "|---|---|---|---|---|---|",
    ]
    found = {}
    cells = [(cell, result[who]) for cell, result in results if kept(cell) and result[who]]
    for name in dict.fromkeys(name for _, result in cells for name in result):
        # A cell in which hardly any study has the figure says little about it.
        here = [(r[name]["coverage"], cell, r[name]) for cell, r in cells if r[name].get("studies", 0) >= 100]
        if not here:
            continue
        mean = float(np.mean([c for c, _, _ in here]))
        least, where, _ = min(here, key=lambda row: row[0])
        width = np.mean([r["width"] for _, _, r in here])
        none = np.mean([r[name]["none"] for _, r in cells])
        found[name] = mean
        lines.append(f"| {name} | {mean:.1%} | {least:.1%} | {where} | {width:.3f} | {none:.1%} |")
    return "\n".join(lines), found


REPORTED = {
    "accuracy": "accuracy",
    "macro-f1": "macro-F1",
    "balanced-accuracy": "balanced accuracy",
    "weighted-f1": "weighted F1",
    "f1 (rarer)": "F1, rare",
    "precision (rarer)": "precision, rare",
    "recall (rarer)": "recall, rare",
}
ENOUGH = 5
"""Texts of the rarest class that a cell is expected to have, for its coverage to count."""


def recall_tables(results, before):
    """Return the tables of the first grid: every cell, with the former coverage and width in brackets where known."""
    lines = ["## Recalls: lowest coverage", "", f"Cells with {ENOUGH} or more texts of the rarest class expected."]
    lines += ["", "| figure | lowest | where | mean coverage | cells under 93 % | no interval, most |"]
    lines += ["|---|---|---|---|---|---|"]
    enough = [(cell, found) for cell, found in results if cell.rarest >= ENOUGH]
    for name, shown in REPORTED.items():
        held = [(found[name]["coverage"], str(cell)) for cell, found in enough]
        least, where = min(held)
        none = max(found[name]["none"] for _, found in enough)
        under = sum(value < 0.93 for value, _ in held)
        mean = np.mean([value for value, _ in held])
        lines.append(f"| {shown} | {least:.1%} | {where} | {mean:.1%} | {under} of {len(held)} | {none:.1%} |")
    kinds = {
        "Recalls: independent texts": lambda cell: cell.groups is None,
        "Recalls: four groups, for these documents": lambda cell: cell.groups == 4,
        "Recalls: equal groups": lambda cell: (cell.groups or 0) > 4 and cell.equal,
        "Recalls: unequal groups": lambda cell: (cell.groups or 0) > 4 and not cell.equal,
    }
    for title, kept in kinds.items():
        lines += ["", f"## {title}", "", "Coverage in per cent / mean width; in brackets as it was before."]
        lines += ["", "| cell | " + " | ".join(REPORTED.values()) + " |", "|---" * (len(REPORTED) + 1) + "|"]
        for cell, found in results:
            if kept(cell):
                mark = "" if cell.rarest >= ENOUGH else " *"
                cells = [_shown(found[name], before.get(str(cell), {}).get(name)) for name in REPORTED]
                lines.append(f"| {cell}{mark} | " + " | ".join(cells) + " |")
    return [*lines, "", f"\\* fewer than {ENOUGH} texts of the rarest class expected."]


def _shown(found, before):
    old = f" ({100 * before['coverage']:.1f} / {before['width']:.3f})" if before else ""
    none = f", none {found['none']:.1%}" if found["none"] else ""
    return f"{100 * found['coverage']:.1f} / {found['width']:.3f}{none}{old}"


def written(recalls, results, options, seconds):
    """Return the page."""
    info, version = machine(), versions()
    before = json.loads(options.before.read_text(encoding="utf-8")) if options.before else {}
    first, second = (__doc__ or "").strip().split("\n\n")[-2:]
    lines = [
        "# How often intervals hold the truth",
        "",
        f"`benchmarks/coverage.py --seed {options.seed}`, {options.studies:,} studies a cell, "
        f"{len(recalls) + len(results)} cells, {seconds:,.0f} s. {info['processor']}, {info['cores']} cores; "
        f"Python {version['python']}, numpy {version['numpy']}, scipy {version['scipy']}. Nominal coverage is 95 %.",
        "",
        *([first, ""] if recalls else []),
        *([second, ""] if results else []),
        *(recall_tables(recalls, before) if recalls else []),
        *(signal_tables(results) if results else []),
    ]
    return "\n".join(lines) + "\n"


def signal_tables(results):
    """Return the tables of the second grid."""
    tables = {
        "Independent rows": ("ours", lambda cell: cell.groups is None),
        "12 unequal groups": ("ours", lambda cell: cell.groups == 12),
        "30 unequal groups": ("ours", lambda cell: cell.groups == 30),
        "For comparison: percentile bootstrap over rows": ("bootstrap", lambda cell: cell.groups is None),
        "For comparison: percentile bootstrap over 12 groups": ("bootstrap", lambda cell: cell.groups == 12),
        "For comparison: percentile bootstrap over 30 groups": ("bootstrap", lambda cell: cell.groups == 30),
    }
    every, means = table(results, "ours", lambda cell: True)
    outside = [f"{name} {mean:.1%}" for name, mean in means.items() if not 0.93 <= mean <= 0.97]
    lines = [
        "",
        "## Signals: all cells",
        "",
        "Coverage is that of the studies in which there is an interval. Cells count alike; those with fewer than 100 "
        "such studies are left out. `first` is the first class (at 90:10 the frequent one), `others` the mean of the "
        "others. Log loss (nats) and Brier score have widths in their own units.",
        "",
        "Mean coverage within 93 to 97 %: "
        + (f"every figure of {len(means)}." if not outside else f"all but {', '.join(outside)}."),
        "",
        every,
    ]
    for title, (who, kept) in tables.items():
        part, _ = table(results, who, kept)
        if part.count("\n") > 1:
            lines += ["", f"## Signals: {title[0].lower()}{title[1:]}", "", part]
    return lines


COLUMNS = ("none", "coverage", "width", "above_truth", "below_truth", "studies")


def as_json(recalls, results, options, seconds):
    """Return all counts: of the first grid by cell and figure; of the second the values of `COLUMNS`, a line a cell."""
    first = [json.dumps({**cell._asdict(), **found}, separators=(",", ":")) for cell, found in recalls]
    second = []
    for cell, result in results:
        compact = {who: {name: [row.get(c) for c in COLUMNS] for name, row in result[who].items()} for who in WHO}
        second.append(json.dumps({**cell._asdict(), "accuracy": result["accuracy"], **compact}, separators=(",", ":")))
    facts = {"studies": options.studies, "seed": options.seed, "seconds": round(seconds)}
    facts |= {"machine": machine(), "versions": versions(), "columns": COLUMNS}
    lists = (
        f' "{name}": [\n  ' + ",\n  ".join(lines) + "\n ]" for name, lines in (("recalls", first), ("signals", second))
    )
    return json.dumps(facts, indent=1)[:-2] + ",\n" + ",\n".join(lists) + "\n}\n"


def grid(quick):
    qualities, sizes = (QUALITIES[::2], SIZES[::2]) if quick else (QUALITIES, SIZES)
    return [Cell(*values) for values in itertools.product(GROUPS, sizes, SHARES, CLASSES, qualities)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--bootstrap", type=int, default=200, help="studies a cell for the bootstrap, n = 100 and 300 only"
    )
    parser.add_argument("--quick", action="store_true", help="a third of the grid of signals")
    parser.add_argument("--only", choices=("recalls", "signals"), help="one of the two grids")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--before", type=Path, help="JSON with coverage and width of the grid of recalls, by cell")
    parser.add_argument("--tried", type=Path, help="markdown to put at the end: what else was tried")
    parser.add_argument("--result", type=Path, required=True, help="path of the result, without its ending")
    options = parser.parse_args()
    started = time.perf_counter()
    first = [] if options.only == "signals" else recall_grid()
    cells = [] if options.only == "recalls" else grid(options.quick)
    populations = list(dict.fromkeys(map(population_of, cells)))
    with multiprocessing.Pool(options.processes) as pool:
        found = pool.starmap(study_recalls, [(cell, options.studies, options.seed) for cell in first], chunksize=1)
        recalls = list(zip(first, found, strict=True))
        truths = dict(zip(populations, pool.map(truth_of, populations, chunksize=1), strict=True))
        bootstrapped = [options.bootstrap if cell.n <= 300 else 0 for cell in cells]
        jobs = [(c, truths[population_of(c)], options.studies, b) for c, b in zip(cells, bootstrapped, strict=True)]
        jobs = [(*job, options.seed) for job in jobs]
        results = list(zip(cells, pool.starmap(study_cell, jobs, chunksize=1), strict=True))
    seconds = time.perf_counter() - started
    page = written(recalls, results, options, seconds)
    if options.tried:
        page += "\n" + options.tried.read_text(encoding="utf-8")
    options.result.with_suffix(".md").write_text(page, encoding="utf-8")
    options.result.with_suffix(".json").write_text(as_json(recalls, results, options, seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
