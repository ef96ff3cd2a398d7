"""The lower part of an encoder, when it stays as it was pre-trained: computed once, without dropout, and kept on disk.

In: a network and the share of its layers to freeze. Out: which weights are trained, and the train part as the upper
layers see it.
"""

import contextlib
import logging
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from secondcoder.model.backends import PREDICTION_TOKENS, ResolvedPrecision, computing
from secondcoder.model.batches import fixed_shapes
from secondcoder.model.encoding import Encoded, TextEncoder
from secondcoder.model.model import Model
from secondcoder.progress import Progress
from secondcoder.storage import storage_errors
from secondcoder.training.steps import Inputs

logger = logging.getLogger(__name__)

# Texts on which the short cut must give the logits of the whole network, and how nearly: activations are kept as
# float16, whose rounding moves MiniLM's logits by some 1e-3.
_CHECKED, _TOLERANCE = 4, 0.02


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
    layers, embeddings = _layers(network), _embeddings(network)
    if layers is None:
        return Frozen(0, () if embeddings is None else (embeddings.requires_grad_(False),))
    n = math.floor(share * len(layers) + 1e-9)
    trained = {id(p) for layer in list(layers)[n:] for p in layer.parameters()}
    in_layers = {id(p) for p in layers.parameters()}
    before = True
    for parameter in network.base_model.parameters():
        # Weights stand in the order in which they are used: those before the first layer's are the embeddings'.
        before = before and id(parameter) not in in_layers
        if id(parameter) not in trained and (before or id(parameter) in in_layers):
            parameter.requires_grad_(False)
    modules = list(layers)[:n] + ([] if embeddings is None else [embeddings])
    return Frozen(n, tuple(modules))


