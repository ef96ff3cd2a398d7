"""Sets of labels handed over beside texts: an indicator matrix, or a list of sets, as scikit-learn's users have them.

In: y. Out: the sets of names and the classes as they were given, or None where y holds one label a text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.arrays import InputError, corpus_of, label_name, list_of_texts, numbered
from secondcoder.corpus.corpus import SEPARATOR, Corpus, join_set, natural_order

_SEPARATORS = (SEPARATOR, "|", "¦", "\x1f")


def sets_of(given: Any) -> tuple[list[list[str]], NDArray[Any]] | None:
    """Return the names of each row's labels, and the k classes as given, ndarray of shape (k,); None if y is no sets.

    Parameters
    ----------
    given
        A matrix of 0 and 1 of shape (n, k), whose columns are the classes (named, in a data frame; else 0, 1, …); or a
        sequence of sets, tuples or lists of labels. Lists of one length that hold nothing but 0 and 1 are the rows of
        a matrix, as scikit-learn takes them; labels of these names have to come in sets.

    Raises
    ------
    InputError
        If it is a matrix of anything else, its rows cannot be told from sets, or a label is none.
    """
    if getattr(given, "ndim", 1) == 2:
        return None if given.shape[1] == 1 else _of_matrix(given)
    if isinstance(given, Sequence) and given and all(getattr(row, "ndim", 0) == 1 for row in given):
        given = [list(row) for row in given]  # the rows of a matrix, one by one
    if isinstance(given, Sequence) and given and isinstance(given[0], set | frozenset | tuple | list):
        return _of_matrix(np.array(given)) if _are_rows(given) else _of_sets(given)
    if isinstance(given, np.ndarray) or hasattr(given, "iloc"):  # an array or a column of sets
        values = list(given)
        return _of_sets(values) if values and isinstance(values[0], set | frozenset | tuple | list) else None
    return None


def separator_for(names: Iterable[str]) -> str:
    """Return what can join the names: the usual separator, or another one where a name contains it.

    Raises
    ------
    InputError
        If each that is known is contained in a name.
    """
    names = list(names)
    for separator in _SEPARATORS:
        if not any(separator in name for name in names):
            return separator
    raise InputError("The labels contain every character that could join them.", f"Keep {SEPARATOR!r} out of them.")


def _are_rows(given: Sequence[Any]) -> bool:
    """Return whether these are rows of 0 and 1 of one length."""
    lists = all(isinstance(row, tuple | list) for row in given) and len({len(row) for row in given}) == 1
    return lists and len(given[0]) > 1 and all(value in (0, 1) for row in given for value in row)


def _of_matrix(given: Any) -> tuple[list[list[str]], NDArray[Any]]:
    columns = getattr(given, "columns", None)
    dense = given.toarray() if hasattr(given, "toarray") else np.asarray(given)
    classes = np.arange(dense.shape[1]) if columns is None else np.array([str(name) for name in columns], dtype=object)
    names = [label_name(c) for c in classes.tolist()]
    _check_names(names)
    try:
        numbers = dense.astype(np.float64)
    except (TypeError, ValueError):
        numbers = np.full(dense.shape, np.nan)
    if (bad := np.argwhere((numbers != 0) & (numbers != 1))).size:
        row, column = bad[0].tolist()
        raise InputError(
            f"y has {dense.shape[1]} columns, and y[{row}, {column}] is {dense[row, column]}.",
            "Unknown label type: give one label a text, or a matrix of 0 and 1 with a column for each class.",
        )
    return [[names[i] for i in np.flatnonzero(row)] for row in numbers], classes


def _of_sets(given: Sequence[Any]) -> tuple[list[list[str]], NDArray[Any]]:
    for row, labels in enumerate(given):
        if not isinstance(labels, set | frozenset | tuple | list):
            raise InputError(f"y[{row}] is {labels!r}, and other rows are sets of labels.", "Give a set for each text.")
        if len(set(labels)) < len(labels) or None in labels:
            raise InputError(f"y[{row}] is {labels!r}.", "Name each label of a text once.")
    found = {label for labels in given for label in labels}
    if len(kinds := {type(label) for label in found}) > 1:
        raise InputError(
            f"The labels in y are of several types, as {sorted(k.__name__ for k in kinds)}.", "Choose one."
        )
    classes = sorted(found)
    _check_names([label_name(label) for label in classes])
    kind = np.int64 if kinds == {int} else object
    return [[label_name(label) for label in labels] for labels in given], np.array(classes, dtype=kind)


def _check_names(names: Sequence[str]) -> None:
    if len(names) < 2 or len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise InputError(
            f"The classes in y are {list(names)[:20]}.", "There must be two or more, each with its own name."
        )


def corpus_for(
    X: Iterable[str],  # noqa: N803 - scikit-learn's name for it
    y: Any,
    groups: Iterable[Any] | None = None,
    *,
    positive: object = None,
) -> tuple[Corpus, NDArray[Any]]:
    """Return the corpus and the classes as `secondcoder.corpus.arrays.corpus_of` does; y may hold sets of labels too.

    Raises
    ------
    InputError
        If something is not a text, a label or a set of them, is missing, or there are too few or too many.
    """
    found = sets_of(y)
    if found is None:
        return corpus_of(X, y, groups, positive=positive)
    sets, classes = found
    if positive is not None:
        raise InputError(f"positive is {positive!r}, and a text may have several labels.", "Leave it out.")
    names = natural_order(label_name(label) for label in classes.tolist())
    separator, place = separator_for(names), {name: i for i, name in enumerate(names)}
    labels = [join_set(sorted(own, key=place.__getitem__), separator) for own in sets]
    corpus = numbered(list_of_texts(X), labels, groups)
    return replace(corpus, label_names=names, task="multi-label", separator=separator), classes
