"""Texts with the words marked that pushed them to a class.

In: a text and the weights of its words. Out: `Piece`s, which put together give the text again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 700
"""So many characters of a text are shown; the page would else be as long as its longest text."""
# Below this share of the text's strongest word a mark would say no more than the paper.
_FAINTEST = 0.12


@dataclass(frozen=True)
class Piece:
    """A piece of a text.

    Attributes
    ----------
    text
        As it stands there.
    weight
        From -1 (pushes away from the class) to 1 (pushes to it), in shares of the text's strongest word; 0 is unmarked.
    unread
        Whether it was cut off before the model read the text.
    """

    text: str
    weight: float = 0.0
    unread: bool = False


def marked(text: str, attribution: Mapping[str, Any], longest: int = LONGEST) -> list[Piece]:
    """Return a text in pieces, cut after so many characters.

    Parameters
    ----------
    attribution
        What `Attribution.to_dict` gave for the text: ``words``, each with ``start``, ``end`` (positions of characters)
        and ``weight`` (above 0: pushes to the class), and ``not_seen``. Empty: nothing is marked.
    """
    end = len(text) if len(text) <= longest else longest
    spans = [
        (word["start"], word["end"], min(1.0, max(-1.0, word["weight"])), False)
        for word in attribution.get("words", ())
    ]
    spans = [span for span in spans if abs(span[2]) >= _FAINTEST]
    if attribution.get("not_seen"):
        spans.append((*attribution["not_seen"], 0.0, True))
    pieces, at = [], 0
    for start, stop, weight, unread in sorted(spans):
        start, stop = max(at, start), min(stop, end)
        if start < stop:
            pieces += [Piece(text[at:start]), Piece(text[start:stop], weight, unread)]
            at = stop
    pieces.append(Piece(text[at:end] + ("…" if end < len(text) else "")))
    return [piece for piece in pieces if piece.text]
