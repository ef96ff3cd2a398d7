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
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers import PreTrainedModel

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import ModelError, RunError, StorageError
from secondcoder.model.model import Model, copy_mode
from secondcoder.storage import atomic_path, read_json, sha256_file, sha256_strings, storage_errors, write_json
from secondcoder.training.distributed import Ranks
from secondcoder.training.steps import Parameters

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
                copy_mode(temporary / name, like=temporary / _MANIFEST)
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


def generator_states(ranks: Ranks) -> Tensors:
    """Return the states of torch's generators, of every process and device, by name."""
    mine = {"cpu": torch.get_rng_state().tolist()}
    mine |= {f"cuda-{i}": state.tolist() for i, state in enumerate(_cuda_states())}
    if torch.backends.mps.is_available():
        mine["mps"] = torch.mps.get_rng_state().tolist()
    return {
        f"generator.{rank}.{device}": torch.tensor(state, dtype=torch.uint8)
        for rank, states in enumerate(ranks.gather(mine))
        for device, state in states.items()
    }


def set_generators(tensors: Tensors, ranks: Ranks) -> None:
    """Put back this process's generators; those that were not kept stay as they are seeded."""
    prefix = f"generator.{ranks.index}."
    for name, state in tensors.items():
        device = name.removeprefix(prefix)
        if device == name:
            continue
        if device == "cpu":
            torch.set_rng_state(state)
        elif device == "mps" and torch.backends.mps.is_available():
            torch.mps.set_rng_state(state)
        elif device.startswith("cuda-") and int(device[5:]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(device[5:]))


def fingerprint(train: Corpus, dev: Corpus, network: PreTrainedModel) -> str:
    """Return a SHA-256 of what checkpoints do not hold and must be the same again: the texts, the frozen weights."""
    digest = hashlib.sha256()
    for parameter in network.parameters():
        if not parameter.requires_grad:
            digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return sha256_strings([digest.hexdigest(), train.sha256(), dev.sha256()])


def conditions(model: Model, ranks: Ranks) -> dict[str, Any]:
    """Return what the bits of a training depend on besides its data and settings."""
    return {
        "device": model.backend.device.type,
        "precision": model.precision,
        "threads": torch.get_num_threads(),
        "processes": ranks.count,
        "torch": str(torch.__version__),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in which conditions two moments differ, as phrases."""
    return [
        f"{name} was {before.get(name)}, and is {value}" for name, value in now.items() if before.get(name) != value
    ]


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Deterministic CUDA kernels inside the block; the old setting back behind it."""
    if wanted:  # cuBLAS reads it when it starts: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _cuda_states() -> list[torch.Tensor]:
    return list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else []


class TrainingCheckpoints:
    """Saves and brings back one training.

    Parameters
    ----------
    model
        That is trained.
    train, dev
        Its texts.
    parameters
        Those of its weights that are trained; the others come from the pre-trained model again.
    folder
        Where checkpoints are.
    ranks
        The processes that train it; the leader writes, and all must be able to read.

    Raises
    ------
    RunError
        If not all of them were given the same.
    """

    def __init__(
        self, model: Model, train: Corpus, dev: Corpus, parameters: Parameters, folder: Path, ranks: Ranks
    ) -> None:
        self.folder = folder
        self._model, self._parameters, self._ranks = model, parameters, ranks
        self._checkpoints = CheckpointFolder(folder)
        self._fingerprint = fingerprint(train, dev, model.network)
        if len(set(ranks.gather(self._fingerprint))) > 1:
            raise RunError(
                "The processes that train together were given different texts, labels or pre-trained weights.",
                "Give every machine the same files and the same command.",
            )
        self._newest: Path | None = None

    def save(self, tensors: Tensors, plain: dict[str, Any], *, is_best: bool) -> None:
        """Write a checkpoint: the weights and generators as they are, and what is given; all processes call it."""
        tensors = tensors | generator_states(self._ranks)
        plain = plain | {"fingerprint": self._fingerprint, "conditions": conditions(self._model, self._ranks)}
        with self._ranks.sharing_failure():
            if self._ranks.leads:
                weights = {name: parameter.detach() for name, parameter in self._parameters.items()}
                self._newest = self._checkpoints.save(Checkpoint(weights, tensors, plain), is_best=is_best)
        self._newest = self._ranks.from_leader(self._newest)

    def newest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """Return the newest whole checkpoint, if there is one; damaged ones are named, skipped and put aside.

        Raises
        ------
        ModelError
            If it belongs to other texts, labels or pre-trained weights.
        """
        found = self._checkpoints.newest() if self._ranks.leads else None
        for reason in self._checkpoints.damaged:
            say(f"Damaged, and skipped: {reason}")
        self._newest = self._ranks.from_leader(found)
        if self._newest is None:
            self._put_damaged_aside()
            say("There is no whole checkpoint to go on from: training starts from its beginning.")
            return None
        checkpoint = read_checkpoint(self._newest)
        if checkpoint.plain["fingerprint"] != self._fingerprint:
            raise ModelError(
                f"The checkpoints in {self.folder} belong to other texts, labels or pre-trained weights.",
                "Train into another folder, without --resume.",
            )
        self._put_damaged_aside()
        for difference in differences(checkpoint.plain["conditions"], conditions(self._model, self._ranks)):
            say(f"The result may differ in its last bits from a training without a break: {difference}.")
        return checkpoint

    def _put_damaged_aside(self) -> None:
        if self._ranks.leads:
            self._checkpoints.put_aside_after(self._newest)

    def forget(self) -> None:
        """Remove what an earlier training left: the first checkpoint of this one would take its best for its own."""
        if self._ranks.leads:
            self._checkpoints.clear()

    def best(self) -> Tensors:
        """Return the weights of the best epoch so far."""
        if self._newest is None:
            raise ModelError("No epoch was finished.", "Train longer.")
        return read_best(self._newest)

    def load(self, weights: Tensors) -> None:
        """Put weights into the model."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])
