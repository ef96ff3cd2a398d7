"""A part of dev that is used for nothing else.

In: the dev part. Out: what still chooses epoch and temperature, and what is set aside to choose the confidence from
which on labels are accepted: a promise about errors holds only for texts that chose nothing else.
"""

from typing import Literal

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.dividing import Draft
from secondcoder.corpus.findings import Finding
from secondcoder.errors import SplitError
from secondcoder.settings import SplitSettings

_SHARE = 0.5


def set_aside(dev: Corpus, *, seed: int) -> tuple[Corpus, Corpus, list[Finding]]:
    """Return dev without what is set aside, the half that is, and what was noticed.

    Label shares are kept, rows of one text stay together, and so do groups, whose texts are not independent: then the
    promise holds by assumption only, and a finding says so.

    Raises
    ------
    SplitError
        If dev is too small to be halved.
    """
    draft = Draft(dev, SplitSettings(dev=_SHARE), seed)
    by: Literal["stratified", "group"] = "stratified" if dev.groups is None else "group"
    try:
        draft.divide(draft.rows, by, draft.wanted(len(draft.rows), ("dev",)))
        kept, reserved = (
            dev.take([row for row in draft.rows if draft.part_of.get(row) == part]) for part in ("train", "dev")
        )
    except SplitError as error:
        raise SplitError(f"Dev ({len(dev)} rows) cannot be halved. {error.what}", "Make dev larger.") from error
    if not len(kept) or not len(reserved):
        raise SplitError(
            f"Dev has {len(dev)} rows of too few groups to set a part aside.", "Make dev larger, or leave --max-error."
        )
    found = []
    if dev.groups is not None:
        found.append(
            Finding(
                "grouped-promise",
                "warning",
                "The texts that choose the confidence for --max-error come in groups "
                f"({len(set(reserved.units or ()))} of them). The promise about errors is proved for texts drawn "
                "independently of each other.",
                "Check the error among accepted labels on a coded sample of the corpus.",
            )
        )
    return kept, reserved, found
