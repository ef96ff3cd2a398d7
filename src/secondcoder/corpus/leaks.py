"""Texts of the test part that the model has met, or nearly: how many, which, and what is said of it.

In: a `Corpus`, the part of each row, its near-duplicates. Out: the rows concerned, findings, or a refusal.
`secondcoder.splits.draft` decides what follows.
"""

from collections.abc import Mapping

from secondcoder.corpus.corpus import Corpus, Part
from secondcoder.corpus.findings import Finding, excerpt
from secondcoder.corpus.near_duplicates import SIMILAR, NearDuplicates
from secondcoder.errors import SplitError

LEAKS_AT_MOST = 0.01
"""Share of the rows of a given test part that may stand in another part too, word for word or nearly."""
SHOWN = 5
"""Pairs that a finding names."""
NEARLY = f"but for case, blanks or punctuation around it, or with a similarity of {SIMILAR:g} or more"
"""When a text is nearly another one."""
MAY_DIFFER = "They may rightly have different labels: texts that differ in a negation or a sum of money are alike, too."
"""Said with every advice on near-duplicates."""


def judge_given(corpus: Corpus, part_of: Mapping[int, Part], near: NearDuplicates, *, allow: bool) -> Finding | None:
    """Return what is to be said for ever about allowed leaks, or None if there are few.

    Raises
    ------
    SplitError
        If they are too many and not allowed.
    """
    leaks = near.across(part_of, corpus.ids, corpus.texts)
    own = [row for row in leaks if part_of[row] == "test"]
    n = sum(part == "test" for part in part_of.values())
    exact = sum(corpus.texts[row] == corpus.texts[leaks[row][0]] for row in own)
    counts = f"{len(own):,} of the {n:,} rows of the given test part ({len(own) / n:.1%})"
    kinds = f"{exact:,} word for word, {len(own) - exact:,} nearly ({NEARLY})"
    if allow and own:
        return Finding(
            "leaks-allowed",
            "warning",
            f"Leaks were allowed: {counts} have a text that stands in train or dev too: {kinds}. All rows were left "
            "where the data puts them, so figures on test are optimistic.",
            "Report this with the figures, or let secondcoder split and train again.",
            len(own),
            show_pairs(corpus, {row: leaks[row] for row in own}),
        )
    if len(own) > LEAKS_AT_MOST * n:
        pairs = "; ".join(show_pairs(corpus, {row: leaks[row] for row in own}, most=3))
        raise SplitError(
            f"{counts} have a text that stands in train or dev too, more than {LEAKS_AT_MOST:.0%}: {kinds}. {pairs}.",
            "Let secondcoder split, which keeps such texts in one part (by='stratified' or by='group'), or move them "
            "into one of the parts. To keep the parts as they are all the same, for instance to repeat published "
            "figures: allow_leaks (--allow-leaks).",
        )
    return None


def near_leak_findings(
    corpus: Corpus, part_of: Mapping[int, Part], near: NearDuplicates, *, given: bool
) -> list[Finding]:
    """Return what is to be said about copies that differ in spelling, and near-duplicates, in two parts after all."""
    leaks = near.across(part_of, corpus.ids, corpus.texts)
    if not leaks:
        return []
    own = {row: pair for row, pair in leaks.items() if part_of[row] == "test"}
    n = sum(part == "test" for part in part_of.values())
    in_test = f"; of test {len(own):,} of {n:,} rows ({len(own) / n:.1%})" if n else ""
    why = "as the data has it" if given else "as joining them would have made a group or set too large"
    return [
        Finding(
            "near-duplicate-in-two-parts",
            "warning" if given or len(own) > LEAKS_AT_MOST * n else "note",
            f"Rows whose text is nearly ({NEARLY}) that of a row in another part, {why}: {len(leaks):,}{in_test}.",
            f"Where they say the same, figures on test are optimistic, by up to their share: read them. {MAY_DIFFER}",
            len(leaks),
            show_pairs(corpus, own or leaks),
        )
    ]


def near_duplicate_findings(corpus: Corpus, near: NearDuplicates) -> list[Finding]:
    """Return how many texts are nearly the same as another."""
    rows = near.rows(corpus.texts)
    if not rows:
        return []
    found = "" if near.is_exact else " found by hashing, so a few may be missing,"
    return [
        Finding(
            "near-duplicate",
            "note",
            f"Rows whose text is nearly that of another row ({NEARLY}):{found} {len(rows):,}; "
            "a split of ours keeps them in one part where sizes allow.",
            MAY_DIFFER,
            len(rows),
            show_pairs(corpus, near.closest(corpus.texts)),
        )
    ]


def show_pairs(corpus: Corpus, pairs: Mapping[int, tuple[int, float]], *, most: int = SHOWN) -> tuple[str, ...]:
    """Return ids, similarity and beginnings of a few pairs, each pair once."""
    shown: list[str] = []
    seen: set[frozenset[int]] = set()
    for row, (other, similarity) in pairs.items():
        if frozenset((row, other)) not in seen and len(shown) < most:
            seen.add(frozenset((row, other)))
            one, two = _where_they_differ(corpus.texts[row], corpus.texts[other])
            if corpus.texts[row] == corpus.texts[other]:
                shown.append(f"{corpus.ids[row]} = {corpus.ids[other]}: {one!r}")
            else:
                shown.append(f"{corpus.ids[row]} ~ {corpus.ids[other]} ({similarity:.2f}): {one!r} / {two!r}")
    return tuple(shown)


def _where_they_differ(one: str, other: str) -> tuple[str, str]:
    """Return an excerpt of each text, from a little before the first difference on."""
    texts = [" ".join(text.split()) for text in (one, other)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(same - 20, 0) if 40 < same < max(map(len, texts)) else 0
    first, second = (("…" if start else "") + excerpt(text[start:], 60) for text in texts)
    return first, second
