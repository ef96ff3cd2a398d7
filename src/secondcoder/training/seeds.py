"""Many trainings where one is asked for.

In: train, dev and settings. Out: the best of several seeds, chosen on dev, with what the others gave; and the spread of
any figures that several trainings gave. No `FinishedTrainings`: a finished seed is read from its last checkpoint alone.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.evaluate import points_of_rows
from secondcoder.evaluation.metrics import is_better
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.classifier import Classifier
from secondcoder.model.loading import start_model
from secondcoder.model.model import Model
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training.baselines import MajorityClass
from secondcoder.training.distributed import ALONE, Ranks
from secondcoder.training.loop import Fit, dev_thresholds, fit
from secondcoder.training.text_pool import TextPool
from secondcoder.training.tfidf_classifier import fit_tfidf


def below_majority(train: Corpus, dev: Corpus, metric: str, best: float, *, steps: bool = True) -> Finding | None:
    """Return a warning if the model's best figure on dev is no better than that of always saying the same.

    `steps`: whether it was trained in steps, so that more of them may help.
    """
    always = MajorityClass().fit(train).predict_proba(dev.texts)
    figure = points_of_rows(dev, always).figure(metric)
    longer = "train longer (--epochs), try another --learning-rate, " * steps
    if is_better(metric, best, figure):
        return None
    return Finding(
        "below-majority",
        "warning",
        f"On dev the model is no better than always giving the most frequent label: {metric} {best:.3f} against "
        f"{figure:.3f}. Do not use its labels.",
        f"Label more texts, {longer}or look whether the labels can be told from the texts at all.",
    )


@dataclass(frozen=True)
class Spread:
    """How figures differ between trainings.

    Attributes
    ----------
    mean
        By the figure's name.
    standard_deviation
        By the figure's name, with n - 1; empty where there is one training only.
    """

    mean: dict[str, float]
    standard_deviation: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass
class BestOfSeeds(Fit):
    """How the training with the best seed went, and what the others gave.

    Attributes
    ----------
    seed_evaluations
        For each seed, every figure on dev of its best epoch, those of the classes too.
    """

    seed_evaluations: dict[str, dict[str, float]] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return what the run folder says about it, as plain JSON values; ``seeds`` holds figures, mean and spread."""
        found = spread(list(self.seed_evaluations.values()))
        return super().summary() | {"seeds": {"figures": self.seed_evaluations, **found.to_dict()}}


def spread(figures: Sequence[Mapping[str, float]]) -> Spread:
    """Return mean and standard deviation of each figure over several trainings, all of which have the same ones."""
    columns = {name: [by_name[name] for by_name in figures] for name in figures[0]}
    return Spread(
        {name: statistics.mean(column) for name, column in columns.items()},
        {name: statistics.stdev(column) for name, column in columns.items()} if len(figures) > 1 else {},
    )


