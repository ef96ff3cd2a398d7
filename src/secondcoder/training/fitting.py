"""How a training went, and how far it has come.

In: what the loop finds. Out: `Fit` for its caller, `State` for its checkpoints.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus, Task
from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.evaluate import points_of_rows
from secondcoder.evaluation.tasks import indicators
from secondcoder.evaluation.thresholds import tune_thresholds
from secondcoder.model.model import Scores


@dataclass
class Fit:
    """How a training went.

    Attributes
    ----------
    metric
        The figure on dev that chose the best epoch.
    learning_rate
        The peak rate that was used.
    seed
        Of the head's first weights, the data order and dropout.
    best_epoch
        The epoch whose weights the model holds, counted from 1; 0 is a head that was read off the encoder, before any
        step.
    best_scores
        What the model of that epoch says about dev.
    history
        One entry per evaluation on dev.
    findings
        What the user should know about how it went.
    n_tokens : ndarray of shape (n,)
        Lengths of the train and dev texts in tokens, before truncation.
    seed_figures
        The best figure on dev of each seed, where there were several.
    class_weights
        How much a text of each class counts in the loss; None: all the same.
    """

    metric: str
    learning_rate: float
    seed: int
    best_epoch: int | None = None
    best_scores: Scores | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    n_tokens: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    seed_figures: dict[str, float] = field(default_factory=dict)
    class_weights: dict[str, float] | None = None

    @property
    def best(self) -> float | None:
        """The choosing figure of the best epoch."""
        found = [entry[self.metric] for entry in self.history if entry["epoch"] == self.best_epoch]
        return float(found[0]) if found else None

    def summary(self) -> dict[str, Any]:
        """Return what the run folder says about it, as plain JSON values."""
        return {
            "metric": self.metric,
            "learning_rate": self.learning_rate,
            "best_seed": self.seed,
            "best_epoch": self.best_epoch,
            "epochs_finished": sum(entry["epoch"] > 0 for entry in self.history),
            "seed_figures": self.seed_figures,
            "class_weights": self.class_weights,
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass
class State:
    """How far a training has come.

    Attributes
    ----------
    step
        Optimizer steps taken.
    epoch
        The one that is under way, counted from 1.
    steps, texts
        Done in this epoch.
    loss_sum
        Of the texts done in this epoch.
    padded_tokens
        That this process computed for them.
    seconds
        Spent on them.
    """

    step: int = 0
    epoch: int = 1
    steps: int = 0
    texts: int = 0
    loss_sum: float = 0.0
    padded_tokens: int = 0
    seconds: float = 0.0

    def add(self, *, texts: int, loss: float, padded_tokens: int, seconds: float) -> None:
        """Count one more step, of so many texts with this mean loss."""
        self.step += 1
        self.steps += 1
        self.texts += texts
        self.loss_sum += loss * texts
        self.padded_tokens += padded_tokens
        self.seconds += seconds

    @property
    def loss(self) -> float:
        """Mean loss of the texts of this epoch so far."""
        return self.loss_sum / self.texts

    def entry(self, filling: float) -> dict[str, Any]:
        """Return the epoch's history entry, without figures on dev.

        Parameters
        ----------
        filling
            Real tokens as a share of the padded ones that were computed.
        """
        return {
            "epoch": self.epoch,
            "step": self.step,
            "train_loss": self.loss,
            "padding": 1 - float(filling),
            "seconds": round(self.seconds, 2),
            "texts_per_second": round(self.texts / self.seconds, 2),
        }

    def next_epoch(self) -> "State":
        """Return the state at the start of the next epoch."""
        return State(step=self.step, epoch=self.epoch + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` gave away."""
        return cls(**values)


def dev_figures(dev: Corpus, scores: Scores, metric: str) -> dict[str, float]:
    """Return the figures that go into the history: the choosing one and the usual ones."""
    evaluation = points_of_rows(dev, scores.probabilities, thresholds=dev_thresholds(dev, scores))
    return {name: evaluation.figure(name) for name in history_names(metric, dev.task)}


def dev_thresholds(dev: Corpus, scores: Scores) -> dict[str, float]:
    """Return from which probability on each class is given where a text may have several, chosen on dev; else nothing.

    Epochs are compared by what their labels would be: from 0.5 on, rare classes are given by none of the first ones.
    """
    if not dev.multi_label:
        return {}
    found = tune_thresholds(gold_of(dev, dev.label_names), scores.probabilities)
    return dict(zip(dev.label_names, found.tolist(), strict=True))


def history_names(metric: str, task: Task) -> tuple[str, ...]:
    """Return the figures that the history holds: the choosing one and the usual ones of the task."""
    usual = ("exact-match", "micro-f1") if task == "multi-label" else ("accuracy",)
    ordered = ("quadratic-kappa",) if task == "ordinal" else ()
    return tuple(dict.fromkeys((metric, *usual, "macro-f1", *ordered, "log-loss")))


def gold_of(rows: Corpus, label_names: tuple[str, ...]) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Return the gold labels as figures take them.

    Returns
    -------
    ndarray of shape (n,)
        Positions among the label names. Where a text may have several, ndarray of shape (n, k), bool.
    """
    if rows.multi_label:
        return indicators([label for label in rows.labels if label is not None], label_names, rows.separator)
    return class_indices(rows, label_names)


def targets_of(rows: Corpus, label_names: tuple[str, ...]) -> NDArray[Any]:
    """Return what a training learns: classes, shape (n,); or of each class, shape (n, k), 0, 1, or its share of coders.

    Every row has a label.
    """
    if rows.shares is not None:
        return rows.shares.astype(np.float32)
    gold = gold_of(rows, label_names)
    return gold.astype(np.float32) if gold.dtype == np.bool_ else gold


def class_indices(corpus: Corpus, label_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the position of each row's label among the label names, shape (n,)."""
    position = {name: i for i, name in enumerate(label_names)}
    return np.array([position[label] for label in corpus.labels if label is not None], dtype=np.int64)


def describe(entry: dict[str, Any], epochs: int, metric: str) -> str:
    """Return a history entry as a sentence."""
    if not entry["epoch"]:
        return f"head read off the encoder: dev {metric} {entry[metric]:.3f}"
    return (
        f"epoch {entry['epoch']}/{epochs}: loss {entry['train_loss']:.3f}, dev {metric} {entry[metric]:.3f}, "
        f"{entry['seconds']:.0f} s, {entry['texts_per_second']:.1f} texts/s"
    )
