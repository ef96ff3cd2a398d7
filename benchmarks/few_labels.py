"""Learning with few labels: test F1 and seconds by recipe, for 16, 64 and 256 labels a class, in several draws.

In: a hand-labelled file with parts in a column. Out: a JSON file with a row for each size, draw and recipe, and a
Markdown table of means and standard deviations over the draws. Train is drawn from the given train part, as many texts
of each class; dev from the given dev part, a quarter of that (8 of each class at least), as few labels come with few to
choose by; test is the whole given test part, or ``--test`` texts of it. ``auto`` is train without a recipe: with 64
labels a class that is the effort's.

    python benchmarks/few_labels.py --data FILE --text text --label label --id id --split-column split --positive pos \
        --work DIR --result FILE

What is finished stands in the result and is not made again.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import secondcoder as sc
from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import machine, versions
from secondcoder.progress import Progress
from secondcoder.runs.folder import judge
from secondcoder.runs.train import train_with
from secondcoder.settings import SplitSettings, TrainSettings
from secondcoder.splits.split import Split
from secondcoder.storage import sha_key
from secondcoder.training.baselines import TfidfLogistic

RECIPES = ("tfidf", "frozen", "contrastive", "full", "normal", "auto")
NORMAL = {"epochs": 2, "freeze": 0.5, "head_start": "random"}
"""What the effort stands for, named, so that nothing is compared."""


def main() -> None:
    """Train all of it, one after the other, on an otherwise idle machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    for name in ("text", "label", "id", "split-column"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--positive")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--test", type=int, help="judge on so many texts of test, drawn by the seed")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--work", type=Path, required=True, help="folder for runs, each removed when it is judged")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    corpus = sc.read(
        options.data, text=options.text, label=options.label, id=options.id, split_column=options.split_column,
        positive=options.positive,
    )  # fmt: skip
    stored = json.loads(options.result.read_text()) if options.result.exists() else {"rows": []}
    rows: list[dict[str, Any]] = stored["rows"]
    done = {(row["size"], row["draw"], row["recipe"]) for row in rows}
    for size in options.sizes:
        for draw in range(options.draws):
            split = draw_split(corpus, size, options.seed + draw, options.test)
            for recipe in options.recipes:
                if (size, draw, recipe) in done:
                    continue
                rows.append({"size": size, "draw": draw, "recipe": recipe, **measure(split, recipe, options)})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                about = {"data": Path(options.data).name, "model": options.model, "max_length": options.max_length}
                about |= {"seed": options.seed, "test": len(split.test), "machine": machine(), "versions": versions()}
                options.result.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    print(table(rows))


def draw_split(corpus: Corpus, size: int, seed: int, n_test: int | None) -> Split:
    """Return parts with `size` train texts of each class, drawn by the seed."""

    def drawn(part: str, n: int | None, seed: int) -> Corpus:
        rows = [row for row in corpus.usable() if corpus.parts and corpus.parts[row] == part]
        rows.sort(key=lambda row: sha_key(seed, corpus.ids[row]))
        if n is not None:
            rows = [row for name in corpus.label_names for row in [r for r in rows if corpus.labels[r] == name][:n]]
        return corpus.take(sorted(rows))

    per_class = None if n_test is None else n_test // len(corpus.label_names)
    return Split(
        train=drawn("train", size, seed),
        dev=drawn("dev", max(8, size // 4), seed),
        test=drawn("test", per_class, 0),
        by="given",
        settings=SplitSettings(by="given"),
        seed=seed,
    )


def measure(split: Split, recipe: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return test figures of a recipe, and the seconds from the start of the training to the saved run."""
    started = time.perf_counter()
    if recipe == "tfidf":
        baseline = TfidfLogistic().fit(split.train, split.dev)
        seconds = time.perf_counter() - started
        found = judge(split.test, baseline.predict_proba(split.test.texts), temperature=baseline.temperature)
        return {"seconds": round(seconds, 1), "f1": found.headline[1], "macro-f1": found.figure("macro-f1")}
    named = NORMAL if recipe == "normal" else {"recipe": recipe}
    settings = TrainSettings(model=options.model, max_length=options.max_length, **named)
    folder = options.work / f"{len(split.train)}-{split.seed}-{recipe}"
    run = train_with(split, settings, output=folder, seed=split.seed, resume=True, progress=Progress())
    seconds = time.perf_counter() - started
    compared = run.info.get("recipes")
    found = run.evaluate()
    shutil.rmtree(folder)
    return {
        "seconds": round(seconds, 1),
        "f1": found.headline[1],
        "macro-f1": found.figure("macro-f1"),
        "best_epoch": run.info["results"]["best_epoch"],
        "compared": compared and {name: compared[name] for name in ("chosen", "figures", "spread", "seconds")},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return F1 on test and seconds, mean ± standard deviation over the draws, as Markdown."""
    lines = ["| labels a class | recipe | test F1 | seconds | taken by auto |", "|---|---|---|---|---|"]
    for size in dict.fromkeys(row["size"] for row in rows):
        for recipe in dict.fromkeys(row["recipe"] for row in rows):
            these = [row for row in rows if (row["size"], row["recipe"]) == (size, recipe)]
            if not these:
                continue
            f1 = [row["f1"] for row in these]
            spread = f" ± {statistics.stdev(f1):.3f}" if len(f1) > 1 else ""
            chosen = ", ".join(row["compared"]["chosen"] for row in these if row.get("compared"))
            seconds = statistics.mean(row["seconds"] for row in these)
            lines.append(f"| {size} | {recipe} | {statistics.mean(f1):.3f}{spread} | {seconds:.0f} | {chosen} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
