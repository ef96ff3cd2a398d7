"""One label a text: which class is given, how good that is, and whether two coders differ.

In: gold classes, probabilities of shape (n, k), thresholds. Out: classes, `Evaluation`, intervals, `Comparison`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax

from secondcoder.corpus.corpus import Corpus, Label, TaskName
from secondcoder.errors import DataError, SettingsError, nearest
from secondcoder.evaluation import metrics, paired_figures, paired_tests
from secondcoder.evaluation.calibration import calibration, fit_temperature, top_class
from secondcoder.evaluation.comparison import Comparison, Pair, notes_on_groups
from secondcoder.evaluation.count_intervals import intervals
from secondcoder.evaluation.evaluation import AverageFigures, Evaluation, Predictions, figures_by_class
from secondcoder.evaluation.intervals import Floats
from secondcoder.evaluation.metrics import FigureNames, Labels, ReliabilityWords
from secondcoder.evaluation.paired_figures import Outcomes, PairedFigures
from secondcoder.evaluation.selective import risk_coverage
from secondcoder.evaluation.thresholds import Thresholds, tune_threshold

# float32 soft-maxes miss 1 by 1e-6; probabilities rounded to four digits, as in a file, by up to 1e-4 a class.
SUM_TOLERANCE = 1e-3


def decide_class(
    probabilities: ArrayLike, threshold: float | NDArray[np.float64] | None = None, *, positive: int | None = None
) -> NDArray[np.int64]:
    """Return the class of each text as its position, ndarray of shape (n,).

    Parameters
    ----------
    probabilities
        ndarray of shape (n, k); logits too, where there is no threshold. Of equal ones the first wins.
    threshold
        Probability from which the positive class of a two-class task is given, one for all rows or for each its own.
        None: the most probable class.
    positive
        Position of that class.
    """
    p = np.asarray(probabilities)
    if threshold is None or positive is None:
        most: NDArray[np.int64] = p.argmax(axis=1)
        return most
    return np.where(p[:, positive] >= threshold, positive, 1 - positive).astype(np.int64)


def class_threshold(
    thresholds: Mapping[str, float] | None, label_names: Sequence[str]
) -> tuple[float | None, int | None]:
    """Return the threshold of the positive class of a two-class task, and its position; None where there is none."""
    for name, threshold in (thresholds or {}).items():
        return threshold, tuple(label_names).index(name)
    return None, None


def given_classes(
    probabilities: NDArray[np.float64], thresholds: Thresholds | None, names: tuple[str, ...], positive: str | None
) -> NDArray[np.int64]:
    """Return the class that each row is given where it has one, shape (n,).

    Raises
    ------
    DataError
        If there is a threshold, and no task of two classes one of which is positive.
    """
    threshold: Any
    if isinstance(thresholds, np.ndarray):  # of each row its own
        at = None if positive is None else names.index(positive)
        threshold = None if at is None else thresholds[:, at]
        if at is None or thresholds.shape != probabilities.shape:
            raise DataError(
                f"The thresholds have shape {thresholds.shape}, the probabilities {probabilities.shape}; positive is "
                f"{positive!r}.",
                "With one label a text, name a positive class, or give the thresholds by class.",
            )
    else:
        threshold, at = class_threshold(thresholds, names)
    if at is not None and len(names) != 2:
        raise DataError(
            f"There is a threshold of {names[at]!r}, and there are {len(names)} classes.",
            "With one label a text, only the positive class of a two-class task has one.",
        )
    return decide_class(probabilities, threshold, positive=at)


def class_points(said: Predictions, given: NDArray[np.int64]) -> Evaluation:
    """Return the figures of one label a text; `given` is the class that each row is given, shape (n,)."""
    gold, p, names, thresholds = said.gold, said.probabilities, said.names, said.thresholds
    matrix = metrics.confusion_matrix(gold, given, len(names))
    classes = metrics.per_class(matrix)
    averages = {
        "macro": metrics.macro_average(matrix),
        "micro": metrics.micro_average(matrix),
        "weighted": metrics.weighted_average(matrix),
    }
    return Evaluation(
        n=len(gold),
        label_names=names,
        positive=said.positive,
        confusion={g: dict(zip(names, row, strict=True)) for g, row in zip(names, matrix.tolist(), strict=True)},
        per_class=figures_by_class(classes, names),
        accuracy=metrics.accuracy(matrix),
        balanced_accuracy=metrics.balanced_accuracy(matrix),
        averages={kind: AverageFigures(*average) for kind, average in averages.items()},
        log_loss=metrics.log_loss(gold, p),
        thresholds=dict(thresholds) if isinstance(thresholds, Mapping) else {},
    )


def class_positions(labels: Labels, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the position of each row's label among the names, shape (n,)."""
    position = {name: i for i, name in enumerate(names)}
    return np.array([class_position(label, row, position) for row, label in enumerate(labels)], dtype=np.int64)


