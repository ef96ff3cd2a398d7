"""The table of contents: the steps of `train`, `evaluate` and `label`, in order.

In: what the user has and wants. Out: a run folder, figures, a labelled file. Each step lives elsewhere; nothing is
computed here.
"""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.splits import Split
from secondcoder.errors import DataError, InterruptedRunError, ModelError, SettingsError
from secondcoder.evaluation.evaluate import Evaluation
from secondcoder.labelling.stream import label_file
from secondcoder.labelling.summary import LabelSummary
from secondcoder.model.encoding import describe_lengths
from secondcoder.model.loading import load_model, start_model
from secondcoder.model.model import Model, Scores
from secondcoder.progress import Progress, default_progress
from secondcoder.recording import finish_run, recorded, start_run
from secondcoder.runs import Run, judge
from secondcoder.settings import DEFAULT_MODEL, DEFAULT_SEED, Device, Precision, TrainSettings, Truncation, check_seed
from secondcoder.storage import locked, sha256_strings, write_json
from secondcoder.training.baselines import fit_baselines
from secondcoder.training.loop import Fit, fit

# A saved model is loaded again and compared on so many dev texts: enough to notice weights that went wrong.
_COMPARED = 200
# On a CPU they are equal to the last bit; other hardware may choose another kernel.
_TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}


def train(
    split: Split,
    *,
    output: Path | str,
    model: str = DEFAULT_MODEL,
    epochs: int = 2,
    batch_size: int = 16,
    learning_rate: float | Literal["auto"] = "auto",
    warmup: float = 0.0,
    weight_decay: float = 0.01,
    max_grad_norm: float = 1.0,
    attention_dropout: float = 0.0,
    max_length: int | None = None,
    truncation: Truncation = "head",
    metric: str = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    token_budget: int | None = None,
    deterministic: bool = False,
    seed: int = DEFAULT_SEED,
    progress: Progress | None = None,
) -> Run:
    """Return a run: the model fine-tuned on train, its best epoch chosen on dev, and everything written down.

    Parameters
    ----------
    split
        Train, dev and test; the test part is stored and not looked at.
    output
        The run folder; it must be new or empty.
    model, epochs, batch_size, learning_rate, warmup, weight_decay, max_grad_norm, attention_dropout, max_length, \
truncation, metric, device, precision, token_budget, deterministic
        See `secondcoder.settings.TrainSettings`.
    seed
        Of the head's first weights, the order of the data, and dropout.
    progress
        Where to show how far it has come; a bar in notebooks, nothing elsewhere, unless given.

    Raises
    ------
    DataError
        If train or dev cannot be learned from.
    ModelError
        If the model cannot be had, or its loss diverges.
    RunError
        If the folder holds something already.
    InterruptedRunError
        If the user stopped it; the best epoch so far is kept in the folder.
    """
    settings = TrainSettings(
        model=model,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup=warmup,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm,
        attention_dropout=attention_dropout,
        max_length=max_length,
        truncation=truncation,
        metric=metric,
        device=device,
        precision=precision,
        token_budget=token_budget,
        deterministic=deterministic,
    )
    return train_with(split, settings, output=Path(output), seed=seed, progress=progress or default_progress())


def train_with(split: Split, settings: TrainSettings, *, output: Path, seed: int, progress: Progress) -> Run:
    """Do what `train` does, with the settings in one piece."""
    check_seed(seed)
    _require_learnable(split)
    with locked(output):
        run = start_run(output, split=split, settings=settings, seed=seed)
        with recorded(run):
            columns = split.train.source.columns
            model = start_model(
                settings,
                label_names=split.train.label_names,
                seed=seed,
                positive=split.train.positive,
                text_column=columns.get("text"),
            )
            result = fit(
                model,
                split.train,
                split.dev,
                settings=settings,
                seed=seed,
                checkpoints=run.checkpoints,
                progress=progress,
                on_evaluation=run.append_history,
            )
            _keep(run, split, model, result)
    return run


def _keep(run: Run, split: Split, model: Model, result: Fit) -> None:
    """Save the model, judge it and the baselines on dev, and write the report."""
    if result.best_scores is None:
        finish_run(run, interrupted=True, results={})
        raise InterruptedRunError(
            "Training was interrupted before its first epoch ended.", f"No model was kept in {run.folder}."
        )
    model.card = replace(model.card, interrupted=result.interrupted)
    run.store_model(model)
    _compare_saved(run, model, split.dev, result.best_scores)
    run.store_evaluation("dev", split.dev, result.best_scores.probabilities, baselines=fit_baselines(split.train))
    lengths = describe_lengths(result.n_tokens, model.encoder)
    finish_run(run, interrupted=result.interrupted, results={**result.summary(), **model.summary(), "lengths": lengths})
    run.write_report()
    if result.interrupted:
        raise InterruptedRunError(
            f"Training was interrupted after {len(result.history)} of its epochs.",
            f"The best one so far, epoch {result.best_epoch}, is kept in {run.folder}.",
        )


