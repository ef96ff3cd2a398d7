"""What is in the data and what is wrong with it, before anything is trained.

In: a `Corpus`; if at hand, the lengths of its texts in tokens and a `Split`. Out: `CheckReport`, of plain values, whose
findings come errors first. Nothing is changed.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from secondcoder.corpus.column_leaks import revealing_findings
from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.corpus.findings import EXCERPT, Finding, Severity, excerpt
from secondcoder.corpus.labels import differing_labels, labelled_rows, scheme_findings
from secondcoder.corpus.leaks import near_duplicate_findings
from secondcoder.corpus.near_duplicates import NearDuplicates, find_near_duplicates
from secondcoder.errors import DataError
from secondcoder.settings import DEFAULT_SEED
from secondcoder.storage import sha_key

FEW_ROWS = 10
"""A label with fewer rows can be neither learned nor judged."""
DOMINANT = 0.9
"""Share of one label from which accuracy says little."""
SHORT = 5
"""A text with fewer characters is short beyond doubt in any script."""
# Control characters other than tab and line ends; the replacement character; halves of surrogate pairs; and UTF-8 that
# was read as Latin-1 or Windows-1252 (é as Ã©, ’ as â€™). None of these stands in a text that was read rightly.
_DAMAGE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]|Ã[\x80-\xbf]|â€|Â[\xa0-\xbf]")


def label_findings(corpus: Corpus) -> list[Finding]:
    """Return what is wrong with the labels as a whole."""
    counts = {name: count for name, count in corpus.label_counts().items() if count}
    n = sum(label is not None for label in corpus.labels)
    if not n:
        return [Finding("no-labels", "error", "No row has a label.", "Name the label column, or label some texts.")]
    findings = []
    if missing := [row for row, label in enumerate(corpus.labels) if label is None]:
        findings.append(
            _finding(
                corpus,
                missing,
                "missing-label",
                "note",
                f"Rows without a label: {len(missing):,} of {len(corpus):,}; they take no part in training.",
                "Label them, if they should take part.",
            )
        )
    special = scheme_findings(corpus)
    findings += special
    name, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if most > DOMINANT * n and not any(finding.kind == "one-label" for finding in special):
        findings.append(
            Finding(
                "dominant-label",
                "note",
                f"{most / n:.1%} of the labelled rows have the label {name!r}: always answering it would be right as "
                "often, so accuracy says little here.",
                "Look at the other labels' F1, and label more of their texts.",
                rows=most,
            )
        )
    if few := {name: count for name, count in counts.items() if count < FEW_ROWS}:
        shown = ", ".join(f"{name!r} ({count})" for name, count in few.items())
        findings.append(
            Finding(
                "few-rows",
                "warning",
                f"Labels with fewer than {FEW_ROWS} rows, too few to learn or to judge: {excerpt(shown, EXCERPT)}.",
                "Label more of their texts, merge them with another label, or leave them out.",
                rows=sum(few.values()),
            )
        )
    return findings


def text_findings(corpus: Corpus) -> list[Finding]:
    """Return what is wrong with single texts, and with texts that stand on several rows."""
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(corpus.texts):
        rows_of[text].append(row)
    empty = [row for row, text in enumerate(corpus.texts) if not text.strip()]
    repeated = {text: rows for text, rows in rows_of.items() if len(rows) > 1 and text.strip()}
    names = {
        text: sorted({label or "no class" for row in rows if (label := corpus.labels[row]) is not None})
        for text, rows in repeated.items()
    }
    several = differing_labels(corpus.task)
    twofold = [text for text in repeated if len(names[text]) > 1]
    same = [text for text in repeated if len(names[text]) <= 1]
    copies = sum(len(repeated[text]) - 1 for text in same)
    short = [row for text, rows in rows_of.items() if 0 < len(text.strip()) < SHORT for row in rows]
    damaged = [row for text, rows in rows_of.items() if _DAMAGE.search(text) for row in rows]
    found: list[tuple[Sequence[int], str, Severity, str, str, list[str]]] = [
        (
            empty,
            "empty-text",
            "warning",
            f"Rows with an empty text: {len(empty):,}; they cannot be used.",
            "Check that the text column is the right one; else nothing.",
            [],
        ),
        (
            [row for text in twofold for row in repeated[text]],
            "text-under-two-labels",
            "warning",
            f"Texts that stand under {several}: {len(twofold):,}.",
            "Decide on one label for each, unless the right label depends on what surrounds the text.",
            [f"{excerpt(text, 60)!r}: {', '.join(names[text])}" for text in twofold],
        ),
        (
            [row for text in same for row in repeated[text][1:]],
            "duplicate-text",
            "note",
            f"Texts that stand on more than one row: {len(same):,}, with {copies:,} in all beyond the first; a split "
            "keeps the rows of a text in one part.",
            "Remove the copies if they are mistakes.",
            [repr(excerpt(text, 60)) for text in same],
        ),
        (
            damaged,
            "damaged-text",
            "warning",
            "Texts with control or replacement characters, or UTF-8 that was read as another encoding (Ã© for é): "
            f"{len(damaged):,}.",
            "Read or export the file again as UTF-8.",
            [f"{corpus.ids[row]}: {_around_damage(corpus.texts[row])}" for row in damaged[:5]],
        ),
        (
            short,
            "short-text",
            "note",
            f"Texts of fewer than {SHORT} characters: {len(short):,}.",
            "Check that they can be labelled at all.",
            [f"{corpus.ids[row]}: {corpus.texts[row].strip()!r}" for row in short[:5]],
        ),
    ]
    return [_finding(corpus, *entry[:-1], examples=entry[-1]) for entry in found if entry[0]]


def length_findings(n: int, truncated: int | None, max_length: int | None) -> list[Finding]:
    """Return what is to be said when so many of `n` texts are cut."""
    if not truncated:
        return []
    return [
        Finding(
            "truncated-text",
            "note",
            f"Texts of more than {max_length} tokens: {truncated:,} of {n:,} ({truncated / n:.1%}); they are cut.",
            "Read them in windows (--long-texts windows), keep head and tail, or raise the maximum length as far as "
            "the model allows.",
            rows=truncated,
        )
    ]


def _finding(
    corpus: Corpus,
    rows: Sequence[int],
    kind: str,
    severity: Severity,
    message: str,
    cure: str,
    *,
    examples: Sequence[str] = (),
) -> Finding:
    """Return a finding about rows, with ids as examples unless there are better ones."""
    shown = tuple(examples[:5]) or tuple(corpus.ids[row] for row in rows[:5])
    return Finding(kind, severity, message, cure, len(rows), shown)


def _around_damage(text: str) -> str:
    """Return the first damage with a few characters around it, escaped so that it can be seen and printed."""
    at = _DAMAGE.search(text)
    return ascii(text[max(at.start() - 15, 0) : at.end() + 15]) if at else ""


EXAMPLES = 3
"""Texts shown of each label."""
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Parts(Protocol):
    """A corpus that was divided, as `secondcoder.splits.split.Split` is."""

    @property
    def train(self) -> Corpus: ...  # noqa: D102
    @property
    def dev(self) -> Corpus: ...  # noqa: D102
    @property
    def test(self) -> Corpus: ...  # noqa: D102
    @property
    def findings(self) -> tuple[Finding, ...]: ...  # noqa: D102


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
    split: Parts | None = None,
    near: NearDuplicates | None = None,
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
    near
        What `find_near_duplicates` has found among the rows that have a text, where that is known already.

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
            *near_duplicate_findings(corpus, near or find_near_duplicates(corpus.texts, full)),
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
        labelled_rows=labelled_rows(
            corpus, None if split is None else {part: len(getattr(split, part)) for part in PARTS}
        ),
    )


def _roles(corpus: Corpus) -> dict[str, str]:
    roles: dict[str, str] = dict.fromkeys(corpus.columns.column_names, "")
    for role, column in corpus.source.columns.items():
        if column in roles:  # a column may be both group and id
            roles[column] = f"{roles[column]}, {role}" if roles[column] else role
    return roles


def _label_counts(corpus: Corpus, split: Parts | None) -> dict[str, dict[str, int]]:
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
