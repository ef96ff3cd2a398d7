"""Run: one training with everything that it leaves on disk.

In: what the steps of training and evaluation produce. Out: the run folder, and the same things back from it. The
hand-labelled rows are kept in the folder (``data.parquet``), so that the test part can be opened, and the report made
again, wherever the file that they came from has gone since.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus, Part, Source
from secondcoder.corpus.findings import Finding
from secondcoder.errors import RunError
from secondcoder.evaluation.evaluate import Evaluation, evaluate
from secondcoder.model.loading import load_model
from secondcoder.model.model import Model
from secondcoder.progress import Progress, default_progress
from secondcoder.reporting.content import LengthContent, PartContent, ReportContent
from secondcoder.reporting.page import render
from secondcoder.storage import (
    append_json_line,
    atomic_path,
    locked,
    read_json,
    read_json_lines,
    sha256_strings,
    storage_errors,
    write_json,
    write_text,
)
from secondcoder.training.baselines import Baseline, fit_baselines

RUN_FILE = "run.json"
TEST_USE_FILE = "test-use.jsonl"
CHECKPOINTS = "checkpoints"
TOKENS = ".tokens"
"""Folder beside the runs that keeps token ids, so that texts are tokenised once for all runs on them."""
MODEL_NAME = "model"
"""Key of the trained model's figures, beside those of the baselines."""
RUN_FORMAT = 1


