"""What each effort buys: seconds against figures, for secondcoder's three efforts and TF-IDF with logistic regression.

In: a hand-labelled file. Out: a JSON file with, for each recipe, the seconds of the whole command (start, reading,
tokenising, training, dev) and its figures on dev and test. Other recipes write files of the same kind:
`notebook_recipe.py`, `setfit_recipe.py`; `curve.py` draws them all.

    python benchmarks/efforts.py --data FILE --efforts quick normal --work DIR --result FILE -- --text COL --label COL …

What stands behind ``--`` goes to ``secondcoder train`` as it is.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from secondcoder.environment import machine, versions
from secondcoder.runs.folder import judge
from secondcoder.runs.run import Run
from secondcoder.training.baselines import TfidfLogistic

SECONDCODER = str(Path(sys.executable).with_name("secondcoder"))


def main() -> None:
    """Train with each effort, one after the other, on an otherwise idle machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--efforts", nargs="+", default=["quick", "normal", "thorough"])
    parser.add_argument("--name", nargs="+", default=[], help="what the options behind -- change, for the table")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--result", type=Path, required=True)
    ours, _, theirs = " ".join(sys.argv[1:]).partition(" -- ")
    options = parser.parse_args(ours.split())
    rows: list[dict[str, object]] = []
    for effort in options.efforts:
        folder = options.work / effort
        words = [str(options.data), *theirs.split(), "--model", "minilm", "--effort", effort, "--output", str(folder)]
        started, used = time.perf_counter(), cpu_seconds()
        subprocess.run([SECONDCODER, "train", *words, "--json"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        run = Run(folder)
        run.evaluate()
        rows.append(
            {
                "recipe": " ".join([f"secondcoder --effort {effort}", *options.name]),
                "seconds": round(seconds, 1),
                "cpu_seconds": round(cpu_seconds() - used, 1),
                "dev": figures(run, "dev"),
                "test": figures(run, "test"),
                "history": run.history,
                "settings": run.info["settings"]["train"],
                "results": {
                    k: run.info["results"][k] for k in ("best_epoch", "best_seed", "seed_figures", "precision")
                },
            }
        )
        print(json.dumps(rows[-1]), file=sys.stderr)
    train, test = run.part("train"), run.part("test")
    started = time.perf_counter()
    baseline = TfidfLogistic().fit(train, run.part("dev"))
    seconds = time.perf_counter() - started
    found = {
        part: judge(rows_, baseline.predict_proba(rows_.texts))
        for part, rows_ in (("dev", run.part("dev")), ("test", test))
    }
    rows.append(
        {
            "recipe": "TF-IDF + logistic regression",
            "seconds": round(seconds, 1),
            **{
                part: {e.headline[0]: round(e.headline[1], 4), "macro-f1": round(e.figure("macro-f1"), 4)}
                for part, e in found.items()
            },
        }
    )
    sizes = {part: len(run.part(part)) for part in ("train", "dev", "test")}
    result = {"data": options.data.name, "rows": sizes, "recipes": rows, "machine": machine(), "versions": versions()}
    options.result.write_text(json.dumps(result, indent=1) + "\n")


def cpu_seconds() -> float:
    """Return the processor time of the commands run so far: what tells where other programs took their share."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(run: Run, part: str) -> dict[str, float]:
    """Return the headline figure of a part and its macro-F1."""
    evaluation = run.evaluations[part]["model"]
    name, value = evaluation.headline
    return {name: round(value, 4), "macro-f1": round(evaluation.figure("macro-f1"), 4)}


if __name__ == "__main__":
    main()
