"""What is needed to go on after a training was stopped, killed or cut off.

In: tensors and plain values. Out: numbered folders in ``checkpoints/`` that are whole or not there, and the newest of
them whose hashes are right.

    checkpoint-00000007/
      weights.safetensors   the trained weights, as they were at that moment
      state.safetensors     optimizer, random generators, what the best epoch said about dev
      best.safetensors      the weights of the best epoch so far, if there is one
      state.json            step, place in the epoch, history, conditions
      manifest.json         SHA-256 of each of these
"""

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from secondcoder.errors import StorageError
from secondcoder.model.model import share
from secondcoder.storage import atomic_path, read_json, sha256_file, storage_errors, write_json

Tensors = dict[str, torch.Tensor]

FORMAT = 1
# A damaged one is skipped, so the one before must still be there.
_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{8})")
_WEIGHTS, _STATE, _BEST = "weights.safetensors", "state.safetensors", "best.safetensors"
_PLAIN, _MANIFEST = "state.json", "manifest.json"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training at one moment.

    Attributes
    ----------
    weights
        Trained weights by name.
    tensors
        Optimizer, random generators, and whatever else is a tensor.
    plain
        Everything else, as JSON values.
    """

    weights: Tensors
    tensors: Tensors
    plain: dict[str, Any]


@dataclass
class CheckpointFolder:
    """The checkpoints of one training.

    Attributes
    ----------
    folder
        Where they are.
    damaged
        What was found to be damaged, each with the reason.
    """

    folder: Path
    damaged: list[str] = field(default_factory=list)

    def newest(self) -> Path | None:
        """Return the newest checkpoint that is whole; damaged ones are added to `damaged`."""
        for path in reversed(self._paths()):
            try:
                _verify(path)
            except StorageError as error:
                if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
                    raise  # a disk that cannot be read just now says nothing about the file
                self.damaged.append(f"{path.name}: {error.what}")
            else:
                return path
        return None

    def save(self, checkpoint: Checkpoint, *, is_best: bool) -> Path:
        """Write a checkpoint and forget all but the newest two.

        Parameters
        ----------
        checkpoint
            What to keep.
        is_best
            Whether its weights are the best so far; otherwise those of the checkpoint before stay the best.

        Raises
        ------
        StorageError
            If the disk refuses; what was saved before is still there.
        """
        before = self._paths()
        number = int(before[-1].name[-8:]) + 1 if before else 1
        path = self.folder / f"checkpoint-{number:08}"
        with atomic_path(path) as temporary, storage_errors(path):
            temporary.mkdir(parents=True)
            hashes = {}
            for name, tensors in ((_WEIGHTS, checkpoint.weights), (_STATE, checkpoint.tensors)):
                safetensors.torch.save_file(_on_cpu(tensors), temporary / name)
                hashes[name] = sha256_file(temporary / name)
            write_json(temporary / _PLAIN, {"format": FORMAT, **checkpoint.plain})
            hashes[_PLAIN] = sha256_file(temporary / _PLAIN)
            if is_best:
                _link(temporary / _WEIGHTS, temporary / _BEST)
                hashes[_BEST] = hashes[_WEIGHTS]
            elif before and (before[-1] / _BEST).exists():
                _link(before[-1] / _BEST, temporary / _BEST)
                hashes[_BEST] = read_json(before[-1] / _MANIFEST)[_BEST]
            write_json(temporary / _MANIFEST, hashes)
            for name in hashes:
                share(temporary / name, like=temporary / _MANIFEST)
        for old in before[: 1 - _KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return path

    def clear(self) -> None:
        """Remove all of them, whole or not."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def put_aside_after(self, path: Path | None) -> None:
        """Rename what is newer than a checkpoint that is gone back to (None: everything): it is damaged."""
        for other in self._paths():
            if path is None or other.name > path.name:
                with storage_errors(other):
                    other.rename(other.with_name(f"damaged-{uuid.uuid4().hex[:8]}-{other.name}"))

    def _paths(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        return []


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what a checkpoint holds, tensors on the CPU."""
    plain = read_json(path / _PLAIN)
    if plain.pop("format", None) != FORMAT:
        raise StorageError(f"{path} was written by another version of secondcoder.", "Train into another folder.")
    return Checkpoint(safetensors.torch.load_file(path / _WEIGHTS), safetensors.torch.load_file(path / _STATE), plain)


def read_best(path: Path) -> Tensors:
    """Return the weights of the best epoch up to a checkpoint, on the CPU."""
    found: Tensors = safetensors.torch.load_file(path / _BEST)
    return found


def _verify(path: Path) -> None:
    """Raise `StorageError` unless every file is there with the hash that the manifest gives."""
    manifest = read_json(path / _MANIFEST)
    if not isinstance(manifest, dict) or not {_WEIGHTS, _STATE, _PLAIN} <= manifest.keys():
        raise StorageError(f"{_MANIFEST} does not name all files.", "")
    for name, expected in manifest.items():
        if not (path / name).is_file():
            raise StorageError(f"{name} is missing", "")
        if sha256_file(path / name) != expected:
            raise StorageError(f"{name} is damaged (its SHA-256 is not the one in the manifest)", "")


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; where the file system has no links, copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
