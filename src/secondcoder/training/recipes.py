"""Few labels: what that is, and what is found when recipes to learn from them are compared.

In: the train part and settings. Out: whether recipes are to be compared, and `RecipeComparison`.
"""

import shutil
import statistics
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.near_duplicates import find_near_duplicates
from secondcoder.errors import InterruptedRunError, SettingsError, SplitError
from secondcoder.evaluation.evaluate import evaluate_points
from secondcoder.evaluation.metrics import is_better
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.model import Model
from secondcoder.progress import Progress
from secondcoder.settings import RecipeName, TrainSettings
from secondcoder.splits.folds import assign_folds
from secondcoder.splits.units import FEWEST_GROUPS
from secondcoder.storage import sha256_strings, sha_key
from secondcoder.training.class_weights import settle_classes
from secondcoder.training.finished import FinishedTrainings, trainings_key
from secondcoder.training.loop import fit
from secondcoder.training.seeds import start_for

FEW = 50
"""Labels are few where the rarest class of train that occurs at all has fewer texts than these."""
MOST_TEXTS = 1000
"""Larger train parts are not compared on, however rare a class: there the effort's recipe has enough to learn from."""


@dataclass(frozen=True)
class RecipeComparison:
    """What cross-validation on train says about recipes.

    Attributes
    ----------
    chosen
        The best one.
    metric
        The figure that chose.
    figures
        By recipe: the figure of all rows, each judged by a model that has not learned from it; the mean of several
        divisions into folds, where there were several.
    spread
        By recipe: the standard deviation of the figure between folds; empty where there was one.
    seconds
        By recipe: spent on it.
    n_folds, repeats
        Folds, and how often they were made.
    trainings
        That were judged, of each recipe; fewer than folds times repeats where the time was over.
    fewest
        Texts of the rarest class.
    settings
        What the chosen recipe stands for on all of train.
    """

    chosen: str
    metric: str
    figures: dict[str, float]
    spread: dict[str, float]
    seconds: dict[str, float]
    n_folds: int
    repeats: int
    trainings: int
    fewest: int
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` gave away, whatever else stands beside it."""
        return cls(**{part.name: values[part.name] for part in fields(cls)})

    @property
    def told(self) -> str:
        """The figure of each recipe, and how far it spreads."""
        return ", ".join(
            f"{name} {figure:.3f}" + (f" ± {self.spread[name]:.3f}" if name in self.spread else "")
            for name, figure in self.figures.items()
        )

    @property
    def sentence(self) -> str:
        """What was found."""
        often = "" if self.repeats == 1 else f", {self.repeats} times"
        return (
            f"Recipes by cross-validation on train ({self.metric}, {self.n_folds} folds{often}; ± standard deviation "
            f"between folds): {self.told}. Taken: {self.chosen}."
        )


def fewest_labels(train: Corpus) -> int:
    """Return how many texts the rarest class has, of those that occur."""
    return min((count for count in train.label_counts().values() if count), default=0)


def has_one_class_each(rows: Corpus) -> bool:
    """Return whether each text has one class, and no shares of coders: what comparing texts by class takes."""
    return rows.shares is None and not rows.multi_label


def wants_comparison(settings: TrainSettings, train: Corpus) -> bool:
    """Return whether recipes are compared before a training: few labels, effort normal, and nothing of one named."""
    named = [getattr(settings, name) for name in ("epochs", "freeze", "head_start", "lora", "class_weights")]
    return (
        settings.effort == "normal"
        and settings.recipe == "auto"
        and not settings.is_tfidf
        and not any(value is not None for value in named)
        and has_one_class_each(train)
        and fewest_labels(train) < FEW
        and len(train) <= MOST_TEXTS
    )


def settled_for(train: Corpus, settings: TrainSettings) -> TrainSettings:
    """Return the settings held against the rows that they are for, in one process; see `settle_classes`."""
    require_possible(settings, train, processes=1)
    return settle_classes(settings, train)


def require_possible(settings: TrainSettings, train: Corpus, *, processes: int) -> None:
    """Raise `SettingsError` if a recipe was named that cannot be used here, or TF-IDF cannot."""
    if settings.is_tfidf:
        _require_possible_tfidf(settings, train, processes)
    if train.shares is not None and settings.planned.epochs == 0:
        raise SettingsError(
            "Without epochs the head is a logistic regression, which learns one class a text: shares of coders would "
            "not be used.",
            "Take --recipe full, or name the column with the most frequent class by --label.",
        )
    if settings.recipe == "contrastive":
        if processes > 1:
            raise SettingsError(
                f"The recipe contrastive was asked for in {processes} processes; it compares texts within one.",
                "Start one process, or take --recipe full.",
            )
        if not has_one_class_each(train):
            raise SettingsError(
                "The recipe contrastive compares texts of one class each, and here a text may have several.",
                "Take --recipe full.",
            )


def _require_possible_tfidf(settings: TrainSettings, train: Corpus, processes: int) -> None:
    if train.shares is not None:
        raise SettingsError(
            "The model tfidf learns one class a text, or several; shares of coders would not be used.",
            "Name the column with the most frequent class by --label, or a pre-trained model.",
        )
    if processes > 1 or settings.planned.seeds > 1:
        often = f"in {processes} processes" if processes > 1 else f"with {settings.planned.seeds} seeds"
        raise SettingsError(
            f"The model tfidf was to be trained {often}, and nothing of it is chance: all would be the same.",
            "Train it once, in one process.",
        )


COMPARED: tuple[RecipeName, ...] = ("frozen", "contrastive", "full")
FOLDS = 5
# Folds of few texts are noise: they are made again in other ways until so many texts were judged, up to three times.
_JUDGED, _MOST_REPEATS = 200, 3
# But only where that is cheap: where train has no more characters than these, such as 100 sentences.
_CHEAP = 20_000
# A text that is learned from costs so many times what it costs to be read; a contrastive one is computed twice.
_LEARNING: dict[RecipeName, int] = {"frozen": 0, "full": 3, "contrastive": 4}
_PROBED = 16
# It may take so many times what was foretold, and so many seconds more.
_PATIENCE, _LEAST_PATIENCE = 2.0, 30.0


def settle(
    settings: TrainSettings, train: Corpus, *, seed: int, folder: Path, progress: Progress
) -> tuple[TrainSettings, RecipeComparison | None]:
    """Return the settings of a training on train, and, with few labels, what recipes gave there; see `compare_recipes`.

    Settings that name a recipe keep it, and are filled in for so many texts.
    """
    found = None
    if wants_comparison(settings, train):
        found = compare_recipes(train, settings, seed=seed, folder=folder, progress=progress)
    return (replace(settings, **found.settings) if found else settings.sized(len(train))), found


def compare_recipes(
    train: Corpus, settings: TrainSettings, *, seed: int, folder: Path, progress: Progress
) -> RecipeComparison | None:
    """Return which recipe does best on train, and what the others gave; None where train cannot be cross-validated.

    The folds keep the shares of the labels, or are made of whole groups where there are any. In each fold every recipe
    learns from the other folds, for as many epochs as it would take, and the end of that training is judged: no epoch
    is chosen.

    Stopped anywhere, the same call goes on where it was, and repeats no training that was finished.

    Parameters
    ----------
    train
        Rows that all have a text and a label.
    settings
        Without a recipe.
    seed
        Of folds and trainings.
    folder
        For what it goes on from; the caller removes it.
    progress
        Where to show how far it has come.

    Raises
    ------
    InterruptedRunError
        If the user stopped it; everything is saved.
    """
    metric = task_rules(train.task).figures.resolve(settings.metric, train.positive, train.label_names)
    work = _Work(train, replace(settings, seeds=1), seed, folder)
    try:
        rounds = work.rounds()
    except SplitError as error:
        progress.say(f"Recipes for few labels are not compared, and the effort's is taken: {error.what}")
        return None
    finished = work.open(rounds, progress)
    with progress.task("recipes", len(rounds) * len(COMPARED), unit="trainings") as task:
        for number, this in enumerate(rounds):
            if number and sum(fold["seconds"] for fold in finished.done.values()) > finished.head["limit"]:
                progress.say(f"Timeout reached: recipes are compared on {number} of {len(rounds)} folds.")
                break
            for recipe in COMPARED:
                if (number, recipe) not in finished.done:
                    where = f"Comparing recipes, fold {number + 1} of {len(rounds)}, {recipe}"
                    found, seconds = work.judge(recipe, this.rows, where)
                    about = {"round": number, "recipe": recipe, "seconds": seconds}
                    finished.add(about | {"probabilities": found.tolist()})
                task.advance(1, note=recipe)
    return work.sum_up(finished, rounds, metric)


@dataclass(frozen=True)
class _Round:
    """Rows that are judged together, and in which of the divisions into folds."""

    repeat: int
    rows: list[int]


@dataclass(frozen=True, eq=False)
class _Work:
    """A comparison: its rows, settings and folder."""

    train: Corpus
    settings: TrainSettings
    seed: int
    folder: Path

    @property
    def n_folds(self) -> int:
        units = self.train.units
        return min(FOLDS, max(2, fewest_labels(self.train)) if units is None else max(FEWEST_GROUPS, len(set(units))))

    @property
    def repeats(self) -> int:
        if sum(map(len, self.train.texts)) > _CHEAP:
            return 1
        return min(_MOST_REPEATS, max(1, _JUDGED // len(self.train)))

    def rounds(self) -> list[_Round]:
        """Return the rows that are judged together, fold by fold."""
        found = []
        near = find_near_duplicates(self.train.texts, range(len(self.train)))
        for i in range(self.repeats):
            of_row = assign_folds(self.train, self.n_folds, seed=self.seed + i, near=near)
            found += [_Round(i, np.flatnonzero(of_row == fold).tolist()) for fold in range(self.n_folds)]
        # Where the rest has one label only there is nothing to learn.
        found = [this for this in found if len(set(self._others(this.rows).labels)) > 1]
        if not found:
            raise SplitError("every fold leaves texts of one label only.", "Label more texts.")
        return found

    def open(self, rounds: list[_Round], progress: Progress) -> FinishedTrainings:
        """Return the finished folds, and say what will be done and how long it may take."""
        n_rounds, key = len(rounds), trainings_key(self.settings, self.train, seed=self.seed)
        finished = FinishedTrainings(
            self.folder / "plan.json",
            sha256_strings(
                [key, *(str(this.rows) for this in rounds)]
            ),  # an earlier version may have divided otherwise
            by=("round", "recipe"),
            lines=self.folder / "folds.jsonl",
        )
        if not finished.begun:
            shutil.rmtree(self.folder, ignore_errors=True)
            expected = self._expect(n_rounds)
            finished.begin(expected=expected, limit=_PATIENCE * expected + _LEAST_PATIENCE)
        progress.say(
            f"Few labels ({fewest_labels(self.train)} of the rarest class, under {FEW}): {', '.join(COMPARED)} are "
            f"compared on train, in {n_rounds} trainings each. That takes about {_told(finished.head['expected'])}, "
            f"at most {_told(finished.head['limit'])}; --recipe names one and spares it."
        )
        return finished

    def judge(self, recipe: RecipeName, rows: list[int], where: str) -> tuple[NDArray[np.float64], float]:
        """Return what a recipe says about rows after learning from the others, shape (rows, k), and its seconds."""
        started, learned = time.monotonic(), self._others(rows)
        settings = self._by(recipe, len(learned))
        checkpoints = self.folder / "training" / f"{recipe}-{sha_key(self.seed, str(rows)).hex()[:12]}"
        try:
            result = fit(
                self._start(settings),
                learned,
                self.train.take(rows),
                settings=settings,
                seed=self.seed,
                checkpoints=checkpoints,
                resume=any(checkpoints.glob("checkpoint-*")),
                judge_each=False,
            )
        except InterruptedRunError as error:
            raise InterruptedRunError(f"{where}: {error.what}", error.cure) from error
        shutil.rmtree(checkpoints, ignore_errors=True)
        assert result.best_scores is not None  # a training that came to its end was judged
        return result.best_scores.probabilities, time.monotonic() - started

    def sum_up(self, finished: FinishedTrainings, rounds: list[_Round], metric: str) -> RecipeComparison:
        """Return what the finished folds say."""
        done = finished.done
        judged = [i for i in range(len(rounds)) if all((i, recipe) in done for recipe in COMPARED)]
        divisions = [[i for i in judged if rounds[i].repeat == repeat] for repeat in range(self.repeats)]
        figures: dict[str, float] = {}
        spread: dict[str, float] = {}
        for recipe in COMPARED:
            said = {i: (rounds[i].rows, np.array(done[i, recipe]["probabilities"])) for i in judged}
            each = [self._figure([said[i]], metric) for i in judged]
            figures[recipe] = statistics.mean(self._figure([said[i] for i in d], metric) for d in divisions if d)
            spread |= {recipe: statistics.stdev(each)} if len(each) > 1 else {}
        chosen = COMPARED[0]
        for recipe in COMPARED[1:]:
            chosen = recipe if is_better(metric, figures[recipe], figures[chosen]) else chosen
        settings = self._by(chosen, len(self.train))
        return RecipeComparison(
            chosen,
            metric,
            figures,
            spread,
            {r: round(sum(fold["seconds"] for fold in done.values() if fold["recipe"] == r), 1) for r in COMPARED},
            self.n_folds,
            self.repeats,
            len(judged),
            fewest_labels(self.train),
            {name: getattr(settings, name) for name in ("recipe", "epochs", "freeze", "head_start")},
        )

    def _others(self, rows: list[int]) -> Corpus:
        """Return what is learned from where these rows are judged: none of them, and none of their texts."""
        judged, texts = set(rows), {self.train.texts[row] for row in rows}
        return self.train.take(
            [row for row in range(len(self.train)) if row not in judged and self.train.texts[row] not in texts]
        )

    def _by(self, recipe: RecipeName, n: int) -> TrainSettings:
        return replace(self.settings, recipe=recipe, epochs=None, freeze=None, head_start=None).sized(n).resolved()

    def _start(self, settings: TrainSettings) -> Model:
        return start_for(self.train, settings, seed=self.seed)

    def _figure(self, said: list[tuple[list[int], NDArray[np.float64]]], metric: str) -> float:
        """Return the figure of rows and what is said about them."""
        labels = [str(self.train.labels[row]) for rows, _ in said for row in rows]
        probabilities = np.concatenate([found for _, found in said])
        names, positive, task = self.train.label_names, self.train.positive, self.train.task
        return evaluate_points(labels, probabilities, names, positive=positive, task=task).figure(metric)

    def _expect(self, n_rounds: int) -> float:
        """Return how many seconds it will take, by the time that it takes to read some of the texts."""
        started, n = time.monotonic(), len(self.train)
        model = self._start(self._by("frozen", n))
        loading = time.monotonic() - started
        probed = self.train.texts[:: max(1, n // _PROBED)]
        model.score(probed[:1])  # the first text warms up
        started = time.monotonic()
        model.score(probed)
        reading = (time.monotonic() - started) / len(probed)
        learned = n * (1 - 1 / self.n_folds)
        # Read once to judge, or for the head to start, and as often as it is learned from.
        read = sum(n + learned * _LEARNING[r] * self._by(r, round(learned)).planned.epochs for r in COMPARED)
        return n_rounds * (len(COMPARED) * loading + reading * read)


def _told(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
