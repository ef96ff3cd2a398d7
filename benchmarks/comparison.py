"""Is a difference that is called real beyond chance real, and do intervals of a difference hold the truth?

In: nothing. Out: for simulated pairs of classifiers on the same texts how often `multiclass.compare` calls a difference
real where there is none (size) and where there is one (power), how often its intervals hold the true difference
(coverage, nominal 95 %), and how wide they are; beside it the test and the intervals that were used before, and other
methods that were tried.

    python benchmarks/comparison.py --studies 2000 --seed 1 --result benchmarks/results/DATE-comparison

A classifier finds 95 % of the texts of the frequent class and 60 % of those of each other class; what it misses goes to
the other classes by their frequency. Errors of both on a text hang together: they are cut from two normal variables
with a correlation of 0.6. Where there is a difference, the second finds 80 % of the texts of the other classes. Texts
are independent, or come in groups of 50 on average, all equal or with sizes like 1 / i ** 1.5 (of 30 the largest has
44 %); then each group has its own shares of found texts, beta-distributed with the intraclass correlation of the cell,
and those of the two hang together by 0.6 too. The truth is that of infinitely many texts and groups.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from secondcoder.environment import machine, versions
from secondcoder.evaluation import multiclass, paired_figures

SHARES = {
    "2, 50:50": (0.5, 0.5),
    "2, 90:10": (0.9, 0.1),
    "2, 97:3": (0.97, 0.03),
    "5, 90:2.5 × 4": (0.9, 0.025, 0.025, 0.025, 0.025),
}
SIZES = (50, 100, 300, 1_000)
GROUPS, OF_GROUP = (8, 12, 30), 50
FREQUENT, OTHERS, BETTER, TOGETHER = 0.95, 0.6, 0.8, 0.6
SWAPS, RESAMPLES, CHUNK, CHECKED = 1_000, 400, 250, 100
Z = float(special.ndtri(0.975))
FIGURES = ("macro-f1", "f1 of the rarest")
OURS, FORMER = "compare", "former"
Array = np.ndarray


class Cell(NamedTuple):
    """One point of the grid."""

    shares: str
    n: int
    groups: int | None = None
    unequal: bool = False
    likeness: float = 0.0
    differ: bool = False

    def __str__(self) -> str:
        if self.groups is None:
            return f"{self.n:,} texts, {self.shares}"
        sizes = "unequal" if self.unequal else "equal"
        return f"{self.groups} {sizes} groups, correlation {self.likeness}, {self.shares}"

    @property
    def rarest(self) -> float:
        """Expected texts of the rarest class."""
        return self.n * min(SHARES[self.shares])

    def recalls(self) -> list[Array]:
        """Return the share of found texts of each class, of the first and the second."""
        k = len(SHARES[self.shares])
        return [np.array([FREQUENT, *[other] * (k - 1)]) for other in (OTHERS, BETTER if self.differ else OTHERS)]


def elsewhere(shares: Array) -> Array:
    """Return where texts of each class go that are missed, shape (k, k)."""
    to = np.where(np.eye(len(shares)) > 0, 0.0, shares)
    return to / to.sum(axis=1, keepdims=True)


def truth_of(cell: Cell) -> dict[str, float]:
    """Return the true difference of each figure."""
    shares = np.array(SHARES[cell.shares])
    both = []
    for recall in cell.recalls():
        matrix = shares[:, None] * (np.diag(recall) + (1 - recall)[:, None] * elsewhere(shares))
        f1 = 2 * np.diag(matrix) / (matrix.sum(axis=0) + matrix.sum(axis=1))
        both.append(np.array([f1.mean(), f1[-1]]))
    return dict(zip(FIGURES, (both[1] - both[0]).tolist(), strict=True))


def group_sizes(cell: Cell) -> Array:
    """Return the number of texts of each group."""
    if not cell.unequal:
        return np.full(cell.groups, OF_GROUP)
    weights = 1 / np.arange(1, cell.groups + 1) ** 1.5
    return np.maximum(np.round(weights / weights.sum() * OF_GROUP * cell.groups), 1).astype(int)


class Drawn(NamedTuple):
    """Studies: gold classes, shape (s, n), those of both classifiers, and the group of each text, shape (n,)."""

    gold: Array
    labels: list[Array]
    group: Array


def draw(cell: Cell, studies: int, random: np.random.Generator) -> Drawn:
    """Return simulated studies."""
    shares = np.array(SHARES[cell.shares])
    k = len(shares)
    group = np.arange(cell.n) if cell.groups is None else np.repeat(np.arange(cell.groups), group_sizes(cell))
    n, g = len(group), int(group.max()) + 1
    gold = random.choice(k, size=(studies, n), p=shares)
    hard, own = random.normal(size=(studies, n)), random.normal(size=(studies, g))
    beyond = elsewhere(shares).cumsum(axis=1)
    labels = []
    for recall in cell.recalls():
        found = recall[gold]
        if cell.likeness:
            weight = 1 / cell.likeness - 1
            rank = special.ndtr(
                np.sqrt(TOGETHER) * own + np.sqrt(1 - TOGETHER) * random.normal(size=own.shape)
            )  # of each group
            values = np.unique(recall)
            of_group = np.stack([special.betaincinv(r * weight, (1 - r) * weight, rank) for r in values], axis=-1)
            at = np.searchsorted(values, recall)[gold]
            found = of_group[np.arange(studies)[:, None], group[None], at]
        error = np.sqrt(TOGETHER) * hard + np.sqrt(1 - TOGETHER) * random.normal(size=hard.shape)
        wrong = special.ndtr(error) > found
        other = (random.random(gold.shape)[..., None] > beyond[gold]).sum(axis=-1).clip(0, k - 1)
        labels.append(np.where(wrong, other, gold))
    return Drawn(gold, labels, group)


def kinds_of(k: int) -> tuple[Array, Array]:
    """Return gold and both labels of each of the k ** 3 kinds of texts, and what each adds to the sums."""
    outcome = np.array(np.unravel_index(np.arange(k**3), (k, k, k)))
    g, a, b = np.eye(k)[outcome]
    return outcome, np.concatenate([g, g * a, a, g * b, b], axis=1)


def f1_of(sums: Array) -> tuple[list[Array], list[Array]]:
    """Return F1 of each class of both, and gold rows plus given ones, from sums of shape (..., 5 k)."""
    gold, *counts = np.split(sums, 5, axis=-1)
    wholes = [gold + given for given in counts[1::2]]
    return [2 * h / np.where(w > 0, w, 1.0) for h, w in zip(counts[::2], wholes, strict=True)], wholes


def weights_of(whole: Array, figure: str) -> Array:
    """Return how much each class counts in the figure."""
    if figure == "macro-f1":
        present = (whole > 0).astype(float)
        return present / np.maximum(present.sum(axis=-1, keepdims=True), 1)
    return np.broadcast_to(np.eye(whole.shape[-1])[-1], whole.shape)


def difference(sums: Array, figure: str) -> Array:
    """Return second minus first."""
    (one, two), (own, other) = f1_of(sums)
    return (two * weights_of(other, figure)).sum(-1) - (one * weights_of(own, figure)).sum(-1)


def influences(units: Array, sums: Array, figure: str) -> Array:
    """Return how far one unit more would move the difference, shape (s, u); units (u, 5 k) or (s, u, 5 k)."""
    gold, *counts = np.split(units if units.ndim == 3 else units[None], 5, axis=-1)
    found: Any = 0.0
    for f1, whole, hits, given, sign in zip(*f1_of(sums), counts[::2], counts[1::2], (-1, 1), strict=True):
        own = (2 * hits - f1[:, None] * (gold + given)) / np.where(whole > 0, whole, np.inf)[:, None]
        found = found + sign * (own * weights_of(whole, figure)[:, None]).sum(axis=-1)
    return found


class Limits(NamedTuple):
    """Limits of an interval, each of shape (s,)."""

    low: Array
    high: Array


def by_error(centre: Array, error: Array, degrees: float) -> Limits:
    """Return Student's t interval."""
    reach = special.stdtrit(degrees, 0.975) * error
    return Limits(np.maximum(centre - reach, -1), np.minimum(centre + reach, 1))


