"""The picture of what work buys: seconds of each recipe against its figure.

In: result files of `efforts.py`, `notebook_recipe.py` and `setfit_recipe.py` on the same rows. Out: an SVG file.

    python benchmarks/curve.py --title "IMDb sample" --figure f1 --output FILE RESULT…
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {
    "secondcoder": "#0072b2",
    "notebook": "#d55e00",
    "TF-IDF": "#555555",
}  # Okabe & Ito, safe for colour-blind eyes


def points(path: Path, figure: str) -> Iterator[tuple[str, float, float]]:
    """Yield recipe, seconds and test figure of everything in a result file."""
    result = json.loads(path.read_text())
    if "recipes" in result:  # efforts.py
        for row in result["recipes"]:
            value = next((v for name, v in row["test"].items() if name.startswith(figure)), row["test"]["macro-f1"])
            yield row["recipe"], row["seconds"], value
    elif "history" in result and "test" in result and "test_f1" in result["test"]:
        name = "test_f1" if figure == "f1" else "test_macro-f1"
        yield f"notebook, rate {result['learning_rate']:g}", result["seconds"], result["test"][name]
    else:  # setfit_recipe.py
        test = result["test"]
        yield result["recipe"], result["seconds"], test.get(figure, test.get("macro_f1", test.get("macro-f1")))


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--title", required=True)
    parser.add_argument("--figure", default="macro-f1")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("results", type=Path, nargs="+")
    options = parser.parse_args()
    found = [point for path in options.results for point in points(path, options.figure)]
    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    for name, seconds, value in found:
        colour = next((c for start, c in COLOURS.items() if name.startswith(start)), "#009e73")
        axes.plot(seconds, value, "o", color=colour)
        axes.annotate(name, (seconds, value), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
    ours = sorted((seconds, value) for name, seconds, value in found if name.startswith("secondcoder"))
    axes.plot(*zip(*ours, strict=True), color=COLOURS["secondcoder"])
    axes.set_xscale("log")
    axes.margins(0.15)
    axes.set(xlabel="seconds on two cores, logarithmic", ylabel=f"{options.figure} on test", title=options.title)
    axes.grid(alpha=0.3)
    figure.savefig(options.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
