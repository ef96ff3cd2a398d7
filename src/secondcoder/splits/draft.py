"""A split in the making: rules and findings.

In: a `Corpus`, the settings, a seed. Out: `Draft`, which holds the part of each row, the reason of each row that is in
none, and what was noticed. `secondcoder.splits.split` makes a `Split` of it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Literal

from secondcoder.corpus.corpus import PARTS, Corpus, Part
from secondcoder.corpus.findings import Finding, Severity, excerpt
from secondcoder.corpus.leaks import LEAKS_AT_MOST, judge_given, near_duplicate_findings, near_leak_findings
from secondcoder.corpus.near_duplicates import NearDuplicates, find_near_duplicates
from secondcoder.errors import SplitError
from secondcoder.settings import SplitSettings
from secondcoder.splits.assignment import assign_by_strata, assign_groups, assign_sets, rarest_labels
from secondcoder.splits.units import (
    FEW_GROUPS,
    FEWEST_GROUPS,
    Groups,
    cluster_units,
    group_units,
    repeated_texts,
    text_units,
)

Resolved = Literal["random", "stratified", "group", "given"]
FAR_FROM_ASKED = 0.2
"""Relative deviation of a part's size from which a finding says so."""
UNEVEN = 0.1
"""Deviation of a label's share in a part from its share over all from which a finding says so."""
FOLDS = 5
"""Folds that are advised then."""


