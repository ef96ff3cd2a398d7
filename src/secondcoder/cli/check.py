"""The command check.

In: a file. Out: what is in it, and what is wrong with it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from secondcoder.cli.inputs import read_corpus
from secondcoder.cli.output import Columns, Json, Parts, print_json, print_table, say, tell
from secondcoder.errors import MissingExtraError, ModelError, SplitError
from secondcoder.settings import DEFAULT_SEED, TFIDF, ReadSettings, SplitSettings, TrainSettings

if TYPE_CHECKING:
    from secondcoder.corpus.checks import CheckReport
    from secondcoder.corpus.corpus import Corpus
    from secondcoder.corpus.findings import Finding
    from secondcoder.corpus.near_duplicates import NearDuplicates
    from secondcoder.model.tokenisation import TextEncoder
    from secondcoder.splits.split import Split
    from secondcoder.training.forecast import Forecast

_SHOWN = ("near-duplicate", "near-duplicate-in-two-parts", "leaks-allowed")  # findings whose examples are pairs


def check(
    file: str,
    /,
    *,
    model: str | None = None,
    max_length: int | None = None,
    seed: int = DEFAULT_SEED,
    read: Columns = ReadSettings(),
    split: Parts = SplitSettings(),
    json: Json = False,
) -> int:
    """Say what is in a file of texts, and what is wrong with it, before anything is trained.

    Parameters
    ----------
    file
        Texts: CSV, TSV, JSONL, Parquet, a data set folder, or hub:owner/name[:config].
    model
        Model whose tokens are counted; unset: minilm, if it is installed.
    max_length
        Longest text in tokens that the model is to read.
    seed
        Of the draw, where a sample of a part is asked for.
    read
        Columns.
    split
        Parts, as training would make them.
    json
        Print the result as JSON.
    """
    from secondcoder.corpus.checks import check as inspect
    from secondcoder.corpus.near_duplicates import find_near_duplicates

    corpus = read_corpus(file, read, seed)
    encoder = _find_encoder(model, max_length)
    lengths = None if encoder is None else encoder.encode(corpus.texts).full_lengths
    # Takes seconds on long texts, so once for the findings and the split.
    near = find_near_duplicates(corpus.texts, [row for row, text in enumerate(corpus.texts) if text.strip()])
    parts, obstacles = _divide(corpus, split, seed, near)
    max_length = None if encoder is None else encoder.max_length
    found = inspect(corpus, lengths=lengths, max_length=max_length, split=parts, near=near)
    found = replace(found, findings=(*obstacles, *found.findings))
    wrong = any(finding.severity == "error" for finding in found.findings)
    expected = None if wrong or parts is None else _expect(parts, model, encoder, seed)
    if json:
        print_json(found.to_dict() | {"expected": expected and expected.to_dict()})
    else:
        _print_report(found)
        if expected is not None:
            say()
            say(expected.sentence)
    return 2 if wrong else 0


def _print_report(found: "CheckReport") -> None:
    roles = ", ".join(f"{role}: {column}" for column, role in found.columns.items() if role)
    others = [column for column, role in found.columns.items() if not role]
    say(f"{found.rows:,} rows, {found.labelled:,} with a label ({roles})")
    if others:
        say(f"Other columns: {', '.join(others)}")
    say()
    shares = found.label_shares
    parts = list(found.label_counts)
    print_table(
        ["label", *(f"{part}{suffix}" for part in parts for suffix in ("", " share"))],
        (
            [name, *(cell for part in parts for cell in (found.label_counts[part][name], f"{shares[part][name]:.1%}"))]
            for name in found.label_counts["all"]
        ),
        title="Labels",
    )
    for name, examples in found.examples.items():
        say(f"{name}:")
        for example in examples:
            say(f"  [{example.id}] {example.text}")
    say()
    spread = [
        [f"{what} ({d.unit})", d.smallest, d.median, d.mean, d.p95, d.largest]
        for what, d in (("text length", found.lengths), ("group size", found.groups))
        if d is not None
    ]
    print_table(["", "smallest", "median", "mean", "95 %", "largest"], ([_short(c) for c in row] for row in spread))
    if found.share_truncated is not None:
        say(
            f"{found.share_truncated:.1%} of the texts are longer than {found.max_length} tokens and would be cut, "
            "unless they are read in windows (train --long-texts windows)."
        )
    say()
    if not found.findings:
        say("Nothing wrong was found.")
    for finding in found.findings:
        say(f"{finding.severity}: {finding.message}")
        if finding.kind in _SHOWN:
            for pair in finding.examples:
                say(f"    {pair}")
        if finding.cure:
            say(f"  {finding.cure}")


def _short(cell: object) -> object:
    return f"{cell:,.1f}" if isinstance(cell, float) else cell


def _divide(
    corpus: "Corpus", settings: SplitSettings, seed: int, near: "NearDuplicates"
) -> "tuple[Split | None, list[Finding]]":
    """Return the parts that training would make, or what stands in their way."""
    from secondcoder.corpus.findings import Finding
    from secondcoder.splits.split import divide

    if not corpus.label_names:
        return None, []
    try:
        return divide(corpus, settings, seed=seed, near=near), []
    except SplitError as error:
        return None, [Finding("impossible-split", "error", error.what, error.cure)]


def _expect(parts: "Split", model: str | None, encoder: "TextEncoder | None", seed: int) -> "Forecast | None":
    """Return what the labels of train promise to the model whose tokens were counted, and to TF-IDF; else None."""
    from secondcoder.training.forecast import forecast

    if encoder is None:
        settings = TrainSettings(model=TFIDF)
    else:
        settings = TrainSettings(model=model or "minilm", max_length=encoder.max_length)
    try:
        return forecast(parts.train, settings, seed=seed)
    except (ModelError, SplitError) as error:
        tell(f"note: what these labels promise cannot be said: {error.what}")
        return None


def _find_encoder(model: str | None, max_length: int | None) -> "TextEncoder | None":
    """Return the tokenisation to count with, none for TF-IDF; without a name, that of the packaged model if there."""
    from secondcoder.model.loading import load_encoder

    if model == TFIDF:
        return None
    if model is not None:
        return load_encoder(model, max_length=max_length)
    try:
        return load_encoder("minilm", max_length=max_length)
    except MissingExtraError as error:
        tell(f"note: lengths are counted in characters, as no --model is given. {error.what}")
        return None
