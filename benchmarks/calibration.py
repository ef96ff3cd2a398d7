"""How often does the interval of the calibration error hold the truth, and what is the error of a calibrated model?

In: nothing. Out: tables in markdown and the same figures as JSON: by model and number of texts, the share of studies
whose nominal 95 % interval holds the true calibration error, to which side the others miss, the mean width, and the
mean figure; the same for other methods, on a quarter of these studies.

    python benchmarks/calibration.py --studies 2000 --seed 2 --result benchmarks/results/2026-11-29-calibration

Two classes. The true log-odds z of the first are normal (m, s): half and half (m = 0), or a class of 8 %. The model
says ``z / T + shift``: with T = 0.5 it is too sure, with T = 2 not sure enough, with a shift it gives one class too
often. The truth is the mean distance between confidence and share right of the whole population, by confidence, in as
many bins as a study of that size has.

Other methods: ``bootstrap``, percentiles of the plain figure over redrawn rows; ``basic``, the same turned round, from
twice the figure less the upper percentile to twice the figure less the lower one; ``accuracy``, how far the mean
confidence lies from Wilson's interval of the accuracy, which sees only errors of one sign.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from cells import made_with, options_parser, run_cells

from secondcoder.evaluation.calibration import bins_of, calibration_error

SIZES = (50, 100, 300, 1000)
DRAWS = 100
POPULATION = 400_000
SHARE = 4  # of the studies, the first of so many parts are given to the other methods too
OURS, METHODS = "secondcoder", ("secondcoder", "bootstrap", "basic", "accuracy")
Z = 1.959964


class Kind(NamedTuple):
    """A population of texts and a model: log-odds normal (m, s), of which it says ``z / temperature + shift``."""

    name: str
    m: float
    s: float
    temperature: float = 1.0
    shift: float = 0.0


KINDS = (
    Kind("half and half, s 1, right", 0, 1),
    Kind("half and half, s 1, too sure", 0, 1, 0.5),
    Kind("half and half, s 1, not sure enough", 0, 1, 2.0),
    Kind("half and half, s 3, right", 0, 3),
    Kind("half and half, s 3, too sure", 0, 3, 0.5),
    Kind("half and half, s 1.5, one class too often", 0, 1.5, 1.0, 1.0),
    Kind("8 %, s 1, right", -2.85, 1),
    Kind("8 %, s 1, too sure", -2.85, 1, 0.5),
    Kind("8 %, s 2, right", -3.7, 2),
    Kind("8 %, s 2, too sure", -3.7, 2, 0.5),
    Kind("8 %, s 3, too sure", -5, 3, 0.5),
    Kind("8 %, s 2, that class too often", -3.7, 2, 1.0, 1.0),
)


def draw(kind: Kind, n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of n texts and the probability that their label is right; shapes (n,)."""
    z = random.normal(kind.m, kind.s, n)
    said = z / kind.temperature + kind.shift
    return 1 / (1 + np.exp(-np.abs(said))), 1 / (1 + np.exp(-np.where(said >= 0, z, -z)))


