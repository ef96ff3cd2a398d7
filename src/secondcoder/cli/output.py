"""What commands print: results to standard output, everything else to standard error.

In: results of the library. Out: tables and sentences, or JSON. rich is imported where it prints, since importing it
takes as long as all the rest of the command line.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secondcoder.settings import LabelSettings, ReadSettings, SplitSettings, TrainSettings

if TYPE_CHECKING:
    from rich.console import Console

    from secondcoder.corpus.findings import Finding
    from secondcoder.evaluation.figures import Evaluation

Json = Annotated[bool, Parameter(name="--json", negative="")]
Resume = Annotated[bool, Parameter(name="--resume", negative="")]

Columns = Annotated[ReadSettings, Parameter(name="*", group="Columns")]
Parts = Annotated[SplitSettings, Parameter(name="*", group="Parts", negative="")]
Training = Annotated[TrainSettings, Parameter(name="*", group="Training", negative="")]
Labelling = Annotated[LabelSettings, Parameter(name="*", group="Labelling")]

_WIDTH_WITHOUT_TERMINAL = 120
_MARKS = {"error": "ERROR", "warning": "warning", "note": "note"}


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


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


def tell_findings(findings: Iterable["Finding"]) -> None:
    """Print findings on standard error, one a line and its cure below."""
    for finding in findings:
        tell(f"{_MARKS[finding.severity]}: {finding.message}")
        if finding.cure:
            tell(f"  {finding.cure}")


def print_figures(figures: Mapping[str, "Evaluation"], *, title: str) -> None:
    """Print the model's figures beside those of the baselines."""
    names = list(figures)
    headline, _ = figures[names[0]].headline
    rows = dict.fromkeys((headline, "macro-f1", "accuracy", "balanced-accuracy", "weighted-f1", "log-loss"))
    print_table(["", *names], ([name, *(figures[who].figure(name) for who in names)] for name in rows), title=title)


def print_classes(evaluation: "Evaluation") -> None:
    """Print precision, recall, F1 and support of each class, and the confusion matrix."""
    print_table(
        ["label", "precision", "recall", "F1", "texts"],
        [
            *([name, f.precision, f.recall, f.f1, f.support] for name, f in evaluation.per_class.items()),
            *([f"({kind} average)", a.precision, a.recall, a.f1, ""] for kind, a in evaluation.averages.items()),
        ],
        title="By label",
    )
    print_table(
        ["gold \\ predicted", *evaluation.label_names],
        ([gold, *row.values()] for gold, row in evaluation.confusion.items()),
        title="Confusion matrix",
    )


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
