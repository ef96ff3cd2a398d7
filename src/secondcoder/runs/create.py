"""Writing a new run down: its folder from the first file to the last.

In: a split and settings, later the results. Out: the files that `secondcoder.runs.run.Run` reads.
"""

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.environment import machine, versions
from secondcoder.errors import InterruptedRunError, RunError, StorageError
from secondcoder.runs.folder import CHECKPOINTS, RUN_FILE, RUN_FORMAT, SHARE, now
from secondcoder.runs.run import Run
from secondcoder.settings import TrainSettings
from secondcoder.splits.split import RULES, Split, Unused
from secondcoder.storage import LOCK_FILES, TEMPORARY_MARK, atomic_path, storage_errors, write_json

_DATA_THAT_MATTERS = ("sha256", "columns", "label_names", "positive", "parts", "unused", "split_by")
_OF_TUNING = ("tuning", "tuning.json", CHECKPOINTS)  # of trials, the best of which becomes a run


def require_ours(folder: Path) -> None:
    """Raise `RunError` if the folder holds something, and no run; asked before anything of ours is put there."""
    ours = not folder.is_dir() or (folder / RUN_FILE).is_file()
    if not ours and not all(_is_from_a_start(path.name) for path in folder.iterdir()):
        raise RunError(f"{folder} already holds something else.", "Choose another --output.")


def _is_from_a_start(name: str) -> bool:
    """Return whether a training that was killed before its first file was whole leaves such a name behind."""
    return name in (*LOCK_FILES, *_OF_TUNING) or (name.startswith(".") and TEMPORARY_MARK in name)


def start_run(folder: Path, *, split: Split, settings: TrainSettings, seed: int, resume: bool = False) -> Run:
    """Return a new run, with the data and the split written down; or the one in the folder, if it is to be resumed.

    Raises
    ------
    RunError
        If something is in the folder that would be lost, or a run is to be resumed with other data or settings.
    """
    described = _describe_run(split, settings, seed)
    if resume and (folder / RUN_FILE).is_file():
        run = Run(folder)
        _require_same(run, described)
        if run.status == "complete":
            finish_run(run)  # it may have been killed while it cleared away
            return run
        for name in ("error", "finished"):
            run.info.pop(name, None)
        if settings.population is not None:
            run.describe(settings.population)
        run.update(status="running", resumed=[*run.info.get("resumed", []), now()])
    else:
        _require_free(folder)
        write_json(
            folder / RUN_FILE,
            {
                "format": RUN_FORMAT,
                "status": "running",
                "started": now(),
                **described,
                "split_rules": RULES,
                "versions": versions(),
                "machine": machine(),
            },
        )
        run = Run(folder)
    _write_data(folder, split)
    return run


def as_begun(folder: Path, split: Split) -> Split:
    """Return the split with the parts of the run in the folder, if that divided the same data by earlier rules.

    So a run that an earlier version began goes on with the parts that it has. Other data or options are refused later.
    """
    if not (folder / RUN_FILE).is_file():
        return split
    run = Run(folder)
    asked = json.loads(json.dumps(split.settings.to_dict() | {"seed": split.seed}))
    same = (run.info["data"]["sha256"], run.info["settings"]["split"]) == (split.train.source.sha256, asked)
    if run.info.get("split_rules", 1) == RULES or not same:
        return split
    stored = pq.read_table(folder / "split.parquet").to_pylist()
    train, dev, test = (
        replace(run.part(part), source=split.train.source, findings=split.train.findings) for part in PARTS
    )
    return replace(
        split,
        train=train,
        dev=dev,
        test=test,
        by=run.info["data"]["split_by"],
        unused=tuple(Unused(row["id"], row["reason"]) for row in stored if row["part"] is None),
    )


def _describe_run(split: Split, settings: TrainSettings, seed: int) -> dict[str, Any]:
    """Return what a run is about, as plain JSON values."""
    described = {
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
            "label_names": list(split.train.label_names),
            "positive": split.train.positive,
            "task": split.train.task,
            "separator": split.train.separator,
            "parts": {part: _describe(getattr(split, part)) for part in PARTS},
            "unused": dict(Counter(unused.reason for unused in split.unused)),
            "split_by": split.by,
            "findings": [finding.to_dict() for finding in (*split.train.findings, *split.findings)],
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))  # tuples become lists, as they are when read back
    return plain


