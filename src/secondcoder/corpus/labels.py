"""Which way labels are given, and so how they are read.

In: a table and the settings. Out: `Labels`. A column holds one label a text, or several; several columns hold 0 and 1,
or the shares of coders.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secondcoder.corpus.cells import check_mapping, class_name, label_of, labels_of, listed, look_at_labels, values_of
from secondcoder.corpus.corpus import PARTS, SEPARATOR, Corpus, TaskName, label_text, natural_order
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.frames import class_names
from secondcoder.errors import DataError, SettingsError
from secondcoder.settings import ReadSettings

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
    task: TaskName = "multi-class"
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
        tuple(None if names is None else label_text(sorted(names, key=place.__getitem__), separator) for names in sets),
        order,
        tuple(findings),
        "multi-label",
        separator,
    )


_OFF = 1e-6  # from which a sum that is not 1 is said to be none
_EQUAL = 1e-9


def shares_of_columns(
    table: pa.Table, columns: Sequence[str], ids: Sequence[str], *, mapping: Mapping[str, str]
) -> Labels:
    """Return the shares of coders that gave each class, every row made to sum to 1, and the most frequent class.

    Of classes with equal shares the first one in the order of the label names is taken for the label; a finding counts
    these rows. Training learns from the shares themselves, so a tie is no loss there. A row all of whose cells are
    empty has not been coded.

    Parameters
    ----------
    table
        The data.
    columns
        Each with the share, or the number, of coders that gave its class.
    ids
        Of the rows, for errors.
    mapping
        The user's names for the columns.

    Raises
    ------
    DataError
        If a cell is no number from 0 on, some cells of a row are empty, or they sum to 0; names the row.
    """
    if mapping:
        check_mapping(mapping, set(columns), "there are also the columns")
    by_column = {column: values_of(table, column) for column in columns}
    found = np.full((len(ids), len(columns)), np.nan)
    for row, id_ in enumerate(ids):
        cells = [by_column[column][row] for column in columns]
        empty = [column for column, cell in zip(columns, cells, strict=True) if cell is None or cell == ""]
        if len(empty) == len(columns):
            continue
        if empty:
            raise DataError(
                f"Row {id_!r}: the columns {listed(empty)} are empty, and others are not.",
                "Write 0 where no coder gave the class; leave all of them empty where nobody has coded the text.",
            )
        found[row] = [_number(id_, column, cell) for column, cell in zip(columns, cells, strict=True)]
        if not found[row].sum():
            raise DataError(f"Row {id_!r}: the shares of all classes are 0.", "Leave the cells empty, or fix them.")
    given = {mapping.get(column, column): i for i, column in enumerate(columns)}
    coded = ~np.isnan(found[:, 0])
    absent = [name for name, i in given.items() if not found[coded, i].any()]
    names = natural_order(set(given) - set(absent))
    found = found[:, [given[name] for name in names]]
    sums = found.sum(axis=1, keepdims=True)
    shares = found / np.where(coded[:, np.newaxis], sums, 1.0)
    labels: list[str | None] = [None] * len(ids)
    tied = []
    for row in np.flatnonzero(coded).tolist():
        most = np.flatnonzero(shares[row] >= shares[row].max() - _EQUAL)
        labels[row] = names[most[0]]
        if len(most) > 1:
            tied.append(row)
    findings = _findings(absent, len(names), [ids[row] for row in tied], [ids[i] for i in _not_one(sums)])
    return Labels(tuple(labels), names, findings, shares=shares)


def _not_one(sums: np.ndarray[Any, np.dtype[np.float64]]) -> list[int]:
    """Return the rows whose sum, shape (n, 1), is none, in both senses."""
    rows: list[int] = np.flatnonzero(np.abs(sums[:, 0] - 1) > _OFF).tolist()
    return rows


def _findings(absent: list[str], k: int, tied: list[str], scaled: list[str]) -> tuple[Finding, ...]:
    findings = []
    if absent:
        findings.append(
            Finding(
                "unseen-class",
                "warning",
                f"No coder gave the class {listed(absent)}: it is left out.",
                "Code texts of it, if there are any.",
            )
        )
    if tied:
        findings.append(
            Finding(
                "tied-shares",
                "warning",
                f"Rows whose most frequent class is shared by two or more: {len(tied):,}; the first of these in the "
                "order of the label names is their label, against which figures are computed. Training learns from "
                "the shares.",
                "Let another coder decide, or leave the rows out.",
                len(tied),
                tuple(tied[:5]),
            )
        )
    if scaled:
        findings.append(
            Finding(
                "shares-scaled",
                "note",
                f"Rows whose shares did not sum to 1, as counts do, and were divided by their sum: {len(scaled):,}.",
                "Nothing, if the cells are counts of coders.",
                len(scaled),
                tuple(scaled[:5]),
            )
        )
    if k < 2:
        findings.append(Finding("one-label", "error", f"Coders gave {k} class(es).", "Training needs two labels."))
    return tuple(findings)


def _number(id_: str, column: str, cell: Any) -> float:
    try:
        # Python would read 1_000, which nobody writes in data, as a thousand.
        strange = isinstance(cell, bool | list | dict) or (isinstance(cell, str) and "_" in cell)
        number = math.nan if strange else float(cell)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise DataError(
            f"Row {id_!r}: column {column!r} holds {cell!r}, which is no share or number of coders.",
            "Give numbers from 0 on.",
        )
    return number


NATURAL = "natural"
"""In place of names: as people sort them, by the numbers in them where there are any."""


def in_order(labels: Labels, order: str) -> Labels:
    """Return the labels as those of an ordinal task.

    Parameters
    ----------
    labels
        One a text, or shares of coders.
    order
        The names from low to high with commas between them; or ``"natural"``.

    Raises
    ------
    SettingsError
        If a text may have several labels, or the order leaves out a label, names one that no text has, or names one
        twice.
    """
    if labels.task == "multi-label":
        raise SettingsError(
            "An order of the classes was named, and a text may have several of them.", "Leave out --ordinal (ordinal)."
        )
    names = _names(labels.names, order)
    if labels.shares is None:
        return replace(labels, names=names, task="ordinal")
    shares = labels.shares[:, [labels.names.index(name) for name in names]]
    # Of equal shares the first of the names counts, and these have another order now.
    most = np.argmax(shares >= shares.max(axis=1, keepdims=True) - 1e-9, axis=1)
    own = tuple(None if label is None else names[i] for label, i in zip(labels.labels, most.tolist(), strict=True))
    return replace(labels, names=names, labels=own, shares=shares, task="ordinal")


def _names(found: tuple[str, ...], order: str) -> tuple[str, ...]:
    """Return the names in the order named, each once."""
    if order == NATURAL:
        return found
    named = [name.strip() for name in order.split(",")]
    twice = [name for name, count in Counter(named).items() if count > 1]
    missing = [name for name in found if name not in named]
    extra = [name for name in dict.fromkeys(named) if name not in found]
    if twice or missing or extra:
        wrong = [
            f"{what} {listed(names)}"
            for what, names in (("leaves out", missing), ("names, though no text has it,", extra), ("repeats", twice))
            if names
        ]
        raise SettingsError(
            f"The order {order!r} {'; it '.join(wrong)}. The labels are {listed(found)}.",
            f"Name each label once, from low to high with commas between them; or {NATURAL}, for the order seen here.",
        )
    return tuple(named)


def read_labels(table: pa.Table, settings: ReadSettings, mapping: Mapping[str, str], ids: Sequence[str]) -> Labels:
    """Return the labels of all rows, in the order of an ordinal task; none where there is no label column.

    Parameters
    ----------
    table
        The data.
    settings
        ``label``, ``label_separator``, ``label_columns``, ``label_shares``, ``no_label``, ``positive``, ``ordinal``.
    mapping
        The user's names for codes.
    ids
        Of the rows.

    Raises
    ------
    DataError
        If cells cannot be labels.
    SettingsError
        If the settings contradict each other or the data.
    """
    labels = _read(table, settings, mapping, ids)
    if settings.ordinal is None:
        return labels
    if not labels.names:
        raise SettingsError("An order of the classes was given, and no label column.", "Name it.")
    return in_order(labels, settings.ordinal)


def _read(table: pa.Table, settings: ReadSettings, mapping: Mapping[str, str], ids: Sequence[str]) -> Labels:
    separator, no_label, name = settings.label_separator, settings.no_label, settings.label
    if settings.label_columns:
        return sets_of_columns(table, settings.label_columns, ids, separator=separator, mapping=mapping)
    if settings.label_shares:
        return shares_of_columns(table, settings.label_shares, ids, mapping=mapping)
    if name is None:
        if mapping or settings.positive is not None:
            raise SettingsError("Label names or a positive class were given, and no label column.", "Name it.")
        return Labels((None,) * len(ids), ())
    classes = class_names(table.schema).get(name)
    lists = holds_lists(table, name)
    if lists or separator is not None:
        return sets_of_column(
            table,
            name,
            ids,
            separator=separator,
            no_label=no_label,
            classes=classes,
            mapping=mapping,
        )
    if no_label is not None:
        raise SettingsError(
            f"no_label is {no_label!r}, and each text has one label.",
            "Add --label-separator (label_separator), if the cells hold several labels; else leave it out.",
        )
    labels, names, findings = labels_of(table, name, classes, mapping)
    return Labels(tuple(labels), names, tuple(findings))


def label_roles(settings: ReadSettings) -> dict[str, str]:
    """Return which columns hold the labels, by role: ``label``, or ``label 1``, ``label 2`` and so on for several."""
    if settings.label is not None:
        return {"label": settings.label}
    several = settings.label_columns or settings.label_shares
    return {f"label {i}": column for i, column in enumerate(several, 1)}


def scheme_findings(corpus: Corpus) -> list[Finding]:
    """Return what is to be known of labels because of the way they are given."""
    if corpus.multi_label:
        return _set_findings(corpus)
    counts = {name: count for name, count in corpus.label_counts().items() if count}
    if len(counts) != 1:
        return []
    ((name, n),) = counts.items()
    message = f"Every labelled row has the label {name!r}."
    return [Finding("one-label", "error", message, "Training needs two labels.", n)]


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
        shown = tuple(corpus.ids[row] for row in empty[:5])
        found.append(Finding("no-class", "note", message, cure, len(empty), shown))
    return found


def differing_labels(task: TaskName) -> str:
    """Return what rows of one text have, where coders did not agree."""
    return "different sets of labels" if task == "multi-label" else "more than one label"


def labelled_rows(corpus: Corpus, parts: Mapping[str, int] | None) -> dict[str, int] | None:
    """Return how many rows are labelled, in all and of each part that there is; None where counts of labels say so.

    Parameters
    ----------
    parts
        Rows of each part of a split; without it, the parts that the data gives are counted, if any.
    """
    if not corpus.multi_label:
        return None
    counts = {"all": sum(label is not None for label in corpus.labels)}
    if parts is not None:
        return counts | dict(parts)
    if corpus.parts is not None:
        found = Counter(part for part, label in zip(corpus.parts, corpus.labels, strict=True) if label is not None)
        counts |= {part: found[part] for part in PARTS}
    return counts
