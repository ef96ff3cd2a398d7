"""The lower part of an encoder, when it stays as it was pre-trained.

In: a network and the share of its layers to freeze. Out: which weights are trained, and ways to run one part of the
network without the other.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Frozen:
    """What of a network stays as it is.

    Attributes
    ----------
    layers
        How many of the lower layers.
    modules
        The frozen modules: what comes before the layers, and those layers.
    """

    layers: int
    modules: tuple[nn.Module, ...]

    def stay_still(self) -> None:
        """Keep dropout out of the frozen part; `network.train()` would switch it on."""
        for module in self.modules:
            module.eval()


def freeze(network: PreTrainedModel, share: float) -> Frozen:
    """Take the embeddings and a share of the layers, rounded down, out of training; return what was frozen.

    Layers that share their weights (ALBERT's) cannot be told apart; of such a model only the embeddings are frozen.
    """
    if share == 0:
        return Frozen(0, ())
    layers, embeddings = layers_of(network), embeddings_of(network)
    if layers is None:
        return Frozen(0, () if embeddings is None else (embeddings.requires_grad_(False),))
    n = math.floor(share * len(layers) + 1e-9)
    base = network.base_model
    owner, _ = _owner(base, layers)
    trained = {id(p) for layer in list(layers)[n:] for p in layer.parameters()}
    in_layers = {id(p) for p in layers.parameters()}
    # Position weights that all layers read stand beside them, in MPNet and DeBERTa: moving, they would move what the
    # frozen layers say. What stands beside layers that stand in no part of their own comes after them: a last norm.
    beside = set() if owner is base else {id(p) for p in owner.parameters()} - in_layers
    before = True
    for parameter in base.parameters():
        # Weights stand in the order in which they are used: those before the first layer's are the embeddings'.
        before = before and id(parameter) not in in_layers
        still = before or id(parameter) in in_layers or id(parameter) in beside
        if still and id(parameter) not in trained:
            parameter.requires_grad_(False)
    modules = list(layers)[:n] + ([] if embeddings is None else [embeddings])
    return Frozen(n, tuple(modules))


@contextlib.contextmanager
def upper_layers(network: PreTrainedModel, frozen: Frozen | None) -> Iterator[None]:
    """Run only what is above the frozen layers inside the block, on what `ActivationInputs` gives; None: all of it."""
    if frozen is None:
        yield
        return
    with running(network, slice(frozen.layers, None), passing=True):
        yield


class _Given(nn.Module):
    """Stands in the place of the embeddings and passes on what it is given."""

    def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
        """Return the first argument that holds activations."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 3:
                return value
        raise TypeError("no activations were given")


@contextlib.contextmanager
def running(network: PreTrainedModel, kept: slice, *, passing: bool = False) -> Iterator[None]:
    """Leave only some of the layers in the network inside the block, without embeddings if they are passed by."""
    base = network.base_model
    layers = layers_of(network)
    assert layers is not None
    owner, name = _owner(base, layers)
    embeddings = base.embeddings
    setattr(owner, name, nn.ModuleList(list(layers)[kept]))
    if passing:
        base.embeddings = _Given()
    try:
        yield
    finally:
        setattr(owner, name, layers)
        base.embeddings = embeddings


def _owner(base: nn.Module, layers: nn.ModuleList) -> tuple[nn.Module, str]:
    """Return the module that the layers stand in, and their name there."""
    places = ((module, name) for module in base.modules() for name, child in module.named_children() if child is layers)
    return next(places)


def layers_of(network: PreTrainedModel) -> nn.ModuleList | None:
    """Return the encoder's layers, from below; None where they share their weights."""
    n = getattr(network.config, "num_hidden_layers", None)
    lists = (module for module in network.base_model.modules() if isinstance(module, nn.ModuleList))
    return next((found for found in lists if len(found) == n), None)


def embeddings_of(network: PreTrainedModel) -> nn.Module | None:
    """Return the part that turns token ids into what the first layer reads; None where it is not one module."""
    found = getattr(network.base_model, "embeddings", None)
    return found if isinstance(found, nn.Module) else None
