"""The end of a training: what came out of it is kept, compared, judged and reported.

In: the trained model and how its training went. Out: a finished run folder.
"""

import shutil
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.errors import ModelError
from secondcoder.evaluation.calibration import fit_temperature
from secondcoder.evaluation.selective import Guarantee, promise_of
from secondcoder.evaluation.tasks import confidence_of
from secondcoder.evaluation.thresholds import tune_threshold, tune_thresholds
from secondcoder.mistaken import judged_rows, store_mistakes
from secondcoder.model.backend_choice import Judges, choose_backend
from secondcoder.model.loading import load_model
from secondcoder.model.model import Model, Scores
from secondcoder.model.temperature import fold_temperature
from secondcoder.model.tokenisation import describe_lengths
from secondcoder.progress import Progress
from secondcoder.recording import finish_run, since
from secondcoder.run_folder import now
from secondcoder.runs import Run
from secondcoder.settings import Device
from secondcoder.training.baselines import fit_baselines
from secondcoder.training.class_weights import what_weights_do
from secondcoder.training.loop import Fit, gold_of

# A saved model is loaded again and compared on so many dev texts: enough to notice weights that went wrong.
_COMPARED = 64
# On a CPU they are equal to the last bit; other hardware may choose another kernel.
_TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2, "int8": 1e-2}


@dataclass(frozen=True)
class Judged:
    """What a finished training is judged by.

    Attributes
    ----------
    train
        What the baselines learn from.
    dev
        What chose the epoch, and chooses the temperature.
    reserved
        What chooses the confidence from which on labels are accepted, or None where that was not asked for.
    """

    train: Corpus
    dev: Corpus
    reserved: Corpus | None = None


def keep(run: Run, model: Model, result: Fit, *, judged: Judged, progress: Progress) -> None:
    """Calibrate and save the model, judge it and the baselines on dev, and write the report."""
    assert result.best_scores is not None  # a training that came to its end was evaluated
    dev = judged.dev
    result.findings += [
        *temper(model, dev, result.best_scores),
        *what_weights_do(result.class_weights, positive=dev.positive),
    ]
    temperature = model.card.temperature
    scores = tempered(model, result.best_scores)
    settings = run.info["settings"]["train"]
    for finding in set_thresholds(model, dev, scores, tune=settings.get("tune_threshold", False)):
        result.findings.append(finding)
        progress.say(finding.message)
    thresholds = model.card.thresholds
    gold = gold_of(dev, model.label_names)
    judges = Judges(judged.train.texts, dev.texts, gold, scores, model.card.decide)
    choice = choose_backend(model, settings["backend"], judges, progress)
    progress.say(f"Labels will be made with {choice.reason}")
    scores = choice.scores
    promised = promise(model, judged.reserved, settings["max_error"])
    run.store_model(model)
    _compare_saved(run, model, dev)
    baselines = fit_baselines(judged.train)
    run.store_evaluation(
        "dev", dev, scores.probabilities, baselines=baselines, temperature=temperature, thresholds=thresholds
    )
    found = judged_rows(dev, scores.probabilities, scores.n_tokens, thresholds=thresholds)
    store_mistakes(run, "dev", found, model)
    lengths = describe_lengths(result.n_tokens, model.encoder)
    run.update(
        finished=now(),
        seconds=since(run.info["started"]),
        results={
            **result.summary(),
            **model.summary(),
            "lengths": lengths,
            "temperature": temperature,
            "thresholds": thresholds,
            "backend_choice": {"reason": choice.reason, "checks": [check.to_dict() for check in choice.checks]},
            "selection": None if promised is None else promised.to_dict(),
        },
    )
    run.write_report()
    finish_run(run)


