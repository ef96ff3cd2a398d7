"""The table of contents: the steps of `train`, in order.

In: what the user has and wants. Out: a run folder. Each step lives elsewhere; nothing is computed here.
"""

import contextlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.errors import DataError, ModelError
from secondcoder.model.backends import resolve_device
from secondcoder.model.classifier import Classifier
from secondcoder.model.loading import load_model
from secondcoder.model.model import Model
from secondcoder.model.pretrained import pretrained_sha256
from secondcoder.model.token_cache import TokenCache
from secondcoder.progress import Progress, default_progress
from secondcoder.runs.create import as_begun, finish_run, recorded, require_ours, since, start_run
from secondcoder.runs.folder import ACTIVATIONS, CHECKPOINTS, TOKENS, RunFolder, now
from secondcoder.runs.mistakes import judged_rows, store_mistakes
from secondcoder.runs.run import Run
from secondcoder.settings import DEFAULT_SEED, TrainOptions, TrainSettings, check_seed
from secondcoder.signatures import takes
from secondcoder.splits.split import Split, set_aside
from secondcoder.storage import locked
from secondcoder.training.baselines import fit_baselines
from secondcoder.training.class_weights import settle_classes
from secondcoder.training.classifier import (
    LearnedFrom,
    finish_classifier,
)
from secondcoder.training.distributed import join_ranks
from secondcoder.training.embedding_baseline import sentence_embeddings
from secondcoder.training.loop import Fit
from secondcoder.training.recipes import compare_recipes, require_possible, wants_comparison
from secondcoder.training.seeds import fit_seeds, start_for
from secondcoder.training.text_pool import TextPool

# A saved model is loaded again and compared on so many dev texts: enough to notice weights that went wrong.
_COMPARED = 64
# On a CPU they are equal to the last bit; other hardware may choose another kernel.
_TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2, "int8": 1e-2}


@dataclass(frozen=True, kw_only=True)
class TrainArguments(TrainOptions):
    """What `train` is called with: the options of a training, the rows, and where to."""

    split: Split = field(kw_only=False)
    output: Path | str
    seed: int = DEFAULT_SEED
    resume: bool = False
    progress: Progress | None = None


@takes(TrainArguments)
def train(given: TrainArguments) -> Run:
    """Return a run: the model fine-tuned on train, its best epoch chosen on dev, and everything written down.

    Parameters
    ----------
    split
        Train, dev and test; the test part is stored and not looked at.
    output
        The run folder; it must be new or empty, or hold the run to resume.
    seed
        Of the head's first weights, the order of the data, and dropout.
    resume
        Go on with the run in the folder, from its newest whole checkpoint; the result is the one of a training without
        a break. Data and settings must be those that it was begun with. Without a run there, one is begun.
    progress
        Where to show how far it has come; a bar in notebooks, nothing elsewhere, unless given.
    **options
        The others, from `model` on: see `secondcoder.settings.TrainOptions`.

    Raises
    ------
    DataError
        If train or dev cannot be learned from.
    ModelError
        If the model cannot be had, or its loss diverges.
    RunError
        If the folder holds something already, or another process works in it.
    InterruptedRunError
        If the user stopped it; everything is saved for `resume`.
    """
    return train_with(
        given.split,
        TrainSettings.of(given),
        output=Path(given.output),
        seed=given.seed,
        resume=given.resume,
        progress=given.progress or default_progress(),
    )


def keep(run: Run, model: Classifier, result: Fit, *, parts: LearnedFrom, progress: Progress) -> None:
    """Finish and save the model, judge it and the baselines on dev, and write the report."""
    dev, settings = parts.dev, TrainSettings(**run.info["settings"]["train"])
    finished = finish_classifier(model, result, parts, settings, progress)
    result.findings += finished.findings
    for finding in finished.findings:
        if finding.kind == "tuned-threshold":
            progress.say(finding.message)
    progress.say(f"Labels will be made with {finished.choice.reason}")
    scores, choice, guarantee = finished.choice.scores, finished.choice, finished.guarantee
    temperature, thresholds = model.card.temperature, model.card.thresholds
    run.store_model(model)
    _compare_saved(run, model, dev)
    baselines = fit_baselines(
        parts.train,
        dev,
        tune_threshold=settings.tune_threshold,
        kept=run.folder,
        is_rival=not settings.is_tfidf,
        embeddings=sentence_embeddings(settings, parts.train, progress=progress),
    )
    run.store_evaluation(
        "dev", dev, scores.probabilities, baselines=baselines, temperature=temperature, thresholds=thresholds
    )
    found = judged_rows(dev, scores.probabilities, scores.n_tokens, thresholds=thresholds)
    store_mistakes(run, "dev", found, model)
    run.update(
        finished=now(),
        seconds=since(run.info["started"]),
        results={
            **result.summary(),
            **model.summary(),
            "pretrained_sha256": pretrained_sha256(settings.model),
            "lengths": model.describe_lengths(result.n_tokens),
            "temperature": temperature,
            "thresholds": thresholds,
            "backend_choice": {"reason": choice.reason, "checks": [check.to_dict() for check in choice.checks]},
            "selection": None if guarantee is None else guarantee.to_dict(),
        },
    )
    run.write_report()
    finish_run(run)


