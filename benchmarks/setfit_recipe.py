"""Two rivals built on the same MiniLM: SetFit, and sentence embeddings with a logistic regression.

In: a labelled Parquet, CSV or JSON file whose parts stand in a column, or in a JSON file {id: part}. Out: a JSON file
with the settings that were in force, seconds, and figures on test, and on dev where there is one.

``setfit`` is SetFit by its documentation: its default arguments on the whole training part. Only the number of steps is
capped, for one epoch would be all n²/2 pairs of texts (weeks on a laptop); a low ``max_steps`` is what its maintainer
advises for large training sets (https://github.com/huggingface/setfit/issues/472). The cap is given, or reckoned from
``--minutes`` and a few timed steps on a model that is then thrown away. ``sentence-logistic`` needs no setfit.

    pip install setfit sentence-transformers
    python benchmarks/setfit_recipe.py --data FILE --text text --label label --split-column split --positive pos \
        --recipe setfit --minutes 25 --result FILE
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold

from secondcoder.environment import machine, versions
from secondcoder.model.pretrained import locate

PARTS = ("train", "dev", "test")
TIMED_STEPS = 4
Predict = Callable[[list[str]], np.ndarray]


@dataclass
class Part:
    """Texts with their classes by number, and the groups they come from (empty where no group was named)."""

    texts: list[str] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trained:
    """What a recipe gives back: how to predict, how long it took from loading to fitted, and what was set."""

    predict: Predict
    seconds: dict[str, float]
    settings: dict[str, Any]


class StepClock(transformers.TrainerCallback):
    """Writes down how long each optimizer step takes, from the end of the one before."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self._last = time.perf_counter()

    def on_step_end(self, *_: object, **__: object) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet, CSV or JSON file."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def read_parts(options: argparse.Namespace) -> tuple[dict[str, Part], list[str], dict[str, int]]:
    """Return the parts, the names of the classes in alphabetical order, and how many rows were left out and why."""
    part_of = json.loads(options.parts.read_text(encoding="utf-8")) if options.parts else None
    parts = {name: Part() for name in PARTS}
    rows = read_rows(options.data)
    names = sorted({str(row[options.label]) for row in rows if row[options.label] not in (None, "")})
    left_out = {"no label": 0, "in no part": 0}
    for row in rows:
        part = row[options.split_column] if part_of is None else part_of.pop(str(row[options.id]), None)
        if row[options.label] in (None, ""):
            left_out["no label"] += 1
        elif part not in parts:
            left_out["in no part"] += 1
        else:
            parts[part].texts.append(row[options.text])
            parts[part].classes.append(names.index(str(row[options.label])))
            if options.group:
                parts[part].groups.append(str(row[options.group]))
    if part_of:
        raise SystemExit(
            f"{len(part_of)} ids in {options.parts.name} are not in {options.data.name}: {next(iter(part_of))!r}"
        )
    if empty := [name for name in ("train", "test") if not parts[name].texts]:
        raise SystemExit(f"No rows in the parts {empty}; left out: {left_out}")
    if options.limit:
        parts = {name: first(part, options.limit, options.seed) for name, part in parts.items()}
    return parts, names, left_out


def first(part: Part, n: int, seed: int) -> Part:
    """Return `n` of a part's rows, drawn at random."""
    drawn = np.random.default_rng(seed).permutation(len(part.texts))[:n]
    return Part(*([values[i] for i in drawn] if values else [] for values in (part.texts, part.classes, part.groups)))


