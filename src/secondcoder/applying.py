"""A trained model applied to a corpus: the steps of `label`, in order.

In: a model, or where it is, and what is to be labelled. Out: a labelled file. Each step lives in `labelling`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from secondcoder.errors import SettingsError
from secondcoder.labelling.engines import open_engine
from secondcoder.labelling.stream import label_file
from secondcoder.labelling.summary import LabelSummary
from secondcoder.model.loading import load_model
from secondcoder.model.model import Model
from secondcoder.progress import Progress, default_progress
from secondcoder.runs.run import Run
from secondcoder.settings import BackendName, Device, EngineName, LabelSettings, Precision


def label(
    model: Model | Run | Path | str,
    source: Path | str | Sequence[Path | str],
    *,
    output: Path | str,
    text: str | None = None,
    probabilities: bool = False,
    prefix: str = "",
    min_confidence: float | Literal["auto"] | None = None,
    limit: int | None = None,
    shard: str | None = None,
    allow_rejects: bool = False,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: BackendName = "auto",
    engine: EngineName = "local",
    address: str | None = None,
    workers: int | None = None,
    cpus: int | None = None,
    progress: Progress | None = None,
) -> LabelSummary:
    """Label every text of a corpus and return what was done.

    What was begun and not finished, whatever stopped it, the same call goes on with.

    Parameters
    ----------
    model
        A model, a run, or the folder of either.
    source
        The corpus: files (CSV, TSV, JSONL, Parquet), folders, patterns; one or several.
    output
        The labelled file; its ending names the format. Without an ending, a folder of files like the input's.
    text, probabilities, prefix, min_confidence, limit, shard, allow_rejects, device, precision, backend, engine, \
address, workers, cpus
        See `secondcoder.settings.LabelSettings`; from `device` on only where a folder or a run is named.
    progress
        Where to show how far it has come; a bar in notebooks, nothing elsewhere, unless given.

    Raises
    ------
    DataError
        If the input has no such column, has a column that would be added, is not what its ending says, or changes.
    ModelError
        If the folder holds no whole model.
    StorageError
        If the output is already there, was begun with something else, or cannot be written.
    RunError
        If another process works on the same output.
    InterruptedRunError
        If the user stopped it and something is saved.
    """
    progress = progress or default_progress()
    told = LabelSettings(device=device, precision=precision, backend=backend)
    told = replace(told, engine=engine, address=address, workers=workers, cpus=cpus)
    with open_engine(_loader(model, told), told, progress) as opened:
        if min_confidence == "auto" and (min_confidence := opened.min_confidence) is None:
            raise SettingsError(
                "min_confidence is 'auto', and no confidence was chosen for this model.",
                "Train with --max-error, or give a probability.",
            )
        return label_file(
            opened,
            source,
            Path(output),
            text=text,
            probabilities=probabilities,
            prefix=prefix,
            min_confidence=min_confidence,
            limit=limit,
            shard=shard,
            allow_rejects=allow_rejects,
            progress=progress,
        )


def _loader(model: Model | Run | Path | str, told: LabelSettings) -> Callable[[], Model]:
    """Return what gets the model; with Ray, in another process."""
    on_ray = told.engine == "ray"
    if not isinstance(model, Run | Model):
        folder = Path(model).absolute() if on_ray else model
        return partial(load_model, folder, device=told.device, precision=told.precision, backend=told.backend)
    if (told.device, told.precision, told.backend) != ("auto",) * 3 or (on_ray and isinstance(model, Model)):
        raise SettingsError(
            "device, precision, backend or engine 'ray' was named for a model that has been loaded already.",
            "Name the run's folder instead, or load the model with them: secondcoder.load(folder, device=..., ...).",
        )
    if isinstance(model, Run):
        return partial(load_model, model.model_folder.absolute()) if on_ray else lambda: model.model
    return lambda: model
