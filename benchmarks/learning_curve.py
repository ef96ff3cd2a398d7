"""What does a learning curve's forecast hold, and which curves are refused? Simulated curves over a grid.

In: nothing. Out: tables in markdown and the same figures as JSON: by truth, sizes and noise, how often there is no
forecast and why, how often the nominal 95 % interval of the gain by half as many labels more, as many more and three
times as many more holds the truth, to which side it misses, and its width.

    python benchmarks/learning_curve.py --studies 2000 --seed 2 --result benchmarks/results/2026-11-29-learning-curve

Truths: power laws ``1 - (a n^-b + c)``; a sigmoid (macro-F1 0.46, 0.49, 0.61, 0.76, 0.83 at 63 to 1,000 texts,
levelling off at 0.85: what a network does that begins with the majority class); one that rises by as much with each
doubling; a flat one. Trainings scatter about the truth by 0.006 at all sizes, or by 0.015 or 0.03 at the smallest size
and less at larger ones, a third of the studies each. ``seeds``: half of that variance is the seed's, the same at all
its sizes. ``nested``: a training deviates as that of the next smaller size did, to 0.6. ``dev``: all trainings of a
study are judged on a dev part that is too easy or too hard by 0.02 (standard deviation); the truth of a gain is without
it.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from cells import made_with, options_parser, run_cells

from secondcoder.evaluation.learning_curve import fit_power_law

ERROR = 0.45
"""Of a power law at the smallest size."""
LAWS = ((0.15, 0.0), (0.15, 0.1), (0.3, 0.0), (0.3, 0.1), (0.5, 0.0), (0.5, 0.1), (0.8, 0.1), (1.2, 0.12))
"""Exponent, and the error that stays."""
DESIGNS = {
    "63–1,000, 5 × 3": ((63, 125, 250, 500, 1000), 3),
    "188–3,000, 5 × 3": ((188, 375, 750, 1500, 3000), 3),
    "250–2,000, 4 × 3": ((250, 500, 1000, 2000), 3),
    "1,000–4,000, 4 × 3": ((1000, 2000, 3000, 4000), 3),
    "63–1,000, 5 × 2": ((63, 125, 250, 500, 1000), 2),
    "63–1,000, 5 × 1": ((63, 125, 250, 500, 1000), 1),
}
"""Sizes, and trainings of each."""
NOISES = ((0.006, 0.0), (0.015, 0.25), (0.03, 0.5))
"""Standard deviation of a figure at the smallest size, and the power of the size with which it falls."""
GAINS = (1.5, 2.0, 4.0)
"""Times the largest size."""
QUICK = ("sigmoid", "flat at 0.7")
"""Mostly refused, before the band is computed."""
KINDS = ("independent", "seeds", "nested", "dev")
MISFIT, FLAT, ONCE = "no power law fits the figures", "does not rise", "one seed only"


class Cell(NamedTuple):
    """One point of the grid."""

    truth: str
    design: str
    noise: str


def power(b: float, c: float) -> Callable[[float, float], float]:
    """Return a power law: the figure by the size and the smallest size."""
    return lambda n, smallest: 1 - ((ERROR - c) * (n / smallest) ** -b + c)


TRUTHS: dict[str, Callable[[float, float], float]] = {
    **{f"power law, b {b}, c {c}": power(b, c) for b, c in LAWS},
    "sigmoid": lambda n, _: 0.45 + 0.4 / (1 + (300 / n) ** 2.4),
    "+0.06 with each doubling": lambda n, smallest: 0.5 + 0.06 * np.log2(n / smallest),
    "flat at 0.7": lambda n, smallest: 0.7,
}


def grid() -> list[Cell]:
    """Return the cells."""
    designs, laws = list(DESIGNS), [name for name in TRUTHS if name.startswith("power")]
    cells = [Cell(truth, designs[0], "independent") for truth in laws]
    cells += [Cell(truth, design, noise) for truth in QUICK for design in designs[:2] for noise in KINDS]
    cells += [Cell(truth, designs[0], noise) for truth in laws[:6] for noise in KINDS[1:]]
    cells += [Cell(truth, designs[1], "independent") for truth in laws]
    cells += [Cell(truth, design, "independent") for truth in laws[:6:2] for design in designs[2:4]]
    cells += [Cell("+0.06 with each doubling", design, "independent") for design in designs[:2]]
    cells += [Cell(truth, designs[4], "independent") for truth in (*laws[:6:2], *QUICK)]
    cells += [Cell("sigmoid", designs[4], noise) for noise in KINDS[1:]]
    return [*cells, Cell(laws[2], designs[5], "independent")]


def draw(cell: Cell, study: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sizes, seeds and figures of a study's trainings."""
    sizes, seeds = DESIGNS[cell.design]
    truth = np.array([TRUTHS[cell.truth](size, sizes[0]) for size in sizes])
    deviation, fall = NOISES[study % len(NOISES)]
    spread = deviation * (np.array(sizes) / sizes[0]) ** -fall
    own = random.normal(size=(len(sizes), seeds))
    if cell.noise == "seeds":
        own = np.sqrt(0.5) * (own + random.normal(size=seeds))
    if cell.noise == "nested":
        for i in range(1, len(sizes)):
            own[i] = 0.6 * own[i - 1] + 0.8 * own[i]
    figures = truth[:, np.newaxis] + own * spread[:, np.newaxis]
    if cell.noise == "dev":
        figures = figures + 0.02 * random.normal()
    return np.repeat(sizes, seeds), np.tile(np.arange(seeds), len(sizes)), np.clip(figures, 0, 1).ravel()


