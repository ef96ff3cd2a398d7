"""RunFolder: the files of a run, written and read.

In: what the steps of training and evaluation produce. Out: the run folder, and the same things back from it. The
hand-labelled rows are kept in the folder (``data.parquet``), so that the test part can be opened, and the report made
again, wherever the file that they came from has gone since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secondcoder.corpus.corpus import PARTS, SEPARATOR, Corpus, Part, Source
from secondcoder.errors import RunError
from secondcoder.evaluation.comparison import Pair
from secondcoder.evaluation.evaluate import evaluate_rows
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.tasks import gold_of, task_rules
from secondcoder.evaluation.thresholds import Thresholds
from secondcoder.model.classifier import Classifier
from secondcoder.model.loading import load_model
from secondcoder.settings import TFIDF, check_population, migrate_settings
from secondcoder.storage import (
    append_json_line,
    atomic_path,
    read_json,
    read_json_lines,
    storage_errors,
    write_json,
)
from secondcoder.training.baselines import Baseline


def judge(
    rows: Corpus,
    probabilities: NDArray[np.float64],
    *,
    temperature: float = 1.0,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Return the figures of probabilities, shape (n, k), against the labels of rows that all have one.

    Groups are the unit of the intervals where the rows have any; a row without a group is one by itself.
    """
    return evaluate_rows(rows, probabilities, temperature=temperature, thresholds=thresholds)


def lead_of(
    rows: Corpus,
    baseline: NDArray[np.float64],
    model: NDArray[np.float64],
    thresholds: Thresholds | None = None,
    *,
    of_baseline: Thresholds | None = None,
) -> dict[str, Any]:
    """Return how far the model leads a baseline on the rows, as `Comparison.to_dict` gives it.

    The thresholds are the model's and the baseline's; of an array, shape (n, k), each row has its own.
    """
    names = rows.label_names
    rules = task_rules(rows.task)
    given = (
        rules.decide(baseline, of_baseline, names, rows.positive),
        rules.decide(model, thresholds, names, rows.positive),
    )
    gold = gold_of(rows, names)
    # Leads are in what all schemes of one label have.
    return (
        rules.without_order().compare(Pair(gold, (baseline, model), given, names, rows.positive, rows.units)).to_dict()
    )


def predicted_labels(
    rows: Corpus, probabilities: NDArray[np.float64], thresholds: Mapping[str, float] | None = None
) -> list[str]:
    """Return the labels that probabilities of shape (n, k) make, as files hold them."""
    rules = task_rules(rows.task)
    given = rules.decide(probabilities, thresholds, rows.label_names)
    return [rows.written(label) for label in rules.named(given, rows.label_names)]


def predictions(
    part: str, rows: Corpus, probabilities: NDArray[np.float64], thresholds: Mapping[str, float]
) -> pa.Table:
    """Return what a run folder keeps of a part: id, part, label, predicted, the probability of each class."""
    predicted = predicted_labels(rows, probabilities, thresholds)
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "part": pa.array([part] * len(rows), pa.string()),
        "label": pa.array(rows.labels, pa.string()),
        "predicted": pa.array(predicted, pa.string()),
    }
    for i, name in enumerate(rows.label_names):
        columns[f"probability_{name}"] = pa.array(probabilities[:, i], pa.float64())
    return pa.table(columns)


RUN_FILE = "run.json"
LEADS_FILE = "leads.json"
CHECKPOINTS = "checkpoints"
ACTIVATIONS = "activations.f16"
"""File for what frozen layers make of the texts of several trainings, while these go on."""
TOKENS = ".tokens"
"""Folder beside the runs that keeps token ids, so that texts are tokenised once for all runs on them."""
MODEL_NAME = "model"
"""Key of the trained model's figures, beside those of the baselines."""
SHARE = "share_"
"""What stands before the name of a class in the columns of ``data.parquet`` that hold shares of coders."""
RUN_FORMAT = 1


@dataclass(frozen=True)
class JudgedPart:
    """What came of judging a part, to be written down.

    Attributes
    ----------
    part
        Its name.
    evaluations
        By who gave the labels: the model and the baselines.
    leads
        How far the model leads each baseline, as `Comparison.to_dict` gives it.
    predictions
        What a run folder keeps of each row; None where it is kept otherwise.
    baselines
        What the baselines were given, by name (`Baseline.given`); None where that is kept otherwise.
    """

    part: str
    evaluations: Mapping[str, Evaluation]
    leads: Mapping[str, Any]
    predictions: pa.Table | None = None
    baselines: Mapping[str, Any] | None = None


