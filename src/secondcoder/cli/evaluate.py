"""The commands evaluate and report.

In: a run, or a run and a newly labelled file. Out: figures, and the run's report.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from secondcoder.cli.output import (
    Columns,
    Json,
    print_classes,
    print_evaluation,
    print_figures,
    print_json,
    print_table,
    say,
    say_baselines,
    say_winner,
    tell_findings,
)
from secondcoder.errors import SettingsError
from secondcoder.progress import LiveProgress
from secondcoder.settings import ReadSettings

if TYPE_CHECKING:
    from secondcoder.runs.run import Run


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
            f"--folds {folds} judges on the run's own rows, and {file} is given too.", "Name one of the two."
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
        more = {"test_openings": openings, "baselines": opened.baselines["test"]}
        print_evaluation({"part": "test"}, opened.info["data"]["findings"], figures, more)
        return
    print_figures(figures, title=f"Test ({evaluation.n:,} texts)")
    print_classes(figures[MODEL_NAME])
    say_baselines(opened, "test")
    say_winner(opened, "test")
    say(f"This test part has been opened {'once' if openings == 1 else f'{openings} times'}.{_crashed(opened)}")
    say(f"Report: {opened.folder / 'report.html'}")


def report(run: Path, /, *, population: str | None = None, json: Json = False) -> None:
    """Make a run's report again.

    Parameters
    ----------
    run
        The run folder.
    population
        What the hand-labelled texts are and how they were drawn, as in train; it is stored in the run.
    json
        Print the result as JSON.
    """
    from secondcoder.runs.run import Run
    from secondcoder.storage import locked

    opened = Run(run)
    if population is not None:
        with locked(opened.folder):
            opened.describe(population)
    path = opened.write_report()
    if json:
        print_json({"report": str(path)})
    else:
        say(str(path))


def _crashed(run: "Run") -> str:
    """Return the sentence on openings that were begun and have shown nothing, or nothing where there are none."""
    from secondcoder.runs.openings import openings_of

    crashed = sum(one.state == "crashed" for one in openings_of(run))
    many = "One more" if crashed == 1 else f"{crashed} more"
    return f" {many} ended before a figure was seen, not counted." if crashed else ""


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


def print_folds(run: "Run", folds: int, *, as_json: bool) -> None:
    """Cross-fit a run, and print the figures of all rows and of each fold."""
    from secondcoder.runs.cross_fitting import FOLDS, cross_fit

    evaluation = cross_fit(run, folds, progress=LiveProgress())
    figures, made, openings = run.evaluations[FOLDS], run.info[FOLDS], run.info["test_openings"]
    if as_json:
        more = {"test_openings": openings, FOLDS: made}
        print_evaluation({"part": FOLDS}, run.info["data"]["findings"], figures, more)
        return
    print_figures(figures, title=f"Out of fold ({evaluation.n:,} texts: all of train, dev and test)")
    print_classes(evaluation)
    name, _ = evaluation.headline
    names = list(dict.fromkeys((name, "macro-f1", evaluation.names.whole, "log-loss")))
    print_table(
        ["fold", "texts", "groups", *names],
        [
            *([str(f["fold"]), f["rows"], f["groups"], *(f["figures"][n] for n in names)] for f in made["each"]),
            ["mean", "", "", *(made["mean"][n] for n in names)],
            ["standard deviation", "", "", *(made["standard_deviation"][n] for n in names)],
        ],
        title="By fold; the folds share most of what they learn from, so their spread is no error of the mean",
    )
    say(f"Each text was predicted by a model that had not seen {'its group' if made['groups'] else 'it'}.")
    say(f"Folds look at the test part too: it has been opened {'once' if openings == 1 else f'{openings} times'}.")
    say(f"Predictions: {run.folder / 'folds.parquet'}   Report: {run.folder / 'report.html'}")
