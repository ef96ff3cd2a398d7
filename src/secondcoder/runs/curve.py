"""Would more labels help? One recipe, trained on more and more of the train part, judged on dev.

In: train and dev parts, settings, sizes and seeds. Out: a `LearningCurve`, ``curve.json`` and ``curve-trainings.json``.
The test part is not looked at.

    curve.json             the points, the power law through them, and its band
    curve-trainings.json   every training that was finished, with its figures; nothing of it is trained again
    curve/                 what the training under way goes on from; gone when it is done
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from secondcoder.corpus.corpus import Corpus, TaskName
from secondcoder.errors import InterruptedRunError, RunError, SettingsError
from secondcoder.evaluation.learning_curve import LearningCurve, fit_power_law, why_no_forecast
from secondcoder.evaluation.metrics import LOWER_IS_BETTER, is_better
from secondcoder.evaluation.tasks import history_names, task_rules
from secondcoder.progress import Progress
from secondcoder.runs.run import Run
from secondcoder.settings import CurveSettings, TrainSettings, check_seed
from secondcoder.splits.assignment import rarest_labels
from secondcoder.splits.split import Split, set_aside
from secondcoder.storage import locked, sha_key, write_json
from secondcoder.training.finished import FinishedTrainings, trainings_key
from secondcoder.training.loop import Fit
from secondcoder.training.recipes import settled_for
from secondcoder.training.seeds import fit_pretrained

CURVE_FILE = "curve.json"
TRAININGS_FILE = "curve-trainings.json"
SEEDS = 3
"""Trainings of each size, unless said otherwise."""
HALVES = 5
"""Sizes, unless said otherwise: all of train, a half, a quarter, and so on."""
_WORK = "curve"
# Of the smallest size, unless said otherwise: fewer rows of a label teach nothing.
_FEWEST_OF_A_LABEL = 5


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes
    ----------
    size
        Train rows.
    seed
        Of the draw of the rows, and of the training.
    figures
        On dev, of its best epoch, by name.
    best_epoch
        The epoch that they are of.
    """

    size: int
    seed: int
    figures: dict[str, float]
    best_epoch: int


@dataclass(frozen=True, eq=False)
class Study:
    """What a curve is of: one recipe, and the rows that it learns from and is judged on.

    Attributes
    ----------
    train, dev
        Rows to draw from, and rows that judge all trainings.
    settings
        Of every single training: one seed, and no ``max_error``, whose half of dev is not in `dev`.
    seed
        The first one.
    known
        Trainings on all of train that have been made already.
    """

    train: Corpus
    dev: Corpus
    settings: TrainSettings
    seed: int
    known: tuple[Training, ...] = ()

    @property
    def figure(self) -> str:
        """The figure that the curve is of: the one that chooses epochs, or macro-F1 in the place of a loss."""
        rows = self.train
        metric = task_rules(rows.task).figures.resolve(self.settings.metric, rows.positive, rows.label_names)
        return "macro-f1" if metric in LOWER_IS_BETTER else metric

    @property
    def key(self) -> str:
        """Hash of everything that a training's figures depend on, but for its size and seed."""
        return trainings_key(self.settings, self.train, self.dev)


def study_split(split: Split, settings: TrainSettings, *, seed: int) -> Study:
    """Return the study of a recipe on a split."""
    check_seed(seed)
    settings, dev = settled_for(split.train, replace(settings, seeds=1)), split.dev
    if settings.max_error is not None:
        dev = set_aside(dev, seed=seed)[0]  # the other half chooses no epoch
    settings = replace(settings.sized(len(split.train)).resolved(), max_error=None)
    return Study(split.train, dev, settings, seed)


def study_run(run: Run) -> Study:
    """Return the study of a run's recipe on its rows; what the run itself gave is the end of the curve.

    Raises
    ------
    RunError
        If the run is not finished.
    """
    if not run.info.get("results"):
        raise run.no_model()
    settings = TrainSettings(**run.info["settings"]["train"])
    settings = replace(settings, precision=run.info.get("precision", settings.precision))
    train, dev, seed = run.part("train"), run.part("dev"), run.info["seed"]
    if settings.max_error is not None:
        dev = set_aside(dev, seed=seed)[0]
    best: dict[int, dict[str, Any]] = {}
    metric = run.info["results"]["metric"]
    for entry in run.history:
        if entry["seed"] not in best or is_better(metric, entry[metric], best[entry["seed"]][metric]):
            best[entry["seed"]] = entry
    names = history_names(metric, train.task)
    known = [
        Training(len(train), seed, {name: entry[name] for name in names}, entry["epoch"])
        for seed, entry in best.items()
    ]
    return Study(train, dev, replace(settings, seeds=1, max_error=None), seed, tuple(known))


