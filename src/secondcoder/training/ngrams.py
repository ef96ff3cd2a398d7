"""TF-IDF of words and of characters, as the rival of a transformer reads texts.

In: texts. Out: sparse matrices with a row of unit length for each text and a column for each n-gram.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer

Kind = Literal["words", "characters", "both"]
"""Words and pairs of words; runs of 2 to 5 characters within words, their beginning and end marked; or both."""
KINDS: dict[Kind, str] = {
    "both": "words and word pairs, and 2 to 5 characters in a row",
    "characters": "2 to 5 characters in a row",
    "words": "words and word pairs",
}
"""What is counted, for people; the first is taken where nothing can be compared."""
_RUNS = (2, 5)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits without a pattern
_WORD = r"(?u)\b\w+\b"  # words of one letter too
# Beyond this share of the texts a term's column is dense enough for BLAS.
_COMMON = 0.05


class Terms(Protocol):
    """Counts terms and weighs them by TF-IDF, with sublinear term frequency; rows have unit length."""

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the terms of texts; return their matrix, sparse, of shape (n, terms)."""

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the matrix of texts, sparse, of shape (n, terms); a term that was not learned counts for nothing."""


class Characters:
    """Runs of 2 to 5 characters within words, with the blanks around them; the same numbers as scikit-learn's.

    That is ``TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)``, which takes each word apart
    as often as it occurs, in Python. Here each different word is, in numpy. A run is known by a hash of 64 bits: among
    a million runs two have the same one in 1 of 30 million cases. Columns are in the order of the hashes.

    Parameters
    ----------
    most
        Only so many runs are kept, the most frequent ones.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weights = TfidfTransformer(sublinear_tf=True)

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the runs of texts, not all of them blank; return their matrix, sparse, of shape (n, runs)."""
        words, counts = _words(texts)
        of_word, keys = _runs(words)
        known, column = np.unique(keys, return_inverse=True)
        frequency = np.bincount(column, counts.sum(axis=0)[of_word])
        self._known = np.sort(known[np.argsort(-frequency, kind="stable")[: self._most]])
        return self._weights.fit_transform(self._count(counts, of_word, keys))

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the matrix of texts, sparse, of shape (n, runs)."""
        words, counts = _words(texts)
        return self._weights.transform(self._count(counts, *_runs(words)))

    def _count(self, counts: Any, of_word: NDArray[np.int64], keys: NDArray[np.uint64]) -> Any:
        """Return how often each text has each known run, sparse, from how often it has each word."""
        column = np.minimum(np.searchsorted(self._known, keys), len(self._known) - 1)
        known = self._known[column] == keys
        shape = (counts.shape[1], len(self._known))
        return counts @ sparse.csr_array((np.ones(known.sum()), (of_word[known], column[known])), shape=shape)


def _runs(words: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the word, as its place among the words, and the hash of each run of characters."""
    codes = np.frombuffer(f" {' '.join(words)} ".encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    blank = codes == ord(" ")
    place = np.cumsum(blank) - 1  # a blank belongs to the word that it stands before, and ends the one before that
    hashed, inside = codes[:-1], np.ones(len(codes) - 1, np.bool_)
    found = []
    for n in range(_RUNS[0], _RUNS[1] + 1):
        starts = len(codes) - n + 1
        hashed = hashed[:starts] * _FACTOR + codes[n - 1 :]
        found.append((place[:starts][inside[:starts]], hashed[inside[:starts]]))
        inside = inside[: starts - 1] & ~blank[n - 1 : -1]  # beyond a blank stands another word
    return np.concatenate([word for word, _ in found]), np.concatenate([key for _, key in found])


def _words(texts: Sequence[str]) -> tuple[list[str], Any]:
    """Return the different words of texts, cut at blanks, and how often each text has each: shape (n, words)."""
    position: dict[str, int] = {}
    columns: list[int] = []
    ends = [0]
    for text in texts:
        columns += [position.setdefault(word, len(position)) for word in text.lower().split()]
        ends.append(len(columns))
    ones = np.ones(len(columns))
    counts = sparse.csr_array((ones, columns, ends), shape=(len(texts), max(1, len(position))))
    counts.sum_duplicates()
    return list(position) or [""], counts


class Both:
    """The terms of two kinds, side by side."""

    def __init__(self, *parts: Terms) -> None:
        self._parts = parts

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the terms of texts; return their matrix, sparse, of shape (n, terms)."""
        return sparse.hstack([part.fit_transform(texts) for part in self._parts], format="csr")

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the matrix of texts, sparse, of shape (n, terms)."""
        return sparse.hstack([part.transform(texts) for part in self._parts], format="csr")


def terms_of(kind: Kind, most: int) -> Terms:
    """Return what counts terms of a kind, at most so many of words and of characters; it has learned nothing yet."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=most, token_pattern=_WORD)
    by_kind: dict[Kind, Terms] = {"words": words, "characters": Characters(most)}
    return by_kind.get(kind) or Both(words, by_kind["characters"])


def has_words(texts: Iterable[str]) -> bool:
    """Return whether there is a word in any of the texts."""
    return any(re.search(_WORD, text) for text in texts)


def likeness(terms: Any) -> NDArray[np.float64]:
    """Return the inner products of all pairs of rows, ndarray of shape (n, n), of a sparse matrix of shape (n, terms).

    Columns that many rows have in common are multiplied as dense ones.
    """
    n = terms.shape[0]
    common = terms.getnnz(axis=0) > _COMMON * n
    dense = terms[:, common].toarray()
    rest = terms[:, ~common]
    found: NDArray[np.float64] = dense @ dense.T + (rest @ rest.T).toarray()
    return found
