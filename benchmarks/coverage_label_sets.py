"""How often do the intervals of sets of labels, and of ordered classes, hold the truth? Simulated studies.

In: nothing. Out: a table in markdown: for each figure the coverage of nominal 95 %, its minimum and where that is, the
mean width, how often there is no interval.

    python benchmarks/coverage_label_sets.py --result benchmarks/results/2026-11-29-coverage-label-sets.md

Sets: a study draws n texts. Classes have shares from 0.4 down to 0.05 and go together (a common factor on the probit
scale, correlation 0.3 of what a text has and 0.3 of what the classifier misses); a classifier sees each class with
noise and gives it where it is more likely than not. Ordered classes: five, in unequal shares; the classifier sees the
class with noise of 0.4 or 0.9 steps and rounds. Groups, of log-normal sizes, have their own shares and their own
leanings; the truth is that of very many groups.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from secondcoder.environment import machine, versions
from secondcoder.evaluation.metrics import f1_of_texts, losses_of_texts, quadratic_kappa
from secondcoder.evaluation.ordinal import order_intervals
from secondcoder.evaluation.set_intervals import set_intervals

SIZES, CLASSES, SIGNALS, GROUPS, NOISES = (100, 400), (3, 8), (1.0, 2.5), (None, 12, 30), (0.4, 0.9)
SET_FIGURES = "macro-f1 micro-f1 weighted-f1 macro-precision macro-recall micro-precision micro-recall".split()
SET_FIGURES += ["exact-match", "hamming-loss", "samples-f1", "log-loss"]
ORDER_FIGURES = ["quadratic-kappa", "mean-absolute-error"]
SHARE_SPREAD, LEANING = 0.35, 0.35


def owners(n, groups, rng):
    if groups is None:
        return np.arange(n)
    weights = np.exp(rng.normal(0, 0.6, groups))
    return np.concatenate([np.arange(groups), rng.choice(groups, n - groups, p=weights / weights.sum())])


def draw_sets(n, k, signal, owner, grouped, rng):
    """Return gold, probabilities; shape (n, k)."""
    threshold = norm.isf(np.geomspace(0.4, 0.05, k))
    most = int(owner.max()) + 1
    own = rng.normal(0, SHARE_SPREAD, (most, k))[owner] if grouped else 0.0
    lean = rng.normal(0, LEANING, (most, k))[owner] if grouped else 0.0

    def together():
        return np.sqrt(0.3) * rng.standard_normal((n, 1)) + np.sqrt(0.7) * rng.standard_normal((n, k))

    gold = together() + own > threshold
    seen = signal * gold + together() + lean
    prior = norm.sf(threshold)
    score = signal * seen - signal**2 / 2 + np.log(prior / (1 - prior))
    return gold, expit(1.3 * score)


def draw_ordered(n, noise, owner, grouped, rng):
    shares = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    most = int(owner.max()) + 1
    cuts = norm.ppf(np.cumsum(shares)[:-1])
    shift = rng.normal(0, SHARE_SPREAD, most)[owner] if grouped else 0.0
    lean = rng.normal(0, LEANING, most)[owner] if grouped else 0.0
    gold = np.searchsorted(cuts, rng.standard_normal(n) + shift)
    return gold, np.clip(np.round(gold + rng.normal(0, noise, n) + lean), 0, 4).astype(np.int64)


def set_figures(gold, given, p):
    hits, support, predicted = ((part).sum(axis=0) for part in (gold & given, gold, given))
    with np.errstate(divide="ignore", invalid="ignore"):
        by_class = {
            "f1": np.nan_to_num(2 * hits / (support + predicted)),
            "precision": np.nan_to_num(hits / predicted),
            "recall": np.nan_to_num(hits / support),
        }
    found = {f"macro-{name}": value.mean() for name, value in by_class.items()}
    found["weighted-f1"] = np.average(by_class["f1"], weights=support)
    h, s, q = hits.sum(), support.sum(), predicted.sum()
    found |= {"micro-f1": 2 * h / (s + q), "micro-precision": h / q, "micro-recall": h / s}
    found |= {"exact-match": (gold == given).all(axis=1).mean(), "hamming-loss": (gold != given).mean()}
    means = {"samples-f1": f1_of_texts(gold, given).mean(), "log-loss": losses_of_texts(gold, p).mean()}
    by_name = {f"f1:{i}": value for i, value in enumerate(by_class["f1"])}
    return found | means | by_name


def count(tallied, name, interval, truth):
    one = tallied.setdefault(name, np.zeros(4))
    held = interval is not None and interval.low - 1e-12 <= truth <= interval.high + 1e-12
    one += (1, interval is not None, held, 0.0 if interval is None else interval.high - interval.low)


def study_sets(cell, studies, seed):
    n, k, signal, groups = cell
    rng = np.random.default_rng(seed)
    grouped = groups is not None
    big = 400_000
    gold, p = draw_sets(big, k, signal, np.arange(big) // (5 if grouped else 1), grouped, rng)
    truth, tallied = set_figures(gold, p >= 0.5, p), {}
    for _ in range(studies):
        owner = owners(n, groups, rng)
        gold, p = draw_sets(n, k, signal, owner, grouped, rng)
        given = p >= 0.5
        of_texts = {"samples-f1": f1_of_texts(gold, given), "log-loss": losses_of_texts(gold, p)}
        names = [str(i) for i in range(k)]
        found = set_intervals(gold, given, of_texts, names, groups=owner.astype(str) if grouped else None)
        for name in SET_FIGURES:
            count(tallied, name, found[name], truth[name])
        for i in range(k):
            count(tallied, "f1 (of a class)", found[f"f1:{i}"], truth[f"f1:{i}"])
    return tallied


def study_ordered(cell, studies, seed):
    n, noise, groups = cell
    rng = np.random.default_rng(seed)
    grouped = groups is not None
    big = 1_000_000
    gold, given = draw_ordered(big, noise, np.arange(big) // (5 if grouped else 1), grouped, rng)
    matrix = np.bincount(gold * 5 + given, minlength=25).reshape(5, 5)
    truth, tallied = (
        {"quadratic-kappa": quadratic_kappa(matrix), "mean-absolute-error": np.abs(gold - given).mean()},
        {},
    )
    for _ in range(studies):
        owner = owners(n, groups, rng)
        gold, given = draw_ordered(n, noise, owner, grouped, rng)
        found = order_intervals(gold, given, 5, groups=owner.astype(str) if grouped else None)
        for name in ORDER_FIGURES:
            count(tallied, name, found[name], truth[name])
    return tallied


def rows_of(results, names):
    lines = ["| figure | mean coverage | minimum | where | mean width | no interval |", "|---|---|---|---|---|---|"]
    for name in names:
        here = [(t[name][2] / t[name][1], where, t[name]) for where, t in results if t[name][1] >= 50]
        least, where, _ = min(here, key=lambda row: row[0])
        width = np.mean([one[3] / one[1] for _, _, one in here])
        none = 1 - np.mean([one[1] / one[0] for _, _, one in here])
        mean = np.mean([share for share, _, _ in here])
        lines.append(f"| {name} | {mean:.1%} | {least:.1%} | {where} | {width:.3f} | {none:.1%} |")
    return "\n".join(lines)


def units(groups):
    return "independent" if groups is None else f"{groups} groups"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    started, sections = time.perf_counter(), []
    for groups in GROUPS:
        cells = itertools.product(SIZES, CLASSES, SIGNALS, (groups,))
        results = [
            (f"n = {c[0]}, {c[1]} classes, signal {c[2]}", study_sets(c, options.studies, i))
            for i, c in enumerate(cells)
        ]
        sections.append(f"## Sets, {units(groups)}\n\n" + rows_of(results, [*SET_FIGURES, "f1 (of a class)"]))
    for groups in GROUPS:
        cells = itertools.product(SIZES, NOISES, (groups,))
        results = [
            (f"n = {c[0]}, noise {c[1]}", study_ordered(c, options.studies, 50 + i)) for i, c in enumerate(cells)
        ]
        sections.append(f"## Five ordered classes, {units(groups)}\n\n" + rows_of(results, ORDER_FIGURES))
    info, version, seconds = machine(), versions(), time.perf_counter() - started
    head = (
        "# How often the intervals of sets of labels, and of ordered classes, hold the truth\n\n"
        f"`benchmarks/coverage_label_sets.py`, {options.studies} studies a cell, {seconds:,.0f} s "
        f"in one process beside other work. {info['processor']}; Python {version['python']}, numpy {version['numpy']}, "
        f"scipy {version['scipy']}.\n\n{(__doc__ or '').split(chr(10) * 2)[-1].strip()}\n\n"
        "Nominal coverage is 95 %; with so few studies a cell's own coverage has a standard error of "
        f"{np.sqrt(0.05 * 0.95 / options.studies):.1%}. Cells count alike."
    )
    options.result.write_text("\n\n".join([head, *sections]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
