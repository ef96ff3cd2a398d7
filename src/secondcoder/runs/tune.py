"""Hyper-parameters chosen on dev: many trainings, of which the best becomes a run.

In: train and dev, settings, a number of trials. Out: a run folder as `secondcoder.runs.train.train` makes it with the
settings of the best trial, and in it

    tuning.json   what was searched, and every trial that is over, with its figures; no trial of it is made again
    tuning/       what the trial under way goes on from, and the weights of the best one; gone when the run is done

The test part is not looked at.
"""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.errors import InterruptedRunError, ModelError, RunError, SettingsError
from secondcoder.evaluation.metrics import is_better
from secondcoder.evaluation.tasks import task_rules
from secondcoder.progress import BarsOnly, Progress, default_progress
from secondcoder.runs.create import require_ours
from secondcoder.runs.folder import CHECKPOINTS, RUN_FILE
from secondcoder.runs.run import Run
from secondcoder.runs.train import require_learnable, train_with
from secondcoder.settings import DEFAULT_SEED, TrainSettings, TuneSettings, check_seed
from secondcoder.splits.split import Split, set_aside
from secondcoder.storage import from_plain, locked
from secondcoder.training.distributed import join_ranks
from secondcoder.training.finished import FinishedTrainings, trainings_key
from secondcoder.training.recipes import settled_for, wants_comparison
from secondcoder.training.search import Search, State, Trial, load_optuna, search_for
from secondcoder.training.seeds import fit_pretrained, start_for

TUNING_FILE = "tuning.json"
TUNING = "tuning"
"""Folder of the trial under way, and key of what was tried in ``run.json``."""


def tune(
    split: Split,
    *,
    output: Path | str,
    trials: int = TuneSettings.trials,
    timeout: float | None = None,
    settings: TrainSettings | None = None,
    seed: int = DEFAULT_SEED,
    progress: Progress | None = None,
) -> Run:
    """Return the run of the best of several trials on dev: learning rate, epochs, batch size and length are tried.

    The first trial is the settings as they are given. A trial that does worse after an epoch than half of those before
    it is given up. The run is the one that `secondcoder.train` makes with the settings of the best trial. As dev chose
    among many, its figures are more optimistic than usual, which the report says; judge by test.

    Stopped anywhere, the same call goes on where it was.

    Parameters
    ----------
    split
        Train, dev and test; the test part is stored and not looked at.
    output
        The run folder; it must be new or empty, or hold the tuning to go on with.
    trials
        How many, at most.
    timeout
        Minutes after which no trial is begun; unset, there is no end.
    settings
        What stays the same. What they name of what is searched is kept, or is the most that is tried: see
        ``docs/tuning.md``.
    seed
        Of the search, and of every training.
    progress
        Where to show how far it has come; a bar in notebooks, nothing elsewhere, unless given.

    Raises
    ------
    MissingExtraError
        If optuna is not installed (extra ``tune``).
    SettingsError
        If there is nothing to search.
    ModelError
        If the model cannot be had, or no trial came to its end.
    RunError
        If the folder holds something else, or a tuning of other data or settings.
    InterruptedRunError
        If the user stopped it; everything is saved.
    """
    plan, progress = TuneSettings(trials, timeout), progress or default_progress()
    check_seed(seed)
    load_optuna()
    settings, folder = _of_one_seed(settings or TrainSettings()), Path(output)
    require_learnable(split)
    few = wants_comparison(settings, split.train)
    settings = settled_for(split.train, settings)
    dev = split.dev if settings.max_error is None else set_aside(split.dev, seed=seed)[0]
    _require_ours(folder)
    if few:
        progress.say("train would compare recipes here, trials do not; --recipe names one for all of them.")
    with locked(folder):
        best, search, done = _Tuning(split.train, dev, settings, seed, folder).search(plan, progress)
        work = folder / TUNING / _name(best)
        if work.is_dir() and not (folder / RUN_FILE).exists():
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
            work.rename(folder / CHECKPOINTS)
    chosen = _with(settings.sized(len(split.train)).resolved(), best)
    run = train_with(split, chosen, output=folder, seed=seed, resume=True, progress=progress)
    _write_down(run, best, search, done)
    shutil.rmtree(folder / TUNING, ignore_errors=True)
    return run


