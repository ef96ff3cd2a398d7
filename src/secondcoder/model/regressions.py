"""Logistic regressions that have been fitted: features → logits and probabilities of each class.

In: what a fit found, as arrays. Out: what it says of features. They are fitted in `secondcoder.training.tfidf`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from secondcoder.evaluation.calibration import TEMPERATURES
from secondcoder.evaluation.tasks import Task

_NEVER = -36.0 * TEMPERATURES[1]
"""Logit of a class that no row had: at any temperature a probability that is lost in double precision beside 1."""


@dataclass(frozen=True, eq=False)
class Regressions:
    """Logistic regressions on f features: one of all classes, or where a text may have several, one of each.

    Attributes
    ----------
    rules
        The label scheme.
    shares : ndarray of shape (k,)
        What is given where nothing was learned; see `Task.majority`.
    known : ndarray of shape (m,)
        The classes of which something was learned, as positions, rising.
    weights : ndarray of shape (rows, f)
        A row for each of these; one for both, where one regression is of two.
    intercepts : ndarray of shape (rows,)
        Of the same rows.
    joint
        Whether one regression is of all classes.
    """

    rules: Task
    shares: NDArray[np.float64]
    known: NDArray[np.int64]
    weights: NDArray[np.floating[Any]]
    intercepts: NDArray[np.float64]
    joint: bool

    @classmethod
    def of(cls, learned: Mapping[str, NDArray[Any]], rules: Task, *, joint: bool) -> Self:
        """Return those of which `learned` gave the arrays."""
        return cls(rules, learned["shares"], learned["known"], learned["weights"], learned["intercepts"], joint)

    @property
    def learned(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays by name; weights in single precision."""
        return {
            "shares": self.shares,
            "known": self.known,
            "weights": self.weights.astype(np.float32),
            "intercepts": self.intercepts,
        }

    def stored(self) -> Self:
        """Return them as they are after they were saved and read."""
        return self.of(self.learned, self.rules, joint=self.joint)

    def known_logits(self, products: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return the logits of known classes, shape (n, m), from products of features and weights, shape (n, rows)."""
        found = products + self.intercepts
        both = self.joint and found.shape[1] == 1
        return np.column_stack([np.zeros(len(found)), found]) if both else found

    def logits(self, products: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logits of all classes, shape (n, k), from products of features and weights.

        Of several classes a text, one that all rows of train had is as sure as one that none had, the other way round.
        """
        never = np.full(len(self.shares), _NEVER)
        if not self.joint:
            never[self.shares >= 0.5] *= -1
        found = np.tile(never, (len(products), 1))
        found[:, self.known] = self.known_logits(products)
        return found

    def probabilities(self, products: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
        """Return probabilities, ndarray of shape (n, k), from products of features and weights, shape (n, rows).

        Where there is one regression, a class that was not learned has 0; else a class that all rows had, or none, has
        its share. Where nothing was learned, all have their shares.
        """
        if not len(self.known):
            return np.tile(self.shares, (len(products), 1))
        found = np.zeros((len(products), len(self.shares)))
        if not self.joint:
            found[:] = self.shares
        found[:, self.known] = self.rules.probabilities(self.known_logits(products) / temperature)
        return found

    def best_temperature(self, gold: NDArray[Any], logits: NDArray[np.floating[Any]]) -> float:
        """Return the temperature that fits logits of known classes, shape (n, m), best; see `fit_temperature`."""
        if not self.joint:
            return self.rules.temperature(gold[:, self.known], logits)
        rows = np.isin(gold, self.known)
        return self.rules.temperature(np.searchsorted(self.known, gold[rows]), logits[rows]) if rows.any() else 1.0
