"""TF-IDF of words and of characters.

In: texts. Out: sparse matrices with a row of unit length for each text and a column for each n-gram.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_FACTOR, _MIXER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)  # odd, their bits without a pattern
_WORD = r"(?u)\b\w+\b"  # words of one letter too
_FIND = re.compile(r"\w+").findall  # the same, as no word ends where another begins
# Beyond this share of the texts a term's column is dense enough for BLAS.
_COMMON = 0.05


class Pieces:
    """Texts in lower case, cut at blanks, each different piece once.

    What a text is made of is then looked up for each piece once, however many texts have it.

    Parameters
    ----------
    texts
        The n texts.

    Attributes
    ----------
    pieces
        The different ones, in the order in which they appear.
    places : ndarray of shape (all pieces,)
        The pieces of all texts, one after the other, as places in `pieces`.
    ends : ndarray of shape (n + 1,)
        Where in `places` each text begins, and the last one ends.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        position: defaultdict[str, int] = defaultdict()
        position.default_factory = position.__len__
        places: list[int] = []
        ends = [0]
        for text in texts:
            places += map(position.__getitem__, text.lower().split())
            ends.append(len(places))
        self.pieces = list(position)
        self.places, self.ends = np.array(places, np.int32), np.array(ends, np.int32)

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def counts(self) -> Any:
        """How often each text has each piece, sparse, of shape (n, pieces); as they come, repetitions stand twice."""
        # At least one column, which stays empty where all texts are blank.
        shape, ones = (len(self), max(1, len(self.pieces))), np.ones(len(self.places), np.int32)
        return sparse.csr_array((ones, self.places, self.ends), shape=shape)


class TermCounter(Protocol):
    """Counts terms.

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

    def count(self, texts: Pieces) -> Any:
        """Return how often each text has each learned term, sparse, of shape (n, terms)."""

    def held(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield the learned terms that a text in lower case has: the column, and from where to where it stands."""


