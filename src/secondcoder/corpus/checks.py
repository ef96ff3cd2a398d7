"""What is in the data and what is wrong with it, before anything is trained.

In: a `Corpus`; if at hand, the lengths of its texts in tokens and a `Split`. Out: `CheckReport`, of plain values, whose
findings come errors first. Nothing is changed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from secondcoder.corpus.assignment import sha_key
from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.corpus.faults import EXCERPT, excerpt, label_findings, length_findings, text_findings
from secondcoder.corpus.findings import Finding, Severity
from secondcoder.corpus.leaks import near_duplicate_findings
from secondcoder.corpus.near_duplicates import find_near_duplicates
from secondcoder.corpus.revealing import revealing_findings
from secondcoder.corpus.splits import Split
from secondcoder.errors import DataError
from secondcoder.settings import DEFAULT_SEED

EXAMPLES = 3
"""Texts shown of each label."""
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Example:
    """A text of a label, shortened.

    Attributes
    ----------
    id
        Of the row.
    text
        At most about 200 characters.
    """

    id: str
    text: str


@dataclass(frozen=True)
class Distribution:
    """How a length is distributed over texts, or a size over groups.

    Attributes
    ----------
    unit
        What is counted: ``"tokens"`` (special tokens included), ``"characters"`` or ``"rows"``.
    n
        Texts or groups.
    smallest, median, mean, p90, p95, p99, largest
        In that unit; 90 of 100 have at most `p90`.
    """

    unit: Literal["tokens", "characters", "rows"]
    n: int
    smallest: int
    median: float
    mean: float
    p90: float
    p95: float
    p99: float
    largest: int


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What is in a corpus, and what is wrong with it.

    Attributes
    ----------
    rows, labelled
        Rows in all, and those with a label.
    columns
        Every column with what it was read as: text, label, group, id, split; ``""`` if nothing.
    label_counts
        For ``"all"`` rows, and for each part if the corpus is split: how many rows have each label.
    examples
        A few texts of each label, drawn by the hash of their ids.
    lengths
        Lengths of the texts that are not empty, or None if there are none.
    max_length, truncated
        Longest text in tokens that the model reads, and how many texts are longer; None if not known.
    groups
        Sizes of the groups, or None if texts are not grouped.
    findings
        Errors first.
    labelled_rows
        For ``"all"`` rows and each part, how many are labelled, where a text may have several labels; else None, as it
        is the sum of the label counts.
    """

    rows: int
    labelled: int
    columns: dict[str, str]
    label_counts: dict[str, dict[str, int]]
    examples: dict[str, list[Example]]
    lengths: Distribution | None
    max_length: int | None
    truncated: int | None
    groups: Distribution | None
    findings: tuple[Finding, ...]
    labelled_rows: dict[str, int] | None = None

    @property
    def label_shares(self) -> dict[str, dict[str, float]]:
        """Share of each label among the labelled rows, for ``"all"`` and each part, from 0 to 1."""
        totals = self.labelled_rows or {part: sum(counts.values()) for part, counts in self.label_counts.items()}
        return {
            part: {name: count / max(totals[part], 1) for name, count in counts.items()}
            for part, counts in self.label_counts.items()
        }

    @property
    def share_truncated(self) -> float | None:
        """Share of the texts that are not empty and longer than `max_length`, from 0 to 1."""
        return None if self.truncated is None or self.lengths is None else self.truncated / self.lengths.n

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        shares: dict[str, Any] = {"label_shares": self.label_shares, "share_truncated": self.share_truncated}
        return asdict(self) | shares | {"findings": [finding.to_dict() for finding in self.findings]}

    def _repr_html_(self) -> str:
        shares = self.label_shares
        parts = list(self.label_counts)
        labels = _table(
            ["label", *parts],
            [
                [name, *(f"{self.label_counts[part][name]:,} ({shares[part][name]:.1%})" for part in parts)]
                for name in self.label_counts["all"]
            ],
        )
        spread = ["", "n", "smallest", "median", "mean", "90 %", "95 %", "99 %", "largest"]
        sizes = [
            [f"{what} ({d.unit})", *(f"{value:,.6g}" for value in list(asdict(d).values())[1:])]
            for what, d in (("texts", self.lengths), ("groups", self.groups))
            if d is not None
        ]
        cut = "" if self.share_truncated is None else f", {self.share_truncated:.1%} cut at {self.max_length} tokens"
        return (
            f"<p><b>Check</b>: {self.rows:,} rows, {self.labelled:,} labelled{cut}</p>{labels}"
            + _table(spread, sizes)
            + _table(["label", "id", "text"], [[k, e.id, e.text] for k, found in self.examples.items() for e in found])
            + _table(["", "finding", "what to do"], [[f.severity, f.message, f.cure] for f in self.findings])
        )


