"""Few labels: what that is, and what is found when recipes to learn from them are compared.

In: the train part and settings. Out: whether recipes are to be compared, and `RecipeComparison`.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import SettingsError
from secondcoder.settings import TrainSettings
from secondcoder.training.class_weights import settle_classes

FEW = 50
"""Labels are few where the rarest class of train that occurs at all has fewer texts than these."""
MOST_TEXTS = 1000
"""Larger train parts are not compared on, however rare a class: there the effort's recipe has enough to learn from."""


@dataclass(frozen=True)
class RecipeComparison:
    """What cross-validation on train says about recipes.

    Attributes
    ----------
    chosen
        The best one.
    metric
        The figure that chose.
    figures
        By recipe: the figure of all rows, each judged by a model that has not learned from it; the mean of several
        divisions into folds, where there were several.
    spread
        By recipe: the standard deviation of the figure between folds; empty where there was one.
    seconds
        By recipe: spent on it.
    n_folds, repeats
        Folds, and how often they were made.
    trainings
        That were judged, of each recipe; fewer than folds times repeats where the time was over.
    fewest
        Texts of the rarest class.
    settings
        What the chosen recipe stands for on all of train.
    """

    chosen: str
    metric: str
    figures: dict[str, float]
    spread: dict[str, float]
    seconds: dict[str, float]
    n_folds: int
    repeats: int
    trainings: int
    fewest: int
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` gave away, whatever else stands beside it."""
        return cls(**{part.name: values[part.name] for part in fields(cls)})

    @property
    def told(self) -> str:
        """The figure of each recipe, and how far it spreads."""
        return ", ".join(
            f"{name} {figure:.3f}" + (f" ± {self.spread[name]:.3f}" if name in self.spread else "")
            for name, figure in self.figures.items()
        )

    @property
    def sentence(self) -> str:
        """What was found."""
        often = "" if self.repeats == 1 else f", {self.repeats} times"
        return (
            f"Recipes by cross-validation on train ({self.metric}, {self.n_folds} folds{often}; ± standard deviation "
            f"between folds): {self.told}. Taken: {self.chosen}."
        )


def fewest_labels(train: Corpus) -> int:
    """Return how many texts the rarest class has, of those that occur."""
    return min((count for count in train.label_counts().values() if count), default=0)


def wants_comparison(settings: TrainSettings, train: Corpus) -> bool:
    """Return whether recipes are compared before a training: few labels, effort normal, and nothing of one named."""
    named = [getattr(settings, name) for name in ("epochs", "freeze", "head_start", "lora", "class_weights")]
    return (
        settings.effort == "normal"
        and settings.recipe == "auto"
        and not any(value is not None for value in named)
        and train.task != "multi-label"
        and train.shares is None
        and fewest_labels(train) < FEW
        and len(train) <= MOST_TEXTS
    )


def settled_for(train: Corpus, settings: TrainSettings) -> TrainSettings:
    """Return the settings held against the rows that they are for, in one process; see `settle_classes`."""
    require_possible(settings, train, processes=1)
    return settle_classes(settings, train)


def require_possible(settings: TrainSettings, train: Corpus, *, processes: int) -> None:
    """Raise `SettingsError` if a recipe was named that cannot be used here."""
    if train.shares is not None and settings.planned.epochs == 0:
        raise SettingsError(
            "Without epochs the head is a logistic regression, which learns one class a text: shares of coders would "
            "not be used.",
            "Take --recipe full, or name the column with the most frequent class by --label.",
        )
    if settings.recipe == "contrastive":
        if processes > 1:
            raise SettingsError(
                f"The recipe contrastive was asked for in {processes} processes; it compares texts within one.",
                "Start one process, or take --recipe full.",
            )
        if train.multi_label or train.shares is not None:
            raise SettingsError(
                "The recipe contrastive compares texts of one class each, and here a text may have several.",
                "Take --recipe full.",
            )