def judge_part(
    part: str,
    rows: Corpus,
    probabilities: NDArray[np.float64],
    *,
    baselines: Mapping[str, Baseline],
    temperature: float = 1.0,
    thresholds: Mapping[str, float] | None = None,
) -> JudgedPart:
    """Return a part's figures and predictions; nothing is written.

    Parameters
    ----------
    part
        Name of the part.
    rows
        Its rows.
    probabilities : ndarray of shape (n, k)
        The model's, columns as the label names.
    baselines
        By name, judged on the same rows.
    temperature
        What the model's logits were divided by.
    thresholds
        From which probability on it gives a class, where that was tuned.
    """
    given = {MODEL_NAME: probabilities}
    given |= {name: baseline.predict_proba(rows.texts) for name, baseline in baselines.items()}
    judged = figures_of(
        part,
        rows,
        given,
        temperatures={MODEL_NAME: temperature} | {name: b.temperature for name, b in baselines.items()},
        thresholds={MODEL_NAME: thresholds} | {name: b.thresholds for name, b in baselines.items()},
    )
    return replace(
        judged,
        predictions=predictions(part, rows, probabilities, thresholds or {}),
        baselines={name: baseline.given for name, baseline in baselines.items() if baseline.given},
    )


def figures_of(
    part: str,
    rows: Corpus,
    given: Mapping[str, NDArray[np.float64]],
    *,
    temperatures: Mapping[str, float] | None = None,
    thresholds: Mapping[str, Thresholds | None] | None = None,
) -> JudgedPart:
    """Return the figures of what the model and the baselines gave to the rows, and how far the model leads.

    Parameters
    ----------
    part
        Name of the part.
    rows
        Its rows.
    given
        Probabilities of shape (n, k) by who gave them.
    temperatures
        By who: what the logits were divided by; 1 where there is none.
    thresholds
        By who: from which probability on a class is given; ndarray of shape (n, k) where several models judged.
    """
    heat, limits = temperatures or {}, thresholds or {}
    evaluations = {
        who: judge(rows, found, temperature=heat.get(who, 1.0), thresholds=limits.get(who))
        for who, found in given.items()
    }
    model = given[MODEL_NAME], limits.get(MODEL_NAME)
    leads = {
        who: lead_of(rows, found, *model, of_baseline=limits.get(who))
        for who, found in given.items()
        if who != MODEL_NAME
    }
    return JudgedPart(part, evaluations, leads)


