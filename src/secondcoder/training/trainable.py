"""What of a network a training moves, how fast, and what that may cost.

In: a network and settings. Out: which of its weights are trained (all, those above frozen layers, adapters beside
them), the peak of the learning rate, and ways to compute that spare time and memory.
"""

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.model.pooling import has_mean_layer, layers_of
from secondcoder.model.pretrained import rate_for
from secondcoder.settings import TrainSettings


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
    # The mean over tokens is a layer that learns nothing.
    n = math.floor(share * (len(layers) - has_mean_layer(network)) + 1e-9)
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


def embeddings_of(network: PreTrainedModel) -> nn.Module | None:
    """Return the part that turns token ids into what the first layer reads; None where it is not one module."""
    found = getattr(network.base_model, "embeddings", None)
    return found if isinstance(found, nn.Module) else None


RATE = 10
"""How many times the rate of full fine-tuning adapters take. They start at zero and are small: the best rate is about
ten times that of the weights themselves, whatever the rank (Schulman et al. 2025, "LoRA without regret",
doi:10.64434/tml.20250929; Hu et al. 2022, table D.2, took 2e-4 to 5e-4 for RoBERTa base, where 1e-5 to 3e-5 is usual).
"""
# The adapters' product counts twice, whatever the rank, as alpha / rank. No dropout of their own: that of the network
# goes on working, and theirs would keep, and draw random numbers for, another copy of every layer's input.
_ALPHA_PER_RANK = 2
_ADAPTER = "default"


def add_adapters(network: PreTrainedModel, frozen: Frozen, rank: int) -> None:
    """Put adapters beside the linear maps of attention and feed-forward; leave only them and the head to be trained.

    Every linear map of the encoder is adapted that is not one of the frozen layers', nor part of the embeddings; which
    names these have in which family does not matter. The pooler counts as head: most checkpoints come without one that
    was trained for anything.

    Parameters
    ----------
    network
        The classifier, on its device.
    frozen
        What of it stays without adapters.
    rank
        Columns of one and rows of the other matrix whose product is added.

    Raises
    ------
    MissingExtraError
        If peft is not installed.
    ModelError
        If nothing can be adapted.

    References
    ----------
    Hu et al. 2022, LoRA: low-rank adaptation of large language models, arXiv:2106.09685.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("--lora needs the package peft.", "Run: pip install 'secondcoder[lora]'.") from error
    names = _adaptable(network, frozen)
    if not names:
        raise ModelError(
            f"{type(network).__name__} has no layers left that adapters could be put beside.",
            "Freeze fewer layers, or leave --lora out.",
        )
    # The head, and the pooler: what is trained in full. What was frozen before, and the rest, is not trained at all.
    in_full = [parameter for name, parameter in network.named_parameters() if not _is_encoder(network, name)]
    config = LoraConfig(
        r=rank,
        lora_alpha=_ALPHA_PER_RANK * rank,
        lora_dropout=0.0,
        bias="none",
        target_modules=names,
        fan_in_fan_out=any(isinstance(network.get_submodule(name), Conv1D) for name in names),
    )
    with warnings.catch_warnings():
        # GPT-2's maps are transposed, others' are not; peft sees which is which, and says so.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        inject_adapter_in_model(config, network, adapter_name=_ADAPTER)
    for parameter in in_full:
        parameter.requires_grad_(True)


def merge_adapters(network: PreTrainedModel) -> bool:
    """Add what the adapters learned to the weights beside them, and take them out; return whether there were any.

    The network is then an ordinary one again. Its logits stay the same but for rounding.
    """
    found = [(name, module) for name, module in network.named_modules() if hasattr(module, "lora_A")]
    for name, module in found:
        module.merge()  # in fp32, as all weights are
        owner, _, own_name = name.rpartition(".")
        setattr(network.get_submodule(owner), own_name, module.get_base_layer())
    if found:
        del network.peft_config  # with it, transformers would save adapters
    return bool(found)


def _adaptable(network: PreTrainedModel, frozen: Frozen) -> list[str]:
    """Return the names of the linear maps that get adapters."""
    still = {id(module) for part in frozen.modules for module in part.modules()}
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and id(module) not in still
        and _is_encoder(network, name)
        # Outside the layers: a projection of embeddings, in ALBERT and ELECTRA.
        and "embed" not in name
    ]


def _is_encoder(network: PreTrainedModel, name: str) -> bool:
    return name.startswith(f"{network.base_model_prefix}.") and "pooler" not in name


class ByteDropout(nn.Dropout):
    """Dropout with a probability rounded to 256ths (0.1 becomes 26/256, 0.1016), and scaled by what is really kept."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # the base class's name
        """Return the input with some of its numbers set to 0, and the others scaled up."""
        kept = 256 - round(self.p * 256)
        if not self.training or kept == 256:
            return input
        if kept == 0:
            return input * 0
        n = input.numel()
        words = torch.empty(-(-n // 8), dtype=torch.int64).random_(-(2**63), None)  # eight bytes each, all bits drawn
        mask = (words.view(torch.uint8)[:n] < kept).view(input.shape)
        return input * mask.to(input.dtype).mul_(256 / kept)


@contextlib.contextmanager
def cheap_dropout(network: nn.Module) -> Iterator[None]:
    """Let a network on a CPU use `ByteDropout` inside the block; elsewhere it stays as it is."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    changed = [module for module in network.modules() if on_cpu and type(module) is nn.Dropout]
    for module in changed:
        module.__class__ = ByteDropout
    try:
        yield
    finally:
        for module in changed:
            module.__class__ = nn.Dropout


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
            "Remove --checkpoint-activations; to save memory, set a smaller --token-budget or --max-length.",
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