def truth_of(kind: Kind, n: int) -> float:
    """Return the calibration error of the population, in as many bins as n texts have."""
    confidence, right = draw(kind, POPULATION, np.random.default_rng(7))
    order = np.argsort(confidence)
    parts = np.array_split((right - confidence)[order], min(10, max(1, n // 20)))
    return float(sum(abs(part.sum()) for part in parts) / POPULATION)


def others(confidence: np.ndarray, right: np.ndarray, bins: np.ndarray, random: np.random.Generator) -> dict:
    """Return the intervals of the other methods."""
    n, differences = len(right), right - confidence
    plain = np.abs(np.bincount(bins, differences)).sum() / n
    times = random.multinomial(n, np.full(n, 1 / n), size=DRAWS)
    member = np.eye(bins.max() + 1)[bins] * differences[:, np.newaxis]
    low, high = np.quantile(np.abs(times @ member).sum(axis=1) / n, [0.025, 0.975])
    share, z2 = right.mean(), Z**2 / n
    half = np.sqrt(z2 * share * (1 - share) + z2**2 / 4)
    edges = np.array([(share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)]) - confidence.mean()
    inside = edges[0] <= 0 <= edges[1]
    return {
        "bootstrap": (low, high),
        "basic": (max(2 * plain - high, 0.0), max(2 * plain - low, 0.0)),
        "accuracy": (0.0 if inside else np.abs(edges).min(), np.abs(edges).max()),
    }


def study_cell(job: tuple[Kind, int, int, int, bool]) -> dict[str, object]:
    """Return what the studies of a cell gave."""
    kind, n, studies, seed, alone = job
    random = np.random.default_rng([seed, n, *map(ord, kind.name)])
    truth, errors, none = truth_of(kind, n), [], 0
    limits: dict[str, list[tuple[float, float]]] = {}
    for study in range(studies):
        confidence, likely = draw(kind, n, random)
        right = random.random(n) < likely
        bins = bins_of(confidence)
        error, interval = calibration_error(confidence, right, bins, None)
        errors.append(error)
        found = {} if alone or study >= studies // SHARE else others(confidence, right, bins, random)
        none += interval is None
        if interval is not None:
            found[OURS] = (interval.low, interval.high)
        for name, pair in found.items():
            limits.setdefault(name, []).append(pair)
    result: dict[str, object] = {"kind": kind.name, "n": n, "studies": studies, "truth": truth}
    result |= {"mean": float(np.mean(errors)), "median": float(np.median(errors)), "none": none / studies}
    for name, pairs in limits.items():
        low, high = np.array(pairs).T
        above, below = float((low > truth + 1e-9).mean()), float((high < truth - 1e-9).mean())
        width = float((high - low).mean())
        result[name] = {"coverage": 1 - above - below, "above": above, "below": below, "width": width}
    return result


def narrowest(result: dict) -> float | None:
    """Return the mean width of the narrowest method that holds the truth in 93 % or more of the studies."""
    widths = [result[name]["width"] for name in METHODS if name in result and result[name]["coverage"] >= 0.93]
    return min(widths, default=None)


def written(results: list[dict], options: argparse.Namespace, jobs: int) -> str:
    """Return the page."""
    least = min(results, key=lambda r: r[OURS]["coverage"])
    ratios = [(r[OURS]["width"] / narrowest(r), r) for r in results if narrowest(r)]
    ratio, widest = max(ratios, key=lambda pair: pair[0])
    lines = [
        "# How often the interval of the calibration error holds the truth",
        "",
        f"`benchmarks/calibration.py --studies {options.studies} --seed {options.seed}`, {made_with(results, jobs)}. "
        "What the models and the other methods are stands in the script.",
        "",
        f"Lowest coverage {least[OURS]['coverage']:.1%} ({least['kind']}, {least['n']} texts); width at most "
        f"{ratio:.2f} times that of the narrowest of these methods that holds 93 % ({widest['kind']}, {widest['n']}).",
        "",
        "| model | texts | true error | mean figure | held | limit too low | limit too high | width "
        "| bootstrap | basic | accuracy |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        own = r[OURS]
        cells = [r["kind"], f"{r['n']:,}", f"{r['truth']:.3f}", f"{r['mean']:.3f}", f"{own['coverage']:.1%}"]
        cells += [f"{own['below']:.1%}", f"{own['above']:.1%}", f"{own['width']:.3f}"]
        for name in METHODS[1:]:
            cells.append(f"{r[name]['coverage']:.0%} / {r[name]['width']:.3f}" if name in r else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, and write down what came out."""
    parser = options_parser(__doc__, studies=2000)
    parser.add_argument("--alone", action="store_true", help="leave the other methods out")
    options = parser.parse_args()
    cells = [(kind, n, options.studies, options.seed, options.alone) for kind in KINDS for n in SIZES]
    jobs = {f"{job[0].name}, {job[1]}": job for job in cells}
    about = {"studies": options.studies, "seed": options.seed, "alone": options.alone}

    def write(results: Sequence[dict]) -> str:
        return written(list(results), options, len(jobs))

    run_cells(jobs, study_cell, about=about, write=write, result=options.result, processes=options.processes)


if __name__ == "__main__":
    main()
