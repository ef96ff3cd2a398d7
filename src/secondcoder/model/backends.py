"""Ids to logits on this machine's hardware.

In: padded batches of token ids. Out: logits. Device and precision are resolved here, once, for training and labelling.
"""

import contextlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from secondcoder.errors import SettingsError
from secondcoder.settings import Device, Precision

ResolvedPrecision = Literal["fp32", "bf16"]

# Padded tokens in one pass. Predicting: small enough that one short text is answered at once, large enough to keep
# the cores or the card busy. Training: what fits beside the activations that are kept for the backward pass.
PREDICTION_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 16384}
TRAINING_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 16384}


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
    if device.type == "cpu":
        # Without these instructions a bf16 product is emulated, measured 7 times slower than fp32.
        return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    return "fp32"


def place(network: torch.nn.Module, device: torch.device) -> None:
    """Move a network's weights to the device."""
    network.to(device)


@contextlib.contextmanager
def computing(device: torch.device, precision: ResolvedPrecision) -> Iterator[None]:
    """Compute in the given precision inside the block; weights stay fp32."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


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

    def __init__(self, network: PreTrainedModel, precision: ResolvedPrecision) -> None:
        self.network = network
        self.precision = precision

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
