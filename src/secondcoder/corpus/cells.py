"""Cells as the strings that texts, labels, groups and ids are.

In: a column as it came. Out: its values as strings, with what had to be decided on the way as findings or errors.
Strings stay as typed. Of other types, whole numbers read as ``"1"``, true and false as ``"True"`` and ``"False"``.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from secondcoder.corpus.corpus import natural_order
from secondcoder.corpus.findings import Finding
from secondcoder.errors import DataError
from secondcoder.formats.jsonlines import is_json, to_json

_MANY = 1000  # labels; no one codes by hand into more classes
_SHOWN = 5  # examples of a fault


def values_of(table: pa.Table, name: str) -> list[Any]:
    """Return a column's values as Python has them, JSON text decoded; None where the cell is empty or NaN.

    Raises
    ------
    DataError
        If a string is not the UTF-8 that its type promises.
    """
    column = table[name]
    try:
        values = column.to_pylist()
    except UnicodeDecodeError as error:
        raise DataError(f"Column {name!r} has a string that is not UTF-8: {error}.", "Write the file again.") from error
    if is_json(table.schema.field(name)):
        return [None if value is None else json.loads(value) for value in values]
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


def as_strings(table: pa.Table, name: str) -> list[str]:
    """Return a column's values as strings, ``""`` where the cell is empty."""
    return [
        "" if v is None else to_json(v) if isinstance(v, list | dict) else v if isinstance(v, str) else str(v)
        for v in values_of(table, name)
    ]


def texts_of(table: pa.Table, name: str, ids: Sequence[str]) -> list[str]:
    """Return the texts, ``""`` where the cell is empty.

    Raises
    ------
    DataError
        If a value is not a string.
    """
    values = values_of(table, name)
    for i, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise DataError(
                f"The text column {name!r} holds {type(value).__name__} values ({table.schema.field(name).type}), such "
                f"as {value!r} in row {ids[i]!r}.",
                "Name the column with the texts, or turn it into strings.",
            )
    return [value or "" for value in values]


def ids_of(table: pa.Table, name: str | None) -> list[str]:
    """Return the named column as unique ids, or the row numbers from 1.

    Raises
    ------
    DataError
        If an id is empty or comes twice; names the first.
    """
    if name is None:
        return [str(row) for row in range(1, table.num_rows + 1)]
    ids = as_strings(table, name)
    if empty := [row for row, value in enumerate(ids, 1) if not value]:
        raise DataError(
            f"The id column {name!r} is empty in {len(empty):,} rows, first in {empty[:_SHOWN]}.",
            "Fill them in, or leave the id column out: rows are then numbered.",
        )
    if twice := [value for value, n in Counter(ids).items() if n > 1]:
        raise DataError(
            f"{len(twice):,} ids of column {name!r} come more than once, first {', '.join(map(repr, twice[:_SHOWN]))}.",
            "Give each row its own id, or leave the id column out: rows are then numbered.",
        )
    return ids


def labels_of(
    table: pa.Table, name: str, classes: Sequence[str] | None, mapping: Mapping[str, str]
) -> tuple[list[str | None], tuple[str, ...], list[Finding]]:
    """Return the labels as strings (None where missing), their names in natural order, and what was noticed.

    Parameters
    ----------
    table, name
        The data, and the column with the labels.
    classes
        Names of integers 0, 1, … if the column is a `datasets.ClassLabel`, whose -1 is a missing label.
    mapping
        The user's names for codes.

    Raises
    ------
    DataError
        If a value cannot be a label, two different values would be one, or a code has no name.
    """
    values = values_of(table, name)
    findings: list[Finding] = []
    if classes is not None:
        values = [class_name(name, classes, value) for value in values]
    numbers = [value for value in values if value is not None]
    if numbers and all(isinstance(value, float) and value.is_integer() for value in numbers):
        values = [None if value is None else int(value) for value in values]
        findings.append(
            Finding(
                "float-labels",
                "warning",
                f"The labels in {name!r} are decimal numbers that are all whole, as pandas makes of whole numbers "
                f"when one is missing; they read as {listed(natural_order({str(int(n)) for n in numbers}))}.",
                "Nothing, if that is right; else turn the column into strings or whole numbers (astype('Int64')).",
                rows=len(numbers),
            )
        )
    spelt: dict[str, Any] = {}
    labels = [label_of(name, value, spelt) for value in values]
    seen = {label for label in labels if label is not None}
    if mapping:
        findings += check_mapping(mapping, seen, f"column {name!r} also has")
        labels = [None if label is None else mapping[label] for label in labels]
        seen = {mapping[label] for label in seen}
    if classes is not None and not mapping and (absent := [c for c in classes if c not in seen]):
        findings.append(Finding("unseen-class", "note", f"No row has the class {listed(absent)}."))
    findings += look_at_labels(name, labels, seen)
    return labels, natural_order(seen), findings


