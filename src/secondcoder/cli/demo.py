"""The command demo.

In: nothing. Out: the whole way on the example data, with every step said.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from secondcoder.cli.data import check
from secondcoder.cli.labelling import label
from secondcoder.cli.output import say
from secondcoder.cli.training import evaluate, train
from secondcoder.errors import RunError
from secondcoder.settings import DEFAULT_SEED, LabelSettings, ReadSettings, TrainSettings
from secondcoder.storage import atomic_path

if TYPE_CHECKING:
    from secondcoder.demo import Article

_LABELLED = 1500
_SHOWN = 5


def demo(*, output: Path = Path("runs/demo"), epochs: int = 2) -> None:
    """Go the whole way on an example: check, train, evaluate and label, offline, in minutes.

    Parameters
    ----------
    output
        Folder for the example's files and its run.
    epochs
        Passes over the train part.
    """
    from secondcoder.demo import articles, divide

    if output.exists():
        raise RunError(f"{output} is already there.", "Remove it, or choose another --output.")
    labelled, corpus = divide(articles(), n_labelled=_LABELLED, seed=DEFAULT_SEED)
    hand_labelled, to_label = output / "hand-labelled.csv", output / "corpus.csv"
    run, output_file = output / "run", output / "labelled.csv"
    _write(hand_labelled, ("id", "text", "desk"), labelled)
    _write(to_label, ("id", "text"), corpus)
    columns = ReadSettings(text="text", label="desk", id="id")

    options = f"{hand_labelled} --text text --label desk --id id"
    _step(1, "What is in the hand-labelled file?", f"secondcoder check {options} --model minilm")
    check(str(hand_labelled), model="minilm", read=columns)
    _step(2, "Train on it", f"secondcoder train {options} --model minilm --output {run}")
    train(str(hand_labelled), output=run, read=columns, training=TrainSettings(model="minilm", epochs=epochs))
    _step(3, "How good is it, on texts that it has not seen?", f"secondcoder evaluate {run}")
    evaluate(run)
    _step(4, "Label the rest of the corpus", f"secondcoder label {run} {to_label} --output {output_file}")
    label(run, to_label, output=output_file, settings=LabelSettings())
    say()
    say(f"The first {_SHOWN} labels:")
    with output_file.open(encoding="utf-8", newline="") as stream:
        for row, _ in zip(csv.DictReader(stream), range(_SHOWN), strict=False):
            say(f"  {row['label']:<14} {float(row['probability']):.2f}  {row['text'][:84]}")
    say()
    say(f"Everything lies in {output}:")
    for path, what in (
        (hand_labelled, "the example's hand-labelled texts"),
        (run / "report.html", "the report, for a browser"),
        (run / "model", "the model, which transformers loads too"),
        (output_file, "the labelled corpus"),
    ):
        say(f"  {path}  {what}")
    say()
    say("Now with a file of your own (CSV, TSV, JSONL or Parquet; COL stands for its columns' names):")
    say("  secondcoder check FILE --text COL --label COL")
    say("  secondcoder train FILE --text COL --label COL --model minilm --output runs/mine")


def _step(number: int, what: str, command: str) -> None:
    say()
    say(f"{number}. {what}")
    say(f"   $ {command}")
    say()


def _write(path: Path, columns: Sequence[str], rows: Iterable["Article"]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([getattr(row, column) for column in columns] for row in rows)
