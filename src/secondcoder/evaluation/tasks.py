"""The label schemes: one label a text, one of ordered classes, or any number of them.

In: the name of a scheme. Out: its rules, a `Task`: how labels become numbers, logits probabilities, probabilities
labels, and what is counted. Whoever trains, judges, labels or reports asks here and never which scheme it is. Each
scheme has a file of its own; one more is a class beside them and a line in `TASKS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus, Label, TaskName
from secondcoder.errors import SettingsError, nearest
from secondcoder.evaluation.comparison import Comparison, Pair
from secondcoder.evaluation.evaluation import Evaluation, Predictions
from secondcoder.evaluation.metrics import FigureNames, Labels, ReliabilityWords
from secondcoder.evaluation.multiclass import MultiClass
from secondcoder.evaluation.multilabel import MultiLabel
from secondcoder.evaluation.ordinal import Ordinal
from secondcoder.evaluation.thresholds import Thresholds

Gold = NDArray[Any]
"""Gold or given labels as figures take them: class positions, shape (n,); of sets which classes, shape (n, k), bool."""
Fitted = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Classes, their weights, shape (classes, features), and their biases."""


class Task(Protocol):
    """The rules of a label scheme. Objects hold nothing but them.

    Attributes
    ----------
    name
        As it is stored.
    figures
        What its figures are called.
    loss
        What a training makes small: ``"cross-entropy"`` or ``"binary-cross-entropy"``.
    writes_lists
        Whether files that know lists hold a text's label as one, and others the names joined.
    a_text_has, majority_name, labels_name, how_many, balanced_means, reliability, interval_kinds, cited, \
figures_note, pipeline_options, pipeline_example
        Its words, in errors, on the page, on the card and in the methods paragraph.
    """

    @property
    def name(self) -> TaskName: ...  # noqa: D102
    @property
    def figures(self) -> FigureNames: ...  # noqa: D102
    @property
    def loss(self) -> str: ...  # noqa: D102
    @property
    def writes_lists(self) -> bool: ...  # noqa: D102
    @property
    def a_text_has(self) -> str: ...  # noqa: D102
    @property
    def majority_name(self) -> str: ...  # noqa: D102
    @property
    def labels_name(self) -> str: ...  # noqa: D102
    @property
    def how_many(self) -> str: ...  # noqa: D102
    @property
    def balanced_means(self) -> str: ...  # noqa: D102
    @property
    def reliability(self) -> ReliabilityWords: ...  # noqa: D102
    @property
    def interval_kinds(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def cited(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def figures_note(self) -> str: ...  # noqa: D102
    @property
    def pipeline_options(self) -> str: ...  # noqa: D102
    @property
    def pipeline_example(self) -> str: ...  # noqa: D102

    # Labels and numbers

    def labels_of(self, rows: Corpus) -> Sequence[Any]:
        """Return the labels of rows as `gold` takes them; None for a row without a label."""

    def gold(self, labels: Labels, names: tuple[str, ...]) -> Gold:
        """Return labels as figures take them.

        Raises
        ------
        DataError
            If one is none of the names; says which row.
        """

    def check_gold(self, gold: Gold, n: int, k: int) -> None:
        """Raise `DataError` unless gold can be that of n texts and k classes."""

    def margin(self, own: Any, total: Any, k: int) -> Any:
        """Return how far a class is ahead, from its logit and the sum of all k."""

    def targets(self, gold: Gold) -> NDArray[Any]:
        """Return gold as the loss takes it."""

    def named(self, given: Gold, names: Sequence[str]) -> list[Label]:
        """Return labels by name, as `Model.predict` gives them: a name each, or a tuple of names."""

    def as_y(self, given: Gold, classes: NDArray[Any]) -> NDArray[Any]:
        """Return labels as scikit-learn has them: classes, or a matrix of 0 and 1."""

    def counted(self, labels: Iterable[Any]) -> Mapping[str, int]:
        """Return how many of the labels, by name, name each class, and ``""`` how many none."""

    def no_class(self, counts: Mapping[str, int]) -> int | None:
        """Return how many texts have no class, of what `counted` gave; None where each has one."""

    # Probabilities and decisions

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the probabilities that logits of shape (n, k) stand for."""

    def checked(self, probabilities: NDArray[np.float64]) -> None:
        """Raise `DataError` unless each row, of k columns, can be probabilities of this scheme."""

    def decide(
        self,
        probabilities: NDArray[np.float64],
        thresholds: Thresholds | None,
        names: tuple[str, ...],
        positive: str | None = None,
    ) -> Gold:
        """Return what each text is given: the one place where probabilities become labels."""

    def confidence(self, probabilities: NDArray[np.float64], given: Gold) -> NDArray[np.float64]:
        """Return how sure each label is, shape (n,), from 0 to 1."""

    def right(self, given: Gold, gold: Gold) -> NDArray[np.bool_]:
        """Return which texts are given just what they have, shape (n,)."""

    def uncalibratable(self, gold: Gold, names: Sequence[str]) -> list[str]:
        """Return the classes for want of which no temperature can be fitted on gold."""

    def temperature(self, gold: Gold, logits: NDArray[np.floating[Any]]) -> float:
        """Return the temperature by which logits of shape (n, k) are to be divided; see `fit_temperature`."""

    def thresholds(
        self, gold: Gold, probabilities: NDArray[np.float64], names: Sequence[str], positive: str | None
    ) -> dict[str, float]:
        """Return from which probability on a class is best given, where that is tuned; `positive`: for that class."""

    def require_threshold(self, positive: str | None, names: Sequence[str]) -> None:
        """Raise `SettingsError` unless the threshold of a positive class can be tuned."""

    # Training

    def problem_type(self, known: str | None) -> str | None:
        """Return what transformers calls it, where that has to be said, else what is `known`."""

    def weights(self, asked: NDArray[np.float64] | None, targets: NDArray[Any], k: int) -> NDArray[np.float64]:
        """Return the weight of each class in the loss, shape (k,); `asked` None: balanced."""

    def majority(self, gold: Gold, k: int) -> NDArray[np.float64]:
        """Return probabilities, shape (k,), by which every text gets what is most frequent in gold."""

    def regressions(self, gold: Gold, k: int) -> dict[int | None, NDArray[Any]]:
        """Return what logistic regressions learn: one for all classes (None), or one for each."""

    def fit_head(
        self,
        fit: Callable[..., Fitted],
        features: NDArray[np.float32],
        targets: NDArray[Any],
        counting: NDArray[np.float64] | None,
    ) -> Fitted:
        """Return a head of logistic regressions; `fit` makes one of features, class positions and class weights."""

    # Figures

    def points(self, said: Predictions) -> Evaluation:
        """Return the figures, without intervals, calibration and risk."""

    def evaluate(self, said: Predictions, temperature: float) -> Evaluation:
        """Return the figures with all that belongs to them; the logits were divided by `temperature`."""

    def macro_f1(self, gold: Gold, given: Gold, k: int) -> float:
        """Return macro-F1 alone."""

    def compare(self, pair: Pair) -> Comparison:
        """Return how what two say of the same texts differs."""

    def without_order(self) -> "Task":
        """Return the scheme of the same labels without an order of the classes."""

    # Words

    def judged_probabilities(self, *, tuned: bool) -> tuple[str, str]:
        """Return which probabilities the calibration is of, and of what there is one each; `tuned`: by a threshold."""

    def described(self, classes: str, all_names: str) -> str:
        """Return the classes as the methods paragraph names them."""

    def asks(self, names: str, either: str) -> str:
        """Return the question that the classifier answers, for a title."""

    def labels_texts(self, names: str, either: str) -> str:
        """Return how texts are labelled, as the model card says it."""

    def thresholds_told(self, thresholds: Mapping[str, float], why: str) -> str:
        """Return the sentence of the methods paragraph on tuned thresholds."""

    def tables(self, evaluation: Evaluation) -> list[tuple[list[str], list[list[Any]], str]]:
        """Return the tables behind the figures by class: header, rows and title of each."""


TASKS: dict[str, Task] = {rules.name: rules for rules in (MultiClass(), Ordinal(), MultiLabel())}


def task_rules(name: str) -> Task:
    """Return the rules of a label scheme.

    Raises
    ------
    SettingsError
        If there is none of that name.
    """
    if name not in TASKS:
        raise SettingsError(
            f"There is no task {name!r}; the tasks are {', '.join(map(repr, TASKS))}.",
            f"{nearest(str(name), tuple(TASKS))}Name one of them.",
        )
    return TASKS[name]


def rules_of_model(summary: Mapping[str, Any]) -> Task:
    """Return the rules that a model's summary names; of one label a text where it names none."""
    return task_rules(summary.get("task") or "multi-class")


def history_names(metric: str, task: TaskName) -> tuple[str, ...]:
    """Return the figures that the history holds: the choosing one and the usual ones of the task."""
    return tuple(dict.fromkeys((metric, *task_rules(task).figures.history)))


def gold_of(rows: Corpus, label_names: tuple[str, ...]) -> Gold:
    """Return the gold labels of the rows that have one, as figures take them."""
    rules = task_rules(rows.task)
    return rules.gold([labels for labels in rules.labels_of(rows) if labels is not None], label_names)


def targets_of(rows: Corpus, label_names: tuple[str, ...]) -> NDArray[Any]:
    """Return what a training learns: classes, shape (n,); or of each class, shape (n, k), 0, 1, or its share of coders.

    Every row has a label.
    """
    if rows.shares is not None:
        return rows.shares.astype(np.float32)
    return task_rules(rows.task).targets(gold_of(rows, label_names))
