"""Comparison of two sets of labels a text, both of which may hold several classes or none.

In: gold sets, two sets of probabilities and what each gave, text by text. Out: `Comparison`, as for one label a text.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from secondcoder.errors import DataError
from secondcoder.evaluation import paired
from secondcoder.evaluation.comparison import Comparison
from secondcoder.evaluation.difference import Difference, difference_of, notes_on_groups
from secondcoder.evaluation.label_sets import losses_of_texts
from secondcoder.evaluation.paired import Floats, McNemar

Sets = NDArray[np.bool_]
_STEP = 1e-4  # of a text, in derivatives
_OF_TEXTS = ("exact-match", "hamming-loss", "log-loss")


def compare_sets(
    gold: Sets,
    probabilities: tuple[Floats, Floats],
    given: tuple[Sets, Sets],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
) -> Comparison:
    """Return how two sets of labels for the same texts differ, and how sure that is.

    Independent texts: Tango's score interval and McNemar's exact test for the exact match; for F1, micro- and macro-F1
    Student's t with the delta method, to which for each class one half text is added on either side; for Hamming loss
    and log loss the paired t. The unit is the text, since decisions on one hang together. With groups, as for one
    label a text.

    Parameters
    ----------
    gold
        ndarray of shape (n, k): which classes each text has.
    probabilities, given
        Of the first and the second: ndarray of shape (n, k), float and bool.
    label_names
        The k classes.
    groups
        The group of each text; None if texts are independent. ``""`` is a text of its own.

    Raises
    ------
    DataError
        If the rows do not fit together.
    """
    names, n = tuple(label_names), len(gold)
    for array in (*probabilities, *given):
        if array.shape != (n, len(names)) or gold.shape != array.shape or not n:
            raise DataError(
                f"An array has shape {array.shape}; gold has {gold.shape}, and there are {len(names)} label names.",
                "Give one row for each text and one column for each class, and at least one text.",
            )
    if groups is not None and len(groups) != n:
        raise DataError(f"There are {len(groups)} groups for {n} texts.", "Give one group for each text.")
    outcomes = _columns(gold, *given)
    right = tuple((gold == own).all(axis=1) for own in given)
    of_texts = [
        np.column_stack([(1.0 * one), (1.0 * two)])
        for one, two in (
            right,
            tuple((gold != own).mean(axis=1) for own in given),
            tuple(losses_of_texts(gold, p) for p in probabilities),
        )
    ]
    values = np.column_stack([_figures(outcomes.sum(axis=0)), *(own.mean(axis=0) for own in of_texts)])  # (2, f)
    errors = _errors(outcomes, gold, of_texts)
    exact: McNemar | None = None
    notes: tuple[str, ...] = ()
    units, degrees, method = n, float(n - 1), "paired-t"
    if groups is None:
        exact = paired.mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()), n)
    else:
        sums = paired.group_sums(np.column_stack([outcomes, np.ones(n), *of_texts]), groups)
        at = outcomes.shape[1]
        units, degrees, method = len(sums), paired.group_degrees(sums[:, at]), "paired-jackknife-t"
        found = paired.jackknife(_differences, sums[:, :at], np.ones(units))
        means = [paired.loss_errors(sums[:, [at, at + 1 + 2 * i, at + 2 + 2 * i]]) for i in range(len(of_texts))]
        # Few groups can be more alike than texts that are drawn one by one, and even all the same, by chance.
        errors = np.maximum(errors, np.concatenate([found, *means]))
        notes = notes_on_groups(units)
    figures = ("macro-f1", "micro-f1", *(f"f1:{name}" for name in names), *_OF_TEXTS)
    undefined = {f"f1:{name}" for name, there in zip(names, gold.sum(axis=0).tolist(), strict=True) if not there}
    agreement = float((given[0] == given[1]).all(axis=1).mean())
    differences = {
        name: Difference(name, None, None, None)
        if name in undefined
        else difference_of(name, values[:, i], error=float(errors[i]), units=units, degrees=degrees, method=method)
        for i, name in enumerate(figures)
    }
    if agreement == 1:  # the spread is that of the added half texts alone
        differences |= {name: replace(d, detectable=None) for name, d in differences.items() if name != "log-loss"}
    if exact is not None:
        interval = paired.tango(exact.first_only, exact.second_only, n)
        differences["exact-match"] = replace(differences["exact-match"], interval=interval, p_value=exact.p_value)
    order = ("macro-f1", "micro-f1", "exact-match", *figures[2:])
    return Comparison(
        n=n,
        label_names=names,
        main="macro-f1",
        differences=tuple(differences[name] for name in dict.fromkeys(order)),
        agreement=agreement,
        mcnemar=exact,
        n_groups=None if groups is None else units,
        notes=notes,
    )


def _columns(gold: Sets, first: Sets, second: Sets) -> Floats:
    """Return gold rows, and hits and given of both, of each text by class: shape (n, 5 k)."""
    parts = (gold, gold & first, first, gold & second, second)
    return np.concatenate(parts, axis=1).astype(np.float64)


def _figures(sums: Floats) -> Floats:
    """Return macro-F1, micro-F1 and F1 by class of first and second, shape (…, 2, 2 + k), from shape (…, 5 k)."""
    support, *counts = np.split(sums, 5, axis=-1)
    found = []
    for hits, given in (counts[:2], counts[2:]):
        whole = support + given
        f1 = np.divide(2 * hits, whole, out=np.zeros_like(whole), where=whole > 0)
        macro = f1.sum(axis=-1) / np.maximum((whole > 0).sum(axis=-1), 1)
        pooled = whole.sum(axis=-1)
        micro = np.where(pooled > 0, 2 * hits.sum(axis=-1) / np.where(pooled > 0, pooled, 1.0), 0.0)
        found.append(np.concatenate([macro[..., np.newaxis], micro[..., np.newaxis], f1], axis=-1))
    return np.stack(found, axis=-2)


def _differences(sums: Floats) -> Floats:
    both = _figures(sums)
    found: Floats = both[..., 1, :] - both[..., 0, :]
    return found


def _errors(outcomes: Floats, gold: Sets, of_texts: Sequence[Floats]) -> Floats:
    """Return standard errors of the differences between independent texts, in the order of the figures."""
    n, k = gold.shape
    share = gold.mean(axis=0)
    pseudo, weights = [], []
    for c in range(k):
        for is_class, weight in ((True, share[c]), (False, 1 - share[c])):
            for first, second in ((True, False), (False, True)):
                one = np.zeros((5, k))
                one[:, c] = (is_class, is_class and first, first, is_class and second, second)
                pseudo.append(one.ravel())
                weights.append(weight / 2)
    units = np.concatenate([outcomes, np.array(pseudo)])
    counts = np.concatenate([np.ones(n), np.array(weights)])
    errors = paired.jackknife(_differences, units, counts, step=_STEP)
    means = [paired.loss_errors(np.column_stack([np.ones(n), own])) for own in of_texts]
    return np.concatenate([errors, *means])