def class_position(label: object, row: int, position: Mapping[str, int]) -> int:
    """Return the position of one row's label.

    Raises
    ------
    DataError
        If it is none of the label names; names the row.
    """
    if not isinstance(label, str) or label not in position:
        names = list(position)
        hint = nearest(label, names) if isinstance(label, str) else "Leave out rows without a label. "
        if isinstance(label, tuple | list | set | frozenset):
            hint = "Say that a text may have several classes: task='multi-label'. "
        raise DataError(
            f"The label of row {row} is {label!r}; the label names are {names}.",
            f"{hint}Labels must be among the classes that the model knows.",
        )
    return position[label]


def compare(
    gold: NDArray[np.int64],
    first: Floats,
    second: Floats,
    label_names: Sequence[str],
    *,
    positive: str | None = None,
    groups: Sequence[str] | None = None,
    given: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Comparison:
    """Return how two sets of probabilities for the same texts differ, and how sure that is.

    A difference is real where the paired permutation test and the interval both say so, see
    `secondcoder.evaluation.paired_figures.differences`. Independent texts: Tango's score interval and McNemar's exact
    test for accuracy; for F1 and macro-F1 Student's t with the delta method on the joint outcomes (gold, first,
    second), to which for each class one half text is added on either side; for log loss the paired t. With groups: the
    jackknife over groups with Student's t, and a standard error no less than that of independent texts.

    No interval, and so no difference called real: F1 of a class with fewer than five gold texts, or whose gold texts
    are all in one group; macro-F1 where a class has no gold text.

    Parameters
    ----------
    gold
        ndarray of shape (n,), positions in `label_names`.
    first, second
        ndarray of shape (n, k); the most probable class is the label, of equal ones the first.
    label_names
        The k classes.
    positive
        The positive class, whose F1 is then the main figure; macro-F1 without one.
    groups
        The document, author or film of each text; None if texts are independent. ``""`` is a text of its own.
    given
        The labels that each gave, as positions, of shape (n,), where a threshold decided and not which is most
        probable.

    Raises
    ------
    DataError
        If the rows do not fit together.
    """
    names = tuple(label_names)
    _check(gold, first, second, names, groups)
    labels = given or (decide_class(first), decide_class(second))
    places, n_groups = paired_figures.paired_units(groups)
    right = labels[0] == gold, labels[1] == gold
    exact = paired_tests.mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    losses = paired_tests.losses(gold, first), paired_tests.losses(gold, second)
    averages = paired_figures.means({"accuracy": right, "log-loss": losses}, {"accuracy": 1.0})
    is_gold = gold[:, np.newaxis] == np.arange(len(names))
    reasons = paired_figures.reasons_of_classes(is_gold, names, places)
    found = paired_figures.differences(_f1_figures(gold, labels, names), places, reasons=reasons)
    found |= paired_figures.differences(averages, places, exact=("accuracy", exact))
    found |= paired_figures.undefined(is_gold, names, reasons)
    main = metrics.ONE_LABEL.resolve("auto", positive, names)
    order = dict.fromkeys((main, "accuracy", "macro-f1", *(f"f1:{name}" for name in names), "log-loss"))
    return Comparison(
        n=len(gold),
        label_names=names,
        main=main,
        differences=tuple(found[name] for name in order),
        agreement=float((labels[0] == labels[1]).mean()),
        mcnemar=exact if places is None else None,
        n_groups=n_groups,
        notes=() if n_groups is None else notes_on_groups(n_groups),
    )


def _f1_figures(
    gold: NDArray[np.int64], labels: tuple[NDArray[np.int64], NDArray[np.int64]], names: tuple[str, ...]
) -> PairedFigures:
    """Return macro-F1 and F1 of both; texts of one kind have the same gold class and the same two labels."""
    k = len(names)
    codes, kind = np.unique((gold * k + labels[0]) * k + labels[1], return_inverse=True)
    of_class = np.eye(k, dtype=np.bool_)
    return paired_figures.f1_figures(
        (of_class[codes // k**2], of_class[codes // k % k], of_class[codes % k]),
        names,
        kind=kind,
        added=lambda: _added(np.unique(gold).tolist(), k),
    )


def _added(there: Iterable[int], k: int) -> Iterator[tuple[Outcomes, Floats]]:
    """Yield, for each class that has gold texts, those that one of both alone gets right: any class for the other.

    They are k^2 in all, with 5 k numbers each: too many to be held at once with hundreds of classes.
    """
    of_class = np.eye(k, dtype=np.bool_)
    for g in there:
        right, wrong = of_class[np.full(k - 1, g)], np.delete(of_class, g, axis=0)
        first, second = np.concatenate([right, wrong]), np.concatenate([wrong, right])
        times = np.full(2 * (k - 1), paired_figures.ADDED_TEXTS / 2 / max(k - 1, 1))
        yield (np.concatenate([right, right]), first, second), times


def _check(
    gold: NDArray[np.int64], first: Floats, second: Floats, names: tuple[str, ...], groups: Sequence[str] | None
) -> None:
    expected = (len(gold), len(names))
    for which, probabilities in (("first", first), ("second", second)):
        if probabilities.shape != expected:
            raise DataError(
                f"The {which} probabilities have shape {probabilities.shape}; expected {expected}.",
                f"Give one row for each text and one column for each of {list(names)}.",
            )
    if groups is not None and len(groups) != len(gold):
        raise DataError(f"There are {len(groups)} groups for {len(gold)} texts.", "Give one group for each text.")
    if not len(gold):
        raise DataError("There are no texts to compare on.", "Give at least one labelled text.")


def at_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return what the probabilities, shape (n, k), would be with logits divided by the temperature."""
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) / temperature
    found: Floats = softmax(logits, axis=1)
    return found


class MultiClass:
    """One label a text: its rules; what each is for stands in `secondcoder.evaluation.tasks.Task`."""

    name: TaskName = "multi-class"
    figures: FigureNames = metrics.ONE_LABEL
    loss = "cross-entropy"
    writes_lists = False
    a_text_has = "one label"
    majority_name = "Majority class"
    labels_name = "labels"
    how_many = ""
    balanced_means = "each counts"
    interval_kinds: Mapping[str, str] = {}
    reliability = ReliabilityWords(
        "share that is right", "how sure the model says it is", "texts", "right", "how often the model is right"
    )
    cited: tuple[str, ...] = ()
    figures_note = ""
    pipeline_options = ""
    pipeline_example = 'classify("…")'

    def labels_of(self, rows: Corpus) -> Sequence[Any]:
        """Return a name each."""
        return rows.labels

    def gold(self, labels: Labels, names: tuple[str, ...]) -> NDArray[Any]:
        """Return class positions, shape (n,)."""
        return class_positions(labels, names)

    def check_gold(self, gold: NDArray[Any], n: int, k: int) -> None:
        """Raise `DataError` unless positions are among the k names."""
        if n and not 0 <= int(gold.min()) <= int(gold.max()) < k:
            raise DataError(
                f"Gold labels go from {gold.min()} to {gold.max()}; there are {k} label names.",
                "Give positions among the label names.",
            )

    def margin(self, own: Any, total: Any, k: int) -> Any:
        """Return how far a class's logit is ahead of the mean of the others."""
        return own - (total - own) / max(k - 1, 1)

    def targets(self, gold: NDArray[Any]) -> NDArray[Any]:
        """Return the positions themselves."""
        return gold

    def named(self, given: NDArray[Any], names: Sequence[str]) -> list[Label]:
        """Return a name each."""
        return [names[i] for i in given.tolist()]

    def as_y(self, given: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
        """Return a class each, shape (n,)."""
        found: NDArray[Any] = classes[given]
        return found

    def counted(self, labels: Iterable[Any]) -> Mapping[str, int]:
        """Return how many have each label."""
        return Counter(labels)

    def no_class(self, counts: Mapping[str, int]) -> int | None:
        """Return None: each text has a class."""
        return None

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> Floats:
        """Return their softmax: of one class among k."""
        found: Floats = softmax(logits.astype(np.float64), axis=1)
        return found

    def checked(self, probabilities: Floats) -> None:
        """Raise `DataError` unless each row sums to 1."""
        sums = probabilities.sum(axis=1)
        # "not inside" catches not-a-number too
        bad = np.flatnonzero(~((probabilities >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)))
        if len(bad):
            raise DataError(
                f"Row {bad[0]} of the probabilities is {probabilities[bad[0]].tolist()}, which sums to "
                f"{sums[bad[0]]:.6g} ({len(bad)} such rows).",
                "Each row must hold numbers from 0 to 1 that sum to 1; apply softmax to logits first.",
            )

    def decide(
        self,
        probabilities: Floats,
        thresholds: Thresholds | None,
        names: tuple[str, ...],
        positive: str | None = None,
    ) -> NDArray[Any]:
        """Return the most probable class; or the positive one from its threshold on, where it has any."""
        return given_classes(probabilities, thresholds, names, positive)

    def confidence(self, probabilities: Floats, given: NDArray[Any]) -> Floats:
        """Return the probability of the class given."""
        found: Floats = np.take_along_axis(probabilities, given[:, np.newaxis], axis=1)[:, 0]
        return found

    def right(self, given: NDArray[Any], gold: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where the class is the gold one."""
        return np.asarray(given == gold, dtype=np.bool_)

    def uncalibratable(self, gold: NDArray[Any], names: Sequence[str]) -> list[str]:
        """Return the classes that no text has."""
        return [name for i, name in enumerate(names) if i not in gold]

    def temperature(self, gold: NDArray[Any], logits: NDArray[np.floating[Any]]) -> float:
        """Return the temperature with the least log loss of the softmax."""
        z = np.asarray(logits, dtype=np.float64)
        top_class(gold, z)
        with np.errstate(invalid="ignore"):  # what is not finite is refused by name in a moment
            z = z - z.max(axis=1, keepdims=True)
        n, k = z.shape
        return fit_temperature(
            z,
            (np.eye(k)[gold] * n + 1 / k) / (n + 1),
            lambda scaled: softmax(scaled, axis=1),
            lambda scaled: float(-log_softmax(scaled, axis=1)[np.arange(n), gold].sum()),
        )

    def thresholds(
        self, gold: NDArray[Any], probabilities: Floats, names: Sequence[str], positive: str | None
    ) -> dict[str, float]:
        """Return the threshold of the positive class, or nothing."""
        if positive is None:
            return {}
        at = list(names).index(positive)
        return {positive: tune_threshold(gold == at, probabilities[:, at])}

    def require_threshold(self, positive: str | None, names: Sequence[str]) -> None:
        """Raise `SettingsError` without a positive class."""
        if positive is None:
            raise SettingsError(
                f"tune_threshold is set, and none of {', '.join(map(repr, names))} was named as positive.",
                "Name it with --positive (of a task with two classes), or remove --tune-threshold.",
            )

    def problem_type(self, known: str | None) -> str | None:
        """Return what is known."""
        return known

    def weights(self, asked: Floats | None, targets: NDArray[Any], k: int) -> Floats:
        """Return weights whose mean over texts is 1; balanced is n / (k · n of the class). A class of no text: 1."""
        n = len(targets)
        counts = np.bincount(targets, minlength=k).astype(np.float64) if targets.ndim == 1 else targets.sum(axis=0)
        there = counts > 0
        weights = np.ones(k) if asked is None else asked
        if asked is None:
            weights[there] = n / (there.sum() * counts[there])
        weights = weights * n / float(weights @ counts)
        weights[~there] = 1.0
        return weights

    def majority(self, gold: NDArray[Any], k: int) -> Floats:
        """Return the shares of the classes."""
        counts = np.bincount(gold, minlength=k).astype(np.float64)
        found: Floats = counts / counts.sum()
        return found

    def regressions(self, gold: NDArray[Any], k: int) -> dict[int | None, NDArray[Any]]:
        """Return one for all classes."""
        return {None: gold}

    def fit_head(
        self,
        fit: Callable[..., Any],
        features: NDArray[np.float32],
        targets: NDArray[Any],
        counting: Floats | None,
    ) -> Any:
        """Return one regression of all classes."""
        return fit(features, targets, counting)

    def points(self, said: Predictions) -> Evaluation:
        """Return the figures of classes."""
        return class_points(said, self.decide(said.probabilities, said.thresholds, said.names, said.positive))

    def evaluate(self, said: Predictions, temperature: float) -> Evaluation:
        """Return the figures of classes with their intervals."""
        gold, units = said.gold, said.units
        given = self.decide(said.probabilities, said.thresholds, said.names, said.positive)
        found = class_points(said, given)
        p = said.probabilities / said.probabilities.sum(axis=1, keepdims=True)
        before = None
        if temperature != 1.0:
            before = calibration(gold, at_temperature(p, 1 / temperature), groups=units, given=given)
        return replace(
            found,
            intervals=intervals(gold, p, said.names, groups=units, given=given),
            n_groups=None if said.groups is None else len(set(said.groups)),
            calibration=calibration(gold, p, groups=units, given=given),
            uncalibrated=before,
            risk_coverage=risk_coverage(gold, p, groups=units, given=given),
            scope=said.scope,
            constant=metrics.is_constant(p) and not found.absent,
        )

    def macro_f1(self, gold: NDArray[Any], given: NDArray[Any], k: int) -> float:
        """Return macro-F1 of classes."""
        return metrics.macro_average(metrics.confusion_matrix(gold, given, k)).f1

    def compare(self, pair: Pair) -> Comparison:
        """Return how two differ in accuracy, macro-F1, F1 of each class and log loss."""
        return compare(
            pair.gold, *pair.probabilities, pair.names, positive=pair.positive, groups=pair.groups, given=pair.given
        )

    def without_order(self) -> "MultiClass":
        """Return the same rules."""
        return self

    def judged_probabilities(self, *, tuned: bool) -> tuple[str, str]:
        """Return which probabilities the calibration is of, and of what there is one each."""
        return "the class that was given" if tuned else "the most probable class", "texts"

    def described(self, classes: str, all_names: str) -> str:
        """Return the classes."""
        return classes

    def asks(self, names: str, either: str) -> str:
        """Return whether it is this or that."""
        return f"{either}?"

    def labels_texts(self, names: str, either: str) -> str:
        """Return: as this or that."""
        return f"as {either}"

    def thresholds_told(self, thresholds: Mapping[str, float], why: str) -> str:
        """Return the sentence on the positive class."""
        name, threshold = next(iter(thresholds.items()))
        return f"“{name}” was given from a probability of {threshold:.2f} on, {why}."

    def tables(self, evaluation: Evaluation) -> list[tuple[list[str], list[list[Any]], str]]:
        """Return the confusion matrix."""
        rows = [[gold, *row.values()] for gold, row in evaluation.confusion.items()]
        return [(["gold \\ predicted", *evaluation.label_names], rows, "Confusion matrix")]
