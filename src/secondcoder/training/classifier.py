"""From a trained network to a classifier that can be trusted: temperature, thresholds, backend, guarantee.

In: a model, dev, what the model says about dev. Out: the model's card and head, changed; findings.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.errors import ModelError
from secondcoder.evaluation.selective import Guarantee, chance_of_finding, risk_guarantee
from secondcoder.evaluation.tasks import gold_of, task_rules
from secondcoder.model.backend_choice import Choice, DevReference
from secondcoder.model.classifier import Classifier, Scores
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training.class_weights import what_weights_do
from secondcoder.training.loop import Fit


@dataclass(frozen=True)
class LearnedFrom:
    """The rows that make a classifier.

    Attributes
    ----------
    train
        What the network, and the baselines beside it, learn from.
    dev
        What chooses the epoch, the temperature and the thresholds.
    reserved
        What chooses the confidence from which on labels are accepted, or None where that was not asked for.
    """

    train: Corpus
    dev: Corpus
    reserved: Corpus | None = None


@dataclass(frozen=True)
class Finished:
    """What came of finishing a classifier.

    Attributes
    ----------
    choice
        Which backend labels, and what it says about dev.
    guarantee
        The confidence that keeps the error asked for, or None.
    findings
        What is to be known of it.
    """

    choice: Choice
    guarantee: Guarantee | None
    findings: list[Finding]


def finish_classifier(
    model: Classifier, result: Fit, parts: LearnedFrom, settings: TrainSettings, progress: Progress
) -> Finished:
    """Make a classifier of a trained network: temperature, thresholds, backend and guarantee, in this order.

    Whoever trains ends here, so that a run, the folds of its cross-fitting and the scikit-learn estimator are the same
    classifier.

    Parameters
    ----------
    model
        After its training; its card and its head are changed.
    result
        How the training went, with what the model says about dev.
    parts
        The rows that it was trained with.
    """
    assert result.best_scores is not None  # a training that came to its end was evaluated
    dev = parts.dev
    findings = [
        *calibrate(model, dev, result.best_scores),
        *what_weights_do(result.class_weights, positive=dev.positive),
    ]
    scores = apply_temperature(model, result.best_scores)
    findings += set_thresholds(model, dev, scores, tune=settings.tune_threshold)
    reference = DevReference(parts.train.texts, dev.texts, gold_of(dev, model.label_names), scores, model.card.decide)
    choice = model.choose_backend(settings.backend, reference, progress)
    guarantee = choose_confidence(model, parts.reserved, settings.max_error)
    if guarantee is not None:
        judged = judged_by(model, dev, scores.probabilities)
        guarantee = replace(guarantee, chance=chance_of_finding(*judged, guarantee.n, guarantee.max_error))
    return Finished(choice, guarantee, findings)


def calibrate(model: Classifier, dev: Corpus, scores: Scores) -> list[Finding]:
    """Let the model divide its logits by the temperature that fits dev best; return what is to be known of it.

    Parameters
    ----------
    model
        Of which `scores` tell what it says; its labels stay as they are.
    dev
        Texts with gold labels that it did not learn from.
    scores
        What the model says about dev.
    """
    rules, gold = task_rules(dev.task), gold_of(dev, model.label_names)
    if absent := rules.uncalibratable(gold, model.label_names):
        return [
            Finding(
                "not-calibrated",
                "warning",
                f"Probabilities are not calibrated: dev has no text of {', '.join(map(repr, absent))} to calibrate on.",
                "Label more texts of it, or try another seed or way to split.",
            )
        ]
    try:
        model.temper(model.best_temperature(gold, scores))
    except ModelError as error:
        return [Finding("not-calibrated", "warning", f"Probabilities are not calibrated. {error.what}")]
    return []


def apply_temperature(model: Classifier, scores: Scores) -> Scores:
    """Return what the model said before `temper` as it says it now."""
    return replace(scores, logits=scores.logits / np.float32(model.card.temperature))


def set_thresholds(model: Classifier, dev: Corpus, scores: Scores, *, tune: bool = False) -> list[Finding]:
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
    gold, positive = gold_of(dev, model.label_names), model.card.positive if tune else None
    found = task_rules(dev.task).thresholds(gold, scores.probabilities, model.label_names, positive)
    if found:
        model.card = replace(model.card, thresholds=found)
    if positive is None:
        return []
    others = " Other programs that load the model give it from 0.5 on." * model.is_read_by_others
    return [
        Finding(
            "tuned-threshold",
            "note",
            f"{positive!r} is given from a probability of {found[positive]:.3f} on, chosen for its F1 on dev: "
            f"the figures on dev are optimistic.{others}",
            "Judge by the test part.",
        )
    ]


def choose_confidence(model: Classifier, reserved: Corpus | None, max_error: float | None) -> Guarantee | None:
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
    judged = judged_by(model, reserved, model.score(reserved.texts).probabilities)
    found = risk_guarantee(*judged, max_error)
    model.card = replace(model.card, min_confidence=found.min_confidence)
    return replace(found, n_groups=None if reserved.units is None else len(set(reserved.units)))


def judged_by(
    model: Classifier, rows: Corpus, probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how sure the label is that a model gives to each row, and whether it is the gold one; shapes (n,)."""
    rules, given = task_rules(model.card.task), model.card.decide(probabilities)
    return rules.confidence(probabilities, given), rules.right(given, gold_of(rows, model.label_names))