def check_mapping(mapping: Mapping[str, str], seen: set[str], has: str) -> list[Finding]:
    """Return what is odd about the user's names for the codes that were seen.

    Raises
    ------
    DataError
        If a code has no name; `has` says in words what has it.
    """
    if unnamed := natural_order(seen - set(mapping)):
        raise DataError(
            f"Label names were given for {listed(natural_order(mapping))}, and {has} {listed(unnamed)}.",
            "Name every code, exactly as it is written in the data.",
        )
    if unseen := natural_order(set(mapping) - seen):
        return [Finding("unseen-code", "warning", f"No row has the code {listed(unseen)}.", "Check the label names.")]
    return []


def label_of(column: str, value: Any, spelt: dict[str, Any]) -> str | None:
    """Return one label; `spelt` remembers the value behind each, so that 1 and "1" do not become one unnoticed."""
    if value is None or value == "":
        return None
    if isinstance(value, list | dict | bytes | tuple):
        raise DataError(
            f"The label column {column!r} holds {type(value).__name__} values, such as {str(value)[:60]}.",
            "Give each row one label: a string, a number, or true or false.",
        )
    label = value if isinstance(value, str) else str(value)
    first = spelt.setdefault(label, value)
    if type(first) is not type(value):
        raise DataError(
            f"The label column {column!r} holds {first!r} and {value!r}, of types {type(first).__name__} and "
            f"{type(value).__name__}, which would both read as {label!r}.",
            "Write the label in one way.",
        )
    return label


def class_name(column: str, classes: Sequence[str], value: Any) -> str | None:
    """Return the name of a `datasets.ClassLabel`'s integer, None where it is missing."""
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or not 0 <= value < len(classes):
        raise DataError(
            f"Column {column!r} has the class {value!r}, and there are {len(classes)} class names.",
            "Fix the ClassLabel.",
        )
    return classes[value]


def look_at_labels(column: str, labels: Sequence[str | None], seen: set[str]) -> list[Finding]:
    """Return what is odd about the labels as a whole."""
    findings = []
    n = sum(label is not None for label in labels)
    twins: dict[str, list[str]] = {}
    for label in natural_order(seen):
        twins.setdefault(" ".join(label.split()).casefold(), []).append(label)
    if same := [group for group in twins.values() if len(group) > 1]:
        findings.append(
            Finding(
                "similar-labels",
                "warning",
                f"Some labels differ only in blanks or capitals: {'; '.join(map(listed, same[:_SHOWN]))}.",
                "If they mean the same, write them alike; else nothing.",
                rows=sum(label in group for label in labels for group in same),
                examples=tuple(label for group in same for label in group)[: 2 * _SHOWN],
            )
        )
    if blank := [label for label in seen if not label.strip()]:
        findings.append(
            Finding(
                "blank-label",
                "warning",
                f"The label of some rows is nothing but blanks: {listed(blank)}.",
                "Empty these cells if the label is missing.",
                rows=sum(label in blank for label in labels),
            )
        )
    if len(seen) > _MANY or (n > 10 and len(seen) == n):
        findings.append(
            Finding(
                "many-labels",
                "error",
                f"Column {column!r} has {len(seen):,} different labels in {n:,} labelled rows.",
                "Is it the right column? Name the one with the classes.",
                rows=n,
                examples=natural_order(seen)[:_SHOWN],
            )
        )
    if len(seen) < 2:
        what = f"Every labelled row has the label {next(iter(seen))!r}" if seen else "No row has a label"
        findings.append(
            Finding("one-label" if seen else "no-labels", "error", f"{what}.", "Training needs two labels.", rows=n)
        )
    return findings


def listed(names: Sequence[str]) -> str:
    """Return some names as text, at most 20 of them."""
    return ", ".join(map(repr, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
