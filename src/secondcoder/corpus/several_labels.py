"""Several labels a text, in whichever way the data writes them: in one cell, as a list, in a column for each class.

In: columns as they came, and how they are to be read. Out: `Labels` of a multi-label task. Nothing is repaired: a name
that comes twice, an empty one, a cell that says neither yes nor no are errors that name the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secondcoder.corpus.cells import check_mapping, class_name, label_of, listed, look_at_labels, values_of
from secondcoder.corpus.corpus import SEPARATOR, Task, join_set, natural_order
from secondcoder.corpus.findings import Finding
from secondcoder.errors import DataError

_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of all rows, as a `secondcoder.corpus.corpus.Corpus` holds them.

    Attributes
    ----------
    labels
        One per row; None where it has not been labelled.
    names
        The classes.
    findings
        What was noticed.
    task, separator, shares
        See `secondcoder.corpus.corpus.Corpus`.
    """

    labels: tuple[str | None, ...]
    names: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    task: Task = "multi-class"
    separator: str = SEPARATOR
    shares: NDArray[np.float64] | None = None


def holds_lists(table: pa.Table, name: str) -> bool:
    """Return whether a column's values are lists."""
    kind = table.schema.field(name).type
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_list_view(kind):
        return True
    return any(isinstance(value, list) for value in values_of(table, name))


def sets_of_column(
    table: pa.Table,
    name: str,
    ids: Sequence[str],
    *,
    separator: str | None,
    no_label: str | None,
    classes: Sequence[str] | None,
    mapping: Mapping[str, str],
) -> Labels:
    """Return the sets of labels of one column: names with a separator between them, or lists of names.

    Names lose the blanks around them. An empty cell is a row that has not been labelled; an empty list is a text of no
    class.

    Parameters
    ----------
    table, name
        The data, and the column.
    ids
        Of the rows, for errors.
    separator
        What stands between names; None where the cells are lists.
    no_label
        The word for a text of no class.
    classes
        Names of integers 0, 1, … in lists of a `datasets.ClassLabel`.
    mapping
        The user's names for codes.

    Raises
    ------
    DataError
        If a cell cannot be a set of labels; names its row.
    """
    between = separator or SEPARATOR
    spelt: dict[str, Any] = {}
    sets: list[tuple[str, ...] | None] = []
    for id_, value in zip(ids, values_of(table, name), strict=True):
        where = f"Row {id_!r}, column {name!r}"
        if value is None or value == "":
            sets.append(None)
            continue
        items: list[Any]
        if isinstance(value, list):
            items = [class_name(name, classes, item) if classes is not None else item for item in value]
        elif separator is None:
            raise DataError(
                f"{where} holds {value!r}, and other rows hold lists.", "Give each row a list of its labels."
            )
        else:
            items = value.split(separator) if isinstance(value, str) else [value]
        if any(isinstance(item, float) for item in items):
            raise DataError(f"{where}: {value!r} is a decimal number.", "Write labels as strings or whole numbers.")
        names = [(label_of(name, item, spelt) or "").strip() for item in items]
        sets.append(_checked_set(where, value, names, between, no_label))
    return _labels(name, sets, between, mapping, classes)


def _checked_set(
    where: str, value: object, names: list[str], separator: str, no_label: str | None
) -> tuple[str, ...] | None:
    """Return the names of one cell, each once and none of them empty; None where the cell is nothing but blanks."""
    if names == [""] and not isinstance(value, list):
        return None
    if names == [no_label]:
        return ()
    if no_label in names:
        raise DataError(
            f"{where}: {value!r} names {no_label!r}, which stands for no class, beside others.", "Decide on one."
        )
    if "" in names:
        raise DataError(f"{where}: {value!r} has an empty name.", "Remove the separator too many, or the empty item.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{where}: {value!r} has {listed(twice)} twice.", "Write each label once.")
    if held := [name for name in names if separator in name]:
        raise DataError(
            f"{where}: the label {held[0]!r} contains the separator {separator!r}, which joins labels when they are "
            "written.",
            "Choose another one: --label-separator '|' (label_separator='|').",
        )
    return tuple(names)