def evaluate_on(run: Run, corpus: Corpus, *, progress: Progress | None = None) -> tuple[Evaluation, list[Finding]]:
    """Return the figures of a run's model on newly labelled data, and what is to be known of that data.

    The figures are written into the run folder, under ``evaluations``.

    Raises
    ------
    DataError
        If the data has no labelled text, or a label that the model does not know.
    """
    model = run.model
    unknown = sorted(set(corpus.label_names) - set(model.label_names))
    if unknown:
        raise DataError(
            f"{corpus.source.name} has labels that the model does not know: {unknown}; it knows "
            f"{list(model.label_names)}.",
            "Leave those rows out, or name coded labels with --label-names.",
        )
    rows = replace(corpus, label_names=model.label_names, positive=model.card.positive).take(corpus.usable())
    if not len(rows):
        raise DataError(f"{corpus.source.name} has no row with both a text and a label.", "Label some texts first.")
    findings = [*corpus.findings, *_against_training(run, corpus, rows)]
    with (progress or default_progress()).task(corpus.source.name, len(rows)) as task:
        evaluation = judge(rows, model.score(rows.texts, progress=task).probabilities)
    key = sha256_strings([corpus.source.sha256, *map(str, corpus.source.columns.items())])[:8]
    name = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', Path(corpus.source.name).stem)}-{key}.json"
    write_json(
        run.folder / "evaluations" / name,
        {
            "source": corpus.source.name,
            "sha256": corpus.source.sha256,
            "columns": corpus.source.columns,
            "findings": [finding.to_dict() for finding in findings],
            "evaluation": evaluation.to_dict(),
        },
    )
    return evaluation, findings


def label(
    model: Model | Run | Path | str,
    source: Path | str,
    *,
    output: Path | str,
    text: str | None = None,
    probabilities: bool = False,
    prefix: str = "",
    device: Device = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> LabelSummary:
    """Label every text of a file into another file and return what was done.

    Parameters
    ----------
    model
        A model, a run, or the folder of either.
    source
        The corpus: CSV, TSV, JSONL or Parquet.
    output
        The labelled file; its ending names the format.
    text, probabilities, prefix, device, precision
        See `secondcoder.settings.LabelSettings`; device and precision only where a folder is named.
    progress
        Where to show how far it has come; a bar in notebooks, nothing elsewhere, unless given.

    Raises
    ------
    DataError
        If the input is faulty, has no such column, or has a column that would be added.
    ModelError
        If the folder holds no whole model.
    StorageError
        If the output is already there or cannot be written.
    """
    if not isinstance(model, Run | Model):
        model = load_model(model, device=device, precision=precision)
    elif (device, precision) != ("auto", "auto"):
        raise SettingsError(
            f"device {device!r} and precision {precision!r} were named for a model that has been loaded already.",
            "Name the run's folder instead, or load the model with them: secondcoder.load(folder, device=..., ...).",
        )
    model = model.model if isinstance(model, Run) else model
    return label_file(
        model,
        Path(source),
        Path(output),
        text=text,
        probabilities=probabilities,
        prefix=prefix,
        progress=progress or default_progress(),
    )


def _against_training(run: Run, corpus: Corpus, rows: Corpus) -> list[Finding]:
    """Return what makes new data less than new, or less than whole."""
    findings = []
    if left_out := len(corpus) - len(rows):
        findings.append(
            Finding(
                "unused", "warning", f"{left_out:,} rows have no label or no text and are not judged.", rows=left_out
            )
        )
    learned = {text for part in ("train", "dev") for text in run.part(part).texts}
    if seen := sum(text in learned for text in rows.texts):
        findings.append(
            Finding(
                "seen",
                "warning",
                f"{seen:,} of the {len(rows):,} texts stand in the run's train or dev part too; the figures flatter.",
                "Judge on texts that the model has not seen.",
                rows=seen,
            )
        )
    return findings


def _compare_saved(run: Run, trained: Model, dev: Corpus, before: Scores) -> None:
    """Load what was saved again; remove it and raise `ModelError` unless it gives the logits of the trained model."""
    rows = slice(0, _COMPARED)
    saved = load_model(run.model_folder, device=cast(Device, trained.backend.device.type))
    after = saved.score(dev.texts[rows]).logits
    if not np.allclose(after, before.logits[rows], atol=_TOLERANCE[saved.precision], rtol=0):
        shutil.rmtree(run.model_folder)
        difference = float(np.abs(after - before.logits[rows]).max())
        raise ModelError(
            f"The model that was saved gives other logits than the one that was trained, by up to {difference:.2g}.",
            "It was removed. Please report this with the model's name.",
        )


def _require_learnable(split: Split) -> None:
    for finding in (*split.train.findings, *split.findings):
        if finding.severity == "error":
            raise DataError(finding.message, finding.cure)
    for name, rows in (("train", split.train), ("dev", split.dev)):
        if not len(rows) or len(rows.usable()) < len(rows):
            raise DataError(
                f"The {name} part has {len(rows)} rows, {len(rows.usable())} of them with text and label.",
                "Make the parts with secondcoder.split.",
            )
    found = [label for label, count in split.train.label_counts().items() if count]
    if len(found) < 2:
        raise DataError(f"The train part has only the label {found}.", "Label texts of at least two classes.")
