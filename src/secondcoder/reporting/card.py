"""The model card: what a model is, what it may be used for and how good it is, as the hub shows it.

In: `ReportContent`. Out: Markdown with metadata, for ``README.md`` in the model folder. From the same source as
the report.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.tasks import task_rules
from secondcoder.reporting.content import ReportContent, Shown, read
from secondcoder.reporting.formatting import (
    MODEL,
    chosen_on_dev,
    format_metric,
    format_share,
    format_value,
    joined,
    name_of,
)
from secondcoder.reporting.methods import methods
from secondcoder.splits.units import FEW_GROUPS

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#$~])")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Of the model that the demo extra installs, by its short name.
_ON_THE_HUB = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}
_LONGEST_TITLE = 4
_PARTS = {"test": "test", "folds": "cross-fitting", "dev": "dev (which chose {}, so its figures are optimistic)"}


def render_card(content: ReportContent) -> str:
    """Return the model card as Markdown, with the hub's metadata in front."""
    shown = read(content)
    sections = [
        _metadata(content, shown),
        _title(content),
        _figures(content, shown),
        _limits(content, shown),
        _use(content, shown),
        _origin(content, shown),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _metadata(c: ReportContent, shown: Shown) -> str:
    """Return the YAML in front; every value is written as JSON, which YAML contains."""
    lines = [f"library_name: {'secondcoder' if c.tfidf else 'transformers'}", "pipeline_tag: text-classification"]
    if not c.tfidf and _HUB_NAME.fullmatch(c.model):
        lines.append(f"base_model: {_json(_ON_THE_HUB.get(c.model, c.model))}")
    lines += ["# license: yours to choose", "# language: not known to secondcoder", "tags:", "- secondcoder"]
    if shown.evaluations:
        lines += ["metrics:", "- f1", "- accuracy", "model-index:", f"- name: {_json(c.label_column)}", "  results:"]
    for part, by_who in shown.evaluations.items():
        if part == "dev" and len(shown.evaluations) > 1:
            continue
        lines += [
            "  - task: {type: text-classification, name: Text Classification}",
            f"    dataset: {{type: {_json(_slug(c.source))}, name: {_json(c.source)}, split: {_json(part)}}}",
            "    metrics:",
        ]
        for kind, name in _leading(by_who[MODEL]):
            shown_name = _json(f"{format_metric(name)}{_limits_of(by_who[MODEL], name)}")
            lines.append(f"    - {{type: {kind}, value: {by_who[MODEL].figure(name):.4f}, name: {shown_name}}}")
    return "\n".join(["---", *lines, "---"])


def _leading(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the hub's kind and the name of the figures that lead."""
    headline = evaluation.headline[0]
    return [("f1", name) for name in dict.fromkeys((headline, "macro-f1"))] + [("accuracy", evaluation.names.whole)]


def _limits_of(evaluation: Evaluation, name: str) -> str:
    interval = evaluation.interval(name)
    only = " for these documents only" if evaluation.scope == "these documents" else ""
    return f", 95 % interval{only} [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""


def _title(c: ReportContent) -> str:
    names = [_plain(name) for name in c.label_names]
    rules, both = task_rules(c.task), (joined(names), joined(names, "or"))
    title = rules.asks(*both) if len(names) <= _LONGEST_TITLE else f"{len(names)} classes"
    given = rules.labels_texts(*both)
    origin = f"{_plain(c.model)}, trained" if c.tfidf else f"Fine-tuned from {_plain(c.model)}"
    return (
        f"# {_plain(c.label_column)}: {title}\n\n"
        f"Labels texts {given}. {origin} on {c.parts['train'].rows:,} hand-labelled texts with secondcoder."
    )


def _figures(c: ReportContent, shown: Shown) -> str:
    if not shown.judged_on:
        return ""
    model = shown.main[MODEL]
    part = _PARTS[shown.judged_on].format(chosen_on_dev(model, c.chose_epoch))
    groups = f" from {model.n_groups:,} groups" if model.n_groups is not None else ""
    names = [name for name in model.leading if name != "weighted-f1"]
    rows = [
        [_plain(format_metric(name)), *(e.shown(name, e.figure(name)) for e in shown.main.values())]
        for name in dict.fromkeys(names)
    ]
    classes = [
        [_plain(label), *(model.shown(f"{name}:{label}", getattr(f, name)) for name in ("precision", "recall", "f1")),
         f"{f.support:,}"]
        for label, f in model.per_class.items()
    ]  # fmt: skip
    calibration = model.calibration
    return "\n\n".join(
        [
            "## How good it is",
            f"On {part}: {model.n:,} texts{groups} that it did not learn from."
            + (" In brackets 95 % intervals." if model.intervals else "")
            + (f" {_plain(model.headline_note)}" if model.headline_note else ""),
            _table(["", *(_plain(name_of(who, c.task)) for who in shown.main)], rows),
            _table(["class", "precision", "recall", "F1", "texts"], classes),
            *([f"Expected calibration error {calibration.shown}, Brier score {calibration.brier:.3f}."]
              if calibration else []),
        ]
    )  # fmt: skip


def _limits(c: ReportContent, shown: Shown) -> str:
    said = []
    if shown.judged_on == "dev":
        chosen = chosen_on_dev(shown.main[MODEL], c.chose_epoch)
        said.append(f"The test part has not been opened; dev chose {chosen}, so these figures are optimistic.")
    if shown.judged_on and (n := shown.main[MODEL].n_groups) is not None and n < FEW_GROUPS:
        only = "" if shown.main[MODEL].scope == "documents" else " The figures are for these only."
        said.append(
            f"The texts that it was judged on come from {n} {'group' if n == 1 else 'groups'} "
            f"({_plain(c.group_column or 'group')}).{only} {_plain(shown.main[MODEL].scope_note)}".rstrip()
        )
    if c.test_openings > 1 and not c.always_same_model:
        said.append(f"The test part was opened {c.test_openings} times: treat its figures as those of dev.")
    said += [f"Leaks were allowed. {_plain(f.message)}" for f in c.findings if f.kind == "leaks-allowed"]
    if c.lengths and c.lengths.share_longer and c.lengths.long_texts != "windows":
        said.append(
            f"Texts of more than {c.lengths.max_length:,} tokens are cut ({format_share(c.lengths.share_longer)} of "
            "the hand-labelled ones)."
        )
    said.append(
        "Shares counted from its labels, and regressions on them, are biased by its errors, however many texts are "
        "labelled: they are no estimates."
    )
    said.append(
        "It was judged on texts like those it was trained on. On other sources, times or languages, code a sample by "
        "hand and judge it again."
    )
    return "\n".join(["## What the figures do not say", "", *(f"- {sentence}" for sentence in said)])


def _use(c: ReportContent, shown: Shown) -> str:
    if c.tfidf:
        lines = ["```python", "import secondcoder as sc", "", 'sc.load(".").predict(["Some text."])', "```", ""]
        lines.append("Or `secondcoder label` with this folder. No other program reads it.")
        return "\n".join(["## How to use it", "", *lines])
    length = c.settings.get("max_length")
    rules = task_rules(c.task)
    cut = f", truncation=True, max_length={length}" if isinstance(length, int) else ", truncation=True"
    lines = [
        "## How to use it",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        f'classify = pipeline("text-classification", model="."{cut}{rules.pipeline_options})',
        rules.pipeline_example,
        "```",
        "",
    ]
    thresholds = shown.main[MODEL].thresholds if shown.judged_on else {}
    if thresholds:
        limits = ", ".join(f"{_plain(name)} {value:.3f}" for name, value in thresholds.items())
        lines.append(f"A class is given from these probabilities on, chosen on dev: {limits}. `pipeline` knows none.")
    how = [str(c.settings[name]) for name in ("backend", "precision") if c.settings.get(name)]
    if how:
        lines.append(f"What was evaluated is what labels: {' in '.join(how)}. Other arithmetic may differ a little.")
    if c.lengths and c.lengths.long_texts == "windows":
        lines.append(
            "secondcoder reads longer texts in windows and pools their logits; `pipeline` keeps the head only, and its "
            "labels of long texts are not those that were evaluated."
        )
    if c.lengths and c.lengths.long_texts == "head-tail":
        lines.append(
            "secondcoder keeps the head and the tail of texts that are too long; `pipeline` keeps the head only."
        )
    if c.temperature is not None:
        lines.append(
            f"Probabilities are calibrated: a temperature of {c.temperature:.3f}, fitted on dev, is in the weights."
        )
    return "\n".join(lines).rstrip()


def _origin(c: ReportContent, shown: Shown) -> str:
    found = methods(c, shown)
    kept = ("effort", "epochs", "freeze", "batch_size", "learning_rate", "max_length", "long_texts", "revision")
    rows: list[Sequence[str]] = [
        [name.replace("_", " "), _plain(format_value(c.settings[name]))] for name in kept if name in c.settings
    ]
    rows += [["seed", str(c.seed)], ["data", _plain(c.source)], ["SHA-256 of the data", c.source_sha256]]
    rows += [[f"{name} version", _plain(version)] for name, version in c.versions.items()]
    return "\n\n".join(
        [
            "## How it was made",
            *map(_plain, found.paragraphs),
            _table(["setting", "value"], rows),
            "## References",
            "\n".join(f"- {_plain(reference)}" for reference in found.references),
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-") or "data"


def _json(value: Any) -> str:
    return json.dumps(value)
