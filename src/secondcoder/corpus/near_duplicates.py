"""Texts that are the same, or nearly.

In: texts, and the rows to look at. Out: `NearDuplicates`, the rows of each text, and the pairs of texts that are as
similar as `SIMILAR` or more; from it, the sets of rows that should stay together and the rows that have a copy or
near-copy in another part.

Two rows are copies if their texts are the same after `normalise`, however short they are. Two texts are compared by
their character 5-grams: the set of all runs of five characters of what `normalise` returns. The similarity is the
cosine of the two sets,
``|A ∩ B| / √(|A| |B|)``: each 5-gram counts once, without weights, so that it depends on the two texts alone. Whether a
pair is similar enough is decided in whole numbers, so that no rounding on any processor decides on a split.
"""

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from secondcoder.corpus.corpus import Part

SIMILAR = 0.8
"""Cosine from which two texts are near-duplicates.

Measured on sentences of 12 manifestos (9,448) and on 5,000 film reviews. Among reviews the choice does not matter: two
pairs are above 0.95, none between 0.5 and 0.95. Among sentences, all of the pairs from 0.8 on that were read are one
sentence said twice ("Our next steps. An extra 6,000 police recruits raising police numbers to their highest ever level"
and "16 An extra 6,000 police recruits …", 0.84); between 0.7 and 0.8 some are and some are not; below 0.7 most share a
turn of phrase and say something else. At 0.9, one changed word in a sentence of 100 characters would go unnoticed.
"""
EXACT_UP_TO = 50_000
"""Texts up to which all pairs are found."""
MOST_WORK = 500_000_000
"""5-grams in the similar pairs from which the search goes over to hashing also below: 2.5 million pairs of sentences.

That takes seconds. 10,000 copies of one form letter, on the other hand, would make 50 million pairs of long texts.
"""
_ROOT, _ROOT_D, _N, _D = 4, 5, 16, 25  # SIMILAR and its square as fractions
_BANDS, _WIDTH = 32, 5  # of the least similar pairs that count (Jaccard 0.64), 97 % share a band; at 0.75, all do
_CROWD = 50  # texts in a bucket beyond which each is compared with a few of them only
_LEADERS = 4
_CHARACTERS = 4_000_000  # of text that are hashed at a time
_WORK = 2_000_000  # products of matrix entries that are held at a time
_PRIME = np.uint64(0x9E3779B97F4A7C15)
Ints = NDArray[np.int64]
Pairs = tuple[Ints, Ints, Ints, bool]


def similar_pairs(texts: Sequence[str], *, exact_up_to: int = EXACT_UP_TO, most_work: int = MOST_WORK) -> Pairs:
    """Return first and second text of each pair, squared cosine in millionths, and whether all pairs were found.

    Parameters
    ----------
    texts
        All different, each of five characters or more. What is found does not depend on their order if all are found.
    exact_up_to, most_work
        As `EXACT_UP_TO` and `MOST_WORK`.
    """
    if len(texts) <= exact_up_to:
        found = _all_pairs(texts, most_work)
        if found is not None:
            return *found, True
    return *_hashed_pairs(texts), False


