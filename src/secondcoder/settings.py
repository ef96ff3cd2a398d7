"""Every option once: its name, default, bounds and help.

In: nothing. Out: frozen dataclasses. The command line, ``secondcoder.toml`` and the library's functions derive their
options from the fields (`secondcoder.signatures`), and the run folder stores them. A field's help stands below it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from secondcoder.errors import SettingsError, nearest


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `SettingsError` unless the value is one of the choices."""
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}.", f"{nearest(value, choices)}Choose one of {', '.join(choices)}.")


def check_count(name: str, value: int | None, *, least: int) -> None:
    """Raise `SettingsError` unless the value is None or a whole number, at least so large."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise SettingsError(f"{name} is {value!r}.", f"Give a whole number, at least {least}.")


def check_range(
    name: str,
    value: float,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raise `SettingsError` unless the value is a number within the limits."""
    if not (isinstance(value, int | float) and least <= value <= most and above < value < below):
        limits = [
            f"at least {least}" if least > -math.inf else f"above {above}",
            f"at most {most}" if most < math.inf else f"below {below}",
        ]
        raise SettingsError(f"{name} is {value!r}.", f"Give a number {' and '.join(limits)}.")


def check_weights(name: str, weights: Mapping[Any, Any]) -> None:
    """Raise `SettingsError` unless each weight is a finite number above 0; the error names the first that is not."""
    for label, weight in weights.items():
        if isinstance(weight, bool) or not (isinstance(weight, int | float) and 0 < weight < math.inf):
            raise SettingsError(f"{name}: the weight of {label!r} is {weight!r}.", "Give a number above 0.")


def as_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names as a tuple, a single one given as a string too."""
    return (names,) if isinstance(names, str) else tuple(names)


def parse_share(text: str | None) -> tuple[int, int]:
    """Return which share ``"3/40"`` is, from 1, and of how many; None is the first of one.

    Raises
    ------
    SettingsError
        If it is not spelt so, or there is no such share.
    """
    number, slash, of = ("1/1" if text is None else str(text)).partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise SettingsError(f"shard is {text!r}.", "Write 3/40 for the third of 40.")
    return int(number), int(of)


def parse_counts(name: str, text: str | None) -> tuple[int, ...]:
    """Return the numbers in ``"100,200,400"``; None has none.

    Raises
    ------
    SettingsError
        If they are not whole numbers from 1 on.
    """
    pieces = [] if text is None else str(text).split(",")
    if not all(piece.strip().isdecimal() and int(piece) for piece in pieces):
        raise SettingsError(f"{name} is {text!r}.", "Write whole numbers, as 100,200,400.")
    return tuple(int(piece) for piece in pieces)


DEFAULT_SEED = 42
By = Literal["auto", "random", "stratified", "group", "given"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
BackendName = Literal["auto", "torch", "openvino"]
EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Settings:
    """Base: values that can be shown and stored."""

    @classmethod
    def of(cls, source: object) -> Self:
        """Return the settings that an object with attributes of the same names has."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ReadSettings(Settings):
    """Which columns are what."""

    text: str | None = None
    """Column with the texts to classify."""
    label: str | None = None
    """Column with the hand-given labels: one a text, or several, as a list or with --label-separator."""
    label_separator: str | None = None
    """What stands between labels where a text may have several, such as ";"; an empty cell has not been labelled."""
    label_columns: Sequence[str] = ()
    """Columns of 0 and 1, one for each class, where a text may have several; in place of --label."""
    label_shares: Sequence[str] = ()
    """Columns with the share, or number, of coders that gave each class; in place of --label."""
    no_label: str | None = None
    """The word in the label column for a text of no class, where a text may have several, such as none."""
    group: str | None = None
    """Column with the document, author or film that a text comes from; no group will stand in two parts."""
    id: str | None = None
    """Column with a unique id for each row; without it, the row number, from 1."""
    split_column: str | None = None
    """Column that says which part a row belongs to: train, dev (or validation) and test."""
    label_names: str | None = None
    """Names for coded labels, as 0=negative,1=positive."""
    positive: str | None = None
    """The positive class of a two-class task; its precision, recall and F1 are then the headline figures."""
    ordinal: str | None = None
    """Order of the classes, where they have one: names from low to high, as left,centre,right; or natural."""
    sample_train: int | None = None
    """Draw so many rows of the given train part, without replacement, by seed."""
    sample_dev: int | None = None
    """Draw so many rows of the given dev part."""
    sample_test: int | None = None
    """Draw so many rows of the given test part."""
    dev_from: Literal["train", "test"] | None = None
    """Where a data set has no dev part, take the dev rows (--sample-dev of them) from this part."""

    def __post_init__(self) -> None:
        for name in ("label_columns", "label_shares"):
            object.__setattr__(self, name, as_names(getattr(self, name)))
        for name in ("sample_train", "sample_dev", "sample_test"):
            check_count(name, getattr(self, name), least=1)
        self._check_labels()
        if self.dev_from is not None and self.sample_dev is None:
            raise SettingsError(
                f"--dev-from {self.dev_from} does not say how many rows to take.", "Add --sample-dev N."
            )

    def _check_labels(self) -> None:
        """Raise `SettingsError` unless labels are read in one way."""
        ways = ("label", "label_columns", "label_shares")
        named = [f"--{name.replace('_', '-')}" for name in ways if getattr(self, name)]
        if len(named) > 1:
            raise SettingsError(f"{' and '.join(named)} are both given.", "Say in one way where the labels are.")
        if self.label_separator is not None and not self.label_separator.strip():
            raise SettingsError(
                f"label_separator is {self.label_separator!r}.", "Name a character that is no blank, such as ';'."
            )
        if self.label_separator is not None and self.label_shares:
            raise SettingsError("--label-separator and --label-shares are both given.", "Remove one of them.")
        if self.no_label is not None and not self.label:
            raise SettingsError(
                "--no-label names a word in the label column, and --label is missing.", "Name it, or leave this out."
            )
        for name in ways[1:]:
            columns = getattr(self, name)
            if len(set(columns)) < len(columns):
                raise SettingsError(f"{name} names a column twice: {list(columns)}.", "Name each once.")
            if len(columns) == 1:
                raise SettingsError(
                    f"{name} names one column, {columns[0]!r}.", "Name one for each class, two or more; or use --label."
                )

    @property
    def labelled(self) -> bool:
        """Whether it was said where the labels are."""
        return bool(self.label or self.label_columns or self.label_shares)


