"""A trained model applied to a corpus: the steps of `label`, in order.

In: a model, or where it is, and what is to be labelled. Out: a labelled file. Each step lives in `labelling`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from secondcoder.corpus.corpus import require_column
from secondcoder.environment import versions
from secondcoder.errors import DataError, InterruptedRunError, SecondcoderError, SettingsError, StorageError
from secondcoder.formats.files import find_format
from secondcoder.labelling.chunks import CHUNK_ROWS, Chunk, chunks, rows_of_share
from secondcoder.labelling.columns import AddedColumns, Deciding, Scorer
from secondcoder.labelling.engines import Engine, LocalEngine
from secondcoder.labelling.inputs import Cursor, Inputs, Placed
from secondcoder.labelling.journal import Work, finish, finished
from secondcoder.labelling.outputs import Output, find_output
from secondcoder.labelling.summary import LabelSummary, Tally
from secondcoder.model.classifier import Classifier
from secondcoder.model.loading import load_model
from secondcoder.progress import Progress, default_progress
from secondcoder.runs.run import Run
from secondcoder.settings import LabelSettings
from secondcoder.signatures import takes
from secondcoder.storage import locked

_WITH_LISTS = ("parquet", "jsonl")
MOST_REJECTED = 0.1  # of the records; beyond, the file is something else than what it is read as


@dataclass(frozen=True, kw_only=True)
class FileArguments(LabelSettings):
    """What `label_file` is called with."""

    model: Scorer | Engine = field(kw_only=False)
    source: Path | str | Sequence[Path | str] = field(kw_only=False)
    output: Path = field(kw_only=False)
    progress: Progress | None = None


@takes(FileArguments)
def label_file(given: FileArguments) -> LabelSummary:
    """Label every text of a corpus and return what was done.

    Each row of the input comes out once, in order, with all its columns and behind them ``label``, ``probability`` (of
    that label; of several, of the least sure decision on a class), ``truncated``, ``reason`` (why a row has no label)
    and, if asked for, ``probability_<label>`` for each class. Where a text may have several labels, ``label`` is a list
    in Parquet and JSONL, and their names joined in CSV and TSV. What is no row at all goes to
    ``OUTPUT.rejected.jsonl``. Work that is stopped is kept beside the output, and the same call goes on with it.

    Parameters
    ----------
    model
        Scores texts; or an engine that labels with one.
    source
        The corpus: files (CSV, TSV, JSONL, Parquet; text also packed as gz or zst), folders, patterns.
    output
        The labelled file, in the format of its ending, or a folder for files like the input's. The manifest is written
        beside it.
    progress
        Shows how far the work has come.
    **options
        The others, from `text` on: see `secondcoder.settings.LabelSettings`. What is computed with, and
        where, is settled by the model or engine given: those options are not looked at.

    Raises
    ------
    DataError
        If the input has no such column, has a column that would be added, is not what its ending says, or changes.
    SettingsError
        If the output's ending names no format.
    StorageError
        If the output is already there, was begun with something else, or cannot be written.
    RunError
        If another process works on the same output.
    InterruptedRunError
        If the user stopped it and something is saved.
    """
    settings, progress = LabelSettings.of(given), given.progress or Progress()
    engine = given.model if isinstance(given.model, Engine) else LocalEngine(given.model)
    least = engine.min_confidence if settings.min_confidence == "auto" else settings.min_confidence
    if settings.min_confidence == "auto":
        if least is None:
            raise SettingsError(
                "min_confidence is 'auto', and no confidence was chosen for this model.",
                "Train with --max-error, or give a probability.",
            )
        settings = replace(settings, min_confidence=least)
    sources = [Path(one) for one in ([given.source] if isinstance(given.source, str | Path) else given.source)]
    target = find_output(given.output, "")
    _refuse_in_the_way(sources, target)
    inputs = Inputs(sources, rows=CHUNK_ROWS)
    target = replace(target, ending=target.ending or inputs.ending)
    if not inputs.schema.names:  # nothing but rejected lines, which leave no columns
        _refuse_rejected(inputs, *inputs.count(progress), settings)
    column = _text_column(inputs, engine.text_column if settings.text is None else settings.text)
    deciding = Deciding.of(engine.summary(), lists=find_format(target.ending) in _WITH_LISTS)
    added = AddedColumns(engine.label_names, settings.probabilities, settings.prefix, least, deciding)
    work = Work(target, added.behind(inputs.schema))
    plan = _plan(engine, inputs, settings, column, target)
    with locked(work.folder):
        if target.exists:
            return finished(work, plan)
        work.begin(plan)
        try:
            _count(inputs, work, settings, progress)
            _remember_threads(work, engine)
            end = _label(engine, inputs, added, column, work=work, settings=settings, progress=progress)
            inputs.check_unchanged(contents=True)
            about = {
                "format": 2,
                "id": work.plan["id"],
                **plan,
                "input": {**inputs.describe(), "rows": min(settings.limit or end.rows, end.rows)},
                "threads": work.aside.get("threads", []),
                "versions": versions(),
            }
            return finish(work, about, settings, progress)
        except BaseException as error:
            if work.is_empty:
                work.remove()
            elif isinstance(error, KeyboardInterrupt):
                raise InterruptedRunError(
                    f"Interrupted; {work.done.tally.rows:,} rows are labelled and saved.",
                    "Give the same command again to go on.",
                ) from error
            raise


def _label(
    engine: Engine,
    inputs: Inputs,
    added: AddedColumns,
    column: str,
    *,
    work: Work,
    settings: LabelSettings,
    progress: Progress,
) -> Cursor:
    """Label what is not labelled yet, chunk by chunk; return where the input ends."""
    total = rows_of_share(min(work.aside["rows"], settings.limit or work.aside["rows"]), settings.share)
    if not work.is_empty:
        progress.say(f"Resuming after row {work.done.tally.rows:,} of {total:,}.")
    work.gather_full()
    reading = _Reading(inputs, work.done.end)
    with progress.task("Labelling", total - work.done.tally.rows) as task:
        started = time.monotonic()
        coming = chunks(reading, settings.share, settings.limit)
        for chunk, columns in engine.label(coming, added, text=column, task=task):
            batch, tally = _counted(chunk, columns, added)
            inputs.check_unchanged()
            now = time.monotonic()
            tally.seconds, started = now - started, now
            work.commit(batch, chunk.rejected, chunk.end, tally)
            work.gather_full()
    return reading.end


def _counted(chunk: Chunk, columns: list[pa.Array], added: AddedColumns) -> tuple[pa.RecordBatch, Tally]:
    """Return the rows of a chunk with the added columns, and their counts."""
    rows = chunk.rows()
    labels, _, truncated, reasons = columns[:4]
    tally = Tally(rows=rows.num_rows, rejected=len(chunk.rejected))
    tally.labels.update(added.count(labels))
    tally.reasons.update(reasons.drop_null().to_pylist())
    tally.truncated = pc.sum(truncated, min_count=0).as_py()
    return pa.RecordBatch.from_arrays([*rows.columns, *columns], schema=added.behind(rows.schema)), tally


class _Reading:
    """The pieces of the input, and where they have come to."""

    def __init__(self, inputs: Inputs, start: Cursor) -> None:
        self._inputs, self._start, self.end = inputs, start, start

    def __iter__(self) -> Iterator[Placed]:
        try:
            for placed in self._inputs.pieces(self._start):
                self.end = placed.end
                yield placed
        except SecondcoderError:
            self._inputs.check_unchanged()  # which would explain it
            raise


def _refuse_in_the_way(sources: list[Path], output: Output) -> None:
    for source in sources:
        if source.is_dir() and output.path.resolve().is_relative_to(source.resolve()):
            raise SettingsError(
                f"The output {output.path} would stand in the folder that is labelled, {source}.",
                "Choose another folder for it.",
            )
        if source.exists() and output.path.exists() and output.path.samefile(source):
            raise StorageError(f"The output {output.path} is the input itself.", "Choose another name for the output.")
    if not output.work.exists():
        output.refuse_existing()


def _plan(engine: Engine, inputs: Inputs, settings: LabelSettings, column: str, output: Output) -> dict[str, Any]:
    """Return what must stay the same while an output is made."""
    about = engine.summary()
    return {
        "input": {"sha256": inputs.describe()["sha256"]},
        "model": {
            **{name: value for name, value in about.items() if name != "threads"},
            "sha256": engine.sha256,
            "label_names": list(engine.label_names),
        },
        "settings": {
            "text": column,
            "probabilities": settings.probabilities,
            "prefix": settings.prefix,
            "min_confidence": settings.min_confidence,
            "limit": settings.limit,
            "shard": settings.shard,
            "ending": output.ending,
        },
    }


def _remember_threads(work: Work, engine: Engine) -> None:
    """Keep the numbers of threads that it was computed with: the last bits of probabilities may depend on them."""
    threads = work.aside.get("threads", [])
    if (now := engine.summary().get("threads")) is not None and now not in threads:
        work.remember(threads=[*threads, now])


def _count(inputs: Inputs, work: Work, settings: LabelSettings, progress: Progress) -> None:
    """Find out how many rows there are, once; a file that is something else than its name says is refused here."""
    if "rows" in work.aside:
        return
    rows, rejected = inputs.count(progress)
    if rejected:
        first = _refuse_rejected(inputs, rows, rejected, settings)
        progress.say(
            f"{rejected:,} lines of {inputs.name} could not be parsed and will be left out. The first: {first}."
        )
    work.remember(rows=rows)


def _refuse_rejected(inputs: Inputs, rows: int, rejected: int, settings: LabelSettings) -> str:
    """Return the first line that is no row; raise `DataError` if there are too many of them."""
    first = inputs.first_rejected()
    if rejected and (not rows or (rejected > MOST_REJECTED * (rows + rejected) and not settings.allow_rejects)):
        raise DataError(
            f"{rejected:,} of {rows + rejected:,} lines of {inputs.name} could not be parsed. The first: {first}.",
            "Fix the file." if not rows else "Fix the file, or let them be left out with --allow-rejects.",
        )
    return first


def _text_column(inputs: Inputs, name: str | None) -> str:
    """Return the name of the text column, which is there and can hold texts."""
    columns = tuple(inputs.schema.names)
    found = ", ".join(map(repr, columns))
    if name is None:
        raise DataError(
            f"The model does not know the column with the texts; the columns of {inputs.name} are: {found}.",
            "Name it with --text.",
        )
    require_column(name, columns)
    kind = inputs.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)):
        raise DataError(
            f"Column {name!r} of {inputs.name} holds {kind}, not texts.",
            f"Name the column with the texts with --text; the columns are: {found}.",
        )
    return name


@dataclass(frozen=True, kw_only=True)
class LabelArguments(LabelSettings):
    """What `label` is called with."""

    model: Classifier | Run | Path | str = field(kw_only=False)
    source: Path | str | Sequence[Path | str] = field(kw_only=False)
    output: Path | str
    progress: Progress | None = None


@takes(LabelArguments)
def label(given: LabelArguments) -> LabelSummary:
    """Label every text of a corpus and return what was done.

    What was begun and not finished, whatever stopped it, the same call goes on with.

    Parameters
    ----------
    model
        A model, a run, or the folder of either.
    source
        The corpus: files (CSV, TSV, JSONL, Parquet), folders, patterns; one or several.
    output
        The labelled file; its ending names the format. Without an ending, a folder of files like the input's.
    progress
        Where to show how far it has come; a bar in notebooks, nothing elsewhere, unless given.
    **options
        The others, from `text` on: see `secondcoder.settings.LabelSettings`. From `device` on, only where a folder or
        a run is named.

    Raises
    ------
    DataError
        If the input has no such column, has a column that would be added, is not what its ending says, or changes.
    ModelError
        If the folder holds no whole model.
    StorageError
        If the output is already there, was begun with something else, or cannot be written.
    RunError
        If another process works on the same output.
    InterruptedRunError
        If the user stopped it and something is saved.
    """
    settings, progress = LabelSettings.of(given), given.progress or default_progress()
    with open_engine(_loader(given.model, settings), settings, progress) as opened:
        return label_file(opened, given.source, Path(given.output), **settings.to_dict(), progress=progress)


def _loader(model: Classifier | Run | Path | str, told: LabelSettings) -> Callable[[], Classifier]:
    """Return what gets the model; with Ray, in another process."""
    on_ray = told.engine == "ray"
    if not isinstance(model, Run | Classifier):
        folder = Path(model).absolute() if on_ray else model
        return partial(load_model, folder, device=told.device, precision=told.precision, backend=told.backend)
    if (told.device, told.precision, told.backend) != ("auto",) * 3 or (on_ray and isinstance(model, Classifier)):
        raise SettingsError(
            "device, precision, backend or engine 'ray' was named for a model that has been loaded already.",
            "Name the run's folder instead, or load the model with them: secondcoder.load(folder, device=..., ...).",
        )
    if isinstance(model, Run):
        return partial(load_model, model.model_folder.absolute()) if on_ray else lambda: model.model
    return lambda: model


@contextlib.contextmanager
def open_engine(load: Callable[[], Scorer], settings: LabelSettings, progress: Progress) -> Iterator[Engine]:
    """Yield the engine that the settings name.

    Parameters
    ----------
    load
        Returns the model, in this process or in others.
    settings
        ``engine``, and what concerns it.
    progress
        Told what works.

    Raises
    ------
    SecondcoderError
        If the model cannot be loaded; for Ray see `secondcoder.labelling.ray_engine.ray_engine`.
    """
    if settings.engine == "local":
        yield LocalEngine(load())
        return
    from secondcoder.labelling.ray_engine import ray_engine

    with ray_engine(load, settings, progress) as engine:
        yield engine
