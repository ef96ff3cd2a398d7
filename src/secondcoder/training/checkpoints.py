"""Weights on disk while training goes on.

In: a network. Out: safetensors files that are whole or not there.
"""

from pathlib import Path

import safetensors.torch
from transformers import PreTrainedModel

from secondcoder.storage import atomic_path

_BEST = "best.safetensors"


def save_best(network: PreTrainedModel, folder: Path) -> None:
    """Keep these weights as the best so far."""
    with atomic_path(folder / _BEST) as temporary:
        safetensors.torch.save_model(network, str(temporary))


def restore_best(network: PreTrainedModel, folder: Path) -> None:
    """Put the best weights so far into the network."""
    safetensors.torch.load_model(network, folder / _BEST, device=str(network.device))