@dataclass(frozen=True)
class SplitSettings(Settings):
    """How the rows are divided into train, dev and test."""

    by: By = "auto"
    """How to divide: auto (given where there is a split column, else by group where there is one, else stratified)."""
    stratify: tuple[str, ...] = ()
    """Columns whose values are kept equally frequent in the three parts; the label unless named."""
    dev: float = 0.2
    """Size of dev, which chooses: a share of the rows below 1, a number of rows from 1 on."""
    test: float = 0.2
    """Size of test, which judges once: a share of the rows below 1, a number of rows from 1 on."""
    allow_leaks: bool = False
    """Keep given parts as they are though test shares texts with train or dev; the report says so for ever."""

    def __post_init__(self) -> None:
        check_choice("by", self.by, get_args(By))
        for name in ("dev", "test"):
            size = getattr(self, name)
            if not math.isfinite(size) or size <= 0 or (size >= 1 and size != int(size)):
                raise SettingsError(f"{name} is {size!r}.", "Give a share between 0 and 1, or a whole number of rows.")


@dataclass(frozen=True, kw_only=True)
class LabelSettings(Settings):
    """How a corpus is labelled and what the output holds."""

    text: str | None = None
    """Column with the texts; unset: the column that the model was trained on."""
    probabilities: bool = False
    """Write a column with the probability of each class too."""
    prefix: str = ""
    """Put before the names of the added columns, where the input already has a column of such a name."""
    min_confidence: float | Literal["auto"] | None = None
    """Leave the label empty below this probability of it, which stays; auto: what training chose for --max-error."""
    limit: int | None = None
    """Label only the first rows, so many, to try how it goes."""
    shard: str | None = None
    """Label one share of the rows, as 3/40: the third of 40; secondcoder merge puts the shares together."""
    allow_rejects: bool = False
    """Leave with exit code 0 though lines of the input could not be parsed, and go on however many these are."""
    device: Device = "auto"
    """Where to compute; auto takes cuda, then mps, then cpu, by what is there."""
    precision: Precision = "auto"
    """Arithmetic; auto is what the model was evaluated with."""
    backend: BackendName = "auto"
    """What computes; auto is what the model was evaluated with."""
    engine: EngineName = "local"
    """Who computes: this process, or workers on Ray (extra ray; docs/clusters.md); the output is the same."""
    address: str | None = None
    """Running Ray cluster to join, as auto or 10.0.0.1:6379. Unset: Ray is started on this machine alone."""
    workers: int | None = None
    """Workers on Ray, each with the model. Unset: as many as there are GPUs, or as there is room for with --cpus."""
    cpus: int | None = None
    """Cores of each worker on Ray, which it computes and tokenises with. Unset: 1, beside a GPU up to 8."""

    def __post_init__(self) -> None:
        for name, kind in (
            ("device", Device),
            ("backend", BackendName),
            ("precision", Precision),
            ("engine", EngineName),
        ):
            check_choice(name, getattr(self, name), get_args(kind))
        for name in ("limit", "workers", "cpus"):
            check_count(name, getattr(self, name), least=1)
        if self.engine != "ray" and (self.address, self.workers, self.cpus) != (None,) * 3:
            raise SettingsError("address, workers and cpus are those of Ray.", "Add --engine ray, or leave them out.")
        if self.min_confidence is not None and self.min_confidence != "auto":
            check_range("min_confidence", self.min_confidence, above=0.0, most=1.0)
        self.share  # noqa: B018

    @property
    def share(self) -> tuple[int, int]:
        """Which share of the rows, from 1, and of how many."""
        return parse_share(self.shard)