def trace_curve(
    study: Study,
    plan: CurveSettings,
    *,
    output: Path,
    seeds: int = SEEDS,
    progress: Progress | None = None,
) -> LearningCurve:
    """Return the learning curve of a study, trained size by size, and write it into a folder.

    For each seed the train rows are put into an order, and each size takes its beginning, so that a larger size
    contains the smaller ones. Without groups the order keeps the shares of the labels. With groups it goes group by
    group, in an order of chance: whoever labels more takes up new documents, and rows of a document that is half
    known already would promise too much or too little. The last group is cut where the size is reached.

    Stopped anywhere, the same call goes on where it was; so does one with more sizes or seeds.

    Parameters
    ----------
    study
        From `study_split` or `study_run`.
    plan
        Sizes.
    output
        A run folder, or a folder that is new, empty, or holds a curve of the same study.
    seeds
        Trainings of each size.
    progress
        Where to show how far it has come.

    Raises
    ------
    SettingsError
        If a size is larger than train.
    RunError
        If the folder holds something else, or another process works in it.
    InterruptedRunError
        If the user stopped it; everything is saved.
    """
    progress = progress or Progress()
    sizes = choose_sizes(study.train, plan)
    _require_ours(output)
    with locked(output):
        finished = _finished(output, study)
        wanted = [(size, study.seed + i) for i in range(seeds) for size in sizes]
        if reason := why_no_forecast([*wanted, *((one["size"], one["seed"]) for one in finished.done.values())]):
            progress.say(
                f"This curve will have no forecast of what more labels would bring: {reason}. Name four sizes or more "
                "that span a factor of 3 or more (--sizes), and two seeds or more (--seeds)."
            )
        for number, (size, seed) in enumerate(wanted, 1):
            if (size, seed) not in finished.done:
                name = f"Training {number} of {len(wanted)}: {size:,} texts, seed {seed}"
                if training := _train(study, size, seed, name, output / _WORK, progress):
                    finished.add(asdict(training))
        found = [Training(**training) for training in finished.done.values()]
        curve = fit_power_law(
            [training.size for training in found],
            [training.figures[study.figure] for training in found],
            seeds=[training.seed for training in found],
            name=study.figure,
        )
        write_json(output / CURVE_FILE, curve.to_dict())
        shutil.rmtree(output / _WORK, ignore_errors=True)
    return curve


def choose_sizes(train: Corpus, plan: CurveSettings) -> list[int]:
    """Return the sizes of a plan in rising order, all of train among them.

    Raises
    ------
    SettingsError
        If one is larger than train.
    """
    n = len(train)
    if plan.numbers:
        if max(plan.numbers) > n:
            raise SettingsError(
                f"The size {max(plan.numbers):,} was asked for, and train has {n:,} rows.", f"Ask for at most {n:,}."
            )
        return sorted({*plan.numbers, n})
    fewest = _FEWEST_OF_A_LABEL * sum(count > 0 for count in train.label_counts().values())
    return sorted({size for half in range(HALVES) if (size := round(n / 2**half)) >= fewest} | {n})


def nested_order(train: Corpus, seed: int) -> list[int]:
    """Return the rows in the order in which sizes take them; it depends on seed, ids and groups only."""
    by_stratum: defaultdict[str, list[int]] = defaultdict(list)
    strata: Iterable[str | None] = rarest_labels(train)
    if train.groups is not None:
        strata = [group or f"\0{id_}" for group, id_ in zip(train.groups, train.ids, strict=True)]
    for row, stratum in enumerate(strata):
        by_stratum[str(stratum)].append(row)
    for rows in by_stratum.values():
        rows.sort(key=lambda row: sha_key(seed, train.ids[row]))
    if train.groups is not None:
        return [row for group in sorted(by_stratum, key=lambda name: sha_key(seed, name)) for row in by_stratum[group]]
    # The j-th of n rows of a label stands at j / n: every beginning has the shares of all, and a row of each label.
    place = {row: j / len(rows) for rows in by_stratum.values() for j, row in enumerate(rows)}
    return sorted(place, key=lambda row: (place[row], sha_key(seed, train.ids[row])))


def _finished(folder: Path, study: Study) -> FinishedTrainings:
    """Return the finished trainings in a folder, and those that are known beforehand."""
    path = folder / TRAININGS_FILE
    finished = FinishedTrainings(path, study.key, by=("size", "seed"))
    finished.require_same("a learning curve", f"Choose another --output, or remove {path} to begin anew.")
    finished.done = {(known.size, known.seed): asdict(known) for known in study.known} | finished.done
    return finished


def _train(study: Study, size: int, seed: int, name: str, work: Path, progress: Progress) -> Training | None:
    """Return a training of a size, or None where its rows have one label only."""
    # In the order of train: all of it is then trained as in a run.
    rows = study.train.take(sorted(nested_order(study.train, seed)[:size]))
    if sum(count > 0 for count in rows.label_counts().values()) < 2:
        progress.say(f"{name}: left out, as its texts have one label only.")
        return None
    groups = "" if rows.units is None else f" of {len(set(rows.units)):,} groups"
    progress.say(f"{name}{groups}")
    checkpoints = work / f"{size}-{seed}"
    try:
        _, result = fit_pretrained(
            rows, study.dev, settings=study.settings, seed=seed, checkpoints=checkpoints, progress=progress
        )
    except InterruptedRunError as error:
        raise InterruptedRunError(f"{name}: {error.what}", "The same command goes on where it was.") from error
    shutil.rmtree(checkpoints, ignore_errors=True)
    return Training(size, seed, *_best(result, rows.task))


def _best(result: Fit, task: TaskName) -> tuple[dict[str, float], int]:
    """Return the figures on dev of a training's best epoch, and that epoch."""
    entry = next(entry for entry in result.history if entry["epoch"] == result.best_epoch)
    return {name: entry[name] for name in history_names(result.metric, task)}, entry["epoch"]


def _require_ours(folder: Path) -> None:
    """Raise `RunError` if the folder holds something, and neither a run nor a curve."""
    ours = not folder.is_dir() or any((folder / name).exists() for name in ("run.json", TRAININGS_FILE, _WORK))
    if not ours and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise RunError(f"{folder} already holds something else.", "Choose another --output.")
