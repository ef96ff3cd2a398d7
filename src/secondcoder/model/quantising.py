"""A converted network in int8.

In: what `secondcoder.model.converted.convert` returned, and texts to measure ranges on. Out: the same in int8. nncf
comes with the extra ``fast``, and is loaded only here.
"""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.model.converted import BY_TORCH, OpenVINOBackend, example, first_line, is_installed, load_openvino
from secondcoder.model.encoding import TextEncoder
from secondcoder.model.process_state import same_signal_stack


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
