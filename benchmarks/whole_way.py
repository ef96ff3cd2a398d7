"""The whole way on real data, timed: train, evaluate, label, and how soon ``--help`` answers.

In: paths of the data, given on the command line. Out: a JSON file with the commands, their wall and processor time,
peak memory and figures, the machine and the versions.

    python benchmarks/whole_way.py --manifestos FILE --imdb FILE --imdb-corpus FILE --work DIR --result FILE
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

from secondcoder.environment import machine, versions

SECONDCODER = str(Path(sys.executable).with_name("secondcoder"))


def timed(*words: str) -> dict[str, object]:
    """Run a command; return its wall and processor seconds, its peak memory, and what it printed as JSON."""
    started = time.monotonic()
    process = subprocess.Popen([SECONDCODER, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"failed: secondcoder {shlex.join(words)}")
    return {
        "command": " ".join(["secondcoder", *(Path(w).name if Path(w).exists() else w for w in words)]),
        "wall_seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_memory_mb": round(usage.ru_maxrss / 1024),
        "printed": printed,
    }


def with_figures(step: dict[str, object]) -> dict[str, object]:
    """Replace what a command printed by the figures in it."""
    found = json.loads(str(step.pop("printed")))
    parts = found.get("dev", found)
    for who in ("model", "majority", "tfidf-logistic"):
        if who in parts:
            figures = parts[who]
            step[who] = {
                "n": figures["n"],
                "macro_f1": round(figures["averages"]["macro"]["f1"], 4),
                "accuracy": round(figures["accuracy"], 4),
                "f1": {name: round(f["f1"] or 0.0, 4) for name, f in figures["per_class"].items()},
            }
    for name in ("rows", "labelled", "texts_per_second", "seconds", "truncated"):
        if name in found:
            step[name] = found[name]
    return step


def main() -> None:
    """Measure what was asked for and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifestos", type=Path)
    parser.add_argument("--imdb", type=Path)
    parser.add_argument("--imdb-corpus", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs; must be empty")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    area, imdb = options.work / "area", options.work / "imdb"
    steps: list[dict[str, object]] = []
    if options.manifestos:
        columns = "--text text --label area --group manifesto --id sentence_id --model minilm --json".split()
        steps.append(with_figures(timed("train", str(options.manifestos), *columns, "--output", str(area))))
        steps.append(with_figures(timed("evaluate", str(area), "--json")))
    if options.imdb:
        columns = "--text text --label label --split-column split --id id --positive pos --model minilm --json".split()
        steps.append(with_figures(timed("train", str(options.imdb), *columns, "--output", str(imdb))))
        steps.append(with_figures(timed("evaluate", str(imdb), "--json")))
        if options.imdb_corpus:
            output = str(options.work / "labels.parquet")
            steps.append(
                with_figures(timed("label", str(imdb), str(options.imdb_corpus), "--output", output, "--json"))
            )
    answers = []
    for _ in range(11):
        started = time.perf_counter()
        subprocess.run([SECONDCODER, "--help"], stdout=subprocess.DEVNULL, check=True)
        answers.append(time.perf_counter() - started)
    result = {
        "machine": machine(),
        "versions": versions(),
        "steps": steps,
        "help_seconds": {
            "median": round(statistics.median(answers), 3),
            "max": round(max(answers), 3),
            "n": len(answers),
        },
    }
    options.result.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
