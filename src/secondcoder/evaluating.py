"""Judging a run's model on newly labelled data.

In: a run and labelled rows. Out: figures, written into the run folder, and what is to be known of the rows. The run's
own test part is opened by `Run.evaluate`.
"""

import re
from dataclasses import replace
from pathlib import Path

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.errors import DataError
from secondcoder.evaluation.figures import Evaluation
from secondcoder.progress import Progress, default_progress
from secondcoder.run_folder import judge
from secondcoder.runs import Run
from secondcoder.storage import sha256_strings, write_json


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
        found = model.score(rows.texts, progress=task).probabilities
    evaluation = judge(rows, found, temperature=model.card.temperature)
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
