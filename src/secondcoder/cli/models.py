"""The commands models, show and tokens.

In: a run or a model, or nothing. Out: which models there are; what is in one, and what it makes of a text.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secondcoder.cli.output import Json, print_figures, print_json, print_table, say, tell
from secondcoder.settings import LongTexts

if TYPE_CHECKING:
    from secondcoder.model.timing import Speed


def models(*, model: Annotated[tuple[str, ...], Parameter(negative="")] = (), json: Json = False) -> None:
    """Show the families of models that can be fine-tuned: size, languages, speed on this machine, when to take which.

    Models whose weights are on this machine are timed, with PyTorch; the speed of the others is estimated.

    Parameters
    ----------
    model
        A model to time besides: a folder, or a hub name that has been fetched before. Can be named several times.
    json
        Print the result as JSON.
    """
    from secondcoder.model.families import FAMILIES
    from secondcoder.model.timing import TOKENS, time_models

    timed = time_models(model, tell)
    if json:
        found = [
            {"model_type": each.family.model_type, **each.checkpoint.to_dict(), "speed": each.speed.to_dict()}
            for each in timed
        ]
        print_json({"tokens": TOKENS, "families": [family.to_dict() for family in FAMILIES], "models": found})
        return
    rows = (
        [
            each.checkpoint.name,
            each.family.title,
            f"{each.checkpoint.parameters:,.0f}",
            each.checkpoint.languages,
            _seconds(each.speed, each.speed.label),
            _seconds(each.speed, each.speed.train),
        ]
        for each in timed
    )
    columns = ["--model", "family", "million weights", "languages", "label", "train"]
    print_table(columns, rows, title=f"Seconds for 1,000 sentences of {TOKENS} tokens on this machine, by PyTorch")
    say("~ is an estimate, from networks of like size that were timed. Train: all layers, once; half frozen is faster.")
    say()
    for family in FAMILIES:
        say(f"{family.title}: {family.when}")
    say("TF-IDF with logistic regression (--model tfidf): where it is as good, which reports say; trained in seconds.")
    say()
    say("What is peculiar about each, and what was tested: docs/models.md.")


def show(folder: Path, /, *, json: Json = False) -> None:
    """Show a run or a model: labels, layers, parameters, figures.

    Parameters
    ----------
    folder
        A run folder, or a model folder.
    json
        Print the result as JSON.
    """
    from secondcoder.model.loading import load_model
    from secondcoder.runs.folder import RUN_FILE
    from secondcoder.runs.run import Run

    run = Run(folder) if (folder / RUN_FILE).is_file() else None
    model = load_model(folder) if run is None else run.model
    facts = {
        "labels": ", ".join(model.label_names),
        "positive": model.card.positive,
        **model.summary(),
        **model.details(),
        "text_column": model.card.text_column,
    }
    if run is not None:
        facts |= {"status": run.status, "trained_on": run.info["data"]["source"], "finished": run.info.get("finished")}
    figures = {} if run is None else run.evaluations
    layers = model.parts()
    if json:
        stored = {part: {who: e.to_dict() for who, e in by.items()} for part, by in figures.items()}
        print_json({**facts, "labels": list(model.label_names), "parts": dict(layers), "evaluations": stored})
        return
    from secondcoder.evaluation.tasks import task_rules

    facts.pop("terms", None)  # what of it concerns people is among the details
    if not task_rules(model.card.task).writes_lists:
        facts.pop("separator", None)  # nothing to join
    print_table(["", str(folder)], ([name, _shown(value)] for name, value in facts.items()))
    print_table(["part of the model", "parameters"], layers)
    for part, by in figures.items():
        print_figures(by, title=f"Figures on {part}")


def tokens(
    model: str,
    text: str,
    /,
    *,
    max_length: int | None = None,
    long_texts: LongTexts | None = None,
    window_overlap: float | None = None,
    json: Json = False,
) -> None:
    """Show a text as a model sees it: tokens, ids, attention mask, windows, and what was cut.

    Parameters
    ----------
    model
        A run folder, a model folder, or a pre-trained model's name.
    text
        Any text.
    max_length
        Most tokens read at once; unset: the model's own.
    long_texts
        What becomes of a longer text; unset: the model's own way.
    window_overlap
        Least overlap of windows: a share of a window below 1, tokens from 1 on; unset: the model's own, or 0.25.
    json
        Print the result as JSON.
    """
    from secondcoder.model.loading import load_encoder

    encoder = load_encoder(model, max_length=max_length, long_texts=long_texts, window_overlap=window_overlap)
    seen = encoder.inspect(text)
    if json:
        print_json(
            {
                "max_length": encoder.max_length,
                "long_texts": encoder.long_texts,
                "overlap": encoder.overlap,
                **seen.to_dict(),
            }
        )
        return
    in_windows = encoder.long_texts == "windows"
    rows = zip(seen.windows, seen.tokens, seen.ids, seen.attention_mask, strict=True)
    print_table(
        ["window", "token", "id", "attention mask"][not in_windows :],
        ([str(window), token, str(i), mask][not in_windows :] for window, token, i, mask in rows),
    )
    if in_windows:
        say(
            f"All tokens are read, in {max(seen.windows)} windows of at most {encoder.max_length}; those that follow "
            f"each other share at least {encoder.overlap}."
        )
        return
    n_read, n = len(seen.ids), len(seen.ids) + len(seen.cut)
    say(f"{n_read} of {n} tokens are read; the model reads at most {encoder.max_length}.")
    if seen.cut:
        say(f"Cut: {' '.join(seen.cut)}")


def _seconds(speed: "Speed", seconds: float) -> str:
    """Return seconds in two figures, marked where they are an estimate."""
    shown = f"{seconds:.1f}" if seconds < 10 else f"{float(f'{seconds:.2g}'):,.0f}"
    return shown if speed.measured else f"~{shown}"


def _shown(value: object) -> object:
    """Return a fact as a table shows it: of several, each with its name."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.3f}" for name, number in value.items())
    return "" if value is None else value
