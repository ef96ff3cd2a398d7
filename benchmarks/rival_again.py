"""The present TF-IDF rival on the splits of earlier benchmarks, whose models were trained beside the former one.

In: the files of those benchmarks. Out: a JSON file with the rival's figures on dev and test and what it was given, and
a Markdown table on standard output. Splits are made as those benchmarks made them; no network is trained. The demo's
rows come with the extra `demo`.

    python benchmarks/rival_again.py --manifestos FILE --reviews FILE --result FILE
"""

import argparse
import csv
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import secondcoder as sc
from secondcoder.cli.demo import articles, divide
from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import machine, versions
from secondcoder.evaluation.evaluate import evaluate_rows
from secondcoder.splits.split import Split
from secondcoder.training.baselines import fit_baselines

RIVAL = "tfidf-logistic"
FIGURES = ("macro-f1", "micro-f1", "accuracy", "exact-match", "hamming-loss", "log-loss")


def main() -> None:
    """Judge the rival on each split, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifestos", type=Path, required=True, help="text, area, economic_position, manifesto")
    parser.add_argument("--reviews", type=Path, required=True, help="text, label, id, split")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    found = {}
    columns = ("split", "train, dev, test", "figure", "dev", "test", "processor seconds", "what it was given")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, split in splits(options.manifestos, options.reviews).items():
        found[name] = measure(split)
        sizes, metric = ", ".join(f"{n:,}" for n in found[name]["rows"].values()), found[name]["metric"]
        cells = [
            f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in (found[name][p][metric] for p in ("dev", "test"))
        ]
        about = f"{found[name]['seconds']} | {found[name]['given']['description']}"
        print(f"| {name} | {sizes} | {metric} | {' | '.join(cells)} | {about} |", flush=True)
    result = {"splits": found, "machine": machine(), "versions": versions()}
    options.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def splits(manifestos: Path, reviews: Path) -> dict[str, Split]:
    """Return the splits of `whole_way.py`, `efforts.py`, `label_schemes.py` and the demo."""
    with manifestos.open(encoding="utf-8", newline="") as stream:
        sentences = list(csv.DictReader(stream))
    sets = [{**row, "labels": [name for name in (row["area"], row["economic_position"]) if name]} for row in sentences]
    position = [{**row, "labels": row["economic_position"]} for row in sentences]
    imdb = sc.read(str(reviews), text="text", label="label", id="id", split_column="split", positive="pos")
    area = sc.read(str(manifestos), text="text", label="area", id="sentence_id", group="manifesto")
    labelled, _ = divide(articles(), n_labelled=1500, seed=42)
    demo = sc.read([asdict(article) for article in labelled], text="text", label="desk", id="id")
    return {
        "demo": sc.split(demo),
        "manifestos, area": sc.split(area),
        "manifestos, several labels": sc.split(
            sc.read(sets, text="text", label="labels", group="manifesto"), by="group"
        ),
        "manifestos, economic position": sc.split(
            sc.read(position, text="text", label="labels", group="manifesto"), by="group"
        ),
        "film reviews": sc.split(imdb),
    }


def measure(split: Split) -> dict[str, Any]:
    """Return the rival's figures with their limits, by part."""
    started = time.process_time()
    rival = fit_baselines(split.train, split.dev)[RIVAL]
    seconds = time.process_time() - started
    about = {"rows": {part: len(getattr(split, part)) for part in ("train", "dev", "test")}, "given": rival.given}
    return (
        about
        | {"seconds": round(seconds, 1)}
        | {part: figures(getattr(split, part), rival) for part in ("dev", "test")}
        | {"metric": judged(split.test, rival).headline[0]}
    )


def judged(rows: Corpus, rival: Any) -> Any:
    """Return the evaluation of the rival on rows."""
    return evaluate_rows(
        rows, rival.predict_proba(rows.texts), temperature=rival.temperature, thresholds=rival.thresholds
    )


def figures(rows: Corpus, rival: Any) -> dict[str, Any]:
    """Return figures, each with its limits."""
    found = judged(rows, rival)
    names = [*FIGURES, *(f"f1:{name}" for name in rows.label_names)]
    values = {name: found.figure(name) for name in names if name in found.figures()}
    return {
        name: [round(value, 4), *((round(i.low, 4), round(i.high, 4)) if (i := found.interval(name)) else (0.0, 1.0))]
        for name, value in values.items()
    }


if __name__ == "__main__":
    main()
