"""Train, dev and test: who learns, who chooses, who judges.

In: a `Corpus`. Out: `Split`, three corpora that share no row, no text word for word and (where asked) no group, and
every other row with the reason why it is in none of them. Copies that differ in case, blanks or outer punctuation stay
together where rows are divided by chance. Only a given split may share texts, where that was allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from secondcoder.corpus.arrays import InputError
from secondcoder.corpus.column_leaks import revealing_findings
from secondcoder.corpus.corpus import PARTS, Corpus, Part
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.near_duplicates import NearDuplicates
from secondcoder.errors import SplitError
from secondcoder.settings import DEFAULT_SEED, By, SplitSettings, as_names, check_seed
from secondcoder.splits.draft import Draft, Resolved

RULES = 2
"""Number of the rules by which rows are divided.

1: copies were texts that are the same character by character; 2: texts that are the same after
`secondcoder.corpus.near_duplicates.normalise`.
"""


@dataclass(frozen=True)
class Unused:
    """A row that is in no part.

    Attributes
    ----------
    id
        Of the row.
    reason
        ``"no label"``, ``"empty text"``, ``"no part given"``, ``"text also in dev"`` or ``"text also in test"``.
    """

    id: str
    reason: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """A corpus divided into train, dev and test.

    Attributes
    ----------
    train, dev, test
        Rows in the order of the corpus; dev chooses, test judges once.
    by
        How it was divided, ``"auto"`` resolved.
    settings
        What was asked.
    seed
        What chance depended on.
    unused
        Every row of the corpus that is in no part.
    findings
        What was noticed while dividing, and columns that almost give the label or the given part away.
    """

    train: Corpus
    dev: Corpus
    test: Corpus
    by: Resolved
    settings: SplitSettings
    seed: int
    unused: tuple[Unused, ...] = ()
    findings: tuple[Finding, ...] = ()

    def part_of(self) -> dict[str, Part]:
        """Return the part of each id; ids that are in no part are left out."""
        return {id_: part for part in PARTS for id_ in getattr(self, part).ids}

    def _repr_html_(self) -> str:
        counts = {part: getattr(self, part).label_counts() for part in PARTS}
        head = "".join(f"<th>{part}</th>" for part in PARTS)
        lines = "".join(
            f"<tr><td>{escape(name)}</td>{''.join(f'<td>{counts[part][name]:,}</td>' for part in PARTS)}</tr>"
            for name in self.train.label_names
        )
        sums = "".join(f"<td>{len(getattr(self, part)):,}</td>" for part in PARTS)
        notes = "".join(f"<li>{escape(finding.message)}</li>" for finding in self.findings)
        return (
            f"<p><b>Split</b> ({self.by}, seed {self.seed}): {len(self.unused):,} rows unused</p>"
            f"<table><tr><th>label</th>{head}</tr>{lines}<tr><td>all</td>{sums}</tr></table><ul>{notes}</ul>"
        )


def split(
    corpus: Corpus,
    *,
    by: By = "auto",
    stratify: Sequence[str] = (),
    dev: float = 0.2,
    test: float = 0.2,
    allow_leaks: bool = False,
    seed: int = DEFAULT_SEED,
) -> Split:
    """Return the corpus divided into train, dev and test.

    Rows without a label or with an empty text are left out and counted. The division depends on the seed and on the
    ids (or groups), not on the order of the rows.

    Copies are rows whose texts are the same but for case, blanks, Unicode form and the punctuation at both ends,
    however short they are (`secondcoder.corpus.near_duplicates.normalise`). Where rows are divided by chance, copies go
    together. Where groups are, groups that share a text are joined as long as the joined group has at most half the
    rows of the smaller of dev and test, and three groups are left. Beyond that, as with a sentence that every document
    contains, the groups stay apart, and rows that have a text word for word are kept in one part only: in test if it
    stands there, else in dev; the others become unused. In given parts the same rule holds, and nothing is joined.

    Near-duplicates (the same 5-grams but for a changed word or two) are kept together in the same way, sets of them up
    to the same half. Beyond, they stay apart, as do copies that are spelled in another way, and no row is left out for
    it. In given parts they stay where they are. Findings count all of this. Copies may have different labels: nothing
    is merged, and no label is changed.

    Parameters
    ----------
    corpus
        Texts with labels, at least one for each part.
    by
        ``"random"``; ``"stratified"``; ``"group"``, where no group stands in two parts and the shares of the strata
        are as even as the groups allow; ``"given"`` by the data; or ``"auto"``: given if the corpus has parts, else
        by group if it has groups, else stratified.
    stratify
        Columns whose combined values are the strata; the label if none is named.
    dev, test
        Sizes in rows: a share below 1, a count from 1 on. If parts are given and dev is not, dev is taken out of the
        given train part, by group if there are groups; a share is then one of the train part.
    allow_leaks
        Keep every row of given parts where it is, whatever test shares with train and dev. A finding counts it, which
        goes into the run and its report.
    seed
        Another seed gives another split.

    Raises
    ------
    SplitError
        If the request is impossible, or more than 1 % of the rows of a given test part have a text that stands in
        another part too, word for word or nearly, and this was not allowed.
    SettingsError
        If a size is not a share or a count.
    ColumnError
        If a column of `stratify` is not there.
    """
    settings = SplitSettings(by=by, stratify=as_names(stratify), dev=dev, test=test, allow_leaks=allow_leaks)
    return divide(corpus, settings, seed=seed)


def divide(corpus: Corpus, settings: SplitSettings, *, seed: int, near: NearDuplicates | None = None) -> Split:
    """Return what `split` does, with the settings in one piece.

    What `find_near_duplicates` has found among the rows of the corpus that have a text may be handed in.
    """
    check_seed(seed)
    resolved = _resolve(corpus, settings)
    draft = Draft(corpus, settings, seed, near)
    if resolved == "given":
        resolved = draft.divide_as_given()
    else:
        draft.divide(draft.rows, resolved, draft.wanted(len(draft.rows), ("dev", "test")))
    draft.look_at_parts()
    return Split(
        **{part: corpus.take([row for row in draft.rows if draft.part_of.get(row) == part]) for part in PARTS},
        by=resolved,
        settings=settings,
        seed=seed,
        unused=tuple(Unused(corpus.ids[row], draft.reasons[row]) for row in sorted(draft.reasons)),
        findings=(*draft.findings, *revealing_findings(corpus)),
    )


def _resolve(corpus: Corpus, settings: SplitSettings) -> Resolved:
    by = settings.by
    if by == "group" and corpus.groups is None:
        raise SplitError("A split by group was asked, and the data has no groups.", "Name the group column.")
    if by == "given" and corpus.parts is None:
        raise SplitError(
            "The given split was asked, and the data gives no parts.", "Name the split column, or choose another way."
        )
    if by == "random" and settings.stratify:
        raise SplitError(
            f"--by random ignores --stratify {', '.join(settings.stratify)}.",
            "Take --by stratified, or remove --stratify.",
        )
    if by != "auto":
        return by
    if corpus.parts is not None:
        return "given"
    return "stratified" if corpus.groups is None else "group"


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
