"""Few labels: what that is, and what is found when recipes to learn from them are compared.

In: the train part and settings. Out: whether recipes are to be compared, and `RecipeComparison`.
"""

import copy
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.near_duplicates import find_near_duplicates
from secondcoder.environment import one_blas_thread
from secondcoder.errors import InterruptedRunError, SettingsError, SplitError
from secondcoder.evaluation.evaluate import points_of_rows
from secondcoder.evaluation.metrics import is_better
from secondcoder.evaluation.tasks import gold_of, task_rules
from secondcoder.model.model import Model
from secondcoder.progress import Progress
from secondcoder.settings import OF_NETWORKS, TFIDF, RecipeName, TrainOptions, TrainSettings
from secondcoder.splits.folds import assign_folds
from secondcoder.splits.units import FEWEST_GROUPS
from secondcoder.storage import sha256_strings, sha_key
from secondcoder.training.activation_cache import TokenInputs
from secondcoder.training.baselines import TfidfLogistic
from secondcoder.training.class_weights import settle_classes
from secondcoder.training.finished import FinishedTrainings, trainings_key
from secondcoder.training.heads import head_features, logistic_probabilities
from secondcoder.training.loop import fit
from secondcoder.training.seeds import start_for
from secondcoder.training.tfidf import TfidfSettings, choose_settings, searched

