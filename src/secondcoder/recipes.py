"""How a model is fine-tuned: every option of a training once, and what an effort stands for.

In: nothing. Out: frozen dataclasses, as in `secondcoder.settings`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

from secondcoder.bounds import check_choice, check_count, check_range, check_weights
from secondcoder.errors import SettingsError
from secondcoder.settings import Backend, Device, Precision, Settings

DEFAULT_MODEL = "distilbert-base-uncased"

LongTexts = Literal["truncate", "head-tail", "windows"]
WindowPooling = Literal["mean", "max"]
Effort = Literal["quick", "normal", "thorough"]
HeadStart = Literal["random", "logistic"]
RecipeName = Literal["auto", "frozen", "full", "contrastive"]
DEFAULT_OVERLAP = 0.25


@dataclass(frozen=True)
class TrainSettings(Settings):
    """How the model is fine-tuned."""

    model: str = DEFAULT_MODEL
    """Pre-trained model: a hub name, a folder, or minilm for the one that the demo extra installs."""
    effort: Effort = "normal"
    """How much work to spend: quick, normal or thorough. It stands for the options left unset (docs/efforts.md)."""
    recipe: RecipeName = "auto"
    """How to learn: frozen, full or contrastive. Auto: by effort; with few labels, the best of them on train."""
    epochs: int | None = None
    """Passes over the train part; 0 leaves a logistic head as it starts. Unset: by recipe or effort."""
    freeze: float | None = None
    """Share of the encoder's layers, from below, that stay as pre-trained, embeddings with them. Unset: by effort."""
    head_start: HeadStart | None = None
    """First weights of the head: random, or a logistic regression on what the encoder says. Unset: by effort."""
    seeds: int | None = None
    """Train so often, with the seed and those that follow it; the best on dev is kept. Unset: by effort."""
    batch_size: int = 16
    """Texts per optimizer step."""
    learning_rate: float | Literal["auto"] = "auto"
    """Peak learning rate; auto is 2e-5, or 1e-4 for small models (hidden size under 768); with --lora ten times."""
    warmup: float = 0.0
    """Share of the steps over which the learning rate rises to its peak, before it falls linearly to zero."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; not applied to biases and norms."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    attention_dropout: float = 0.0
    """Dropout inside attention; anything above 0 makes training on a CPU 2 to 3 times slower."""
    max_length: int | None = None
    """Most tokens read at once. Unset: the model's maximum, but no more than the effort allows."""
    long_texts: LongTexts | None = None
    """Longer texts: truncate keeps their head, head-tail head and tail, windows reads all of them. Unset: by effort."""
    window_overlap: float | None = None
    """Least overlap of windows: a share of a window below 1, a number of tokens from 1 on. Unset: 0.25."""
    window_pooling: WindowPooling | None = None
    """How a text's windows say one thing: the mean or the maximum of each class's logits. Unset: mean."""
    metric: str = "auto"
    """Figure on dev that chooses the best epoch; auto is the positive class's F1 if there is one, else macro-f1."""
    device: Device = "auto"
    """Where to compute; auto takes cuda, then mps, then cpu, by what is there."""
    precision: Precision = "auto"
    """Arithmetic; auto is bf16 where the hardware is fast at it, else fp32. Weights are always fp32."""
    token_budget: int | None = None
    """Most tokens in one forward and backward pass; a step is cut into as many passes as needed. Unset: by device."""
    deterministic: bool = False
    """On CUDA, use deterministic kernels only (slower). On a CPU runs are bit-identical anyway."""
    checkpoint_minutes: float = 5.0
    """Save so often what --resume needs, besides the end of each epoch; 0: after every step."""
    backend: Backend = "auto"
    """What will label: auto is the fastest that labels dev as fp32 does (OpenVINO with the extra fast), else torch."""
    max_error: float | None = None
    """Choose the confidence from which on at most this share of labels is wrong; half of dev is set aside for it."""
    class_weights: str | Mapping[str, float] | None = None
    """Weigh classes in the loss: balanced, so that each counts the same, or a JSON file with {"label": weight}."""
    tune_threshold: bool = False
    """Choose on dev, for its F1, the probability from which the positive class is given; needs --positive."""
    lora: int | None = None
    """For large models: train the head and adapters of this rank only, which are merged at the end (extra lora)."""
    checkpoint_activations: bool = False
    """Compute layers again for the gradients instead of keeping what they said: less memory, a third more time."""

    def __post_init__(self) -> None:
        check_choice("effort", self.effort, get_args(Effort))
        check_choice("recipe", self.recipe, get_args(RecipeName))
        check_count("epochs", self.epochs, least=0)
        check_count("batch_size", self.batch_size, least=1)
        check_count("max_length", self.max_length, least=8)
        check_count("token_budget", self.token_budget, least=64)
        if self.learning_rate != "auto":
            check_range("learning_rate", self.learning_rate, above=0.0, most=1.0)
        check_range("warmup", self.warmup, least=0.0, most=1.0)
        check_range("weight_decay", self.weight_decay, least=0.0, most=1.0)
        check_range("max_grad_norm", self.max_grad_norm, above=0.0)
        check_range("attention_dropout", self.attention_dropout, least=0.0, below=1.0)
        if self.freeze is not None:
            check_range("freeze", self.freeze, least=0.0, most=1.0)
        check_count("seeds", self.seeds, least=1)
        check_choice("backend", self.backend, get_args(Backend))
        check_range("checkpoint_minutes", self.checkpoint_minutes, least=0.0)
        if self.max_error is not None:
            check_range("max_error", self.max_error, above=0.0, below=1.0)
        if self.head_start is not None:
            check_choice("head_start", self.head_start, get_args(HeadStart))
        if self.long_texts is not None:
            check_choice("long_texts", self.long_texts, get_args(LongTexts))
        self._check_windows()
        check_choice("device", self.device, get_args(Device))
        check_choice("precision", self.precision, get_args(Precision))
        self._check_recipe()
        self._check_leaner()

    def _check_recipe(self) -> None:
        for name, value in RECIPES.get(self.recipe, {}).items():
            if getattr(self, name) not in (None, value):
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, and the recipe {self.recipe} has {value!r}.",
                    f"Leave --{name.replace('_', '-')} or --recipe {self.recipe} out.",
                )
        if self.recipe != "auto" and self.lora is not None:
            raise SettingsError(
                f"The recipe {self.recipe} was asked for with --lora, which is a recipe of its own.",
                "Leave one of them out.",
            )
        if self.recipe in ("frozen", "contrastive") and self.class_weights is not None:
            raise SettingsError(
                f"The recipe {self.recipe} does not weigh classes, and --class-weights was given.",
                "Leave it out, or take --recipe full.",
            )
        if self.planned.epochs == 0 and (self.planned.head_start != "logistic" or self.recipe in LEAST_STEPS):
            raise SettingsError(
                "epochs is 0, which leaves the head as it starts.",
                "Train for 1 at least, or take --recipe frozen or --head-start logistic.",
            )

    def _check_leaner(self) -> None:
        check_count("lora", self.lora, least=1)
        if self.lora is not None and self.planned.freeze == 1:
            raise SettingsError(
                f"lora is {self.lora!r}, and all layers are frozen: none is left for adapters.",
                "Leave --lora out, or freeze fewer layers.",
            )
        for name in ("lora", "checkpoint_activations"):
            if getattr(self, name) and self.planned.epochs == 0:
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, and with 0 epochs no layer is trained.",
                    f"Leave --{name.replace('_', '-')} out, or train for 1 epoch at least.",
                )
        if isinstance(self.class_weights, Mapping):
            check_weights("class_weights", self.class_weights)

    def _check_windows(self) -> None:
        if self.window_pooling is not None:
            check_choice("window_pooling", self.window_pooling, get_args(WindowPooling))
        if self.window_overlap is not None:
            check_overlap(self.window_overlap)
        for name in ("window_overlap", "window_pooling"):
            if getattr(self, name) is not None and self.planned.long_texts != "windows":
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, and long texts are not read in windows.",
                    "Add --long-texts windows, or leave it away.",
                )

    @property
    def planned(self) -> "Plan":
        """What the effort and a named recipe stand for, with what was set explicitly in its place."""
        plan = replace(EFFORTS[self.effort], **RECIPES.get(self.recipe, {}))
        if self.lora is not None and self.recipe == "auto":
            plan = replace(plan, freeze=0.0)  # adapters leave all layers as they are, and learn in each
        named = {name: getattr(self, name) for name in plan.to_dict() if getattr(self, name) is not None}
        return replace(plan, **named)

    def sized(self, n: int) -> Self:
        """Return the settings with the epochs that a named recipe takes for a train part of `n` texts.

        A recipe counts in steps: of few texts an epoch has few, and an effort's epochs would hardly move the weights.
        """
        if self.recipe not in LEAST_STEPS or self.epochs is not None:
            return self
        epochs = math.ceil(LEAST_STEPS[self.recipe] / math.ceil(n / self.batch_size))
        return replace(self, epochs=max(epochs, self.planned.epochs))

    def resolved(self) -> Self:
        """Return the settings with what the effort stands for filled in; a length stays unset, as models differ."""
        filled = replace(self, **{**self.planned.to_dict(), "max_length": self.max_length})
        if filled.long_texts != "windows":
            return filled
        overlap = DEFAULT_OVERLAP if self.window_overlap is None else self.window_overlap
        return replace(filled, window_overlap=overlap, window_pooling=self.window_pooling or "mean")


