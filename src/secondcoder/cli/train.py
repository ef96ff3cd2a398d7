"""The commands train, evaluate and report.

In: a hand-labelled file or a run. Out: figures, and the run folder.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from secondcoder.cli.curve import print_folds
from secondcoder.cli.output import (
    Columns,
    Json,
    Parts,
    Resume,
    Training,
    print_classes,
    print_evaluation,
    print_figures,
    print_json,
    say,
    tell,
    tell_findings,
)
from secondcoder.errors import DataError, InterruptedRunError, SettingsError
from secondcoder.progress import LiveProgress
from secondcoder.settings import DEFAULT_SEED, ReadSettings, SplitSettings, TrainSettings

if TYPE_CHECKING:
    from secondcoder.corpus.corpus import Corpus
    from secondcoder.runs.run import Run
    from secondcoder.splits.split import Split


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
        raise DataError("No --label was named.", "Name the column with the hand-given labels.")
    corpus = read_corpus(file, read, seed)
    parts = divide(corpus, **split.to_dict(), seed=seed)
    if _leads():
        tell_findings((*corpus.findings, *parts.findings))
        _tell_parts(parts)
    try:
        run = train_with(parts, training, output=output, seed=seed, resume=resume, progress=LiveProgress())
    except (InterruptedRunError, LeaderFailedError) as error:
        if _leads():
            raise
        sys.exit(130 if isinstance(error, InterruptedRunError) else 2)  # the first process says why
    part_ranks()
    if _leads():
        print_run(run, as_json=json)


def evaluate(
    run: Path,
    file: str | None = None,
    /,
    *,
    folds: int | None = None,
    read: Columns = ReadSettings(),
    json: Json = False,
) -> None:
    """Judge a run on its test part, which is thereby opened and written down, or on newly labelled data.

    Parameters
    ----------
    run
        The run folder.
    file
        Newly labelled texts to judge on instead; columns are those of the training data, groups and ids among them
        where the file has them, unless named.
    folds
        Judge on all rows instead: train so many models, each on all folds (of groups, where there are any) but one,
        which it predicts. Opens the test part. After an interruption, the same command goes on where it was.
    read
        Columns of the file.
    json
        Print the result as JSON.
    """
    from secondcoder.runs.folder import MODEL_NAME
    from secondcoder.runs.run import Run

    if folds is not None and file is not None:
        raise SettingsError(
            f"--folds {folds} judges on the run's own rows, and {file} was named.", "Name one of the two."
        )
    if file is None:
        _require_no_columns(read)
    opened = Run(run)
    if folds is not None:
        print_folds(opened, folds, as_json=json)
        return
    if file is not None:
        _evaluate_on(opened, file, read, as_json=json)
        return
    evaluation = opened.evaluate(progress=LiveProgress())
    figures, openings = opened.evaluations["test"], opened.info["test_openings"]
    if json:
        print_evaluation({"part": "test"}, opened.info["data"]["findings"], figures, {"test_openings": openings})
        return
    print_figures(figures, title=f"Test ({evaluation.n:,} texts)")
    print_classes(figures[MODEL_NAME])
    _say_winner(opened, "test")
    say(f"This test part has been opened {'once' if openings == 1 else f'{openings} times'}.")
    say(f"Report: {opened.folder / 'report.html'}")


def report(run: Path, /, *, json: Json = False) -> None:
    """Make a run's report again.

    Parameters
    ----------
    run
        The run folder.
    json
        Print the result as JSON.
    """
    from secondcoder.runs.run import Run

    path = Run(run).write_report()
    if json:
        print_json({"report": str(path)})
    else:
        say(str(path))


def read_corpus(file: str, settings: ReadSettings, seed: int) -> "Corpus":
    """Return the corpus that a file and the column options name."""
    from secondcoder.corpus.reading import read

    return read(file, **settings.to_dict(), seed=seed)


def _require_no_columns(read: ReadSettings) -> None:
    """Raise `SettingsError` if columns were named where no file is read: the test part is not opened by mistake."""
    named = [name for name, value in read.to_dict().items() if value not in (None, ())]
    if named:
        options = ", ".join(f"--{name.replace('_', '-')} {getattr(read, name)}" for name in named)
        raise SettingsError(
            f"{options}: columns were named, and no file that has them; the run's own rows bring theirs.",
            "Name the file with the newly labelled texts behind the run, or leave these options out.",
        )


def _evaluate_on(run: "Run", file: str, settings: ReadSettings, *, as_json: bool) -> None:
    from secondcoder.runs.evaluate import evaluate_on, read_new
    from secondcoder.runs.folder import MODEL_NAME

    rows = read_new(run, file, settings)
    evaluation, findings = evaluate_on(run, rows, progress=LiveProgress())
    tell_findings(findings, examples=True)
    if as_json:
        source = {"source": rows.source.name, "sha256": rows.source.sha256, "columns": rows.source.columns}
        print_evaluation(source, [finding.to_dict() for finding in findings], {MODEL_NAME: evaluation})
        return
    print_figures({MODEL_NAME: evaluation}, title=f"{file} ({evaluation.n:,} texts)")
    print_classes(evaluation)


def _leads() -> bool:
    """Whether this process speaks: of several that were launched together, the first."""
    return os.environ.get("RANK", "0") == "0"


def _tell_parts(parts: "Split") -> None:
    sizes = ", ".join(f"{len(getattr(parts, name)):,} {name}" for name in ("train", "dev", "test"))
    tell(f"{sizes} (split: {parts.by}); labels: {', '.join(parts.train.label_names)}")


def print_run(run: "Run", *, as_json: bool) -> None:
    """Print a new run's figures on dev."""
    figures = run.evaluations["dev"]
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "status": run.status,
                "results": run.info["results"],
                "dev": {who: e.to_dict() for who, e in figures.items()},
            }
        )
        return
    n = next(iter(figures.values())).n
    print_figures(figures, title=f"Dev ({n:,} texts); dev chose the epoch, so these figures flatter")
    _say_winner(run, "dev")
    _say_promise(run)
    say(f"Run: {run.folder} ({run.info['seconds']:.0f} s)   Report: {run.folder / 'report.html'}")
    say(f"Next: secondcoder evaluate {run.folder}")


