"""Other label schemes on manifesto sentences: several labels a text, and three classes of economic position.

In: the sentences with ``text``, ``area``, ``economic_position`` and ``manifesto``. Out: a JSON file with the figures of
the model and the baselines on test, with their intervals, and a Markdown table on standard output. In the first task a
sentence has its area as a label, and its economic position as another where it has one; in the second, its position
alone. No manifesto stands in two parts.

    python benchmarks/label_schemes.py --manifestos FILE --work DIR --result FILE [--model minilm] [--rows N]
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import secondcoder as sc
from secondcoder.environment import machine, versions

FIGURES = {
    "several labels": ("macro-f1", "micro-f1", "exact-match", "hamming-loss", "log-loss"),
    "economic position": ("macro-f1", "accuracy", "log-loss"),
}


def main() -> None:
    """Train both tasks, judge them on test, and write everything down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifestos", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--effort", default="normal")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rows", type=int, help="use every n-th sentence only, so that about so many are left, to try")
    options = parser.parse_args()
    with options.manifestos.open(encoding="utf-8", newline="") as stream:
        sentences = list(csv.DictReader(stream))
    if options.rows:
        sentences = sentences[:: max(1, len(sentences) // options.rows)]
    tasks: dict[str, list[dict[str, Any]]] = {
        "several labels": [
            {**row, "labels": [name for name in (row["area"], row["economic_position"]) if name]} for row in sentences
        ],
        "economic position": [{**row, "labels": row["economic_position"]} for row in sentences],
    }
    found = {}
    for name, rows in tasks.items():
        print(f"\n### {name}\n", flush=True)
        found[name] = measure(name, rows, options)
    options.result.write_text(
        json.dumps({"tasks": found, "machine": machine(), "versions": versions()}, indent=1), encoding="utf-8"
    )


def measure(name: str, rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Return what one task gave; print its table."""
    corpus = sc.read(rows, text="text", label="labels", group="manifesto")
    parts = sc.split(corpus, by="group")
    started = time.perf_counter()
    run = sc.train(
        parts,
        output=options.work / name.replace(" ", "-"),
        model=options.model,
        effort=options.effort,
        epochs=options.epochs,
    )
    seconds = time.perf_counter() - started
    run.evaluate()
    by_who = run.evaluations["test"]
    print(f"{len(parts.train)} train, {len(parts.dev)} dev, {len(parts.test)} test; {seconds:.0f} s\n")
    print("| figure | " + " | ".join(by_who) + " |\n|---|" + "---|" * len(by_who))
    labels = [f"f1:{label}" for label in corpus.label_names]
    for figure in (*FIGURES[name], *labels):
        cells = (evaluation.shown(figure, evaluation.figure(figure)) for evaluation in by_who.values())
        print(f"| {figure} | " + " | ".join(cells) + " |")
    return {
        "label_names": list(corpus.label_names),
        "rows": {part: len(getattr(parts, part)) for part in ("train", "dev", "test")},
        "seconds": round(seconds, 1),
        "thresholds": run.info["results"]["thresholds"],
        "history": run.history,
        "test": {who: evaluation.to_dict() for who, evaluation in by_who.items()},
        "settings": run.info["settings"],
    }


if __name__ == "__main__":
    main()
