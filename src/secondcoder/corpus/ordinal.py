"""Classes that have an order: labels that were read, and the order that the user names.

In: `Labels` of one label a text. Out: the same as an ordinal task, the names from low to high.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from secondcoder.corpus.cells import listed
from secondcoder.corpus.several_labels import Labels
from secondcoder.errors import SettingsError

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