def _say_promise(run: "Run") -> None:
    """Say from which confidence on the error asked for is kept, where one was asked for."""
    found = run.info["results"]["selection"]
    if found is None:
        return
    wanted, n = f"--max-error {found['max_error']:g}", f"the {found['n']:,} texts set aside for it"
    if found["min_confidence"] is None:
        say(f"{wanted}: no confidence keeps it for certain, by {n}. Set more aside (a larger dev), or allow more.")
        return
    say(
        f"{wanted}: kept with 95 % certainty from a confidence of {found['min_confidence']:.3f} on, which "
        f"{found['coverage']:.0%} of {n} reach; it holds for texts drawn as these were. "
        "label --min-confidence auto leaves the others without a label."
    )
    say("Analysing only accepted rows selects: sure texts are not like the others.")


def _say_winner(run: "Run", part: str) -> None:
    """Say it where a baseline is as good: nobody should have to compare columns to see that."""
    from secondcoder.runs.folder import MODEL_NAME

    figures = run.evaluations[part]
    name, value = figures[MODEL_NAME].headline
    for who, evaluation in figures.items():
        other = evaluation.figure(name)
        if who != MODEL_NAME and round(other, 3) >= round(value, 3):
            verdict = "LOSES to" if round(other, 3) > round(value, 3) else "is no better than"
            say(f"The model {verdict} the baseline {who}: {name} {value:.3f} against {other:.3f}.")
    for who, lead in run.leads.get(part, {}).items():
        difference = lead["differences"][0]
        if (interval := difference["interval"]) is not None:
            chance = "" if not interval["low"] <= 0 <= interval["high"] else ", which may be chance"
            limits = f"[{interval['low']:+.3f}, {interval['high']:+.3f}]"
            say(f"Lead over {who}, text by text: {name} {difference['difference']:+.3f} {limits}{chance}.")
