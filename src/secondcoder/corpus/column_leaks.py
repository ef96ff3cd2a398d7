"""Columns that almost give the label, or the given part, away.

In: a `Corpus`. Out: findings. Such a column is not seen by the model, which reads the text alone. But where all texts
of a speaker have one label, a model that recognises the speaker looks good on other texts of that speaker and fails on
new ones; and a column that says the label may be what the label was made from.

How much a column says is measured by guessing, in five folds: a row gets the most frequent label among the rows of its
value in other folds. Rows whose value no other fold has are left out, and where most are, so is the column: values
that are all different say nothing. The share of mistakes that this saves against always guessing the most frequent
label is Goodman and Kruskal's lambda, cross-validated. Of a rare label there is little to save, so each label is also
told from all others by the best simple rule (`secondcoder.corpus.label_rules`), in the same folds.

References
----------
Goodman & Kruskal 1954, Measures of association for cross classifications, doi:10.1080/01621459.1954.10501231.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.label_rules import (
    FEWEST_SEEN,
    SHARE_KNOWN,
    Codes,
    Judged,
    Rule,
    best_rule,
    threshold_rule,
    token_rule,
    values_rule,
)
from secondcoder.storage import sha_key

SAVED = 0.7
"""Share of mistakes saved from which a column is pointed out.

