"""How often do the paired intervals of a difference hold the truth, at nominal 95 %?

In: nothing. Out: a table of coverage over simulated comparisons, written to the file named, for independent texts and
for texts in groups; beside our method the same without the added half texts, the percentile bootstrap, and, with
groups, the texts taken as independent.

    python benchmarks/comparison.py --studies 1000 --output benchmarks/results/DATE-comparison.md
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from secondcoder.environment import machine, versions
from secondcoder.evaluation import paired_tests

SHARES = {
    "2 classes, 50:50": (0.5, 0.5),
    "2 classes, 90:10": (0.9, 0.1),
    "3 classes, even": (1 / 3, 1 / 3, 1 / 3),
    "3 classes, 80:15:5": (0.8, 0.15, 0.05),
    "7 classes, uneven": (0.4, 0.2, 0.12, 0.1, 0.08, 0.06, 0.04),
}
ACCURACY = (0.85, 0.89)
TOGETHER = 0.5
"""Share of texts on which both are right or wrong for the same reason."""
RESAMPLES = 500
BOOTSTRAPPED = 300
"""Studies that are bootstrapped; it takes longer."""


def outcomes(shares: NDArray[np.float64], accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of (gold, first, second), shape (k, k, k); rarer classes are harder."""
    k = len(shares)
    joint = np.zeros((k, k, k))
    for g in range(k):
        rows = []
        for a in accuracy:
            right = np.clip(a - (1 - a) * (shares.max() - shares[g]) / shares.max(), 0.2, 0.99)
            row = np.where(np.arange(k) == g, 0.0, shares)
            row *= (1 - right) / row.sum()
            row[g] = right
            rows.append(row)
        common = np.minimum(*rows)
        rest = [row - common for row in rows]
        coupled = np.diag(common) + np.outer(*rest) / max(rest[0].sum(), 1e-12)
        joint[g] = shares[g] * (TOGETHER * coupled + (1 - TOGETHER) * np.outer(*rows))
    return joint / joint.sum()


