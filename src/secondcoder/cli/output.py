"""What commands print: results to standard output, everything else to standard error.

In: results of the library. Out: tables and sentences, or JSON. rich is imported where it prints, since importing it
takes as long as all the rest of the command line.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secondcoder.settings import LabelSettings, ReadSettings, SplitSettings, TrainSettings

if TYPE_CHECKING:
    from rich.console import Console

    from secondcoder.corpus.findings import Finding
    from secondcoder.evaluation.evaluation import Evaluation
    from secondcoder.runs.run import Run

Json = Annotated[bool, Parameter(name="--json", negative="")]
Resume = Annotated[bool, Parameter(name="--resume", negative="")]
Columns = Annotated[ReadSettings, Parameter(name="*", group="Columns", negative="", consume_multiple=True)]
Parts = Annotated[SplitSettings, Parameter(name="*", group="Parts", negative="")]
Training = Annotated[TrainSettings, Parameter(name="*", group="Training", negative="")]
Labelling = Annotated[LabelSettings, Parameter(name="*", group="Labelling")]
_WIDTH_WITHOUT_TERMINAL = 120
FIGURES = ("precision", "recall", "f1")
_MARKS = {"error": "ERROR", "warning": "warning", "note": "note"}


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_evaluation(
    rows: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    figures: Mapping[str, "Evaluation"],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Print figures as one JSON object, of one form wherever they come from.

    Parameters
    ----------
    rows
        What was judged on: ``part`` of the run, or ``source`` of new data.
    findings
        What is to be known of the data.
    figures
        By who made the labels.
    more
        What else belongs to them.
    """
    by_who = {who: {**evaluation.to_dict(), "notes": evaluation.notes} for who, evaluation in figures.items()}
    print_json({**rows, "findings": list(findings), **(more or {}), **by_who})


def say(sentence: str = "") -> None:
    """Print a line of the result."""
    _console().print(sentence, soft_wrap=True, markup=False, highlight=False)


def tell(sentence: str) -> None:
    """Print a line that is not a result."""
    from rich.console import Console

    Console(stderr=True).print(sentence, soft_wrap=True, markup=False, highlight=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table; the first column is flush left, numbers in the others flush right."""
    from rich.table import Table

    if title:  # not the table's own, which would wrap at the table's width
        say(title)
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(_plain(column), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(show(cell)) for cell in row))
    _console().print(table)
    _console().print()


def show(cell: object) -> str:
    """Return a table cell as text: three decimals, thousands set apart, a dash for what is undefined."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.3f}"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return str(cell)


def tell_findings(findings: Iterable["Finding"], *, examples: bool = False) -> None:
    """Print findings on standard error, one a line, below it its examples where wanted, and its cure."""
    for finding in findings:
        tell(f"{_MARKS[finding.severity]}: {finding.message}")
        for example in finding.examples if examples else ():
            tell(f"    {example}")
        if finding.cure:
            tell(f"  {finding.cure}")


def print_figures(figures: Mapping[str, "Evaluation"], *, title: str) -> None:
    """Print the model's figures beside those of the baselines, with their intervals."""
    names = list(figures)
    first = figures[names[0]]
    rows = first.leading
    cells = [[name, *(e.shown(name, e.figure(name)) for e in figures.values())] for name in rows]
    if first.calibration is not None:
        cells.append(["calibration error", *(_calibration_error(e) for e in figures.values())])
    print_table(["", *names], cells, title=title)
    notes = [first.headline_note, _unit(first) if any(first.interval(name) for name in rows) else ""]
    notes.append(first.spread_note)
    if first.calibration is not None and first.calibration.reason:
        notes.append(f"Calibration error: {first.calibration.reason}.")
    constant = [who for who, e in figures.items() if e.constant]
    if constant:
        notes.append(f"{', '.join(constant)}: the same for every text, so that figures without brackets are exact.")
    for note in filter(None, notes):
        say(note)
    if any(notes):
        say()


def print_classes(evaluation: "Evaluation") -> None:
    """Print precision, recall, F1 and support of each class, and what is taken for what, or not found."""
    print_table(
        ["label", "precision", "recall", "F1", "texts"],
        [
            *(
                [
                    name,
                    *(evaluation.shown(f"{figure}:{name}", getattr(f, figure)) for figure in FIGURES),
                    f.support,
                ]
                for name, f in evaluation.per_class.items()
            ),
            *(
                [
                    f"({kind} average)",
                    *(evaluation.shown(f"{kind}-{figure}", getattr(average, figure)) for figure in FIGURES),
                    "",
                ]
                for kind, average in evaluation.averages.items()
            ),
        ],
        title="By label",
    )
    from secondcoder.evaluation.tasks import task_rules

    for columns, rows, title in task_rules(evaluation.task).tables(evaluation):
        print_table(columns, rows, title=title)


def _unit(evaluation: "Evaluation") -> str:
    """Return what the intervals speak of where texts come in groups, with the command that judges every group."""
    if not evaluation.scope_note:
        return ""
    few = " See evaluate --folds." if evaluation.scope == "these documents" else ""
    return f"In brackets: 95 % intervals. {evaluation.scope_note}{few}"


def _calibration_error(evaluation: "Evaluation") -> str:
    """Return how far confidence is from accuracy, and how far it was before the temperature."""
    after, before = evaluation.calibration, evaluation.uncalibrated
    if after is None:
        return show(None)
    return after.shown if before is None or before.error is None else f"{after.shown}, before {before.error:.3f}"


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _leads() -> bool:
    """Whether this process speaks: of several that were launched together, the first."""
    return os.environ.get("RANK", "0") == "0"


def print_run(run: "Run", *, as_json: bool) -> None:
    """Print a new run's figures on dev."""
    from secondcoder.reporting.formatting import chose_epoch, chosen_on_dev
    from secondcoder.runs.folder import MODEL_NAME

    figures = run.evaluations["dev"]
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "status": run.status,
                "results": run.info["results"],
                "baselines": run.baselines.get("dev", {}),
                "dev": {who: e.to_dict() for who, e in figures.items()},
            }
        )
        return
    chosen = chosen_on_dev(model := figures[MODEL_NAME], chose_epoch(run.history))
    print_figures(figures, title=f"Dev ({model.n:,} texts); dev chose {chosen}, so these figures are optimistic")
    say_baselines(run, "dev")
    if run.is_tfidf:
        from secondcoder.training.tfidf import TfidfSettings

        given = TfidfSettings.from_dict(run.info["results"]["terms"]).description
        say(f"The model is TF-IDF with logistic regression itself, compared with the majority only: {given}.")
    say_winner(run, "dev")
    _say_guarantee(run)
    say(f"Run: {run.folder} ({run.info['seconds']:.0f} s)   Report: {run.folder / 'report.html'}")
    say(f"Next: secondcoder evaluate {run.folder}")


