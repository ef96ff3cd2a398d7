"""What labels fastest, and says the same: the backend is chosen once, at the end of a training.

In: a trained model, texts of train to measure ranges on, dev with what the model says about it in plain arithmetic.
Out: the model with its backend, and what was compared. The backend chosen is what evaluates, and what labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import ModelError
from secondcoder.evaluation import metrics
from secondcoder.model.backends import ResolvedPrecision, resolve_precision
from secondcoder.model.converted import OpenVINOBackend, convert, is_fast_at_int8, is_installed, quantised
from secondcoder.model.model import Model, Scores
from secondcoder.settings import Backend

LEAST_ROWS = 500
"""Fewer rows of dev cannot show that labels agree at `LEAST_AGREEMENT`."""
LEAST_AGREEMENT = 0.995
MOST_LOST = 0.005
"""Macro-F1 that a faster arithmetic may cost on dev."""
_CALIBRATION_TEXTS = 256


@dataclass(frozen=True)
class Check:
    """How a faster arithmetic compares with plain fp32 on dev.

    Attributes
    ----------
    backend, precision
        What was tried.
    n
        Rows of dev.
    agreement
        Share of them that get the same label.
    macro_f1, reference_macro_f1
        Of what was tried, and of fp32 by torch.
    passed
        Whether it may label.
    """

    backend: str
    precision: ResolvedPrecision
    n: int
    agreement: float
    macro_f1: float
    reference_macro_f1: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """What will label, and why.

    Attributes
    ----------
    scores
        What the chosen backend says about dev.
    checks
        What was tried, in order.
    reason
        One sentence.
    """

    scores: Scores
    checks: tuple[Check, ...]
    reason: str


def choose_backend(
    model: Model,
    asked: Backend,
    calibration: Sequence[str],
    gold: NDArray[np.int64],
    reference: Scores,
    dev: Sequence[str],
) -> Choice:
    """Give the model the fastest backend that labels as fp32 does, and return what was compared.

    int8 by OpenVINO first, where the processor is made for it; then OpenVINO in bf16 or fp32, whichever is faster
    here; else torch, as the model was trained.

    Parameters
    ----------
    model
        After its training; gets the backend, and its card names it.
    asked
        ``"auto"``, ``"torch"`` or ``"openvino"``; the last means: OpenVINO, or an error that says why not.
    calibration
        Texts of train.
    gold
        ndarray of shape (n,), classes of dev.
    reference
        What the model says about dev by torch.
    dev
        Its n texts.

    Raises
    ------
    MissingExtraError
        If OpenVINO was asked for and is not installed.
    ModelError
        If OpenVINO was asked for and cannot convert the model.
    """
    on_cpu = model.backend.device.type == "cpu"
    if asked == "torch":
        return Choice(reference, (), "torch, as asked for.")
    if asked == "auto" and not (on_cpu and is_installed()):
        return Choice(reference, (), f"torch: {'the extra fast is not installed' if on_cpu else 'there is a GPU'}.")
    try:
        plain = convert(model.network, model.encoder, resolve_precision("auto", model.backend.device))
    except ModelError as error:
        if asked == "openvino":
            raise
        return Choice(reference, (), f"torch: {error.what}")
    if len(gold) < LEAST_ROWS:
        why_not = f"dev has {len(gold)} rows, and it takes {LEAST_ROWS} to see whether int8 labels alike"
    elif not is_fast_at_int8():
        why_not = "this processor has neither VNNI nor AMX"
    else:
        why_not = ""
    checks: list[Check] = []
    if not why_not:
        few = calibration[:: max(1, len(calibration) // _CALIBRATION_TEXTS)][:_CALIBRATION_TEXTS]
        chosen = _try(model, quantised(plain, model.encoder, few), gold, reference, dev, checks)
        if chosen is not None:
            return Choice(chosen, tuple(checks), f"int8 by OpenVINO: {_told(checks[-1])}.")
        why_not = f"int8 labels otherwise ({_told(checks[-1])})"
    chosen = _try(model, plain, gold, reference, dev, checks)
    if chosen is not None:
        return Choice(chosen, tuple(checks), f"{plain.precision} by OpenVINO, not int8: {why_not}.")
    return Choice(reference, tuple(checks), f"torch: OpenVINO labels otherwise ({_told(checks[-1])}).")


def _try(
    model: Model,
    backend: OpenVINOBackend,
    gold: NDArray[np.int64],
    reference: Scores,
    dev: Sequence[str],
    checks: list[Check],
) -> Scores | None:
    """Give the model a backend and return what it says about dev; put the old one back and return None if it fails."""
    before = model.backend, model.card
    model.use(backend)
    scores = model.score(dev)
    k = len(model.label_names)
    labels, expected = scores.logits.argmax(axis=1), reference.logits.argmax(axis=1)
    agreement = float(np.mean(labels == expected))
    found, wanted = (metrics.macro_average(metrics.confusion_matrix(gold, given, k)).f1 for given in (labels, expected))
    # Fewer rows than it takes are no reason against plain arithmetic, which only rounds.
    passed = agreement >= LEAST_AGREEMENT and wanted - found <= MOST_LOST
    checks.append(Check(backend.name, backend.precision, len(gold), agreement, found, wanted, passed))
    if passed:
        return scores
    model.backend, model.card = before
    return None


def _told(check: Check) -> str:
    return (
        f"{check.agreement:.1%} of {check.n:,} dev labels as in fp32, macro-F1 {check.macro_f1:.4f} against "
        f"{check.reference_macro_f1:.4f}"
    )
