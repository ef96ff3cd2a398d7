"""A trained model in the form that other programs compute with: OpenVINO or ONNX.

In: a model, and dev with what torch says about it. Out: a folder with the network, the tokenizer, ``config.json`` (with
the label names), and ``export.json``, which says how it was compared on dev. onnx and onnxruntime come with the extra
``onnx``.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from secondcoder.errors import MissingExtraError, ModelError, SettingsError
from secondcoder.model.backend_choice import (
    LEAST_AGREEMENT,
    LEAST_ROWS,
    MOST_LOST,
    Check,
    DevReference,
    compare,
    int8_ways,
)
from secondcoder.model.backends import ResolvedPrecision, TorchBackend
from secondcoder.model.classifier import Scores
from secondcoder.model.model import Model
from secondcoder.model.openvino_backend import (
    BY_TORCH,
    OpenVINOBackend,
    check_shapes,
    convert,
    example,
    first_line,
    in_order,
    is_fast_at_int8,
)
from secondcoder.model.pretrained import quiet_transformers
from secondcoder.progress import Progress
from secondcoder.storage import atomic_path, sha256_file, storage_errors, write_json

ExportFormat = Literal["openvino", "onnx"]
ONNX_NAME = "model.onnx"
CHECK_NAME = "export.json"
# The oldest set of operators that says all that encoders need; programs of the last years read it.
_OPSET = 17


class _Exported(Protocol):
    """What was exported, and computes."""

    name: str
    precision: ResolvedPrecision
    token_budget: int
    rest_budget: int | None
    device: torch.device

    @property
    def at_once(self) -> int:
        """Batches that are computed side by side."""

    def logits(self, batch: Mapping[str, torch.Tensor]) -> NDArray[np.float32]:
        """Return the logits of a padded batch, shape (rows, k)."""

    def save(self, folder: Path) -> None:
        """Write the network into a folder."""


class OnnxBackend:
    """Logits by ONNX Runtime, on this machine's processor.

    Parameters
    ----------
    network
        An ONNX model as bytes.
    """

    name = "onnx"
    precision: ResolvedPrecision = "fp32"
    device = torch.device("cpu")
    token_budget = 1024
    rest_budget: int | None = None
    at_once = 1

    def __init__(self, network: bytes) -> None:
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.network = network
        self._session = runtime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def logits(self, batch: Mapping[str, torch.Tensor]) -> NDArray[np.float32]:
        """Return the logits of a padded batch, shape (rows, k)."""
        found: NDArray[np.float32] = self._session.run(None, {n: batch[n].numpy() for n in batch})[0]
        return found

    def save(self, folder: Path) -> None:
        """Write the network into a folder."""
        (folder / ONNX_NAME).write_bytes(self.network)


def export_model(
    model: Model,
    folder: Path,
    *,
    form: ExportFormat,
    precision: Literal["fp32", "int8"],
    judges: DevReference,
    progress: Progress,
) -> Check:
    """Write a model in another form, if it labels dev as torch does in fp32; return how they compare.

    Parameters
    ----------
    model
        On the processor.
    folder
        Appears when it is whole; must not be there yet.
    form
        ``"openvino"`` or ``"onnx"``.
    precision
        ``"int8"`` for OpenVINO only. A model that labels by OpenVINO in int8 is written as it labels.
    judges
        Dev, with what torch says about it in fp32.
    progress
        Told what takes its time.

    Raises
    ------
    MissingExtraError
        If the packages of that form are not installed.
    ModelError
        If the model cannot be converted, or does not label alike.
    SettingsError
        If the form has no such precision, or something stands in the folder's place.
    """
    if form == "onnx" and precision == "int8":
        raise SettingsError("There is no int8 in ONNX here.", "Export --format openvino, or --precision fp32.")
    if folder.exists():
        raise SettingsError(f"{folder} is already there.", "Choose another --output, or remove it first.")
    if precision == "int8" and len(judges.texts) < LEAST_ROWS:
        raise ModelError(
            f"dev has {len(judges.texts)} rows, and it takes {LEAST_ROWS} to see whether int8 labels alike.",
            "Export in --precision fp32.",
        )
    if precision == "int8" and not is_fast_at_int8():
        raise ModelError("This processor cannot compare in int8: it has neither VNNI nor AMX.", "--precision fp32.")
    progress.say(f"Converting the model for {form}, in {precision}.")
    for exported in _candidates(model, form, precision, judges):
        judged = Model(model.network, model.encoder, model.card)
        judged.use(exported)
        with progress.task("Comparing on dev", len(judges.texts)) as task:
            scores = judged.score(judges.texts, progress=task)
        check = compare(scores, judges, backend=form, precision=precision, k=len(model.label_names))
        if check.passed:
            _write(model, exported, folder, check)
            return check
    raise ModelError(
        f"In {precision} by {form} the model does not label alike: {check.agreement:.2%} of {check.n:,} dev labels "
        f"are those of torch in fp32, macro-F1 {check.macro_f1:.4f} against {check.reference_macro_f1:.4f}. It "
        f"takes {LEAST_AGREEMENT:.1%}, a loss of at most {MOST_LOST}.",
        "Export in --precision fp32." if precision == "int8" else BY_TORCH,
    )


def torch_scores(model: Model, texts: Sequence[str], progress: Progress) -> Scores:
    """Return what a model says by torch in fp32, whatever it labels with."""
    plain = Model(model.network, model.encoder, model.card)
    plain.use(TorchBackend(model.network, "fp32"))
    with progress.task("dev by torch", len(texts)) as task:
        return plain.score(texts, progress=task)


def _candidates(
    model: Model, form: ExportFormat, precision: ResolvedPrecision, judges: DevReference
) -> Iterator[_Exported]:
    """Yield what may be written, the fastest first; at least one."""
    if form == "onnx":
        yield _to_onnx(model)
    elif isinstance(model.backend, OpenVINOBackend) and model.backend.precision == precision:
        yield model.backend
    else:
        plain = convert(model.network, model.encoder, "fp32")
        if precision == "fp32":
            yield plain
        else:
            yield from (make() for make in int8_ways(model, plain, judges).values())


def _to_onnx(model: Model) -> OnnxBackend:
    """Return the network as ONNX, by the exporter that needs no further packages."""
    _package("onnx")
    batch = example(model.encoder, ["one text", "and another one, to be padded"])
    axes = {name: {0: "rows", 1: "tokens"} for name in batch} | {"logits": {0: "rows"}}
    plain = in_order(model.network, tuple(batch))
    with TemporaryDirectory() as folder, quiet_transformers(), warnings.catch_warnings():
        path = Path(folder) / ONNX_NAME
        warnings.simplefilter("ignore")  # of tracing; `check_shapes` looks at what they warn of
        try:
            torch.onnx.export(
                plain,
                tuple(batch.values()),
                str(path),
                dynamo=False,
                input_names=list(batch),
                output_names=["logits"],
                dynamic_axes=axes,
                opset_version=_OPSET,
            )
            found = OnnxBackend(path.read_bytes())
        except Exception as error:  # torch and ONNX Runtime raise what they like where they meet something unknown
            raise ModelError(
                f"{type(model.network).__name__} cannot be written as ONNX: {first_line(error)}.",
                "Export --format openvino.",
            ) from error
    check_shapes(found, plain, model.encoder)
    return found


def _write(model: Model, exported: _Exported, folder: Path, check: Check) -> None:
    with atomic_path(folder) as temporary, quiet_transformers(), storage_errors(folder):
        temporary.mkdir(exist_ok=True)
        model.network.config.save_pretrained(temporary)
        model.encoder.tokenizer.save_pretrained(temporary)
        exported.save(temporary)
        files = sorted(path.name for path in temporary.iterdir())
        write_json(
            temporary / CHECK_NAME,
            {
                "format": 1,
                "check": check.to_dict(),
                "model_sha256": model.sha256,
                "label_names": list(model.label_names),
                "task": model.card.task,
                "thresholds": model.card.thresholds,
                "max_length": model.encoder.max_length,
                "long_texts": model.encoder.long_texts,
                "overlap_tokens": model.encoder.overlap,
                "window_pooling": model.card.window_pooling,
                "temperature": model.card.temperature,
                "inputs": ["input_ids", "attention_mask"],
                "output": "logits",
                "files": {name: sha256_file(temporary / name) for name in files},
            },
        )


def _package(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(f"{name} is not installed.", "Run: pip install 'secondcoder[onnx]'.")
    return importlib.import_module(name)
