"""Soft labels: the share, or the number, of coders that gave each class.

In: a column for each class. Out: `Labels` with shares, and the class that most coders gave as the label.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from secondcoder.corpus.cells import check_mapping, listed, values_of
from secondcoder.corpus.corpus import natural_order
from secondcoder.corpus.findings import Finding
from secondcoder.corpus.several_labels import Labels
from secondcoder.errors import DataError

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
            raise DataError(f"Row {id_!r}: the shares of all classes are 0.", "Leave the cells empty, or mend them.")
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
