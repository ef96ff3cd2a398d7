"""Learning with few labels: every recipe, TF-IDF and SetFit side by side, with 8, 16, 64 and 256 labels of each class.

``run`` trains all of it on one labelled file, and writes a JSON file with a row for each size, draw and method; what
stands in it is not made again. ``page`` makes a Markdown page of several such files.

    python benchmarks/few_labels.py run --name area --data FILE --text text --label area --id sentence_id \
        --group manifesto --work DIR --result area.json --setfit PYTHON
    python benchmarks/few_labels.py run --name news --data demo --work DIR --result news.json --setfit PYTHON
    python benchmarks/few_labels.py page imdb.json area.json economic_position.json news.json

Test is the given test part where the parts stand in a column; else a third of the groups, drawn anew in each draw, so
that figures are of documents that nothing was learned from; else a third of the rows. Of it 1,000 rows are judged. Of
the labels of each class an eighth, one at least, is dev for secondcoder's recipes: of 8, seven are learned from. TF-IDF
and SetFit ask for no dev, and learn from all. All see the same test rows and no others.

SetFit is SetFit by its documentation (``setfit_recipe.py``, with a Python that has setfit): an epoch of all pairs, and
``max_steps`` where that is more than ``--setfit-steps``.
"""

import argparse
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from scipy.stats import t as student_t

import secondcoder as sc
from secondcoder.cli.demo import articles
from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import machine, versions
from secondcoder.evaluation.evaluate import points_of_rows
from secondcoder.progress import Progress
from secondcoder.runs.train import train_with
from secondcoder.settings import SplitSettings, TrainSettings
from secondcoder.splits.split import Split
from secondcoder.storage import sha_key
from secondcoder.training.baselines import TfidfLogistic

