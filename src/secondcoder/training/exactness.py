"""What makes a training that went on end with the same bits as one without a break: random generators, conditions.

In: torch's global state. Out: tensors and plain values for a checkpoint, and the way back.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel

from secondcoder.corpus.corpus import Corpus
from secondcoder.model.model import Model
from secondcoder.storage import sha256_strings
from secondcoder.training.checkpoints import Tensors
from secondcoder.training.ranks import Ranks


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
    return sha256_strings([digest.hexdigest()], *(rows for part in (train, dev) for rows in _columns(part)))


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


def _columns(part: Corpus) -> tuple[tuple[str | None, ...], ...]:
    return (part.ids, part.texts, part.labels)


def _cuda_states() -> list[torch.Tensor]:
    return list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else []
