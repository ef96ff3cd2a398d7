"""The commands train, evaluate and report.

In: a hand-labelled file or a run. Out: figures, and the run folder.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from secondcoder.cli.inputs import read_corpus, tell_parts
from secondcoder.cli.output import Columns, Json, Parts, Resume, Training, _leads, print_run, tell_findings
from secondcoder.errors import DataError, InterruptedRunError
from secondcoder.progress import LiveProgress
from secondcoder.settings import DEFAULT_SEED, ReadSettings, SplitSettings, TrainSettings

if TYPE_CHECKING:
    pass


def train(
    file: str,
    /,
    *,
    output: Path,
    seed: int = DEFAULT_SEED,
    read: Columns = ReadSettings(),
    split: Parts = SplitSettings(),
    training: Training = TrainSettings(),
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Fine-tune a model on a hand-labelled file; figures on dev. The test part stays closed.

    Parameters
    ----------
    file
        Hand-labelled texts: CSV, TSV, JSONL, Parquet, a data set folder, or hub:owner/name[:config].
    output
        The run folder to make, such as runs/area.
    seed
        Decides everything that is drawn: the split, the first weights of the head, the data order, dropout.
    read
        Columns.
    split
        Parts.
    training
        Training.
    resume
        Go on with the run in the output folder where it was stopped; with none there, begin.
    json
        Print the result as JSON.
    """
    from secondcoder.runs.train import train_with
    from secondcoder.splits.split import split as divide
    from secondcoder.training.distributed import LeaderFailedError, part_ranks

    if not read.labelled:
        raise DataError("--label is required.", "Name the column with the hand-given labels.")
    corpus = read_corpus(file, read, seed)
    parts = divide(corpus, **split.to_dict(), seed=seed)
    if _leads():
        tell_findings((*corpus.findings, *parts.findings))
        tell_parts(parts)
    try:
        run = train_with(parts, training, output=output, seed=seed, resume=resume, progress=LiveProgress())
    except (InterruptedRunError, LeaderFailedError) as error:
        if _leads():
            raise
        sys.exit(130 if isinstance(error, InterruptedRunError) else 2)  # the first process says why
    part_ranks()
    if _leads():
        print_run(run, as_json=json)
