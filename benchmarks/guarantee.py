"""What is the promise of ``--max-error`` worth? How often a confidence is found, and how often it fails.

In: nothing. Out: a table in markdown and the same figures as JSON: by model, limit and number of texts, the share of
simulated studies that find a confidence, the share that break the limit, of all and of those that found one, and the
share of texts accepted.

    python benchmarks/guarantee.py --studies 4000 --seed 2 --result benchmarks/results/2026-11-29-guarantee

Two classes; the log-odds of a text are normal with mean 0 and a standard deviation that gives the model's accuracy, and
its probabilities are the true ones; ``useless``: the accuracy is the same at all confidences. A study's error is that
of infinitely many texts from the confidence found on. Groups: of equal size; the log-odds of being right move by a
normal deviation of 1 for a whole group, and the truth is that of infinitely many groups.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from cells import made_with, options_parser, run_cells

from secondcoder.evaluation.selective import risk_guarantee

POPULATION = 200_000


class Cell(NamedTuple):
    """One point of the grid."""

    accuracy: float
    useful: bool
    limit: float
    n: int
    groups: int | None = None


def grid() -> list[Cell]:
    """Return the cells."""
    cells = [
        Cell(accuracy, useful, limit, n)
        for accuracy, useful, limit in ((0.84, True, 0.05), (0.73, True, 0.05), (0.84, False, 0.1))
        for n in (100, 250, 500, 1000)
    ]
    return cells + [Cell(0.84, True, 0.1, 1000, groups) for groups in (4, 12)]


def confidences(cell: Cell, n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return how sure the labels of n texts are, and the log-odds of their being right; shapes (n,)."""
    size = np.abs(random.normal(0, SPREADS[cell.accuracy], n))
    sure = 1 / (1 + np.exp(-size))
    return sure, size if cell.useful else np.full(n, np.log(cell.accuracy / (1 - cell.accuracy)))


def spread_of(accuracy: float) -> float:
    """Return the standard deviation of log-odds by which so many texts are right."""
    size, low, high = np.abs(np.random.default_rng(0).normal(size=200_000)), 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-middle * size))).mean() < accuracy else (low, middle)
    return high


SPREADS = {accuracy: spread_of(accuracy) for accuracy in (0.84, 0.73)}


def study_cell(job: tuple[Cell, int, int]) -> dict[str, object]:
    """Return what the studies of a cell gave."""
    cell, studies, seed = job
    random = np.random.default_rng([seed, *map(ord, str(cell))])
    sure, odds = confidences(cell, POPULATION, random)
    moved = random.normal(size=POPULATION) * (cell.groups is not None)
    order = np.argsort(-sure)
    errors = np.cumsum(1 / (1 + np.exp(odds + moved))[order]) / np.arange(1, POPULATION + 1)
    found, broken, accepted = 0, 0, 0.0
    for _ in range(studies):
        sure_here, odds_here = confidences(cell, cell.n, random)
        if cell.groups is not None:
            odds_here = odds_here + np.repeat(random.normal(size=cell.groups), cell.n // cell.groups + 1)[: cell.n]
        right = random.random(cell.n) < 1 / (1 + np.exp(-odds_here))
        chosen = risk_guarantee(sure_here, right, cell.limit).min_confidence
        if chosen is not None:
            reach = int(np.searchsorted(-sure[order], -chosen, side="right"))
            found, accepted = found + 1, accepted + reach / POPULATION
            broken += bool(errors[max(reach, 1) - 1] > cell.limit)
    shares = {"found": found / studies, "broken": broken / studies}
    return {**cell._asdict(), "studies": studies, **shares, "accepted": accepted / found if found else None}


def written(results: Sequence[dict], options: argparse.Namespace, jobs: int) -> str:
    """Return the page."""
    worst = max(results, key=lambda r: (r["groups"] is None, r["broken"]))
    lines = [
        "# What the promise of `--max-error` is worth",
        "",
        f"`benchmarks/guarantee.py --studies {options.studies} --seed {options.seed}`, {made_with(results, jobs)}. "
        "What the models are stands in the script. Promised: broken in at most 5 of 100 studies, of independent texts.",
        "",
        f"Most often broken by independent texts: in {worst['broken']:.1%} of studies (accuracy {worst['accuracy']:g}, "
        f"limit {worst['limit']:g}, {worst['n']:,} texts).",
        "",
        "| accuracy | confidence | limit | texts | groups | found one | broken, of all | of those that found one "
        "| texts accepted |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        cells = [f"{r['accuracy']:g}", "useful" if r["useful"] else "useless", f"{r['limit']:g}", f"{r['n']:,}"]
        cells += [str(r["groups"] or "none"), f"{r['found']:.1%}", f"{r['broken']:.1%}"]
        cells += [f"{r['broken'] / r['found']:.1%}" if r["found"] else "–"]
        cells += ["–" if r["accepted"] is None else f"{r['accepted']:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, and write down what came out."""
    parser = options_parser(__doc__, studies=4000)
    options = parser.parse_args()
    jobs = {str(tuple(cell)): (cell, options.studies, options.seed) for cell in grid()}
    about = {"studies": options.studies, "seed": options.seed}

    def write(results: Sequence[dict]) -> str:
        return written(results, options, len(jobs))

    run_cells(jobs, study_cell, about=about, write=write, result=options.result, processes=options.processes)


if __name__ == "__main__":
    main()
