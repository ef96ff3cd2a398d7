"""Which way labels are given, and so how they are read.

In: a table and the settings. Out: `Labels`. A column holds one label a text, or several; several columns hold 0 and 1,
or the shares of coders.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from secondcoder.corpus.cells import labels_of
from secondcoder.corpus.frames import class_names
from secondcoder.corpus.ordinal import in_order
from secondcoder.corpus.several_labels import Labels, holds_lists, sets_of_column, sets_of_columns
from secondcoder.corpus.soft_labels import shares_of_columns
from secondcoder.errors import SettingsError
from secondcoder.settings import ReadSettings


def read_labels(table: pa.Table, settings: ReadSettings, mapping: Mapping[str, str], ids: Sequence[str]) -> Labels:
    """Return the labels of all rows, in the order of an ordinal task; none where no column was named.

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
