"""Texts with their ids, labels, groups and all other columns.

In: what `secondcoder.corpus.reading` has read. Out: `Corpus`, the one form in which texts and labels travel.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secondcoder.corpus.findings import Finding
from secondcoder.errors import ColumnError, DataError, nearest
from secondcoder.storage import sha256_strings

TaskName = Literal["multi-class", "ordinal", "multi-label"]
Label = str | tuple[str, ...]
"""What a text has: the name of a class; where it may have several, a tuple of names in the order of the label names."""
Part = Literal["train", "dev", "test"]
PARTS: tuple[Part, ...] = ("train", "dev", "test")
SEPARATOR = ";"
"""What stands between the names of a set of labels, unless the data has another one."""


@dataclass(frozen=True)
class Source:
    """Where a corpus came from, enough to say so in a paper and to find it again.

    Attributes
    ----------
    name
        Path, ``hub:`` address, or a word for data handed over in memory.
    sha256
        Hash of the file's bytes, or of the ids, texts and labels where there is no file.
    columns
        Which column was read as ``text``, ``label``, ``group``, ``id``, ``split``.
    options
        How else it was read: names given to codes, samples drawn, and by which seed.
    """

    name: str
    sha256: str
    columns: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Corpus:
    """Texts and labels, row by row.

    Attributes
    ----------
    ids
        One per row, unique.
    texts
        One per row; ``""`` where the cell was empty.
    labels
        One per row, as files hold them; None where the row has not been labelled. Always strings. In a multi-label task
        the row's set: its names in the order of `label_names`, joined by `separator`; ``""`` for the empty set. To
        compute with sets, take `label_sets`.
    label_names
        The classes in natural order (of an ordinal task from low to high), fixed when the data was read; every part of
        a corpus keeps all of them.
    groups
        The document, author or film that each text comes from, or None. A row without a group has ``""``.
    parts
        The part that the data itself gives each row to, or None.
    columns
        Every column as it was read, value for value and in order.
    positive
        The positive class of a two-class task, or None.
    task
        ``"multi-class"``: one label a text; ``"ordinal"``: one, of classes that have an order; ``"multi-label"``: any
        number of them.
    separator
        What joins the names of a set in `labels`.
    shares : ndarray of shape (n, k) or None
        Soft labels: the share of coders that gave each class, summing to 1; a row that nobody coded is NaN. `labels`
        then holds the class that most gave.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[str | None, ...]
    label_names: tuple[str, ...]
    columns: pa.Table
    source: Source
    groups: tuple[str, ...] | None = None
    parts: tuple[Part | None, ...] | None = None
    positive: str | None = None
    task: TaskName = "multi-class"
    separator: str = SEPARATOR
    shares: NDArray[np.float64] | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name in ("texts", "labels", "groups", "parts"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise DataError(f"{name} has {len(values)} rows, ids has {n}.", "Give one value per row.")
        if self.columns.num_rows != n:
            raise DataError(f"columns has {self.columns.num_rows} rows, ids has {n}.", "Give one value per row.")
        if self.shares is not None and self.shares.shape != (n, len(self.label_names)):
            raise DataError(
                f"shares has shape {self.shares.shape}; expected ({n}, {len(self.label_names)}).",
                "Give one share for each row and class.",
            )
        if self.positive is not None and self.positive not in self.label_names:
            raise DataError(
                f"The positive class {self.positive!r} is not among the labels {list(self.label_names)}.",
                f"{nearest(self.positive, self.label_names)}Name one of the labels.",
            )
        several = "in this one a text may have several" if self.multi_label else ""
        if self.positive is not None and (several or len(self.label_names) != 2):
            found = several or f"there are {len(self.label_names)}"
            raise DataError(
                f"A positive class needs a two-class task, and {found} labels.", "Leave out the positive class."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Corpus of {len(self):,} texts, labels: {', '.join(self.label_names) or 'none'}>"

    def take(self, rows: Sequence[int]) -> "Corpus":
        """Return the named rows, in the order given, with the same label names."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            texts=tuple(self.texts[i] for i in rows),
            labels=tuple(self.labels[i] for i in rows),
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
            parts=None if self.parts is None else tuple(self.parts[i] for i in rows),
            shares=None if self.shares is None else self.shares[np.asarray(rows, dtype=np.int64)],
            columns=self.columns.take(pa.array(rows, type=pa.int64())),
        )

    def sha256(self) -> str:
        """Return a hash of all that is learned from and judged by: the task, and the rows in their order."""
        return sha256_strings(
            [self.task, self.separator, self.positive],
            self.label_names,
            self.ids,
            self.texts,
            self.labels,
            self.groups or (),
            () if self.shares is None else map(str, self.shares.ravel().tolist()),
        )

    def usable(self) -> list[int]:
        """Return the rows that can be learned from or judged on: those with a text and a label."""
        return [
            i
            for i, (text, label) in enumerate(zip(self.texts, self.labels, strict=True))
            if label is not None and text.strip()
        ]

    def label_counts(self) -> dict[str, int]:
        """Return how many rows have each label, in the order of `label_names`; a row counts for each of its own."""
        counts = Counter(name for labels in self.label_sets for name in labels or ())
        return {name: counts[name] for name in self.label_names}

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.task == "multi-label"

    @cached_property
    def label_sets(self) -> tuple[tuple[str, ...] | None, ...]:
        """The labels of each row, in the order of `label_names`; None where it has not been labelled."""
        if self.multi_label:
            return tuple(None if label is None else split_set(label, self.separator) for label in self.labels)
        return tuple(None if label is None else (label,) for label in self.labels)

    def written(self, label: Label) -> str:
        """Return a label as files hold it, and as `labels` does."""
        return label_text(label, self.separator)

    def column(self, name: str) -> list[str]:
        """Return a column as text, ``""`` where a cell is empty.

        Raises
        ------
        ColumnError
            If there is no column of that name.
        """
        require_column(name, self.columns.column_names)
        return ["" if value is None else str(value) for value in self.columns[name].to_pylist()]

    @property
    def units(self) -> tuple[str, ...] | None:
        """What each row is drawn with: its group, or itself where it has none; None where texts are not grouped."""
        if self.groups is None:
            return None
        return tuple(group or f"\0{id_}" for group, id_ in zip(self.groups, self.ids, strict=True))

    def _repr_html_(self) -> str:
        n_labelled = sum(label is not None for label in self.labels)
        shares = "".join(
            f"<tr><td>{escape(name)}</td><td>{count:,}</td><td>{count / max(n_labelled, 1):.1%}</td></tr>"
            for name, count in self.label_counts().items()
        )
        groups = "" if self.groups is None else f", {len(set(self.units or ())):,} groups"
        return (
            f"<p><b>Corpus</b>: {len(self):,} texts, {n_labelled:,} labelled{groups}</p>"
            f"<table><tr><th>label</th><th>texts</th><th>share</th></tr>{shares}</table>"
        )


def label_text(label: str | Iterable[str], separator: str) -> str:
    """Return a label as one string: its name, or the names of a set in the order given, ``""`` for none."""
    return label if isinstance(label, str) else separator.join(label)


def split_set(text: str, separator: str) -> tuple[str, ...]:
    """Return the set of labels that `label_text` made a string of."""
    return tuple(text.split(separator)) if text else ()


def require_column(name: str, found: Sequence[str]) -> None:
    """Raise `ColumnError`, which lists the columns found and the nearest one, unless the column is there."""
    if name not in found:
        raise ColumnError(
            f"There is no column {name!r}; the columns are: {', '.join(map(repr, found))}.",
            f"{nearest(name, found)}Name one of the columns.",
        )


def natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names sorted as people sort: by the numbers in them where there are any, so 2 stands before 10."""

    def key(name: str) -> tuple[list[tuple[int, int, str]], str]:
        pieces = re.split(r"([0-9]+)", name.casefold())
        return [(0, int(p), "") if p.isascii() and p.isdigit() else (1, 0, p) for p in pieces if p], name

    return tuple(sorted(names, key=key))
