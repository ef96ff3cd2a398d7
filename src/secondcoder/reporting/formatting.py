"""Figures as text: digits, units, and the names that people use.

In: plain values. Out: text for the page, its pictures' tables, and the model card.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from secondcoder.corpus.corpus import TaskName
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.intervals import Interval
from secondcoder.evaluation.tasks import task_rules

MODEL, TFIDF, EMBEDDING, MAJORITY = "model", "tfidf-logistic", "embedding-logistic", "majority"
NAMES = {
    MODEL: "This model",
    EMBEDDING: "Sentence embedding + logistic regression",
    TFIDF: "TF-IDF + logistic regression",
}
HISTORY_NAMES = {
    "train_loss": "training loss",
    "texts_per_second": "texts per second",
    "padding": "padding share",
}
PART_NAMES = {"folds": "cross-fitting"}
UNDEFINED = "–"


def name_of(who: str, task: TaskName = "multi-class") -> str:
    """Return what the model or a baseline is called on the page of a task."""
    return task_rules(task).majority_name if who == MAJORITY else NAMES.get(who, who)


def format_figure(value: float | None) -> str:
    """Return three decimals, or a dash for an undefined figure."""
    return UNDEFINED if value is None else f"{value:.3f}"


def format_interval(interval: Interval | None) -> str:
    """Return the limits in brackets with three decimals, or nothing where there is no interval."""
    return "" if interval is None else f"[{interval.low:.3f}, {interval.high:.3f}]"


def format_share(value: float | None) -> str:
    """Return a share from 0 to 1 in per cent with one decimal, or a dash for an undefined one."""
    return UNDEFINED if value is None else f"{value:.1%}"


def format_count(value: int | None) -> str:
    """Return a whole number with commas between thousands."""
    return UNDEFINED if value is None else f"{value:,}"


def format_of_hundred(value: float, interval: Interval | None = None) -> str:
    """Return a share as a number out of 100 texts, with its interval: ``88 [84, 91]``."""
    limits = f" [{100 * interval.low:.0f}, {100 * interval.high:.0f}]" if interval else ""
    return f"{100 * value:.0f}{limits}"


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
    if figure == "hamming-loss":
        return "Hamming loss"  # a person's name
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


def chose_epoch(history: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether dev judged several epochs of a training, and so chose among them."""
    return len({entry.get("epoch") for entry in history}) > 1


def chosen_on_dev(evaluation: Evaluation, has_epochs: bool = True) -> str:
    """Return what dev chose of the model, so that its figures on dev are optimistic: the epoch, and what was fitted."""
    chosen = ["the epoch"] if has_epochs else []
    if evaluation.uncalibrated is not None:
        chosen.append("the temperature")
    if evaluation.thresholds:
        chosen.append("the threshold" if len(evaluation.thresholds) == 1 else "the thresholds")
    return joined(chosen) or "nothing"


def shortened(text: str, longest: int) -> str:
    """Return a text of at most so many characters, with an ellipsis where it was cut."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def counted(n: int, noun: str) -> str:
    """Return a number of things: ``1 group``, ``1,234 groups``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def joined(words: list[str], last: str = "and") -> str:
    """Return words as a list in a sentence: ``a, b and c``."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