def setfit_recipe(train: Part, names: list[str], options: argparse.Namespace) -> Trained:
    """Train SetFit: pairs of texts drawn together or pushed apart, then a logistic regression on all training texts."""
    started = time.perf_counter()
    import setfit

    seconds = {"import": time.perf_counter() - started}
    dataset = Dataset.from_dict({"text": train.texts, "label": train.classes})

    def fresh(folder: str, max_steps: int) -> tuple[setfit.SetFitModel, setfit.Trainer, StepClock]:
        model = setfit.SetFitModel.from_pretrained(locate("minilm"), labels=names)
        if options.max_length:
            model.model_body.max_seq_length = options.max_length
        # Beside the cap and the seed, what departs from the defaults only spares it work: no reports, no checkpoints.
        arguments = setfit.TrainingArguments(
            output_dir=folder,
            max_steps=max_steps,
            seed=options.seed,
            report_to="none",
            save_strategy="no",
        )
        clock = StepClock()
        return model, setfit.Trainer(model=model, args=arguments, train_dataset=dataset, callbacks=[clock]), clock

    with tempfile.TemporaryDirectory() as folder:
        max_steps = options.max_steps
        if max_steps == 0:
            started = time.perf_counter()
            _, trainer, clock = fresh(folder, TIMED_STEPS)
            trainer.train_embeddings(train.texts, train.classes, args=trainer.args)
            max_steps = affordable_steps(clock.seconds, len(train.texts), trainer.args, options.minutes)
            seconds["choosing_max_steps"] = time.perf_counter() - started
        started, cpu = time.perf_counter(), time.process_time()
        model, trainer, clock = fresh(folder, max_steps)
        seconds["load"] = time.perf_counter() - started
        trainer.train_embeddings(train.texts, train.classes, args=trainer.args)
        seconds["contrastive"] = time.perf_counter() - started - seconds["load"]
        trainer.train_classifier(train.texts, train.classes, args=trainer.args)
        seconds["whole"] = time.perf_counter() - started
        seconds["whole_cpu"] = time.process_time() - cpu
        seconds["head"] = seconds["whole"] - seconds["contrastive"] - seconds["load"]
    steps, batch = trainer.st_trainer.state.global_step, trainer.args.embedding_batch_size
    seconds["median_step"] = statistics.median(clock.seconds)
    settings = {
        "max_steps": max_steps,
        "steps_done": steps,
        "pairs_seen": steps * batch,
        "pairs_of_one_documented_epoch": pairs_of_an_epoch(train.classes),
        "batch_size_in_pairs": batch,
        "num_epochs": trainer.args.embedding_num_epochs,
        "num_epochs_overridden_by_max_steps": max_steps > 0,
        "sampling_strategy": trainer.args.sampling_strategy,
        "num_iterations": trainer.args.num_iterations,
        "loss": trainer.args.loss.__name__,
        "body_learning_rate": trainer.args.body_embedding_learning_rate,
        "warmup_proportion": trainer.args.warmup_proportion,
        "weight_decay": trainer.args.l2_weight,
        "use_amp": trainer.args.use_amp,
        "max_seq_length": model.model_body.max_seq_length,
        "dtype": str(next(model.model_body.parameters()).dtype),
        "head": repr(model.model_head),
        "texts_for_the_head": len(train.texts),
        "loss_history": [
            [row["step"], row["embedding_loss"]]
            for row in trainer.st_trainer.state.log_history
            if "embedding_loss" in row
        ],
    }
    return Trained(lambda texts: np.asarray(model.predict(texts, use_labels=False, as_numpy=True)), seconds, settings)


def affordable_steps(step_seconds: list[float], n: int, arguments: Any, minutes: float) -> int:
    """Return how many steps fit in so many minutes, together with the embedding of the `n` texts for the head."""
    step = statistics.median(step_seconds[1:])  # the first one warms up
    # A step passes two texts a pair forward and back; the head wants each text forward only, about a third of that.
    head = n * step / (2 * arguments.embedding_batch_size) / 3
    return max(1, int((minutes * 60 - head) / step))