def sets_of_columns(
    table: pa.Table, columns: Sequence[str], ids: Sequence[str], *, separator: str | None, mapping: Mapping[str, str]
) -> Labels:
    """Return the sets of labels that columns of 0 and 1 spell out, one column a class.

    A cell may be 0 or 1, false or true, no or yes, in any case. A row all of whose cells are empty has not been
    labelled; one with some empty cells is an error.

    Raises
    ------
    DataError
        As `sets_of_column`.
    """
    between = separator or SEPARATOR
    if held := [column for column in columns if between in column and column not in mapping]:
        raise DataError(
            f"The label column {held[0]!r} has the separator {between!r} in its name.",
            "Choose another one: --label-separator '|' (label_separator='|'), or give names with --label-names.",
        )
    by_column = {column: values_of(table, column) for column in columns}
    sets: list[tuple[str, ...] | None] = []
    for row, id_ in enumerate(ids):
        cells = {column: values[row] for column, values in by_column.items()}
        empty = [column for column, cell in cells.items() if cell is None or cell == ""]
        if len(empty) == len(cells):
            sets.append(None)
            continue
        if empty:
            raise DataError(
                f"Row {id_!r}: the label columns {listed(empty)} are empty, and others are not.",
                "Write 0 where the text is not of the class; leave all of them empty where it has not been labelled.",
            )
        sets.append(tuple(column for column, cell in cells.items() if _is_yes(id_, column, cell)))
    return _labels("label columns", sets, between, mapping, columns)


def _is_yes(id_: str, column: str, cell: Any) -> bool:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    text = str(cell).strip().casefold()
    if text in _YES or text in _NO:
        return text in _YES
    raise DataError(
        f"Row {id_!r}: the label column {column!r} holds {cell!r}.",
        "Its cells may be 0 or 1, false or true, no or yes. For shares or counts of coders, use --label-shares.",
    )


def _labels(
    column: str,
    sets: Sequence[tuple[str, ...] | None],
    separator: str,
    mapping: Mapping[str, str],
    known: Sequence[str] | None,
) -> Labels:
    """Return the sets with names fixed and in order, and what is odd about them."""
    flat = [name for names in sets for name in names or ()]
    seen, findings = set(flat), list[Finding]()
    if mapping:
        findings += check_mapping(mapping, seen, f"{column!r} also has")
        if held := [name for name in mapping.values() if separator in name]:
            raise DataError(
                f"The label name {held[0]!r} contains the separator {separator!r}.",
                "Choose another one: --label-separator '|' (label_separator='|').",
            )
        sets = [None if names is None else tuple(mapping[name] for name in names) for names in sets]
        flat = [mapping[name] for name in flat]
        seen = set(flat)
    elif known is not None and (absent := [name for name in known if name not in seen]):
        findings.append(
            Finding(
                "unseen-class",
                "warning",
                f"No row has the class {listed(absent)}: it is left out.",
                "Label texts of it, if there are any.",
            )
        )
    order = natural_order(seen)
    place = {name: i for i, name in enumerate(order)}
    # What is said of one label a row does not fit here; texts of no class are counted by `secondcoder check`.
    findings += [
        finding for finding in look_at_labels(column, flat, seen) if finding.kind not in ("one-label", "no-labels")
    ]
    n = sum(names is not None for names in sets)
    if not n:
        findings.append(Finding("no-labels", "error", "No row has a label.", "Training needs labelled texts."))
    elif len(order) < 2:
        findings.append(
            Finding(
                "one-label",
                "error",
                f"The labelled rows know {f'only the class {order[0]!r}' if order else 'no class'}.",
                "A multi-label task needs two classes. To tell one class from all else, give each text one label of "
                "two.",
                rows=n,
            )
        )
    return Labels(
        tuple(None if names is None else join_set(sorted(names, key=place.__getitem__), separator) for names in sets),
        order,
        tuple(findings),
        "multi-label",
        separator,
    )
