"""Ids to logits on this machine's hardware.

In: padded batches of token ids. Out: logits. Device and precision are resolved here, once, for training and labelling.
"""

import contextlib
import functools
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from secondcoder.errors import SettingsError
from secondcoder.settings import Device, Precision

ResolvedPrecision = Literal["fp32", "bf16", "int8"]

# Padded tokens in one pass. Predicting: small enough that one short text is answered at once, large enough to keep
# the cores or the card busy. Training: what fits beside the activations that are kept for the backward pass.
PREDICTION_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 16384}
TRAINING_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 16384}
# In bf16 on a CPU, plain attention is faster than PyTorch's fused one up to this length, in tokens.
_EAGER_UP_TO = 256


def resolve_device(asked: Device) -> torch.device:
    """Return the device asked for; auto takes cuda, then mps, then cpu, by what is there.

    Raises
    ------
    SettingsError
        If the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there[asked]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise SettingsError(f"device is {asked!r}, which this machine does not have.", f"Choose auto, {found}.")
    return torch.device(asked)


def resolve_precision(asked: Precision, device: torch.device) -> ResolvedPrecision:
    """Return the precision asked for; auto is bf16 where the hardware computes it fast, else fp32."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _is_fast_at_bf16() else "fp32"


@functools.cache
def _is_fast_at_bf16() -> bool:
    """Return whether this processor multiplies matrices faster in bf16 than in fp32.

    Measured, bf16 against fp32: an AMD Zen 4 with avx512_bf16 2.5 times as fast; an Intel Xeon with avx512_bf16, and
    AMX hidden by its virtual machine, half as fast; an AMD Zen 3 with neither, a seventh. So avx512_bf16 alone says
    nothing on an Intel processor, whose place for bf16 is AMX.
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    return torch.cpu._is_avx512_bf16_supported() and "AMD" in _processor()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("vendor_id")), "")


def place(network: torch.nn.Module, device: torch.device) -> None:
    """Move a network's weights to the device."""
    network.to(device)


@contextlib.contextmanager
def computing(device: torch.device, precision: ResolvedPrecision) -> Iterator[None]:
    """Compute in the given precision inside the block; weights stay fp32, and so do the logits of a `TorchBackend`."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextlib.contextmanager
def attention_for(network: PreTrainedModel, precision: ResolvedPrecision, length: int) -> Iterator[None]:
    """Train with the attention that is faster at this length, in tokens, inside the block.

    Whole training steps of MiniLM without attention dropout, tokens a second, plain against fused. bf16 on a Zen 4:
    4,180 : 2,820 at 32 tokens, 3,850 : 3,240 at 256, 2,480 : 2,710 at 512. fp32 on an Intel Xeon: 2,140 : 3,168 at 32,
    2,577 : 2,908 at 256, 1,445 : 2,539 at 512.
    """
    chosen = network.config._attn_implementation
    if network.device.type == "cpu" and precision == "bf16" and length <= _EAGER_UP_TO and chosen == "sdpa":
        network.config._attn_implementation = "eager"
    try:
        yield
    finally:
        network.config._attn_implementation = chosen


def last_linear(network: PreTrainedModel) -> nn.Linear | None:
    """Return the linear layer that gives the logits of a classifier, or None if there is none."""
    k = network.config.num_labels
    linear = [module for module in network.modules() if isinstance(module, nn.Linear) and module.out_features == k]
    return linear[-1] if linear else None


class _LastLinear(nn.Linear):
    """The layer that gives the logits, which computes in fp32 where all others compute in bf16.

    A logit is what is left of a sum of larger numbers: rounded to the 8 bits of bf16, weights and bias of a logistic
    regression give another regression, and those that a temperature was folded into other differences.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # the base class's name
        """Return the logits."""
        device = input.device.type
        if not torch.is_autocast_enabled(device):
            return super().forward(input)
        with torch.autocast(device, enabled=False):
            return super().forward(input.to(self.weight.dtype))


class Backend(Protocol):
    """What computes logits."""

    name: str
    precision: ResolvedPrecision

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def token_budget(self) -> int:
        """Padded tokens of one batch; part of the shapes, so a score belongs to it."""

    @property
    def rest_budget(self) -> int | None:
        """Padded tokens of a smaller batch in which a text has the same bits; None where there is no such."""

    @property
    def at_once(self) -> int:
        """Batches that are worth computing side by side, each in a thread of its own."""

    def logits(self, batch: dict[str, torch.Tensor]) -> NDArray[np.float32]:
        """Return the logits of a padded batch, shape (rows, k)."""


class TorchBackend:
    """Logits by PyTorch.

    Parameters
    ----------
    network
        The classifier, on its device.
    precision
        Arithmetic, ``"fp32"`` or ``"bf16"``.
    """

    name = "torch"
    at_once = 1  # its threads share each batch
    rest_budget = None  # in fp32 the height of a batch moves the last bits

    def __init__(self, network: PreTrainedModel, precision: ResolvedPrecision) -> None:
        self.network = network
        self.precision = precision
        last = last_linear(network)
        if precision == "bf16" and type(last) is nn.Linear:
            last.__class__ = _LastLinear

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @property
    def token_budget(self) -> int:
        """Padded tokens of one batch; part of the shapes, so a score belongs to it."""
        return PREDICTION_TOKENS[self.device.type]

    def logits(self, batch: dict[str, torch.Tensor]) -> NDArray[np.float32]:
        """Return the logits of a padded batch, shape (rows, k)."""
        self.network.eval()
        moved = {name: tensor.to(self.device) for name, tensor in batch.items()}
        with torch.inference_mode(), computing(self.device, self.precision):
            found: NDArray[np.float32] = self.network(**moved).logits.float().cpu().numpy()
        return found