def with_added(tables: Array, k: int, figure: str, texts: float, *, by_share: bool = False) -> tuple[Array, Array]:
    """Return tables of kinds to which texts were added that one of both alone gets right, and the standard error."""
    outcome, units = kinds_of(k)
    alone = (outcome[0] == outcome[1]) != (outcome[0] == outcome[2])
    rows = (tables @ units)[:, :k]
    of_class = rows / rows.sum(axis=1, keepdims=True) if by_share else (rows > 0)
    added = tables + np.where(alone, texts / 2 / max(k - 1, 1) * of_class[:, outcome[0]], 0.0)
    moves = influences(units, added @ units, figure)
    n = added.sum(axis=1)
    centred = moves - ((added * moves).sum(axis=1) / n)[:, None]
    return added, np.sqrt((n - 1) / n * (added * centred**2).sum(axis=1))


def former_test(tables: Array, k: int, figure: str) -> Limits:
    """Return the interval used before: one half text on either side, shared by the classes as they are frequent."""
    _, units = kinds_of(k)
    n = tables.sum(axis=1)
    error = with_added(tables, k, figure, 1.0, by_share=True)[1]
    return by_error(difference(tables @ units, figure), error, float(n[0]) - 1)


def score(tables: Array, k: int, figure: str, *, extended: bool) -> Limits:
    """Return the score interval of the linearised difference, by maximum likelihood of the kinds under each difference.

    Extended: a kind that did not occur may have a probability, as in Tango's interval; else the empirical likelihood's.
    """
    outcome, units = kinds_of(k)
    n, sums = tables.sum(axis=1), tables @ units
    estimate = difference(sums, figure)
    values = estimate[:, None] + n[:, None] * influences(units, sums, figure)
    possible = sums[:, :k][:, outcome[0]] > 0 if extended else tables > 0

    def limit(sign: int) -> Array:
        x, d = sign * values, sign * estimate
        most = np.where(possible, x, -np.inf).max(axis=1)
        low, high = d.copy(), np.minimum(np.maximum(most, d), d + 2)
        for _ in range(30):
            tried = (low + high) / 2
            away, top = x - tried[:, None], np.maximum(most - tried, 1e-12)
            least, largest = -n / top, np.zeros(len(n))
            for _ in range(25):
                slope = (least + largest) / 2
                weight = n[:, None] + slope[:, None] * away
                short = (tables * away / np.maximum(weight, 1e-9)).sum(axis=1) < 0
                least, largest = np.where(short, least, slope), np.where(short, slope, largest)
            share = tables / np.maximum(n[:, None] + ((least + largest) / 2)[:, None] * away, 1e-9)
            rest = np.maximum(1 - share.sum(axis=1), 0)
            variance = (share * away**2).sum(axis=1) + rest * top**2
            inside = n * (d - tried) ** 2 <= Z**2 * np.maximum(variance, 1e-300)
            low, high = np.where(inside, tried, low), np.where(inside, high, tried)
        return sign * (low + high) / 2

    return Limits(np.maximum(limit(-1), -1), np.minimum(limit(1), 1))