class TokenInputs:
    """The train part as token ids."""

    def __init__(self, encoder: TextEncoder, encoded: Encoded) -> None:
        self._encoder, self._encoded = encoder, encoded
        self.lengths = encoded.lengths

    def batch(self, rows: NDArray[np.int64], shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Return the rows padded to `shape` (rows, tokens)."""
        return self._encoder.batch(self._encoded, rows, shape)


class ActivationInputs:
    """The train part as the frozen layers left it.

    Parameters
    ----------
    path
        File of float16, shape (total tokens, hidden size).
    encoded
        The same texts as token ids: gives their lengths and places.
    hidden_size
        Numbers for each token.
    """

    def __init__(self, path: Path, encoded: Encoded, hidden_size: int) -> None:
        self._hidden_size, self._offsets = hidden_size, encoded.offsets
        self._values = np.memmap(path, np.float16, "r", shape=(int(encoded.offsets[-1]), hidden_size))
        self.lengths = encoded.lengths

    def batch(self, rows: NDArray[np.int64], shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Return the rows padded to `shape` (rows, tokens); padding is zeros, and masked."""
        values = np.zeros((*shape, self._hidden_size), np.float32)
        mask = np.zeros(shape, np.int64)
        for b, row in enumerate(rows):
            start, end = self._offsets[row], self._offsets[row + 1]
            values[b, : end - start] = self._values[start:end]
            mask[b, : end - start] = 1
        return {"inputs_embeds": torch.from_numpy(values), "attention_mask": torch.from_numpy(mask)}


def inputs_for(
    model: Model, encoded: Encoded, frozen: Frozen, *, path: Path | None, progress: Progress
) -> tuple[Inputs, Frozen | None]:
    """Return what the network reads while it is trained, and what of it is put aside meanwhile.

    Where a path is given and the network allows it, that is what its frozen layers make of the texts, else token ids.
    """
    kept = None
    if path is not None:
        kept = cache_activations(
            model.network, model.encoder, encoded, frozen, precision=model.precision, path=path, progress=progress
        )
    return (TokenInputs(model.encoder, encoded), None) if kept is None else (kept, frozen)


def cache_activations(
    network: PreTrainedModel,
    encoder: TextEncoder,
    encoded: Encoded,
    frozen: Frozen,
    *,
    precision: ResolvedPrecision,
    path: Path,
    progress: Progress,
) -> ActivationInputs | None:
    """Return what the frozen layers make of the texts, computed once into a file; None where that cannot be done.

    It cannot where the network has no embeddings that can be put aside, or gives other logits from kept activations
    than from the texts: some architectures do more between their layers.

    Raises
    ------
    StorageError
        If the disk refuses the file.
    """
    if not frozen.layers or _embeddings(network) is None:
        return None
    hidden_size: int = network.config.hidden_size
    network.eval()
    few = Encoded(encoded.ids[: encoded.offsets[_CHECKED]], encoded.offsets[: _CHECKED + 1], encoded.full_lengths[:4])
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if len(encoded) < _CHECKED or not _agree(network, encoder, few, frozen, precision, path.with_suffix(".few")):
        logger.info("Activations of %s are not kept: its layers cannot be run by themselves.", type(network).__name__)
        return None
    with (
        progress.task("frozen layers", len(encoded)) as task,
        # Closed at once when the task stops the work: until then the network has its lower layers only.
        contextlib.closing(_write(network, encoder, encoded, frozen, precision, path)) as written,
    ):
        for done in written:
            task.advance(done)
    return ActivationInputs(path, encoded, hidden_size)


@contextlib.contextmanager
def upper_layers(network: PreTrainedModel, frozen: Frozen) -> Iterator[None]:
    """Run only what is above the frozen layers inside the block, on what `ActivationInputs` gives."""
    with _replaced(network, slice(frozen.layers, None), passing=True):
        yield


def _write(
    network: PreTrainedModel,
    encoder: TextEncoder,
    encoded: Encoded,
    frozen: Frozen,
    precision: ResolvedPrecision,
    path: Path,
) -> Generator[int, None, None]:
    """Write the activations, batch by batch; yield how many texts were done. No part of a file is left behind."""
    found: list[torch.Tensor] = []
    plan = fixed_shapes(
        encoded.lengths, token_budget=PREDICTION_TOKENS[network.device.type], max_length=encoder.max_length
    )
    layers = _layers(network)
    assert layers is not None
    last = layers[frozen.layers - 1]
    hook = last.register_forward_hook(
        lambda _module, _given, output: found.append(output[0] if isinstance(output, tuple) else output)
    )
    try:
        with storage_errors(path), path.open("wb") as stream, _replaced(network, slice(0, frozen.layers)):
            for batch in plan:
                tensors = encoder.batch(encoded, batch.rows, batch.shape)
                tensors = {name: tensor.to(network.device) for name, tensor in tensors.items()}
                with torch.no_grad(), computing(network.device, precision):
                    network(**tensors)
                values = found.pop().to(torch.float16).cpu().numpy()  # (rows, tokens, hidden size)
                for b, row in enumerate(batch.rows):
                    # Written, not memory-mapped: where a disk is full a mapped page kills the process.
                    stream.seek(int(encoded.offsets[row]) * values.shape[2] * values.itemsize)
                    stream.write(values[b, : encoded.lengths[row]].tobytes())
                yield len(batch.rows)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # on a full disk, it is this that fills it
        raise
    finally:
        hook.remove()


def _agree(
    network: PreTrainedModel,
    encoder: TextEncoder,
    few: Encoded,
    frozen: Frozen,
    precision: ResolvedPrecision,
    path: Path,
) -> bool:
    """Return whether the short cut gives the logits of the whole network."""
    rows = np.arange(len(few))
    shape = (len(few), int(few.lengths.max()))
    try:
        list(_write(network, encoder, few, frozen, precision, path))
        kept = ActivationInputs(path, few, network.config.hidden_size)
        with torch.no_grad(), computing(network.device, precision):
            whole = network(**_on(network.device, encoder.batch(few, rows, shape))).logits
            with upper_layers(network, frozen):
                cut = network(**_on(network.device, kept.batch(rows, shape))).logits
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        logger.info("Not run from the middle: %s", error)
        return False
    finally:
        path.unlink(missing_ok=True)
    scale = max(1.0, float(whole.abs().max()))
    return bool(torch.isfinite(cut).all()) and float((whole - cut).abs().max()) < _TOLERANCE * scale


def _on(device: torch.device, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


class _Given(nn.Module):
    """Stands in the place of the embeddings and passes on what it is given."""

    def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
        """Return the first argument that holds activations."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 3:
                return value
        raise TypeError("no activations were given")


@contextlib.contextmanager
def _replaced(network: PreTrainedModel, kept: slice, *, passing: bool = False) -> Iterator[None]:
    """Leave only some of the layers in the network inside the block, without embeddings if they are passed by."""
    base = network.base_model
    layers = _layers(network)
    assert layers is not None
    owner, name = next(
        (module, name) for module in base.modules() for name, child in module.named_children() if child is layers
    )
    embeddings = base.embeddings
    setattr(owner, name, nn.ModuleList(list(layers)[kept]))
    if passing:
        base.embeddings = _Given()
    try:
        yield
    finally:
        setattr(owner, name, layers)
        base.embeddings = embeddings


def _layers(network: PreTrainedModel) -> nn.ModuleList | None:
    """Return the encoder's layers, from below; None where they share their weights."""
    n = getattr(network.config, "num_hidden_layers", None)
    lists = (module for module in network.base_model.modules() if isinstance(module, nn.ModuleList))
    return next((found for found in lists if len(found) == n), None)


def _embeddings(network: PreTrainedModel) -> nn.Module | None:
    found = getattr(network.base_model, "embeddings", None)
    return found if isinstance(found, nn.Module) else None
