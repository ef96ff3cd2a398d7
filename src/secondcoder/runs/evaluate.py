"""Judging a run's model on newly labelled data.

In: a run and labelled rows. Out: figures, written into the run folder, and what is to be known of the rows. The run's
own test part is opened by `Run.evaluate`.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from secondcoder.corpus.cells import ids_of
from secondcoder.corpus.corpus import Corpus, Part
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.leaks import NEARLY, show_pairs
from secondcoder.corpus.near_duplicates import find_near_duplicates
from secondcoder.corpus.reading import corpus_of, load_rows, roles_of
from secondcoder.errors import DataError
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.classifier import Classifier
from secondcoder.progress import Progress, default_progress
from secondcoder.runs.folder import judge
from secondcoder.runs.run import Run
from secondcoder.settings import ReadSettings
from secondcoder.storage import sha256_strings, write_json


def read_new(run: Run, source: object, settings: ReadSettings) -> Corpus:
    """Return newly labelled data, read by the columns that the run's data had, where no others are named.

    Text and label must be there. Groups and ids are taken where the data has such columns: without groups, texts count
    as independent, and `evaluate_on` says so; ids that cannot be ids give way to row numbers, with a finding.

    Raises
    ------
    ColumnError
        If a named column, or that of the texts or labels, is not there.
    DataError
        If the data cannot be read.
    """
    known: dict[str, str] = run.info["data"]["columns"]
    settings = replace(settings, text=settings.text or known.get("text"))
    if not settings.labelled:
        settings = _labels_as_before(run, settings)
    rows, findings = load_rows(source), list[Finding]()
    # What the data has of the other columns is known only now; a column that was named as something else stays that.
    free = set(rows.table.column_names) - set(roles_of(settings, rows.table).values())
    if settings.group is None and (group := known.get("group")) in free:
        settings = replace(settings, group=group)
    if settings.id is None and (id_ := known.get("id")) in free:
        try:
            ids_of(rows.table, id_)
            settings = replace(settings, id=id_)
        except DataError as error:
            findings.append(Finding("no-ids", "note", f"{error.what} Rows are numbered instead."))
    corpus = corpus_of(rows, settings)
    return replace(corpus, findings=(*corpus.findings, *findings))


def _labels_as_before(run: Run, settings: ReadSettings) -> ReadSettings:
    """Return the settings with the labels read as those of the run's data were, but for what was named anew."""
    data = run.info["data"]
    before: dict[str, Any] = run.info["settings"]["read"]
    several: dict[str, Any] = {
        name: tuple(value) if isinstance(value := before[name], list) else value
        for name in ("label_separator", "label_columns", "label_shares", "no_label")
        if before.get(name) and not getattr(settings, name)
    }
    return replace(settings, label=data["columns"].get("label"), **several)


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
    here, learned = (task_rules(task).a_text_has for task in (corpus.task, model.card.task))
    if here != learned:
        raise DataError(
            f"In {corpus.source.name} each text has {here}, and the model was trained on {learned} a text.",
            "Read the labels as those of the training data: --label-separator, --label-columns.",
        )
    rows = _in_order_of(corpus, model).take(corpus.usable())
    if not len(rows):
        raise DataError(f"{corpus.source.name} has no row with both a text and a label.", "Label some texts first.")
    findings = [*corpus.findings, *_against_training(run, corpus, rows)]
    with (progress or default_progress()).task(corpus.source.name, len(rows)) as task:
        found = model.score(rows.texts, progress=task).probabilities
    evaluation = judge(rows, found, temperature=model.card.temperature, thresholds=model.card.thresholds)
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


def _in_order_of(corpus: Corpus, model: Classifier) -> Corpus:
    """Return the rows with the label names of the model."""
    card = model.card
    shares = corpus.shares
    if shares is not None:
        given = dict(zip(corpus.label_names, shares.T, strict=True))
        shares = np.column_stack([given.get(name, np.zeros(len(corpus))) for name in card.label_names])
    return replace(corpus, label_names=card.label_names, positive=card.positive, task=card.task, shares=shares)


def _against_training(run: Run, corpus: Corpus, rows: Corpus) -> list[Finding]:
    """Return what makes new data less than new, or less than whole."""
    findings = []
    if corpus.groups is None and (group := run.info["data"]["columns"].get("group")) is not None:
        findings.append(
            Finding(
                "no-groups",
                "warning",
                f"The run's texts come in groups ({group}), and for {corpus.source.name} none were read: its texts are "
                "taken as independent. If several come from one document, the intervals are too narrow.",
                "Name the column that says where a text comes from: --group COLUMN.",
                rows=len(rows),
            )
        )
    if left_out := len(corpus) - len(rows):
        findings.append(
            Finding(
                "unused", "warning", f"{left_out:,} rows have no label or no text and are not judged.", rows=left_out
            )
        )
    return [*findings, *_seen(run, rows)]


def _seen(run: Run, rows: Corpus) -> list[Finding]:
    """Return what is said of texts that stand in train or dev, word for word or nearly."""
    names: tuple[Part, ...] = ("train", "dev")
    parts = {name: run.part(name) for name in names}
    learned = [
        (f"{name} {id_}", text) for name, part in parts.items() for id_, text in zip(part.ids, part.texts, strict=True)
    ]
    texts = (*rows.texts, *(text for _, text in learned))
    both = Corpus(
        ids=(*rows.ids, *(name for name, _ in learned)),
        texts=texts,
        labels=(None,) * len(texts),
        label_names=(),
        columns=pa.table({"text": texts}),
        source=rows.source,
    )
    part_of: dict[int, Part] = {row: "test" if row < len(rows) else "train" for row in range(len(texts))}
    near = find_near_duplicates(texts, part_of)
    leaks = {row: pair for row, pair in near.across(part_of, both.ids, texts).items() if part_of[row] == "test"}
    if not leaks:
        return []
    exact = sum(texts[row] == texts[other] for row, (other, _) in leaks.items())
    hashed = "" if near.is_exact else ", found by hashing, so a few may be missing"
    return [
        Finding(
            "seen",
            "warning",
            f"{len(leaks):,} of the {len(rows):,} texts stand in the run's train or dev part too: {exact:,} word for "
            f"word, {len(leaks) - exact:,} nearly ({NEARLY}{hashed}); figures are optimistic.",
            "Judge on texts that the model has not seen.",
            rows=len(leaks),
            examples=show_pairs(both, leaks),
        )
    ]