def fit_pretrained(
    train: Corpus,
    dev: Corpus,
    *,
    settings: TrainSettings,
    seed: int,
    checkpoints: Path,
    texts: TextPool | None = None,
    progress: Progress,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> tuple[Classifier, Fit]:
    """Return the model of the settings, trained as a run's is, and how that went.

    It goes on from what is in `checkpoints`; that they belong to the same texts and settings is for the caller to see
    to.
    """
    return fit_seeds(
        lambda seed: start_for(train, settings, seed=seed),
        train,
        dev,
        settings=settings,
        seed=seed,
        checkpoints=checkpoints,
        resume=any(checkpoints.rglob("checkpoint-*")),
        texts=texts,
        progress=progress,
        on_evaluation=on_evaluation,
    )


def start_for(train: Corpus, settings: TrainSettings, *, seed: int) -> Model:
    """Return the pre-trained model of the settings, with an untrained head for the labels and the task of some rows.

    Raises
    ------
    ModelError
        If the model cannot be had.
    SettingsError
        If the device is not there or the maximum length too long.
    """
    model = start_model(
        settings,
        label_names=train.label_names,
        seed=seed,
        positive=train.positive,
        text_column=train.source.columns.get("text"),
    )
    model.card = model.card.with_scheme_of(train)
    # What other consumers of the folder, `transformers.pipeline` for one, ask before they score.
    config = model.network.config
    config.problem_type = task_rules(train.task).problem_type(config.problem_type)  # type: ignore[assignment]
    return model


def fit_seeds(
    start: Callable[[int], Model],
    train: Corpus,
    dev: Corpus,
    *,
    settings: TrainSettings,
    seed: int,
    checkpoints: Path,
    resume: bool = False,
    ranks: Ranks = ALONE,
    texts: TextPool | None = None,
    progress: Progress,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> tuple[Classifier, Fit]:
    """Return the best model on dev of as many seeds as the settings say, and how its training went; TF-IDF has none.

    Parameters
    ----------
    start
        Gives the model with a fresh head for a seed.
    train, dev, settings, seed, ranks, texts, progress, on_evaluation
        As in `secondcoder.training.loop.fit`; the other seeds follow `seed`.
    checkpoints
        Folder for a folder of checkpoints for each seed; what is there of a finished one is all that is read of it.
    resume
        Go on where it was stopped.
    """
    if settings.is_tfidf:
        simple, found = fit_tfidf(train, dev, settings=settings, seed=seed)
        on_evaluation({"seed": seed, **found.history[0]})
        return _warned(simple, found, train, dev, progress, steps=False)
    best: tuple[Model, Fit] | None = None
    figures: dict[str, float] = {}
    evaluations: dict[str, dict[str, float]] = {}
    seeds = range(seed, seed + settings.planned.seeds)
    for this in seeds:
        if len(seeds) > 1:
            progress.say(f"Seed {this} ({this - seed + 1} of {len(seeds)})")
        model = start(this)
        result = fit(
            model,
            train,
            dev,
            settings=settings,
            seed=this,
            checkpoints=checkpoints / f"seed-{this}",
            resume=resume,
            ranks=ranks,
            texts=texts,
            progress=progress,
            on_evaluation=lambda entry, this=this: on_evaluation({"seed": this, **entry}),  # type: ignore[misc]
        )
        assert result.best is not None  # every training ends with an evaluation on dev
        figures[str(this)] = result.best
        if len(seeds) > 1:
            evaluations[str(this)] = _figures(dev, result)
        if best is None or is_better(result.metric, result.best, best[1].best):
            best = model, result
    assert best is not None
    best_model, result = best
    assert result.best is not None
    if len(seeds) > 1:
        result = BestOfSeeds(
            **{part.name: getattr(result, part.name) for part in fields(Fit)} | {"seed_figures": figures},
            seed_evaluations=evaluations,
        )
        over = spread([{result.metric: figure} for figure in figures.values()])
        progress.say(
            f"Best on dev: seed {result.seed}. {result.metric} over the seeds: mean {over.mean[result.metric]:.3f}, "
            f"standard deviation {over.standard_deviation[result.metric]:.3f}. The best of several is a little "
            "more optimistic than one."
        )
    return _warned(best_model, result, train, dev, progress)


def _warned(
    model: Classifier, result: Fit, train: Corpus, dev: Corpus, progress: Progress, *, steps: bool = True
) -> tuple[Classifier, Fit]:
    """Return both, after it was noted and said if the model is no better than the most frequent label."""
    assert result.best is not None
    if alarm := below_majority(train, dev, result.metric, result.best, steps=steps):
        result.findings.append(alarm)
        progress.say(f"warning: {alarm.message}\n  {alarm.cure}")
    return model, result


def _figures(dev: Corpus, result: Fit) -> dict[str, float]:
    """Return every figure of a training's best epoch on dev, by name."""
    assert result.best_scores is not None
    scores = result.best_scores
    return points_of_rows(dev, scores.probabilities, thresholds=dev_thresholds(dev, scores)).figures()