class Run:
    """A run folder.

    Parameters
    ----------
    folder
        Written by `secondcoder.workflow.train`.

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
        self.info: dict[str, Any] = read_json(self.folder / RUN_FILE)
        if self.info.get("format") != RUN_FORMAT:
            raise RunError(f"{self.folder} was written by another version of secondcoder.", "Train again.")

    @property
    def status(self) -> str:
        """``"running"``, ``"complete"``, ``"interrupted"`` or ``"failed"``."""
        return str(self.info["status"])

    @property
    def model_folder(self) -> Path:
        """Where the model is."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """What a training can go on from, until it is done."""
        return self.folder / CHECKPOINTS

    @cached_property
    def model(self) -> Model:
        """The trained model."""
        if not self.model_folder.exists():
            raise self._no_model()
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
            columns=table,
            source=Source(data["source"], data["sha256"], data["columns"]),
        )

    def update(self, **values: Any) -> None:
        """Store more about the run."""
        self.info |= values
        write_json(self.folder / RUN_FILE, self.info)

    def append_history(self, entry: dict[str, Any]) -> None:
        """Store an evaluation on dev."""
        append_json_line(self.folder / "history.jsonl", entry)

    def forget_history(self) -> None:
        """Start the history anew: a training that goes on tells again what its checkpoint remembers."""
        with storage_errors(self.folder):
            (self.folder / "history.jsonl").unlink(missing_ok=True)

    def store_model(self, model: Model) -> None:
        """Write the model folder and forget a model that was loaded before."""
        model.save(self.model_folder)
        self.__dict__.pop("model", None)

    def store_evaluation(
        self, part: Part, rows: Corpus, probabilities: NDArray[np.float64], *, baselines: Mapping[str, Baseline]
    ) -> None:
        """Judge a part and write its predictions and figures down; those of other parts stay.

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
        """
        given = {MODEL_NAME: probabilities}
        given |= {name: baseline.predict_proba(rows.texts) for name, baseline in baselines.items()}
        stored = {name: {who: e.to_dict() for who, e in by.items()} for name, by in self.evaluations.items()}
        stored[part] = {who: judge(rows, found).to_dict() for who, found in given.items()}
        table = _predictions(part, rows, probabilities)
        path = self.folder / "predictions.parquet"
        if path.exists():
            table = pa.concat_tables([pq.read_table(path, filters=[("part", "!=", part)]), table])
        with atomic_path(path) as temporary, storage_errors(path):
            pq.write_table(table, temporary, compression="zstd")
        write_json(self.folder / "evaluation.json", stored)

    def evaluate(self, *, progress: Progress | None = None) -> Evaluation:
        """Return the figures on the test part, which is thereby opened, and write them down with the report.

        Each opening is written into ``test-use.jsonl`` beside the run first. That book counts by the rows themselves,
        so that another run that is judged on the same rows counts as another look at them.

        Raises
        ------
        RunError
            If the run holds no model.
        """
        if not self.info.get("results"):
            raise self._no_model()
        rows, model = self.part("test"), self.model
        with locked(self.folder):
            key = sha256_strings(*_sorted_columns(rows))
            book = self.folder.resolve().parent / TEST_USE_FILE
            append_json_line(
                book, {"test": key, "rows": len(rows), "run": self.folder.name, "model": model.sha256, "time": now()}
            )
            # The run's own count goes on where the book was lost or the run was moved away from it.
            counted = sum(line["test"] == key for line in read_json_lines(book))
            openings = max(counted, self.info.get("test_openings", 0) + 1)
            with (progress or default_progress()).task("test", len(rows)) as task:
                probabilities = model.score(rows.texts, progress=task).probabilities
            self.store_evaluation("test", rows, probabilities, baselines=fit_baselines(self.part("train")))
            self.update(test_openings=openings)
            self.write_report()
        return self.evaluations["test"][MODEL_NAME]

    def write_report(self) -> Path:
        """Make the report from what the folder holds; return its path."""
        path = self.folder / "report.html"
        write_text(path, render(self.report_content()))
        return path

    def report_content(self) -> ReportContent:
        """Return what the report shows, from what the folder holds.

        Raises
        ------
        RunError
            If the run holds no model, and so nothing to report.
        """
        if not self.info.get("results"):
            raise self._no_model()
        data, results = self.info["data"], self.info["results"]
        columns = data["columns"]
        evaluations = {part: {who: e.to_dict() for who, e in by.items()} for part, by in self.evaluations.items()}
        return ReportContent(
            run=str(self.folder),
            text_column=columns.get("text", "text"),
            label_column=columns.get("label", "label"),
            group_column=columns.get("group"),
            source=data["source"],
            source_sha256=data["sha256"],
            label_names=data["label_names"],
            positive=data["positive"],
            model=results["base_model"],
            model_description=f"{results['model_type']}, {results['n_parameters'] / 1e6:,.1f} million parameters",
            metric=results["metric"],
            best_epoch=results["best_epoch"],
            best_seed=results["best_seed"],
            split_by=data["split_by"],
            parts={part: PartContent(**content) for part, content in data["parts"].items()},
            lengths=LengthContent(**results["lengths"]),
            unused=data["unused"],
            findings=[Finding(**finding) for finding in (*data["findings"], *results["findings"])],
            history=self.history,
            evaluations=evaluations,
            test_openings=self.info.get("test_openings", 0),
            seed=self.info["seed"],
            settings=self._shown_settings(),
            versions=self.info["versions"],
            machine=self.info["machine"] | {"device": results["device"], "threads": results["threads"]},
            started=self.info["started"],
            seconds=self.info["seconds"],
        )

    def _shown_settings(self) -> dict[str, Any]:
        """Return the settings as they were resolved, in the order of the steps."""
        settings, results = self.info["settings"], self.info["results"]
        resolved = ("learning_rate", "max_length", "precision", "metric", "backend", "revision")
        return {
            **{name: value for name, value in settings["read"].items() if value is not None},
            **{("split_seed" if name == "seed" else name): value for name, value in settings["split"].items()},
            **settings["train"],
            **{name: results[name] for name in resolved if results[name] is not None},
        }

    def _no_model(self) -> RunError:
        state = "was not finished" if self.status == "running" else f"is {self.status}"
        why = f" ({self.info['error']})" if "error" in self.info else ""
        return RunError(
            f"{self.folder} holds no model: its training {state}{why}.", "Go on with it by train … --resume."
        )

    def _repr_html_(self) -> str:
        figures = "".join(f"<h4>{part}</h4>{by[MODEL_NAME]._repr_html_()}" for part, by in self.evaluations.items())
        return f"<p><b>Run</b> {self.folder} ({self.status})</p>{figures}"


def judge(rows: Corpus, probabilities: NDArray[np.float64]) -> Evaluation:
    """Return the figures of probabilities, shape (n, k), against the labels of rows that all have one."""
    labels = [label for label in rows.labels if label is not None]
    return evaluate(labels, probabilities, rows.label_names, positive=rows.positive)


def _predictions(part: Part, rows: Corpus, probabilities: NDArray[np.float64]) -> pa.Table:
    predicted = [rows.label_names[i] for i in probabilities.argmax(axis=1)]
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "part": pa.array([part] * len(rows), pa.string()),
        "label": pa.array(rows.labels, pa.string()),
        "predicted": pa.array(predicted, pa.string()),
    }
    for i, name in enumerate(rows.label_names):
        columns[f"probability_{name}"] = pa.array(probabilities[:, i], pa.float64())
    return pa.table(columns)


def _sorted_columns(rows: Corpus) -> list[list[str | None]]:
    ordered = sorted(zip(rows.ids, rows.texts, rows.labels, strict=True))
    return [list(column) for column in zip(*ordered, strict=True)]


def now() -> str:
    """Return the time of day, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
