"""Low-rank adapters: a large network is fine-tuned through small matrices beside its own, and merged when it is done.

In: a network and a rank. Out: the same network with adapters, whose own weights stay as they are; later, the ordinary
network that they make of it. Needs the extra ``lora`` (peft).
"""

import warnings

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.training.frozen import Frozen

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
