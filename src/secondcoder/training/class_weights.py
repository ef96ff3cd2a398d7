"""How much the texts of a class count in the loss.

In: what the user asked for, and the targets of the train part. Out: a weight for each class, by name.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus, TaskName
from secondcoder.corpus.findings import Finding
from secondcoder.errors import SettingsError, nearest
from secondcoder.evaluation.tasks import task_rules
from secondcoder.settings import TrainSettings, check_weights

BALANCED = "balanced"

ClassWeights = str | Mapping[str, float] | None


def named_weights(given: ClassWeights, label_names: tuple[str, ...]) -> str | dict[str, float] | None:
    """Return what was asked for with a file's content in the place of its name, checked against the classes.

    Parameters
    ----------
    given
        ``"balanced"``, the name of a JSON file, weights by label name, or None.
    label_names
        The k classes; each needs a weight.

    Raises
    ------
    SettingsError
        If there is no such file, it is no JSON object, a class is unknown or has no weight, or a weight is not a number
        above 0.
    """
    if given is None or given == BALANCED:
        return given if given is None else BALANCED
    where, weights = ("class_weights", given) if isinstance(given, Mapping) else (given, _read(given))
    check_weights(where, weights)
    for name in weights:
        if name not in label_names:
            raise SettingsError(
                f"{where}: there is no class {name!r}; the classes are {', '.join(map(repr, label_names))}.",
                f"{nearest(str(name), label_names)}Name each class as its label is spelled.",
            )
    if missing := [name for name in label_names if name not in weights]:
        raise SettingsError(
            f"{where}: there is no weight for {', '.join(map(repr, missing))}.", "Give every class one; 1 is neutral."
        )
    return {name: float(weights[name]) for name in label_names}


def settle_classes(settings: TrainSettings, train: Corpus) -> TrainSettings:
    """Return the settings with class weights by name, after what they say of classes was held against those there are.

    Raises
    ------
    SettingsError
        If class weights are wrong (see `named_weights`), or a threshold is to be tuned and there is no positive class.
    """
    if settings.tune_threshold:
        task_rules(train.task).require_threshold(train.positive, train.label_names)
    return replace(settings, class_weights=named_weights(settings.class_weights, train.label_names))


def resolve_weights(
    given: ClassWeights, targets: NDArray[Any], label_names: tuple[str, ...], *, task: TaskName
) -> dict[str, float] | None:
    """Return the weight of each class in the loss, or None where none were asked for.

    Of one class a text, weights are scaled so that their mean over the train part is 1: the loss, and with it the
    steps, stays as large as without. ``"balanced"`` is n / (k · n of the class). Of several classes a text, a weight
    says how much more it costs to miss a class than to give it wrongly; ``"balanced"`` is the number of texts without
    it by that of texts with it. A class that no text has keeps the weight 1, which is then never used.

    Parameters
    ----------
    given
        As in `named_weights`.
    targets : ndarray of shape (n,) or (n, k)
        Of the train part: classes as positions, or a number from 0 to 1 for each class.
    label_names
        The k classes.
    task
        The label scheme.
    """
    named = named_weights(given, label_names)
    if named is None:
        return None
    asked = np.array([named[name] for name in label_names]) if isinstance(named, dict) else None
    weights = task_rules(task).weights(asked, targets, len(label_names))
    return dict(zip(label_names, weights.tolist(), strict=True))


def what_weights_do(weights: Mapping[str, float] | None, *, positive: str | None) -> list[Finding]:
    """Return what is to be known of a model that was trained with class weights; `positive` is the positive class."""
    if weights is None:
        return []
    each = ", ".join(f"{name!r} {weight:.3g}" for name, weight in weights.items())
    return [
        Finding(
            "class-weights",
            "note",
            f"Classes were weighted in the loss ({each}): probabilities lean to the weighty ones, and the temperature "
            "does not set that right. Do not add them up to shares.",
            "Leave the weights out where probabilities matter."
            if positive is None  # then no threshold is tuned on demand
            else "For the F1 of a rare class alone, --tune-threshold does as well and leaves probabilities alone.",
        )
    ]


def _read(name: str) -> dict[str, Any]:
    """Return the object in a JSON file; of two weights for one class, neither is taken."""
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingsError(
            f"class_weights is {name!r}, which cannot be read: {reason}.",
            f'{nearest(name, (BALANCED,))}Say balanced, or name a file with {{"label": weight, …}}.',
        ) from error
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{name} is not JSON: {error}.", 'Write {"label": weight, …}.') from error
    if not isinstance(found, dict):
        raise SettingsError(f"{name} holds {type(found).__name__}, not an object.", 'Write {"label": weight, …}.')
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice!r} stands there twice")
    return found
