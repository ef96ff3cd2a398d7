"""The command tune: hyper-parameters chosen on dev.

In: a hand-labelled file. Out: the run of the best trial, and a table of the trials.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secondcoder.cli.output import Columns, Json, Parts, Training, print_json, print_table, say, tell_findings
from secondcoder.errors import DataError
from secondcoder.progress import LiveProgress
from secondcoder.settings import DEFAULT_SEED, ReadSettings, SplitSettings, TrainSettings, TuneSettings

if TYPE_CHECKING:
    from secondcoder.runs.run import Run

Plan = Annotated[TuneSettings, Parameter(name="*", group="Tuning", negative="")]
_AS_IT_COMES = TuneSettings()


def tune(
    file: str,
    /,
    *,
    output: Path,
    seed: int = DEFAULT_SEED,
    plan: Plan = _AS_IT_COMES,
    read: Columns = ReadSettings(),
    split: Parts = SplitSettings(),
    training: Training = TrainSettings(),
    json: Json = False,
) -> None:
    """Try hyper-parameters and keep the best run, chosen on dev (extra tune). The test part stays closed.

    Learning rate, epochs, batch size and length are tried; what the options name of them is kept, or is the most that
    is tried. The first trial has the settings as given. After an interruption, the same command goes on where it was.

    Parameters
    ----------
    file
        Hand-labelled texts, as train reads them.
    output
        The run folder to make.
    seed
        As in train; the search depends on it too.
    plan
        Tuning.
    read
        Columns.
    split
        Parts.
    training
        Training.
    json
        Print the result as JSON.
    """
    from secondcoder.cli.inputs import read_corpus
    from secondcoder.runs.tune import tune as search
    from secondcoder.splits.split import split as divide

    if not read.labelled:
        raise DataError("--label is required.", "Name the column with the hand-given labels.")
    corpus = read_corpus(file, read, seed)
    parts = divide(corpus, **split.to_dict(), seed=seed)
    tell_findings((*corpus.findings, *parts.findings))
    run = search(
        parts,
        output=output,
        trials=plan.trials,
        timeout=plan.timeout,
        settings=training,
        seed=seed,
        progress=LiveProgress(),
    )
    _print(run, as_json=json)


def _print(run: "Run", *, as_json: bool) -> None:
    from secondcoder.cli.output import print_run
    from secondcoder.runs.tune import TUNING_FILE
    from secondcoder.storage import read_json

    found = read_json(run.folder / TUNING_FILE)
    if as_json:
        print_json({"run": str(run.folder), "status": run.status, "tuning": run.info["tuning"], **found})
        return
    names = list(found["searched"])
    print_table(
        ["trial", *(name.replace("_", " ") for name in names), found["metric"], "epoch", "seconds", ""],
        [
            [
                str(trial["number"] + 1),
                *(
                    f"{trial['values'][name]:.2g}" if name == "learning_rate" else trial["values"][name]
                    for name in names
                ),
                trial["best"],
                trial["best_epoch"],
                f"{trial['seconds']:.0f}",
                "best" if trial["number"] == run.info["tuning"]["best"] else trial["state"].replace("complete", ""),
            ]
            for trial in found["trials"]
        ],
        title="Trials on dev; the first one has the settings as they were given",
    )
    say("Dev chose among these trials, so the figures below are more optimistic than those of a single training.")
    print_run(run, as_json=False)
