"""How long do five folds take, beside five trainings by themselves?

In: nothing; the texts are those of `secondcoder demo`, the model is the packaged MiniLM. Out: a JSON file with seconds
of the wall and of the processor: of one `secondcoder train`, of `secondcoder evaluate RUN --folds`, of as many more
`secondcoder train` as there are folds, with frozen layers and without; and a hash of what was predicted out of fold,
which must not depend on what folds share.

    python benchmarks/folds.py --result FILE [--rows 800] [--folds 5] [--freeze 0.5 0] [--seeds 1 3]
"""

import argparse
import csv
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from secondcoder.cli.demo import articles
from secondcoder.corpus.near_duplicates import find_near_duplicates
from secondcoder.environment import machine, versions


def main() -> None:
    """Train, fold, train again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--freeze", type=float, nargs="*", default=[0.5, 0.0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--only-folds", action="store_true", help="leave the single trainings out")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    cells = [measure(options, freeze, seeds) for freeze in options.freeze for seeds in options.seeds]
    found = {"machine": machine(), "versions": versions(), "rows": options.rows, "folds": options.folds, "cells": cells}
    options.result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(options: argparse.Namespace, freeze: float, seeds: int) -> dict:
    """Return seconds and the hash of one way to train."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_rows(Path(folder), options.rows)
        words = [str(source), "--text", "text", "--label", "desk", "--id", "id", "--model", "minilm"]
        words += ["--freeze", str(freeze), "--seeds", str(seeds), "--device", "cpu"]
        cell: dict = {"freeze": freeze, "seeds": seeds}
        cell["train"] = timed(["train", *words, "--output", f"{folder}/runs/one"])
        cell["folds"] = timed(["evaluate", f"{folder}/runs/one", "--folds", str(options.folds)])
        if not options.only_folds:
            cell["trainings"] = [
                timed(["train", *words, "--output", f"{folder}/runs/{i}", "--seed", str(100 + i)])
                for i in range(options.folds)
            ]
        table = pq.read_table(f"{folder}/runs/one/folds.parquet").to_pydict()
        cell["sha256"] = hashlib.sha256(json.dumps(table).encode()).hexdigest()
    return cell


def write_rows(folder: Path, n: int) -> Path:
    """Write so many articles, of which none is a copy or near-copy of another."""
    found = articles()
    near = find_near_duplicates([article.text for article in found], range(len(found)))
    twice = {row for rows in near.clusters(len(found)) for row in rows}
    chosen = [article for row, article in enumerate(found) if row not in twice]
    chosen.sort(key=lambda article: hashlib.sha256(article.id.encode()).digest())
    path = folder / "hand-labelled.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text", "desk"])
        writer.writerows([article.id, article.text, article.desk] for article in chosen[:n])
    return path


def timed(words: list[str]) -> dict[str, float]:
    """Run a command; return its seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "secondcoder", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 1), "processor": round(processor, 1)}


if __name__ == "__main__":
    main()