class RunFolder:
    """The files of one training, and what they say.

    Parameters
    ----------
    folder
        Written by `secondcoder.runs.train.train`.

    Raises
    ------
    RunError
        If there is no run in the folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / RUN_FILE).is_file():
            there = "there is no such folder" if not self.folder.exists() else f"it has no {RUN_FILE}"
            raise RunError(f"{self.folder} is not a run: {there}.", "Name the folder that secondcoder train wrote.")
        self.info: dict[str, Any] = _migrated(read_json(self.folder / RUN_FILE))
        if self.info.get("format") != RUN_FORMAT:
            raise RunError(f"{self.folder} was written by another version of secondcoder.", "Train again.")

    @property
    def status(self) -> str:
        """``"running"``, ``"complete"``, ``"interrupted"`` or ``"failed"``."""
        return str(self.info["status"])

    @property
    def is_tfidf(self) -> bool:
        """Whether the model is TF-IDF with logistic regression."""
        return bool(self.info["settings"]["train"]["model"] == TFIDF)

    @property
    def model_folder(self) -> Path:
        """Where the model is."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """What a training can go on from, until it is done."""
        return self.folder / CHECKPOINTS

    @cached_property
    def model(self) -> Classifier:
        """The trained model."""
        if not self.model_folder.exists():
            raise self.no_model()
        return load_model(self.model_folder)

    @property
    def history(self) -> list[dict[str, Any]]:
        """One entry per evaluation on dev during training."""
        return read_json_lines(self.folder / "history.jsonl")

    @property
    def evaluations(self) -> dict[str, dict[str, Evaluation]]:
        """Figures by part, and there by who made the labels: ``"model"`` and the baselines."""
        path = self.folder / "evaluation.json"
        stored = read_json(path) if path.exists() else {}
        return {part: {who: Evaluation.from_dict(v) for who, v in by.items()} for part, by in stored.items()}

    @property
    def leads(self) -> dict[str, dict[str, Any]]:
        """How far the model leads each baseline, by part, as `Comparison.to_dict` gives it; paired, row by row."""
        path = self.folder / LEADS_FILE
        stored: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
        return stored

    @property
    def baselines(self) -> dict[str, Any]:
        """What the baselines were given for the figures on dev and test, by part and name (`Baseline.given`)."""
        found: dict[str, Any] = self.info.get("baselines", {})
        return found

    def part(self, name: Part) -> Corpus:
        """Return the rows of a part, with ids, texts, labels and groups.

        Raises
        ------
        RunError
            If the texts have been removed from the folder.
        """
        if not (self.folder / "data.parquet").is_file():
            raise RunError(f"{self.folder} no longer holds its texts (data.parquet).", "Put the file back.")
        table = pq.read_table(self.folder / "data.parquet", filters=[("part", "=", name)])
        data = self.info["data"]
        groups = table["group"].to_pylist()
        return Corpus(
            ids=tuple(table["id"].to_pylist()),
            texts=tuple(table["text"].to_pylist()),
            labels=tuple(table["label"].to_pylist()),
            groups=None if None in groups else tuple(groups),
            label_names=tuple(data["label_names"]),
            positive=data["positive"],
            task=data.get("task", "multi-class"),
            separator=data.get("separator", SEPARATOR),
            shares=_shares(table, data["label_names"]),
            columns=table,
            source=Source(data["source"], data["sha256"], data["columns"]),
        )

    def all_rows(self) -> Corpus:
        """Return train, dev and test as one corpus; see `part`."""
        parts = [self.part(part) for part in PARTS]
        first = parts[0]
        grouped = all(part.groups is not None for part in parts if len(part))
        return replace(
            first,
            ids=tuple(id_ for part in parts for id_ in part.ids),
            texts=tuple(text for part in parts for text in part.texts),
            labels=tuple(label for part in parts for label in part.labels),
            groups=tuple(group for part in parts for group in part.groups or ()) if grouped else None,
            shares=None if first.shares is None else np.concatenate([p.shares for p in parts if p.shares is not None]),
            columns=pa.concat_tables([part.columns for part in parts]),
        )

    def update(self, **values: Any) -> None:
        """Store more about the run."""
        self.info |= values
        write_json(self.folder / RUN_FILE, self.info)

    def describe(self, population: str) -> None:
        """Store what the hand-labelled texts are and how they were drawn, in place of what was stored of it before.

        Raises
        ------
        SettingsError
            If it is empty.
        """
        check_population(population)
        settings = self.info["settings"]
        self.update(settings=settings | {"train": settings["train"] | {"population": population}})

    def append_history(self, entry: dict[str, Any]) -> None:
        """Store an evaluation on dev."""
        append_json_line(self.folder / "history.jsonl", entry)

    def forget_history(self) -> None:
        """Start the history anew: a training that goes on tells again what its checkpoint remembers."""
        with storage_errors(self.folder):
            (self.folder / "history.jsonl").unlink(missing_ok=True)

    def store_model(self, model: Classifier) -> None:
        """Write the model folder and forget a model that was loaded before."""
        model.save(self.model_folder)
        self.__dict__.pop("model", None)

    def store_evaluation(
        self,
        part: str,
        rows: Corpus,
        probabilities: NDArray[np.float64],
        *,
        baselines: Mapping[str, Baseline],
        temperature: float = 1.0,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        """Judge a part, as `judge_part` does, and write its predictions and figures down; those of other parts stay."""
        self.store(
            judge_part(part, rows, probabilities, baselines=baselines, temperature=temperature, thresholds=thresholds)
        )

    def store_figures(
        self,
        part: str,
        rows: Corpus,
        given: Mapping[str, NDArray[np.float64]],
        *,
        thresholds: Mapping[str, Thresholds | None] | None = None,
    ) -> None:
        """Judge what the model and the baselines gave to the rows, as `figures_of` does, and write it down."""
        self.store(figures_of(part, rows, given, thresholds=thresholds))

    def store(self, judged: JudgedPart) -> None:
        """Write a part's predictions and figures down; those of other parts stay."""
        part = judged.part
        if judged.predictions is not None:
            path = self.folder / "predictions.parquet"
            table = judged.predictions
            if path.exists():
                table = pa.concat_tables([pq.read_table(path, filters=[("part", "!=", part)]), table])
            with atomic_path(path) as temporary, storage_errors(path):
                pq.write_table(table, temporary, compression="zstd")
        stored = {name: {who: e.to_dict() for who, e in by.items()} for name, by in self.evaluations.items()}
        stored[part] = {who: evaluation.to_dict() for who, evaluation in judged.evaluations.items()}
        write_json(self.folder / LEADS_FILE, self.leads | {part: dict(judged.leads)})
        write_json(self.folder / "evaluation.json", stored)
        if judged.baselines is not None:
            self.update(baselines=self.baselines | {part: judged.baselines})

    def no_model(self) -> RunError:
        """Return the error that says why there is no model."""
        state = "was not finished" if self.status == "running" else f"is {self.status}"
        why = f" ({self.info['error']})" if "error" in self.info else ""
        return RunError(
            f"{self.folder} holds no model: its training {state}{why}.", "Go on with it by train … --resume."
        )


def _shares(table: pa.Table, label_names: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the shares of coders, shape (n, k), where the run was given any."""
    columns = [f"{SHARE}{name}" for name in label_names]
    if not set(columns) <= set(table.column_names):
        return None
    return np.column_stack([table[column].to_numpy() for column in columns]).astype(np.float64)


def _migrated(info: dict[str, Any]) -> dict[str, Any]:
    """Return what ``run.json`` says, with the names that settings have today."""
    if "settings" in info:
        # Where nothing is said of pooling, it could not be chosen yet.
        info["settings"]["train"] = {"pooling": "first"} | migrate_settings(info["settings"]["train"])
    if (info.get("results") or {}).get("lengths"):
        info["results"]["lengths"] = migrate_settings(info["results"]["lengths"])
    return info


def now() -> str:
    """Return the time of day, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
