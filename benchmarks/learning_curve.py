"""How often does the band of a learning curve hold the truth, at nominal 95 %?

In: nothing. Out: a table of coverage over simulated curves, written to the file named: of the gain by half as many
labels more and by three times as many more, and of the figure at the largest size.

    python benchmarks/learning_curve.py --curves 200 --output benchmarks/results/DATE-learning-curve.md
"""

import argparse
import time
from pathlib import Path

import numpy as np

from secondcoder.environment import machine, versions
from secondcoder.evaluation.learning_curve import fit_power_law

LAWS = ((0.2, 0.02), (0.35, 0.0), (0.35, 0.05), (0.5, 0.05), (0.5, 0.1), (0.8, 0.1), (1.2, 0.12))
"""Exponent, and the error that stays; the error at the smallest size is 0.3."""
DESIGNS = (
    ((100, 200, 400, 800, 1600), 3),
    ((250, 500, 1000, 2000), 3),
    ((250, 500, 1000, 2000), 1),
    ((1000, 2000, 3000, 4000), 3),
)
"""Sizes, and trainings of each."""
NOISES = ((0.006, 0.0), (0.015, 0.25), (0.03, 0.5))
"""Standard deviation of a figure at the smallest size, and the power of the size with which it falls."""


def power(n: float, b: float, c: float, smallest: int) -> float:
    """Return the figure at a size."""
    return 1 - ((0.3 - c) * (n / smallest) ** -b + c)


def logarithm(n: float, smallest: int, slope: float = 0.06) -> float:
    """Return the figure at a size of a curve that is no power law: so much more with each doubling."""
    return 0.7 + slope * np.log2(n / smallest)


def main() -> None:
    """Simulate, and write down what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=200, help="a cell")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    started, random = time.perf_counter(), np.random.default_rng(1)
    truths = {f"b = {b}, c = {c}": (lambda n, s, b=b, c=c: power(n, b, c, s)) for b, c in LAWS}
    truths["no power law: +0.06 with each doubling"] = logarithm
    table, whole = [], []
    for name, truth in truths.items():
        for sizes, seeds in DESIGNS:
            held, widths, refused = [], [], 0
            largest, n = sizes[-1], np.repeat(sizes, seeds)
            wanted = [truth(k * largest, sizes[0]) - truth(largest, sizes[0]) for k in (1.5, 4)]
            wanted.append(truth(largest, sizes[0]))
            for i in range(options.curves):
                noise, fall = NOISES[i % len(NOISES)]
                scatter = random.normal(size=len(n)) * noise * (n / sizes[0]) ** -fall
                curve = fit_power_law(n, np.clip([truth(size, sizes[0]) for size in n] + scatter, 0, 1))
                if curve.reason is not None:
                    refused += 1
                    continue
                found = [curve.expect(largest // 2), curve.expect(3 * largest), curve.at(largest)]
                held.append([low <= value <= high for value, (_, low, high) in zip(wanted, found, strict=True)])
                widths.append(found[0][2] - found[0][1])
            shares = np.mean(held, axis=0)
            if name.startswith("b"):
                whole.append(shares)
            cells = [f"{share:.3f}" for share in shares] + [f"{wanted[0]:.3f}", f"{np.mean(widths):.3f}", str(refused)]
            table.append(
                f"| {name} | {'–'.join(map(str, (sizes[0], largest)))}, {len(sizes)} × {seeds} | {' | '.join(cells)} |"
            )
    known = versions()
    used = ", ".join(f"{package} {known[package]}" for package in ("python", "numpy", "scipy") if package in known)
    means = ", ".join(f"{value:.3f}" for value in np.mean(whole, axis=0))
    lowest = ", ".join(f"{value:.3f}" for value in np.min(whole, axis=0))
    head = [
        "# Coverage of the band of a learning curve",
        "",
        f"`benchmarks/learning_curve.py --curves {options.curves}`, {time.perf_counter() - started:.0f} s, {used};",
        f"{machine().get('processor') or 'processor unknown'}. Share of simulated curves whose nominal 95 % band holds",
        "the truth. Figures scatter about the law by 0.006 at all sizes, or by 0.015 or 0.03 at the smallest and less "
        "at larger",
        "ones. Where the truth is no power law but rises faster than one, the band promises too little, and is too "
        "narrow.",
        "",
        f"Power laws, mean over cells: {means}; lowest: {lowest}.",
        "",
        "| truth | sizes × trainings | gain, 1.5 times | gain, 4 times | figure at largest | true gain, 1.5 times "
        "| width of its interval | refused |",
        "|---|---|---|---|---|---|---|---|",
    ]
    options.output.write_text("\n".join([*head, *table]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