def mover(tables: Array, k: int, figure: str) -> Limits:
    """Return MOVER's interval (Zou & Donner 2008) from Wilson's limits of both F1 of each class, with correlations."""
    _, units = kinds_of(k)
    sums = tables @ units
    gold, *counts = np.split(units[None], 5, axis=-1)
    totals = np.split(sums, 5, axis=-1)[1:]
    together: list[Any] = [0.0, 0.0]
    apart: list[Any] = [0.0, 0.0]
    f1s, wholes = f1_of(sums)
    for i, sign in enumerate((-1, 1)):
        f1, whole, hits, given, hit = f1s[i], wholes[i], counts[2 * i], counts[2 * i + 1], totals[2 * i]
        trials = np.maximum(whole - hit, 1e-12)
        share, z = hit / trials, Z**2 / trials
        half = np.sqrt(z * share * (1 - share) + z**2 / 4) / (1 + z)
        low, high = (np.clip((share + z / 2) / (1 + z) + s * half, 0, 1) for s in (-1, 1))
        low, high = 2 * low / (1 + low), 2 * high / (1 + high)
        move = (2 * hits - f1[:, None] * (gold + given)) / np.where(whole > 0, whole, np.inf)[:, None]
        spread = np.sqrt(np.einsum("su,suk->sk", tables, move**2))
        known = spread > 1e-9
        for side, direction in enumerate((-1, 1)):
            reach = weights_of(whole, figure) * (high - f1 if sign * direction > 0 else f1 - low)
            unit = move / np.where(known, spread, 1.0)[:, None]
            together[side] = together[side] + sign * (unit * np.where(known, reach, 0.0)[:, None]).sum(axis=-1)
            apart[side] = apart[side] + (np.where(known, 0.0, reach) ** 2).sum(axis=-1)
    below, above = (np.sqrt((tables * t**2).sum(axis=1) + a) for t, a in zip(together, apart, strict=True))
    estimate = difference(sums, figure)
    return Limits(np.maximum(estimate - below, -1), np.minimum(estimate + above, 1))


