"""The commands show and tokens.

In: a run or a model. Out: what is in it, and what it makes of a text.
"""

from pathlib import Path

from secondcoder.cli.output import Json, print_figures, print_json, print_table, say
from secondcoder.recipes import Truncation


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
    from secondcoder.run_folder import RUN_FILE
    from secondcoder.runs import Run

    run = Run(folder) if (folder / RUN_FILE).is_file() else None
    model = load_model(folder) if run is None else run.model
    config = model.network.config
    facts = {
        "labels": ", ".join(model.label_names),
        "positive": model.card.positive,
        **model.summary(),
        "layers": getattr(config, "num_hidden_layers", None),
        "hidden_size": getattr(config, "hidden_size", None),
        "truncation": model.card.truncation,
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
    print_table(["", str(folder)], ([name, "" if value is None else value] for name, value in facts.items()))
    print_table(["part of the network", "parameters"], layers)
    for part, by in figures.items():
        print_figures(by, title=f"Figures on {part}")


def tokens(
    model: str,
    text: str,
    /,
    *,
    max_length: int | None = None,
    truncation: Truncation | None = None,
    json: Json = False,
) -> None:
    """Show a text as a model sees it: tokens, ids, attention mask, and what was cut.

    Parameters
    ----------
    model
        A run folder, a model folder, or a pre-trained model's name.
    text
        Any text.
    max_length
        Longest text in tokens; unset: the model's own.
    truncation
        What is kept of a longer text; unset: the model's own way.
    json
        Print the result as JSON.
    """
    from secondcoder.model.loading import load_encoder

    encoder = load_encoder(model, max_length=max_length, truncation=truncation)
    seen = encoder.inspect(text)
    if json:
        print_json({"max_length": encoder.max_length, "truncation": encoder.truncation, **seen.to_dict()})
        return
    rows = zip(seen.tokens, seen.ids, seen.attention_mask, strict=True)
    print_table(["token", "id", "attention mask"], ([token, str(i), mask] for token, i, mask in rows))
    n_read, n = len(seen.ids), len(seen.ids) + len(seen.cut)
    say(f"{n_read} of {n} tokens are read; the model reads at most {encoder.max_length}.")
    if seen.cut:
        say(f"Cut: {' '.join(seen.cut)}")
