"""Are columns that give a label away found, and how often is a column of noise taken for one?

In: nothing. Out: tables in markdown and the same figures as JSON. A study draws labels, the one of interest with a
given share and four others that share the rest evenly, and columns that have nothing to do with them, or give the one
away. Counted are the columns that a finding points out. Of labels with fewer than five rows nothing is said, by design.

    python benchmarks/column_leaks.py --result benchmarks/results/2026-11-29-column-leaks

Each cell is written when it is done, and the same command goes on after the last one; --noise and --planted name cells,
as 1000:0.03 for 1,000 rows and a share of 3 %.

Columns of noise: decimal numbers; whole numbers from 0 to 99; three categories; categories of five rows each on
average; dates; ids with a running number; addresses with a section, a number and a query. Columns that give the label
away: a number above a cut, and one whose area under the ROC curve is 0.98; a second coder who errs on 3 % of all
texts; one who finds 85 or 75 % of the label's texts and takes a fifth as many others for them. And two which hardly do:
a second coder who finds half of the label's texts and takes as many others for them; a flag that all of the label's
texts have, and 17 % of the others. (A token in an address gives a label away as exactly as the cut does; tests have
that.)
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from secondcoder.corpus.column_leaks import most_revealing, readings_of, rules_of
from secondcoder.environment import machine, versions

Random = np.random.Generator
NOISE_CELLS = [f"{n}:{share}" for n in (200, 1_000, 5_000) for share in (0.03, 0.1, 0.25, 0.5)]
PLANTED_CELLS = [f"{n}:{share}" for n in (400, 1_000) for share in (0.03, 0.1)]
LABELS = 25  # draws of labels for each column of noise; each is a study


def main() -> None:
    """Draw, look, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--noise", nargs="*", default=NOISE_CELLS)
    parser.add_argument("--planted", nargs="*", default=PLANTED_CELLS)
    options = parser.parse_args()
    about: dict = {"machine": machine(), "versions": versions(), "studies": options.studies, "seed": options.seed}
    path = options.result.with_suffix(".json")
    cells: list[dict] = json.loads(path.read_text("utf-8"))["cells"] if path.exists() else []
    done = {(cell["what"], cell["rows"], cell["share"]) for cell in cells}
    for what, draw, wanted in (("noise", noise_cell, options.noise), ("planted", planted_cell, options.planted)):
        for rows, share in ((int(n), float(share)) for n, share in (cell.split(":") for cell in wanted)):
            if (what, rows, share) not in done:
                started = time.process_time()  # the processor's: the machine may be busy
                cell = draw(rows, share, options)
                cells.append(cell | {"seed": options.seed, "processor_seconds": round(time.process_time() - started)})
                path.write_text(json.dumps(about | {"cells": cells}, indent=1) + "\n", "utf-8")
                path.with_suffix(".md").write_text(render(about, cells), "utf-8")


def noise_cell(n: int, share: float, options: argparse.Namespace) -> dict:
    """Return how many of so many columns of each kind of noise are pointed out."""
    rng = np.random.default_rng([options.seed, n, round(1000 * share), 1])
    found = dict.fromkeys(NOISE, 0)
    draws = math.ceil(options.studies / LABELS)
    for _ in range(draws):
        studies = [draw_labels(n, share, rng) for _ in range(LABELS)]
        for kind, draw in NOISE.items():
            found[kind] += look(draw(n, rng), studies, rng)
    return {"what": "noise", "rows": n, "share": share, "studies": draws * LABELS, "found": found}


def planted_cell(n: int, share: float, options: argparse.Namespace) -> dict:
    """Return in how many of so many studies each kind of revealing column is pointed out."""
    rng = np.random.default_rng([options.seed, n, round(1000 * share), 2])
    found = dict.fromkeys(PLANTED, 0)
    for _ in range(options.studies):
        labels = draw_labels(n, share, rng)
        for kind, plant in PLANTED.items():
            found[kind] += look(plant(labels == "x", rng), [labels], rng)
    return {"what": "planted", "rows": n, "share": share, "studies": options.studies, "found": found}


def draw_labels(n: int, share: float, rng: Random) -> np.ndarray:
    """Return labels, "x" with the given share and four others."""
    return rng.choice(["x", "a", "b", "c", "d"], n, p=[share, *[(1 - share) / 4] * 4])


def look(column: list, studies: list[np.ndarray], rng: Random) -> int:
    """Return for how many of several sets of labels the column is pointed out."""
    cells = [str(value) for value in column]
    readings = list(readings_of(cells))
    rules = list(rules_of(readings, cells))
    folds = rng.integers(0, 5, len(cells))
    found = 0
    for labels in studies:
        names, codes = np.unique(labels, return_inverse=True)
        has = {name: codes == i for i, name in enumerate(names.tolist())}
        found += most_revealing(readings, rules, codes, has, folds) is not None
    return found