def _require_same(run: Run, described: dict[str, Any]) -> None:
    """Raise `RunError` if a run was begun with other data or settings than it is to be resumed with."""
    before, now_ = (_what_must_stay(info) for info in (run.info, described))
    # An option that was given only then, as an order of the classes, is missed now.
    changed = [name for name in dict.fromkeys([*now_, *before]) if before.get(name) != now_.get(name)]
    if "data" in changed:
        raise RunError(
            f"{run.folder} was begun with other data: {run.info['data']['source']} has changed, or is another file.",
            "Resume with the file as it was, or train into another --output.",
        )
    if changed:
        said = ", ".join(f"{name.split()[-1]} {before.get(name)!r}, now {now_.get(name)!r}" for name in changed)
        raise RunError(
            f"{run.folder} was begun with other options: {said}.",
            "Resume with the same ones, or train into another --output.",
        )


def _what_must_stay(info: dict[str, Any]) -> dict[str, Any]:
    """Return what a run is begun and resumed with, by step and option."""
    # Where recipes were compared, the settings are those of the best one.
    asked = info["settings"]["train"] | info.get("recipes", {}).get("asked", {})
    steps = {"train": TrainSettings.identity_of(asked)} | {
        step: by for step, by in info["settings"].items() if step != "train"
    }
    return {
        "seed": info["seed"],
        "data": {name: info["data"][name] for name in _DATA_THAT_MATTERS},
        **{f"{step} {name}": value for step, by in steps.items() for name, value in by.items()},
    }


def _write_data(folder: Path, split: Split) -> None:
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
    shares = {}
    if split.train.shares is not None:
        of_all = np.concatenate([rows.shares for _, rows in parts if rows.shares is not None])
        shares = {f"{SHARE}{name}": of_all[:, i] for i, name in enumerate(split.train.label_names)}
    _write_rows(folder / "data.parquet", ("id", "part", "text", "label", "group"), rows_of_all, shares)


@contextlib.contextmanager
def recorded(run: Run) -> Iterator[None]:
    """Write down how the block ended, if not well."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | InterruptedRunError)
        if run.status == "running":
            # Where the disk is full even this may fail; what happened first is what must be told.
            with contextlib.suppress(StorageError):
                run.update(
                    status="interrupted" if stopped else "failed",
                    error=f"{type(error).__name__}: {error}",
                    finished=now(),
                )
        raise


def finish_run(run: Run) -> None:
    """Mark the run as done, and clear away what was only needed on the way."""
    if run.status != "complete":
        run.update(status="complete")
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def since(started: str) -> float:
    """Return the seconds since a time of day that `secondcoder.runs.folder.now` gave."""
    return round((datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds(), 1)


def _require_free(folder: Path) -> None:
    if not (folder / RUN_FILE).is_file():
        return
    run = Run(folder)
    if run.status == "complete":
        raise RunError(
            f"{folder} already holds a finished run.", "Choose another --output, or remove the folder first."
        )
    if any(run.checkpoints.rglob("checkpoint-*")):
        raise RunError(
            f"{folder} holds a training that did not come to its end.",
            "Go on with it by --resume, choose another --output, or remove the folder first.",
        )
    for name in ("history.jsonl", "predictions.parquet", "evaluation.json", "report.html"):
        (folder / name).unlink(missing_ok=True)  # left by a training that did not come to a first checkpoint
    for name in ("model", "checkpoints"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _describe(rows: Corpus) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "label_counts": rows.label_counts(),
        "groups": None if rows.units is None else len(set(rows.units)),
    }


def _write_rows(
    path: Path,
    names: Sequence[str],
    rows: Sequence[tuple[str | None, ...]],
    numbers: Mapping[str, NDArray[np.float64]] | None = None,
) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    texts = {name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}
    table = pa.table({**texts, **(numbers or {})})
    with atomic_path(path) as temporary, storage_errors(path):
        pq.write_table(table, temporary, compression="zstd")
