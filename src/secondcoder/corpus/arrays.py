"""Texts and labels handed over side by side, as scikit-learn's users do: X, y and groups.

In: lists, arrays or columns of one length. Out: a `Corpus`, and the labels as they were before they became strings.
Nothing is left out silently: predictions must stand beside the rows that were given.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from secondcoder.corpus.corpus import SEPARATOR, Corpus, Source, label_text, natural_order
from secondcoder.errors import DataError
from secondcoder.storage import sha256_strings


class InputError(DataError, ValueError):
    """The texts or labels cannot be used as they are; a ValueError too, as scikit-learn promises its users."""


def corpus_of(
    X: Iterable[str],  # noqa: N803 - scikit-learn's name for it
    y: Iterable[Any] | None,
    groups: Iterable[Any] | None = None,
    *,
    positive: object = None,
) -> tuple[Corpus, NDArray[Any]]:
    """Return the corpus, rows numbered from 1, and the k different labels of y, sorted: ndarray of shape (k,).

    Parameters
    ----------
    X, y, groups
        One text, label and group for each row; no group where it is None, NaN or ``""``.
    positive
        The positive class, as it stands in y.

    Raises
    ------
    InputError
        If something is not a text or a label, is missing, or there are too few or too many.
    """
    texts = list_of_texts(X)
    labels, classes = _labels_of(y, len(texts))
    corpus = numbered(texts, labels, groups)
    name = None if positive is None else label_name(positive)
    return replace(corpus, label_names=natural_order(set(labels)), positive=name), classes


def numbered(texts: Sequence[str], labels: Sequence[str], groups: Iterable[Any] | None) -> Corpus:
    """Return texts with their labels as a corpus without label names, rows numbered from 1.

    Raises
    ------
    InputError
        If there is not one label and one group for each text.
    """
    _require_length("labels", len(labels), len(texts))
    ids = [str(row) for row in range(1, len(texts) + 1)]
    return Corpus(
        ids=tuple(ids),
        texts=tuple(texts),
        labels=tuple(labels),
        label_names=(),
        columns=pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())}),
        source=Source("texts in memory", sha256_strings(ids, texts, labels)),
        groups=None if groups is None else _groups_of(groups, len(texts)),
    )


def list_of_texts(given: Iterable[str]) -> list[str]:
    """Return the texts as a list of strings.

    Raises
    ------
    InputError
        If something is not a text, or is an empty one.
    """
    if isinstance(given, str):
        raise InputError(f"A single text was given: {given[:40]!r}.", "Put it in a list: [text].")
    if getattr(given, "ndim", 1) != 1 or not hasattr(given, "__iter__"):
        kind = f"{type(given).__module__}.{type(given).__qualname__}"
        raise InputError(
            f"X is a {kind} of shape {getattr(given, 'shape', 'unknown')}, and not a row of texts.",
            "Give a list, a one-dimensional array or one column of strings, as in frame['text'].",
        )
    texts = list(given)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"X[{row}] is {text!r}, of type {type(text).__name__}.", "Give strings.")
        if not text.strip():
            raise InputError(f"X[{row}] is an empty text.", "Leave the row out.")
        _require_characters(f"X[{row}]", text)
    return [str(text) for text in texts]  # numpy's strings are a type of their own


def label_name(label: object) -> str:
    """Return the string that stands for a label, as `secondcoder.read` would: 1.0 is ``"1"``."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _labels_of(given: Iterable[Any] | None, n: int) -> tuple[list[str], NDArray[Any]]:
    """Return the name of each row's label, and the different labels as they were given, sorted."""
    if given is None:
        raise InputError("A classifier requires y to be passed, but the target y is None.", "Give each text its label.")
    if getattr(given, "ndim", 1) != 1 or not hasattr(given, "__iter__"):
        given = column_or_1d(given, warn=True)
    values = list(given)
    _require_length("labels", len(values), n)
    kinds = {_kind(row, value): value for row, value in enumerate(values)}
    if len(kinds) > 1:  # asked before numpy sees them, which turns [1, "1"] into two equal strings
        raise InputError(f"The labels in y are of several types, as {list(kinds.values())}.", "Write them all alike.")
    array = np.asarray(given) if hasattr(given, "dtype") else np.asarray(values)
    # scikit-learn knows neither numpy's variable-width strings nor what pandas' nullable numbers become.
    if array.dtype.kind == "T" or (array.dtype.kind == "O" and "text" not in kinds):
        array = np.asarray(values)
    check_classification_targets(array)
    classes, position = np.unique(array, return_inverse=True)
    if len(classes) < 2:
        found = f"1 class, {values[0]!r}," if values else "0 classes"
        raise InputError(f"y has {found} in {n} rows.", "Give texts of two classes or more, several of each.")
    names = [label_name(label) for label in classes.tolist()]
    return [names[i] for i in position], classes


def _kind(row: int, label: Any) -> str:
    """Return which kind of label this is; within one kind, different labels have different names."""
    if isinstance(label, str):
        if not label.strip():
            raise InputError(f"y[{row}] is an empty label, {label!r}.", "Leave the row out, or give it its label.")
        _require_characters(f"y[{row}]", label)
        return "text"
    if isinstance(label, bool | np.bool_):
        return "truth value"
    if isinstance(label, Real) and math.isfinite(label):
        return "number"
    raise InputError(
        f"y[{row}] is {label!r}, of type {type(label).__name__}.",
        "Give strings, whole numbers or booleans, and leave out the rows without a label.",
    )


def _groups_of(given: Iterable[Any], n: int) -> tuple[str, ...]:
    groups = tuple("" if _is_missing(group) else str(group) for group in given)
    _require_length("groups", len(groups), n)
    return groups


def _is_missing(value: object) -> bool:
    # pandas' NA can be recognised by its name only, as pandas is not imported for it.
    return (
        value is None or type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, Real) and value != value)
    )


def _require_length(what: str, found: int, n: int) -> None:
    if found != n:
        raise InputError(f"X has {n} texts, and there are {found} {what}.", "Give one for each text.")


def _require_characters(where: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} has an unpaired surrogate at position {error.start}.", "Repair its encoding."
        ) from None


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
    labels = [label_text(sorted(own, key=place.__getitem__), separator) for own in sets]
    corpus = numbered(list_of_texts(X), labels, groups)
    return replace(corpus, label_names=names, task="multi-label", separator=separator), classes