def temper(model: Model, dev: Corpus, scores: Scores) -> list[Finding]:
    """Fold the temperature that fits dev best into the model's head; return what is to be known of it.

    Parameters
    ----------
    model
        Of which `scores` tell what it says; its labels stay as they are.
    dev
        Texts with gold labels that it did not learn from.
    scores
        What the model says about dev.
    """
    gold = gold_of(dev, model.label_names)
    if not dev.multi_label and (absent := [name for i, name in enumerate(model.label_names) if i not in gold]):
        return [
            Finding(
                "not-calibrated",
                "warning",
                f"Probabilities are not calibrated: dev has no text of {', '.join(map(repr, absent))} to calibrate on.",
                "Label more texts of it, or try another seed or way to split.",
            )
        ]
    temperature = fit_temperature(gold, scores.logits)
    try:
        fold_temperature(model, temperature)
    except ModelError as error:
        return [Finding("not-calibrated", "warning", f"Probabilities are not calibrated. {error.what}")]
    model.card = replace(model.card, temperature=temperature)
    return []


def tempered(model: Model, scores: Scores) -> Scores:
    """Return what the model said before `temper` as it says it now."""
    return replace(scores, logits=scores.logits / np.float32(model.card.temperature))


def set_thresholds(model: Model, dev: Corpus, scores: Scores, *, tune: bool = False) -> list[Finding]:
    """Write on the model's card from which probability on a class is given; return what is to be known of it.

    That is chosen on dev for each class where a text may have several; for the positive class, where that was asked
    for; else the most probable class is given.

    Parameters
    ----------
    model
        After `temper`, as thresholds are those of its probabilities.
    dev
        Texts with gold labels that it did not learn from.
    scores
        What the model says about dev.
    tune
        Whether the threshold of the positive class is chosen, of a two-class task.
    """
    gold, positive = gold_of(dev, model.label_names), model.card.positive
    if dev.multi_label:
        found = tune_thresholds(gold, scores.probabilities)
        model.card = replace(model.card, thresholds=dict(zip(model.label_names, found.tolist(), strict=True)))
    if dev.multi_label or not tune or positive is None:
        return []
    at = model.label_names.index(positive)
    threshold = tune_threshold(gold == at, scores.probabilities[:, at])
    model.card = replace(model.card, thresholds={positive: threshold})
    return [
        Finding(
            "tuned-threshold",
            "note",
            f"{positive!r} is given from a probability of {threshold:.3f} on, which was chosen for its F1 on dev: the "
            "figures on dev flatter. Other programs that load the model give it from 0.5 on.",
            "Judge by the test part.",
        )
    ]


def promise(model: Model, reserved: Corpus | None, max_error: float | None) -> Guarantee | None:
    """Return the confidence that keeps the error asked for, and write it on the model's card.

    Parameters
    ----------
    model
        After `temper` and `set_thresholds`, as its probabilities and labels are what is compared.
    reserved
        Texts that have been used for nothing else, or None where no error was asked for.
    max_error
        Largest share of accepted labels that may be wrong; where a text may have several, of sets that are not the
        gold one to the last class.
    """
    if reserved is None or max_error is None:
        return None
    probabilities, card = model.score(reserved.texts).probabilities, model.card
    right = card.decide(probabilities) == gold_of(reserved, model.label_names)
    sure = confidence_of(probabilities, card.thresholds, card.label_names, multi_label=card.multi_label)
    found = promise_of(sure, right if right.ndim == 1 else right.all(axis=1), max_error)
    model.card = replace(model.card, min_confidence=found.min_confidence)
    return found


def _compare_saved(run: Run, trained: Model, dev: Corpus) -> None:
    """Load what was saved again; remove it and raise `ModelError` unless it gives the logits of the trained model."""
    texts = dev.texts[:_COMPARED]
    device = cast(Device, "auto" if trained.card.backend == "openvino" else trained.backend.device.type)
    saved = load_model(run.model_folder, device=device)
    # Computed now: what is remembered of dev may come from another machine, before a --resume.
    before, after = trained.score(texts).logits, saved.score(texts).logits
    if not np.allclose(after, before, atol=_TOLERANCE[saved.precision], rtol=0):
        shutil.rmtree(run.model_folder)
        difference = float(np.abs(after - before).max())
        raise ModelError(
            f"The model that was saved gives other logits than the one that was trained, by up to {difference:.2g}.",
            "It was removed. Please report this with the model's name.",
        )
