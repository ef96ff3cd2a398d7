"""Writing a new run down: its folder from the first file to the last.

In: a split and settings, later the results. Out: the files that `secondcoder.runs.Run` reads.
"""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.corpus.splits import Split
from secondcoder.environment import machine, versions
from secondcoder.errors import RunError
from secondcoder.runs import RUN_FILE, RUN_FORMAT, Run, now
from secondcoder.settings import TrainSettings
from secondcoder.storage import LOCK_FILE, atomic_path, read_json, storage_errors, write_json


def start_run(folder: Path, *, split: Split, settings: TrainSettings, seed: int) -> Run:
    """Return a new run, with the data and the split written down.

    Raises
    ------
    RunError
        If something is in the folder that would be lost.
    """
    _require_free(folder)
    label_names = split.train.label_names
    write_json(
        folder / RUN_FILE,
        {
            "format": RUN_FORMAT,
            "status": "running",
            "started": now(),
            "seed": seed,
            "settings": {
                "read": split.train.source.options,
                "split": split.settings.to_dict() | {"seed": split.seed},
                "train": settings.to_dict(),
            },
            "data": {
                "source": split.train.source.name,
                "sha256": split.train.source.sha256,
                "columns": split.train.source.columns,
                "label_names": list(label_names),
                "positive": split.train.positive,
                "parts": {part: _describe(getattr(split, part)) for part in PARTS},
                "unused": dict(Counter(unused.reason for unused in split.unused)),
                "split_by": split.by,
                "findings": [finding.to_dict() for finding in (*split.train.findings, *split.findings)],
            },
            "versions": versions(),
            "machine": machine(),
        },
    )
    parts = [(part, getattr(split, part)) for part in PARTS]
    ids: list[tuple[str | None, ...]] = [(id_, part, None) for part, rows in parts for id_ in rows.ids]
    ids += [(unused.id, None, unused.reason) for unused in split.unused]
    _write_rows(folder / "split.parquet", ("id", "part", "reason"), ids)
    rows_of_all = [
        (id_, part, text, label, group)
        for part, rows in parts
        for id_, text, label, group in zip(
            rows.ids, rows.texts, rows.labels, rows.groups or [None] * len(rows), strict=True
        )
    ]
    _write_rows(folder / "data.parquet", ("id", "part", "text", "label", "group"), rows_of_all)
    return Run(folder)


@contextlib.contextmanager
def recorded(run: Run) -> Iterator[None]:
    """Write down a failure inside the block as one."""
    try:
        yield
    except BaseException as error:
        if run.status == "running":
            run.update(status="failed", error=f"{type(error).__name__}: {error}", finished=now())
        raise


def finish_run(run: Run, *, interrupted: bool, results: dict[str, Any]) -> None:
    """Mark the run as done, or as interrupted, and clear away what was only needed on the way."""
    started = datetime.fromisoformat(run.info["started"])
    finished = datetime.now(UTC)
    run.update(
        status="interrupted" if interrupted else "complete",
        finished=finished.isoformat(timespec="seconds"),
        seconds=round((finished - started).total_seconds(), 1),
        results=results,
    )
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def _require_free(folder: Path) -> None:
    if all(path.name == LOCK_FILE for path in folder.iterdir()):
        return
    if not (folder / RUN_FILE).is_file():
        raise RunError(f"{folder} already holds something else.", "Choose another --output.")
    if read_json(folder / RUN_FILE).get("results"):
        raise RunError(
            f"{folder} already holds a finished run.", "Choose another --output, or remove the folder first."
        )
    for name in ("history.jsonl", "predictions.parquet", "evaluation.json", "report.html"):
        (folder / name).unlink(missing_ok=True)  # left by a training that did not come to its end
    for name in ("model", "checkpoints"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _describe(rows: Corpus) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "label_counts": rows.label_counts(),
        "groups": None if rows.groups is None else len(set(rows.groups)),
    }


def _write_rows(path: Path, names: Sequence[str], rows: Sequence[tuple[str | None, ...]]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    table = pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)})
    with atomic_path(path) as temporary, storage_errors(path):
        pq.write_table(table, temporary, compression="zstd")
