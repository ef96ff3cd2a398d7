"""Train and dev out of rows that are all to be learned from: a test part is the caller's.

In: a `Corpus` made of arrays. Out: its two parts, and what was noticed.
"""

from typing import Literal

from secondcoder.corpus.arrays import InputError
from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.dividing import Draft
from secondcoder.corpus.findings import Finding
from secondcoder.errors import SplitError
from secondcoder.settings import SplitSettings


def take_dev(corpus: Corpus, settings: SplitSettings, seed: int) -> tuple[Corpus, Corpus, list[Finding]]:
    """Return train and dev, made by the rules of `secondcoder.split`, without a test part: that is the caller's."""
    draft = Draft(corpus, settings, seed)
    by: Literal["stratified", "group"] = "stratified" if corpus.groups is None else "group"
    try:
        draft.divide(draft.rows, by, draft.wanted(len(draft.rows), ("dev",)))
    except SplitError as error:
        raise InputError(
            f"The {len(corpus)} rows cannot be divided into train and dev. {error.what}",
            "Give more texts of each class (and of more groups), leave out rare classes, or change dev.",
        ) from error
    train, dev = (
        corpus.take([row for row in draft.rows if draft.part_of.get(row) == part]) for part in ("train", "dev")
    )
    learned = [name for name, count in train.label_counts().items() if count]
    if len(learned) < 2 or not len(dev):
        raise InputError(
            f"Divided by group, train has {len(train)} rows with the labels {learned}, and dev has {len(dev)} rows.",
            "Give more groups, choose another seed, or leave the groups out.",
        )
    return train, dev, draft.findings