class Words:
    """Counts words and pairs of words: learns them by scikit-learn's `CountVectorizer`, and counts as it does.

    Parameters
    ----------
    most
        Only so many are kept, the most frequent ones.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the words of texts, of which one has any; return how often each text has each, sparse, (n, words)."""
        counter = CountVectorizer(ngram_range=(1, 2), max_features=self._most, token_pattern=_WORD)
        found = counter.fit_transform(texts)
        self._know(counter.get_feature_names_out().tolist())
        return found

    def _know(self, terms: list[str]) -> None:
        """Make tables of the words in terms, and of the columns of words and of pairs of them."""
        self._terms = terms
        parts = [term.split(" ") for term in terms]
        self._word = {word: i for i, word in enumerate(dict.fromkeys(word for words in parts for word in words))}
        n = len(self._word)  # stands for any word that was not learned
        self._column = np.full(n + 1, -1, np.int64)
        pairs, columns = [], []
        for column, words in enumerate(parts):
            places = [self._word[word] for word in words]
            if len(places) == 1:
                self._column[places[0]] = column
            else:
                pairs.append(places[0] * (n + 1) + places[1])
                columns.append(column)
        self._pairs = _Table(np.array(pairs, np.uint64))
        self._pair_column = np.array([*columns, -1], np.int64)  # the last for what is no pair

    def count(self, texts: Pieces) -> Any:
        """Return how often each text has each learned word or pair, sparse, of shape (n, words)."""
        word, unknown = self._word.get, len(self._word)
        words: list[int] = []
        ends = [0]
        for piece in texts.pieces:
            words += [word(found, unknown) for found in _FIND(piece)]
            ends.append(len(words))
        sequence, lengths = _spread(np.array(words, np.int64), np.array(ends), texts.places)
        rows = np.repeat(np.repeat(np.arange(len(texts)), np.diff(texts.ends)), lengths)
        beside = np.flatnonzero(rows[1:] == rows[:-1])
        single, pair = self._column[sequence], self._pair_of(sequence[beside], sequence[beside + 1])
        columns, rows = np.concatenate([single, pair]), np.concatenate([rows, rows[beside]])
        known = columns >= 0
        found = _in_rows(rows[known], columns[known], (len(texts), len(self._terms)))
        found.sum_duplicates()
        return found

    def held(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield the learned words and pairs that a text has, and where; see `TermCounter.held`."""
        before: tuple[int, int] | None = None
        for found in re.finditer(_WORD, text):
            this = self._word.get(found.group(), len(self._word))
            if self._column[this] >= 0:
                yield int(self._column[this]), *found.span()
            if before is not None:
                column = int(self._pair_of(np.array([before[0]]), np.array([this]))[0])
                if column >= 0:
                    yield column, before[1], found.end()
            before = this, found.start()

    def _pair_of(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the columns of pairs of words; -1 of those that were not learned."""
        keys = first * (len(self._word) + 1) + second
        return self._pair_column[self._pairs.places(keys.astype(np.uint64))]

    @property
    def learned(self) -> NDArray[np.uint8]:
        """The learned words in the order of their columns, a line each."""
        return np.frombuffer("\n".join(self._terms).encode(), np.uint8)

    def restore(self, learned: NDArray[Any]) -> None:
        """Take over words that were learned before."""
        self._know(learned.tobytes().decode().split("\n"))


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
        pieces = Pieces(texts)
        counts = pieces.counts
        of_word, keys = _runs(pieces.pieces)
        known, column = np.unique(keys, return_inverse=True)
        frequency = np.bincount(column, counts.sum(axis=0)[of_word])
        self.restore(np.sort(known[np.argsort(-frequency, kind="stable")[: self._most]]))
        return self._counted(counts, of_word, keys)

    def count(self, texts: Pieces) -> Any:
        """Return how often each text has each learned run, sparse, of shape (n, runs)."""
        return self._counted(texts.counts, *_runs(texts.pieces))

    def held(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield the learned runs that a text has, and where, without blanks; see `TermCounter.held`."""
        for found in re.finditer(r"\S+", text):
            word = found.group()
            _, keys = _runs([word])
            column = self._table.places(keys)
            runs = [(start, n) for n in range(_RUNS[0], _RUNS[1] + 1) for start in range(max(0, len(word) + 3 - n))]
            for (start, n), of_run in zip(runs, column.tolist(), strict=True):
                if of_run < len(self._known):  # the word begins behind a blank
                    yield of_run, found.start() + max(start - 1, 0), min(found.start() + start - 1 + n, found.end())

    @property
    def learned(self) -> NDArray[np.uint64]:
        """The hashes of the learned runs, rising."""
        return self._known

    def restore(self, learned: NDArray[Any]) -> None:
        """Take over runs that were learned before."""
        self._known, self._table = learned, _Table(learned)

    def _counted(self, counts: Any, of_word: NDArray[np.int64], keys: NDArray[np.uint64]) -> Any:
        """Return how often each text has each known run, sparse, from how often it has each word."""
        column = self._table.places(keys)
        known = column < len(self._known)
        return counts @ _in_rows(of_word[known], column[known], (counts.shape[1], len(self._known)))


class _Table:
    """Finds numbers among known ones by some of their bits, in a third of the time of a binary search.

    Parameters
    ----------
    known
        m different numbers.
    """

    def __init__(self, known: NDArray[np.uint64]) -> None:
        bits = np.uint64(min(22, 2 + len(known).bit_length()))
        self._shift = np.uint64(64) - bits
        mixed = known * _MIXER  # an odd factor: no two become the same, and their first bits are spread evenly
        order = np.argsort(mixed)
        begins = np.searchsorted(mixed[order] >> self._shift, np.arange(1 + 2 ** int(bits), dtype=np.uint64))
        self._begins, self._most = begins.astype(np.int32), int(np.diff(begins).max(initial=0))
        self._n, behind = len(known), self._most + 1  # it is looked so far behind the last one
        self._mixed = np.append(mixed[order], np.zeros(behind, np.uint64))
        self._place = np.append(order, np.full(behind, self._n))

    def places(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the places of numbers among the known ones; m for what is none of them."""
        mixed = keys * _MIXER
        at = self._begins[(mixed >> self._shift).astype(np.int64)]
        found = np.where((there := self._mixed[at]) == mixed, self._place[at], self._n)
        left = np.flatnonzero(there < mixed)  # those in the order before it are not it
        for i in range(1, self._most):
            there = self._mixed[at[left] + i]
            hit = there == mixed[left]
            found[left[hit]] = self._place[at[left[hit]] + i]
            left = left[there < mixed[left]]
        return found


def _in_rows(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> Any:
    """Return a sparse matrix that counts pairs of row and column; in a row as they come, repetitions stand twice."""
    indices = (rows.astype(np.int32), columns.astype(np.int32))
    found = sparse.coo_array((np.ones(len(rows), np.int32), indices), shape=shape)
    found.has_canonical_format = True  # spares sorting them
    rows_first = found.tocsr()
    rows_first.has_canonical_format = rows_first.has_sorted_indices = False
    return rows_first


def _spread(
    values: NDArray[np.int64], ends: NDArray[np.int64], places: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values that belong to each of the places, one place after the other, and how many each has."""
    lengths = np.diff(ends)[places]
    behind = np.cumsum(lengths)
    within = np.arange(behind[-1] if len(behind) else 0) - np.repeat(behind - lengths, lengths)
    return values[np.repeat(ends[:-1][places], lengths) + within], lengths


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

    def __init__(self, kind: Kind, most: int = 0) -> None:
        self._most, self._counters = most, counters(kind, most)
        self._idf: list[NDArray[np.float64]] = []

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the terms of texts; return their matrix, sparse, of shape (n, terms)."""
        counts = [counter.fit_transform(texts) for counter in self._counters]
        self._idf = [TfidfTransformer().fit(one).idf_ for one in counts]
        return _beside([_weighed(one, idf) for one, idf in zip(counts, self._idf, strict=True)])

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the matrix of texts, sparse, of shape (n, terms); a term that was not learned counts for nothing."""
        return _beside(self._parts(texts))

    def products(self, texts: Sequence[str], weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the products of `transform` with weights of shape (terms, m), of shape (n, m), in less time.

        Those of a text are the same to the last bit whatever texts are beside it.
        """
        found, row = np.zeros((len(texts), weights.shape[1])), 0
        for part in self._parts(texts):
            found += part @ weights[row : row + part.shape[1]]
            row += part.shape[1]
        return found

    def _parts(self, texts: Sequence[str]) -> list[Any]:
        pieces = Pieces(texts)
        return [_weighed(counter.count(pieces), idf) for counter, idf in zip(self._counters, self._idf, strict=True)]

    def held(self, text: str) -> list[tuple[int, int, int]]:
        """Return the learned terms that a text has, each as often: column, and from where to where, in characters."""
        found, offset = [], 0
        origin = [i for i, letter in enumerate(text) for _ in letter.lower()]  # "İ" has two letters in lower case
        for counter, idf in zip(self._counters, self._idf, strict=True):
            for column, start, end in counter.held(text.lower()):
                found.append((offset + column, origin[start], origin[end - 1] + 1))
            offset += len(idf)
        return found

    @property
    def sizes(self) -> dict[str, int]:
        """How many terms of each kind were learned."""
        return {type(c).__name__.lower(): len(idf) for c, idf in zip(self._counters, self._idf, strict=True)}

    @property
    def full(self) -> bool:
        """Whether as many terms of some kind were learned as are kept, so that others may have been left out."""
        return any(len(idf) >= self._most for idf in self._idf)

    @property
    def learned(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays by name, from which `restore` makes the same again."""
        found: dict[str, NDArray[Any]] = {}
        for i, (counter, idf) in enumerate(zip(self._counters, self._idf, strict=True)):
            found |= {f"terms{i}": counter.learned, f"idf{i}": idf}
        return found

    def restore(self, learned: Mapping[str, NDArray[Any]]) -> None:
        """Take over what was learned before, for the same kind."""
        self._idf = [learned[f"idf{i}"] for i in range(len(self._counters))]
        for i, counter in enumerate(self._counters):
            counter.restore(learned[f"terms{i}"])


def _weighed(counts: Any, idf: NDArray[np.float64]) -> Any:
    """Return counts, sparse, shape (n, terms), as rows of unit length: (1 + log count) · idf, as scikit-learn does."""
    numbers = np.arange(1, 1 + int(counts.data.max(initial=1)))
    values = (1 + np.log(numbers))[counts.data - 1]
    values *= idf[counts.indices]
    n_terms = np.diff(counts.indptr)
    lengths = np.ones(counts.shape[0])
    if len(values):
        holding = np.flatnonzero(n_terms)
        lengths[holding] = np.sqrt(np.add.reduceat(values * values, counts.indptr[holding]))
    values /= np.repeat(lengths, n_terms)
    return sparse.csr_array((values, counts.indices, counts.indptr), shape=counts.shape)


def _beside(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr")


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
