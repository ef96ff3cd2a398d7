"""What was labelled: the counts.

In: counts. Out: `Tally` while they grow, `LabelSummary` at the end, and where the manifest stands.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from secondcoder.corpus.findings import Finding

MANIFEST_ENDING = ".manifest.json"


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
        Labelled rows whose text was cut before it was read.
    """

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    truncated: int = 0


@dataclass(frozen=True)
class LabelSummary:
    """What one labelling did.

    Attributes
    ----------
    output, manifest
        The labelled file and the manifest beside it.
    rows
        Rows in, and rows out.
    labelled
        Rows with a label.
    unlabelled
        Rows without one, by the reason.
    truncated
        Labelled rows whose text was cut before it was read.
    label_counts
        Labelled rows by label, in the order of the label names.
    seconds
        From the first row read to the last written.
    findings
        What could not be written as it was.
    """

    output: Path
    manifest: Path
    rows: int
    labelled: int
    unlabelled: dict[str, int]
    truncated: int
    label_counts: dict[str, int]
    seconds: float
    findings: tuple[Finding, ...] = ()

    @property
    def label_shares(self) -> dict[str, float]:
        """Share of each label among the labelled rows, by name; uncorrected for the model's errors."""
        return {name: count / max(self.labelled, 1) for name, count in self.label_counts.items()}

    @property
    def texts_per_second(self) -> float:
        """Labelled rows a second."""
        return self.labelled / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return {
            **asdict(self),
            "output": str(self.output),
            "manifest": str(self.manifest),
            "label_shares": self.label_shares,
            "texts_per_second": self.texts_per_second,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def manifest_path(output: Path) -> Path:
    """Return where the manifest of an output stands."""
    return output.with_name(output.name + MANIFEST_ENDING)