With two labels of the same frequency, that is 85 % right. In real data: the film of a review saves two thirds, the
party of a manifesto sentence nothing, a column that is filled for one of the labels only, all.
"""
FEWEST_MISTAKES = 20
"""Rows that always guessing the most frequent label must get wrong, so that there is something to save."""
FEWEST_KNOWN = 0.2
"""Share of the rows whose value must stand on other rows too."""
MANY_VALUES = 10
"""Values from which a column may serve as the group."""
MOST_PART_VALUES = 100
"""Values up to which a column that tells the parts apart is one (year, source, party), rather than a group."""
SAMPLE = 20_000
"""Rows that are looked at."""
_FOLDS = 5
_BINS = 10


@dataclass(frozen=True)
class Guess:
    """How well a column gives something away.

    Attributes
    ----------
    saved
        Share of mistakes saved against always guessing the most frequent answer, from below 0 to 1.
    right
        Share of right guesses among the rows whose value stands in other folds too.
    n_values
        Different values.
    what
        What of the column was looked at: ``""`` for the values themselves.
    """

    saved: float
    right: float
    n_values: int
    what: str = ""


def revealing_findings(corpus: Corpus) -> list[Finding]:
    """Return a finding for each column that almost determines the label, one of the labels, or the part that is given.

    Looked at are all columns but the text, the label and the split; of numbers with many values, tenths; of columns
    whose values differ on most rows, such as ids and addresses, also the host and what stands before a number. One
    label may follow from some of these values, from a number above or below one cut, or from a token of the value.
    """
    rows = [row for row in corpus.usable() if corpus.parts is None or corpus.parts[row] is not None]
    if len(rows) > SAMPLE:
        rows = sorted(rows, key=lambda row: sha_key(0, corpus.ids[row]))[:SAMPLE]
    folds = np.array([sha_key(1, corpus.ids[row])[0] % _FOLDS for row in rows], dtype=np.int64)
    labels = _encode([str(corpus.labels[row]) for row in rows])
    sets = corpus.label_sets
    has = {name: np.array([name in (sets[row] or ()) for row in rows], dtype=np.bool_) for name in corpus.label_names}
    parts = None if corpus.parts is None else _encode([str(corpus.parts[row]) for row in rows])
    roles = {column: role for role, column in corpus.source.columns.items()}
    findings: list[Finding] = []
    for name, column in zip(corpus.columns.column_names, corpus.columns.columns, strict=True):
        role = roles.get(name, "")
        if role.partition(" ")[0] in ("text", "label", "split") or not rows:
            continue
        cells = ["" if cell is None else str(cell) for cell in column.take(pa.array(rows, type=pa.int64())).to_pylist()]
        readings = list(readings_of(cells))
        found = most_revealing(readings, rules_of(readings, cells), labels, has, folds)
        if isinstance(found, Guess):
            findings.append(_reveals_label(name, role, found, len(rows)))
        elif found is not None:
            findings.append(_reveals_one_label(name, role, found, len(rows)))
        if parts is not None and role not in ("group", "id"):
            best = _best([r for r in readings if r[1].max() < MOST_PART_VALUES], parts, folds)
            if best is not None and best.saved >= SAVED:
                findings.append(_reveals_part(name, best, len(rows)))
    return findings


def most_revealing(
    readings: Sequence[tuple[str, Codes]],
    rules: Iterable[Rule],
    labels: Codes,
    has: Mapping[str, NDArray[np.bool_]],
    folds: Codes,
) -> Guess | Judged | None:
    """Return how a column gives the label away, or one of the labels, or None if it does not.

    Parameters
    ----------
    readings, rules
        Of the column: `readings_of`, `rules_of`.
    labels, folds
        ndarrays of shape (n,): whole numbers from 0 on.
    has
        ndarrays of shape (n,): which rows have each label.
    """
    best = _best(readings, labels, folds)
    if best is not None and best.saved >= SAVED:
        return best
    return best_rule(rules, has, folds)


def guess(values: Codes, answers: Codes, folds: Codes) -> Guess | None:
    """Return how well values give answers away, or None where too little could be gained.

    Parameters
    ----------
    values, answers, folds
        ndarrays of shape (n,): whole numbers from 0 on.
    """
    k = int(answers.max()) + 1
    n_values = int(values.max()) + 1
    shape = n_values * k
    table = np.bincount(values * k + answers, minlength=shape).reshape(n_values, k)
    most_frequent = table.sum(axis=0).argmax()
    known = right = mistakes = 0
    for fold in range(_FOLDS):
        own = folds == fold
        held = np.bincount(values[own] * k + answers[own], minlength=shape).reshape(n_values, k)
        rest = table - held
        seen = rest.any(axis=1)
        counts = held[seen]
        known += int(counts.sum())
        right += int(np.take_along_axis(counts, rest[seen].argmax(axis=1)[:, None], axis=1).sum())
        mistakes += int(counts.sum() - counts[:, most_frequent].sum())
    if mistakes < FEWEST_MISTAKES or known < FEWEST_KNOWN * len(answers):
        return None
    return Guess(1 - (known - right) / mistakes, right / known, n_values)


def _best(readings: Iterable[tuple[str, Codes]], answers: Codes, folds: Codes) -> Guess | None:
    """Return the reading that gives most away, the first of several."""
    best = None
    for what, values in readings:
        found = guess(values, answers, folds)
        if found is not None and (best is None or found.saved > best.saved + 1e-9):
            best = replace(found, what=what)
    return best


def readings_of(values: Sequence[str]) -> Iterable[tuple[str, Codes]]:
    """Yield the values of a column as numbers from 0 on, in each way in which they may say something."""
    codes = _encode(values)
    n_values = int(codes.max()) + 1
    yield "", codes
    if n_values <= max(MANY_VALUES, len(values) // 2):
        return
    numbers = _numbers(values)
    if numbers is not None:
        edges = np.quantile(numbers, np.arange(1, _BINS) / _BINS, method="higher")
        yield "in tenths of its range", np.searchsorted(edges, numbers, side="left").astype(np.int64)
        return
    for what, read in _PIECES:
        pieces = _encode([read(value) for value in values])
        if 1 < int(pieces.max()) + 1 <= len(values) // 2:
            yield what, pieces


def rules_of(readings: Iterable[tuple[str, Codes]], cells: Sequence[str]) -> Iterable[Rule]:
    """Yield the kinds of rule by which a column may tell a label, from its readings and its values as text."""
    for what, codes in readings:
        if (np.bincount(codes)[codes] > FEWEST_SEEN).mean() >= SHARE_KNOWN:  # else it knows too few rows out of fold
            yield values_rule(what, codes)
        n_values = int(codes.max()) + 1
        if what == "" and n_values > 2:
            numbers = _numbers(cells)
            if numbers is not None:
                yield threshold_rule(numbers)
            elif n_values > max(MANY_VALUES, len(cells) // 2):
                yield token_rule(cells)


_HOST, _DIGIT, _BREAK = re.compile("://([^/?#]*)"), re.compile("[0-9]"), re.compile(r"[\W_]")
_LAST_NUMBER = re.compile("[0-9]+[^0-9]*$")


def _host(value: str) -> str:
    found = _HOST.search(value)
    return "" if found is None else found[1].casefold()


def _before_number(value: str) -> str:
    found = _DIGIT.search(value)
    return value if found is None else value[: found.start()]


def _first_piece(value: str) -> str:
    found = _BREAK.search(value)
    return "" if found is None else value[: found.start()]


def _without_last_number(value: str) -> str:
    return _LAST_NUMBER.sub("", value)


_PIECES: Sequence[tuple[str, Callable[[str], str]]] = (
    ("by its host", _host),
    ("by what stands before the first number", _before_number),
    ("by its first piece", _first_piece),
    ("without its last number", _without_last_number),
)


def _encode(values: Sequence[str]) -> Codes:
    """Return each value's number, in the order of the values, shape (n,)."""
    place = {value: i for i, value in enumerate(sorted(set(values)))}
    return np.array([place[value] for value in values], dtype=np.int64)


