"""Many trainings where one is asked for.

In: a split and settings. Out: the best of several seeds, chosen on dev.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secondcoder.corpus.corpus import Corpus
from secondcoder.evaluation.metrics import is_better
from secondcoder.model.model import Model
from secondcoder.model.token_cache import TokenCache
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training.alarms import below_majority
from secondcoder.training.fitting import Fit
from secondcoder.training.loop import fit
from secondcoder.training.ranks import ALONE, Ranks


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
    tokens: TokenCache | None = None,
    progress: Progress,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> tuple[Model, Fit]:
    """Return the best model on dev of as many seeds as the settings say, and how its training went.

    Parameters
    ----------
    start
        Gives the model with a fresh head for a seed.
    train, dev, settings, seed, ranks, tokens, progress, on_evaluation
        As in `secondcoder.training.loop.fit`; the other seeds follow `seed`.
    checkpoints
        Folder for a folder of checkpoints for each seed; what is there of a finished one is all that is read of it.
    resume
        Go on where it was stopped.
    """
    best: tuple[Model, Fit] | None = None
    figures = []
    seeds = range(seed, seed + settings.recipe.seeds)
    for this in seeds:
        if len(seeds) > 1:
            progress.say(f"Seed {this}, the {this - seed + 1}. of {len(seeds)}")
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
            tokens=tokens,
            progress=progress,
            on_evaluation=lambda entry, this=this: on_evaluation({"seed": this, **entry}),  # type: ignore[misc]
        )
        assert result.best is not None  # every training ends with an evaluation on dev
        figures.append(result.best)
        if best is None or is_better(result.metric, result.best, best[1].best):
            best = model, result
    assert best is not None
    model, result = best
    assert result.best is not None
    if len(figures) > 1:
        spread = statistics.stdev(figures)
        progress.say(
            f"Best on dev: seed {result.seed}. {result.metric} over the seeds: mean {statistics.mean(figures):.3f}, "
            f"standard deviation {spread:.3f}. The best of several flatters a little more than one."
        )
        result.seed_figures = dict(zip(map(str, seeds), figures, strict=True))
    if alarm := below_majority(train, dev, result.metric, result.best):
        result.findings.append(alarm)
        progress.say(f"warning: {alarm.message}\n  {alarm.cure}")
    return model, result