@dataclass(frozen=True, eq=False)
class _Tuning:
    """A search: its rows, settings and folder."""

    train: Corpus
    dev: Corpus
    settings: TrainSettings
    seed: int
    folder: Path

    @property
    def metric(self) -> str:
        names = task_rules(self.train.task).figures
        return names.resolve(self.settings.metric, self.train.positive, self.train.label_names)

    def search(self, plan: TuneSettings, progress: Progress) -> tuple[Trial, Search, list[Trial]]:
        """Return the best trial, what was searched, and all trials, making those that are not done."""
        finished = FinishedTrainings(self.folder / TUNING_FILE, self._key, by=("number",), name="trials")
        finished.require_same("a tuning", "Tune into another --output, or remove the folder first.")
        done = [from_plain(Trial, trial) for trial in finished.done.values()]
        if len(done) < plan.trials and (self.folder / RUN_FILE).is_file():
            progress.say(f"{self.folder} has its best of {len(done)} trials already; more need another --output.")
            plan = replace(plan, trials=len(done))
        search = self._search()
        # Before the first trial: its checkpoints belong to these settings.
        finished.begin(metric=self.metric, searched=search.to_dict())
        for number in range(len(done), plan.trials):
            if plan.timeout is not None and done and sum(t.seconds for t in done) > 60 * plan.timeout:
                progress.say(f"Timeout reached after {number} of {plan.trials} trials.")
                break
            done.append(self._try(number, search, done, plan, progress))
            finished.add(done[-1].to_dict())
            self._keep_best_only(done)
        if (best := self._best(done)) is None:
            raise ModelError(
                f"No trial came to its end; the last one: {done[-1].reason}",
                "Name a lower --learning-rate or a smaller --max-length, and remove the folder.",
            )
        progress.say(f"Best of {len(done)} trials on dev: trial {best.number + 1}, {self.metric} {_told(best)}.")
        return best, search, done

    def _search(self) -> Search:
        settings = self.settings.sized(len(self.train))
        if settings.planned.epochs == 0:
            raise SettingsError("The recipe frozen trains no layer, so there is nothing to tune.", "Leave it out.")
        model = start_for(self.train, settings, seed=self.seed)
        longest = int(model.encoder.encode([*self.train.texts, *self.dev.texts]).full_lengths.max())
        better = is_better(self.metric, 1.0, 0.0)
        found = search_for(settings, model, longest=longest, higher_is_better=better, seed=self.seed)
        if not found.first:
            raise SettingsError("Everything that is searched was named, so there is nothing to tune.", "Name less.")
        return found

    def _try(self, number: int, search: Search, done: list[Trial], plan: TuneSettings, progress: Progress) -> Trial:
        """Make a trial, or go on with it."""
        started, values, figures = time.monotonic(), search.next(done), list[tuple[int, float]]()
        name = f"Trial {number + 1} of {plan.trials}"
        begun = Trial(number, values, "failed")

        def hear(entry: dict[str, Any]) -> None:
            figures.append((entry["epoch"], entry[self.metric]))
            if search.gives_up(done, values, figures):
                raise _GivenUp

        reason = ""
        state: State = "complete"
        try:
            fit_pretrained(
                self.train,
                self.dev,
                settings=_with(self.settings.sized(len(self.train)).resolved(), begun),
                seed=self.seed,
                checkpoints=self.folder / TUNING / _name(begun),
                progress=BarsOnly(progress),
                on_evaluation=hear,
            )
        except _GivenUp:
            state = "given up"
            progress.say(f"{name} is given up ({_listed(values)}): half of the trials before did better by then.")
        except ModelError as error:
            state, reason = "failed", error.what
            progress.say(f"{name} failed ({_listed(values)}): {error.what}")
        except InterruptedRunError as error:
            raise InterruptedRunError(f"{name}: {error.what}", "The same command goes on where it was.") from error
        best: tuple[int | None, float | None] = (None, None)
        for epoch, figure in figures:
            best = (epoch, figure) if is_better(self.metric, figure, best[1]) else best
        seconds = round(time.monotonic() - started, 1)
        trial = Trial(number, values, state, tuple(figures), best[1], best[0], seconds, reason)
        if state == "complete":
            progress.say(f"{name}: {self.metric} on dev {_told(trial)}.")
        return trial

    def _best(self, done: list[Trial]) -> Trial | None:
        """Return the first of the best ones of those that came to their end."""
        best: Trial | None = None
        for trial in done:
            figure = trial.best if trial.state == "complete" else None
            if figure is not None and is_better(self.metric, figure, best.best if best else None):
                best = trial
        return best

    def _keep_best_only(self, done: list[Trial]) -> None:
        """Remove what trials can be gone on from, but for the best one's: it is the run's."""
        best = self._best(done)
        for path in (self.folder / TUNING).glob("trial-*"):
            if best is None or path.name != _name(best):
                shutil.rmtree(path, ignore_errors=True)

    @property
    def _key(self) -> str:
        """Hash of everything that trials depend on."""
        return trainings_key(self.settings, self.train, self.dev, seed=self.seed)


