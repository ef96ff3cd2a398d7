"""Ids to logits by OpenVINO, on this machine's processor.

In: a classifier's network, or the folder of one that was converted. Out: logits. OpenVINO comes with the extra
``fast``, and is loaded only where it is used.
"""

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import io
import logging
import queue
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.model.backends import Backend, ResolvedPrecision
from secondcoder.model.batches import rest_height
from secondcoder.model.pretrained import quiet_transformers
from secondcoder.model.tokenisation import TextEncoder


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def same_signal_stack() -> Iterator[None]:
    """Give the thread the signal stack back, behind the block, that it had before it."""
    if sys.platform != "linux":
        yield
        return
    exchange = ctypes.CDLL(None, use_errno=True).sigaltstack
    before = _Stack()
    known = exchange(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            exchange(ctypes.byref(before), None)


@contextlib.contextmanager
def same_logging() -> Iterator[None]:
    """Leave the root logger as it was: where a conversion fails, OpenVINO leaves it deaf to warnings."""
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers


FILE_NAME = "openvino_model.xml"
WEIGHTS_NAME = "openvino_model.bin"
# OpenVINO's names of what it computes in. An int8 network says itself which of its layers are int8.
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
BY_TORCH = "Use --backend torch."
# Neighbouring activations with a range of their own, where `quantising.compressed` left them to be measured on the
# way. Tokens a second: 8,800 with 32, 10,100 with 128, where fixed ranges give 11,500 and fp32 6,700. IMDb dev labels
# as in fp32: 99.6 %, 99.4 %, 98.2 % (docs/backends.md).
_GROUP = 32
_COMPILING = threading.Lock()  # of the process: compiling makes tables on first use too
# What is converted must say what the network says, in every shape; logits of sane networks differ by 1e-5 and less.
_TOLERANCE = 1e-3


def is_installed() -> bool:
    """Return whether the extra ``fast`` is there."""
    return all(_is_there(name) for name in ("openvino", "nncf"))


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
    # One thread for each batch, and a batch for each core: 1.1 to 1.5 times as fast as all cores on one batch, whose
    # threads wait for each other (docs/backends.md). So scores do not depend on the number of threads either.
    token_budget = 1024
    rest_budget: int | None = 256

    def __init__(self, network: Any, names: Sequence[str], precision: ResolvedPrecision) -> None:
        self.network = network
        self.names = tuple(names)
        self.precision = precision
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = 0
        # By length in tokens: the highest batch that was compared with a low one, and whether it gave the same bits.
        self._same: dict[int, tuple[int, bool]] = {}

    @property
    def at_once(self) -> int:
        """Batches that are computed side by side, each in a thread of its own."""
        threads = torch.get_num_threads()  # what others set for torch, the user means for all
        if self._threads != threads:
            with _COMPILING:
                if self._threads != threads:  # no other thread has done it meanwhile
                    compiled, requests = self._compile(threads), queue.SimpleQueue[Any]()
                    for _ in range(threads):
                        requests.put(compiled.create_infer_request())
                    self._requests, self._threads = requests, threads
        return threads

    def logits(self, batch: Mapping[str, torch.Tensor]) -> NDArray[np.float32]:
        """Return the logits of a padded batch, shape (rows, k)."""
        inputs = [batch[name].numpy() for name in self.names]
        rows, length = inputs[0].shape
        least = rest_height(length, self.rest_budget or rows)
        if rows <= least:
            return self._infer(inputs)
        # OpenVINO has always given the same bits whatever the height, but does not promise to. So the highest batch
        # of each length is compared with a low one, and where they differ, all are computed in low ones.
        low = [[each[start : start + least] for each in inputs] for start in range(0, rows, least)]
        compared, same = self._same.get(length, (0, True))
        if same:
            found = self._infer(inputs)
            if rows <= compared:
                return found
            same = np.array_equal(found[:least], self._infer(low[0]))
            self._same[length] = (rows, same)
            if same:
                return found
        return np.concatenate([self._infer(each) for each in low])

    def _infer(self, inputs: list[NDArray[np.int64]]) -> NDArray[np.float32]:
        if not self._threads:
            self.at_once  # noqa: B018
        requests = self._requests  # another number of threads puts other ones in its place
        request = requests.get()
        try:
            found: NDArray[np.float32] = request.infer(inputs)[0].copy()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compute this network: {first_line(error)}.", BY_TORCH) from error
        finally:
            requests.put(request)
        return found

    def _compile(self, threads: int) -> Any:
        hints = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if self.precision == "int8" else 0,
        }
        try:
            with same_signal_stack():
                compiled = _core().compile_model(self.network, "CPU", hints)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compile this network: {first_line(error)}.", BY_TORCH) from error
        # Where the processor cannot do what is asked for, OpenVINO computes in something else, without a word.
        if (used := compiled.get_property("INFERENCE_PRECISION_HINT").to_string()) != _HINTS[self.precision]:
            raise ModelError(
                f"The model computes in {self.precision}, and OpenVINO would compute in {used} on this processor.",
                "Label on another machine, or by --backend torch, and judge it so first.",
            )
        return compiled

    def save(self, folder: Path) -> None:
        """Write the converted network into a folder."""
        load_openvino().save_model(self.network, folder / FILE_NAME, compress_to_fp16=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return the network as bytes: copies of fitted estimators hold it, and OpenVINO cannot copy it itself."""
        with TemporaryDirectory() as folder:
            self.save(Path(folder))
            network = tuple((Path(folder) / name).read_bytes() for name in (FILE_NAME, WEIGHTS_NAME))
        return {**vars(self), "network": network, "_requests": None, "_threads": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` gave."""
        vars(self).update(state)
        self._requests = queue.SimpleQueue()
        graph, weights = state["network"]
        self.network = _core().read_model(graph, weights)

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
        core = _core()
        try:
            network = core.read_model(folder / FILE_NAME)
        except RuntimeError as error:
            raise ModelError(
                f"{folder / FILE_NAME} cannot be read: {first_line(error)}.", "Copy the whole model folder."
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
    openvino = load_openvino()
    batch = example(encoder, ["one text", "and another one, to be padded"])
    was_training = network.training
    plain = in_order(network, tuple(batch))
    try:
        with quiet_transformers(), same_logging(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing, about shapes that are given anew with each batch
            found = openvino.convert_model(plain, example_input=tuple(batch.values()))
            for port, name in zip(found.inputs, batch, strict=True):
                port.get_tensor().set_names({name})
        check_shapes(OpenVINOBackend(found, tuple(batch), "fp32"), plain, encoder)
    except ModelError:
        raise
    except Exception as error:  # OpenVINO and torch raise what they like where they meet something unknown
        raise ModelError(f"OpenVINO cannot convert {type(network).__name__}: {first_line(error)}.", BY_TORCH) from error
    finally:
        network.train(was_training)
    return OpenVINOBackend(found, tuple(batch), precision)


def in_order(network: PreTrainedModel, names: tuple[str, ...]) -> torch.nn.Module:
    """Return the network, without dropout, as converters want it: inputs in order, and logits alone come out."""
    return _Positional(network, names).eval()


def check_shapes(found: Backend, network: torch.nn.Module, encoder: TextEncoder) -> None:
    """See that a converted network says what the network says, whatever the shape.

    Tracing takes what Python computes from the example's shape for a constant; then other shapes come out wrong.

    Parameters
    ----------
    found
        Computes what was converted.
    network
        From `in_order`, on this machine's processor.
    encoder
        The model's tokenisation.

    Raises
    ------
    ModelError
        If it says something else.
    """
    texts = ["tax", "We will cut taxes, and spend more on schools. " * 4, "word " * encoder.max_length]
    for few in ([0], [0, 1], [2, 0, 1]):
        batch = example(encoder, [texts[i] for i in few])
        with torch.inference_mode():
            expected = network(*batch.values()).numpy()
        if not np.allclose(found.logits(batch), expected, atol=_TOLERANCE, rtol=_TOLERANCE):
            rows, tokens = batch["input_ids"].shape
            raise ModelError(f"What was converted gives other logits for {rows} texts of {tokens} tokens.", BY_TORCH)


class _Positional(torch.nn.Module):
    """A classifier that takes its inputs in order and returns logits alone, as converters want it."""

    def __init__(self, network: PreTrainedModel, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(**dict(zip(self.names, inputs, strict=True)), return_dict=True).logits
        return logits


def example(encoder: TextEncoder, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return a few texts as one padded batch; of long ones in windows, the first."""
    encoded = encoder.encode(texts)
    return encoder.batch(encoded, encoded.windows.starts[:-1], (len(texts), int(encoded.lengths.max())))


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def first_line(error: Exception) -> str:
    """Return what an error says, without the trace of places in C++ that OpenVINO adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("Exception from", "Check '"))), type(error).__name__)


def _core() -> Any:
    """Return the one core of this process: cores that come and go leave the signal stack in disorder."""
    return _only_core(load_openvino())


@functools.cache
def _only_core(openvino: Any) -> Any:
    return openvino.Core()


def load_openvino() -> Any:
    """Return the package, which would tell its maker of each use unless it found no telemetry."""
    if not _is_there("openvino"):
        raise MissingExtraError(
            "OpenVINO is not installed.", "Run: pip install 'secondcoder[fast]', or use --backend torch."
        )
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it then fails
    return importlib.import_module("openvino")


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

    Raises
    ------
    ModelError
        If nncf cannot quantise a network of this kind.
    """
    with same_signal_stack(), _quiet_nncf() as nncf:
        calibration = nncf.Dataset([tuple(t.numpy() for t in example(encoder, [text]).values()) for text in texts])
        try:
            found = nncf.quantize(
                backend.network, calibration, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts)
            )
        except Exception as error:  # it raises what it likes where it meets something unknown
            raise ModelError(f"nncf cannot quantise the network: {first_line(error)}.", BY_TORCH) from error
    return OpenVINOBackend(found, backend.names, "int8")


def compressed(backend: OpenVINOBackend) -> OpenVINOBackend:
    """Return a converted network with weights in int8, and ranges of activations measured anew for each token.

    Nearer to fp32 than `quantised`, above all for long texts with a few very large activations, and a little slower.

    Raises
    ------
    ModelError
        If nncf cannot quantise a network of this kind.
    """
    with same_signal_stack(), _quiet_nncf() as nncf:
        try:
            found = nncf.compress_weights(backend.network.clone(), mode=nncf.CompressWeightsMode.INT8_SYM)
        except Exception as error:  # it raises what it likes where it meets something unknown
            raise ModelError(f"nncf cannot quantise the network: {first_line(error)}.", BY_TORCH) from error
    return OpenVINOBackend(found, backend.names, "int8")


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """Give nncf inside the block, without its bars and its log."""
    if not is_installed():
        raise MissingExtraError("nncf is not installed.", "Run: pip install 'secondcoder[fast]'.")
    load_openvino()  # without its telemetry, which nncf would use too
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
