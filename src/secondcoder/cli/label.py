"""The commands label and merge.

In: a run and a corpus; labelled shards. Out: the labelled corpus.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from secondcoder.cli.output import Json, Labelling, print_json, print_table, say, tell_findings
from secondcoder.progress import LiveProgress
from secondcoder.settings import LabelSettings

if TYPE_CHECKING:
    from secondcoder.labelling.summary import LabelSummary

REJECTED = 3  # exit code


def label(
    run: Path, /, *files: Path, output: Path, settings: Labelling = LabelSettings(), json: Json = False
) -> int | None:
    """Label every text of a corpus; all its columns are kept, the label and its probability are added.

    The same command resumes what was stopped or killed. Lines that could not be parsed go to OUTPUT.rejected.jsonl,
    and the exit code is then 3.

    Parameters
    ----------
    run
        The run or model folder.
    files
        The corpus: files (CSV, TSV, JSONL, also as .gz or .zst, or Parquet), folders, or quoted patterns.
    output
        The labelled file; its ending says the format. Without an ending, a folder of files like the input's. It appears
        when it is complete, and a manifest beside it.
    settings
        Labelling.
    json
        Print the result as JSON.
    """
    from secondcoder.labelling.label import label as label_corpus

    summary = label_corpus(run, list(files), output=output, **settings.to_dict(), progress=LiveProgress())
    _show(summary, as_json=json)
    return REJECTED if summary.rejected and not settings.allow_rejects else None


def merge(*shards: Path, output: Path, json: Json = False) -> None:
    """Put the shards of a labelled corpus together, in the order of the input.

    All shards must be there, complete, unchanged, and made from the same input with the same model and settings.

    Parameters
    ----------
    shards
        What label --shard 1/N to N/N wrote: files or folders, or a quoted pattern.
    output
        The labelled file or folder, of the shards' format.
    json
        Print the result as JSON.
    """
    from secondcoder.labelling.shards import merge as merge_shards

    _show(merge_shards(shards, output, progress=LiveProgress()), as_json=json)


def _show(summary: "LabelSummary", *, as_json: bool) -> None:
    tell_findings(summary.findings)
    if as_json:
        print_json(summary.to_dict())
        return
    print_table(
        ["label", "texts", "share"],
        ([name, count, f"{summary.label_shares[name]:.1%}"] for name, count in summary.label_counts.items()),
    )
    if summary.no_class is not None:
        say(f"A text counts for each of its labels, so the shares need not sum to 100 %. None: {summary.no_class:,}.")
    say("These shares are the model's and biased by its errors: they are no estimates (see docs/labelling.md).")
    say(f"{summary.seconds:,.0f} s, {summary.texts_per_second:,.1f} texts/s; {summary.truncated:,} texts were cut.")
    reasons = "; ".join(f"{count:,} without ({reason})" for reason, count in summary.unlabelled.items())
    say(f"{summary.output}: {summary.rows:,} rows, {summary.labelled:,} labelled{'; ' if reasons else ''}{reasons}.")
    if summary.rejected:
        say(f"{summary.rejected:,} lines of the input could not be parsed and are left out: {summary.rejects}.")