FEW = 800
"""Labels are few where train has at most so many texts: of more, the recipe of an effort has enough to learn from."""


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
        Folds that were judged, of all divisions; fewer than folds times repeats where the time was over.
    fewest
        Texts of the rarest class.
    settings
        What the chosen recipe stands for on all of train.
    folds_of
        By recipe: on how many of these folds it was judged, if not on all.
    why_not
        Why nothing was compared; empty where something was.
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
    folds_of: dict[str, int] = field(default_factory=dict)
    why_not: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` gave away, whatever else stands beside it."""
        found = cls(**{part.name: values[part.name] for part in fields(cls) if part.name in values})
        if found.figures or found.why_not:
            return found
        return replace(found, why_not="only one fits into the time")  # the one reason of earlier versions

    @property
    def told(self) -> str:
        """Figures and spread of what was compared, and what is better than the chosen one but was not taken."""
        figures = ", ".join(
            f"{name} {figure:.3f}" + (f" ± {self.spread[name]:.3f}" if name in self.spread else "")
            for name, figure in self.figures.items()
        )
        taken = self.figures[self.chosen]
        ahead = [name for name, figure in self.figures.items() if is_better(self.metric, figure, taken)]
        return figures + (f"; {' and '.join(ahead)} not better by enough for so few texts" if ahead else "")

    @property
    def sentence(self) -> str:
        """What was found."""
        taken = f"Taken: {self.chosen}" + ", TF-IDF with logistic regression, as by --model tfidf" * (
            self.chosen == TFIDF
        )
        if not self.figures:
            return f"Recipes are not compared, as {self.why_not}. {taken}."
        times = "" if self.repeats == 1 else f", {self.repeats} times"
        fewer = ", ".join(f"{name} on {n} of them" for name, n in self.folds_of.items())
        return (
            f"Recipes by cross-validation on train ({self.metric}, {self.n_folds} folds{times}{fewer and f' ({fewer})'}"
            f"; ± standard deviation between folds): {self.told}. {taken}."
        )


def fewest_labels(train: Corpus) -> int:
    """Return how many texts the rarest class has, of those that occur."""
    return min((count for count in train.label_counts().values() if count), default=0)


def has_one_class_each(rows: Corpus) -> bool:
    """Return whether each text has one class, and no shares of coders: what comparing texts by class takes."""
    return rows.shares is None and not rows.multi_label


def wants_comparison(settings: TrainSettings, train: Corpus) -> bool:
    """Return whether recipes are compared before a training, where nothing of one was named.

    With effort quick they are, at any number of labels; with normal where labels are few and each text has one.
    """
    named = [getattr(settings, name) for name in ("epochs", "freeze", "head_start", "lora", "class_weights")]
    if settings.recipe != "auto" or settings.is_tfidf or any(value is not None for value in named):
        return False
    if settings.effort == "quick":
        return train.shares is None
    return settings.effort == "normal" and has_one_class_each(train) and len(train) <= FEW


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


CHEAP = ("frozen", TFIDF)
"""Compared in all folds: what the encoder says of a text is computed once for all, and TF-IDF takes a moment."""
DEAR = ("contrastive", "full")
"""Compared on as many folds of one division as judge some texts, and where that takes a minute: each is a training."""
COMPARED = CHEAP + DEAR
FOLDS, QUICK_FOLDS = 5, 3
"""Into how many folds train is divided, and into how many with effort quick and many labels."""
# Folds of few texts are noise: they are made again in other ways until so many texts were judged, up to three times.
_JUDGED, _MOST_REPEATS = 200, 3
# But only where that is cheap: where train has no more characters than these, such as 100 sentences.
_CHEAP = 20_000
# Reading all of train may take so many seconds with effort quick, or it is learned from without the encoder.
_QUICK_SECONDS = 20.0
# Of fewer texts nothing is compared: the figures would be chance, and what is expected of recipes decides.
_FEWEST_COMPARED = 50
# On fewer folds a recipe that is trained anew is not judged.
_FEWEST_FOLDS = 2
# A text that is learned from costs so many times what it costs to be read; of contrastive, half of the layers do.
_LEARNING = {"full": 3, "contrastive": 2}
_PROBED = 16
# So many seconds for so many texts, and as many more for more.
_DEAR_SECONDS, _DEAR_TEXTS = 45.0, 100
# What is expected of recipes before looking, in the figure, and how many texts' word that is worth.
_EXPECTED = {"frozen": 0.0, TFIDF: -0.05, "contrastive": 0.01, "full": -0.02}
_EXPECTED_TEXTS = 50
# It may take so many times what was estimated, and so many seconds more.
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
    ModelError
        If the model cannot be had.
    """
    metric = task_rules(train.task).figures.resolve(settings.metric, train.positive, train.label_names)
    work = _Work(train, replace(settings, seeds=1), seed, folder)
    if not work.quick and len(train) < _FEWEST_COMPARED:
        best = max(_EXPECTED, key=_EXPECTED.__getitem__)
        why_not = f"figures of {len(train)} texts (fewer than {_FEWEST_COMPARED}) would be mostly chance"
        return work.uncompared(best, metric, why_not)
    if work.quick and work.seconds_a_text[0] * len(train) > _QUICK_SECONDS:
        why_not = f"reading all of train by the model takes more than {_QUICK_SECONDS:.0f} s; --recipe frozen does it"
        return work.uncompared(TFIDF, metric, why_not)
    try:
        rounds = work.rounds()
    except SplitError as error:
        progress.say(f"Recipes for few labels are not compared, and the effort's is taken: {error.what}")
        return None
    finished = work.open(rounds, progress)
    wanted = work.wanted(rounds, finished.head["folds_of"])
    with progress.task("recipes", len(wanted), unit="trainings") as task:
        for number, recipe in wanted:
            if number and sum(fold["seconds"] for fold in finished.done.values()) > finished.head["limit"]:
                progress.say(f"Timeout reached: recipes are compared on {number} of {len(rounds)} folds.")
                break
            if (number, recipe) not in finished.done:
                where = f"Comparing recipes, fold {number + 1} of {len(rounds)}, {recipe}"
                found, seconds = work.judge(recipe, rounds[number].rows, where)
                about = {"round": number, "recipe": recipe, "seconds": seconds}
                finished.add(about | {"probabilities": found.tolist()})
            task.advance(1, note=recipe)
    return work.sum_up(finished, rounds, metric)


def cross_validate(train: Corpus, settings: TrainSettings, *, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return what cheap ways say about every row of train after learning from others: ndarray of shape (n, k) each.

    Parameters
    ----------
    train
        Rows that all have a text and a label.
    settings
        Whose model stays as it is, with a logistic regression on what it says (``"frozen"``); beside it stands TF-IDF
        (``"tfidf"``), alone where that is the model.
    seed
        Of the folds.

    Raises
    ------
    ModelError
        If the model cannot be had.
    SplitError
        If train cannot be divided into folds.
    """
    work = _Work(train, settings, seed, Path())
    found = {way: np.full((len(train), len(train.label_names)), np.nan) for way in CHEAP[settings.is_tfidf :]}
    for this in work.rounds():
        if not this.repeat:
            for way, said in found.items():
                said[this.rows], _ = work.judge(way, this.rows, "")
    if any(np.isnan(said).any() for said in found.values()):
        raise SplitError("a fold leaves texts of one label only.", "Label more texts.")
    return found


@dataclass(frozen=True)
class _Round:
    """Rows that are judged together, and in which of the divisions into folds."""

    repeat: int
    rows: list[int]


class _Work:
    """A comparison: its rows, settings and folder, and what its folds share.

    With effort quick, of many rows some are drawn.
    """

    def __init__(self, train: Corpus, settings: TrainSettings, seed: int, folder: Path) -> None:
        self.n_train, self.settings, self.seed, self.folder = len(train), settings, seed, folder
        self.quick = settings.effort == "quick"
        self.many = self.quick and len(train) > FEW
        self.train = searched(train) if self.many else train

    @cached_property
    def _fresh(self) -> Model:
        return start_for(self.train, self._by("frozen", len(self.train)), seed=self.seed)

    @cached_property
    def _features(self) -> NDArray[np.float32]:
        """What the head reads of the encoder as it is: the same in all folds."""
        encoder = self._fresh.encoder
        return head_features(self._fresh, TokenInputs(encoder, encoder.encode(self.train.texts)), Progress())

    @cached_property
    def _gold(self) -> NDArray[Any]:
        return gold_of(self.train, self.train.label_names)

    @cached_property
    def _tfidf(self) -> TfidfSettings | None:
        """What TF-IDF is given in all folds, where that is not chosen anew in each, which takes longer."""
        if not self.many:
            return None
        with one_blas_thread():
            return choose_settings(self.train, tune_threshold=self.settings.tune_threshold)

    @property
    def n_folds(self) -> int:
        units, most = self.train.units, QUICK_FOLDS if self.many else FOLDS
        return min(most, max(2, fewest_labels(self.train)) if units is None else max(FEWEST_GROUPS, len(set(units))))

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
        found = [this for this in found if len({self.train.labels[row] for row in self._others(this.rows)}) > 1]
        if not found:
            raise SplitError("every fold leaves texts of one label only.", "Label more texts.")
        return found

    def open(self, rounds: list[_Round], progress: Progress) -> FinishedTrainings:
        """Return the finished folds, and say what will be done and how long it may take."""
        key = trainings_key(self.settings, self.train, seed=self.seed)
        finished = FinishedTrainings(
            self.folder / "plan.json",
            # An earlier version may have divided otherwise, or compared others.
            sha256_strings([key, *COMPARED, *(str(this.rows) for this in rounds)]),
            by=("round", "recipe"),
            lines=self.folder / "folds.jsonl",
        )
        if not finished.begun:
            shutil.rmtree(self.folder, ignore_errors=True)
            folds_of, expected = self._afforded(rounds)
            finished.begin(expected=expected, limit=_PATIENCE * expected + _LEAST_PATIENCE, folds_of=folds_of)
        compared = finished.head["folds_of"]
        left_out = [recipe for recipe in (CHEAP if self.quick else COMPARED) if recipe not in compared]
        some = f" ({len(self.train):,} texts of it)" if len(self.train) < self.n_train else ""
        told = (
            f"{', '.join(compared)} are compared on train{some}, in {self.n_folds} folds. That takes about "
            f"{_told(finished.head['expected'])}, at most {_told(finished.head['limit'])}; --recipe names one and "
            "spares it."
        )
        why = f"Not compared, as that would take too long: {', '.join(left_out)}." if left_out else ""
        opening = "" if self.quick else f"Few labels ({self.n_train} texts of train, at most {FEW}): "
        progress.say(f"{opening}{told} {why}".strip())
        return finished

    def wanted(self, rounds: Sequence[_Round], folds_of: Mapping[str, int]) -> list[tuple[int, str]]:
        """Return the trainings in their order: a fold's number and a recipe."""
        return [(i, recipe) for i in range(len(rounds)) for recipe, n in folds_of.items() if i < n]

    def judge(self, recipe: str, rows: list[int], where: str) -> tuple[NDArray[np.float64], float]:
        """Return what a recipe says about rows after learning from the others, shape (rows, k), and its seconds."""
        started, others = time.monotonic(), self._others(rows)
        learned, judged = self.train.take(others), self.train.take(rows)
        if recipe == "frozen":
            features = self._features
            found = logistic_probabilities(features[others], self._gold[others], features[rows], self._fresh)
            return found, time.monotonic() - started
        if recipe == TFIDF:
            with one_blas_thread():
                simple = TfidfLogistic().fit(learned, settings=self._tfidf)
            return simple.predict_proba(judged.texts), time.monotonic() - started
        settings = self._by(recipe, len(learned))
        checkpoints = self.folder / "training" / f"{recipe}-{sha_key(self.seed, str(rows)).hex()[:12]}"
        model = Model(copy.deepcopy(self._fresh.network), self._fresh.encoder, self._fresh.card)
        try:
            result = fit(
                model,
                learned,
                judged,
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
        done, folds_of = finished.done, finished.head["folds_of"]
        wanted = self.wanted(rounds, folds_of)
        judged = [i for i in range(len(rounds)) if all(one in done for one in wanted if one[0] == i)]
        of = {recipe: [i for i in judged if (i, recipe) in done] for recipe in folds_of}
        said = {
            (i, recipe): (rounds[i].rows, np.array(done[i, recipe]["probabilities"]))
            for recipe in of
            for i in of[recipe]
        }

        def figure(recipe: str, among: list[int]) -> float:
            """Of the rows of several folds: the mean over the divisions that they stand in."""
            divisions = [[i for i in among if rounds[i].repeat == repeat] for repeat in range(self.repeats)]
            return statistics.mean(self._figure([said[i, recipe] for i in d], metric) for d in divisions if d)

        figures = {recipe: figure(recipe, of[recipe]) for recipe in of}
        each = {recipe: [self._figure([said[i, recipe]], metric) for i in of[recipe]] for recipe in of}
        sign = 1 if is_better(metric, 1.0, 0.0) else -1

        def worth(recipe: str, among: list[int]) -> float:
            return sign * figure(recipe, among) + _EXPECTED[recipe] * _EXPECTED_TEXTS / len(self.train)

        chosen = max(CHEAP, key=lambda recipe: worth(recipe, of[recipe]))
        leads = {recipe: worth(recipe, of[recipe]) - worth(chosen, of[recipe]) for recipe in of if recipe in DEAR}
        chosen = max((recipe for recipe in leads if leads[recipe] > 0), key=leads.__getitem__, default=chosen)
        return RecipeComparison(
            chosen,
            metric,
            figures,
            {recipe: statistics.stdev(values) for recipe, values in each.items() if len(values) > 1},
            {r: round(sum(fold["seconds"] for fold in done.values() if fold["recipe"] == r), 1) for r in of},
            self.n_folds,
            self.repeats,
            len(judged),
            fewest_labels(self.train),
            self._settings_of(chosen),
            {recipe: len(each) for recipe, each in of.items() if len(each) < len(judged)},
        )

    def uncompared(self, recipe: str, metric: str, why_not: str) -> RecipeComparison:
        """Return a recipe that is taken without a look at others."""
        fewest, settings = fewest_labels(self.train), self._settings_of(recipe)
        return RecipeComparison(recipe, metric, {}, {}, {}, 0, 0, 0, fewest, settings, why_not=why_not)

    def _settings_of(self, recipe: str) -> dict[str, Any]:
        if recipe == TFIDF:
            return {"model": TFIDF, "seeds": 1} | {name: getattr(TrainOptions, name) for name in OF_NETWORKS}
        settings = self._by(recipe, self.n_train)
        return {name: getattr(settings, name) for name in ("recipe", "epochs", "freeze", "head_start")}

    def _others(self, rows: list[int]) -> list[int]:
        """Return what is learned from where these rows are judged: none of them, and none of their texts."""
        judged, texts = set(rows), {self.train.texts[row] for row in rows}
        return [row for row in range(len(self.train)) if row not in judged and self.train.texts[row] not in texts]

    def _by(self, recipe: str, n: int) -> TrainSettings:
        named = cast(RecipeName, recipe)
        return replace(self.settings, recipe=named, epochs=None, freeze=None, head_start=None).sized(n).resolved()

    def _figure(self, said: list[tuple[list[int], NDArray[np.float64]]], metric: str) -> float:
        """Return the figure of rows and what is said about them, at the best thresholds where they are tuned."""
        rows = [row for some, _ in said for row in some]
        probabilities = np.concatenate([found for _, found in said])
        positive = self.train.positive if self.settings.tune_threshold else None
        thresholds = task_rules(self.train.task).thresholds(
            self._gold[rows], probabilities, self.train.label_names, positive
        )
        return points_of_rows(self.train.take(rows), probabilities, thresholds=thresholds).figure(metric)

    def _afforded(self, rounds: list[_Round]) -> tuple[dict[str, int], float]:
        """Return on how many folds each recipe is judged that can be afforded, and how many seconds all will take.

        That is estimated by reading a few texts.
        """
        n = len(self.train)
        reading, in_steps = self.seconds_a_text
        # Each text once for all, and in each division once to be judged; a second for TF-IDF.
        folds_of, expected = dict.fromkeys(CHEAP, len(rounds)), reading * n * (1 + self.repeats) + len(rounds)
        if self.quick:
            return folds_of, expected
        first = [len(this.rows) for this in rounds if this.repeat == rounds[0].repeat]
        folds = min(int(np.searchsorted(np.cumsum(first), _JUDGED)) + 1, len(first))
        learned, left = n * (1 - 1 / self.n_folds), _DEAR_SECONDS * max(1.0, n / _DEAR_TEXTS)
        for recipe in DEAR:
            epochs = self._by(recipe, round(learned)).planned.epochs
            passes = 1 + _LEARNING[recipe] * epochs
            each = reading * n / self.n_folds + in_steps * learned * passes
            afforded = min(folds, int(left / each))
            if afforded >= _FEWEST_FOLDS:
                left, expected = left - afforded * each, expected + afforded * each
                folds_of[recipe] = afforded
        return folds_of, expected

    @cached_property
    def seconds_a_text(self) -> tuple[float, float]:
        """Return how long it takes to read a text among others of its length, and in a step with texts of any."""
        model, texts = self._fresh, self.train.texts[:: max(1, len(self.train) // _PROBED)]
        encoded = model.encoder.encode(texts)
        shape = len(encoded.lengths), int(encoded.lengths.max())
        batch = model.encoder.batch(encoded, np.arange(shape[0]), shape)
        model.backend.logits(batch)  # the first time warms up
        started = time.monotonic()
        model.backend.logits(batch)
        in_steps = (time.monotonic() - started) / len(texts)
        return in_steps * float(encoded.lengths.sum()) / (shape[0] * shape[1]), in_steps


def _told(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
