"""How a model is fine-tuned: every option of a training once, and what an effort stands for.

In: nothing. Out: frozen dataclasses, as in `secondcoder.settings`.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from secondcoder.bounds import check_choice, check_count, check_range
from secondcoder.settings import Backend, Device, Precision, Settings

DEFAULT_MODEL = "distilbert-base-uncased"

Truncation = Literal["head", "head-tail"]
Effort = Literal["quick", "normal", "thorough"]
HeadStart = Literal["random", "logistic"]


@dataclass(frozen=True)
class TrainSettings(Settings):
    """How the model is fine-tuned."""

    model: str = DEFAULT_MODEL
    """Pre-trained model: a hub name, a folder, or minilm for the one that the demo extra installs."""
    effort: Effort = "normal"
    """How much work to spend: quick, normal or thorough. It stands for the options left unset (docs/efforts.md)."""
    epochs: int | None = None
    """Passes over the train part. Unset: by effort."""
    freeze: float | None = None
    """Share of the encoder's layers, from below, that stay as pre-trained, embeddings with them. Unset: by effort."""
    head_start: HeadStart | None = None
    """First weights of the head: random, or a logistic regression on what the encoder says. Unset: by effort."""
    seeds: int | None = None
    """Train so often, with the seed and those that follow it; the best on dev is kept. Unset: by effort."""
    batch_size: int = 16
    """Texts per optimizer step."""
    learning_rate: float | Literal["auto"] = "auto"
    """Peak learning rate; auto is 2e-5, or 1e-4 for small models (hidden size under 768)."""
    warmup: float = 0.0
    """Share of the steps over which the learning rate rises to its peak, before it falls linearly to zero."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; not applied to biases and norms."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    attention_dropout: float = 0.0
    """Dropout inside attention; anything above 0 makes training on a CPU 2 to 3 times slower."""
    max_length: int | None = None
    """Longest text in tokens; longer ones are cut. Unset: the model's maximum, but no more than the effort allows."""
    truncation: Truncation | None = None
    """What is kept of a text that is too long: its head, or its head and its tail. Unset: by effort."""
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

    def __post_init__(self) -> None:
        check_choice("effort", self.effort, get_args(Effort))
        check_count("epochs", self.epochs, least=1)
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
        if self.truncation is not None:
            check_choice("truncation", self.truncation, get_args(Truncation))
        check_choice("device", self.device, get_args(Device))
        check_choice("precision", self.precision, get_args(Precision))

    @property
    def recipe(self) -> "Recipe":
        """What the effort stands for, with what was set explicitly in its place."""
        recipe = EFFORTS[self.effort]
        named = {name: getattr(self, name) for name in recipe.to_dict() if getattr(self, name) is not None}
        return replace(recipe, **named)

    def resolved(self) -> Self:
        """Return the settings with what the effort stands for filled in; a length stays unset, as models differ."""
        return replace(self, **{**self.recipe.to_dict(), "max_length": self.max_length})


@dataclass(frozen=True)
class Recipe(Settings):
    """What an effort stands for; see the options of the same names."""

    epochs: int
    freeze: float
    head_start: HeadStart
    max_length: int
    truncation: Truncation
    seeds: int


EFFORTS: dict[Effort, Recipe] = {
    "quick": Recipe(epochs=2, freeze=0.7, head_start="logistic", max_length=128, truncation="head-tail", seeds=1),
    "normal": Recipe(epochs=2, freeze=0.5, head_start="random", max_length=512, truncation="head", seeds=1),
    "thorough": Recipe(epochs=3, freeze=0.0, head_start="random", max_length=512, truncation="head-tail", seeds=3),
}
