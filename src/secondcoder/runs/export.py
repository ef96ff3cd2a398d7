"""A run's model in the form of another program, compared on its dev part.

In: a run folder. Out: an exported folder.
"""

from pathlib import Path
from typing import Literal

from secondcoder.errors import ModelError
from secondcoder.evaluation.tasks import gold_of
from secondcoder.model.backend_choice import Check, DevReference
from secondcoder.model.export import ExportFormat, export_model, torch_scores
from secondcoder.model.model import Model
from secondcoder.progress import Progress, default_progress
from secondcoder.runs.run import Run


def export_run(
    run: Run | Path | str,
    output: Path | str,
    *,
    form: ExportFormat = "openvino",
    precision: Literal["fp32", "int8"] | None = None,
    progress: Progress | None = None,
) -> Check:
    """Write a run's model for OpenVINO or ONNX Runtime; return how its labels compare with torch's on dev.

    Parameters
    ----------
    run
        A run, or its folder.
    output
        The folder to write; must not be there yet.
    form
        For which program.
    precision
        In which arithmetic; None is what the run labels with, where that is OpenVINO, else fp32.
    progress
        Where to show how far it has come.

    Raises
    ------
    MissingExtraError
        If the packages of that form are not installed.
    ModelError
        If the model cannot be converted, or does not label alike.
    RunError
        If the run holds no model, or no longer its texts.
    SettingsError
        If the form has no such precision, or something stands in the folder's place.
    """
    run = run if isinstance(run, Run) else Run(run)
    progress = progress or default_progress()
    model, dev = run.model, run.part("dev")
    if not isinstance(model, Model):
        raise ModelError(
            f"The model in {run.folder} is TF-IDF with logistic regression, which OpenVINO and ONNX do not compute.",
            "Label with secondcoder, or export the run of a pre-trained model.",
        )
    if precision is None:
        labels_in_int8 = form == "openvino" and (model.card.backend, model.card.precision) == ("openvino", "int8")
        precision = "int8" if labels_in_int8 else "fp32"
    gold, scores = gold_of(dev, model.label_names), torch_scores(model, dev.texts, progress)
    judges = DevReference(run.part("train").texts, dev.texts, gold, scores, model.card.decide)
    return export_model(model, Path(output), form=form, precision=precision, judges=judges, progress=progress)
