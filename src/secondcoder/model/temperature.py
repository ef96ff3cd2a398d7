"""A temperature put into a network's weights, so that whoever loads it gets calibrated scores.

In: a model and a temperature. Out: the same model, whose logits are divided by it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from secondcoder.errors import ModelError
from secondcoder.model.backends import TorchBackend
from secondcoder.model.model import Model
from secondcoder.settings import check_range

_PROBES = ("one", "one two three", "What is read here does not matter, as long as it is not always the same.")
_TOLERANCE = 1e-4


def fold_temperature(model: Model, temperature: float) -> None:
    """Divide the last layer of the classification head, and so the logits, by the temperature.

    Labels stay as they are, and probabilities become less sure of themselves above 1, surer below. The model has to be
    saved again.

    Parameters
    ----------
    model
        The classifier; of any kind of network whose logits come out of one linear layer.
    temperature
        What to divide by, above 0.

    Raises
    ------
    SettingsError
        If the temperature is not a number above 0.
    ModelError
        If no layer is the one that makes the logits; the network is then as it was.
    """
    check_range("temperature", temperature, above=0, below=float("inf"))
    layer = logits_layer(model)
    before = _logits(model)
    kept = _divide(layer, temperature)
    if not _is_divided(_logits(model), before, temperature):
        _put_back(layer, kept)
        raise ModelError(
            f"{type(model.network).__name__} did not divide its logits by {temperature:.4g}.",
            "Please report this with the model's name.",
        )
    model.sha256 = ""  # the weights are no longer those on disk


def logits_layer(model: Model) -> nn.Linear:
    """Return the linear layer whose output is the logits.

    It is found by what it does, as each kind of network has its own name for it: halving its weights, which is exact,
    halves the logits.

    Raises
    ------
    ModelError
        If there is none.
    """
    network = model.network
    before = _logits(model)
    k = len(model.label_names)
    candidates = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == k]
    for layer in reversed(candidates):
        kept = _divide(layer, 2)
        try:
            if _is_divided(_logits(model), before, 2):
                return layer
        finally:
            _put_back(layer, kept)
    raise ModelError(
        f"{type(network).__name__} has no last linear layer that a temperature could be folded into.",
        "Its probabilities stay as they are; choose another model to have them calibrated.",
    )


def _divide(layer: nn.Linear, by: float) -> list[torch.Tensor]:
    """Divide weights and biases; return what they were."""
    kept = [parameter.detach().clone() for parameter in layer.parameters()]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.div_(by)
    return kept


def _put_back(layer: nn.Linear, kept: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for parameter, old in zip(layer.parameters(), kept, strict=True):
            parameter.copy_(old)


def _is_divided(after: NDArray[np.float32], before: NDArray[np.float32], by: float) -> bool:
    # In fp32; the largest logit sets the scale, as one near 0 is the rest of a sum of large numbers.
    return bool(np.abs(after * by - before).max() <= _TOLERANCE * np.abs(before).max())


def _logits(model: Model) -> NDArray[np.float32]:
    """Return the logits of some texts in fp32, whatever precision the model computes in."""
    encoded = model.encoder.encode(_PROBES)
    shape = (len(_PROBES), int(encoded.lengths.max()))
    return TorchBackend(model.network, "fp32").logits(model.encoder.batch(encoded, encoded.windows.starts[:-1], shape))