def _numbers(values: Sequence[str]) -> NDArray[np.float64] | None:
    try:
        numbers = np.array([float(value) for value in values], dtype=np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _reveals_label(name: str, role: str, found: Guess, n: int) -> Finding:
    what = f"the column {name!r}{f' ({found.what})' if found.what else ''}"
    saves = f"which saves {found.saved:.0%} of the mistakes of always guessing the most frequent label"
    if role == "group":
        message = (
            f"Most groups ({what}) have one label: guessing a text's label by other texts of its group is right for "
            f"{found.right:.0%}, {saves}."
        )
        cure = (
            "Figures then rest on as many cases as there are groups, not texts; split by group (as is done unless "
            "told otherwise), and label texts of more groups."
        )
    else:
        message = (
            f"The label almost follows from {what}: guessing by other rows with the same value is right for "
            f"{found.right:.0%}, {saves}."
        )
        cure = "The model does not see it unless it stands in the text. "
        if found.n_values >= MANY_VALUES and found.n_values <= n // 2 and role != "id":
            cure += f"If the model is to meet new values of it, none may stand in two parts: name it as --group {name}."
        else:
            cure += (
                "If it was made from the label, or the label from it, nothing is wrong; else see what it stands for."
            )
    return Finding("column-reveals-label", "note", message, cure, n, (name,))


def _reveals_one_label(name: str, role: str, found: Judged, n: int) -> Finding:
    what = f"the {'groups in the ' if role == 'group' else ''}column {name!r}{f' ({found.what})' if found.what else ''}"
    return Finding(
        "column-reveals-label",
        "note",
        f"The label {found.label!r} almost follows from {what}: a rule learned from other rows finds {found.found:.0%} "
        f"of its texts, and {found.right:.0%} of the texts that it finds have it.",
        "The model does not see it unless it stands in the text. If the column was made from the label, or the label "
        "from it, nothing is wrong; else see what it stands for.",
        n,
        (name,),
    )


def _reveals_part(name: str, found: Guess, n: int) -> Finding:
    return Finding(
        "column-reveals-part",
        "note",
        f"The given parts differ in the column {name!r}{f' ({found.what})' if found.what else ''}: guessing a text's "
        f"part by it is right for {found.right:.0%} of the texts.",
        "Figures on test then hold for such texts as test has. If that is not what the model will label, split anew.",
        n,
        (name,),
    )
