"""The command label.

In: a run and a corpus. Out: the labelled corpus.
"""

from pathlib import Path

from secondcoder.cli.output import Json, Labelling, print_json, print_table, say, tell_findings
from secondcoder.progress import LiveProgress
from secondcoder.settings import LabelSettings


def label(run: Path, file: Path, /, *, output: Path, settings: Labelling = LabelSettings(), json: Json = False) -> None:
    """Label every text of a file; all its columns are kept, the label and its probability are added.

    Parameters
    ----------
    run
        The run or model folder.
    file
        The corpus: CSV, TSV, JSONL or Parquet.
    output
        The labelled file; its ending says the format. It appears when it is complete.
    settings
        Labelling.
    json
        Print the result as JSON.
    """
    from secondcoder.workflow import label as label_corpus

    summary = label_corpus(run, file, output=output, **settings.to_dict(), progress=LiveProgress())
    tell_findings(summary.findings)
    if json:
        print_json(summary.to_dict())
        return
    print_table(
        ["label", "texts", "share"],
        ([name, count, f"{summary.label_shares[name]:.1%}"] for name, count in summary.label_counts.items()),
    )
    say("These shares are the model's, not corrected for its errors.")
    say(f"{summary.seconds:,.0f} s, {summary.texts_per_second:,.1f} texts/s; {summary.truncated:,} texts were cut.")
    reasons = "; ".join(f"{count:,} without ({reason})" for reason, count in summary.unlabelled.items())
    say(f"{summary.output}: {summary.rows:,} rows, {summary.labelled:,} labelled{'; ' if reasons else ''}{reasons}.")