class _GivenUp(Exception):  # noqa: N818  # no error
    """A trial is not worth going on with."""


def _of_one_seed(settings: TrainSettings) -> TrainSettings:
    """Return the settings of a single training."""
    if settings.is_tfidf:
        raise SettingsError(
            "The model tfidf chooses its settings by itself, by cross-validation on train: there is nothing to tune.",
            "Use secondcoder train.",
        )
    if settings.seeds not in (None, 1):
        raise SettingsError(
            f"seeds is {settings.seeds}, and a trial is one training.",
            "Leave it out, and train with the best settings and several seeds afterwards.",
        )
    if join_ranks(on_cpu=True).count > 1:
        raise SettingsError("Tuning was started in several processes; it runs in one.", "Start it plainly.")
    return replace(settings, seeds=1)


def _with(settings: TrainSettings, trial: Trial) -> TrainSettings:
    return replace(settings, **trial.values)


def _write_down(run: Run, best: Trial, search: Search, done: list[Trial]) -> None:
    """Let the run and its report say among how many trials it was chosen."""
    given_up = sum(trial.state == "given up" for trial in done)
    results = run.info["results"]
    about = Finding(
        "tuned",
        "warning",
        f"The settings were chosen on dev among {len(done)} trials ({given_up} of them given up early): dev's figures "
        "are those of the best one, and are more optimistic than those of a single training.",
        "Judge by test. Every trial stands in tuning.json.",
    ).to_dict()
    findings = [finding for finding in results["findings"] if finding["kind"] != "tuned"]
    run.update(
        results=results | {"findings": [*findings, about]},
        tuning={
            "trials": len(done),
            "given_up": given_up,
            "failed": sum(trial.state == "failed" for trial in done),
            "best": best.number,
            "best_on_dev": best.best,
            "first_on_dev": done[0].best,
            "searched": search.to_dict(),
            "seconds": round(sum(trial.seconds for trial in done), 1),
        },
    )
    run.write_report()


def _require_ours(folder: Path) -> None:
    if (folder / RUN_FILE).is_file() and not (folder / TUNING_FILE).is_file():
        raise RunError(f"{folder} already holds a run.", "Choose another --output.")
    if not any((folder / name).exists() for name in (TUNING_FILE, TUNING)):
        require_ours(folder)


def _name(trial: Trial) -> str:
    return f"trial-{trial.number + 1:03}"


def _told(trial: Trial) -> str:
    return f"{trial.best:.3f} after epoch {trial.best_epoch} ({_listed(trial.values)})"


def _listed(values: dict[str, Any]) -> str:
    shown = {name: f"{value:.2g}" if isinstance(value, float) else value for name, value in values.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
