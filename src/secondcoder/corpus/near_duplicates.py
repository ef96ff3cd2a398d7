"""Texts that are nearly the same.

In: texts, and the rows to look at. Out: `NearDuplicates`, the pairs of texts that are as similar as `SIMILAR` or more;
from it, the sets of rows that should stay together and the rows that have a near-copy in another part.

Two texts are compared by their character 5-grams: the set of all runs of five characters, after Unicode normalisation
(NFKC), case folding, and with blanks and line ends made one blank. The similarity is the cosine of the two sets,
``|A ∩ B| / √(|A| |B|)``: each 5-gram counts once, without weights, so that it depends on the two texts alone. Whether a
pair is similar enough is decided in whole numbers, so that no rounding on any processor decides on a split.
"""

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Part
from secondcoder.corpus.forest import Forest
from secondcoder.corpus.shingles import similar_pairs

SHORTEST = 30
"""Characters (after normalisation) from which a text is compared.

In shorter ones a handful of 5-grams decides: "Cost: £1.2 billion per year." and "Cost: £2.0 billion per year." come to
0.71, and "Yes, I agree." would tie together all who say so. Exact copies of short texts are kept together all the same.
"""

Ints = NDArray[np.int64]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Texts that are nearly the same.

    Attributes
    ----------
    copies
        The rows of each text after normalisation, in an order that does not depend on that of the rows.
    first, second
        ndarrays of shape (p,): pairs of positions in `copies`, the most similar first.
    closeness
        ndarray of shape (p,): squared similarity in millionths.
    is_exact
        Whether all pairs were found; else nearly all (`secondcoder.corpus.shingles`).
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
        """Return the pairs among some of the rows only."""
        wanted = set(rows)
        copies = tuple(tuple(row for row in same if row in wanted) for same in self.copies)
        full = np.array([bool(same) for same in copies], dtype=bool)
        keep = full[self.first] & full[self.second]
        return replace(
            self, copies=copies, first=self.first[keep], second=self.second[keep], closeness=self.closeness[keep]
        )

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
        """Return the rows that have a near-duplicate, exact copies not counted as such."""
        paired = set(self.first.tolist()) | set(self.second.tolist())
        several = {t for t, rows in enumerate(self.copies) if len({texts[row] for row in rows}) > 1}
        return sorted(row for t in paired | several for row in self.copies[t])

    def across(self, part_of: Mapping[int, Part], ids: Sequence[str]) -> dict[int, tuple[int, float]]:
        """Return each row that has a near-duplicate (or a copy) in another part, with the closest and the similarity.

        Rows come by falling similarity, then by id. Of several rows that are equally close, the one with the smallest
        id is named.
        """
        parts = [{part_of[row] for row in rows if row in part_of} for rows in self.copies]
        found: dict[int, tuple[int, float]] = {}
        for one, other, similarity in self._with_itself():
            if len(parts[one] | parts[other]) > 1:
                for here, there in ((one, other), (other, one)):
                    rivals = sorted((row for row in self.copies[there] if row in part_of), key=ids.__getitem__)
                    for row in self.copies[here]:
                        if row in part_of and row not in found:
                            rival = next((r for r in rivals if part_of[r] != part_of[row]), None)
                            if rival is not None:
                                found[row] = rival, similarity
        return dict(sorted(found.items(), key=lambda item: (-item[1][1], ids[item[0]])))

    def _with_itself(self) -> Iterator[tuple[int, int, float]]:
        """Yield pairs of positions with their similarity, those texts first that stand on several rows."""
        yield from ((t, t, 1.0) for t, rows in enumerate(self.copies) if len(rows) > 1)
        for one, other, close in zip(self.first.tolist(), self.second.tolist(), self.closeness.tolist(), strict=True):
            yield one, other, sqrt(close / 1e6)


def find_near_duplicates(texts: Sequence[str], rows: Iterable[int]) -> NearDuplicates:
    """Return the pairs of similar texts among the rows.

    Parameters
    ----------
    texts
        Of all rows of the corpus.
    rows
        The rows to look at; those whose text has fewer than `SHORTEST` characters are left out.
    """
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        holders[normalise(texts[row])].append(row)
    distinct = sorted(text for text in holders if len(text) >= SHORTEST)
    characters = sum(map(len, distinct))
    if characters > 20_000_000:  # some seconds of work
        _log.info(
            "looking for near-duplicates among %d texts (%.0f million characters)", len(distinct), characters / 1e6
        )
    first, second, closeness, is_exact = similar_pairs(distinct)
    order = np.lexsort((second, first, -closeness))
    return NearDuplicates(
        tuple(tuple(holders[text]) for text in distinct), first[order], second[order], closeness[order], is_exact
    )


def normalise(text: str) -> str:
    """Return the text as it is compared: NFKC, case folded, every run of white space one blank."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