def study_cell(job: tuple[Cell, int, int]) -> dict[str, object]:
    """Return what the studies of a cell gave."""
    cell, studies, seed = job
    random = np.random.default_rng([seed, *map(ord, str(cell))])
    sizes, _ = DESIGNS[cell.design]
    largest, truth = sizes[-1], TRUTHS[cell.truth]
    wanted = [truth(k * largest, sizes[0]) - truth(largest, sizes[0]) for k in GAINS]
    reasons, below, above, widths = dict.fromkeys((MISFIT, FLAT, ONCE), 0), [], [], []
    for study in range(studies):
        n, seeds, figures = draw(cell, study, random)
        curve = fit_power_law(n.tolist(), figures.tolist(), seeds=seeds.tolist())
        if curve.reason is not None:
            (reason,) = (reason for reason in reasons if reason in curve.reason)
            reasons[reason] += 1
            continue
        found = [curve.expect(round((k - 1) * largest)) for k in GAINS]
        below.append([high < gain - 1e-9 for gain, (_, _, high) in zip(wanted, found, strict=True)])
        above.append([low > gain + 1e-9 for gain, (_, low, _) in zip(wanted, found, strict=True)])
        widths.append([high - low for _, low, high in found])
    result: dict[str, object] = {**cell._asdict(), "studies": studies, "gains": wanted}
    result |= {reason: n / studies for reason, n in reasons.items()}
    if below:
        short, far = np.mean(below, axis=0), np.mean(above, axis=0)
        result |= {"coverage": (1 - short - far).tolist(), "too_low": short.tolist(), "too_high": far.tolist()}
        result |= {"width": np.mean(widths, axis=0).tolist(), "forecasts": len(below)}
    return result


def table(results: list[dict]) -> list[str]:
    """Return the markdown lines of a table."""
    lines = [
        "| truth | sizes, sizes × seeds | noise | studies | no power law fits | does not rise "
        "| held: gain at 1.5 × | 2 × | 4 × | too low at 2 × | too high at 2 × | true gain at 2 × | width |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        cells = [
            r["truth"],
            r["design"],
            r["noise"],
            f"{r['studies']:,}",
            *(f"{r[reason]:.1%}" for reason in (MISFIT, FLAT)),
        ]
        if r.get("forecasts", 0) >= 50:
            cells += [f"{value:.1%}" for value in r["coverage"]]
            cells += [f"{r['too_low'][1]:.1%}", f"{r['too_high'][1]:.1%}"]
            cells += [f"{r['gains'][1]:+.3f}", f"{r['width'][1]:.3f}"]
        else:
            cells += ["–"] * 5 + [f"{r['gains'][1]:+.3f}", "–"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def written(results: list[dict], options: argparse.Namespace, jobs: int) -> str:
    """Return the page."""
    laws = [r for r in results if r["truth"].startswith("power") and r.get("forecasts")]
    low = {k: min(laws, key=lambda r, i=i: r["coverage"][i]) for i, k in enumerate(GAINS)}
    lowest = "; ".join(
        f"{k:g} × {r['coverage'][i]:.1%} ({r['truth']}, {r['design']}, {r['noise']})"
        for i, (k, r) in enumerate(low.items())
    )
    means = ", ".join(f"{k:g} × {np.mean([r['coverage'][i] for r in laws]):.1%}" for i, k in enumerate(GAINS))
    alarm = max(laws, key=lambda r: r[MISFIT])
    groups = {
        "Power laws": [r for r in results if r["truth"].startswith("power")],
        "Others": [r for r in results if not r["truth"].startswith("power")],
    }
    lines = [
        "# What a learning curve's forecast holds",
        "",
        f"`benchmarks/learning_curve.py --studies {options.studies} --forecasts {options.forecasts or options.studies} "
        f"--seed {options.seed}`, {made_with(results, jobs)}. "
        "Of simulated studies: how often there is no forecast and why, and of those with one, how often the nominal "
        "95 % interval of a gain holds the truth. What the truths and the noise are stands in the script.",
        "",
        f"Power laws, mean over cells: {means}; lowest: {lowest}. Most often refused as no power law: "
        f"{alarm[MISFIT]:.1%} ({alarm['truth']}, {alarm['design']}, {alarm['noise']}).",
        "",
    ]
    for name, rows in groups.items():
        lines += [f"## {name}", "", *table(rows), ""]
    for once in (r for r in results if r["design"].endswith("× 1")):
        lines.append(f"With one seed a size, {once[ONCE]:.0%} of the curves have no forecast.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, and write down what came out."""
    parser = options_parser(__doc__, studies=2000)
    parser.add_argument("--forecasts", type=int, help="a cell of those that mostly have a forecast, which takes time")
    options = parser.parse_args()
    slow = options.forecasts or options.studies
    cells = [(cell, options.studies if cell.truth in QUICK else slow, options.seed) for cell in grid()]
    jobs = {" | ".join(job[0]): job for job in cells}
    about = {"studies": options.studies, "forecasts": slow, "seed": options.seed}

    def write(results: Sequence[dict]) -> str:
        return written(list(results), options, len(jobs))

    run_cells(jobs, study_cell, about=about, write=write, result=options.result, processes=options.processes)


if __name__ == "__main__":
    main()