def bootstraps(tables: Array, k: int, figure: str, random: np.random.Generator) -> dict[str, Limits]:
    """Return the percentile, BCa and bootstrap-t intervals."""
    _, units = kinds_of(k)
    found: dict[str, list[tuple[float, float]]] = {"bootstrap, percentile": [], "bootstrap, BCa": [], "bootstrap-t": []}
    for table in tables:
        there = table > 0
        own, counts, n = units[there], table[there], table.sum()
        moves = influences(own, (counts @ own)[None], figure)[0]
        estimate = difference(counts @ own, figure)
        again = random.multinomial(int(n), counts / n, size=RESAMPLES)
        values = difference(again @ own, figure)
        found["bootstrap, percentile"].append(tuple(np.quantile(values, [0.025, 0.975])))
        square = (counts * moves**2).sum()
        bent = (counts * moves**3).sum() / (6 * max(square, 1e-300) ** 1.5)
        below = np.clip(((values < estimate).mean() + (values <= estimate).mean()) / 2, 1e-3, 1 - 1e-3)
        shift = special.ndtri(below)
        at = [special.ndtr(shift + (shift + z) / (1 - bent * (shift + z))) for z in (-Z, Z)]
        found["bootstrap, BCa"].append(tuple(np.quantile(values, np.clip(np.nan_to_num(at), 0, 1))))
        errors = np.sqrt((again * influences(own, again @ own, figure) ** 2).sum(axis=1))
        ratio = (values - estimate) / np.maximum(errors, 1e-9)
        low, high = np.quantile(ratio, [0.025, 0.975])
        found["bootstrap-t"].append((estimate - high * np.sqrt(square), estimate - low * np.sqrt(square)))
    return {name: Limits(*np.clip(np.array(limits).T, -1, 1)) for name, limits in found.items()}


def swapped(units: Array, k: int) -> Array:
    """Return units as they are once first and second are swapped."""
    return units[..., [*range(k), *range(3 * k, 5 * k), *range(k, 3 * k)]]


