"""Activation checkpointing: what layers computed is forgotten, and computed again when gradients need it.

In: a network. Out: the same network, which keeps of each layer its input only. A step takes about a third longer; its
gradients are the same to the last bit, dropout included.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from secondcoder.errors import ModelError
from secondcoder.training.frozen import layers_of


@contextlib.contextmanager
def recomputing(network: PreTrainedModel, wanted: bool = True) -> Iterator[None]:
    """Let the layers of a network that is being trained forget what they compute, inside the block.

    The backward pass must be inside it too. This is done here and not by transformers' own switch, as some families
    (MPNet, ALBERT) do not know that.

    Raises
    ------
    ModelError
        If the network has no layers that could be computed again.
    """
    if not wanted:
        yield
        return
    layers = require_layers(network)
    # A decoder's layers would write what they computed into a cache, and when they are computed again, once more.
    configs: dict[int, Any] = {id(found): found for module in network.modules() if (found := _config(module))}
    caching = [config for config in configs.values() if getattr(config, "use_cache", False)]
    for config in caching:
        config.use_cache = False
    for layer in layers:
        layer.forward = _Recomputed(layer, layer.forward, network.config)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own is behind it
        for config in caching:
            config.use_cache = True


def require_layers(network: PreTrainedModel) -> list[nn.Module]:
    """Return the layers, encoder's and decoder's, that can be computed again by themselves.

    Raises
    ------
    ModelError
        If there are none: ALBERT's share their weights.
    """
    inside = network.base_model.modules()
    known: list[nn.Module] = [module for module in inside if isinstance(module, GradientCheckpointingLayer)]
    found = known or list(layers_of(network) or [])
    if not found:
        raise ModelError(
            f"{type(network).__name__} has no layers that could be computed again by themselves.",
            "Leave --checkpoint-activations out; to save memory, set a smaller --token-budget or --max-length.",
        )
    return found


class _Recomputed:
    """A layer's forward pass, that keeps its input only."""

    def __init__(self, layer: nn.Module, forward: Any, config: PretrainedConfig) -> None:
        self._layer, self._forward, self._config = layer, forward, config

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._layer.training:  # a frozen one, which has no gradients
            return self._forward(*args, **kwargs)
        attention = self._config._attn_implementation  # is chosen by length, and may be another by then
        # Not the reentrant form: that needs inputs with gradients, which the layer above frozen ones has not. Random
        # generators are put back for the second time, so dropout drops the same; autocast too.
        return checkpoint(
            self._forward,
            *args,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), self._attending(attention)),
            **kwargs,
        )

    @contextlib.contextmanager
    def _attending(self, attention: str) -> Iterator[None]:
        now, self._config._attn_implementation = self._config._attn_implementation, attention
        try:
            yield
        finally:
            self._config._attn_implementation = now


def _config(module: nn.Module) -> Any:
    return getattr(module, "config", None)
