"""How many planted wrong labels are found, and how many of those pointed out are wrong.

In: hand-labelled files. Out: precision and recall of the finder, by data, kind of planted error, and source of the
out-of-fold probabilities; the same for cleanlab's other rules; and a trial with errors that people made (crowd workers'
labels, judged by experts'). As markdown.

    python benchmarks/label_errors.py --manifestos FILE --imdb FILE [--seeds 5] --result FILE

Labels are wrong before anything is planted, too. A row that is pointed out and was not planted counts as false here, so
precision is a lower bound.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cleanlab
import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel

from secondcoder.environment import machine, versions
from secondcoder.evaluation.error_analysis import JudgedRows
from secondcoder.evaluation.label_errors import find_label_errors
from secondcoder.model.batches import fixed_shapes
from secondcoder.model.loading import load_encoder
from secondcoder.model.pretrained import locate

torch.set_num_threads(1)
RULES = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
)
FIGURES = ("pointed out", "precision", "recall", "precision of the first 50", "precision of the first 100")
SHARE = 0.03


@dataclass(eq=False)
class Task:
    """Texts with their labels as positions, and the group of each."""

    name: str
    texts: list[str]
    gold: np.ndarray
    label_names: tuple[str, ...]
    groups: np.ndarray


def task(name: str, rows: pd.DataFrame, label: str, group: str) -> Task:
    """Return a task from a table."""
    names = tuple(sorted(rows[label].unique()))
    gold = rows[label].map(names.index).to_numpy(dtype=np.int64)
    return Task(name, rows["text"].tolist(), gold, names, rows[group].to_numpy())


def embed(texts: list[str], most_tokens: int = 128) -> np.ndarray:
    """Return MiniLM's mean-pooled embeddings as it was pre-trained, shape (n, 384)."""
    encoder = load_encoder("minilm", max_length=most_tokens)
    network = AutoModel.from_pretrained(locate("minilm"), dtype=torch.float32).eval()
    encoded = encoder.encode(texts)
    found = np.empty((len(texts), network.config.hidden_size), np.float32)
    with torch.inference_mode():
        for batch in fixed_shapes(encoded.lengths, token_budget=2048, max_length=most_tokens):
            given = encoder.batch(encoded, batch.rows, (len(batch.rows), batch.shape[1]))
            mask = given["attention_mask"].unsqueeze(-1)  # (b, tokens, 1)
            states = network(**given).last_hidden_state
            found[batch.rows] = ((states * mask).sum(1) / mask.sum(1)).numpy()
    return found


Fold = tuple[np.ndarray, np.ndarray, Any, Any]


def folds_of(study: Task, vectors: np.ndarray, seed: int) -> dict[str, list[Fold]]:
    """Return, by source, the grouped folds: rows to learn from, rows to judge, and the features of both."""
    found: dict[str, list[Fold]] = {"TF-IDF": [], "MiniLM, frozen": []}
    cut = GroupKFold(5, shuffle=True, random_state=seed)
    for train, out in cut.split(study.texts, groups=study.groups):
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        x = words.fit_transform([study.texts[i] for i in train])
        found["TF-IDF"].append((train, out, x, words.transform([study.texts[i] for i in out])))
        scale = StandardScaler().fit(vectors[train])
        found["MiniLM, frozen"].append((train, out, scale.transform(vectors[train]), scale.transform(vectors[out])))
    return found


STRENGTH = {"TF-IDF": 10.0, "MiniLM, frozen": 0.01}


def out_of_fold(folds: list[Fold], labels: np.ndarray, k: int, strength: float) -> np.ndarray:
    """Return probabilities of every row by a logistic regression that saw none of its group."""
    p = np.zeros((len(labels), k))
    for train, out, x, x_out in folds:
        model = LogisticRegression(C=strength, max_iter=1000).fit(x, labels[train])
        p[np.ix_(out, model.classes_)] = model.predict_proba(x_out)
    return p


def plant(gold: np.ndarray, k: int, kind: str, generator: np.random.Generator) -> np.ndarray:
    """Return labels of which 3 % are wrong: of any row, or of the rarest class only."""
    n = round(SHARE * len(gold))
    rows = (
        np.arange(len(gold)) if kind == "any class" else np.flatnonzero(gold == np.bincount(gold, minlength=k).argmin())
    )
    flipped = generator.choice(rows, n, replace=False)
    wrong = gold.copy()
    wrong[flipped] = (gold[flipped] + generator.integers(1, k, n)) % k
    return wrong


def judge(order: Iterable[int], wrong: np.ndarray) -> tuple[float, ...]:
    """Return the figures of rows pointed out, most doubtful first, against those that are wrong."""
    hits = wrong[np.fromiter(order, dtype=np.int64)]
    if len(hits) == 0:
        return (0.0, np.nan, 0.0, np.nan, np.nan)
    return (len(hits), hits.mean(), hits.sum() / wrong.sum(), hits[:50].mean(), hits[:100].mean())


