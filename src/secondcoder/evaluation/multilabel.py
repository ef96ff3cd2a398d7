"""How good are sets of labels? Figures of tasks in which a text may have several classes, or none.

In: which classes each text has, the probability of each class by itself, thresholds. Out: `Evaluation`.
`secondcoder.evaluation.evaluate` hands in what it has checked. The tests hold each formula against scikit-learn's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from secondcoder.corpus.corpus import Corpus, Label, TaskName
from secondcoder.errors import DataError, SettingsError
from secondcoder.evaluation import metrics, paired_figures, paired_tests
from secondcoder.evaluation.calibration import Calibration, calibration_of, fit_temperature
from secondcoder.evaluation.comparison import Comparison, Pair, notes_on_groups
from secondcoder.evaluation.evaluation import AverageFigures, Evaluation, Predictions, SetFigures, figures_by_class
from secondcoder.evaluation.intervals import units_of
from secondcoder.evaluation.metrics import FigureNames, Labels, ReliabilityWords, f1_of_texts, losses_of_texts
from secondcoder.evaluation.multiclass import class_position
from secondcoder.evaluation.paired_figures import Outcomes
from secondcoder.evaluation.selective import risk_coverage_of
from secondcoder.evaluation.set_intervals import set_intervals
from secondcoder.evaluation.thresholds import Thresholds, tune_thresholds

Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]


def evaluate_sets(said: Predictions, temperature: float = 1.0) -> Evaluation:
    """Return the figures of sets of labels, with their intervals.

    Parameters
    ----------
    said
        Gold of shape (n, k): which classes each text has; the probability of each class by itself.
    temperature
        What the model's logits were divided by.
    """
    gold, probabilities, units = said.gold, said.probabilities, said.units
    thresholds = set_thresholds_of(said.thresholds, said.names)
    given = decide_set(probabilities, thresholds)
    of_texts = {"samples-f1": f1_of_texts(gold, given), "log-loss": losses_of_texts(gold, probabilities)}
    before = None
    if temperature != 1.0:
        before = calibration_of_sets(gold, expit(logit(probabilities) * temperature), groups=units)
    sure = np.where(given, probabilities, 1 - probabilities).min(axis=1)
    constant = metrics.is_constant(probabilities) and bool(gold.any(axis=0).all())
    return replace(
        set_points(gold, probabilities, thresholds, said.names),
        intervals=set_intervals(gold, given, of_texts, said.names, groups=units, constant=constant),
        n_groups=None if said.groups is None else len(set(said.groups)),
        calibration=calibration_of_sets(gold, probabilities, groups=units),
        uncalibrated=before,
        risk_coverage=risk_coverage_of(sure, (gold == given).all(axis=1), groups=units),
        scope=said.scope,
        constant=constant,
    )


def set_points(gold: Sets, probabilities: Floats, thresholds: Floats, label_names: Sequence[str]) -> Evaluation:
    """Return the figures as `evaluate_sets` does, without intervals, calibration and risk."""
    names = tuple(label_names)
    given = decide_set(probabilities, thresholds)
    hits, support, predicted = ((part.sum(axis=0)).astype(np.int64) for part in (gold & given, gold, given))
    classes = metrics.per_class_of(hits, support, predicted)
    pooled = metrics.per_class_of(*(part.sum(keepdims=True) for part in (hits, support, predicted)))
    known, nothing = classes.recall[support > 0], (0.0, 0.0, 0.0)
    return Evaluation(
        n=len(gold),
        label_names=names,
        positive=None,
        confusion={},
        per_class=figures_by_class(classes, names),
        accuracy=float((gold == given).all(axis=1).mean()),
        balanced_accuracy=float(known.mean()) if len(known) else 0.0,
        averages={
            "macro": AverageFigures(*(metrics.macro_average_of(classes) if (support + predicted).any() else nothing)),
            "micro": AverageFigures(*(float(np.nan_to_num(f[0])) for f in pooled[:3])),
            "weighted": AverageFigures(*(metrics.weighted_average_of(classes) if support.any() else nothing)),
        },
        log_loss=float(losses_of_texts(gold, probabilities).mean()),
        thresholds=_by_name(thresholds, names),
        sets=SetFigures(
            hamming_loss=float((gold != given).mean()),
            samples_f1=float(f1_of_texts(gold, given).mean()),
            hits=dict(zip(names, hits.tolist(), strict=True)),
            gold_sizes=_sizes(gold),
            given_sizes=_sizes(given),
        ),
    )


def calibration_of_sets(gold: Sets, probabilities: Floats, *, groups: Sequence[str] | None = None) -> Calibration:
    """Return how far the probabilities of the n k decisions can be taken at their word.

    A decision's probability is that of the class, whatever the threshold; it is held against whether the text has the
    class. Decisions on one text hang together: their unit is the text, or its group. The Brier score is the mean
    square of (probability - 1 for a class that the text has, 0 for others): from 0, best, to 1.

    Parameters
    ----------
    gold, probabilities
        ndarray of shape (n, k).
    groups
        The group of each text, or None where texts are independent.
    """
    n, k = gold.shape
    squares, groups = np.square(probabilities - gold).mean(axis=1), units_of(groups)
    units = np.repeat(np.arange(n).astype(str) if groups is None else np.asarray(groups), k).tolist()
    return calibration_of(probabilities.ravel(), gold.ravel(), squares, (units, groups), worst=1.0)


def _sizes(sets: Sets) -> tuple[int, ...]:
    """Return how many texts have none, one, two … of the classes, up to all k."""
    return tuple(np.bincount(sets.sum(axis=1), minlength=sets.shape[1] + 1).tolist())


def _by_name(thresholds: Floats, names: tuple[str, ...]) -> dict[str, float]:
    """Return the thresholds of the classes; none where they differ between texts."""
    return dict(zip(names, thresholds.tolist(), strict=True)) if thresholds.ndim == 1 else {}


def compare_sets(
    gold: Sets,
    probabilities: tuple[Floats, Floats],
    given: tuple[Sets, Sets],
    label_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
) -> Comparison:
    """Return how two sets of labels for the same texts differ, and how sure that is.

    As for one label a text, see `secondcoder.evaluation.multiclass.compare`. Independent texts: Tango's score interval
    and McNemar's exact test for the exact match; for F1, micro- and macro-F1 Student's t with the delta method, to
    which one half text is added on either side, for each class with it and without it; for Hamming loss and log loss
    the paired t. The unit is the text, since decisions on one hang together.

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
    places, n_groups = paired_figures.paired_units(groups)
    right = (gold == given[0]).all(axis=1), (gold == given[1]).all(axis=1)
    exact = paired_tests.mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    averages = {
        "exact-match": right,
        "hamming-loss": ((gold != given[0]).mean(axis=1), (gold != given[1]).mean(axis=1)),
        "log-loss": (losses_of_texts(gold, probabilities[0]), losses_of_texts(gold, probabilities[1])),
    }
    reasons = paired_figures.reasons_of_classes(gold, names, places)
    f1 = paired_figures.f1_figures((gold, *given), names, added=lambda: [_added(gold)], pooled=True)
    found = paired_figures.differences(f1, places, reasons=reasons)
    found |= paired_figures.differences(
        paired_figures.means(averages, {"exact-match": 1.0, "hamming-loss": 1.0}), places, exact=("exact-match", exact)
    )
    found |= paired_figures.undefined(gold, names, reasons)
    order = ("macro-f1", "micro-f1", "exact-match", *(f"f1:{name}" for name in names), "hamming-loss", "log-loss")
    return Comparison(
        n=n,
        label_names=names,
        main="macro-f1",
        differences=tuple(found[name] for name in order),
        agreement=float((given[0] == given[1]).all(axis=1).mean()),
        mcnemar=exact if places is None else None,
        n_groups=n_groups,
        notes=() if n_groups is None else notes_on_groups(n_groups),
    )


