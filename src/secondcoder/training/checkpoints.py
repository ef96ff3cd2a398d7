"""Weights on disk while training goes on.

In: a network. Out: safetensors files that are whole or not there.
"""

from pathlib import Path

import safetensors
import safetensors.torch
from transformers import PreTrainedModel

from secondcoder.errors import StorageError
from secondcoder.storage import atomic_path


def save_epoch(network: PreTrainedModel, folder: Path, epoch: int) -> None:
    """Keep the weights of an epoch.

    Raises
    ------
    StorageError
        If the disk refuses them.
    """
    path = _path(folder, epoch)
    with atomic_path(path) as temporary:
        try:
            safetensors.torch.save_model(network, str(temporary))
        except (OSError, safetensors.SafetensorError) as error:
            raise StorageError(
                f"Cannot write {path}: {error}.", "Free space or choose a folder that you may write to."
            ) from error


def restore_epoch(network: PreTrainedModel, folder: Path, epoch: int) -> None:
    """Put the weights of an epoch that was kept into the network."""
    safetensors.torch.load_model(network, _path(folder, epoch), device=str(network.device))


def forget_epoch(folder: Path, epoch: int) -> None:
    """Remove the weights of an epoch."""
    _path(folder, epoch).unlink(missing_ok=True)


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch}.safetensors"