class Draft:
    """A split in the making: the part of each row, the reason of each unused one, and what was noticed."""

    def __init__(self, corpus: Corpus, settings: SplitSettings, seed: int, near: NearDuplicates | None = None) -> None:
        self.corpus = corpus
        self.settings = settings
        self.seed = seed
        self.rows = corpus.usable()
        self._near = near
        self.part_of: dict[int, Part] = {}
        self.reasons: dict[int, str] = {}
        self.findings: list[Finding] = []
        usable = set(self.rows)
        for row in range(len(corpus)):
            if row not in usable:
                self.reasons[row] = "no label" if corpus.labels[row] is None else "empty text"
        for reason, kind, cure in (
            ("no label", "missing-label", "Label them if they should take part."),
            ("empty text", "empty-text", "Check the text column if they should have a text."),
        ):
            self._note_unused(reason, kind, cure, "note")
        if not self.rows:
            raise SplitError(
                f"None of the {len(corpus)} rows has both a text and a label.", "Check the text and label columns."
            )

    @cached_property
    def near(self) -> NearDuplicates:
        """Copies and near-duplicates among the usable rows; looked for once, as that takes seconds on long texts."""
        if self._near is None or not self._near.is_exact:
            return find_near_duplicates(self.corpus.texts, self.rows)
        return self._near.among(self.rows)

    def wanted(self, n: int, parts: Iterable[Part]) -> dict[Part, int]:
        """Return the rows asked for each part out of `n`, what is left over being train."""
        sizes: dict[Part, int] = {}
        for part in parts:
            size = getattr(self.settings, part)
            sizes[part] = int(size) if size >= 1 else max(1, int(n * size + 0.5))
        train = n - sum(sizes.values())
        if train < 1:
            asked = " and ".join(
                f"{part} {getattr(self.settings, part):g} ({rows} rows)" for part, rows in sizes.items()
            )
            raise SplitError(f"{asked} leave no train rows out of {n}.", "Ask for smaller parts, or label more rows.")
        return {"train": train, **sizes}

    def divide(self, rows: Sequence[int], by: Resolved, wanted: dict[Part, int]) -> None:
        """Give each of the rows to one of the wanted parts."""
        corpus, near = self.corpus, self.near.among(rows)
        largest = min(size for part, size in wanted.items() if part != "train") / 2
        clusters = near.clusters(largest)
        if by == "group":
            assert corpus.groups is not None  # `_resolve` has seen to it
            groups = group_units(
                corpus.ids, corpus.groups, near.copies, clusters=clusters, largest=largest, fewest=len(wanted)
            )
            units, parts = (
                groups.units,
                assign_groups(groups.units, self._sets or self._strata(), wanted, seed=self.seed),
            )
            self._note_groups(groups)
        else:
            sets = self._sets if by == "stratified" else None
            strata = self._strata() if by == "stratified" else dict.fromkeys(rows, "")
            units = text_units(corpus.ids, near.copies)
            units = cluster_units(units, clusters, strata, largest=largest, fewest=len(wanted))
            if sets is not None:
                parts = assign_sets(units, sets, wanted, seed=self.seed)
            else:
                parts = assign_by_strata(units, strata, wanted, seed=self.seed)
        for unit, part in zip(units, parts, strict=True):
            self.part_of.update(dict.fromkeys(unit.rows, part))
        self._note_sizes(wanted, by)
        self._leave_out_repeated(rows, "note")
        divided = {row: self.part_of[row] for row in rows if row in self.part_of}
        self.findings += near_duplicate_findings(corpus, near)
        self.findings += near_leak_findings(corpus, divided, near, given=False)

    def divide_as_given(self) -> Resolved:
        """Give each row to the part that the data names; take dev out of train if no dev is given."""
        given = self.corpus.parts
        assert given is not None  # `_resolve` has seen to it
        for row in self.rows:
            part = given[row]
            if part is None:
                self.reasons[row] = "no part given"
            else:
                self.part_of[row] = part
        self._note_unused("no part given", "no-part-given", "Check the split column.", "warning")
        present = set(self.part_of.values())
        afresh: Resolved = "stratified" if self.corpus.groups is None else "group"
        if present == {"train"}:
            self._note(
                "only-train-given",
                f"The data gives a train part only; dev and test were taken out of it ({afresh}).",
            )
            self.divide(list(self.part_of), afresh, self.wanted(len(self.part_of), ("dev", "test")))
            return afresh
        if missing := {"train", "test"} - present:
            named = sum(part in missing for part in given)
            raise SplitError(
                f"The data gives no usable rows for {' and '.join(sorted(missing))}"
                f"{f' ({named} rows without label or text)' if named else ''}.",
                "Correct the split column, or split with by='stratified' or by='group'.",
            )
        allowed = judge_given(self.corpus, self.part_of, self.near, allow=self.settings.allow_leaks)
        if allowed is None:
            self._leave_out_repeated(list(self.part_of), "warning")
            self.findings += near_leak_findings(self.corpus, self.part_of, self.near, given=True)
        else:
            self.findings.append(allowed)
        if "dev" not in present:
            train = [row for row, part in self.part_of.items() if part == "train"]
            self._note("dev-from-train", f"The data gives no dev part; it was taken out of train ({afresh}).")
            self.divide(train, afresh, self.wanted(len(train), ("dev",)))
        return "given"

    def look_at_parts(self) -> None:
        """Note what the parts lack, and groups that stand in two of them; refuse an empty part."""
        self._note_groups_in_two_parts()
        self._note_few_groups()
        counts: dict[Part, Counter[str]] = {part: Counter() for part in PARTS}
        sizes, sets = Counter(self.part_of.values()), self.corpus.label_sets
        for row, part in self.part_of.items():
            counts[part].update(sets[row] or ())
        whole = sum(counts.values(), Counter())
        for part, found in counts.items():
            if not sizes[part]:
                raise SplitError(
                    f"No row is left for {part}: all its texts stand in another part too.",
                    "Remove the duplicate texts, or split with by='stratified'.",
                )
            if absent := [name for name in self.corpus.label_names if whole[name] and not found[name]]:
                self._note(
                    "label-not-in-part",
                    f"{part} has no text with the label {', '.join(map(repr, absent))}.",
                    cure="Label more texts of it, or try another seed or way to split.",
                    severity="warning",
                )
            shares = {name: (found[name] / sizes[part], whole[name] / sizes.total()) for name in whole}
            if not shares:
                continue
            name, (own, overall) = max(shares.items(), key=lambda item: (abs(item[1][0] - item[1][1]), item[0]))
            if abs(own - overall) > UNEVEN:
                self._note(
                    "label-shares-differ",
                    f"The label {name!r} has a share of {own:.0%} in {part} and of {overall:.0%} over all parts.",
                    cure="Try another seed or, where groups are the reason, a finer group column.",
                    severity="warning",
                )

    @cached_property
    def _sets(self) -> dict[int, tuple[str, ...]] | None:
        """The labels of each usable row, where it may have several and shares of labels are what is to be kept."""
        if self.settings.stratify or not self.corpus.multi_label:
            return None
        sets = self.corpus.label_sets
        return {row: sets[row] or () for row in self.rows}

    def _strata(self) -> dict[int, str]:
        """Return the stratum of each usable row, spelled out, as it may stand in a message."""
        if not self.settings.stratify:
            labels = rarest_labels(self.corpus)
            return {row: f"The label {labels[row]!r}" for row in self.rows}
        columns = {name: self.corpus.column(name) for name in self.settings.stratify}
        return {row: ", ".join(f"{name}={values[row]!r}" for name, values in columns.items()) for row in self.rows}

    def _leave_out_repeated(self, rows: Iterable[int], severity: Severity) -> None:
        repeated = repeated_texts(self.corpus.texts, {row: self.part_of[row] for row in rows})
        for row, keeper in repeated.items():
            self.reasons[row] = f"text also in {keeper}"
        if not repeated:
            return
        dropped = Counter(self.part_of.pop(row) for row in repeated)
        counts = ", ".join(f"{n:,} of {part}" for part, n in sorted(dropped.items()))
        self._note(
            "text-in-two-parts",
            f"Rows left out because their exact text stands in another part too: {len(repeated):,} ({counts}).",
            rows=sorted(repeated),
            examples=sorted({self.corpus.texts[row] for row in repeated}),
            severity="warning" if len(repeated) > LEAKS_AT_MOST * len(self.rows) else severity,
        )

    def _note_groups_in_two_parts(self) -> None:
        if self.corpus.groups is None:
            return
        parts: dict[str, set[Part]] = {}
        for row, part in self.part_of.items():
            parts.setdefault(self.corpus.groups[row], set()).add(part)
        several = {group for group, found in parts.items() if group and len(found) > 1}
        if several:
            self._note(
                "group-in-two-parts",
                f"Groups that stand in more than one part: {len(several):,} of {len(parts):,}; figures "
                "on test say little about groups that the model has not seen.",
                cure="Split with by='group' if the model is to label new groups.",
                rows=[row for row in self.part_of if self.corpus.groups[row] in several],
                severity="warning",
                examples=sorted(several),
            )

    def _note_few_groups(self) -> None:
        units = self.corpus.units
        if units is None:
            return
        n, in_test = (
            len({units[row] for row, part in self.part_of.items() if part in parts}) for parts in (PARTS, ("test",))
        )
        if FEWEST_GROUPS <= n < FEW_GROUPS:
            self._note(
                "few-groups",
                f"The texts come from {n} groups, {in_test} of them in test: figures on test tell little about others.",
                cure="For the figures of a paper, let every group be judged once the model is trained: secondcoder "
                f"evaluate RUN --folds {min(FOLDS, n)}. That opens the test part.",
                severity="warning",
            )

    def _note_groups(self, groups: Groups) -> None:
        if groups.joined:
            self._note(
                "groups-joined",
                f"Groups that share texts (or nearly) and were joined, so that no text stands in two parts: "
                f"{sum(map(len, groups.joined)):,}, into {len(groups.joined):,}.",
                examples=[" + ".join(names[:4]) + (" + …" if len(names) > 4 else "") for names in groups.joined],
            )
        if groups.apart:
            self._note(
                "groups-kept-apart",
                "Texts that stand in several groups, which were not joined for them, as they would have become too "
                f"large: {len(groups.apart):,}; rows that have it word for word stay in one part only.",
                examples=[self.corpus.texts[min(rows, key=self.corpus.ids.__getitem__)] for rows in groups.apart],
            )
        if groups.alone and "missing-group" not in {finding.kind for finding in self.corpus.findings}:
            self._note(
                "missing-group",
                f"Rows without a group: {groups.alone:,}; each was treated as a group of its own.",
                cure="Fill the group column if they belong to documents.",
                severity="warning",
            )

    def _note_sizes(self, wanted: dict[Part, int], by: Resolved) -> None:
        got = Counter(self.part_of.values())
        off = [part for part, size in wanted.items() if abs(got[part] - size) > max(1, FAR_FROM_ASKED * size)]
        if off:
            self._note(
                "sizes-off",
                f"{', '.join(f'{part} has {got[part]} rows instead of {wanted[part]}' for part in off)}, as "
                f"{'groups' if by == 'group' else 'rows of the same text (or nearly)'} stay together.",
                cure="Use a finer group column, or other sizes." if by == "group" else "Ask for other sizes.",
                severity="warning",
            )

    def _note_unused(self, reason: str, kind: str, cure: str, severity: Severity) -> None:
        if rows := [row for row, found in self.reasons.items() if found == reason]:
            message = f"Rows that are in no part ({reason}): {len(rows):,} of {len(self.corpus):,}."
            self._note(kind, message, cure=cure, rows=rows, severity=severity)

    def _note(
        self,
        kind: str,
        message: str,
        *,
        cure: str = "",
        severity: Severity = "note",
        rows: Sequence[int] = (),
        examples: Sequence[str] = (),
    ) -> None:
        shown = [excerpt(example, 80) for example in examples[:5]] or [self.corpus.ids[row] for row in rows[:5]]
        self.findings.append(Finding(kind, severity, message, cure, len(rows), tuple(shown)))
