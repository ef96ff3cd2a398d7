"""Ids to logits by OpenVINO, on this machine's processor.

In: a classifier's network, or the folder of one that was converted. Out: logits. OpenVINO comes with the extra
``fast``, and is loaded only where it is used.
"""

import contextlib
import importlib
import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.model.backends import PREDICTION_TOKENS, ResolvedPrecision
from secondcoder.model.encoding import TextEncoder
from secondcoder.model.pretrained import quiet_transformers

FILE_NAME = "openvino_model.xml"
WEIGHTS_NAME = "openvino_model.bin"
# OpenVINO's names of what it computes in. An int8 network says itself which of its layers are int8.
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def is_installed() -> bool:
    """Return whether the extra ``fast`` is there."""
    return all(importlib.util.find_spec(name) is not None for name in ("openvino", "nncf"))


def is_fast_at_int8() -> bool:
    """Return whether this processor multiplies 8-bit integers in one go (VNNI or AMX).

    Without, int8 is not only slower: sums of 16 bits may overflow, and labels differ from machine to machine.
    """
    return bool(torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported())


class OpenVINOBackend:
    """Logits by OpenVINO.

    Parameters
    ----------
    network
        A converted network, of OpenVINO's own type.
    names
        Names of its inputs, in their order.
    precision
        Arithmetic, ``"fp32"``, ``"bf16"`` or ``"int8"``.
    """

    name = "openvino"
    device = torch.device("cpu")
    token_budget = PREDICTION_TOKENS["cpu"]

    def __init__(self, network: Any, names: Sequence[str], precision: ResolvedPrecision) -> None:
        self.network = network
        self.names = tuple(names)
        self.precision = precision
        self._compiled: Any = None
        self._threads = 0

    def logits(self, batch: Mapping[str, torch.Tensor]) -> NDArray[np.float32]:
        """Return the logits of a padded batch, shape (rows, k)."""
        if self._threads != torch.get_num_threads():  # what others set for torch, the user means for all
            self._threads = torch.get_num_threads()
            self._compiled = (
                _openvino()
                .Core()
                .compile_model(
                    self.network,
                    "CPU",
                    {
                        "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
                        "PERFORMANCE_HINT": "LATENCY",
                        "NUM_STREAMS": 1,
                        "INFERENCE_NUM_THREADS": self._threads,
                    },
                )
            )
        found: NDArray[np.float32] = self._compiled([batch[name].numpy() for name in self.names])[0].copy()
        return found

    def save(self, folder: Path) -> None:
        """Write the converted network into a folder."""
        _openvino().save_model(self.network, folder / FILE_NAME, compress_to_fp16=False)

    @classmethod
    def load(cls, folder: Path, precision: ResolvedPrecision) -> "OpenVINOBackend":
        """Return the backend of a folder that `save` wrote into.

        Raises
        ------
        MissingExtraError
            If OpenVINO is not installed.
        ModelError
            If the processor cannot compute so, or the file cannot be read.
        """
        if precision == "int8" and not is_fast_at_int8():
            raise ModelError(
                "The model was judged in int8, which this processor does not compute exactly (no VNNI, no AMX).",
                "Label on another machine, or by --backend torch, and judge it so first.",
            )
        core = _openvino().Core()
        try:
            network = core.read_model(folder / FILE_NAME)
        except RuntimeError as error:
            raise ModelError(
                f"{folder / FILE_NAME} cannot be read: {error}.", "Copy the whole model folder."
            ) from error
        return cls(network, [port.get_any_name() for port in network.inputs], precision)


def convert(network: PreTrainedModel, encoder: TextEncoder, precision: ResolvedPrecision) -> OpenVINOBackend:
    """Return a network converted to OpenVINO, not quantised yet.

    Raises
    ------
    MissingExtraError
        If OpenVINO is not installed.
    ModelError
        If OpenVINO cannot convert a network of this kind.
    """
    openvino = _openvino()
    batch = _example(encoder, ["one text", "and another one, to be padded"])
    was_training = network.training
    network.eval()
    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing, about shapes that are given anew with each batch
            found = openvino.convert_model(_Positional(network, tuple(batch)), example_input=tuple(batch.values()))
    except Exception as error:  # OpenVINO and torch raise what they like where they meet something unknown
        raise ModelError(
            f"OpenVINO cannot convert {type(network).__name__}: {str(error).strip().splitlines()[0]}.",
            "Use --backend torch.",
        ) from error
    finally:
        network.train(was_training)
    for port, name in zip(found.inputs, batch, strict=True):
        port.get_tensor().set_names({name})
    return OpenVINOBackend(found, tuple(batch), precision)


def quantised(backend: OpenVINOBackend, encoder: TextEncoder, texts: Sequence[str]) -> OpenVINOBackend:
    """Return a converted network in int8, with ranges measured on these texts.

    Parameters
    ----------
    backend
        What `convert` returned.
    encoder
        The model's tokenisation.
    texts
        Texts of the kind that will be labelled; a few hundred.
    """
    with _quiet_nncf() as nncf:
        calibration = nncf.Dataset([tuple(t.numpy() for t in _example(encoder, [text]).values()) for text in texts])
        found = nncf.quantize(
            backend.network, calibration, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts)
        )
    return OpenVINOBackend(found, backend.names, "int8")


class _Positional(torch.nn.Module):
    """A classifier that takes its inputs in order and returns logits alone, as converters want it."""

    def __init__(self, network: PreTrainedModel, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(**dict(zip(self.names, inputs, strict=True)), return_dict=True).logits
        return logits


def _example(encoder: TextEncoder, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    encoded = encoder.encode(texts)
    return encoder.batch(encoded, np.arange(len(texts)), (len(texts), int(encoded.lengths.max())))


def _openvino() -> Any:
    """Return the package, which would tell its maker of each use unless it found no telemetry."""
    if not is_installed():
        raise MissingExtraError(
            "OpenVINO is not installed.", "Run: pip install 'secondcoder[fast]', or use --backend torch."
        )
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it then fails
    return importlib.import_module("openvino")


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """Give nncf inside the block, without its bars and its log."""
    _openvino()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        nncf = importlib.import_module("nncf")
        logger = logging.getLogger("nncf")
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield nncf
        finally:
            logger.setLevel(level)
            logger.propagate = propagate