def words(what: np.ndarray) -> list:
    """Return values as text."""
    return [str(value) for value in what.tolist()]


NOISE: dict[str, Callable[[int, Random], list]] = {
    "decimal numbers": lambda n, rng: rng.lognormal(size=n).tolist(),
    "whole numbers": lambda n, rng: rng.integers(0, 100, n).tolist(),
    "three categories": lambda n, rng: words(rng.choice(["p", "q", "r"], n, p=[0.6, 0.3, 0.1])),
    "categories of five rows": lambda n, rng: words(rng.integers(0, max(n // 5, 2), n)),
    "dates": lambda n, rng: words(np.datetime64("2015-01-01") + rng.integers(0, 3000, n)),
    "ids": lambda n, rng: [f"doc_{i:06}" for i in rng.permutation(n).tolist()],
    "addresses": lambda n, rng: [
        f"https://{a}.example.org/{b}/{c}?page={d}"
        for a, b, c, d in zip(
            rng.choice(["www", "m"], n).tolist(),
            rng.choice(["news", "sport", "arts", "science"], n).tolist(),
            rng.integers(10**6, 10**7, n).tolist(),
            rng.integers(1, 9, n).tolist(),
            strict=True,
        )
    ],
}


def _coder(finds: float, also: Callable[[float], float]) -> Callable[[np.ndarray, Random], list]:
    def plant(has: np.ndarray, rng: Random) -> list:
        chance = np.where(has, finds, also(float(has.mean())))
        return words(rng.random(len(has)) < chance)

    return plant


PLANTED: dict[str, Callable[[np.ndarray, Random], list]] = {
    "number above a cut": lambda has, rng: np.where(
        has, 0.9 + 0.1 * rng.random(len(has)), 0.9 * rng.random(len(has))
    ).tolist(),
    "number, area 0.98": lambda has, rng: (rng.normal(size=len(has)) + 2.9 * has).tolist(),
    "coder who errs on 3 %": _coder(0.97, lambda share: 0.03),
    "coder who finds 85 %": _coder(0.85, lambda share: 0.2 * share / (1 - share)),
    "coder who finds 75 %": _coder(0.75, lambda share: 0.2 * share / (1 - share)),
    "coder who finds 50 %": _coder(0.5, lambda share: 0.5 * share / (1 - share)),
    "all, and 17 % of the others": _coder(1.0, lambda share: 0.17),
}


def render(about: dict, cells: list[dict]) -> str:
    """Return the tables in markdown."""
    noise = [cell for cell in cells if cell["what"] == "noise"]
    planted = [cell for cell in cells if cell["what"] == "planted"]
    worst = max(
        (cell["found"][kind] / cell["studies"], kind, cell["rows"], cell["share"]) for cell in noise for kind in NOISE
    )
    alarms = sum(sum(cell["found"].values()) for cell in noise)
    looked = sum(cell["studies"] for cell in noise) * len(NOISE)
    with_versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("python", "numpy", "scipy"))
    lines = [
        "# Columns that give a label away",
        "",
        f"`benchmarks/column_leaks.py --studies {about['studies']} --seed {about['seed']}`, "
        f"{sum(cell['processor_seconds'] for cell in cells)} s of the processor; {with_versions}; "
        f"{about['machine']['processor']}.",
        "",
        "## Columns of noise, by how many in 1,000 are pointed out",
        "",
        f"{alarms} of {looked:,} columns in all; the worst cell has {1000 * worst[0]:.1f} in 1,000 ({worst[1]}, "
        f"{worst[2]:,} rows, {worst[3]:.0%}).",
        "",
        *table(noise, list(NOISE), lambda rate: f"{1000 * rate:.1f}"),
        "",
        "## Columns that give the label away, by how many in 100 are pointed out",
        "",
        "The last two hardly do.",
        "",
        *table(planted, list(PLANTED), lambda rate: f"{100 * rate:.1f}"),
    ]
    return "\n".join(lines) + "\n"


def table(cells: list[dict], kinds: list[str], shown: Callable[[float], str]) -> list[str]:
    """Return a table, a row for each number of rows and share of the label."""
    head = ["rows", "share of the label", *kinds]
    rows = [
        [f"{cell['rows']:,}", f"{cell['share']:.0%}", *(shown(cell["found"][kind] / cell["studies"]) for kind in kinds)]
        for cell in cells
    ]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    main()
