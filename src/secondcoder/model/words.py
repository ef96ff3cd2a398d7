"""Which characters of a text the model reads, joined from tokens to words.

In: texts and a model's tokenisation. Out: a `Reading` of each: its words as stretches of the text, and which token
belongs to which word.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import ModelError
from secondcoder.model.tokenisation import Encoded, TextEncoder

_JOINER = "\u200d"  # glues emoji to one, as in families
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# Scripts that write no blanks between words: there a word is what the tokenizer takes for a piece.
_UNSPACED = (
    range(0x0E00, 0x0F00),  # Thai, Lao
    range(0x1000, 0x10A0),  # Burmese
    range(0x1780, 0x1800),  # Khmer
    range(0x3040, 0x3100),  # Japanese syllables
    range(0x3400, 0xA000),  # Chinese characters
    range(0xF900, 0xFB00),
    range(0x20000, 0x40000),
)
_IN_WORDS = "'’"
_IN_NUMBERS = ".,"

Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model reads of one text.

    Attributes
    ----------
    spans
        From where to where each word goes, in characters, in the order of the text.
    word_of : ndarray of shape (tokens,)
        Position of each token's word among `spans`; -1 for special tokens, and for those without characters. Of a text
        in windows, the tokens of one window after the other: a word where two overlap has tokens in both.
    not_seen
        From where to where the text is cut out; None if it is read whole.
    """

    spans: tuple[Span, ...]
    word_of: NDArray[np.int64]
    not_seen: Span | None


def read_words(encoder: TextEncoder, texts: Sequence[str], encoded: Encoded) -> list[Reading]:
    """Return the words that a model reads of each text.

    Parameters
    ----------
    encoder
        The model's tokenisation.
    texts
        n strings.
    encoded
        What `encoder` made of them.

    Raises
    ------
    ModelError
        If the tokenizer does not say which characters its tokens come from.
    """
    tokenizer = encoder.tokenizer
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} does not say which characters its tokens come from.",
            "Words can be shown for models with a fast tokenizer (tokenizer.json).",
        )
    found = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
    )
    return [
        _read(encoder, text, encoder.as_text(ids), offsets, encoded.rows_of(i))
        for i, (text, ids, offsets) in enumerate(zip(texts, found["input_ids"], found["offset_mapping"], strict=True))
    ]


def _read(
    encoder: TextEncoder, text: str, ids: list[int], offsets: list[Span], encoded: list[NDArray[np.int32]]
) -> Reading:
    spans = [_trim(text, start, end) for start, end in offsets]
    if [[*encoder.prefix, *row, *encoder.suffix] for row in encoder.rows(ids)] != [row.tolist() for row in encoded]:
        raise ModelError("The tokenizer reads the same text in two ways.", "Choose another model.")
    cut = slice(*encoder.cut_out(len(ids)))
    kept = [*range(cut.start), *range(cut.stop, len(ids))]
    words, word_of_kept = _join(text, [spans[i] for i in kept])
    word_of = dict(zip(kept, word_of_kept, strict=True))
    lost = [span for span in spans[cut] if span[0] < span[1]]
    before, behind = [-1] * len(encoder.prefix), [-1] * len(encoder.suffix)
    whole = [word for row in encoder.rows(range(len(ids))) for word in (*before, *(word_of[i] for i in row), *behind)]
    return Reading(tuple(words), np.array(whole, dtype=np.int64), (lost[0][0], lost[-1][1]) if lost else None)


def _trim(text: str, start: int, end: int) -> Span:
    """Leave out blanks at the edges: some tokenizers count the blank before a word to it."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _join(text: str, pieces: Sequence[Span]) -> tuple[list[Span], list[int]]:
    """Return the words that the pieces make, and which word each piece belongs to."""
    words: list[Span] = []
    word_of = []
    for start, end in pieces:
        if start == end:
            word_of.append(-1)
            continue
        # What hangs on a letter, such as an accent that the tokenizer drops, goes with it.
        while end < len(text) and _hangs_on(text[end]):
            end += 1
        # Pieces overlap where a character is several tokens, as emoji are in byte-level vocabularies.
        if words and (start < words[-1][1] or (start == words[-1][1] and _is_inside_word(text, start))):
            words[-1] = (words[-1][0], max(end, words[-1][1]))
        else:
            words.append((start, end))
        word_of.append(len(words) - 1)
    return words, word_of


def _is_inside_word(text: str, at: int) -> bool:
    """Return whether the boundary before a character lies within a word, a number or an emoji."""
    before, after = text[at - 1], text[at]
    if before == _JOINER or _hangs_on(after):
        return True
    if before in _IN_WORDS + _IN_NUMBERS and at >= 2:
        return _bridges(text[at - 2], before, after)
    if after in _IN_WORDS + _IN_NUMBERS and at + 1 < len(text):
        return _bridges(before, after, text[at + 1])
    return _is_letter(before) and _is_letter(after)


def _bridges(before: str, mark: str, after: str) -> bool:
    if mark in _IN_NUMBERS:
        return before.isdigit() and after.isdigit()
    return _is_letter(before) and _is_letter(after)


def _is_letter(character: str) -> bool:
    code = ord(character)
    if any(code in unspaced for unspaced in _UNSPACED):
        return False
    return character.isalnum() or character == "_" or _hangs_on(character)


def _hangs_on(character: str) -> bool:
    """Return whether a character belongs to the one before it: accents, vowel signs, joiners, skin tones."""
    category = unicodedata.category(character)
    return category[0] == "M" or category == "Cf" or ord(character) in _SKIN_TONES