def _added(gold: Sets) -> tuple[Outcomes, Floats]:
    """Return texts that one of both alone gets right: of each class, those that have it and those that have not."""
    k = gold.shape[1]
    kinds = [
        (c, has, first)
        for c in range(k)
        for has in (True, False)
        if (gold[:, c] == has).any()
        for first in (True, False)
    ]
    outcomes = np.zeros((3, len(kinds), k), dtype=np.bool_)
    for i, (c, has, first) in enumerate(kinds):
        outcomes[:, i, c] = (has, has == first, has != first)
    return (outcomes[0], outcomes[1], outcomes[2]), np.full(len(kinds), paired_figures.ADDED_TEXTS / 2)


DEFAULT_THRESHOLD = 0.5
"""Probability from which a class of a multi-label task is given, where no threshold was tuned."""


def decide_set(probabilities: ArrayLike, thresholds: ArrayLike = DEFAULT_THRESHOLD) -> NDArray[np.bool_]:
    """Return which classes each text has, ndarray of shape (n, k).

    Parameters
    ----------
    probabilities
        ndarray of shape (n, k): of each class by itself.
    thresholds
        ndarray of shape (k,): the probability from which each class is given; or one for all.
    """
    found: NDArray[np.bool_] = np.asarray(probabilities) >= np.asarray(thresholds)
    return found