METHODS = ("tfidf", "setfit", "frozen", "contrastive", "full", "auto")
DRAWS = {8: 10, 16: 10, 64: 5, 256: 2}
N_TEST = 1000
SETFIT_BATCH = 16  # pairs, its default
MARGIN = 0.01


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--name", required=True)
    run.add_argument("--data", required=True, help="labelled file, or demo: the news of the demo")
    for name in ("text", "label", "id", "group", "split-column"):
        run.add_argument(f"--{name}")
    run.add_argument("--model", default="minilm")
    run.add_argument("--max-length", type=int, default=256)
    run.add_argument("--sizes", type=int, nargs="+", default=list(DRAWS))
    run.add_argument("--draws", type=int, help="else 10 of 8 and 16 labels a class, 5 of 64, 2 of 256")
    run.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    run.add_argument("--seed", type=int, default=42)
    run.add_argument("--setfit", help="a Python that has setfit and secondcoder")
    run.add_argument("--setfit-steps", type=int, default=200)
    run.add_argument("--work", type=Path, required=True, help="folder for runs, each removed when it is judged")
    run.add_argument("--result", type=Path, required=True)
    page = commands.add_parser("page")
    page.add_argument("results", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "run":
        measure_all(options)
    else:
        print(page_of(together(json.loads(path.read_text(encoding="utf-8")) for path in options.results)))


def measure_all(options: argparse.Namespace) -> None:
    """Measure what the result does not hold yet."""
    corpus = read(options)
    stored = json.loads(options.result.read_text(encoding="utf-8")) if options.result.exists() else {"rows": []}
    rows: list[dict[str, Any]] = stored["rows"]
    done = {(row["size"], row["draw"], row["method"]) for row in rows}
    for size in options.sizes:
        for draw in range(options.draws or DRAWS[size]):
            labelled, test = drawn(corpus, size, options.seed + draw)
            for method in options.methods:
                if (size, draw, method) in done:
                    continue
                about = {"size": size, "draw": draw, "method": method}
                rows.append(about | measure(labelled, test, method, options, seed=options.seed + draw))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                settings = {"name": options.name, "data": Path(options.data).name, "model": options.model}
                settings |= {"max_length": options.max_length, "seed": options.seed, "machine": machine()}
                settings |= {"threads": os.environ.get("OMP_NUM_THREADS", "all"), "versions": versions()}
                settings |= {"setfit_steps": options.setfit_steps, "labels": corpus.label_names}
                temporary = options.result.with_suffix(".partial")
                temporary.write_text(json.dumps(settings | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
                temporary.replace(options.result)


def read(options: argparse.Namespace) -> Corpus:
    """Return the labelled rows."""
    if options.data == "demo":
        found = articles()
        rows = [{"id": one.id, "text": one.text, "desk": one.desk} for one in found]
        return sc.read(rows, text="text", label="desk", id="id")
    return sc.read(
        options.data, text=options.text, label=options.label, id=options.id, group=options.group,
        split_column=options.split_column,
    )  # fmt: skip


def drawn(corpus: Corpus, size: int, seed: int) -> tuple[Corpus, Corpus]:
    """Return labelled rows, `size` of each class or as many as there are, and test rows; each in a drawn order."""
    order = sorted(corpus.usable(), key=lambda row: sha_key(seed, corpus.ids[row]))
    if corpus.parts is not None:
        learned = [row for row in order if corpus.parts[row] == "train"]
        test = [row for row in order if corpus.parts[row] == "test"]
    else:
        units = [corpus.ids[row] for row in order] if corpus.groups is None else [corpus.groups[row] for row in order]
        ranked = sorted(set(units), key=lambda unit: sha_key(seed, f"test:{unit}"))
        held_out = set(ranked[: len(ranked) // 3])
        learned = [row for row, unit in zip(order, units, strict=True) if unit not in held_out]
        test = [row for row, unit in zip(order, units, strict=True) if unit in held_out]
    of_class = [[row for row in learned if corpus.labels[row] == name][:size] for name in corpus.label_names]
    return corpus.take([row for rows in of_class for row in rows]), corpus.take(test[:N_TEST])


def split_of(labelled: Corpus, test: Corpus, seed: int) -> Split:
    """Return parts: of each class an eighth of the labels, one at least, is dev."""
    by_class = [[i for i, label in enumerate(labelled.labels) if label == name] for name in labelled.label_names]
    dev = {row for rows in by_class for row in rows[: max(1, len(rows) // 8)]}
    return Split(
        train=labelled.take([row for row in range(len(labelled)) if row not in dev]),
        dev=labelled.take(sorted(dev)),
        test=test,
        by="given",
        settings=SplitSettings(by="given"),
        seed=seed,
    )


def measure(labelled: Corpus, test: Corpus, method: str, options: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    """Return macro-F1 on test, and seconds without imports: to the saved run, of rivals to the fitted model."""
    started, cpu = time.perf_counter(), time.process_time()
    if method == "tfidf":
        baseline = TfidfLogistic().fit(labelled)
        seconds = time.perf_counter() - started
        found = points_of_rows(test, baseline.predict_proba(test.texts))
        return {"macro-f1": found.figure("macro-f1"), "seconds": round(seconds, 1)}
    if method == "setfit":
        return measure_setfit(labelled, test, options, seed=seed)
    settings = TrainSettings(model=options.model, max_length=options.max_length, recipe=method)
    folder = options.work / f"{options.name}-{len(labelled)}-{seed}-{method}"
    split = split_of(labelled, test, seed)
    run = train_with(split, settings, output=folder, seed=seed, resume=True, progress=Progress())
    seconds = time.perf_counter() - started
    cpu = time.process_time() - cpu
    found = points_of_rows(test, run.model.predict_proba(test.texts))
    compared = run.info.get("recipes")
    shutil.rmtree(folder)
    result = {"macro-f1": found.figure("macro-f1"), "seconds": round(seconds, 1), "cpu": round(cpu, 1)}
    names = ("chosen", "figures", "seconds")
    return result | ({"compared": {name: compared[name] for name in names}} if compared else {})


def measure_setfit(labelled: Corpus, test: Corpus, options: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    """Return the same of SetFit, in a process of its own."""
    counts = [count for count in labelled.label_counts().values() if count]
    like = sum(count * (count + 1) // 2 for count in counts)
    unlike = (len(labelled) ** 2 - sum(count**2 for count in counts)) // 2
    epoch = math.ceil(2 * max(like, unlike) / SETFIT_BATCH)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            {"id": str(i), "text": text, "label": label, "part": part}
            for part, corpus in (("train", labelled), ("test", test))
            for i, (text, label) in enumerate(zip(corpus.texts, corpus.labels, strict=True))
        ]
        (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        command = [options.setfit, str(Path(__file__).parent / "setfit_recipe.py"), "--recipe", "setfit"]
        command += ["--data", str(folder / "rows.json"), "--text", "text", "--label", "label", "--id", "id"]
        command += ["--split-column", "part", "--max-length", str(options.max_length), "--seed", str(seed)]
        command += ["--max-steps", str(options.setfit_steps if epoch > options.setfit_steps else -1)]
        command += ["--result", str(folder / "result.json")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {
        "macro-f1": found["test"]["macro_f1"],
        "seconds": round(found["seconds"], 1),
        "cpu": round(found["seconds_of"]["whole_cpu"], 1),
        "steps": found["settings"]["steps_done"],
        "steps_of_an_epoch": epoch,
        "versions": found["versions"],
    }


def together(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return results with the rows of those of one name in one."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        rows = found[result["name"]]["rows"] if result["name"] in found else []
        found[result["name"]] = {**result, "rows": [*rows, *result["rows"]]}
    return list(found.values())


def page_of(found: Sequence[Mapping[str, Any]]) -> str:
    """Return figures, seconds and comparisons as Markdown."""
    methods = [name for name in METHODS if any(row["method"] == name for data in found for row in data["rows"])]
    seconds = ["| data | labels a class | " + " | ".join(methods) + " |", "|---" * (len(methods) + 2) + "|"]
    lines = [f"{seconds[0]} taken by auto |", f"{seconds[1]}---|"]
    against = ["| data | labels a class | rival | auto − rival | 95 % interval | draws |", "|---" * 6 + "|"]
    means: dict[str, list[float]] = {}
    below = []
    for data in found:
        for size in sorted({row["size"] for row in data["rows"]}):
            by_method = {name: of_method(data["rows"], size, name) for name in methods}
            taken: dict[str, int] = {}
            for row in by_method.get("auto", {}).values():
                name = row["compared"]["chosen"] if "compared" in row else "normal"
                taken[name] = taken.get(name, 0) + 1
            told = ", ".join(f"{name} {n}" for name, n in sorted(taken.items()))
            start = f"| {data['name']} | {size} | "
            cells = [spread([row["macro-f1"] for row in rows.values()]) for rows in by_method.values()]
            lines.append(start + " | ".join(cells) + f" | {told} |")
            cells = [
                f"{statistics.mean(row.get('cpu', row['seconds']) for row in rows.values()):.0f}" if rows else "–"
                for rows in by_method.values()
            ]
            seconds.append(start + " | ".join(cells) + " |")
            for rival in ("tfidf", "setfit"):
                auto, other = by_method.get("auto", {}), by_method.get(rival, {})
                leads = [auto[draw]["macro-f1"] - other[draw]["macro-f1"] for draw in sorted(auto.keys() & other)]
                if len(leads) < 2:
                    continue
                mean, half = statistics.mean(leads), half_width(leads)
                means.setdefault(rival, []).append(mean)
                if mean + half < -MARGIN:
                    below.append(f"{data['name']} with {size} against {rival}")
                limits = f"{mean - half:+.3f} to {mean + half:+.3f}"
                against.append(start + f"{rival} | {mean:+.3f} | {limits} | {len(leads)} |")
    summary = [
        f"Auto − {rival}, mean over {len(values)} cells: {statistics.mean(values):+.4f} (aim: −0.01 at least)."
        for rival, values in means.items()
    ]
    summary.append(f"Cells whose interval is wholly below −0.01: {', '.join(below) or 'none'}.")
    parts = [
        "Macro-F1 on test, mean ± standard deviation over the draws:",
        *lines,
        "Seconds of processor time, without imports:",
        *seconds,
    ]
    return "\n".join(with_gaps([*parts, "Paired, draw by draw:", *against, *summary]))


def of_method(rows: Iterable[Mapping[str, Any]], size: int, method: str) -> dict[int, Mapping[str, Any]]:
    """Return the rows of a size and a method by draw."""
    return {row["draw"]: row for row in rows if (row["size"], row["method"]) == (size, method)}


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation."""
    if not values:
        return "–"
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def half_width(values: Sequence[float]) -> float:
    """Return half the width of Student's 95 % interval of a mean."""
    return float(student_t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def with_gaps(lines: Sequence[str]) -> list[str]:
    """Return the lines with an empty one before and after each table, and between paragraphs."""
    found = lines[:1]
    for before, line in itertools.pairwise(lines):
        found = [*found, *([] if before.startswith("|") and line.startswith("|") else [""]), line]
    return list(found)


if __name__ == "__main__":
    main()
