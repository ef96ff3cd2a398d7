"""What labels fastest, and says the same: the backend is chosen once, at the end of a training.

In: a trained model, texts of train to measure ranges on, dev with what the model says about it in plain arithmetic.
Out: the model with its backend, and what was compared. The backend chosen is what evaluates, and what labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import ModelError
from secondcoder.evaluation.multiclass import decide_class
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.backends import ResolvedPrecision, resolve_precision
from secondcoder.model.classifier import Scores
from secondcoder.model.model import Model
from secondcoder.model.openvino_backend import (
    OpenVINOBackend,
    compressed,
    convert,
    is_fast_at_int8,
    is_installed,
    quantised,
)
from secondcoder.progress import Progress
from secondcoder.settings import BackendName

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
        Rows of dev that it was compared on.
    agreement
        Share of them that get the same label; where a text may have several, the same set of them.
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


@dataclass(frozen=True, eq=False)
class DevReference:
    """What a backend is chosen by.

    Attributes
    ----------
    calibration
        Texts of train, to measure ranges on.
    texts
        Those of dev, n of them.
    gold : ndarray of shape (n,) or (n, k)
        Their classes; or, of bool, which classes each has.
    reference
        What the model says about them by torch.
    decide
        What makes classes of probabilities, as gold has them: by the model's thresholds, where it has any.
    """

    calibration: Sequence[str]
    texts: Sequence[str]
    gold: NDArray[np.int64] | NDArray[np.bool_]
    reference: Scores
    decide: Callable[[NDArray[np.float64]], NDArray[np.int64] | NDArray[np.bool_]] = decide_class


def choose_backend(model: Model, asked: BackendName, judges: DevReference, progress: Progress) -> Choice:
    """Give the model the fastest backend that labels as fp32 does, and return what was compared.

    int8 by OpenVINO first, where the processor is made for it; then OpenVINO in bf16 or fp32, whichever is faster
    here; else torch, as the model was trained.

    Parameters
    ----------
    model
        After its training; gets the backend, and its card names it.
    asked
        ``"auto"``, ``"torch"`` or ``"openvino"``; the last means: OpenVINO, or an error that says why not.
    judges
        Dev, and what the model says about it by torch.
    progress
        Told what takes its time.

    Raises
    ------
    MissingExtraError
        If OpenVINO was asked for and is not installed.
    ModelError
        If OpenVINO was asked for and cannot convert the model.
    """
    reference = judges.reference
    on_cpu = model.backend.device.type == "cpu"
    if asked == "torch":
        return Choice(reference, (), "torch, as asked for.")
    if asked == "auto" and not (on_cpu and is_installed()):
        return Choice(reference, (), f"torch: {'the extra fast is not installed' if on_cpu else 'there is a GPU'}.")
    checks: list[Check] = []
    try:
        progress.say("Converting the model for OpenVINO.")
        plain = convert(model.network, model.encoder, resolve_precision("auto", model.backend.device))
        why_not = _why_not_int8(len(judges.gold))
        if not why_not:
            chosen, why_not = _try_int8(model, plain, judges, checks, progress)
            if chosen is not None:
                return Choice(chosen, tuple(checks), f"int8 by OpenVINO: {_told(checks[-1])}.")
        chosen = _try(model, plain, judges, checks, progress)
    except ModelError as error:
        if asked == "openvino":
            raise
        return Choice(reference, tuple(checks), f"torch: {error.what}")
    if chosen is not None:
        return Choice(chosen, tuple(checks), f"{plain.precision} by OpenVINO, not int8: {why_not}.")
    reason = f"OpenVINO labels otherwise ({_told(checks[-1])})"
    if asked == "openvino":
        raise ModelError(f"{reason}.", "Train with --backend torch.")
    return Choice(reference, tuple(checks), f"torch: {reason}.")


def int8_ways(model: Model, plain: OpenVINOBackend, judges: DevReference) -> dict[str, Callable[[], OpenVINOBackend]]:
    """Return how a converted network can be had in int8, the fastest first."""
    texts = judges.calibration
    some = texts[:: max(1, len(texts) // _CALIBRATION_TEXTS)][:_CALIBRATION_TEXTS]  # from everywhere
    return {
        "ranges measured on texts of train": lambda: quantised(plain, model.encoder, some),
        "ranges measured for each token": lambda: compressed(plain),
    }


def compare(found: Scores, judges: DevReference, *, backend: str, precision: ResolvedPrecision, k: int) -> Check:
    """Return how what a backend says about dev compares with what torch says.

    Parameters
    ----------
    found
        What it says.
    judges
        Dev.
    backend, precision
        What it is called.
    k
        Number of classes.
    """
    labels, expected = judges.decide(found.probabilities), judges.decide(judges.reference.probabilities)
    rules = task_rules(judges.reference.task)
    alike = rules.right(labels, expected)
    agreement = float(np.mean(alike)) if len(labels) else 0.0
    f1, reference_f1 = (rules.macro_f1(judges.gold, given, k) for given in (labels, expected))
    # Fewer rows than it takes for int8 are no reason against plain arithmetic, which only rounds.
    passed = (
        agreement >= LEAST_AGREEMENT
        and reference_f1 - f1 <= MOST_LOST
        and (precision != "int8" or len(labels) >= LEAST_ROWS)
    )
    return Check(backend, precision, len(labels), agreement, f1, reference_f1, passed)


def _why_not_int8(n: int) -> str:
    """Return why int8 need not be tried on n rows of dev, or nothing."""
    if n < LEAST_ROWS:
        return f"dev has {n} rows, and it takes {LEAST_ROWS} to see whether int8 labels alike"
    return "" if is_fast_at_int8() else "this processor has neither VNNI nor AMX"


def _try_int8(
    model: Model, plain: OpenVINOBackend, judges: DevReference, checks: list[Check], progress: Progress
) -> tuple[Scores | None, str]:
    """Return what the model says in int8, or None and why it does not label in it.

    With fixed ranges first, which is the fastest; then with ranges measured for each token.
    """
    why_not = ""
    for way, make in int8_ways(model, plain, judges).items():
        progress.say(f"Trying int8, {way}; this takes a minute or so.")
        try:
            chosen = _try(model, make(), judges, checks, progress)
        except ModelError as error:
            why_not = error.what.rstrip(".")
            continue
        if chosen is not None:
            return chosen, ""
        why_not = f"int8 labels otherwise ({_told(checks[-1])})"
    return None, why_not


def _try(
    model: Model, backend: OpenVINOBackend, judges: DevReference, checks: list[Check], progress: Progress
) -> Scores | None:
    """Give the model a backend and return what it says about dev; put the old one back and return None if it fails."""
    before = model.backend, model.card
    model.use(backend)
    try:
        with progress.task(f"dev in {backend.precision}", len(judges.texts)) as task:
            scores = model.score(judges.texts, progress=task)
    except ModelError:
        model.backend, model.card = before
        raise
    checks.append(compare(scores, judges, backend=backend.name, precision=backend.precision, k=len(model.label_names)))
    if checks[-1].passed:
        return scores
    model.backend, model.card = before
    return None


def _told(check: Check) -> str:
    return (
        f"{check.agreement:.1%} of {check.n:,} dev labels as in fp32, macro-F1 {check.macro_f1:.4f} against "
        f"{check.reference_macro_f1:.4f}"
    )