@dataclass(frozen=True)
class CurveSettings(Settings):
    """What a learning curve is made of."""

    sizes: str | None = None
    """Numbers of train texts, as 100,200,400; all of train is added. Unset: all, a half, a quarter, down to 1/16."""
    more: int | None = None
    """How many more labels to foretell the gain of. Unset: as many as train has."""

    def __post_init__(self) -> None:
        check_count("more", self.more, least=1)
        self.numbers  # noqa: B018

    @property
    def numbers(self) -> tuple[int, ...]:
        """The sizes as numbers; none where they are unset."""
        return parse_counts("sizes", self.sizes)


@dataclass(frozen=True)
class TuneSettings(Settings):
    """How long hyper-parameters are searched for."""

    trials: int = 20
    """Trainings to try, the settings as they are given first."""
    timeout: float | None = None
    """Minutes after which no more trial is begun. Unset: there is no end."""

    def __post_init__(self) -> None:
        check_count("trials", self.trials, least=1)
        if self.timeout is not None:
            check_range("timeout", self.timeout, above=0.0)


def check_seed(seed: int) -> None:
    """Raise `SettingsError` unless the seed is a whole number from 0 on."""
    check_count("seed", seed, least=0)


DEFAULT_MODEL = "distilbert-base-uncased"
TFIDF = "tfidf"
"""The model that is not pre-trained: TF-IDF with logistic regression."""
LongTexts = Literal["truncate", "head-tail", "windows"]
WindowPooling = Literal["mean", "max"]
Pooling = Literal["auto", "first", "mean"]
Effort = Literal["quick", "normal", "thorough"]
HeadStart = Literal["random", "logistic"]
RecipeName = Literal["auto", "frozen", "full", "contrastive"]
DEFAULT_OVERLAP = 0.25


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Settings):
    """The options of a training, as they are given."""

    model: str = DEFAULT_MODEL
    """Pre-trained model: a hub name, a folder, minilm (extra demo); or tfidf for TF-IDF with logistic regression."""
    effort: Effort = "normal"
    """How much work to spend: quick, normal or thorough. It stands for the options left unset (docs/efforts.md)."""
    recipe: RecipeName = "auto"
    """How to learn: frozen, full or contrastive. Auto: by effort; with few labels, the best on train, or TF-IDF."""
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
    pooling: Pooling = "auto"
    """What the head reads: the first token, or the mean over all; auto is what the model says of itself."""
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
    backend: BackendName = "auto"
    """What will label: auto is the fastest that labels dev as fp32 does (OpenVINO with the extra fast), else torch."""
    max_error: float | None = None
    """Choose on half of dev a confidence that keeps errors below this share in 95 of 100 studies; it may find none."""
    class_weights: str | Mapping[str, float] | None = None
    """Weigh classes in the loss: balanced, so that each counts the same, or a JSON file with {"label": weight}."""
    tune_threshold: bool = False
    """Choose on dev, for its F1, the probability from which the positive class is given; needs --positive."""
    lora: int | None = None
    """For large models: train the head and adapters of this rank only, which are merged at the end (extra lora)."""
    checkpoint_activations: bool = False
    """Compute layers again for the gradients instead of keeping what they said: less memory, a third more time."""
    population: str | None = None
    """What the hand-labelled texts are and how they were drawn, for the methods paragraph: "a random sample of …"."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings(TrainOptions):
    """How the model is fine-tuned: the options, checked."""

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
        check_choice("backend", self.backend, get_args(BackendName))
        check_range("checkpoint_minutes", self.checkpoint_minutes, least=0.0)
        if self.max_error is not None:
            check_range("max_error", self.max_error, above=0.0, below=1.0)
        if self.head_start is not None:
            check_choice("head_start", self.head_start, get_args(HeadStart))
        if self.long_texts is not None:
            check_choice("long_texts", self.long_texts, get_args(LongTexts))
        if self.population is not None:
            check_population(self.population)
        self._check_tfidf()
        self._check_windows()
        for name, kind in (("device", Device), ("precision", Precision), ("pooling", Pooling)):
            check_choice(name, getattr(self, name), get_args(kind))
        self._check_recipe()
        self._check_leaner()

    def _check_tfidf(self) -> None:
        named = [name for name in OF_NETWORKS if getattr(self, name) != getattr(TrainOptions, name)]
        if self.is_tfidf and named:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
            what = f"The model tfidf is no network, and {options} would mean nothing."
            raise SettingsError(what, "Remove what is named here, or take a pre-trained model.")

    @property
    def is_tfidf(self) -> bool:
        """Whether the model is TF-IDF with logistic regression."""
        return self.model == TFIDF

    def _check_recipe(self) -> None:
        for name, value in RECIPES.get(self.recipe, {}).items():
            if getattr(self, name) not in (None, value):
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, and the recipe {self.recipe} has {value!r}.",
                    f"Remove --{name.replace('_', '-')} or --recipe {self.recipe}.",
                )
        if self.recipe != "auto" and self.lora is not None:
            raise SettingsError(
                f"The recipe {self.recipe} was asked for with --lora, which is a recipe of its own.",
                "Remove one of them.",
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
                "Remove --lora, or freeze fewer layers.",
            )
        for name in ("lora", "checkpoint_activations"):
            if getattr(self, name) and self.planned.epochs == 0:
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, and with 0 epochs no layer is trained.",
                    f"Remove --{name.replace('_', '-')}, or train for 1 epoch at least.",
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
                    "Add --long-texts windows, or remove it.",
                )

    def identity(self) -> dict[str, Any]:
        """Return the options that a result depends on: trainings on the same rows with the same ones give the same."""
        return self.identity_of(self.to_dict())

    @classmethod
    def identity_of(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `identity` of settings that a run folder stores; an option that it lacks was as by default."""
        return {name: value for name, value in (cls().to_dict() | dict(stored)).items() if name not in FREE_TO_CHANGE}

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
        if self.is_tfidf or self.recipe not in LEAST_STEPS or self.epochs is not None:
            return self
        epochs = math.ceil(LEAST_STEPS[self.recipe] / math.ceil(n / self.batch_size))
        epochs = min(epochs, _MOST_EPOCHS.get(self.recipe, epochs))
        return replace(self, epochs=max(epochs, self.planned.epochs))

    def resolved(self) -> Self:
        """Return the settings with what the effort stands for filled in; a length stays unset, as models differ."""
        if self.is_tfidf:
            return self
        filled = replace(self, **{**self.planned.to_dict(), "max_length": self.max_length})
        if filled.long_texts != "windows":
            return filled
        overlap = DEFAULT_OVERLAP if self.window_overlap is None else self.window_overlap
        return replace(filled, window_overlap=overlap, window_pooling=self.window_pooling or "mean")


