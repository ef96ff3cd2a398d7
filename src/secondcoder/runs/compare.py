"""Comparing two runs on the same rows.

In: two run folders. Out: `Comparison`, with what makes it less than fair; or an error that says what differs, since
figures on different rows cannot be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import RunError
from secondcoder.evaluation.comparison import Comparison, Pair
from secondcoder.evaluation.tasks import gold_of, task_rules
from secondcoder.runs.folder import RunFolder
from secondcoder.settings import TrainSettings, check_choice

ComparedPart = Literal["test", "dev", "folds"]
_SHOWN = 3  # ids in an error


def compare(
    first: RunFolder | Path | str, second: RunFolder | Path | str, *, part: ComparedPart = "test"
) -> Comparison:
    """Return how the figures of two runs differ on the same rows, second minus first, and how sure that is.

    Parameters
    ----------
    first, second
        Runs, or their folders. Both must have been judged on the same texts with the same labels.
    part
        ``"test"``, once both have it opened; ``"dev"``, which is optimistic, as it has chosen; or ``"folds"``, the
        out-of-fold predictions.

    Raises
    ------
    RunError
        If a folder is no run, the part has no predictions, or the rows or classes of the two differ.
    SettingsError
        If there is no such part.
    """
    check_choice("part", part, get_args(ComparedPart))
    runs = tuple(run if isinstance(run, RunFolder) else RunFolder(run) for run in (first, second))
    if runs[0].folder.resolve() == runs[1].folder.resolve():
        raise RunError(f"{runs[0].folder} was named twice.", "Name two runs.")
    one, two = (_judged(run, part) for run in runs)
    _require_same(one, two)
    notes = [] if part != "dev" else ["Dev has chosen the epochs of both: its figures are optimistic. Compare on test."]
    if one.set_aside:
        notes.append(f"{one.set_aside:,} more rows of dev chose the confidence for --max-error and were not predicted.")
    notes += _notes(*runs)
    positives = {run.info["data"]["positive"] for run in runs}
    if len(positives) > 1:
        notes.append("The runs have other positive classes; the main figure is macro-f1 instead.")
    groups = _groups(one, two, notes)
    orders = [tuple(run.info["data"]["label_names"]) for run in runs]
    rules = task_rules(one.rows.task)
    if one.rows.task != two.rows.task or orders[0] != orders[1]:
        rules = rules.without_order()
    pair = Pair(
        gold=gold_of(one.rows, one.label_names),
        probabilities=(one.probabilities, two.probabilities),
        given=(one.given, two.given),
        names=one.label_names,
        positive=positives.pop() if len(positives) == 1 else None,
        groups=groups,
        low_to_high=orders[0],
    )
    found = rules.compare(pair)
    names = str(runs[0].folder), str(runs[1].folder)
    return replace(found, names=names, part=part, notes=(*found.notes, *notes))


@dataclass(frozen=True, eq=False)
class _Judged:
    """The rows of a part in the order of their ids, with what a run says about them."""

    run: RunFolder
    rows: Corpus
    label_names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    given: NDArray[Any]  # which the most probable class need not be, where a threshold decided
    set_aside: int  # rows of dev that --max-error kept from being predicted


def _judged(run: RunFolder, part: ComparedPart) -> _Judged:
    label_names = tuple(sorted(run.info["data"]["label_names"]))  # one order for both
    columns = [f"probability_{name}" for name in label_names]
    path = run.folder / ("folds.parquet" if part == "folds" else "predictions.parquet")
    table = pq.read_table(path) if path.is_file() else None
    if table is not None and part != "folds":
        table = table.filter(np.array([p == part for p in table["part"].to_pylist()], dtype=bool))
    if table is None or not table.num_rows:
        raise _no_predictions(run, part)
    table = table.sort_by("id")
    rows = run.all_rows() if part == "folds" else run.part(part)
    place = {id_: row for row, id_ in enumerate(rows.ids)}
    ids = table["id"].to_pylist()
    missing = place.keys() - set(ids)
    may_miss = part == "dev" and run.info["settings"]["train"].get("max_error") is not None
    if not set(table.column_names).issuperset(columns) or not place.keys() >= set(ids) or (missing and not may_miss):
        raise RunError(
            f"{path} and data.parquet beside it do not fit together: one of them is not of this run.",
            "Put the files back, or judge the run again.",
        )
    rows = rows.take([place[id_] for id_ in ids])
    return _Judged(
        run=run,
        rows=rows,
        label_names=label_names,
        probabilities=np.column_stack([table[column].to_numpy() for column in columns]).astype(np.float64),
        given=gold_of(replace(rows, labels=tuple(table["predicted"].to_pylist())), label_names),
        set_aside=len(missing),
    )


def _no_predictions(run: RunFolder, part: ComparedPart) -> RunError:
    if part == "test":
        return RunError(
            f"The test part of {run.folder} has not been opened.",
            f"Open it by secondcoder evaluate {run.folder}, or compare by --part dev, which is optimistic.",
        )
    if part == "dev":
        return RunError(f"{run.folder} has no predictions for dev: its training was not finished.", "Finish it first.")
    return RunError(
        f"{run.folder} has no out-of-fold predictions.",
        f"Make them by secondcoder evaluate {run.folder} --folds 5, or compare on test.",
    )


def _require_same(one: _Judged, two: _Judged) -> None:
    """Raise `RunError` unless both judged the same rows: ids, texts, labels, and names of labels."""
    both = f"{one.run.folder} and {two.run.folder}"
    cure = (
        "Train both on the same file with the same split options and --seed, so that they are judged on the same rows."
    )
    if task_rules(one.rows.task).a_text_has != task_rules(two.rows.task).a_text_has:
        raise RunError(
            f"In one of {both} a text has one label, in the other it may have several.", "Compare runs of one task."
        )
    if one.label_names != two.label_names:
        raise RunError(
            f"{both} know different labels: {list(one.label_names)} and {list(two.label_names)}.",
            "Only runs with the same labels can be compared; --label-names gives codes the same names.",
        )
    if one.rows.ids != two.rows.ids:
        if one.set_aside or two.set_aside:
            both += f" (--max-error set {one.set_aside:,} and {two.set_aside:,} rows of dev aside, by --seed)"
            cure = "Compare on test; or train both with --max-error, the same --seed and the same split options."
        only = [sorted(set(a.rows.ids) - set(b.rows.ids)) for a, b in ((one, two), (two, one))]
        raise RunError(
            f"{both} were judged on different rows: {len(only[0]):,} of {len(one.rows.ids):,} are in the first only"
            f"{_such_as(only[0])}, {len(only[1]):,} of {len(two.rows.ids):,} in the second only{_such_as(only[1])}.",
            cure,
        )
    for what, a, b in (("texts", one.rows.texts, two.rows.texts), ("labels", one.rows.label_sets, two.rows.label_sets)):
        differing = [id_ for id_, x, y in zip(one.rows.ids, a, b, strict=True) if x != y]
        if differing:
            raise RunError(
                f"{both} were judged on the same ids with other {what}: {len(differing):,} differ"
                f"{_such_as(differing)}.",
                cure,
            )


def _such_as(ids: Sequence[str]) -> str:
    return f" (such as {', '.join(map(repr, ids[:_SHOWN]))})" if ids else ""


def _groups(one: _Judged, two: _Judged, notes: list[str]) -> tuple[str, ...] | None:
    """Return the groups to go by; where the runs have other ones, the coarser, as that claims less."""
    known = [judged for judged in (one, two) if judged.rows.groups is not None]
    if not known:
        return None
    chosen = min(known, key=lambda judged: len(set(judged.rows.groups or ())))
    if one.rows.groups != two.rows.groups:
        notes.append(f"The runs have different groups; those of {chosen.run.folder} are taken.")
    return chosen.rows.groups


def _notes(first: RunFolder, second: RunFolder) -> list[str]:
    """Return what else differs between the runs, and what the interval does not hold."""
    notes = []
    for part in ("train", "dev"):
        one, two = (
            set(zip(rows.ids, rows.texts, rows.label_sets, strict=True)) for rows in _parts(first, second, part)
        )
        if one != two:
            notes.append(
                f"Their {part} rows differ ({len(one):,} and {len(two):,}, {len(one & two):,} in common): what differs "
                "between the figures comes from the data as well as from the settings."
            )
    openings = max(run.info.get("test_openings", 0) for run in (first, second))
    if openings > 2:  # two runs need two
        notes.append(f"The test part was opened {openings} times; what was chosen by looking at it is optimistic.")
    settings = [_settings(run) for run in (first, second)]
    differing = [
        f"{name} {settings[0].get(name)!r} and {settings[1].get(name)!r}"
        for name in dict.fromkeys([*settings[0], *settings[1]])
        if settings[0].get(name) != settings[1].get(name)
    ]
    notes.append(f"Settings that differ: {'; '.join(differing)}." if differing else "No setting differs but the seed.")
    notes.append(
        f"Seeds: {_seeds(first)} and {_seeds(second)}. The intervals hold the chance of drawing texts to judge on, not "
        "that of training again with another seed."
    )
    return notes


def _parts(first: RunFolder, second: RunFolder, part: Literal["train", "dev"]) -> Any:
    return first.part(part), second.part(part)


def _settings(run: RunFolder) -> dict[str, Any]:
    """Return the settings of training, as resolved, that may change a figure."""
    resolved = run.info.get("results") or {}
    return TrainSettings.identity_of(run.info["settings"]["train"] | {"learning_rate": resolved.get("learning_rate")})


def _seeds(run: RunFolder) -> str:
    seeds = run.info["settings"]["train"].get("seeds") or 1
    best = (run.info.get("results") or {}).get("best_seed", run.info["seed"])
    return f"{best}" if seeds == 1 else f"{best}, the best of {seeds} on dev"
