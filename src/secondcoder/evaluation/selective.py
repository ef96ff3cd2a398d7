"""Labelling only what is sure: how wrong the labels are that remain, and from which confidence on.

In: gold class positions and probabilities. Out: `RiskCoverage`, `Guarantee`. Knows no model. A text's confidence is the
probability of the class that it is given; where it may have several, that of its least sure decision. Whoever goes on
with the accepted texts only has selected: sure texts are not like the others, and shares among them are not the
corpus's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from secondcoder.evaluation.calibration import top_class
from secondcoder.evaluation.count_intervals import share_interval
from secondcoder.evaluation.intervals import Interval
from secondcoder.settings import check_range
from secondcoder.storage import Stored

MOST_POINTS = 50
# The search for a confidence starts where an eighth of the texts is accepted. Earlier, one wrong among few would end
# it; later, a corpus of which little can be labelled would be given up.
_FIRST_PART = 8
_REDRAWN = 200
_RARE = 0.5  # of studies: below, those that find a confidence are a selection
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RiskPoint:
    """What comes of labelling only texts from a confidence on.

    Attributes
    ----------
    min_confidence
        Texts of at least this confidence are accepted.
    coverage
        Share of texts that are accepted.
    error
        Share of the accepted texts whose label is wrong.
    interval
        Where that share may lie; None if no interval can be given.
    """

    min_confidence: float
    coverage: float
    error: float
    interval: Interval | None


@dataclass(frozen=True)
class RiskCoverage(Stored, name="a risk-coverage curve", cure="Run the evaluation again."):
    """How the error falls as fewer texts are labelled.

    Attributes
    ----------
    points
        At most 50, from few texts accepted to all.
    area
        Area under the curve: the error among accepted texts, averaged over all confidences that occur. Between models
        of equal accuracy the smaller one is of the model that knows better where it is wrong.
    """

    points: tuple[RiskPoint, ...]
    area: float


@dataclass(frozen=True)
class Guarantee(Stored, name="a guarantee", cure="Choose the confidence again."):
    """From which confidence on the error stays below a limit, and what that promise is worth.

    It is one of the procedure, before it looks: of 100 studies, at most ``100 * delta`` end with a confidence from
    which on the error is above the limit. The others keep it, or find none. Of those studies alone that find one, more
    may fail, and most of them where finding one is rare.

    Attributes
    ----------
    max_error
        The limit asked for: a share of the accepted texts.
    delta
        Probability, over the choice of the n texts, that a confidence is chosen and the error is above the limit.
    min_confidence
        Texts of at least this confidence are accepted; None if none was found.
    coverage
        Share of the n texts that are accepted; 0 if there is no such confidence.
    error
        Share of these that are wrong; None if there is no such confidence.
    bound
        Upper limit of the error by the accepted texts alone; at most `max_error`, which is what is promised. None if
        there is no such confidence.
    n
        Number of texts that it was chosen on.
    n_groups
        How many groups these come from; None where they come in none, or that was not written down. They are taken as
        independent all the same.
    chance
        In what share of studies of n texts a confidence is found, as `chance_of_finding` has it from other texts; None
        if that is not known. Optimistic where these texts also chose the model.
    """

    max_error: float
    delta: float
    min_confidence: float | None
    coverage: float
    error: float | None
    bound: float | None
    n: int
    n_groups: int | None = None
    chance: float | None = None

    @property
    def fewest(self) -> int:
        """The least number of accepted texts, all of them right, by which the limit can be promised."""
        return math.ceil(math.log(self.delta) / math.log1p(-self.max_error))

    @property
    def worth(self) -> str:
        """What the promise is worth, in sentences: these belong wherever a chosen confidence is shown."""
        said = [
            "The procedure, which may also find no such confidence, keeps this promise in at least "
            f"{100 * (1 - self.delta):g} of 100 studies; it takes {self.fewest:,} accepted texts, if all are right."
        ]
        if self.n < self.fewest:
            said.append(f"With {self.n:,} texts it could find none.")
        elif self.chance is not None:
            rare = " Where finding one is that rare, one that is found keeps the promise less often." * (
                self.chance < _RARE and self.min_confidence is not None
            )
            said.append(
                f"Of 100 studies with {self.n:,} texts, about {100 * self.chance:.0f} would find one, probably fewer: "
                f"that was simulated with texts drawn from the rest of dev, by which the model was chosen.{rare}"
            )
        if self.n_groups is not None:
            groups = "1 group" if self.n_groups == 1 else f"{self.n_groups:,} groups"
            said.append(f"The texts come from {groups} and are taken as independent, which such texts are not.")
        return " ".join(said)


def risk_coverage(
    gold: NDArray[np.int64],
    probabilities: Floats,
    *,
    groups: Sequence[str] | None = None,
    given: NDArray[np.int64] | None = None,
) -> RiskCoverage:
    """Return `risk_coverage_of` labels, gold ones of shape (n,) against those given, or else the most probable ones.

    Raises
    ------
    DataError
        If rows and probabilities, of shape (n, k), do not fit together.
    """
    return risk_coverage_of(*top_class(gold, probabilities, given), groups=groups)


def risk_coverage_of(
    confidence: Floats, right: NDArray[np.bool_], *, groups: Sequence[str] | None = None
) -> RiskCoverage:
    """Return how the error falls as fewer texts are labelled.

    Parameters
    ----------
    confidence, right
        ndarray of shape (n,): how sure the label of each text is, and whether it is the gold one.
    groups
        The group of each text, or None where texts are independent.

    References
    ----------
    .. [1] El-Yaniv & Wiener (2010). On the foundations of noise-free selective classification.
       https://jmlr.org/papers/v11/el-yaniv10a.html
    .. [2] Geifman, Uziel & El-Yaniv (2019). Bias-reduced uncertainty estimation for deep neural classifiers.
       https://arxiv.org/abs/1805.08206
    """
    order, thresholds, accepted, wrong = _by_confidence(confidence, right)
    n = len(confidence)
    risks = wrong / accepted
    # Each text counts with the error among all that are as sure as it or surer, so that ties have no order.
    area = float(np.diff(accepted, prepend=0) @ risks) / n
    names = None if groups is None else np.asarray(groups)[order]
    shown = np.unique(np.searchsorted(accepted, n * np.arange(1, MOST_POINTS + 1) / MOST_POINTS))
    points = []
    for i in shown.tolist():
        rows = slice(0, int(accepted[i]))
        interval = share_interval(~right[order][rows], None if names is None else names[rows])
        points.append(RiskPoint(float(thresholds[i]), float(accepted[i] / n), float(risks[i]), interval))
    return RiskCoverage(tuple(points), area)


def risk_guarantee(confidence: Floats, right: NDArray[np.bool_], max_error: float, *, delta: float = 0.05) -> Guarantee:
    """Return the confidence from which on the error stays below a limit, if one is found.

    Of studies with texts drawn as these were, independently of each other and not in groups, at most the share `delta`
    finds a confidence that does not keep the limit (`Guarantee`). The texts must have been used for nothing else: not
    to train, and not to choose the epoch or the temperature.

    Parameters
    ----------
    confidence, right
        ndarray of shape (n,): how sure the label of each text is, and whether it is the gold one.
    max_error
        Largest share of the accepted texts that may be labelled wrong.
    delta
        Probability with which it may fail.

    Raises
    ------
    SettingsError
        If a share is not between 0 and 1.

    Notes
    -----
    The guarantee of [1]_, by the exact binomial bound [2]_. Instead of their search by halves, which has to share delta
    among its steps, thresholds are tried in an order that is fixed before: from an eighth of the texts downwards, at
    each number of texts that allows one more to be wrong, until the first that fails. Such a sequence spends delta once
    [3]_, [4]_. Simulated with 300 texts, it finds a confidence three times as often where the error falls in a
    line to 0, and more often wherever surer texts are less often wrong.

    References
    ----------
    .. [1] Geifman & El-Yaniv (2017). Selective classification for deep neural networks.
       https://arxiv.org/abs/1705.08500
    .. [2] Clopper & Pearson (1934). The use of confidence or fiducial limits. https://doi.org/10.1093/biomet/26.4.404
    .. [3] Bauer (1991). Multiple testing in clinical trials. https://doi.org/10.1002/sim.4780100609
    .. [4] Angelopoulos, Bates, Candès, Jordan & Lei (2021). Learn then test. https://arxiv.org/abs/2110.01052
    """
    check_range("max_error", max_error, above=0, below=1)
    check_range("delta", delta, above=0, below=1)
    n = len(confidence)
    _, thresholds, accepted, wrong = _by_confidence(confidence, right)
    found = _last_kept(accepted, wrong, _allowed(n, max_error, delta))
    if found is None:
        return Guarantee(max_error, delta, None, 0.0, None, None, n)
    return Guarantee(
        max_error=max_error,
        delta=delta,
        min_confidence=float(thresholds[found]),
        coverage=float(accepted[found] / n),
        error=float(wrong[found] / accepted[found]),
        bound=_upper_bound(int(wrong[found]), int(accepted[found]), delta),
        n=n,
    )


def chance_of_finding(
    confidence: Floats, right: NDArray[np.bool_], n: int, max_error: float, *, delta: float = 0.05
) -> float:
    """Return in what share of studies of n texts `risk_guarantee` finds a confidence.

    By 200 studies whose texts are drawn with replacement from those given, seeded. These must be others than the ones
    on which a confidence was found: by its own texts it would seem likelier than it was.

    Parameters
    ----------
    confidence, right
        ndarray of shape (m,), as of `risk_guarantee`; m at least 1.
    n
        Texts of a study.
    max_error, delta
        As of `risk_guarantee`.
    """
    random, allowed, found = np.random.default_rng(0), _allowed(n, max_error, delta), 0
    for _ in range(_REDRAWN):
        rows = random.integers(0, len(confidence), n)
        _, _, accepted, wrong = _by_confidence(confidence[rows], right[rows])
        found += _last_kept(accepted, wrong, allowed) is not None
    return found / _REDRAWN


def _allowed(n: int, max_error: float, delta: float) -> NDArray[np.int64]:
    """Return how many of 1, 2, …, n accepted texts may be wrong, shape (n,); -1 where even none would be too many."""
    return np.asarray(binom.ppf(delta, np.arange(1, n + 1), max_error)).astype(np.int64) - 1


def _last_kept(accepted: NDArray[np.int64], wrong: NDArray[np.int64], allowed: NDArray[np.int64]) -> int | None:
    """Return the position of the lowest confidence that is found to keep the limit; None if none is."""
    allowed = allowed[accepted - 1]
    tried = (allowed >= 0) & (accepted >= accepted[-1] / _FIRST_PART) & (np.diff(allowed, prepend=-1) > 0)
    tried[-1] |= allowed[-1] >= 0
    at = np.flatnonzero(tried)
    broken = wrong[at] > allowed[at]
    n_kept = int(broken.argmax()) if broken.any() else len(at)
    return int(at[n_kept - 1]) if n_kept else None


def _by_confidence(
    confidence: Floats, right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return rows by falling confidence; and for each confidence that occurs, how many reach it, and are wrong."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of the rows of one confidence
    return order, ranked[last], last + 1, (~right[order]).cumsum()[last]


def _upper_bound(wrong: int, n: int, delta: float) -> float:
    """Return the largest error under which so few of n are wrong with a probability of at least delta."""
    return 1.0 if wrong == n else float(beta.ppf(1 - delta, wrong + 1, n - wrong))