OF_NETWORKS = tuple(
    "effort recipe epochs freeze head_start batch_size learning_rate warmup weight_decay max_grad_norm metric lora "
    "attention_dropout max_length long_texts window_overlap window_pooling pooling device precision token_budget "
    "deterministic checkpoint_minutes backend class_weights checkpoint_activations".split()
)
"""Options of `TrainSettings` that mean nothing to TF-IDF with logistic regression; `seeds` are those of a curve."""
FREE_TO_CHANGE = {
    "device": "in one precision it moves last bits at most; the precision that was resolved is looked after by itself",
    "token_budget": "it cuts a step into passes, and each text weighs the same whatever the cut",
    "checkpoint_minutes": "a training goes on to the same bits from wherever it was saved",
    "population": "it is told in the methods paragraph, and nothing is computed with it",
}
"""Options of `TrainSettings` without an effect on the result, each with the reason."""


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
    "contrastive": {"freeze": 0.5, "head_start": "logistic"},
}
"""What a named recipe fixes, whatever the effort."""
LEAST_STEPS = {"full": 60, "contrastive": 30}
"""Optimizer steps that a recipe takes at least, in whole epochs; never fewer epochs than the effort's."""
# But no more epochs for that: with more of them, classes are separated by what few texts have in common by chance.
_MOST_EPOCHS = {"contrastive": 10}
# Names and values of earlier versions, in run folders and model cards, and today's.
_RENAMED = {"truncation": "long_texts", "share_truncated": "share_longer"}
_REVALUED = {"long_texts": {"head": "truncate"}}


def migrate_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored settings, or what was stored about lengths, with the names and values that they have today."""
    renamed = {_RENAMED.get(name, name): value for name, value in values.items()}
    return {name: _REVALUED[name].get(value, value) if name in _REVALUED else value for name, value in renamed.items()}


def check_population(value: str) -> None:
    """Raise `SettingsError` unless the value is a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(
            f"population is {value!r}.",
            'Say what the texts are, as "a random sample of 2,000 sentences of all party manifestos since 1990".',
        )


def check_overlap(value: float) -> None:
    """Raise `SettingsError` unless the value is a share of a window, or a whole number of tokens."""
    check_range("window_overlap", value, least=0.0)
    if value >= 1 and value != int(value):
        raise SettingsError(
            f"window_overlap is {value!r}.", "Give a share below 1, such as 0.25, or a whole number of tokens."
        )