def threshold_array(thresholds: Mapping[str, float] | None, label_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the threshold of each class of a multi-label task, ndarray of shape (k,); 0.5 where none was tuned."""
    return np.array([(thresholds or {}).get(name, DEFAULT_THRESHOLD) for name in label_names], dtype=np.float64)


def set_thresholds_of(thresholds: Thresholds | None, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return thresholds of sets of labels as an array of shape (k,) or (n, k); 0.5 where there is none."""
    return thresholds if isinstance(thresholds, np.ndarray) else threshold_array(thresholds, names)


def set_indicators(labels: Labels, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which classes each row has, shape (n, k)."""
    position = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(labels), len(names)), dtype=np.bool_)
    for row, own in enumerate(labels):
        if own is None or isinstance(own, str):
            raise DataError(
                f"The labels of row {row} are {own!r}.",
                "Give a set or a tuple of label names for each row, an empty one where a text has no class.",
            )
        for label in own:
            found[row, class_position(label, row, position)] = True
    return found


class MultiLabel:
    """Any number of labels a text: its rules; what each is for stands in `secondcoder.evaluation.tasks.Task`."""

    name: TaskName = "multi-label"
    figures: FigureNames = metrics.SETS
    loss = "binary-cross-entropy"
    writes_lists = True
    a_text_has = "several labels"
    majority_name = "Most frequent set"
    labels_name = "sets of labels"
    how_many = ", any number of which a text may have,"
    balanced_means = "having and not having it count"
    interval_kinds: Mapping[str, str] = {
        **{f"micro-{figure}": "micro averages" for figure in ("f1", "precision", "recall")},
        "weighted-recall": "micro averages",
    }
    reliability = ReliabilityWords(
        "share that has the class", "probability of the class", "decisions", "yes", "how often the class is there"
    )
    cited: tuple[str, ...] = ()
    figures_note = ""
    pipeline_options = ", top_k=None"  # the probabilities of all classes
    pipeline_example = 'classify(["…"])'

    def labels_of(self, rows: Corpus) -> Sequence[Any]:
        """Return a tuple of names each."""
        return rows.label_sets

    def gold(self, labels: Labels, names: tuple[str, ...]) -> NDArray[Any]:
        """Return which classes each text has, shape (n, k)."""
        return set_indicators(labels, names)

    def check_gold(self, gold: NDArray[Any], n: int, k: int) -> None:
        """Raise `DataError` unless each class of each text is said."""
        if gold.shape != (n, k):
            raise DataError(f"Gold has shape {gold.shape}; expected ({n}, {k}).", "Say of each class, yes or no.")

    def margin(self, own: Any, total: Any, k: int) -> Any:
        """Return a class's logit itself, as each is decided alone."""
        return own

    def targets(self, gold: NDArray[Any]) -> NDArray[Any]:
        """Return 0 and 1."""
        return gold.astype(np.float32)

    def named(self, given: NDArray[Any], names: Sequence[str]) -> list[Label]:
        """Return a tuple of names each, perhaps an empty one."""
        return [tuple(compress(names, has)) for has in given.tolist()]

    def as_y(self, given: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
        """Return 0 and 1, shape (n, k)."""
        return given.astype(np.int64)

    def counted(self, labels: Iterable[Any]) -> Mapping[str, int]:
        """Return how many sets name each class, and how many none."""
        return Counter(name for names in labels for name in names or ("",))

    def no_class(self, counts: Mapping[str, int]) -> int | None:
        """Return how many texts have no class."""
        return counts.get("", 0)

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> Floats:
        """Return the logistic function: of each class alone."""
        found: Floats = expit(logits.astype(np.float64))
        return found

    def checked(self, probabilities: Floats) -> None:
        """Raise `DataError` unless each lies between 0 and 1."""
        strange = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1)).all(axis=1))
        if len(strange):
            raise DataError(
                f"Row {strange[0]} of the probabilities is {probabilities[strange[0]].tolist()} ({len(strange)} such "
                "rows).",
                "Each must be a number from 0 to 1; apply the logistic function to logits first.",
            )

    def decide(
        self,
        probabilities: Floats,
        thresholds: Thresholds | None,
        names: tuple[str, ...],
        positive: str | None = None,
    ) -> NDArray[Any]:
        """Return the classes that reach their threshold, 0.5 where none was tuned."""
        return decide_set(probabilities, set_thresholds_of(thresholds, names))

    def confidence(self, probabilities: Floats, given: NDArray[Any]) -> Floats:
        """Return the probability of the least sure decision: that a class is there, or that it is not."""
        found: Floats = np.where(given, probabilities, 1 - probabilities).min(axis=1)
        return found

    def right(self, given: NDArray[Any], gold: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where the whole set is the gold one."""
        return np.asarray((given == gold).all(axis=1), dtype=np.bool_)

    def uncalibratable(self, gold: NDArray[Any], names: Sequence[str]) -> list[str]:
        """Return nothing: a class that no text has is right in being given to none."""
        return []

    def temperature(self, gold: NDArray[Any], logits: NDArray[np.floating[Any]]) -> float:
        """Return the temperature with the least binary cross-entropy."""
        z = np.asarray(logits, dtype=np.float64)
        if gold.shape != z.shape or not len(gold):
            raise DataError(
                f"Gold has shape {gold.shape}, the logits have {z.shape}.", "Give both for the same texts and classes."
            )
        targets = (gold * len(z) + 0.5) / (len(z) + 1)
        return fit_temperature(z, targets, expit, lambda x: float((np.logaddexp(0.0, x) - gold * x).sum()))

    def thresholds(
        self, gold: NDArray[Any], probabilities: Floats, names: Sequence[str], positive: str | None
    ) -> dict[str, float]:
        """Return the threshold of each class."""
        return dict(zip(names, tune_thresholds(gold, probabilities).tolist(), strict=True))

    def require_threshold(self, positive: str | None, names: Sequence[str]) -> None:
        """Raise `SettingsError`: all thresholds are tuned anyway."""
        raise SettingsError(
            "tune_threshold is set, and a text may have several labels: then the thresholds of all classes are tuned.",
            "Remove --tune-threshold.",
        )

    def problem_type(self, known: str | None) -> str | None:
        """Return its name."""
        return "multi_label_classification"

    def weights(self, asked: Floats | None, targets: NDArray[Any], k: int) -> Floats:
        """Return what missing a class costs against giving it wrongly; balanced is texts without by texts with it."""
        if asked is not None:
            return asked
        n, counts, weights = len(targets), targets.sum(axis=0), np.ones(k)
        there = (counts > 0) & (counts < n)
        weights[there] = (n - counts[there]) / counts[there]
        return weights

    def majority(self, gold: NDArray[Any], k: int) -> Floats:
        """Return the shares of the classes, or as near to them as it takes to give the most frequent set.

        Of equally frequent sets the smallest, and then the first.
        """
        found, counts = np.unique(gold, axis=0, return_counts=True)
        most = found[np.lexsort((np.arange(len(found)), found.sum(axis=1), -counts))[0]]
        below, shares = np.nextafter(DEFAULT_THRESHOLD, 0.0), gold.mean(axis=0)
        nearest: Floats = np.where(most, np.maximum(shares, DEFAULT_THRESHOLD), np.minimum(shares, below))
        return nearest

    def regressions(self, gold: NDArray[Any], k: int) -> dict[int | None, NDArray[Any]]:
        """Return one for each class that some texts have and some have not."""
        return {i: gold[:, i] for i in range(k) if 0 < gold[:, i].sum() < len(gold)}

    def fit_head(
        self,
        fit: Callable[..., Any],
        features: NDArray[np.float32],
        targets: NDArray[Any],
        counting: Floats | None,
    ) -> Any:
        """Return a regression for each class that some texts have and some have not."""
        classes = np.flatnonzero(targets.any(axis=0) & ~targets.all(axis=0))
        # As in the loss, a weight is that of having the class.
        each = {i: None if counting is None else np.array([1.0, counting[i]]) for i in classes.tolist()}
        found = [fit(features, targets[:, i].astype(np.int64), each[i]) for i in classes.tolist()]
        # Of two classes, `fit` gives each half of what sets them apart.
        weights = [weight[1] - weight[0] for _, weight, _ in found]
        biases = [bias[1] - bias[0] for _, _, bias in found]
        return classes, np.array(weights).reshape(-1, features.shape[1]), np.array(biases)

    def points(self, said: Predictions) -> Evaluation:
        """Return the figures of sets."""
        return set_points(said.gold, said.probabilities, set_thresholds_of(said.thresholds, said.names), said.names)

    def evaluate(self, said: Predictions, temperature: float) -> Evaluation:
        """Return the figures of sets with their intervals."""
        return evaluate_sets(said, temperature)

    def macro_f1(self, gold: NDArray[Any], given: NDArray[Any], k: int) -> float:
        """Return macro-F1 of sets; 0 where no class is there or given."""
        hits, support, predicted = (part.sum(axis=0).astype(np.int64) for part in (gold & given, gold, given))
        if not (support + predicted).any():
            return 0.0
        return metrics.macro_average_of(metrics.per_class_of(hits, support, predicted)).f1

    def compare(self, pair: Pair) -> Comparison:
        """Return how two differ in exact matches, F1, Hamming loss and log loss."""
        return compare_sets(pair.gold, pair.probabilities, pair.given, pair.names, groups=pair.groups)

    def without_order(self) -> "MultiLabel":
        """Return the same rules."""
        return self

    def judged_probabilities(self, *, tuned: bool) -> tuple[str, str]:
        """Return which probabilities the calibration is of, and of what there is one each."""
        return "the probabilities of all classes", "decisions"

    def described(self, classes: str, all_names: str) -> str:
        """Return the classes; how many a text may have is said behind the variable's name."""
        return classes

    def asks(self, names: str, either: str) -> str:
        """Return which of them there are."""
        return f"which of {names}?"

    def labels_texts(self, names: str, either: str) -> str:
        """Return: with any number of them."""
        return f"with any number of {names}"

    def thresholds_told(self, thresholds: Mapping[str, float], why: str) -> str:
        """Return the sentence on all classes."""
        limits = f"{min(thresholds.values()):.2f} to {max(thresholds.values()):.2f}"
        return f"Each class was given from a probability on that was {why}: {limits}."

    def tables(self, evaluation: Evaluation) -> list[tuple[list[str], list[list[Any]], str]]:
        """Return the decisions by class, and how many labels texts have."""
        decisions = [
            [label, *decided.values(), evaluation.thresholds.get(label)]
            for label, decided in evaluation.decisions.items()
        ]
        columns = ["label", "has it, given", "has it, not given", "not, but given", "not, not given", "threshold"]
        assert evaluation.sets is not None
        sizes = zip(evaluation.sets.gold_sizes, evaluation.sets.given_sizes, strict=True)
        rows = [[str(size), *counts] for size, counts in enumerate(sizes) if any(counts)]
        return [
            (columns, decisions, "Decisions, by label"),
            (["labels a text", "by hand", "given"], rows, "How many labels texts have"),
        ]
