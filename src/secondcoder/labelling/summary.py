"""What was labelled: the counts.

In: counts. Out: `Tally` while they grow, `LabelSummary` at the end.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.tasks import rules_of_model
from secondcoder.labelling.columns import NOT_CONFIDENT
from secondcoder.labelling.outputs import Output
from secondcoder.storage import from_plain


@dataclass
class Tally:
    """Counts that grow while a corpus is labelled.

    Attributes
    ----------
    rows
        Rows that came out.
    labels
        Rows of each label, by name.
    reasons
        Rows without a label, by the reason.
    truncated
        Rows whose text was cut before it was read.
    rejected
        Records of the input that were no rows.
    seconds
        Spent on all this.
    """

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    rejected: int = 0
    seconds: float = 0.0

    def add(self, other: "Tally") -> None:
        """Add the counts of more rows."""
        self.rows += other.rows
        self.labels.update(other.labels)
        self.reasons.update(other.reasons)
        self.truncated += other.truncated
        self.rejected += other.rejected
        self.seconds += other.seconds

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {**vars(self), "labels": dict(self.labels), "reasons": dict(self.reasons)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the tally that `to_dict` made plain."""
        return cls(**{**values, "labels": Counter(values["labels"]), "reasons": Counter(values["reasons"])})


@dataclass(frozen=True)
class LabelSummary:
    """What one labelling did.

    Attributes
    ----------
    output, manifest
        The labelled file or folder, and the manifest beside it.
    rows
        Rows that came out.
    labelled
        Rows with a label.
    unlabelled
        Rows without one, by the reason.
    truncated
        Rows whose text was cut before it was read.
    rejected
        Records of the input that are no rows, and so are not in the output.
    rejects
        The file that they stand in, with their places and reasons, or None where there are none.
    label_counts
        Labelled rows by label, in the order of the label names; where a text may have several, it counts for each.
    seconds
        From the first row read to the last labelled, without the time between a stop and going on.
    findings
        What the user should know about the output.
    no_class
        Of the labelled rows, those that were given no class, where a text may have several; else None.
    """

    output: Path
    manifest: Path
    rows: int
    labelled: int
    unlabelled: dict[str, int]
    truncated: int
    label_counts: dict[str, int]
    seconds: float
    rejected: int = 0
    rejects: Path | None = None
    findings: tuple[Finding, ...] = ()
    no_class: int | None = None

    @property
    def label_shares(self) -> dict[str, float]:
        """Share of each label among the labelled rows, by name; uncorrected for the model's errors.

        They sum to 1 where a text has one label, and to anything where it may have several.
        """
        return {name: count / max(self.labelled, 1) for name, count in self.label_counts.items()}

    @property
    def texts_per_second(self) -> float:
        """Texts scored a second."""
        scored = self.labelled + self.unlabelled.get(NOT_CONFIDENT, 0)
        return scored / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return {
            **asdict(self),
            "output": str(self.output),
            "manifest": str(self.manifest),
            "rejects": None if self.rejects is None else str(self.rejects),
            "label_shares": self.label_shares,
            "texts_per_second": self.texts_per_second,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def of(cls, output: Output, tally: Tally, model: Mapping[str, Any], findings: tuple[Finding, ...] = ()) -> Self:
        """Return the summary of an output with these counts, labelled by a model as the manifest describes it."""
        return cls(
            output=output.path,
            manifest=output.manifest,
            rows=tally.rows,
            labelled=tally.rows - tally.reasons.total(),
            unlabelled=dict(tally.reasons),
            truncated=tally.truncated,
            label_counts={name: tally.labels[name] for name in model["label_names"]},
            seconds=tally.seconds,
            rejected=tally.rejected,
            rejects=output.rejected if tally.rejected else None,
            findings=findings,
            no_class=rules_of_model(model).no_class(tally.labels),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary that `to_dict` made plain."""
        kept = {"no_class": None} | {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        found: Self = from_plain(cls, kept)
        return found


def confidence_findings(tally: Tally, min_confidence: float | None) -> tuple[Finding, ...]:
    """Return what to say about rows that were left without a label because the model was not sure."""
    n = tally.reasons[NOT_CONFIDENT]
    if not n:
        return ()
    return (
        Finding(
            kind="selected-rows",
            severity="warning",
            message=f"{n:,} rows have no label because its probability was below {min_confidence}.",
            cure="Those that have one are a selection, not a sample: some labels and kinds of text are easier than "
            "others, so shares and regressions on the labelled rows alone are biased.",
            rows=n,
        ),
    )


def departure_findings(model: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return what to say where a model labelled with another backend or precision than its figures were computed with.

    Parameters
    ----------
    model
        What `secondcoder.model.model.Model.summary` says.
    """
    if not (judged := model.get("judged_with")):
        return ()
    return (
        Finding(
            kind="not-as-judged",
            severity="warning",
            message=f"The run's figures were computed in {judged}; these labels, in {model.get('precision')} by "
            f"{model.get('backend')}. A few labels may differ.",
            cure="Remove --backend, --device and --precision to label with what was judged.",
        ),
    )


def not_finite_findings(not_finite: Counter[str]) -> tuple[Finding, ...]:
    """Return what to say about NaN and infinity that were written as null."""
    if not not_finite:
        return ()
    columns = ", ".join(f"{name!r} ({n:,})" for name, n in not_finite.items())
    return (
        Finding(
            kind="not-json",
            severity="warning",
            message=f"JSON cannot hold NaN and infinity; they were written as null in {columns}.",
            cure="Write Parquet if they matter.",
            rows=not_finite.total(),
            examples=tuple(not_finite),
        ),
    )
