"""How far the weights of words agree with what happens when words are left out.

In: a model and texts. Out: a correlation.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from secondcoder.model.attribution import exact_logits, explain_all, margin_of
from secondcoder.model.encoding import Encoded
from secondcoder.model.model import Model
from secondcoder.model.words import Reading, read_words

# Words of one text that are left out in turn by the check: enough for a correlation, few enough for long texts.
_MOST_LEFT_OUT = 40
# A correlation over fewer words is mostly chance.
_FEWEST_COMPARED = 4


def check_against_occlusion(
    model: Model, texts: Sequence[str], labels: Sequence[str] | None = None, *, most_texts: int = 20, seed: int = 0
) -> float | None:
    """Return how well the words' weights agree with what happens when each word is left out.

    Spearman's correlation, within a text, between the weights and the fall of the margin when the word's tokens are
    removed, averaged over a sample of texts; of long texts a sample of words. 1 is the same order of words, 0 none in
    common. None where no text has words to compare.

    Parameters
    ----------
    model, texts, labels
        As in `explain_all`.
    most_texts, seed
        Size of the sample, and what decides which texts and words are in it.

    References
    ----------
    Zeiler & Fergus (2014). Visualizing and understanding convolutional networks. doi:10.1007/978-3-319-10590-1_53
    """
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(texts))[:most_texts])
    texts = [texts[row] for row in rows]
    explained = explain_all(model, texts, None if labels is None else [labels[row] for row in rows])
    encoded = model.encoder.encode(texts)
    correlations = []
    for i, reading in enumerate(read_words(model.encoder, texts, encoded)):
        words = np.sort(generator.permutation(len(reading.spans))[:_MOST_LEFT_OUT])
        weights = np.array([explained[i].words[w].weight for w in words])
        if len(words) < _FEWEST_COMPARED:
            continue
        falls = explained[i].margin - _margins_without(model, encoded.rows_of(i), reading, words, explained[i].label)
        if np.ptp(weights) > 0 and np.ptp(falls) > 0:
            correlations.append(float(spearmanr(weights, falls).statistic))
    return float(np.mean(correlations)) if correlations else None


def _margins_without(
    model: Model, ids: list[NDArray[np.int32]], reading: Reading, words: NDArray[np.int64], label: str
) -> NDArray[np.float64]:
    """Return the label's margin when the tokens of each of the words are left out of each window, shape (words,)."""
    word_of = np.split(reading.word_of, np.cumsum([len(row) for row in ids])[:-1])
    shorter = [row[of != word] for word in words for row, of in zip(ids, word_of, strict=True)]
    lengths = np.array([len(own) for own in shorter], dtype=np.int64)
    starts = np.arange(len(words) + 1) * len(ids)
    encoded = Encoded(
        np.concatenate(shorter), np.concatenate([[0], np.cumsum(lengths)]), np.zeros(len(words), np.int64), starts
    )
    logits = encoded.windows.pool(exact_logits(model, encoded), model.card.window_pooling or "mean")
    position = torch.full((len(words),), model.label_names.index(label))
    margins = margin_of(torch.from_numpy(logits), position, alone=model.card.multi_label)
    found: NDArray[np.float64] = margins.double().numpy()
    return found