def pairs_of_an_epoch(classes: list[int]) -> int:
    """Return how many pairs SetFit's default (oversampling) makes: twice the larger of the like and unlike pairs."""
    counts = np.unique_counts(classes).counts
    like = int((counts * (counts + 1) // 2).sum())  # a text with itself is counted, as SetFit does
    unlike = (len(classes) ** 2 - int((counts**2).sum())) // 2
    return 2 * max(like, unlike)


def sentence_logistic_recipe(train: Part, names: list[str], options: argparse.Namespace) -> Trained:
    """Fit a logistic regression on the frozen model's mean-pooled, normalised sentence embeddings."""
    started = time.perf_counter()
    from sentence_transformers import SentenceTransformer

    seconds = {"import": time.perf_counter() - started}
    started, cpu = time.perf_counter(), time.process_time()
    encoder = SentenceTransformer(locate("minilm"))
    encoder.max_seq_length = options.max_length or 512
    seconds["load"] = time.perf_counter() - started

    def embed(texts: list[str]) -> np.ndarray:  # (n, d)
        return encoder.encode(texts, batch_size=32, show_progress_bar=False)

    embeddings = embed(train.texts)
    seconds["embed"] = time.perf_counter() - started - seconds["load"]
    head = LogisticRegression(max_iter=1000)
    if options.choose_c:
        folds = GroupKFold(5) if train.groups else StratifiedKFold(5, shuffle=True, random_state=options.seed)
        search = GridSearchCV(head, {"C": [0.1, 1, 10, 100, 1000]}, cv=folds, scoring="f1_macro")
        head = search.fit(embeddings, train.classes, groups=train.groups or None).best_estimator_
    else:
        head.fit(embeddings, train.classes)
    seconds["whole"] = time.perf_counter() - started
    seconds["whole_cpu"] = time.process_time() - cpu
    seconds["head"] = seconds["whole"] - seconds["embed"] - seconds["load"]
    settings = {
        "max_seq_length": encoder.max_seq_length,
        "dtype": str(next(encoder.parameters()).dtype),
        "modules": [type(module).__name__ for module in encoder],
        "head": repr(head),
        "C": head.C,
        "C_chosen_by": "macro-F1 in 5 folds of train" if options.choose_c else "scikit-learn's default",
    }
    return Trained(lambda texts: head.predict(embed(texts)), seconds, settings)


def figures(truth: list[int], found: np.ndarray, positive: int | None) -> dict[str, float]:
    """Return accuracy, macro-F1 and, where a positive class was named, its F1."""
    result = {
        "n": len(truth),
        "accuracy": round(float(accuracy_score(truth, found)), 4),
        "macro_f1": round(float(f1_score(truth, found, average="macro")), 4),
    }
    if positive is not None:
        result["f1"] = round(float(f1_score(truth, found, pos_label=positive)), 4)
    return result


RECIPES = {"setfit": setfit_recipe, "sentence-logistic": sentence_logistic_recipe}


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="Parquet, CSV or JSON file")
    parser.add_argument("--text", required=True, help="column of the texts")
    parser.add_argument("--label", required=True, help="column of the labels; rows without one are left out")
    parser.add_argument("--positive", help="class whose F1 is reported, where there are two")
    parser.add_argument("--split-column", help="column that says train, dev or test")
    parser.add_argument("--parts", type=Path, help="JSON file {id: part} instead of a split column; wants --id")
    parser.add_argument("--id", help="column of the ids in --parts")
    parser.add_argument("--group", help="column of groups: for folds, and to count the ones that train shares")
    parser.add_argument("--limit", type=int, help="rows a part, drawn at random: for a trial")
    parser.add_argument(
        "--max-length", type=int, help="tokens; else setfit: the model's own 256, sentence-logistic: 512"
    )
    parser.add_argument("--max-steps", type=int, default=0, help="setfit: steps; -1 for a whole epoch; 0: by --minutes")
    parser.add_argument("--minutes", type=float, default=25, help="setfit: time to fill, where steps are not given")
    parser.add_argument("--choose-c", action="store_true", help="sentence-logistic: C by cross-validation on train")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    if (options.split_column is None) == (options.parts is None) or (options.parts and not options.id):
        parser.error("the parts come from --split-column, or from --parts with --id")
    return options


def main() -> None:
    """Run one recipe to its end."""
    options = read_options()
    parts, names, left_out = read_parts(options)
    if options.positive and (len(names) != 2 or options.positive not in names):
        raise SystemExit(f"--positive {options.positive} wants two classes, one of that name; found {names}")
    positive = names.index(options.positive) if options.positive else None
    trained = RECIPES[options.recipe](parts["train"], names, options)
    found, seconds_predict = {}, {}
    for name in [name for name in ("dev", "test") if parts[name].texts]:
        started = time.perf_counter()
        classes = trained.predict(parts[name].texts)
        seconds_predict[name] = round(time.perf_counter() - started, 2)
        found[name] = figures(parts[name].classes, classes, positive)
    result = {
        "recipe": options.recipe,
        "data": options.data.name,
        "label": options.label,
        "classes": names,
        "positive": options.positive,
        "seconds": round(trained.seconds["whole"], 2),  # loading and training; without imports and the choice of steps
        "seconds_of": {name: round(value, 3) for name, value in trained.seconds.items()},
        "seconds_predict": seconds_predict,
        **found,
        "settings": {"seed": options.seed, "limit": options.limit, **trained.settings},
        "texts": {name: len(part.texts) for name, part in parts.items()},
        "left_out": left_out,
        "groups_shared_with_train": {
            name: len(set(parts["train"].groups) & set(parts[name].groups)) for name in ("dev", "test") if options.group
        },
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "versions": versions() | {name: version_of(name) for name in ("setfit", "sentence-transformers")},
    }
    options.result.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    json.dump({key: result[key] for key in ("recipe", "seconds", "seconds_predict", *found)}, sys.stdout)
    print()


def version_of(package: str) -> str:
    """Return a package's version; not every recipe needs every package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