def _compare_saved(run: Run, trained: Classifier, dev: Corpus) -> None:
    """Load what was saved again; remove it and raise `ModelError` unless it gives the logits of the trained model."""
    texts = dev.texts[:_COMPARED]
    saved = load_model(run.model_folder, device=trained.device)
    # Computed now: what is remembered of dev may come from another machine, before a --resume.
    before, after = trained.score(texts).logits, saved.score(texts).logits
    if not np.allclose(after, before, atol=_TOLERANCE[saved.precision], rtol=0):
        shutil.rmtree(run.model_folder)
        difference = float(np.abs(after - before).max())
        raise ModelError(
            f"The model that was saved gives other logits than the one that was trained, by up to {difference:.2g}.",
            "It was removed. Please report this with the model's name.",
        )


RECIPES = "recipes"
"""Key of what was compared in ``run.json``, and folder in the run while it goes on."""


def choose_recipe(
    run: RunFolder, train: Corpus, settings: TrainSettings, *, seed: int, progress: Progress
) -> TrainSettings:
    """Return the settings with the recipe that does best on train; the run's settings become those.

    What was asked for stays under ``"asked"``. A run that goes on keeps the recipe that it has.

    Raises
    ------
    InterruptedRunError
        If the user stopped it; everything is saved.
    """
    if "recipe" not in run.info["settings"]["train"]:
        return settings  # begun when there were no recipes
    folder = run.folder / RECIPES
    if RECIPES not in run.info:
        found = compare_recipes(train, settings, seed=seed, folder=folder, progress=progress)
        if found is None:
            return settings
        stored = run.info["settings"]
        asked = {name: stored["train"][name] for name in found.settings}
        run.update(
            recipes=found.to_dict() | {"asked": asked},
            settings=stored | {"train": stored["train"] | found.settings},
        )
        progress.say(found.sentence)
    shutil.rmtree(folder, ignore_errors=True)
    return replace(settings, **run.info[RECIPES]["settings"])


def train_with(
    split: Split, settings: TrainSettings, *, output: Path, seed: int, resume: bool = False, progress: Progress
) -> Run:
    """Do what `train` does, with the settings in one piece.

    Launched in several processes, all train and the first one writes; they return when it is done.
    """
    check_seed(seed)
    if resume:
        split = as_begun(output, split)
    require_learnable(split)
    few = wants_comparison(settings, split.train)
    settings = settle_classes(settings, split.train).sized(len(split.train)).resolved()
    dev, reserved, findings = split.dev, None, list[Finding]()
    if settings.max_error is not None:
        dev, reserved, findings = set_aside(dev, seed=seed)
    ranks = join_ranks(on_cpu=resolve_device(settings.device).type == "cpu")
    require_possible(settings, split.train, processes=ranks.count)
    if not ranks.leads:
        progress = Progress()
    run: Run | None = None
    with ranks.ignoring_sigterm(), contextlib.ExitStack() as held:
        with ranks.sharing_failure():
            if ranks.leads:
                require_ours(output)
                held.enter_context(locked(output))
                run = start_run(output, split=split, settings=settings, seed=seed, resume=resume)
        begun: dict[str, Any] = ranks.from_leader(run and run.info)
        if begun["status"] == "complete":
            progress.say(f"{output} is complete; nothing is left to do.")
            return run or Run(output)
        # Resolved once: a machine that goes on with it computes as the one that began it did.
        settings = replace(settings, precision=begun.get("precision", settings.precision))
        with recorded(run) if run else contextlib.nullcontext():
            if run:
                run.forget_history()
                if few and ranks.count == 1:
                    settings = choose_recipe(run, split.train, settings, seed=seed, progress=progress)
            tokens = TokenCache(output.resolve().parent / TOKENS if ranks.leads else None)
            seeds_share = TextPool(split.train.texts, output / CHECKPOINTS / ACTIVATIONS, tokens)
            model, result = fit_seeds(
                lambda seed: _start(split, settings, seed, run),
                split.train,
                dev,
                settings=settings,
                seed=seed,
                checkpoints=output / CHECKPOINTS,
                resume=resume,
                ranks=ranks,
                texts=held.enter_context(seeds_share),
                progress=progress,
                on_evaluation=run.append_history if run else lambda entry: None,
            )
            with ranks.sharing_failure():
                if run:
                    result.findings += findings
                    keep(run, model, result, parts=LearnedFrom(split.train, dev, reserved), progress=progress)
    return run or Run(output)


def _start(split: Split, settings: TrainSettings, seed: int, run: Run | None) -> Model:
    """Return the model with an untrained head; the run learns what arithmetic it computes in."""
    model = start_for(split.train, settings, seed=seed)
    if run and "precision" not in run.info:
        run.update(precision=model.precision)
    return model


def require_learnable(split: Split) -> None:
    """Raise `DataError` unless train and dev can be learned from."""
    for finding in (*split.train.findings, *split.findings):
        if finding.severity == "error":
            raise DataError(finding.message, finding.cure)
    for name, rows in (("train", split.train), ("dev", split.dev)):
        if not len(rows) or len(rows.usable()) < len(rows):
            raise DataError(
                f"The {name} part has {len(rows)} rows, {len(rows.usable())} of them with text and label.",
                "Make the parts with secondcoder.split.",
            )
    found = [label for label, count in split.train.label_counts().items() if count]
    if len(found) < 2:
        raise DataError(f"The train part has only the label {found}.", "Label texts of at least two classes.")
