"""The command export.

In: a run. Out: its model in the form of another program.
"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from secondcoder.cli.output import Json, print_json, say
from secondcoder.progress import LiveProgress


def export(
    run: Path,
    /,
    *,
    output: Path,
    format: Annotated[Literal["openvino", "onnx"], Parameter(name="--format")] = "openvino",  # noqa: A002
    precision: Literal["fp32", "int8"] | None = None,
    json: Json = False,
) -> None:
    """Write a run's model for OpenVINO or ONNX Runtime, after comparing its labels with torch's on dev.

    The folder holds the network, the tokenizer, config.json with the label names, and export.json with the comparison.
    It is not written where labels differ by more than labelling itself would allow.

    Parameters
    ----------
    run
        The run folder, whose dev part is compared on.
    output
        The folder to write.
    format
        For which program.
    precision
        fp32, or int8 for openvino. Unset: what the run labels with, where that is OpenVINO; else fp32.
    json
        Print the result as JSON.
    """
    from secondcoder.runs.export import export_run

    check = export_run(run, output, form=format, precision=precision, progress=LiveProgress())
    if json:
        print_json({"output": str(output), **check.to_dict()})
        return
    say(
        f"{output}: {check.backend} in {check.precision}; {check.agreement:.2%} of {check.n:,} dev labels as by torch "
        f"in fp32, macro-F1 {check.macro_f1:.4f} against {check.reference_macro_f1:.4f}."
    )
