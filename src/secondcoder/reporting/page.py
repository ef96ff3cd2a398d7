"""The report: one HTML file that needs nothing else, neither network nor script.

In: `ReportContent`. Out: HTML as text. Renders and formats; every figure comes from `secondcoder.evaluation`. All text
from the user's data is escaped by the template engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2

from secondcoder.evaluation.comparison import Comparison, Difference
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.intervals import DECIDED_BY_FEW
from secondcoder.evaluation.metrics import is_better
from secondcoder.reporting import formatting as form
from secondcoder.reporting.content import ReportContent, Shown, read
from secondcoder.reporting.formatting import MODEL, format_figure
from secondcoder.reporting.methods import methods, split_at_gaps
from secondcoder.splits.units import FEW_GROUPS

if TYPE_CHECKING:
    pass

LONGEST = 700
"""So many characters of a text are shown; the page would else be as long as its longest text."""
# Below this share of the text's strongest word a mark would say no more than the paper.
_FAINTEST = 0.12


@dataclass(frozen=True)
class Piece:
    """A piece of a text.

    Attributes
    ----------
    text
        As it stands there.
    weight
        From -1 (pushes away from the class) to 1 (pushes to it), in shares of the text's strongest word; 0 is unmarked.
    unread
        Whether it was cut off before the model read the text.
    """

    text: str
    weight: float = 0.0
    unread: bool = False


def marked(text: str, attribution: Mapping[str, Any], longest: int = LONGEST) -> list[Piece]:
    """Return a text in pieces, cut after so many characters.

    Parameters
    ----------
    attribution
        What `Attribution.to_dict` gave for the text: ``words``, each with ``start``, ``end`` (positions of characters)
        and ``weight`` (above 0: pushes to the class), and ``not_seen``. Empty: nothing is marked.
    """
    end = len(text) if len(text) <= longest else longest
    spans = [
        (word["start"], word["end"], min(1.0, max(-1.0, word["weight"])), False)
        for word in attribution.get("words", ())
    ]
    spans = [span for span in spans if abs(span[2]) >= _FAINTEST]
    if attribution.get("not_seen"):
        spans.append((*attribution["not_seen"], 0.0, True))
    pieces, at = [], 0
    for start, stop, weight, unread in sorted(spans):
        start, stop = max(at, start), min(stop, end)
        if start < stop:
            pieces += [Piece(text[at:start]), Piece(text[start:stop], weight, unread)]
            at = stop
    pieces.append(Piece(text[at:end] + ("…" if end < len(text) else "")))
    return [piece for piece in pieces if piece.text]


@dataclass(frozen=True)
class Verdict:
    """Whether the model is better than the baselines, on the main figure.

    Attributes
    ----------
    outcome
        ``"wins"`` over every baseline, is level with the best at the digits shown (``"ties"``), or ``"loses"``.
    rival
        The strongest baseline's name.
    model, baseline
        The main figure of the two.
    lead
        How far the model leads, paired text by text: difference and interval; None where they were not compared.
    """

    outcome: Literal["wins", "ties", "loses"]
    rival: str
    model: float
    baseline: float
    lead: Difference | None = None


def render(content: ReportContent) -> str:
    """Return the report as one HTML document.

    The first screen judges on test where it has been opened, else on the folds, else on dev, and says so.
    """
    shown = show(content)
    judged_on = shown.judged_on
    return (
        _environment()
        .get_template("report.html")
        .render(
            c=content,
            s=shown,
            main=shown.main,
            judged_on=judged_on,
            verdict=verdict(shown.main, content.leads.get(judged_on, {})) if judged_on else None,
            widest_gap=widest_gap(shown.main[MODEL]) if judged_on else None,
            has_errors=has_errors(shown.main[MODEL]) if judged_on else None,
            methods=methods(content, shown),
            history_columns=list(dict.fromkeys(name for entry in content.history for name in entry)),
            n_labelled=sum(part.rows for part in content.parts.values()),
        )
    )


def verdict(by_who: Mapping[str, Evaluation], leads: Mapping[str, Comparison] | None = None) -> Verdict | None:
    """Return how the model stands against the strongest baseline, or None where there is no baseline.

    Parameters
    ----------
    by_who
        Evaluations on the same rows: ``"model"`` and the baselines.
    leads
        The comparison of each baseline, or some of them, with the model.
    """
    metric, model = by_who[MODEL].headline
    rival: str | None = None
    for who in by_who:
        if who != MODEL and (
            rival is None or is_better(metric, by_who[who].figure(metric), by_who[rival].figure(metric))
        ):
            rival = who
    if rival is None:
        return None
    baseline = by_who[rival].figure(metric)
    compared = (leads or {}).get(rival)
    lead = None if compared is None else compared.difference(metric)
    # at the digits shown: a reader who sees 0.857 twice must not be told that one won
    if format_figure(model) == format_figure(baseline):
        return Verdict("ties", rival, model, baseline, lead)
    return Verdict("wins" if is_better(metric, model, baseline) else "loses", rival, model, baseline, lead)


def widest_gap(model: Evaluation) -> tuple[str, int, int]:
    """Return the class that the model gives most too often or too rarely, its number of texts so, and by hand."""
    label, found = max(model.per_class.items(), key=lambda item: abs(item[1].predicted - item[1].support))
    return label, found.predicted, found.support


def has_errors(model: Evaluation) -> bool:
    """Return whether a text was given another class than it has, or another set of classes."""
    return any(found.predicted or found.support for found in model.per_class.values() if found.f1 != 1.0)


@jinja2.pass_context
def _who(context: jinja2.runtime.Context, name: str) -> str:
    return form.name_of(name, context["c"].task)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": form.format_figure,
        "interval": form.format_interval,
        "share": form.format_share,
        "count": form.format_count,
        "of_hundred": form.format_of_hundred,
        "joined": form.joined,
        "duration": form.format_duration,
        "metric": form.format_metric,
        "value": form.format_value,
        "progress": form.format_progress,
        "shortened": form.shortened,
        "marked": marked,
        "gaps": split_at_gaps,
        "who": _who,
        "part": lambda name: form.PART_NAMES.get(name, name),
        "chosen_on_dev": form.chosen_on_dev,
        "column": lambda name: form.HISTORY_NAMES.get(name, form.format_metric(name)),
    }
    environment.globals["is_better"] = is_better
    environment.globals["few"] = FEW_GROUPS
    environment.globals["decided_by_few"] = DECIDED_BY_FEW
    return environment


def show(content: ReportContent) -> Shown:
    """Return the content as objects, with its pictures."""
    # Here, not at the top: matplotlib takes as long to import as all else, and labelling needs no pictures.
    from secondcoder.reporting.plots import draw_all

    shown = read(content)
    return replace(shown, pictures=draw_all(content, shown))
