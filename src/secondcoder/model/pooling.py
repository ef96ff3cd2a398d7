"""The mean over a text's tokens in the place of its first token, in a folder that any program can read.

In: a network whose head reads the first token. Out: the same with one more layer, at whose first position the mean
stands. Saved, that is a layer like the others: query and key are zero, so that attention is the same for all tokens
that are not padding; value is the identity, and so is what follows, times `SCALE`, so that the token's own activations,
which are added, hardly count. Here the mean is computed and nothing else.

References
----------
Reimers & Gurevych 2019, Sentence-BERT, doi:10.18653/v1/D19-1410 (the mean over tokens).
"""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import layer_norm
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils.hub import cached_file

from secondcoder.errors import ModelError, SettingsError
from secondcoder.storage import read_json

SCALE = 256.0
"""How many times the mean counts as much as the first token's own activations."""
MARK = "secondcoder_pooling"
"""What config.json says of a network with the layer."""
_WITH_LAYER = {"bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "roberta", "xlm-roberta"}
_BY_SETTING = {"modernbert"}
_BACKWARDS = "it reads from left to right, and its last token is what has read all"
_DECODED = "its decoder reads the whole text into its last token"
_NO_MEAN = {
    "albert": "all its layers are one and the same, which cannot compute a mean besides",
    "mpnet": "it adds one table of distances in all its layers, so that none can weigh all tokens alike",
    "longformer": "its attention sees a window of the text",
    "gpt2": _BACKWARDS, "llama": _BACKWARDS, "qwen2": _BACKWARDS, "qwen3": _BACKWARDS, "gemma": _BACKWARDS,
    "gemma2": _BACKWARDS, "gemma3_text": _BACKWARDS,
    "bart": _DECODED, "mbart": _DECODED,
}  # fmt: skip
# What the head's first layer is, so that it hands on what it reads: nearly straight in tanh; above zero in relu, gelu.
_HALF, _ABOVE_ZERO = 0.5, 4.0


def pooling_of(location: str, config: PretrainedConfig) -> Literal["first", "mean"]:
    """Return how a model reads a text as it says itself, in the way of sentence-transformers; else the first token."""
    if config.model_type not in _WITH_LAYER | _BY_SETTING:
        return "first"
    with contextlib.suppress(OSError):
        found = cached_file(location, "1_Pooling/config.json", _raise_exceptions_for_missing_entries=False)
        if found is not None and read_json(Path(found)).get("pooling_mode_mean_tokens") is True:
            return "mean"
    return "first"


def require_mean(config: PretrainedConfig) -> None:
    """Raise `SettingsError` if a network of this kind cannot read the mean over tokens."""
    why = _NO_MEAN.get(config.model_type)
    if getattr(config, "talking_head", False):
        why = "its attention mixes its heads"
    if why is not None:
        raise SettingsError(
            f"pooling is mean, which a network of the kind {config.model_type!r} cannot have: {why}.",
            "Remove --pooling, or choose another --model.",
        )


def layers_of(network: PreTrainedModel) -> nn.ModuleList | None:
    """Return the encoder's layers, from below; None where they share their weights."""
    n = getattr(network.config, "num_hidden_layers", None)
    lists = (module for module in network.base_model.modules() if isinstance(module, nn.ModuleList))
    return next((found for found in lists if len(found) == n), None)


def has_mean_layer(network: PreTrainedModel) -> bool:
    """Return whether the last of the network's layers is the mean."""
    return getattr(network.config, MARK, None) == "mean"


def pooled_by(network: PreTrainedModel) -> Literal["first", "mean"] | None:
    """Return what of a text the head reads; None where it is another token."""
    kind = network.config.model_type
    if has_mean_layer(network) or (kind in _BY_SETTING and network.config.classifier_pooling == "mean"):
        return "mean"
    return None if _NO_MEAN.get(kind) in (_BACKWARDS, _DECODED) else "first"


class MeanLayer(nn.Module):
    """Computes what the added layer has at the first position, and nothing for the others.

    Parameters
    ----------
    size
        Of the activations.
    eps
        Of the layer's norms.
    alone
        Whether layers of this network return activations alone, or with attention weights behind.
    """

    def __init__(self, size: int, *, eps: float, alone: bool) -> None:
        super().__init__()
        self._shape, self._eps, self._alone = (size,), eps, alone

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *args: object, **kwargs: object
    ) -> torch.Tensor | tuple[torch.Tensor, None]:
        """Return activations of shape (b, 1, h) from those of shape (b, tokens, h) and the mask of any form."""
        # In single precision whatever the rest is in: a sum over hundreds of tokens is no sum in the 8 bits of bf16.
        activations = hidden_states.float()
        mean = (activations * token_weights(attention_mask, activations)).sum(dim=1, keepdim=True)
        found = SCALE * mean + activations[:, :1]
        for _ in range(2):  # that of attention, and that of the feed-forward
            found = layer_norm(found, self._shape, eps=self._eps)
        found = found.to(hidden_states.dtype)
        return found if self._alone else (found, None)


