"""Many trainings on the command line: folds, and the learning curve.

In: a run, or a hand-labelled file. Out: figures and their spread, and what more labels would bring.
"""

import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secondcoder.cli.output import Columns, Json, Parts, Training, print_json, print_table, say, tell_findings
from secondcoder.errors import DataError, SettingsError
from secondcoder.progress import LiveProgress
from secondcoder.settings import DEFAULT_SEED, CurveSettings, ReadSettings, SplitSettings, TrainSettings

if TYPE_CHECKING:
    from secondcoder.evaluation.learning_curve import LearningCurve
    from secondcoder.runs.curve import Study
    from secondcoder.runs.run import Run

Plan = Annotated[CurveSettings, Parameter(name="*", group="Curve", negative="")]
_AS_IT_COMES = CurveSettings()


def curve(
    source: str,
    /,
    *,
    output: Path | None = None,
    seed: int | None = None,
    plan: Plan = _AS_IT_COMES,
    read: Columns = ReadSettings(),
    split: Parts = SplitSettings(),
    training: Training = TrainSettings(),
    json: Json = False,
) -> None:
    """Say whether more labels would help: train on more and more of train, judge on dev. The test part stays closed.

    Each size is trained with --seeds seeds (3 unless named), and every one of them is a point of the curve. A run
    brings its own data and settings, and its report shows the curve. After an interruption, the same command goes on
    where it was.

    Parameters
    ----------
    source
        A run folder; or hand-labelled texts, as train reads them.
    output
        Folder for the curve of hand-labelled texts; that of a run is written into the run.
    seed
        As in train; unset, 42. A run brings its own.
    plan
        Curve.
    read
        Columns.
    split
        Parts.
    training
        Training.
    json
        Print the result as JSON.
    """
    from secondcoder.runs.curve import SEEDS, trace_curve
    from secondcoder.runs.folder import RUN_FILE

    run: Run | None = None
    if (Path(source) / RUN_FILE).is_file():
        if (output, seed, read, split, replace(training, seeds=None)) != (
            None, None, ReadSettings(), SplitSettings(), TrainSettings()
        ):  # fmt: skip
            raise SettingsError(
                f"{source} is a run, which brings its own data and settings, and others were named.",
                "Name only --sizes, --seeds and --more with it, or the file in its place.",
            )
        run, study = _study_run(Path(source))
        output = run.folder
    else:
        study = _study_file(source, DEFAULT_SEED if seed is None else seed, read, split, training)
    if output is None:
        raise SettingsError("--output is required.", "Name a folder for the curve.")
    found = trace_curve(study, plan, output=output, seeds=training.seeds or SEEDS, progress=LiveProgress())
    if run is not None:
        run.write_report()
    more = plan.more or found.largest
    if json:
        expected = found.expect(more)
        values = None if expected is None else dict(zip(("gain", "low", "high"), expected, strict=True))
        print_json({"curve": found.to_dict(), "more": more, "expected": values, "sentence": found.sentence(more)})
        return
    _print_curve(found, study, more)
    say(f"Curve: {output / 'curve.json'}" + (f"   Report: {output / 'report.html'}" if run is not None else ""))


def _study_run(folder: Path) -> "tuple[Run, Study]":
    from secondcoder.runs.curve import study_run
    from secondcoder.runs.run import Run

    run = Run(folder)
    return run, study_run(run)


def _study_file(file: str, seed: int, read: ReadSettings, split: SplitSettings, training: TrainSettings) -> "Study":
    from secondcoder.corpus.reading import read as read_rows
    from secondcoder.runs.curve import study_split
    from secondcoder.splits.split import split as divide

    if not read.labelled:
        raise DataError("--label is required.", "Name the column with the hand-given labels.")
    corpus = read_rows(file, **read.to_dict(), seed=seed)
    parts = divide(corpus, **split.to_dict(), seed=seed)
    tell_findings((*corpus.findings, *parts.findings))
    return study_split(parts, training, seed=seed)


def _print_curve(found: "LearningCurve", study: "Study", more: int) -> None:
    figures: defaultdict[int, list[float]] = defaultdict(list)
    for point in found.points:
        figures[point.size].append(point.figure)
    print_table(
        ["texts", "trainings", f"{found.name}, mean", "standard deviation", "curve", "95 % of averages"],
        [
            [f"{size:,}", len(by_seed), statistics.mean(by_seed), _spread(by_seed), *_band(found, size)]
            for size, by_seed in sorted(figures.items())
        ],
        title=f"Dev ({len(study.dev):,} texts), by the number of texts learned from",
    )
    say(found.sentence(more))
    if study.train.groups is None:
        say("Each size is drawn by chance, with the shares of the labels kept, and contains the smaller ones.")
    else:
        say("Each size adds whole groups, as new labels would come from new ones, and contains the smaller sizes.")
    if not study.settings.is_tfidf:
        say("Dev chose the epochs too, so the figures are a little optimistic; their rise is what counts.")


def _spread(figures: list[float]) -> float | None:
    return statistics.stdev(figures) if len(figures) > 1 else None


def _band(found: "LearningCurve", size: int) -> tuple[float | None, str | None]:
    if (at := found.at(size)) is None:
        return None, None
    return at[0], f"[{at[1]:.3f}, {at[2]:.3f}]"
