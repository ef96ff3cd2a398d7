"""Hyper-parameters: which values may be tried, what is tried next, and when a trial is given up.

In: settings, and the trials so far. Out: the next trial's values, drawn by optuna (extra tune). What is drawn depends
on the seed and on the finished trials only, so that a search which was stopped goes on as if it had not been, and
nothing of optuna's own has to be stored.

References
----------
Bergstra et al. 2011, Algorithms for hyper-parameter optimization, NeurIPS 24 (the tree-structured Parzen estimator).
Akiba et al. 2019, Optuna, doi:10.1145/3292500.3330701.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from secondcoder.errors import MissingExtraError
from secondcoder.model.model import Model
from secondcoder.settings import TrainSettings
from secondcoder.training.trainable import peak_rate

if TYPE_CHECKING:
    import optuna

RATES = 5.0
"""The learning rate is searched from a fifth of the model's usual one to five times it."""
MORE_EPOCHS = 2
"""Unless named, up to so many epochs more than the effort has are tried."""
BATCH_SIZES = (8, 16, 32)
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
# So many trials are drawn at random before their results are heeded, and so many are finished before any is given up.
_AT_RANDOM, _NEVER_GIVEN_UP = 5, 4
State = Literal["complete", "given up", "failed"]


@dataclass(frozen=True)
class Trial:
    """A trial that is over.

    Attributes
    ----------
    number
        From 0; that is the trial of the settings as they were given.
    values
        What was tried, by the option's name.
    state
        How it ended; a failed one has a loss that is no number, or wanted more memory than there is.
    figures
        The choosing figure on dev after each epoch that was judged, as pairs of epoch and figure.
    best
        The best of them; None where there is none.
    best_epoch
        The epoch that it is of.
    seconds
        Spent on it.
    reason
        Why it failed.
    """

    number: int
    values: dict[str, Any]
    state: State
    figures: tuple[tuple[int, float], ...] = ()
    best: float | None = None
    best_epoch: int | None = None
    seconds: float = 0.0
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Search:
    """What may be tried, and how.

    Attributes
    ----------
    ranges
        Least and largest value of what is searched between two limits.
    choices
        Values of what is one of several.
    first
        What the settings as they were given stand for: the first trial, so that the best is never worse than these.
    higher_is_better
        Of the figure that chooses.
    seed
        What chance depends on.
    """

    ranges: dict[str, tuple[float, float]]
    choices: dict[str, tuple[int, ...]]
    first: dict[str, Any]
    higher_is_better: bool
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return what is searched, as plain JSON values."""
        return {name: list(values) for name, values in (self.ranges | self.choices).items()}

    def next(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """Return the values of the next trial, by the option's name."""
        if not trials:
            return self.first
        asked = self._study(trials).ask(self._distributions())
        return {name: asked.params[name] for name in self.first}

    def gives_up(self, trials: Sequence[Trial], values: dict[str, Any], figures: Sequence[tuple[int, float]]) -> bool:
        """Return whether a trial is worse, after its last epoch, than half of the others after the same one.

        It is compared by its best figure so far. Nothing is given up among the first few trials.
        """
        study = self._study(trials)
        study.enqueue_trial(values)
        trial = study.ask(self._distributions())
        for epoch, figure in figures:
            trial.report(figure, epoch)
        return trial.should_prune()

    def _study(self, trials: Sequence[Trial]) -> "optuna.Study":
        tools = load_optuna()
        study: optuna.Study = tools.create_study(
            direction="maximize" if self.higher_is_better else "minimize",
            # A sampler of its own for each trial: what it draws depends on nothing that would have to be stored.
            sampler=tools.samplers.TPESampler(seed=self.seed + len(trials), n_startup_trials=_AT_RANDOM),
            pruner=tools.pruners.MedianPruner(n_startup_trials=_NEVER_GIVEN_UP),
        )
        states = {"complete": "COMPLETE", "given up": "PRUNED", "failed": "FAIL"}
        for trial in trials:
            study.add_trial(
                tools.trial.create_trial(
                    state=tools.trial.TrialState[states[trial.state]],
                    value=trial.best if trial.state == "complete" else None,
                    params=trial.values,
                    distributions=self._distributions(),
                    intermediate_values=dict(trial.figures),
                )
            )
        return study

    def _distributions(self) -> dict[str, "optuna.distributions.BaseDistribution"]:
        kinds = load_optuna().distributions
        found: dict[str, optuna.distributions.BaseDistribution] = {
            name: kinds.FloatDistribution(low, high, log=True) for name, (low, high) in self.ranges.items()
        }
        for name, values in self.choices.items():
            ordered = name == "epochs"  # one after the other, so that neighbours tell of each other
            found[name] = (
                kinds.IntDistribution(values[0], values[-1]) if ordered else kinds.CategoricalDistribution(values)
            )
        return found


def load_optuna() -> Any:
    """Return optuna, made quiet.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(
            "Tuning needs optuna, which is not installed.", "Run: pip install 'secondcoder[tune]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def search_for(settings: TrainSettings, model: Model, *, longest: int, higher_is_better: bool, seed: int) -> Search:
    """Return what is searched for settings: what they name is kept, or is the most that is tried.

    Parameters
    ----------
    settings
        ``learning_rate`` named is kept; a ``batch_size`` other than 16 is kept; ``epochs`` and ``max_length`` named are
        the largest that are tried.
    model
        Started from them; it says its usual rate and how much it reads at once.
    longest
        The longest text in tokens: lengths beyond the first that holds it are the same.
    higher_is_better
        Of the figure that chooses.
    seed
        What chance depends on.
    """
    ranges, rate = {}, settings.learning_rate
    if rate == "auto":
        rate = peak_rate(model.network.config, settings)
        ranges["learning_rate"] = (rate / RATES, rate * RATES)
    planned = settings.planned.epochs
    most = planned if settings.epochs is not None else planned + MORE_EPOCHS
    lengths = [n for n in LENGTHS if n < model.encoder.max_length] + [model.encoder.max_length]
    enough = next((n for n in lengths if n >= longest), lengths[-1])
    choices = {
        "epochs": tuple(range(1, most + 1)),
        "batch_size": BATCH_SIZES if settings.batch_size == 16 else (settings.batch_size,),
        "max_length": tuple(n for n in lengths if n <= enough),
    }
    first = {"learning_rate": rate, "epochs": planned, "batch_size": settings.batch_size, "max_length": enough}
    choices = {name: values for name, values in choices.items() if len(values) > 1}
    searched = {name: value for name, value in first.items() if name in ranges or name in choices}
    return Search(ranges, choices, searched, higher_is_better, seed)
