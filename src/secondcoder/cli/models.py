"""The commands show and tokens.

In: a run or a model. Out: what is in it, and what it makes of a text.
"""

from pathlib import Path

from secondcoder.cli.output import Json, print_figures, print_json, print_table, say
from secondcoder.recipes import LongTexts


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
        "long_texts": model.card.long_texts,
        "window_pooling": model.card.window_pooling,
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
