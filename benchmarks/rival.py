"""How good the TF-IDF rival is, and what it costs: the former one, words tuned, a whole grid, and the present one.

In: a file with texts and labels, and perhaps groups. For each seed the groups (else the rows) are divided into train,
dev and test (60, 20, 20 % of the rows), and so many rows of train are drawn; 0 is all of them. Out: macro-F1 on test
and processor seconds of each, in a JSON file to which other data may be added under another name, and a Markdown table
of the means over the seeds on standard output.

    python benchmarks/rival.py --data FILE --text text --label label [--group COLUMN] --name NAME \
        --sizes 300 1000 0 --seeds 0 1 2 --result FILE.json [--arms former words rival] [--table]

``former`` is what the rival was until 29 November 2026: words and pairs, C = 10, balanced. ``words`` is that with C
and class weights chosen by cross-validation; ``grid`` the best of words (plain or sublinear counts), characters and
both, at four C, balanced or not, vectorised within each of four grouped folds: what patience buys. ``untuned`` is
words and characters with C = 10 and balanced weights, ``rival`` secondcoder's. Nothing else is shared with the package.
"""

import argparse
import csv
import itertools
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, KFold
from threadpoolctl import threadpool_limits

from secondcoder.corpus.corpus import Corpus, Source
from secondcoder.environment import machine, versions
from secondcoder.training.baselines import TfidfLogistic

Rows = list[dict[str, str]]
STRENGTHS = (1.0, 3.0, 10.0, 30.0)
WEIGHTS = ("balanced", None)
ARMS = ("former", "words", "untuned", "grid", "rival")


def main() -> None:
    """Measure the cells asked for, write them down after each, and the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--group")
    parser.add_argument("--name", help="of the data, in the table")
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1000, 0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="only write the table of what is there")
    options = parser.parse_args()
    stored: dict[str, Any] = json.loads(options.result.read_text()) if options.result.exists() else {"cells": []}
    if not options.table:
        rows = read(options.data, options.text, options.label, options.group)
        for size, seed in itertools.product(options.sizes, options.seeds):
            found = measure(rows, size, seed, options.arms)
            cell = {"data": options.name or options.data.stem, "size": size, "seed": seed, **found}
            print(json.dumps(cell), flush=True)
            stored |= {"machine": machine(), "versions": versions()}
            same = [one for one in stored["cells"] if all(one[key] == cell[key] for key in ("data", "size", "seed"))]
            if same:
                same[0].update(cell)
            else:
                stored["cells"].append(cell)
            options.result.write_text(json.dumps(stored, indent=1) + "\n")
    print(table(stored["cells"]))


def read(path: Path, text: str, label: str, group: str | None) -> Rows:
    """Return texts, labels and groups of the rows that have a text and a label."""
    if path.suffix == ".parquet":
        found = pq.read_table(path).to_pylist()
    else:
        with path.open(encoding="utf-8", newline="") as stream:
            found = list(csv.DictReader(stream))
    return [
        {"text": row[text], "label": str(row[label]), "group": str(row[group]) if group else str(i)}
        for i, row in enumerate(found)
        if row[text] and row[text].strip() and row[label]
    ]


def divide(rows: Rows, size: int, seed: int) -> tuple[Rows, Rows, Rows]:
    """Return train, dev and test, whole groups each, and of train so many rows as wanted."""
    random = np.random.default_rng(seed)
    groups = sorted({row["group"] for row in rows})
    random.shuffle(groups)
    by_group: defaultdict[str, Rows] = defaultdict(list)
    for row in rows:
        by_group[row["group"]].append(row)
    parts: tuple[Rows, Rows, Rows] = ([], [], [])
    for group in groups:
        part = 2 if len(parts[2]) < len(rows) / 5 else 1 if len(parts[1]) < len(rows) / 5 else 0
        parts[part].extend(by_group[group])
    train = [parts[0][i] for i in random.permutation(len(parts[0]))]
    return train[: size or None], parts[1], parts[2]


def measure(rows: Rows, size: int, seed: int, arms: list[str]) -> dict[str, Any]:
    """Return macro-F1 and seconds of each way, what was chosen, and how sure its distance from the former one is."""
    train, dev, test = divide(rows, size, seed)
    gold = np.array([row["label"] for row in test])
    found: dict[str, Any] = {"train": len(train), "dev": len(dev), "test": len(test)}
    said = {}
    for arm in arms:
        started = time.process_time()
        with threadpool_limits(1, user_api="blas"):
            said[arm], about = WAYS[arm](train, dev, [row["text"] for row in test])
        macro = float(f1_score(gold, said[arm], average="macro"))
        found[arm] = {"macro-f1": round(macro, 4), "seconds": round(time.process_time() - started, 2), **about}
        if "former" in said and arm != "former":
            found[arm]["error"] = round(error_of_difference(gold, said[arm], said["former"], seed), 4)
    return found


def error_of_difference(gold: np.ndarray, one: np.ndarray, two: np.ndarray, seed: int) -> float:
    """Return the bootstrap standard error of a difference in macro-F1, rows taken as independent."""
    names = sorted({*gold, *one, *two})
    places = [np.searchsorted(names, labels) for labels in (gold, one, two)]
    hits = [np.eye(len(names))[places[0]] * (places[0] == said)[:, None] for said in places[1:]]
    whole = [np.eye(len(names))[places[0]] + np.eye(len(names))[said] for said in places[1:]]
    times = np.random.default_rng(seed).multinomial(len(gold), np.full(len(gold), 1 / len(gold)), 400)
    macro = [
        (2 * (times @ hit) / np.maximum(times @ both, 1)).mean(axis=1) for hit, both in zip(hits, whole, strict=True)
    ]
    return float(np.std(np.subtract(*macro), ddof=1))


def words(*, sublinear: bool = True) -> TfidfVectorizer:
    """Return words and pairs of words, as the former rival had them."""
    return TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=sublinear, max_features=200_000, token_pattern=r"(?u)\b\w+\b"
    )


def characters() -> TfidfVectorizer:
    """Return characters within words."""
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=200_000)


def regression(strength: float, weights: str | None) -> LogisticRegression:
    """Return a regression that has learned nothing."""
    return LogisticRegression(C=strength, class_weight=weights, max_iter=2000)


def former(train: Rows, dev: Rows, test: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return what the former rival gives."""
    vectors = words()
    fitted = regression(10.0, "balanced").fit(
        vectors.fit_transform([row["text"] for row in train]), [row["label"] for row in train]
    )
    return fitted.predict(vectors.transform(test)), {}


