"""Many trainings on the command line: folds.

In: a run. Out: figures and their spread.
"""

from typing import TYPE_CHECKING

from secondcoder.cli.output import print_classes, print_figures, print_json, print_table, say
from secondcoder.progress import LiveProgress

if TYPE_CHECKING:
    from secondcoder.runs import Run


def print_folds(run: "Run", folds: int, *, as_json: bool) -> None:
    """Cross-fit a run, and print the figures of all rows and of each fold."""
    from secondcoder.folding import FOLDS, cross_fit

    evaluation = cross_fit(run, folds, progress=LiveProgress())
    figures, made, openings = run.evaluations[FOLDS], run.info[FOLDS], run.info["test_openings"]
    if as_json:
        print_json({"test_openings": openings, FOLDS: made, **{who: e.to_dict() for who, e in figures.items()}})
        return
    print_figures(figures, title=f"Out of fold ({evaluation.n:,} texts: all of train, dev and test)")
    print_classes(evaluation)
    name, _ = evaluation.headline
    names = list(dict.fromkeys((name, "macro-f1", "accuracy", "log-loss")))
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