@dataclass(frozen=True)
class Plan(Settings):
    """What an effort stands for; see the options of the same names."""

    epochs: int
    freeze: float
    head_start: HeadStart
    max_length: int
    long_texts: LongTexts
    seeds: int


EFFORTS: dict[Effort, Plan] = {
    "quick": Plan(epochs=2, freeze=0.7, head_start="logistic", max_length=128, long_texts="head-tail", seeds=1),
    "normal": Plan(epochs=2, freeze=0.5, head_start="random", max_length=512, long_texts="truncate", seeds=1),
    "thorough": Plan(epochs=3, freeze=0.0, head_start="random", max_length=512, long_texts="head-tail", seeds=3),
}

RECIPES: dict[str, dict[str, Any]] = {
    "frozen": {"epochs": 0, "freeze": 1.0, "head_start": "logistic"},
    "full": {"freeze": 0.0, "head_start": "logistic"},
    "contrastive": {"freeze": 0.0, "head_start": "logistic"},
}
"""What a named recipe fixes, whatever the effort."""

LEAST_STEPS = {"full": 60, "contrastive": 60}
"""Optimizer steps that a recipe takes at least, in whole epochs; never fewer epochs than the effort's."""


# Names and values of earlier versions, in run folders and model cards, and today's.
_RENAMED = {"truncation": "long_texts", "share_truncated": "share_longer"}
_REVALUED = {"long_texts": {"head": "truncate"}}


def in_todays_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored settings, or what was stored about lengths, with the names and values that they have today."""
    renamed = {_RENAMED.get(name, name): value for name, value in values.items()}
    return {name: _REVALUED[name].get(value, value) if name in _REVALUED else value for name, value in renamed.items()}


def check_overlap(value: float) -> None:
    """Raise `SettingsError` unless the value is a share of a window, or a whole number of tokens."""
    check_range("window_overlap", value, least=0.0)
    if value >= 1 and value != int(value):
        raise SettingsError(
            f"window_overlap is {value!r}.", "Give a share below 1, such as 0.25, or a whole number of tokens."
        )
