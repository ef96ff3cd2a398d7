"""The report: one HTML file that needs nothing else, neither network nor script.

In: `ReportContent`. Out: HTML as text. Renders and formats; every figure comes from `secondcoder.evaluation`. All text
from the user's data is escaped by the template engine.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2

from secondcoder.evaluation.figures import Evaluation
from secondcoder.evaluation.metrics import is_better
from secondcoder.reporting.content import ReportContent

MODEL, TFIDF, MAJORITY = "model", "tfidf-logistic", "majority"
NAMES = {MODEL: "This model", TFIDF: "TF-IDF + logistic regression", MAJORITY: "Majority class"}
HISTORY_NAMES = {
    "train_loss": "training loss",
    "texts_per_second": "texts per second",
    "padding": "padding share",
}
UNDEFINED = "–"


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
    """

    outcome: Literal["wins", "ties", "loses"]
    rival: str
    model: float
    baseline: float


def render(content: ReportContent) -> str:
    """Return the report as one HTML document.

    The first screen judges on test where it has been opened, else on dev, and says so.
    """
    evaluations = {
        part: {
            who: Evaluation.from_dict(content.evaluations[part][who]) for who in _in_order(content.evaluations[part])
        }
        for part in ("test", "dev")
        if MODEL in content.evaluations.get(part, {})
    }
    judged_on = next(iter(evaluations), None)
    return (
        _environment()
        .get_template("report.html")
        .render(
            c=content,
            evaluations=evaluations,
            judged_on=judged_on,
            main=evaluations[judged_on] if judged_on else {},
            verdict=verdict(evaluations[judged_on]) if judged_on else None,
            history_columns=list(dict.fromkeys(name for entry in content.history for name in entry)),
            n_labelled=sum(part.rows for part in content.parts.values()),
        )
    )


def verdict(by_who: Mapping[str, Evaluation]) -> Verdict | None:
    """Return how the model stands against the strongest baseline, or None where there is no baseline.

    Parameters
    ----------
    by_who
        Evaluations on the same rows: ``"model"`` and the baselines.
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
    # at the digits shown: a reader who sees 0.857 twice must not be told that one won
    if format_figure(model) == format_figure(baseline):
        return Verdict("ties", rival, model, baseline)
    return Verdict("wins" if is_better(metric, model, baseline) else "loses", rival, model, baseline)


def format_figure(value: float | None) -> str:
    """Return three decimals, or a dash for an undefined figure."""
    return UNDEFINED if value is None else f"{value:.3f}"


def format_share(value: float | None) -> str:
    """Return a share from 0 to 1 in per cent with one decimal, or a dash for an undefined one."""
    return UNDEFINED if value is None else f"{value:.1%}"


def format_count(value: int | None) -> str:
    """Return a whole number with a thousands separator."""
    return UNDEFINED if value is None else f"{value:,}"


def format_of_hundred(value: float) -> str:
    """Return a share as a number out of 100 texts."""
    return f"{100 * value:.0f}"


def format_duration(seconds: float | None) -> str:
    """Return a time in seconds as people say it."""
    if seconds is None:
        return UNDEFINED
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def format_metric(name: str) -> str:
    """Return a figure's name as people write it: ``"macro-f1"`` is macro-F1, ``"f1:pos"`` is F1 of “pos”."""
    figure, colon, label = name.partition(":")
    shown = figure.replace("f1", "F1") if figure.endswith("f1") else figure.replace("-", " ")
    return f"{shown} of “{label}”" if colon else shown


def format_value(value: Any) -> str:
    """Return a setting as text."""
    match value:
        case None | [] | ():
            return UNDEFINED
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(format_value(item) for item in value)
        case _:
            return str(value)


def format_progress(value: Any, name: str) -> str:
    """Return a number of the training history: three decimals, one for times and rates, none for counts."""
    match value:
        case float():
            return f"{value:,.1f}" if name in {"seconds", "texts_per_second"} else f"{value:.3f}"
        case int():
            return format_count(value)
        case _:
            return format_value(value)


def _in_order(whos: Iterable[str]) -> list[str]:
    """Return the model first, then the baselines, the stronger kind before the weaker."""
    known = list(NAMES)
    return sorted(whos, key=lambda who: known.index(who) if who in known else len(known))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": format_figure,
        "share": format_share,
        "count": format_count,
        "of_hundred": format_of_hundred,
        "duration": format_duration,
        "metric": format_metric,
        "value": format_value,
        "progress": format_progress,
        "who": lambda name: NAMES.get(name, name),
        "column": lambda name: HISTORY_NAMES.get(name, format_metric(name)),
    }
    environment.globals["is_better"] = is_better
    return environment