def check(
    corpus: Corpus,
    *,
    lengths: ArrayLike | None = None,
    max_length: int | None = None,
    split: Split | None = None,
) -> CheckReport:
    """Return what is in the corpus, and what is wrong with it.

    Parameters
    ----------
    corpus
        Any, labelled or not.
    lengths
        ndarray of shape (n,): the length of each text in tokens, uncut, special tokens included. Without it, lengths
        are in characters.
    max_length
        Longest text in tokens that the model reads.
    split
        To show labels by part; without it, the parts that the data gives, if any.

    Raises
    ------
    DataError
        If there is not one length per row.
    """
    tokens = None if lengths is None else np.asarray(lengths)
    if tokens is not None and tokens.shape != (len(corpus),):
        raise DataError(f"lengths has shape {tokens.shape}, the corpus {len(corpus)} rows.", "Give one length per row.")
    full = [row for row, text in enumerate(corpus.texts) if text.strip()]
    measured = np.array([len(corpus.texts[row]) for row in full]) if tokens is None else tokens[full]
    truncated = None if tokens is None or max_length is None else int((measured > max_length).sum())
    groups = None if corpus.groups is None else Counter(group for group in corpus.groups if group)
    findings = _merge(
        corpus.findings,
        [
            *label_findings(corpus),
            *text_findings(corpus),
            *near_duplicate_findings(corpus, find_near_duplicates(corpus.texts, full)),
            *revealing_findings(corpus),
            *length_findings(len(full), truncated, max_length),
        ],
        () if split is None else split.findings,
    )
    return CheckReport(
        rows=len(corpus),
        labelled=sum(label is not None for label in corpus.labels),
        columns=_roles(corpus),
        label_counts=_label_counts(corpus, split),
        examples=_examples(corpus, full),
        lengths=_distribution(measured, "characters" if tokens is None else "tokens"),
        max_length=max_length,
        truncated=truncated,
        groups=None if groups is None else _distribution(np.array(list(groups.values())), "rows"),
        findings=findings,
        labelled_rows=_labelled_rows(corpus, split) if corpus.multi_label else None,
    )


def _labelled_rows(corpus: Corpus, split: Split | None) -> dict[str, int]:
    """Return how many rows are labelled, in all and of each part that there is."""
    counts = {"all": sum(label is not None for label in corpus.labels)}
    if split is not None:
        return counts | {part: len(getattr(split, part)) for part in PARTS}
    if corpus.parts is not None:
        found = Counter(part for part, label in zip(corpus.parts, corpus.labels, strict=True) if label is not None)
        counts |= {part: found[part] for part in PARTS}
    return counts


def _roles(corpus: Corpus) -> dict[str, str]:
    roles: dict[str, str] = dict.fromkeys(corpus.columns.column_names, "")
    for role, column in corpus.source.columns.items():
        if column in roles:  # a column may be both group and id
            roles[column] = f"{roles[column]}, {role}" if roles[column] else role
    return roles


def _label_counts(corpus: Corpus, split: Split | None) -> dict[str, dict[str, int]]:
    counts = {"all": corpus.label_counts()}
    if split is not None:
        return counts | {part: getattr(split, part).label_counts() for part in PARTS}
    if corpus.parts is not None:
        for part in PARTS:
            rows = zip(corpus.label_sets, corpus.parts, strict=True)
            found = Counter(name for names, own in rows if own == part for name in names or ())
            counts[part] = {name: found[name] for name in corpus.label_names}
    return counts


def _examples(corpus: Corpus, rows: Iterable[int]) -> dict[str, list[Example]]:
    by_label: defaultdict[str, list[int]] = defaultdict(list)
    sets = corpus.label_sets
    for row in rows:
        for name in sets[row] or ():
            by_label[name].append(row)
    return {
        name: [
            Example(corpus.ids[row], excerpt(corpus.texts[row], EXCERPT))
            for row in sorted(by_label[name], key=lambda row: sha_key(DEFAULT_SEED, corpus.ids[row]))[:EXAMPLES]
        ]
        for name in corpus.label_names
    }


def _distribution(
    values: np.ndarray[Any, np.dtype[Any]], unit: Literal["tokens", "characters", "rows"]
) -> Distribution | None:
    if not len(values):
        return None
    # "higher": a length that some text has, at or above the mark, so that cutting there cuts no more than is said
    p90, p95, p99 = (float(p) for p in np.percentile(values, [90, 95, 99], method="higher"))
    return Distribution(
        unit,
        n=len(values),
        smallest=int(values.min()),
        median=float(np.median(values)),
        mean=float(values.mean()),
        p90=p90,
        p95=p95,
        p99=p99,
        largest=int(values.max()),
    )


def _merge(*sources: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return all findings, errors first; what one source has said, later ones do not say again."""
    merged: list[Finding] = []
    for source in sources:
        said = {finding.kind for finding in merged}
        merged += [finding for finding in source if finding.kind not in said]
    return tuple(sorted(merged, key=lambda finding: _SEVERITIES.index(finding.severity)))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines: list[Mapping[str, Sequence[str]]] = [{"th": head}, *({"td": row} for row in rows)]
    cells = ("".join(f"<{tag}>{escape(c)}</{tag}>" for tag, cs in line.items() for c in cs) for line in lines)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in cells)}</table>"
