"""TF-IDF of words and of characters, as the rival of a transformer reads texts.

In: texts. Out: sparse matrices with a row of unit length for each text and a column for each n-gram.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

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


class TermCounter(Protocol):
    """Counts terms; as scikit-learn's `CountVectorizer` does.

    Attributes
    ----------
    learned
        The learned terms as an array, from which `restore` makes the counter again.
    """

    @property
    def learned(self) -> NDArray[Any]: ...  # noqa: D102

    def restore(self, learned: NDArray[Any]) -> None:
        """Take over terms that were learned before."""

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the terms of texts; return how often each has each, sparse, of shape (n, terms)."""

    def transform(self, texts: Sequence[str]) -> Any:
        """Return how often each text has each learned term, sparse, of shape (n, terms)."""


class Words:
    """Counts words and pairs of words, by scikit-learn's `CountVectorizer`.

    Parameters
    ----------
    most
        Only so many are kept, the most frequent ones.
    """

    def __init__(self, most: int) -> None:
        self._counter = CountVectorizer(ngram_range=(1, 2), max_features=most, token_pattern=_WORD)

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the words of texts, of which one has any; return how often each text has each, sparse, (n, words)."""
        return self._counter.fit_transform(texts)

    def transform(self, texts: Sequence[str]) -> Any:
        """Return how often each text has each learned word, sparse, of shape (n, words)."""
        return self._counter.transform(texts)

    @property
    def learned(self) -> NDArray[np.uint8]:
        """The learned words in the order of their columns, a line each."""
        return np.frombuffer("\n".join(self._counter.get_feature_names_out()).encode(), np.uint8)

    def restore(self, learned: NDArray[Any]) -> None:
        """Take over words that were learned before."""
        self._counter.set_params(vocabulary=learned.tobytes().decode().split("\n"))


class Characters:
    """Counts runs of 2 to 5 characters within words, with the blanks around them, as scikit-learn does.

    That is ``CountVectorizer(analyzer="char_wb", ngram_range=(2, 5))``, which takes each word apart as often as it
    occurs, in Python. Here each different word is, in numpy. A run is known by a hash of 64 bits: among a million runs
    two have the same one in 1 of 30 million cases. Columns are in the order of the hashes.

    Parameters
    ----------
    most
        Only so many runs are kept, the most frequent ones.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the runs of texts, not all of them blank; return how often each text has each, sparse, (n, runs)."""
        words, counts = _words(texts)
        of_word, keys = _runs(words)
        known, column = np.unique(keys, return_inverse=True)
        frequency = np.bincount(column, counts.sum(axis=0)[of_word])
        self._known = np.sort(known[np.argsort(-frequency, kind="stable")[: self._most]])
        return self._count(counts, of_word, keys)

    def transform(self, texts: Sequence[str]) -> Any:
        """Return how often each text has each learned run, sparse, of shape (n, runs)."""
        words, counts = _words(texts)
        return self._count(counts, *_runs(words))

    @property
    def learned(self) -> NDArray[np.uint64]:
        """The hashes of the learned runs, rising."""
        return self._known

    def restore(self, learned: NDArray[Any]) -> None:
        """Take over runs that were learned before."""
        self._known = learned

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


def counters(kind: Kind, most: int) -> list[TermCounter]:
    """Return what counts the terms of a kind, at most so many of words and of characters; nothing is learned yet."""
    by_kind: dict[Kind, list[TermCounter]] = {"words": [Words(most)], "characters": [Characters(most)]}
    return by_kind.get(kind) or [Words(most), Characters(most)]


class Terms:
    """Terms weighed by TF-IDF with sublinear frequency; rows of unit length in each kind of terms.

    Parameters
    ----------
    kind
        What is counted.
    most
        Only so many words, and so many runs of characters, are kept, the most frequent ones.
    """

    def __init__(self, kind: Kind, most: int) -> None:
        self._most = most
        self._parts = [(counter, TfidfTransformer(sublinear_tf=True)) for counter in counters(kind, most)]

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the terms of texts; return their matrix, sparse, of shape (n, terms)."""
        found = [weights.fit_transform(counter.fit_transform(texts)) for counter, weights in self._parts]
        return sparse.hstack(found, format="csr")

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the matrix of texts, sparse, of shape (n, terms); a term that was not learned counts for nothing."""
        return sparse.hstack(
            [weights.transform(counter.transform(texts)) for counter, weights in self._parts], format="csr"
        )

    @property
    def full(self) -> bool:
        """Whether as many terms of some kind were learned as are kept, so that others may have been left out."""
        return any(len(weights.idf_) >= self._most for _, weights in self._parts)

    @property
    def learned(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays by name, from which `restore` makes the same again."""
        found: dict[str, NDArray[Any]] = {}
        for i, (counter, weights) in enumerate(self._parts):
            found |= {f"terms{i}": counter.learned, f"idf{i}": weights.idf_}
        return found

    def restore(self, learned: Mapping[str, NDArray[Any]]) -> None:
        """Take over what was learned before, for the same kind."""
        for i, (counter, weights) in enumerate(self._parts):
            counter.restore(learned[f"terms{i}"])
            weights.idf_ = learned[f"idf{i}"]


def has_words(texts: Iterable[str]) -> bool:
    """Return whether there is a word in any of the texts."""
    return any(re.search(_WORD, text) for text in texts)


def gram_matrix(counts: Any, learned: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the inner products of all pairs of texts, ndarray of shape (n, n), as TF-IDF learned from some has them.

    They are 0 where the rows that are learned from have no term. Columns that many texts have in common are multiplied
    as dense ones.

    Parameters
    ----------
    counts
        How often each text has each term: sparse, of shape (n, terms).
    learned
        The rows that are learned from: a term that none of them has counts for nothing.
    """
    n = counts.shape[0]
    known = counts[:, _holders(counts[learned]) > 0]
    if not known.shape[1]:  # as where only rows without words are learned from
        return np.zeros((n, n))
    terms = TfidfTransformer(sublinear_tf=True).fit(known[learned]).transform(known)
    common = _holders(terms) > _COMMON * n
    dense = terms[:, common].toarray()
    rest = terms[:, ~common]
    found: NDArray[np.float64] = dense @ dense.T + (rest @ rest.T).toarray()
    return found


def _holders(counts: Any) -> NDArray[np.int64]:
    """Return how many rows of a sparse matrix have something in each column."""
    return np.bincount(counts.indices, minlength=counts.shape[1])
