"""What of a network a training moves, how fast, and what that may cost.

In: a network and settings. Out: which of its weights are trained (all, those above frozen layers, adapters beside
them), the peak of the learning rate, and ways to compute that spare time and memory.
"""

import contextlib
from collections.abc import Iterator

from transformers import PretrainedConfig, PreTrainedModel

from secondcoder.model.pretrained import rate_for
from secondcoder.settings import TrainSettings
from secondcoder.training.dropout import cheap_dropout
from secondcoder.training.frozen import Frozen, freeze, upper_layers
from secondcoder.training.lora import RATE, add_adapters, merge_adapters
from secondcoder.training.recomputing import recomputing, require_layers


def hold(network: PreTrainedModel, settings: TrainSettings) -> Frozen:
    """Mark the weights that are trained, with adapters among them where asked for; return what is frozen.

    Parameters
    ----------
    network
        The classifier, on its device; adapters draw their first weights from torch's generator.
    settings
        With what the effort stands for filled in.

    Raises
    ------
    MissingExtraError
        If adapters are asked for, and peft is not installed.
    ModelError
        If the network has nothing that adapters could be put beside, or no layers that could be computed again.
    """
    if settings.checkpoint_activations:
        require_layers(network)
    frozen = freeze(network, settings.freeze or 0.0)
    if settings.lora is not None:
        add_adapters(network, frozen, settings.lora)
    return frozen


def release(network: PreTrainedModel) -> bool:
    """Make an ordinary network of what was trained; return whether adapters were merged, which moves its last bits."""
    merged = merge_adapters(network)
    network.requires_grad_(True)
    return merged


@contextlib.contextmanager
def being_trained(network: PreTrainedModel, cut: Frozen | None, settings: TrainSettings) -> Iterator[None]:
    """Compute as training does inside the block: above the frozen layers, with cheap dropout, sparing memory if told.

    Parameters
    ----------
    network
        The classifier.
    cut
        The frozen layers, where what they say is kept and they are left out.
    settings
        Whether layers are computed again for the gradients.
    """
    again = settings.checkpoint_activations
    with upper_layers(network, cut), cheap_dropout(network), recomputing(network, again):
        yield


def peak_rate(config: PretrainedConfig, settings: TrainSettings) -> float:
    """Return the peak learning rate: the one named, or the one for a model of this size, and for adapters."""
    if settings.learning_rate != "auto":
        return settings.learning_rate
    return rate_for(config) * (1 if settings.lora is None else RATE)