def finders(study: Task) -> dict[str, Callable[[np.ndarray, np.ndarray], Iterable[int]]]:
    """Return ours, and each of cleanlab's rules, from labels and probabilities to rows in order of doubt."""
    ids = [str(i) for i in range(len(study.texts))]

    def ours(labels: np.ndarray, p: np.ndarray) -> Iterable[int]:
        rows = JudgedRows(ids, study.texts, labels, p, study.label_names)
        return [int(error.id) for error in find_label_errors(rows)]

    def rule(name: str, adjusted: bool) -> Callable[[np.ndarray, np.ndarray], Iterable[int]]:
        def find(labels: np.ndarray, p: np.ndarray) -> Iterable[int]:
            doubted = np.flatnonzero(find_label_issues(labels, p, filter_by=name, n_jobs=1))
            scores = get_label_quality_scores(labels, p, adjust_pred_probs=adjusted)
            return doubted[np.argsort(scores[doubted], kind="stable")]

        return find

    rules = {name: rule(name, False) for name in RULES}
    adjusted = {f"{name}, adjusted": rule(name, True) for name in ("both", "confident_learning")}
    return {"secondcoder": ours, **rules, **adjusted}


Results = dict[tuple[str, str, str], dict[str, list[tuple[float, ...]]]]


def measure(study: Task, vectors: np.ndarray, crowd: np.ndarray | None, seeds: int) -> Results:
    """Return figures by data, kind of error and source; in each by finder, one entry a seed.

    Errors are planted, or, where a crowd labelled the rows too, are those that it made.
    """
    found: Results = defaultdict(lambda: defaultdict(list))
    k = len(study.label_names)
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        given = {f"3 %, {kind}": plant(study.gold, k, kind, generator) for kind in ("any class", "one class")}
        if crowd is not None:
            given = {"by people": crowd}
        for source, folds in folds_of(study, vectors, seed).items():
            for kind, labels in given.items():
                p = out_of_fold(folds, labels, k, STRENGTH[source])
                for name, find in finders(study).items():
                    found[study.name, kind, source][name].append(judge(find(labels, p), labels != study.gold))
        print(f"{study.name}: seed {seed} done", flush=True)
    return found


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cells(entries: list[tuple[float, ...]]) -> tuple[str, ...]:
    """Return the mean over seeds, with the range where there is more than one."""
    values = np.array(entries)
    shown = [f"{values[:, 0].mean():.0f}"]
    for column in values.T[1:]:
        shown.append(f"{column.mean():.2f} ({column.min():.2f}–{column.max():.2f})")
    return tuple(shown)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifestos", type=Path, required=True)
    parser.add_argument("--imdb", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    started = time.monotonic()
    sentences = pd.read_csv(options.manifestos, dtype=str)
    reviews = pd.read_parquet(options.imdb).query("split == 'train'")
    vectors = embed(sentences["text"].tolist())
    found = measure(task("manifestos, area", sentences, "area", "manifesto"), vectors, None, options.seeds)
    economic = sentences["economic_position"].notna()
    position = "manifestos, economic position"
    study = task(position, sentences[economic], "economic_position", "manifesto")
    found |= measure(study, vectors[economic], None, options.seeds)
    both = sentences["area_crowd"].notna()
    study = task("manifestos, area", sentences[both], "area", "manifesto")
    crowd = sentences.loc[both, "area_crowd"].map(study.label_names.index).to_numpy(dtype=np.int64)
    found |= measure(study, vectors[both], crowd, options.seeds)
    vectors = embed(reviews["text"].tolist())
    found |= measure(task("IMDb sample", reviews, "label", "film"), vectors, None, options.seeds)

    ours = table(
        ("data", "wrong labels", "probabilities", *FIGURES),
        ((*key, *cells(by_rule["secondcoder"])) for key, by_rule in found.items()),
    )
    planted = {key: by_rule for key, by_rule in found.items() if key[1] != "by people"}
    people = [by_rule for key, by_rule in found.items() if key[1] == "by people"]
    rules = {
        kind: table(
            ("rule", *FIGURES),
            ((name, *cells([e for by_rule in cases for e in by_rule[name]])) for name in cases[0]),
        )
        for kind, cases in {
            "two": [by_rule for key, by_rule in planted.items() if key[0] != position],
            "three": [by_rule for key, by_rule in planted.items() if key[0] == position],
            "people": people,
        }.items()
    }
    about = machine()
    packages = versions() | {"cleanlab": cleanlab.__version__}
    options.result.write_text(
        f"## The finder\n\nMean over {options.seeds} seeds (lowest–highest).\n\n{ours}\n\n"
        f"## cleanlab's rules, over the planted cases with two classes\n\n{rules['two']}\n\n"
        f"## cleanlab's rules, over the planted cases with three classes\n\n{rules['three']}\n\n"
        f"## cleanlab's rules, over errors that people made\n\n{rules['people']}\n\n"
        f"{about['processor']}, {about['cores']} cores, one thread; {time.monotonic() - started:.0f} s of wall time "
        f"on a busy machine. {', '.join(f'{name} {version}' for name, version in packages.items())}.\n"
    )


if __name__ == "__main__":
    main()
