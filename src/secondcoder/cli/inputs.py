"""What commands read: hand-labelled files, divided into parts; and what is said of them."""

from typing import TYPE_CHECKING

from secondcoder.cli.output import tell
from secondcoder.settings import ReadSettings

if TYPE_CHECKING:
    from secondcoder.corpus.corpus import Corpus
    from secondcoder.splits.split import Split


def read_corpus(file: str, settings: ReadSettings, seed: int) -> "Corpus":
    """Return the corpus that a file and the column options name."""
    from secondcoder.corpus.reading import read

    return read(file, **settings.to_dict(), seed=seed)


def tell_parts(parts: "Split") -> None:
    """Say how many rows each part has, and which labels there are."""
    sizes = ", ".join(f"{len(getattr(parts, name)):,} {name}" for name in ("train", "dev", "test"))
    tell(f"{sizes} (split: {parts.by}); labels: {', '.join(parts.train.label_names)}")
