"""Windows against truncation: four ways to read long texts, trained and judged on the same rows.

In: a hand-labelled file with given parts. Out: a JSON file with, for each way, its seconds and its F1 with 95 %
intervals on dev and test: of all texts, and of those longer than ``--long`` tokens; and how far it is ahead of
truncation at the larger length, paired text by text.

    python benchmarks/long_texts.py FILE --text COL --label COL --split COL [--group COL] [--id COL]
        --work DIR --result FILE [--ways NAME …] [--sample 60] [-- more options of secondcoder train]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus, Part
from secondcoder.environment import machine, versions
from secondcoder.model.loading import load_encoder
from secondcoder.runs.folder import judge, lead_of
from secondcoder.runs.run import Run

SECONDCODER = str(Path(sys.executable).with_name("secondcoder"))
WAYS = {
    "truncate-256": ["--long-texts", "truncate", "--max-length", "256"],
    "truncate-512": ["--long-texts", "truncate", "--max-length", "512"],
    "head-tail-256": ["--long-texts", "head-tail", "--max-length", "256"],
    "windows-256": ["--long-texts", "windows", "--max-length", "256"],
    "windows-256-max": ["--long-texts", "windows", "--max-length", "256", "--window-pooling", "max"],
    "windows-512": ["--long-texts", "windows", "--max-length", "512"],
}
DEFAULT = ("truncate-256", "truncate-512", "head-tail-256", "windows-256")
REFERENCE = "truncate-512"
PARTS: tuple[Part, ...] = ("dev", "test")


def main() -> None:
    """Train each way, one after the other, on an otherwise idle machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    for column in ("text", "label", "split"):
        parser.add_argument(f"--{column}", required=True, help="column")
    for column in ("group", "id"):
        parser.add_argument(f"--{column}", help="column")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(DEFAULT))
    parser.add_argument("--long", type=int, default=512, help="tokens; longer texts are judged by themselves too")
    parser.add_argument("--sample", type=int, help="draw so many rows of each part, to try the script")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--result", type=Path, required=True)
    ours, theirs = split_words(sys.argv[1:])
    options = parser.parse_args(ours)
    found = {way: train(way, options, theirs) for way in options.ways}
    rows = {part: next(iter(found.values()))[0].part(part) for part in PARTS}
    encoder = load_encoder(options.model)
    long = {part: encoder.encode(rows[part].texts).full_lengths > options.long for part in PARTS}
    said = {way: {part: probabilities(run, part, rows[part]) for part in PARTS} for way, (run, _) in found.items()}
    result = {
        "data": options.data.name,
        "model": options.model,
        "options": theirs,
        "long": options.long,
        "rows": {part: {"all": len(rows[part]), "long": int(long[part].sum())} for part in PARTS},
        "ways": [
            {
                "way": way,
                "options": WAYS[way],
                **seconds,
                "history": [{k: v for k, v in entry.items() if k != "texts_per_second"} for entry in run.history],
                "lengths": run.info["results"]["lengths"],
                "precision": run.info["results"]["precision"],
                **{
                    part: {
                        "all": figures(rows[part], said, way, part, np.ones(len(rows[part]), np.bool_)),
                        "long": figures(rows[part], said, way, part, long[part]),
                    }
                    for part in PARTS
                },
            }
            for way, (run, seconds) in found.items()
        ],
        "machine": machine(),
        "versions": versions(),
    }
    options.result.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words before ``--`` and those behind it."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def train(way: str, options: argparse.Namespace, theirs: list[str]) -> tuple[Run, dict[str, float]]:
    """Return the run of one way, its test part opened, and the seconds of the whole command."""
    folder = options.work / way
    words = [str(options.data), "--text", options.text, "--label", options.label, "--split-column", options.split]
    for name in ("group", "id"):
        words += [f"--{name}", getattr(options, name)] if getattr(options, name) else []
    for part in ("train", "dev", "test") if options.sample else ():
        words += [f"--sample-{part}", str(options.sample)]
    words += ["--model", options.model, *WAYS[way], *theirs, "--output", str(folder), "--resume", "--json"]
    used = cpu_seconds()
    subprocess.run([SECONDCODER, "train", *words], check=True, stdout=subprocess.DEVNULL)
    run = Run(folder)
    spent = {
        "seconds": run.info["seconds"],
        "epoch_seconds": round(sum(entry.get("seconds", 0.0) for entry in run.history), 1),
        "cpu_seconds": round(cpu_seconds() - used, 1),  # of this call; less where it went on with a run
    }
    run.evaluate()
    print(way, spent, file=sys.stderr)
    return run, spent


def cpu_seconds() -> float:
    """Return the processor time of the commands run so far: what tells where other programs took their share."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def probabilities(run: Run, part: Part, rows: Corpus) -> NDArray[np.float64]:
    """Return what the run's model said about the rows of a part, shape (n, k)."""
    table = pq.read_table(run.folder / "predictions.parquet", filters=[("part", "=", part)])
    place = {id_: i for i, id_ in enumerate(table["id"].to_pylist())}
    columns = [table[f"probability_{name}"].to_numpy() for name in rows.label_names]
    found: NDArray[np.float64] = np.stack(columns, axis=1)[[place[id_] for id_ in rows.ids]]
    return found


def figures(
    rows: Corpus, said: dict[str, dict[Part, NDArray[np.float64]]], way: str, part: Part, which: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the figures of one way on some rows of a part, and its lead over the reference."""
    some = rows.take(np.flatnonzero(which).tolist())
    if not len(some) or len(set(some.labels)) < 2:
        return {"n": len(some)}
    evaluation = judge(some, said[way][part][which])
    name, _ = evaluation.headline
    found: dict[str, Any] = {"n": len(some)}
    for figure in dict.fromkeys((name, "macro-f1", "accuracy", "log-loss")):
        interval = evaluation.interval(figure)
        limits = None if interval is None else [round(interval.low, 4), round(interval.high, 4)]
        found[figure] = {"value": round(evaluation.figure(figure), 4), "interval": limits}
    if way != REFERENCE and REFERENCE in said:
        found[f"lead over {REFERENCE}"] = lead_of(some, said[REFERENCE][part][which], said[way][part][which])
    return found


def table(result: dict[str, Any]) -> str:
    """Return the headline of each way as a Markdown table."""
    parts = [(part, which) for part in PARTS for which in ("all", "long")]
    lines = ["| way | seconds | " + " | ".join(f"{part}, {which}" for part, which in parts) + " |"]
    lines.append("|---" * (len(parts) + 2) + "|")
    for way in result["ways"]:
        cells = []
        for part, which in parts:
            found = way[part][which]
            shown = found.get("macro-f1")
            low, high = (shown or {}).get("interval") or (float("nan"), float("nan"))
            value = f"{shown['value']:.3f} [{low:.3f}, {high:.3f}]" if shown else ""
            cells.append(f"{value} (n = {found['n']})")
        lines.append(f"| {way['way']} | {way['seconds']:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