def permutation_of_groups(units: Array, k: int, figure: str, random: np.random.Generator) -> Array:
    """Return whether swapping whole groups rejects; units of shape (s, g, 5 k)."""
    g = units.shape[1]
    every = g <= 11
    signs = (np.arange(2**g)[:, None] >> np.arange(g) & 1) if every else random.integers(0, 2, (SWAPS, g))
    turned, sums = swapped(units, k) - units, units.sum(axis=1)
    least = np.abs(difference(sums, figure)) - 1e-9
    reached = np.zeros(len(units))
    for some in np.array_split(signs, max(len(signs) // 250, 1)):
        again = sums[:, None] + np.einsum("rg,sgc->src", some, turned, optimize=True)
        reached += (np.abs(difference(again, figure)) >= least[:, None]).sum(axis=1)
    return (reached / len(signs) if every else (1 + reached) / (1 + SWAPS)) < 0.05


def grouped_methods(units: Array, sizes: Array, tables: Array, k: int, figure: str) -> dict[str, Limits]:
    """Return intervals for groups: units of shape (s, g, 5 k), the same texts as tables of kinds."""
    g = units.shape[1]
    sums = units.sum(axis=1)
    estimate = difference(sums, figure)
    without = difference(sums[:, None] - units, figure)
    spread = np.sqrt((g - 1) / g * ((without - without.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    moves, lever = influences(units, sums, figure), levers(units, sums, figure)
    old = np.maximum(spread, with_added(tables, k, figure, 1.0, by_share=True)[1])
    new = np.maximum(spread, with_added(tables, k, figure, 1.0)[1])
    return {
        FORMER: by_error(estimate, old, max(effective - 1, 1.0)),
        "t, groups less 1": by_error(estimate, new, g - 1.0),
        "t, effective groups": by_error(estimate, new, max(min(effective, g - 1.0), 1.0)),
        **{
            name: signs_inverted(parts, lever, estimate)
            for name, parts in {
                "signs of groups, inverted": moves,
                "signs, parts scaled": moves / np.sqrt(1 - lever),
                "signs of what leaving out does": estimate[:, None] - without,
            }.items()
        },
    }


def levers(units: Array, sums: Array, figure: str) -> Array:
    """Return how much each group weighs in the figure, shape (s, g)."""
    gold, *counts = np.split(units, 5, axis=-1)
    found: Any = 0.0
    for whole, given in zip(f1_of(sums)[1], counts[1::2], strict=True):
        of_class = (gold + given) / np.where(whole > 0, whole, 1.0)[:, None]
        found = found + (of_class * weights_of(whole, figure)[:, None]).sum(axis=-1) / 2
    return found


def signs_inverted(moves: Array, lever: Array, estimate: Array) -> Limits:
    """Return the differences that are not rejected by turning the signs of groups' parts of it, (s, g)."""
    g = moves.shape[1]
    every = g <= 11
    bits = (
        np.arange(2**g)[:, None] >> np.arange(g) & 1 if every else np.random.default_rng(9).integers(0, 2, (SWAPS, g))
    )
    signs = 2.0 * bits - 1
    parts = moves + estimate[:, None] * lever
    a, b = parts @ signs.T, lever @ signs.T
    roots = np.stack([(estimate[:, None] - a) / (1 - b + 1e-12), (estimate[:, None] + a) / (1 + b + 1e-12)])
    # Signs that are all alike keep the difference: they reach it at every value.
    alike = np.abs(b) > 1 - 1e-9
    low, high = np.where(alike, -9, roots.min(axis=0)), np.where(alike, 9, roots.max(axis=0))
    need = max(int(np.ceil(0.05 * len(signs) - 1e-9)), 1)
    return Limits(np.maximum(np.sort(low, axis=1)[:, need - 1], -1), np.minimum(np.sort(high, axis=1)[:, -need], 1))


def ours(cell: Cell, drawn: Drawn, computed: dict[str, Limits], whole: int) -> dict[str, dict[str, Array]]:
    """Return what `compare` says of each study: whether it is real, and limits (not-a-number for a dash).

    Where Student's interval, computed here, holds 0, nothing else can come of it: it is not real, and that is the
    interval. So `compare` is asked in the other studies, and in the `whole` first ones, and whatever it says is checked
    against what is computed here. Of it, only the F1 figures are computed: the others would take as long again.
    """
    k = len(SHARES[cell.shares])
    names = tuple(f"c{i}" for i in range(k))
    places = None if cell.groups is None else drawn.group
    found = {}
    for figure, limits in computed.items():
        dash = dashes(drawn, k, figure, grouped=places is not None)
        found[figure] = {
            "real": np.zeros(len(dash)),
            **{n: np.where(dash, np.nan, v) for n, v in limits._asdict().items()},
        }
    away = np.any([(f["low"] > 0) | (f["high"] < 0) for f in found.values()], axis=0)
    away[:whole] = True
    for study in np.flatnonzero(away):
        gold, labels = drawn.gold[study], (drawn.labels[0][study], drawn.labels[1][study])
        figures = multiclass._f1_figures(gold, labels, names)
        reasons = paired_figures.reasons_of_classes(gold[:, None] == np.arange(k), names, places)
        said = paired_figures.differences(figures, places, reasons=reasons)
        for figure, name in zip(FIGURES, ("macro-f1", f"f1:{names[-1]}"), strict=True):
            own, d = found[figure], said[name]
            low, high = (np.nan, np.nan) if d.interval is None else (d.interval.low, d.interval.high)
            widened = (min(own["low"][study], 0.0), max(own["high"][study], 0.0))
            expected = (own["low"][study], own["high"][study]) if d.shown else widened
            if d.interval is None:
                expected = (own["low"][study], own["high"][study])
            np.testing.assert_allclose((low, high), expected, rtol=1e-3, atol=2e-4, err_msg=f"{cell}, {figure}")
            own["real"][study], own["low"][study], own["high"][study] = d.shown, low, high
    return found


def dashes(drawn: Drawn, k: int, figure: str, *, grouped: bool) -> Array:
    """Return in which studies no interval is to be given."""
    rows = np.stack([(drawn.gold == c).sum(axis=1) for c in range(k)], axis=1)
    if figure == "macro-f1":
        return (rows == 0).any(axis=1)
    few = rows[:, -1] < 5
    if not grouped:
        return few
    rare = drawn.gold == k - 1
    in_groups = np.stack([rare[:, drawn.group == g].any(axis=1) for g in np.unique(drawn.group)], axis=1)
    return few | (in_groups.sum(axis=1) == 1)


def study_cell(cell: Cell, studies: int, seeds: list[int]) -> dict[str, Any]:
    """Return what is measured in a cell, by figure and method."""
    random = np.random.default_rng(seeds)
    kept: dict[str, dict[str, list[Any]]] = {figure: {} for figure in FIGURES}
    rarest = []
    for start in range(0, studies, CHUNK):
        some = min(CHUNK, studies - start)
        drawn = draw(cell, some, random)
        k = len(SHARES[cell.shares])
        codes = (np.arange(some)[:, None] * k + drawn.gold) * k * k + drawn.labels[0] * k + drawn.labels[1]
        tables = np.bincount(codes.ravel(), minlength=some * k**3).reshape(some, k**3).astype(float)
        rarest.append((tables @ kinds_of(k)[1])[:, :k].min(axis=1))
        others, computed = {}, {}
        for figure in FIGURES:
            others[figure], rejected = _methods(cell, tables, drawn, figure, random)
            computed[figure] = others[figure]["one text a class" if cell.groups is None else "t, effective groups"]
            if rejected is not None:
                kept[figure].setdefault("permutation", []).append(rejected)
        said = ours(cell, drawn, computed, CHECKED if start == 0 else 0)
        for figure in FIGURES:
            kept[figure].setdefault("real", []).append(said[figure]["real"])
            for name, limits in {OURS: Limits(said[figure]["low"], said[figure]["high"]), **others[figure]}.items():
                kept[figure].setdefault(name, []).append(np.array(limits))
    return summarised(cell, kept, np.concatenate(rarest))


def _methods(
    cell: Cell, tables: Array, drawn: Drawn, figure: str, random: np.random.Generator
) -> tuple[dict[str, Limits], Array | None]:
    """Return the limits of other methods, and with groups whether the permutation test alone rejects."""
    gold, labels, group = drawn
    k, n = len(SHARES[cell.shares]), gold.shape[1]
    _, units = kinds_of(k)
    if cell.groups is None:
        found = {FORMER: former_test(tables, k, figure), "MOVER": mover(tables, k, figure)}
        # The others take longest: where the rarest class has 5 to 10 texts, as that is where they part.
        tried = 5 <= cell.rarest <= 10
        estimate = difference(tables @ units, figure)
        amounts = {"one text": 1.0, "half a text": 0.5, "two texts": 2.0}
        for amount, texts in list(amounts.items())[: 3 if tried else 1]:
            added, error = with_added(tables, k, figure, texts)
            found[f"{amount} a class"] = by_error(estimate, error, n - 1.0)
            centre = difference(added @ units, figure)
            found[f"{amount} a class, centre too"] = by_error(centre, error, n - 1.0)
        if tried:
            found["score, all kinds"] = score(tables, k, figure, extended=True)
            found["empirical likelihood"] = score(tables, k, figure, extended=False)
        if tried and figure == "macro-f1":
            found |= bootstraps(tables, k, figure, random)
        return found, None
    some, g = len(gold), cell.groups
    codes = (np.arange(some)[:, None] * g + group[None]) * k**3 + (gold * k + labels[0]) * k + labels[1]
    by_group = np.bincount(codes.ravel(), minlength=some * g * k**3).reshape(some, g, k**3) @ units
    rejected = permutation_of_groups(by_group, k, figure, random)
    return grouped_methods(by_group, group_sizes(cell).astype(float), tables, k, figure), rejected


def summarised(cell: Cell, kept: dict[str, dict[str, list[Any]]], rarest: Array) -> dict[str, Any]:
    """Return shares and means over the studies of a cell."""
    found: dict[str, Any] = {"cell": str(cell), "differ": cell.differ, "expected_of_rarest": cell.rarest}
    truth = truth_of(cell)
    for figure, by in kept.items():
        own: dict[str, Any] = {"truth": truth[figure]}
        own["real"] = float(np.concatenate(by.pop("real")).mean())
        alone = by.pop("permutation", None)
        own["permutation"] = None if alone is None else float(np.concatenate(alone).mean())
        limits = {name: np.concatenate(parts, axis=1) for name, parts in by.items()}
        holds = {name: (low <= truth[figure]) & (truth[figure] <= high) for name, (low, high) in limits.items()}
        dash = np.isnan(limits[OURS][0])
        others = sum((~held).astype(int) for name, held in holds.items() if name != OURS)
        for name, (low, high) in limits.items():
            there = ~np.isnan(low)
            own[name] = {
                "coverage": float(holds[name][there].mean()) if there.any() else None,
                "width": float((high - low)[there].mean()) if there.any() else None,
                "leaves_out_0": float(((low > 0) | (high < 0)).mean()),
            }
        enough = ~dash & (rarest >= 5)
        own[OURS] |= {
            "dashes": float(dash.mean()),
            # A dash counts as a miss unless two other methods miss too.
            "counted": float(np.where(dash, others >= 2, holds[OURS]).mean()),
            "coverage_with_5": float(holds[OURS][enough].mean()) if enough.any() else None,
        }
        found[figure] = own
    return found


def grid() -> list[Cell]:
    """Return all cells, those without and with a difference side by side."""
    cells = [Cell(shares, n) for n in SIZES for shares in SHARES if n < 1_000 or min(SHARES[shares]) < 0.1]
    likely = [(g, 0.1) for g in GROUPS] + [(12, 0.3), (12, 0.0), (8, 0.3), (30, 0.3)]
    cells += [
        Cell("2, 90:10", g * OF_GROUP, g, unequal, likeness) for g, likeness in likely for unequal in (False, True)
    ]
    return [cell._replace(differ=differ) for cell in cells for differ in (False, True)]


def share(value: float | None) -> str:
    """Return a share in per cent; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


def written(results: list[dict[str, Any]], studies: int, head: str) -> str:
    """Return the page."""
    error = np.sqrt(0.05 * 0.95 / studies)
    lines = [head, "", *summary(results, error), ""]
    pairs = list(zip(results[::2], results[1::2], strict=True))
    lines += ["## How often a difference is called real, in per cent", ""]
    lines += [
        "None: both have the same quality (nominal at most 5). One: the second is better. Former: the test of before. "
        "Permutation: with groups, the paired permutation test without the interval.",
        "",
        "| cell | figure | none: compare | former | permutation | one: compare | former | permutation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for none, one in pairs:
        for figure in FIGURES:
            cells = []
            for result in (none, one):
                f = result[figure]
                before = f[FORMER]["leaves_out_0"] if FORMER in f else None
                cells += [share(f["real"]), share(before), share(f["permutation"])]
            lines.append(f"| {none['cell']} | {figure} | {' | '.join(cells)} |")
    lines += ["", "## How often the interval holds the true difference, in per cent, and how wide it is", ""]
    lines += [
        "Rarest: texts of the rarest class that are to be expected. Dashes: studies without an interval. With 5: "
        "studies with five or more texts of each class.",
        "",
        "| cell | rarest | difference | figure | compare | width | dashes | with 5 | former | width |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for figure in FIGURES:
            f = result[figure]
            own, before = f[OURS], f.get(FORMER, {"coverage": None, "width": None})
            widths = ["–" if v["width"] is None else f"{v['width']:.3f}" for v in (own, before)]
            lines.append(
                f"| {result['cell']} | {result['expected_of_rarest']:.3g} | {f['truth']:+.3f} | {figure} | "
                f"{share(own['coverage'])} | {widths[0]} | {share(own['dashes'])} | {share(own['coverage_with_5'])} | "
                f"{share(before['coverage'])} | {widths[1]} |"
            )
    return "\n".join([*lines, "", *tried_lines(results)]) + "\n"


def summary(results: list[dict[str, Any]], error: float) -> Iterator[str]:
    """Yield what the tables come to."""
    for figure in FIGURES:
        for kind, chosen in (("independent texts", "texts,"), ("groups", "groups,")):
            cells = [r for r in results if chosen in r["cell"]]
            none = [r for r in cells if not r["differ"]]
            if not none:
                continue
            worst = max(none, key=lambda r, figure=figure: r[figure]["real"])
            # A dash is what is wanted for the F1 of a class with fewer than five texts; else it counts as a miss.
            key = "coverage" if figure == FIGURES[1] else "counted"
            enough = [r for r in cells if r["expected_of_rarest"] >= 5 and r[figure][OURS]["coverage"] is not None]
            low = min(enough, key=lambda r, figure=figure, key=key: r[figure][OURS][key])
            over = sum(r[figure]["real"] > 0.05 + 2 * error for r in none)
            under = [r["cell"] for r in enough if r[figure][OURS][key] < 0.93]
            yield (
                f"- {figure}, {kind}: called real where there is no difference in at most "
                f"{share(worst[figure]['real'])} % ({worst['cell']}; {over} of {len(none)} cells above "
                f"{share(0.05 + 2 * error)}); coverage with five or more expected texts of the rarest class at least "
                f"{share(low[figure][OURS][key])} % ({low['cell']}), under 93 in {len(under)} of {len(enough)} "
                f"cells{': ' + '; '.join(under) if under else ''}; most dashes there "
                f"{share(max(r[figure][OURS]['dashes'] for r in enough))} %."
            )
            wide = []
            for r in enough:
                fair = [v["width"] for v in r[figure].values() if isinstance(v, dict) and (v["coverage"] or 0) >= 0.93]
                if (r[figure][OURS]["coverage"] or 0) > 0.97 and r[figure][OURS]["width"] > 1.3 * min(fair):
                    wide.append(f"{r['cell']} ({r[figure][OURS]['width'] / min(fair):.2f} times)")
            if wide:
                yield f"  - above 97 % and wider than 1.3 times the narrowest that covers 93 %: {'; '.join(wide)}."


def tried_lines(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the methods that were tried, where there are at least five texts of the rarest class to be expected."""
    yield "## Methods tried: coverage in per cent / mean width"
    for kind, chosen in (("Independent texts", "texts,"), ("Groups", "groups,")):
        cells = [r for r in results if chosen in r["cell"] and r["expected_of_rarest"] >= 5]
        for figure in FIGURES:
            names = list(dict.fromkeys(n for r in cells for n, v in r[figure].items() if isinstance(v, dict)))
            yield from ("", f"{kind}, {figure}:", "", f"| cell | difference | {' | '.join(names)} |")
            yield "|---|---|" + "---|" * len(names)
            for r in cells:
                shown = [r[figure].get(n) for n in names]
                said = ["" if v is None else f"{share(v['coverage'])} / {v['width']:.3f}" for v in shown]
                yield f"| {r['cell']} | {r[figure]['truth']:+.3f} | {' | '.join(said)} |"


def main() -> None:
    """Simulate, and write down what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2_000, help="a cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cells whose name holds this")
    parser.add_argument("--result", type=Path, required=True, help="path of the result, without its ending")
    options = parser.parse_args()
    started = time.perf_counter()
    # What is done is kept: a run that was stopped goes on from there.
    part = options.result.with_suffix(".partial.json")
    done = json.loads(part.read_text(encoding="utf-8")) if part.exists() else []
    by_cell = {(result["cell"], result["differ"]): result for result in done}
    chosen = [(place, cell) for place, cell in enumerate(grid()) if options.only in str(cell)]
    for place, cell in chosen:
        if (str(cell), cell.differ) not in by_cell:
            found = study_cell(cell, options.studies, [options.seed, place])
            by_cell[str(cell), cell.differ] = found
            part.write_text(json.dumps(list(by_cell.values()), indent=1) + "\n", encoding="utf-8")
            print(f"{time.perf_counter() - started:.0f} s: {cell}", flush=True)
    results = [by_cell[str(cell), cell.differ] for _, cell in chosen]
    known, here = versions(), machine()
    used = ", ".join(f"{name} {known[name]}" for name in ("python", "numpy", "scipy") if name in known)
    processor = here.get("processor") or here.get("cpu") or "processor unknown"
    head = (
        "# Differences between two: how often they are called real, and coverage of their intervals\n\n"
        f"`benchmarks/comparison.py --studies {options.studies} --seed {options.seed}`, "
        f"{time.perf_counter() - started:.0f} s. {processor}; {used}.\n\n" + __doc__.split("\n\n")[-1].strip()
    )
    options.result.with_suffix(".md").write_text(written(results, options.studies, head), encoding="utf-8")
    kept = {"studies": options.studies, "seed": options.seed, "machine": here, "versions": known, "cells": results}
    options.result.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
