"""Text to token ids: the one tokenisation path of training, evaluation and labelling.

In: texts and a tokenizer. Out: `Encoded` (the ids of many texts, unpadded) and padded batches of them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from secondcoder.errors import DataError, ModelError, SettingsError
from secondcoder.model.pretrained import obeyed
from secondcoder.model.windows import Windows, cut
from secondcoder.settings import DEFAULT_OVERLAP, LongTexts

Item = TypeVar("Item")
# Probe for where a tokenizer puts its special tokens; any text of several tokens does.
_PROBE = "one two three"
# Texts go to the tokenizer in chunks, so that its Python-side lists stay small beside the arrays kept here.
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids of n texts, end to end, in rows: a row is what the model reads at once, a text or a window of one.

    Attributes
    ----------
    ids : ndarray of shape (total tokens,)
        The ids of all rows, special tokens included.
    offsets : ndarray of shape (rows + 1,)
        Row i is ``ids[offsets[i]:offsets[i + 1]]``.
    full_lengths : ndarray of shape (n,)
        Lengths of the texts in tokens before truncation, special tokens included.
    starts : ndarray of shape (n + 1,), or None
        The rows of text i are ``starts[i]`` up to ``starts[i + 1]``; None where each text is one row.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    full_lengths: NDArray[np.int64]
    starts: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.full_lengths)

    @cached_property
    def windows(self) -> Windows:
        """Which rows belong to which text."""
        return Windows.one_each(len(self)) if self.starts is None else Windows(self.starts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Lengths of the rows in tokens as the model sees them, shape (rows,)."""
        return np.diff(self.offsets)

    @property
    def text_lengths(self) -> NDArray[np.int64]:
        """Tokens that are read of each text in all of its rows, shape (n,)."""
        return self.windows.total(self.lengths)

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """Which texts lost tokens, shape (n,); windows lose none."""
        return self.full_lengths > self.lengths if self.starts is None else np.zeros(len(self), np.bool_)

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def take(self, texts: NDArray[np.int64]) -> "Encoded":
        """Return the named texts, in the order given."""
        rows = self.windows.rows(texts)
        offsets = np.concatenate([[0], np.cumsum(self.lengths[rows], dtype=np.int64)])
        starts = None
        if self.starts is not None:
            starts = np.concatenate([[0], np.cumsum(self.windows.counts[texts], dtype=np.int64)])
        ids = np.concatenate([self[row] for row in rows]) if len(rows) else np.empty(0, np.int32)
        return Encoded(ids, offsets, self.full_lengths[texts], starts)

    def rows_of(self, text: int) -> list[NDArray[np.int32]]:
        """Return the ids of each row of a text."""
        return [self[row] for row in range(*self.windows.starts[text : text + 2])]