def sums_of(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what `paired.figures` wants, shape (…, 5 k), from tables of shape (…, k, k, k)."""
    i = np.arange(table.shape[-1])
    one, two = table.sum(axis=-1), table.sum(axis=-2)
    columns = [one.sum(axis=-1), one[..., i, i], one.sum(axis=-2), two[..., i, i], two.sum(axis=-2)]
    return np.concatenate(columns, axis=-1).astype(np.float64)


def without_added(gold: NDArray[np.int64], *labels: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    kept, paired_tests._PSEUDO_TEXTS = paired_tests._PSEUDO_TEXTS, 0.0
    try:
        return paired_tests.outcome_errors(gold, *labels, k=k)
    finally:
        paired_tests._PSEUDO_TEXTS = kept


def independent(n: int, shares: tuple[float, ...], studies: int, random: np.random.Generator) -> dict[str, list]:
    """Return for each method the coverage of accuracy, macro-F1 and the F1 of each class."""
    k = len(shares)
    joint = outcomes(np.array(shares), np.array(ACCURACY))
    truth = paired_tests.differences(sums_of(joint))
    held: dict[str, list] = {"ours": [], "without the half texts": [], "percentile bootstrap": []}
    for study in range(studies):
        table = random.multinomial(n, joint.ravel())
        gold, *labels = np.repeat(np.array(np.unravel_index(np.arange(k**3), (k, k, k))), table, axis=1)
        found = paired_tests.differences(sums_of(table.reshape(k, k, k)))
        reach = stats.t.ppf(0.975, n - 1)
        for name, errors in (("ours", paired_tests.outcome_errors), ("without the half texts", without_added)):
            inside = np.abs(found - truth) <= reach * errors(gold, *labels, k=k) + 1e-12
            if name == "ours":
                right = [label == gold for label in labels]
                interval = paired_tests.tango(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()), n)
                inside[0] = interval.low <= truth[0] <= interval.high
            held[name].append(inside)
        if study < BOOTSTRAPPED:
            again = random.multinomial(n, table / n, size=RESAMPLES).reshape(-1, k, k, k)
            low, high = np.quantile(paired_tests.differences(sums_of(again)), [0.025, 0.975], axis=0)
            held["percentile bootstrap"].append((low <= truth) & (truth <= high))
    return {name: list(np.mean(inside, axis=0)) for name, inside in held.items()}


def grouped(n_groups: int, shares: tuple[float, ...], studies: int, random: np.random.Generator) -> dict[str, list]:
    """Return the same for texts in groups of unequal size, in which both find texts easier or harder, and differ."""
    k = len(shares)
    grid = [
        outcomes(np.array(shares), np.clip(np.array(ACCURACY) + both + np.array([-own, own]), 0.3, 0.99))
        for both in (-0.1, 0.0, 0.1)
        for own in (-0.03, 0.0, 0.03)
    ]
    truth = paired_tests.differences(sums_of(np.mean(grid, axis=0)))
    held: dict[str, list] = {"ours": [], "as if independent": []}
    for _ in range(studies):
        sizes = np.maximum(random.lognormal(np.log(100), 0.6, n_groups).astype(int), 5)
        tables = np.array(
            [random.multinomial(size, grid[random.integers(9)].ravel()) for size in sizes], dtype=np.float64
        )
        units = sums_of(tables.reshape(-1, k, k, k))
        found = paired_tests.differences(units.sum(axis=0))
        errors = paired_tests.jackknife(paired_tests.differences, units, np.ones(n_groups))
        reach = stats.t.ppf(0.975, paired_tests.group_degrees(sizes))
        held["ours"].append(np.abs(found - truth) <= reach * errors)
        total = tables.sum(axis=0).astype(int)
        gold, *labels = np.repeat(np.array(np.unravel_index(np.arange(k**3), (k, k, k))), total, axis=1)
        held["as if independent"].append(
            np.abs(found - truth) <= 1.96 * paired_tests.outcome_errors(gold, *labels, k=k)
        )
    return {name: list(np.mean(inside, axis=0)) for name, inside in held.items()}


def rows(studies: int) -> Iterator[str]:
    """Yield the table, and at last the means."""
    random = np.random.default_rng(1)
    all_of: dict[tuple[str, str], list[tuple[list, str]]] = {}
    yield "| texts | classes | method | accuracy | macro-F1 | F1 of a class: mean | lowest |"
    yield "|---|---|---|---|---|---|---|"
    cells = [(f"{n:,}", "independent", independent, n) for n in (100, 300, 1000)]
    cells += [(f"{g} groups", "grouped", grouped, g) for g in (6, 12, 30)]
    for label, kind, simulate, size in cells:
        for name, shares in SHARES.items():
            for method, held in simulate(size, shares, studies, random).items():
                all_of.setdefault((kind, method), []).append((held, f"{label}, {name}"))
                figures = [held[0], held[1], np.mean(held[2:]), np.min(held[2:])]
                yield f"| {label} | {name} | {method} | {' | '.join(f'{v:.3f}' for v in figures)} |"
    yield ""
    for (kind, method), found in all_of.items():
        low, where = min((min(held), cell) for held, cell in found)
        mean = np.mean([value for held, _ in found for value in held])
        yield f"- {kind}, {method}: mean {mean:.3f}, lowest {low:.3f} ({where})."


def main() -> None:
    """Simulate, and write down what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    lines = list(rows(options.studies))
    known = versions()
    used = ", ".join(f"{name} {known[name]}" for name in ("python", "numpy", "scipy") if name in known)
    head = [
        "# Coverage of the intervals of a difference",
        "",
        f"`benchmarks/comparison.py --studies {options.studies}`, {time.perf_counter() - started:.0f} s, {used};",
        f"{machine().get('processor') or machine().get('cpu') or 'processor unknown'}. Share of simulated comparisons",
        "whose nominal 95 % interval holds the true difference, second minus first. Accuracies 0.85 and 0.89, lower in",
        f"rarer classes. The bootstrap ({RESAMPLES} resamples) is of {BOOTSTRAPPED} studies a cell.",
        "",
    ]
    options.output.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
