"""A head that starts from what can be read off the encoder as it is, instead of from chance.

In: a network and the train part. Out: the same network, whose last layer is a logistic regression.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from torch import nn
from transformers import PreTrainedModel

from secondcoder.environment import one_blas_thread
from secondcoder.errors import ModelError
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.backends import PREDICTION_TOKENS, computing, last_linear
from secondcoder.model.batches import fixed_shapes
from secondcoder.model.model import Model
from secondcoder.progress import Progress
from secondcoder.training.steps import Inputs

_STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
_FOLDS = 5


def start_from_logistic(
    model: Model,
    inputs: Inputs,
    targets: NDArray[Any],
    *,
    weights: Mapping[str, float] | None = None,
    progress: Progress,
) -> None:
    """Fit a logistic regression on what the last layer of the head reads, and put its weights into that layer.

    How strongly it is held to zero is chosen by cross-validation on train. A class without rows keeps its weights.
    Where a text may have several classes, there is a regression for each class: those that have it against the others.

    Parameters
    ----------
    model
        The classifier; its network may be without the layers that the inputs have been through.
    inputs
        The train part.
    targets : ndarray of shape (n,) or (n, k)
        Classes, as positions among the label names; or, of bool, which classes each text has.
    weights
        How much the texts of each class count, in the order of the label names; None: all the same.
    progress
        Where to show how far it has come.
    """
    counting = None if weights is None else np.array(list(weights.values()))
    last = last_layer(model.network)
    features = head_features(model, inputs, progress)
    with one_blas_thread():
        classes, rows, biases = task_rules(model.card.task).fit_head(fit_logistic, features, targets, counting)
    with torch.no_grad():
        for row, weight, bias in zip(classes, rows, biases, strict=True):
            last.weight[row] = torch.from_numpy(weight).to(last.weight)
            if last.bias is not None:
                last.bias[row] = float(bias)


def fit_logistic(
    features: NDArray[np.float32], targets: NDArray[np.int64], counting: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the classes that occur, their weights, shape (classes, features), and their biases.

    Features are centred and divided by their mean length, so that distances stay what the encoder was trained for:
    numbers that hardly differ between texts count little. Standardised one by one they would all count the same, which
    does worse with few labels (``benchmarks/results/2026-11-30-few-labels.md``). Macro-F1 chooses the strength, as by
    log loss rare classes are seldom predicted.
    """
    centre = features.mean(axis=0, dtype=np.float64)
    scaled = features - centre
    length = float(np.sqrt(np.square(scaled).sum(axis=1).mean())) or 1.0
    scaled /= length
    by_class = None if counting is None else {i: float(counting[i]) for i in np.unique(targets).tolist()}
    wanted = LogisticRegression(C=_STRENGTHS[1], max_iter=1000, class_weight=by_class)
    if min(Counter(targets.tolist()).values()) < _FOLDS:
        found = wanted.fit(scaled, targets)
    else:
        search = GridSearchCV(wanted, {"C": _STRENGTHS}, scoring="f1_macro", cv=_FOLDS)
        found = search.fit(scaled, targets).best_estimator_  # of equals the strongest hold to zero
    weights, biases = found.coef_, found.intercept_
    if len(found.classes_) == 2:  # one row says how far the second class is ahead of the first
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    weights = weights / length
    return found.classes_, weights, biases - weights @ centre


def logistic_probabilities(
    features: NDArray[np.float32], targets: NDArray[Any], judged: NDArray[np.float32], model: Model
) -> NDArray[np.float64]:
    """Return what `start_from_logistic` on some texts makes a model say about others, ndarray of shape (judged, k).

    A class without rows has 0.

    Parameters
    ----------
    features, judged
        What the last layer reads for texts that are learned from, and for others (`head_features`).
    targets : ndarray of shape (n,)
        Classes of the first.
    model
        Whose label names and task these are.
    """
    rules = task_rules(model.card.task)
    with one_blas_thread():
        classes, rows, biases = rules.fit_head(fit_logistic, features, targets, None)
    logits = np.full((len(judged), len(model.label_names)), -np.inf)
    logits[:, classes] = judged @ np.stack(list(rows)).T + np.array(list(biases))
    return rules.probabilities(logits)


def head_features(model: Model, inputs: Inputs, progress: Progress) -> NDArray[np.float32]:
    """Return what the last layer reads for each text, the mean over its windows, shape (n, features).

    A linear layer on the mean says the mean of what it says on each.
    """
    features = np.empty((len(inputs.lengths), last_layer(model.network).in_features), np.float32)
    network, device = model.network, model.backend.device
    plan = fixed_shapes(
        inputs.lengths, token_budget=PREDICTION_TOKENS[device.type], max_length=model.encoder.max_length
    )
    network.eval()
    with progress.task("head", len(features)) as task, torch.no_grad(), reading(network):
        for batch in plan:
            tensors = inputs.batch(batch.rows, (len(batch.rows), batch.shape[1]))
            with computing(device, model.precision):
                read = network(**{name: tensor.to(device) for name, tensor in tensors.items()}).logits
            features[batch.rows] = read.float().cpu().numpy()
            task.advance(len(batch.rows))
    return inputs.windows.pool(features, "mean")


@contextlib.contextmanager
def reading(network: PreTrainedModel) -> Iterator[None]:
    """Let the network give, in the place of logits, what the last layer of its head reads, inside the block.

    Networks that choose among the logits of all tokens (decoders) choose among these then.
    """
    last = last_layer(network)
    places = ((m, name) for m in network.modules() for name, child in m.named_children() if child is last)
    owner, name = next(places)
    setattr(owner, name, nn.Identity())
    try:
        yield
    finally:
        setattr(owner, name, last)


def last_layer(network: PreTrainedModel) -> nn.Linear:
    """Return the layer that gives the logits.

    Raises
    ------
    ModelError
        If there is none.
    """
    last = last_linear(network)
    if last is None:
        raise ModelError(
            f"{type(network).__name__} has no last layer that a logistic regression could fill.",
            "Train with --head-start random.",
        )
    return last