@dataclass(frozen=True)
class Inspection:
    """A text as the model sees it.

    Attributes
    ----------
    tokens, ids, attention_mask
        One entry per token that is read, special tokens included.
    windows
        The window that each of them is in, from 1.
    cut
        The tokens that are not read.
    """

    tokens: list[str]
    ids: list[int]
    attention_mask: list[int]
    windows: list[int]
    cut: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection as plain JSON values."""
        return asdict(self)


class TextEncoder:
    """Turns texts into token ids and padded batches.

    Parameters
    ----------
    tokenizer
        A transformers tokenizer loaded with ``split_special_tokens=True``, so that a literal ``[SEP]`` is text.
    max_length
        Most tokens that are read at once, special tokens included.
    long_texts
        What becomes of a longer text: ``"truncate"`` keeps its start, ``"head-tail"`` as many tokens from its end as
        from its start, ``"windows"`` reads all of it, in overlapping windows.
    window_overlap
        Least overlap of windows: a share of their room below 1, tokens from 1 on.

    Attributes
    ----------
    overlap
        The least overlap in tokens; 0 without windows.

    Raises
    ------
    ModelError
        If the tokenizer reads control tokens in texts, or cannot pad.
    SettingsError
        If special tokens leave no room for text, or the overlap leaves none for anything new.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        long_texts: LongTexts = "truncate",
        window_overlap: float = DEFAULT_OVERLAP,
    ) -> None:
        if not tokenizer.split_special_tokens:
            raise ModelError(
                "The tokenizer would read a literal control token in a text as a command.",
                "Load it with split_special_tokens=True.",
            )
        if tokenizer.pad_token_id is None:
            raise ModelError("The tokenizer has no padding token.", "Give it one, or choose another model.")
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.long_texts = long_texts
        self.prefix, self.suffix = _special_tokens(tokenizer)
        self._instead = obeyed(tokenizer)
        if self._room < 1:
            raise SettingsError(
                f"max_length is {max_length}, and {len(self.prefix) + len(self.suffix)} special tokens leave no room.",
                "Set a larger max_length.",
            )
        tokens = round(window_overlap * self._room) if window_overlap < 1 else int(window_overlap)
        self.overlap = tokens if long_texts == "windows" else 0
        if self.overlap >= self._room:
            raise SettingsError(
                f"window_overlap is {window_overlap:g}: a window has room for {self._room} tokens of text, and none of "
                "them would be new.",
                "Set a smaller window_overlap, or a larger max_length.",
            )

    @property
    def _room(self) -> int:
        return self.max_length - len(self.prefix) - len(self.suffix)

    def identity(self) -> list[str]:
        """Return what token ids depend on besides the text and the tokenizer."""
        instead = [str(self._instead)] if self._instead else []
        return [str(self.max_length), self.long_texts, str(self.overlap), str(self.prefix), str(self.suffix), *instead]

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the token ids of the texts.

        Raises
        ------
        DataError
            If a text holds a lone surrogate, which no tokenizer can read.
        """
        pieces: list[NDArray[np.int32]] = []
        full_lengths = np.empty(len(texts), dtype=np.int64)
        starts = np.zeros(len(texts) + 1, dtype=np.int64)
        for start in range(0, len(texts), _CHUNK):
            for i, content in enumerate(self._content_ids(texts[start : start + _CHUNK], start), start):
                full_lengths[i] = len(content) + len(self.prefix) + len(self.suffix)
                for row in self.rows(content):
                    pieces.append(np.array([*self.prefix, *row, *self.suffix], dtype=np.int32))
                starts[i + 1] = len(pieces)
        offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
        np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
        ids = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
        return Encoded(ids, offsets, full_lengths, starts if self.long_texts == "windows" else None)

    def inspect(self, text: str) -> Inspection:
        """Return one text as the model sees it."""
        content = self._content_ids([text], 0)[0]
        start, end = self.cut_out(len(content))
        encoded = self.encode([text])
        shape = (len(encoded.lengths), int(encoded.lengths.max()))
        mask = self.batch(encoded, np.arange(shape[0]), shape)["attention_mask"]
        real = np.arange(shape[1]) < encoded.lengths[:, None]  # (windows, tokens)
        return Inspection(
            tokens=list(self.tokenizer.convert_ids_to_tokens(encoded.ids.tolist())),
            ids=encoded.ids.tolist(),
            attention_mask=mask.numpy()[real].tolist(),
            windows=(np.repeat(np.arange(shape[0]), encoded.lengths) + 1).tolist(),
            cut=list(self.tokenizer.convert_ids_to_tokens(content[start:end])),
        )

    def batch(self, encoded: Encoded, rows: NDArray[np.int64], shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Return the named rows padded on the right to `shape` (rows, tokens).

        Where there are fewer than that, dummy rows fill up; their outputs are to be ignored.
        """
        ids = np.full(shape, self.tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for b, row in enumerate(rows):
            tokens = encoded[row]
            ids[b, : len(tokens)] = tokens
            mask[b, : len(tokens)] = 1
        # A row of which nothing may be attended to divides by zero in some attention kernels.
        mask[len(rows) :, 0] = 1
        # Copies, as some networks look for certain tokens: mBART wants an end of sentence in every row.
        ids[len(rows) :] = ids[0]
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def _content_ids(self, texts: Sequence[str], first_row: int) -> list[list[int]]:
        """Ids without special tokens, uncut."""
        try:
            found: list[list[int]] = self.tokenizer(
                list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False
            )["input_ids"]
        except (TypeError, UnicodeError):
            for i, text in enumerate(texts, first_row):
                try:
                    text.encode("utf-8")
                except UnicodeEncodeError as error:
                    raise DataError(
                        f"Text {i + 1} has an unpaired surrogate at position {error.start}.",
                        "Repair the text's encoding.",
                    ) from None
            raise
        return [self.as_text(content) for content in found] if self._instead else found

    def as_text(self, content: list[int]) -> list[int]:
        """Return a text's ids, where what the tokenizer takes for control tokens is unknown instead."""
        return [self._instead.get(i, i) for i in content]

    def rows(self, content: Sequence[Item]) -> list[list[Item]]:
        """Return what is read of a text at once, from one item for each of its tokens: the windows, or what is kept."""
        if self.long_texts == "windows":
            return [list(content[a:b]) for a, b in cut(len(content), room=self._room, overlap=self.overlap)]
        start, end = self.cut_out(len(content))
        return [[*content[:start], *content[end:]]]

    def cut_out(self, n: int) -> tuple[int, int]:
        """Return from where to where a text of `n` tokens is cut; an empty stretch if it is read whole."""
        if n <= self._room or self.long_texts == "windows":
            return n, n
        tail = self._room // 2 if self.long_texts == "head-tail" else 0
        return self._room - tail, n - tail


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Find which ids the tokenizer puts before and behind a text."""
    content = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    whole = tokenizer(_PROBE)["input_ids"]
    for start in range(len(whole) - len(content) + 1):
        if whole[start : start + len(content)] == content:
            return whole[:start], whole[start + len(content) :]
    raise ModelError(
        f"The tokenizer {type(tokenizer).__name__} changes a text when it adds its special tokens.",
        "Choose another model.",
    )


LONGEST_BY_DEFAULT = 512


def choose_max_length(
    asked: int | None,
    tokenizer: PreTrainedTokenizerBase,
    position_limit: int | None,
    *,
    most: int = LONGEST_BY_DEFAULT,
) -> int:
    """Return the asked maximum length, or the model's own, at most `most` tokens.

    Raises
    ------
    SettingsError
        If the asked length is more than the model has positions for.
    """
    limits = [n for n in (tokenizer.model_max_length, position_limit) if n is not None]
    limit = min(limits, default=LONGEST_BY_DEFAULT)
    if asked is None:
        return min(limit, most)
    if asked > limit:
        raise SettingsError(f"max_length is {asked}; this model reads at most {limit} tokens.", f"Set at most {limit}.")
    return asked


def count_positions(config: PretrainedConfig, padding_index: int | None) -> int | None:
    """Return how many tokens a model has positions for, or None where it does not say.

    RoBERTa and its kin count positions from behind the padding index, and so have that many fewer.
    """
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is None or positions <= 0:
        return None
    return positions - (padding_index + 1 if padding_index is not None else 0)


def describe_lengths(n_tokens: NDArray[np.int64], encoder: TextEncoder) -> dict[str, Any]:
    """Return how long texts are, in tokens before truncation, and how many are longer than what is read at once."""
    return {
        "shortest": int(n_tokens.min()),
        "median": float(np.median(n_tokens)),
        "mean": float(n_tokens.mean()),
        "p95": float(np.percentile(n_tokens, 95)),
        "longest": int(n_tokens.max()),
        "max_length": encoder.max_length,
        "share_longer": float((n_tokens > encoder.max_length).mean()),
        "long_texts": encoder.long_texts,
    }