def _all_pairs(texts: Sequence[str], most: int) -> tuple[Ints, Ints, Ints] | None:
    """Return all pairs, or None if they hold more than so many 5-grams."""
    grams = _sets(texts)
    sizes = np.diff(grams.indptr)  # (n,)
    # Let x be no larger than y. If they are similar, they share 0.8 √(|x| |y|) or more, which is at least 0.8 |x|, and,
    # as that is at most |x|, at least 0.64 |y|. From the rarest 5-gram on, so many hold a shared one at the latest:
    as_larger = sizes - -(-_N * sizes // _D) + 1
    as_smaller = sizes - -(-_ROOT * sizes // _ROOT_D) + 1
    larger, smaller = _prefixes(grams, as_larger, as_smaller)
    ends = [grams.indices[grams.indptr[:-1] + lengths - 1] for lengths in (as_larger, as_smaller)]
    rest = [sizes - lengths for lengths in (as_larger, as_smaller)]
    found = [(np.empty(0, np.int64),) * 3]
    total, start = 0, 0
    work = np.concatenate([[0], np.cumsum(np.diff(smaller.indptr)[larger.indices], dtype=np.int64)])[larger.indptr]
    while start < len(texts):
        stop = _reach(work, start)
        product = (larger[start:stop] @ smaller).tocoo()
        y, x, shared = product.row.astype(np.int64) + start, product.col.astype(np.int64), product.data
        # No more can be shared than that, what is left of the set whose prefix ends first, and no more than x has.
        most_shared = np.minimum(shared + np.where(ends[0][y] <= ends[1][x], rest[0][y], rest[1][x]), sizes[x])
        keep = (sizes[x] < sizes[y]) | ((sizes[x] == sizes[y]) & (x < y))
        keep &= _similar(most_shared, sizes[x], sizes[y])
        x, y = x[keep], y[keep]
        shared = _count_shared(grams, x, y)
        keep = _similar(shared, sizes[x], sizes[y])
        x, y, shared = x[keep], y[keep], shared[keep]
        found.append((np.minimum(x, y), np.maximum(x, y), _closeness(shared, sizes[x], sizes[y])))
        total += int((sizes[x] + sizes[y]).sum())
        if total > most:
            return None
        start = stop
    first, second, closeness = (np.concatenate([pair[i] for pair in found]) for i in range(3))
    return first, second, closeness


def _prefixes(grams: csr_array, longer: Ints, shorter: Ints) -> tuple[csr_array, csr_array]:
    """Return the rarest 5-grams of each set, (n, 5-grams) as many as `longer` and (5-grams, n) as `shorter` says.

    Those that only one set has are left out.
    """
    own = np.repeat(np.arange(len(longer)), longer)
    place = np.arange(len(own)) - np.repeat(np.cumsum(longer) - longer, longer)
    values = grams.indices[grams.indptr[:-1][own] + place]
    shared = values >= 2 << _FREE  # the count stands in the upper bits
    own, place = own[shared], place[shared]
    names, columns, counts = np.unique(values[shared], return_inverse=True, return_counts=True)
    keep = counts[columns] > 1
    own, place, columns = own[keep].astype(np.int32), place[keep], columns[keep].astype(np.int32)
    index = place < shorter[own]
    shape = (len(longer), max(len(names), 1))
    return (
        csr_array((np.ones(len(own), np.int32), (own, columns)), shape=shape),
        csr_array((np.ones(int(index.sum()), np.int32), (columns[index], own[index])), shape=shape[::-1]),
    )


_FREE = 48  # bits of a 5-gram's hash that are kept below its count


def _sets(texts: Sequence[str], *, by_rarity: bool = True) -> csr_array:
    """Return the 5-grams of each text, a row each: hashes, ascending, with their rarity above them where wanted.

    With hashes of 48 bits, the count of what two texts of 1,000 5-grams share is off by one once in 280 million pairs.
    """
    bits = min(sum(map(len, texts)).bit_length() + 1, 22)  # of the hash, by which occurrences are counted
    counts = np.zeros(1 << bits, np.int64)
    if by_rarity:
        for hashes, _ in _hashed(texts):
            counts += np.bincount(hashes >> (_FREE - bits), minlength=1 << bits)
    np.minimum(counts, (1 << 14) - 1, out=counts)
    found: list[Ints] = []
    for hashes, ends in _hashed(texts):
        keys = (counts[hashes >> (_FREE - bits)] << _FREE) | hashes
        start = 0
        for end in ends:
            own = np.sort(keys[start : end - 4])
            found.append(own[np.append(True, own[1:] != own[:-1])])
            start = end
    starts = np.concatenate([[0], np.cumsum([len(own) for own in found], dtype=np.int64)])
    flat = np.concatenate(found) if found else np.empty(0, np.int64)
    grams = csr_array((np.ones(len(flat), np.int8), flat, starts), shape=(len(texts), 1 << 62))
    grams.has_sorted_indices = grams.has_canonical_format = True
    return grams


def _hashed(texts: Sequence[str]) -> Iterator[tuple[Ints, list[int]]]:
    """Yield, for some texts at a time, the hash of the five characters from each on, and where each text ends."""
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and (size == 0 or size + len(texts[stop]) <= _CHARACTERS):
            size += len(texts[stop])
            stop += 1
        points = np.frombuffer("".join(texts[start:stop]).encode("utf-32-le", "surrogatepass"), np.uint32)
        codes = points.astype(np.uint64) + np.uint64(1)
        hashes = np.zeros(max(len(codes) - 4, 0), np.uint64)
        for k in range(5):
            hashes = hashes * _PRIME + codes[k : len(codes) - 4 + k]
        hashes ^= hashes >> np.uint64(29)
        hashes *= np.uint64(0xBF58476D1CE4E5B9)
        yield (
            (hashes >> np.uint64(64 - _FREE)).astype(np.int64),
            np.cumsum([len(t) for t in texts[start:stop]]).tolist(),
        )
        start = stop


def _hashed_pairs(texts: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Return the pairs that share a band of their MinHash signature and are similar.

    In a crowded bucket each text is compared with a few others only, and not once it is tied to them: copies of a form
    letter come out as one set, though not each with each.
    """
    n = len(texts)
    few = np.empty(0, np.int64)
    found = [(np.empty(0, np.int64),) * 3]
    tied: Ints = np.arange(n, dtype=np.int64)
    for key in _bands(texts):
        pairs, crowd = _pairs_in_buckets(key)
        few = np.unique(np.concatenate([few, pairs]))
        first, second = np.divmod(crowd, max(n, 1))
        new = tied[first] != tied[second]
        if new.any():
            found.append(_verify(texts, first[new], second[new]))
            one, other = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
            ties = csr_array((np.ones(len(one), np.int8), (one, other)), shape=(n, n))
            tied = connected_components(ties, directed=False)[1].astype(np.int64)
    found.append(_verify(texts, *np.divmod(few, max(n, 1))))
    first, second, closeness = (np.concatenate([pair[i] for pair in found]) for i in range(3))
    _, once = np.unique(first * n + second, return_index=True)
    return first[once], second[once], closeness[once]


def _bands(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Return a key for each band of each text's MinHash signature, shape (bands, n)."""
    random = np.random.PCG64(0)  # its raw bits, which numpy promises not to change
    factors, offsets = random.random_raw(2 * _BANDS * _WIDTH).reshape(2, _BANDS, _WIDTH)
    factors |= np.uint64(1)
    bands = np.empty((_BANDS, len(texts)), np.uint64)
    at = 0
    for hashes, ends in _hashed(texts):
        stops = np.array(ends)
        starts = np.concatenate([[0], stops[:-1]])
        # the least over [start, end - 4) of each text; the last four places straddle two texts
        edges = np.stack([starts, stops - 4], axis=1).ravel()[:-1]
        values = hashes.astype(np.uint64) << np.uint64(64 - _FREE)
        for band in range(_BANDS):
            key = np.zeros(len(stops), np.uint64)
            for k in range(_WIDTH):
                key ^= np.minimum.reduceat(values * factors[band, k] + offsets[band, k], edges)[::2]
                key *= _PRIME
                key ^= key >> np.uint64(31)
            bands[band, at : at + len(stops)] = key
        at += len(stops)
    return bands


def _pairs_in_buckets(keys: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Return the pairs of texts with the same key as ``first * n + second``, and some of those in crowded buckets."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1]))
    sizes = np.diff(np.append(starts, len(order)))
    begin, end = np.repeat(starts, sizes), np.repeat(starts + sizes, sizes)
    crowded = np.repeat(sizes > _CROWD, sizes)
    places = np.arange(len(order))
    found: tuple[list[Ints], list[Ints]] = ([np.empty(0, np.int64)], [np.empty(0, np.int64)])

    def add(one: Ints, other: Ints, to: list[Ints]) -> None:
        first, second = order[one], order[other]
        to.append(np.minimum(first, second) * len(keys) + np.maximum(first, second))

    for step in range(1, int(min(sizes.max(initial=0), _CROWD))):
        within = places[places + step < end]
        few = within[~crowded[within]]
        add(few, few + step, found[0])
        if step <= _LEADERS:
            many = within[crowded[within]]
            add(many, many + step, found[1])  # with a few neighbours
            many = places[crowded & (places != begin + step - 1)]
            add(begin[many] + step - 1, many, found[1])  # and with the first ones
    return np.concatenate(found[0]), np.unique(np.concatenate(found[1]))


def _verify(texts: Sequence[str], first: Ints, second: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the pairs that are similar, and how much."""
    found = [(np.empty(0, np.int64),) * 3]
    for start in range(0, len(first), 20_000):
        one, other = first[start : start + 20_000], second[start : start + 20_000]
        members, at = np.unique(np.concatenate([one, other]), return_inverse=True)
        grams = _sets([texts[t] for t in members.tolist()], by_rarity=False)
        a, b = at[: len(one)], at[len(one) :]
        sizes, shared = np.diff(grams.indptr), _count_shared(grams, a, b)
        keep = _similar(shared, sizes[a], sizes[b])
        found.append((one[keep], other[keep], _closeness(shared, sizes[a], sizes[b])[keep]))
    first, second, closeness = (np.concatenate([pair[i] for pair in found]) for i in range(3))
    return first, second, closeness


def _count_shared(grams: csr_array, first: Ints, second: Ints) -> Ints:
    """Return how many 5-grams the two texts of each pair share, a few pairs at a time."""
    shared = np.empty(len(first), np.int64)
    sizes = np.diff(grams.indptr)
    work = np.concatenate([[0], np.cumsum(sizes[first] + sizes[second])])
    start = 0
    while start < len(first):
        stop = _reach(work, start)
        both = grams[first[start:stop]].multiply(grams[second[start:stop]])
        shared[start:stop] = np.diff(both.tocsr().indptr)
        start = stop
    return shared


def _reach(work: Ints, start: int) -> int:
    """Return where to stop so that the work between is `_WORK` at most, or a single item; `work` is cumulative."""
    return max(start + 1, int(np.searchsorted(work, work[start] + _WORK, side="right")) - 1)


def _similar(shared: Ints, size: Ints, other: Ints) -> NDArray[np.bool_]:
    """Return whether ``shared² ≥ SIMILAR² · size · other``, in whole numbers."""
    return np.asarray(_D * shared * shared >= _N * size * other)


def _closeness(shared: Ints, size: Ints, other: Ints) -> Ints:
    """Return the squared cosine in millionths, rounded down; exact up to three million 5-grams in a text."""
    return np.asarray(shared * shared * 1_000_000 // (size * other))


Name = TypeVar("Name", int, str, tuple[str, str])


class Forest(Generic[Name]):
    """Disjoint sets of names, with the rows that each set has.

    Attributes
    ----------
    rows
        The rows of each set, by its root.
    n
        How many sets there are.
    """

    def __init__(self, rows: Mapping[Name, int]) -> None:
        self.parent: dict[Name, Name] = {name: name for name in rows}
        self.rows: dict[Name, int] = dict(rows)
        self.n = len(rows)

    def root(self, name: Name) -> Name:
        """Return the name that stands for the set."""
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, roots: Sequence[Name]) -> None:
        """Put sets together under the smallest of their roots; `roots` is sorted."""
        for root in roots[1:]:
            self.parent[root] = roots[0]
            self.rows[roots[0]] += self.rows.pop(root)
            self.n -= 1


SHORTEST = 30
"""Characters (after normalisation) from which a text is compared.

In shorter ones a handful of 5-grams decides: "Cost: £1.2 billion per year." and "Cost: £2.0 billion per year." come to
0.71, and "Yes, I agree." would tie together all who say so. Copies of short texts are kept together all the same.
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Texts that are the same, or nearly.

    Attributes
    ----------
    copies
        The rows of each text after normalisation, in an order that does not depend on that of the rows. Every row that
        was looked at stands in one of them.
    first, second
        ndarrays of shape (p,): pairs of positions in `copies`, the most similar first.
    closeness
        ndarray of shape (p,): squared similarity in millionths.
    is_exact
        Whether all pairs were found; else nearly all (`secondcoder.corpus.near_duplicates`).
    """

    copies: tuple[tuple[int, ...], ...]
    first: Ints
    second: Ints
    closeness: Ints
    is_exact: bool = True

    def clusters(self, largest: float) -> list[tuple[int, ...]]:
        """Return sets of rows that are tied to each other by near-duplicates, largest tie first.

        Sets can chain: A is nearly B and B nearly C. Pairs are therefore taken up by falling similarity, and a pair
        that would make a set of more than `largest` rows is not: the chain breaks where it is weakest.
        """
        forest = Forest({t: len(rows) for t, rows in enumerate(self.copies)})
        for one, other in zip(self.first.tolist(), self.second.tolist(), strict=True):
            roots = sorted({forest.root(one), forest.root(other)})
            if len(roots) == 2 and sum(forest.rows[root] for root in roots) <= largest:
                forest.join(roots)
        members: defaultdict[int, list[int]] = defaultdict(list)
        for t, rows in enumerate(self.copies):
            members[forest.root(t)] += rows
        return [tuple(rows) for rows in members.values() if len(rows) > 1]

    def among(self, rows: Iterable[int]) -> "NearDuplicates":
        """Return the copies and pairs among some of the rows only."""
        wanted = set(rows)
        copies = tuple(tuple(row for row in same if row in wanted) for same in self.copies)
        full = np.array([bool(same) for same in copies], dtype=bool)
        place = np.cumsum(full) - 1  # of the texts that are left
        keep = full[self.first] & full[self.second]
        return NearDuplicates(
            tuple(same for same in copies if same),
            place[self.first[keep]],
            place[self.second[keep]],
            self.closeness[keep],
            self.is_exact,
        )

    def taken(self, rows: Sequence[int]) -> "NearDuplicates | None":
        """Return what there is in the corpus of some rows, `Corpus.take`; None where a search in it might find others.

        That is so where pairs are found by hashing.
        """
        if not self.is_exact:
            return None
        place, kept = {row: i for i, row in enumerate(rows)}, self.among(rows)
        return replace(kept, copies=tuple(tuple(place[row] for row in same) for same in kept.copies))

    def closest(self, texts: Sequence[str]) -> dict[int, tuple[int, float]]:
        """Return a pair of rows for each pair of texts that differ, the most similar first, keyed by the one row."""
        found: dict[int, tuple[int, float]] = {}
        for one, other, similarity in self._with_itself():
            row = self.copies[one][0]
            rival = next((r for r in self.copies[other] if texts[r] != texts[row]), None)
            if rival is not None:
                found.setdefault(row, (rival, similarity))
        return found

    def rows(self, texts: Sequence[str]) -> list[int]:
        """Return the rows that have a near-duplicate, or a copy that is not word for word the same."""
        paired = set(self.first.tolist()) | set(self.second.tolist())
        several = {t for t, rows in enumerate(self.copies) if len({texts[row] for row in rows}) > 1}
        return sorted(row for t in paired | several for row in self.copies[t])

    def across(
        self, part_of: Mapping[int, Part], ids: Sequence[str], texts: Sequence[str]
    ) -> dict[int, tuple[int, float]]:
        """Return each row that has a copy or a near-duplicate in another part, with the closest and the similarity.

        Rows come by falling similarity, then by id. Of several rows that are equally close, one with the same text
        word for word is named before others, and then the one with the smallest id.
        """
        found: dict[int, tuple[int, float]] = {}
        for rows, others, similarity in self._neighbours(part_of, ids, texts):
            for row in rows:
                elsewhere = [rival for part, rival in others.items() if part != part_of[row]]
                if elsewhere and row not in found:
                    found[row] = min(elsewhere, key=ids.__getitem__), similarity
        return dict(sorted(found.items(), key=lambda item: (-item[1][1], ids[item[0]])))

    def _neighbours(
        self, part_of: Mapping[int, Part], ids: Sequence[str], texts: Sequence[str]
    ) -> Iterator[tuple[list[int], dict[Part, int], float]]:
        """Yield rows, with a row of each part that they are like and how much; the same word for word first."""
        copies = [[row for row in rows if row in part_of] for rows in self.copies]
        for rows in copies:
            word_for_word: defaultdict[str, list[int]] = defaultdict(list)
            for row in rows:
                word_for_word[texts[row]].append(row)
            yield from ((same, _first_rows(same, part_of, ids), 1.0) for same in word_for_word.values())
        first = [_first_rows(rows, part_of, ids) for rows in copies]
        for one, other, similarity in self._with_itself():
            if len(first[one].keys() | first[other].keys()) > 1:
                yield copies[one], first[other], similarity
                yield copies[other], first[one], similarity

    def _with_itself(self) -> Iterator[tuple[int, int, float]]:
        """Yield pairs of positions with their similarity, those texts first that stand on several rows."""
        yield from ((t, t, 1.0) for t, rows in enumerate(self.copies) if len(rows) > 1)
        for one, other, close in zip(self.first.tolist(), self.second.tolist(), self.closeness.tolist(), strict=True):
            yield one, other, sqrt(close / 1e6)


def _first_rows(rows: Iterable[int], part_of: Mapping[int, Part], ids: Sequence[str]) -> dict[Part, int]:
    """Return the row of each part that has the smallest id."""
    return {part_of[row]: row for row in sorted(rows, key=ids.__getitem__, reverse=True)}


def find_near_duplicates(texts: Sequence[str], rows: Iterable[int]) -> NearDuplicates:
    """Return the copies among the rows, and the pairs of similar texts.

    Parameters
    ----------
    texts
        Of all rows of the corpus.
    rows
        The rows to look at. Texts of fewer than `SHORTEST` characters have copies, and stand in no pair.
    """
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        holders[normalise(texts[row])].append(row)
    distinct = sorted(holders)
    long = np.array([t for t, text in enumerate(distinct) if len(text) >= SHORTEST], dtype=np.int64)
    compared = [distinct[t] for t in long.tolist()]
    characters = sum(map(len, compared))
    if characters > 20_000_000:  # some seconds of work
        _log.info(
            "looking for near-duplicates among %d texts (%.0f million characters)", len(compared), characters / 1e6
        )
    first, second, closeness, is_exact = similar_pairs(compared)
    order = np.lexsort((second, first, -closeness))
    copies = tuple(tuple(holders[text]) for text in distinct)
    return NearDuplicates(copies, long[first[order]], long[second[order]], closeness[order], is_exact)


def normalise(text: str) -> str:
    """Return the text as it is compared: NFKC, case folded, white space made one blank, no punctuation at its ends.

    A text of nothing but punctuation ("?!", "...") is returned as it is, so that it is a copy of the same text only.
    """
    found = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    start, end = 0, len(found)
    while start < end and _is_outer(found[start]):
        start += 1
    while start < end and _is_outer(found[end - 1]):
        end -= 1
    return found[start:end] or text


def _is_outer(character: str) -> bool:
    """Return whether a character at the end of a text is left out: a blank or, by its Unicode category, punctuation."""
    return character == " " or unicodedata.category(character).startswith("P")