def searched(kinds: dict[str, list[TfidfVectorizer]]) -> Any:
    """Return a way that chooses among kinds of terms, strengths and weights by four folds of train."""

    def way(train: Rows, dev: Rows, test: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
        texts, gold = np.array([row["text"] for row in train], object), np.array([row["label"] for row in train])
        groups = [row["group"] for row in train]
        whole = len(set(groups)) < len(groups)
        folds = list((GroupKFold(min(4, len(set(groups)))) if whole else KFold(4)).split(texts, gold, groups))
        scores: dict[tuple[str, float, str | None], float] = {}
        for kind, vectors in kinds.items():
            given = {(c, w): np.empty(len(gold), gold.dtype) for c in STRENGTHS for w in WEIGHTS}
            for learned, judged in folds:
                x = sparse.hstack([v.fit_transform(texts[learned]) for v in vectors], format="csr")
                y = sparse.hstack([v.transform(texts[judged]) for v in vectors], format="csr")
                for (c, w), labels in given.items():
                    labels[judged] = regression(c, w).fit(x, gold[learned]).predict(y)
            scores |= {(kind, *key): float(f1_score(gold, labels, average="macro")) for key, labels in given.items()}
        kind, c, w = max(scores, key=lambda key: scores[key])
        x, y = (
            sparse.hstack([getattr(v, verb)(of) for v in kinds[kind]], format="csr")
            for verb, of in (("fit_transform", texts), ("transform", test))
        )
        about = {"kind": kind, "strength": c, "weights": w, "figure": round(scores[kind, c, w], 4)}
        return regression(c, w).fit(x, gold).predict(y), about

    return way


def untuned(train: Rows, dev: Rows, test: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return what words and characters give without any choice."""
    kinds = [words(), characters()]
    x = sparse.hstack([v.fit_transform([row["text"] for row in train]) for v in kinds], format="csr")
    fitted = regression(10.0, "balanced").fit(x, [row["label"] for row in train])
    return fitted.predict(sparse.hstack([v.transform(test) for v in kinds], format="csr")), {}


def rival(train: Rows, dev: Rows, test: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return what secondcoder's rival gives."""
    names = tuple(sorted({row["label"] for row in (*train, *dev)}))
    parts = [
        Corpus(
            ids=tuple(f"{name} {i}" for i in range(len(rows))),
            texts=tuple(row["text"] for row in rows),
            labels=tuple(row["label"] for row in rows),
            groups=tuple(row["group"] for row in rows),
            label_names=names,
            columns=pa.table({"text": [row["text"] for row in rows]}),
            source=Source("benchmark", "0"),
        )
        for name, rows in (("train", train), ("dev", dev))
    ]
    fitted = TfidfLogistic().fit(*parts)
    return np.array(names)[fitted.predict_proba(test).argmax(axis=1)], fitted.given["settings"]


WAYS = {
    "former": former,
    "words": searched({"words": [words()]}),
    "untuned": untuned,
    "grid": searched(
        {
            "words": [words()],
            "words, plain": [words(sublinear=False)],
            "characters": [characters()],
            "both": [words(), characters()],
        }
    ),
    "rival": rival,
}


def table(cells: list[dict[str, Any]]) -> str:
    """Return the means over the seeds, as Markdown."""
    lines = [
        "| data | train rows | seeds | " + " | ".join(ARMS) + " | rival − former | lowest z | processor seconds: "
        + ", ".join(ARMS) + " |",
        "|---|" + "---|" * (len(ARMS) + 5),
    ]  # fmt: skip
    for data, size in dict.fromkeys((cell["data"], cell["size"]) for cell in cells):
        these = [cell for cell in cells if (cell["data"], cell["size"]) == (data, size)]

        def mean(arm: str, name: str, these: list[dict[str, Any]] = these) -> float | None:
            found = [cell[arm][name] for cell in these if name in cell.get(arm, {})]
            return float(np.mean(found)) if len(found) == len(these) else None

        macro = [mean(arm, "macro-f1") for arm in ARMS]
        seconds = ", ".join("–" if (s := mean(arm, "seconds")) is None else f"{s:.1f}" for arm in ARMS)
        gains = [(cell["rival"]["macro-f1"] - cell["former"]["macro-f1"], cell["rival"]["error"]) for cell in these]
        lowest = min(gain / error if error else 0.0 for gain, error in gains)
        shown = " | ".join("–" if value is None else f"{value:.3f}" for value in macro)
        lines.append(
            f"| {data} | {np.mean([cell['train'] for cell in these]):,.0f} | {len(these)} | {shown} | "
            f"{np.mean([gain for gain, _ in gains]):+.3f} | {lowest:+.1f} | {seconds} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