def token_weights(mask: torch.Tensor | None, activations: torch.Tensor) -> torch.Tensor:
    """Return how much each token counts, shape (b, tokens, 1), from a mask as layers of any family are given it."""
    if mask is None:  # nothing is padding
        return torch.full_like(activations[:, :, :1], 1.0) / activations.shape[1]
    seen = mask if mask.ndim == 2 else mask[:, 0, 0]  # by the first token
    read = (seen > -1 if seen.is_floating_point() else seen > 0).to(activations.dtype)  # added to scores, or true
    return (read / read.sum(dim=1, keepdim=True))[:, :, None]


def read_mean(network: PreTrainedModel) -> None:
    """Let the head read the mean over tokens, and begin by handing it on.

    Raises
    ------
    SettingsError
        If networks of this kind cannot have it.
    """
    config = network.config
    require_mean(config)
    if config.model_type in _BY_SETTING:
        config.classifier_pooling = "mean"
        return
    layers = _own_layers(network)
    layers.append(_mean_layer(config))
    config.num_hidden_layers = len(layers)
    setattr(config, MARK, "mean")
    dense = _first_of_head(network)
    curved = config.model_type in {"distilbert", "electra", "deberta", "deberta-v2"}
    with torch.no_grad():
        dense.weight.copy_(_HALF * torch.eye(*dense.weight.shape))
        dense.bias.fill_(_ABOVE_ZERO if curved else 0.0)


@contextlib.contextmanager
def saved_form(network: PreTrainedModel) -> Iterator[None]:
    """Let the added layer be one like the others inside the block, with its weights."""
    if not has_mean_layer(network):
        yield
        return
    layers = _own_layers(network)
    short = layers[-1]
    layers[-1] = _layer_like(layers[0], network.config)
    try:
        yield
    finally:
        layers[-1] = short


def restore_short_form(network: PreTrainedModel) -> None:
    """Let a network that was loaded compute the mean and nothing else, if its last layer is the one that was added.

    Another program may have trained it; then it stays as it is.
    """
    if not has_mean_layer(network):
        return
    layers = _own_layers(network)
    expected, found = _layer_like(layers[0], network.config).state_dict(), layers[-1].state_dict()
    if expected.keys() == found.keys() and all(torch.equal(found[key], expected[key]) for key in expected):
        layers[-1] = _mean_layer(network.config)


def _mean_layer(config: PretrainedConfig) -> MeanLayer:
    deberta = config.model_type in {"deberta", "deberta-v2"}
    return MeanLayer(config.hidden_size, eps=getattr(config, "layer_norm_eps", 1e-12), alone=not deberta)


def _own_layers(network: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a network that may have one more: they do not share their weights."""
    found = layers_of(network)
    assert found is not None
    return found


def _layer_like(layer: nn.Module, config: PretrainedConfig) -> nn.Module:
    """Return a layer of the same kind that has the mean at all positions."""
    made = copy.deepcopy(layer)
    size = config.hidden_size
    with torch.no_grad():
        for name, module in made.named_modules():
            for parameter in module.parameters(recurse=False):
                parameter.zero_().requires_grad_(True)
            if type(module).__name__.endswith("LayerNorm"):
                module.get_parameter("weight").fill_(1.0)
            elif name.endswith((".value", ".v_lin", ".value_proj")):
                module.get_parameter("weight").copy_(torch.eye(size))
            elif name.endswith(("attention.output.dense", "attention.out_lin")):
                module.get_parameter("weight").copy_(SCALE * torch.eye(size))
            elif name.endswith(".in_proj"):  # query, key and value of each head in turn
                each = module.get_parameter("weight").view(config.num_attention_heads, 3, -1, size)
                each[:, 2].copy_(torch.eye(size).view(config.num_attention_heads, -1, size))
    return made


def _first_of_head(network: PreTrainedModel) -> nn.Linear:
    """Return the layer of the head that reads what the encoder says."""
    places = ("pre_classifier", "classifier.dense", "pooler.dense", f"{network.base_model_prefix}.pooler.dense")
    for place in places:
        with contextlib.suppress(AttributeError):
            found = network.get_submodule(place)
            if isinstance(found, nn.Linear):
                return found
    raise ModelError(f"{type(network).__name__} has no head that pooling could be put before.", "Choose another model.")
