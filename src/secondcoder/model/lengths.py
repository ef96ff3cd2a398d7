"""How many tokens a model reads at once, and how long texts are.

In: a tokenizer and a configuration, lengths in tokens. Out: the maximum length; what the report says about lengths.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from secondcoder.errors import SettingsError
from secondcoder.model.encoding import TextEncoder

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
