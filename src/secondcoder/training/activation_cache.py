"""What the frozen layers make of the train part: computed once, without dropout, and kept on disk.

In: token ids and a network whose lower layers are frozen. Out: what the rest of the network reads while it is trained.
"""

import contextlib
import copy
import logging
import shutil
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from secondcoder.errors import StorageError
from secondcoder.model.backends import PREDICTION_TOKENS, ResolvedPrecision, computing
from secondcoder.model.batches import fixed_shapes
from secondcoder.model.model import Model
from secondcoder.model.pooling import has_mean_layer, layers_of
from secondcoder.model.tokenisation import Encoded, TextEncoder
from secondcoder.progress import Progress
from secondcoder.storage import storage_errors
from secondcoder.training.steps import Inputs
from secondcoder.training.trainable import Frozen, embeddings_of, running, upper_layers

logger = logging.getLogger(__name__)
# Texts on which the short cut must say what the whole encoder says, and how nearly: root mean square of the difference,
# in standard deviations of what it says. Rounding to float16 is 3e-4 of that, to bf16 in between a few times 1e-3.
_CHECKED = 6
_TOLERANCE: dict[ResolvedPrecision, float] = {"fp32": 0.003, "bf16": 0.03}


class TokenInputs:
    """The train part as token ids."""

    def __init__(self, encoder: TextEncoder, encoded: Encoded) -> None:
        self._encoder, self._encoded = encoder, encoded
        self.lengths, self.windows = encoded.lengths, encoded.windows

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
        self._hidden_size = hidden_size
        self._values = np.memmap(path, np.float16, "r", shape=(int(encoded.offsets[-1]), hidden_size))
        self._starts = encoded.offsets[:-1]
        self.lengths, self.windows = encoded.lengths, encoded.windows

    def take(self, texts: NDArray[np.int64], encoded: Encoded) -> "ActivationInputs":
        """Return the named texts, in the order given; `encoded` is what these inputs were made with."""
        taken, some = copy.copy(self), encoded.take(texts)
        taken._starts = self._starts[encoded.windows.rows(texts)]
        taken.lengths, taken.windows = some.lengths, some.windows
        return taken

    def batch(self, rows: NDArray[np.int64], shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Return the rows padded to `shape` (rows, tokens); padding is zeros, and masked."""
        values = np.zeros((*shape, self._hidden_size), np.float32)
        mask = np.zeros(shape, np.int64)
        for b, row in enumerate(rows):
            start, length = self._starts[row], self.lengths[row]
            values[b, :length] = self._values[start : start + length]
            mask[b, :length] = 1
        return {"inputs_embeds": torch.from_numpy(values), "attention_mask": torch.from_numpy(mask)}


def inputs_for(
    model: Model, encoded: Encoded, frozen: Frozen, *, path: Path | None, progress: Progress
) -> tuple[Inputs, Frozen | None]:
    """Return what the network reads while it is trained, and what of it is put aside meanwhile.

    On a CPU, where a path is given, the disk has room and the network allows it, that is what its frozen layers make of
    the texts, else token ids.
    """
    kept = None
    needed = int(encoded.offsets[-1]) * model.network.config.hidden_size * 2
    if path is not None and frozen.layers and model.backend.device.type == "cpu":
        try:
            _require_room(path, needed)
            kept = cache_activations(
                model.network, model.encoder, encoded, frozen, precision=model.precision, path=path, progress=progress
            )
        except StorageError as error:
            progress.say(
                f"What the frozen layers say is not kept on disk ({needed / 1e9:.1f} GB), but computed at every step, "
                f"which is slower: {error.what}"
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

    It cannot where the network has no embeddings that can be put aside, says other things from kept activations than
    from the texts (some architectures do more between their layers), or computes numbers that float16 cannot hold.

    Raises
    ------
    StorageError
        If the disk refuses the file.
    """
    if not frozen.layers or embeddings_of(network) is None:
        return None
    hidden_size: int = network.config.hidden_size
    network.eval()
    few = _some(encoded)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    checked = len(encoded.lengths) >= _CHECKED
    if not (checked and _agree(network, encoder, few, frozen, precision, path.with_suffix(".few"))):
        logger.info("Activations of %s are not kept: its layers cannot be run by themselves.", type(network).__name__)
        return None
    try:
        with (
            progress.task("frozen layers", len(encoded.lengths)) as task,
            # Closed at once when the task stops the work: until then the network has its lower layers only.
            contextlib.closing(_write(network, encoder, encoded, frozen, precision, path)) as written,
        ):
            for done in written:
                task.advance(done)
    except _TooLargeError:
        logger.info("Activations of %s are not kept: float16 cannot hold them.", type(network).__name__)
        return None
    return ActivationInputs(path, encoded, hidden_size)


def _write(
    network: PreTrainedModel,
    encoder: TextEncoder,
    encoded: Encoded,
    frozen: Frozen,
    precision: ResolvedPrecision,
    path: Path,
) -> Generator[int, None, None]:
    """Write the activations, batch by batch; yield how many rows were done. No part of a file is left behind."""
    found: list[torch.Tensor] = []
    plan = fixed_shapes(
        encoded.lengths, token_budget=PREDICTION_TOKENS[network.device.type], max_length=encoder.max_length
    )
    layers = layers_of(network)
    assert layers is not None
    last = layers[frozen.layers - 1]
    hook = last.register_forward_hook(
        lambda _module, _given, output: found.append(output[0] if isinstance(output, tuple) else output)
    )
    try:
        with storage_errors(path), path.open("wb") as stream, running(network, slice(0, frozen.layers)):
            for batch in plan:
                tensors = encoder.batch(encoded, batch.rows, batch.shape)
                tensors = {name: tensor.to(network.device) for name, tensor in tensors.items()}
                with torch.no_grad(), computing(network.device, precision):
                    network(**tensors)
                values = found.pop().to(torch.float16).cpu().numpy()  # (rows, tokens, hidden size)
                if not np.isfinite(values).all():
                    raise _TooLargeError
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
    """Return whether the upper layers say the same on what is kept as the whole encoder on the texts."""
    rows = np.arange(len(few))
    shape = (len(few), int(few.lengths.max()))
    base = network.base_model
    try:
        list(_write(network, encoder, few, frozen, precision, path))
        kept = ActivationInputs(path, few, network.config.hidden_size)
        tokens, given = encoder.batch(few, rows, shape), kept.batch(rows, shape)
        real = tokens["attention_mask"].bool()
        with torch.no_grad(), computing(network.device, precision):
            whole = base(**_on(network.device, tokens)).last_hidden_state.float().cpu()  # (rows, tokens, hidden size)
            with upper_layers(network, frozen):
                cut = base(**_on(network.device, given)).last_hidden_state.float().cpu()
        if not has_mean_layer(network):
            whole, cut = whole[real], cut[real]
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        logger.info("Not run from the middle: %s", error)
        return False
    finally:
        path.unlink(missing_ok=True)
    return (
        whole.shape == cut.shape and float((whole - cut).square().mean().sqrt() / whole.std()) < _TOLERANCE[precision]
    )


def _some(encoded: Encoded) -> Encoded:
    """Return a few of the rows: the shortest, the longest, and some between."""
    ranked = np.argsort(encoded.lengths, kind="stable")
    rows = ranked[np.unique(np.linspace(0, len(ranked) - 1, _CHECKED).round().astype(int))]
    offsets = np.concatenate([[0], np.cumsum(encoded.lengths[rows])])
    return Encoded(np.concatenate([encoded[row] for row in rows]), offsets, encoded.lengths[rows])


def _require_room(path: Path, needed: int) -> None:
    """Raise `StorageError` if a file of so many bytes would fill more than half of what is free."""
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free / 2:
        raise StorageError(f"{free / 1e9:.1f} GB are free in {folder}.", "Free space.")


class _TooLargeError(ValueError):
    """An activation is larger than float16 can hold."""


def _on(device: torch.device, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