def _say_guarantee(run: "Run") -> None:
    """Say from which confidence on the error asked for is kept, where one was asked for."""
    from secondcoder.evaluation.selective import Guarantee

    if (stored := run.info["results"]["selection"]) is None:
        return
    found = Guarantee.from_dict(stored)
    wanted, n = f"--max-error {found.max_error:g}", f"the {found.n:,} texts set aside for it"
    if found.min_confidence is None:
        say(f"{wanted}: no confidence was found by {n}. Set more aside (a larger dev), or allow more.")
        say(found.worth)
        return
    say(
        f"{wanted}: at most so many of the labels are wrong from a confidence of {found.min_confidence:.3f} on, which "
        f"{found.coverage:.0%} of {n} reach. label --min-confidence auto leaves the others without a label."
    )
    say(f"{found.worth} It speaks of texts drawn as these were.")
    say("Analysing only accepted rows selects: sure texts are not like the others.")


def say_baselines(run: "Run", part: str) -> None:
    """Say what the baselines were given, where there was something to choose."""
    for who, given in run.baselines.get(part, {}).items():
        say(f"{who}: {given['description']}.")


def say_winner(run: "Run", part: str) -> None:
    """Say it where a baseline is as good: nobody should have to compare columns to see that."""
    from secondcoder.evaluation.comparison import Comparison
    from secondcoder.reporting.formatting import EMBEDDING, TFIDF
    from secondcoder.runs.folder import MODEL_NAME

    figures = run.evaluations[part]
    name, value = figures[MODEL_NAME].headline
    for who, evaluation in figures.items():
        other = evaluation.figure(name)
        if who != MODEL_NAME and round(other, 3) >= round(value, 3):
            verdict = "LOSES to" if round(other, 3) > round(value, 3) else "is no better than"
            take = {TFIDF: " Train it by --model tfidf.", EMBEDDING: " Train it by --recipe frozen."}.get(who, "")
            say(f"The model {verdict} the baseline {who}: {name} {value:.3f} against {other:.3f}.{take}")
    for who, lead in run.leads.get(part, {}).items():
        d = Comparison.from_dict(lead).differences[0]
        if d.interval is not None and d.difference is not None:
            chance = "" if d.shown else ", which may be chance"
            limits = f"[{d.interval.low:+.3f}, {d.interval.high:+.3f}]"
            say(f"Lead over {who}, text by text: {name} {d.difference:+.3f} {limits}{chance}.")
        elif d.reason:
            say(f"Whether the lead over {who} is more than chance cannot be said: {d.reason}.")
