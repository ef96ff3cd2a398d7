"""Chunks of a corpus in, labelled chunks out, and the labelled file that is there only when it is complete.

In: a model and a file. Out: a file with every row of the input once, in order, its columns as they were and the added
columns behind them; a manifest beside it; a `LabelSummary`. Memory holds one window of rows, however long the file.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from secondcoder.corpus.corpus import require_column
from secondcoder.corpus.files import Chunks, open_chunks
from secondcoder.environment import versions
from secondcoder.errors import DataError, StorageError
from secondcoder.labelling.columns import AddedColumns, Scorer
from secondcoder.labelling.summary import LabelSummary, Tally, manifest_path
from secondcoder.labelling.writing import json_values, open_writer, output_format
from secondcoder.progress import Progress, Task
from secondcoder.storage import sha256_file, write_json

WINDOW_ROWS = 4096  # scored at once: sorting by length needs many, memory wants few
_WINDOW_BYTES = 1 << 26


def label_file(
    model: Scorer,
    source: Path,
    output: Path,
    *,
    text: str | None = None,
    probabilities: bool = False,
    prefix: str = "",
    progress: Progress | None = None,
) -> LabelSummary:
    """Label every text of a file and return what was done.

    Each row of the input comes out once, in order, with all its columns and behind them ``label``, ``probability`` (of
    that label), ``truncated``, ``reason`` (why a row has no label) and, if asked for, ``probability_<label>`` for each
    class. All that can be wrong with the files is found before the first text is scored; work that fails or is stopped
    leaves no output.

    Parameters
    ----------
    model
        Scores texts.
    source
        The corpus: CSV, TSV, JSONL or Parquet.
    output
        The labelled file, in the format of its ending; the manifest is written beside it.
    text
        Column with the texts; None is the column that the model was trained on.
    probabilities
        Whether to write the probability of each class.
    prefix
        Put before the names of the added columns.
    progress
        Shows how far the work has come.

    Raises
    ------
    DataError
        If the input is faulty, has no such column, or has a column that would be added.
    SettingsError
        If the output's ending names no format.
    StorageError
        If the output is already there or cannot be written.
    """
    source, output, progress = Path(source), Path(output), progress or Progress()
    output_format(output)
    _refuse_existing(source, output)
    chunks = open_chunks(source, rows=WINDOW_ROWS)
    column = _text_column(chunks, model.text_column if text is None else text)
    added = AddedColumns(model.label_names, probabilities, prefix)
    schema = added.behind(chunks.schema)
    sha256 = sha256_file(source)
    tally = Tally()
    with open_writer(output, schema) as writer:
        total = _count_rows(chunks, progress) if chunks.total is None else chunks.total
        started = time.monotonic()
        with progress.task("Labelling", total) as task:
            for batch in label_chunks(model, chunks, added, text=column, tally=tally, task=task):
                writer.write(batch)
    summary = LabelSummary(
        output=output,
        manifest=manifest_path(output),
        rows=tally.rows,
        labelled=tally.labels.total(),
        unlabelled=dict(tally.reasons),
        truncated=tally.truncated,
        label_counts={name: tally.labels[name] for name in model.label_names},
        seconds=time.monotonic() - started,
        findings=writer.findings(),
    )
    manifest = {
        "format": 1,
        "input": {"name": source.as_posix(), "sha256": sha256, "rows": tally.rows},
        "model": {
            "sha256": model.sha256,
            "label_names": list(model.label_names),
            "backend": "torch",
            "precision": model.precision,
        },
        "settings": {"text": column, "probabilities": probabilities, "prefix": prefix},
        "versions": versions(),
        "summary": summary.to_dict(),
    }
    write_json(summary.manifest, manifest)
    return summary


def label_chunks(
    model: Scorer,
    chunks: Iterable[pa.RecordBatch],
    added: AddedColumns,
    *,
    text: str,
    tally: Tally,
    task: Task,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the chunks with the added columns, in windows, reading no further ahead than one.

    Parameters
    ----------
    model
        Scores texts.
    chunks
        Batches of rows.
    added
        The columns to add.
    text
        The column with the texts.
    tally
        Counts what is yielded.
    task
        Told of every row that is done.
    """
    for window in windows(chunks, WINDOW_ROWS):
        place = window.schema.get_field_index(text)
        columns = added.values(model, json_values(window.schema.field(place), window.column(place)), task)
        labels, _, truncated, reasons = columns[:4]
        tally.rows += window.num_rows
        tally.labels.update(labels.drop_null().to_pylist())
        tally.reasons.update(reasons.drop_null().to_pylist())
        tally.truncated += pc.sum(truncated, min_count=0).as_py()
        yield pa.RecordBatch.from_arrays([*window.columns, *columns], schema=added.behind(window.schema))


def windows(chunks: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the chunks in batches of at most `rows`, of fewer where rows are large."""
    pending: list[pa.RecordBatch] = []
    for chunk in chunks:
        for start in range(0, chunk.num_rows, rows):
            piece = chunk.slice(start, rows)
            if pending and (
                sum(batch.num_rows for batch in pending) + piece.num_rows > rows
                or sum(batch.nbytes for batch in pending) + piece.nbytes > _WINDOW_BYTES
            ):
                yield pa.concat_batches(pending)
                pending = []
            pending.append(piece)
    if pending:
        yield pa.concat_batches(pending)


def _refuse_existing(source: Path, output: Path) -> None:
    if not output.exists():
        return
    if source.exists() and output.samefile(source):
        raise StorageError(f"The output {output} is the input itself.", "Choose another name for the output.")
    raise StorageError(f"The output {output} is already there.", "Choose another name, or remove the file.")


def _text_column(chunks: Chunks, name: str | None) -> str:
    """Return the name of the text column, which is there and can hold texts."""
    found = ", ".join(map(repr, chunks.columns))
    if name is None:
        raise DataError(
            f"The model does not know the column with the texts; the columns of {chunks.path} are: {found}.",
            "Name it with --text.",
        )
    require_column(name, chunks.columns)
    kind = chunks.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)):
        raise DataError(
            f"Column {name!r} of {chunks.path} holds {kind}, not texts.",
            f"Name the column with the texts with --text; the columns are: {found}.",
        )
    return name


def _count_rows(chunks: Chunks, progress: Progress) -> int:
    """Return how many rows the file has; a faulty row is found here, and not after hours of labelling."""
    rows = 0
    with progress.task("Reading", None, unit="rows") as task:
        for chunk in chunks:
            rows += chunk.num_rows
            task.advance(chunk.num_rows)
    return rows
