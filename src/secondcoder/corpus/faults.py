"""Faults in texts and labels.

In: a `Corpus`. Out: findings, each with its cure. `secondcoder.corpus.checks` puts them into its report.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding, Severity

EXCERPT = 200
"""Characters shown of a text."""
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
    if corpus.multi_label:
        findings += _set_findings(corpus)
    name, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if len(counts) == 1 and not corpus.multi_label:
        findings.append(
            Finding(
                "one-label", "error", f"Every labelled row has the label {name!r}.", "Training needs two labels.", n
            )
        )
    elif most > DOMINANT * n:
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


def _set_findings(corpus: Corpus) -> list[Finding]:
    """Return how many labels texts have, where they may have several."""
    sets = [names for names in corpus.label_sets if names is not None]
    empty = [row for row, names in enumerate(corpus.label_sets) if names == ()]
    sizes, kinds = [len(names) for names in sets], Counter(sets)
    once = sum(n == 1 for n in kinds.values())
    found = [
        Finding(
            "label-sets",
            "note",
            f"Texts have {sum(sizes) / len(sizes):.2f} labels on average, {max(sizes)} at most; {len(kinds):,} "
            f"different sets occur, {once:,} of them on one row only.",
            rows=len(sets),
        )
    ]
    if empty:
        message = f"Texts of no class: {len(empty):,} of {len(sets):,} labelled rows."
        cure = "Nothing, if coders saw them and gave none; a text that nobody has coded should be left without a label."
        found.append(_finding(corpus, empty, "no-class", "note", message, cure))
    return found


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
    several = "different sets of labels" if corpus.multi_label else "more than one label"
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


def excerpt(text: str, length: int) -> str:
    """Return the text, or its beginning and an ellipsis where it is longer than so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
