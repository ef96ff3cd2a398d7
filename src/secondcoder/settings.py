"""Every option once: its name, default, bounds and help.

In: nothing. Out: frozen dataclasses. The command line and ``secondcoder.toml`` derive their options from the fields,
the library's functions repeat the fields in their signatures (a test holds the two together), and the run folder
stores them. The string under a field is its help text.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from secondcoder.bounds import check_choice, check_count, check_range, parse_counts, parse_share
from secondcoder.errors import SettingsError

DEFAULT_SEED = 42

By = Literal["auto", "random", "stratified", "group", "given"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
Backend = Literal["auto", "torch", "openvino"]
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Settings:
    """Base: values that can be shown and stored."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ReadSettings(Settings):
    """Which columns are what."""

    text: str | None = None
    """Column with the texts to classify."""
    label: str | None = None
    """Column with the hand-given labels: one a text, or several, as a list or with --label-separator."""
    label_separator: str | None = None
    """What stands between labels where a text may have several, such as ";"; an empty cell has not been labelled."""
    label_columns: tuple[str, ...] = ()
    """Columns of 0 and 1, one for each class, where a text may have several; in place of --label."""
    label_shares: tuple[str, ...] = ()
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
            raise SettingsError(f"{' and '.join(named)} were both named.", "Say in one way where the labels are.")
        if self.label_separator is not None and not self.label_separator.strip():
            raise SettingsError(
                f"label_separator is {self.label_separator!r}.", "Name a character that is no blank, such as ';'."
            )
        if self.label_separator is not None and self.label_shares:
            raise SettingsError("--label-separator and --label-shares were both named.", "Leave one of them out.")
        if self.no_label is not None and not self.label:
            raise SettingsError(
                "--no-label names a word in the label column, and no --label was named.", "Name it, or leave this out."
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


@dataclass(frozen=True)
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
    """Leave with exit code 0 though lines of the input were no rows, and go on however many these are."""
    device: Device = "auto"
    """Where to compute; auto takes cuda, then mps, then cpu, by what is there."""
    precision: Precision = "auto"
    """Arithmetic; auto is what the model was evaluated with."""
    backend: Backend = "auto"
    """What computes; auto is what the model was evaluated with."""
    engine: Engine = "local"
    """Who computes: this process, or workers on Ray (extra ray; docs/clusters.md); the output is the same."""
    address: str | None = None
    """Running Ray cluster to join, as auto or 10.0.0.1:6379. Unset: Ray is started on this machine alone."""
    workers: int | None = None
    """Workers on Ray, each with the model. Unset: as many as there are GPUs, or as there is room for with --cpus."""
    cpus: int | None = None
    """Cores of each worker on Ray, which it computes and tokenises with. Unset: 1, beside a GPU up to 8."""

    def __post_init__(self) -> None:
        for name, kind in (("device", Device), ("backend", Backend), ("precision", Precision), ("engine", Engine)):
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


def parse_label_names(text: str) -> dict[str, str]:
    """Return the mapping that ``"0=negative,1=positive"`` spells out.

    Raises
    ------
    SettingsError
        If a pair has no ``=``, a code comes twice, or two codes get one name.
    """
    mapping: dict[str, str] = {}
    for pair in text.split(","):
        code, equals, name = (piece.strip() for piece in pair.partition("="))
        if not (code and equals and name):
            raise SettingsError(f"label names {text!r}: {pair!r} is not CODE=NAME.", "Write 0=negative,1=positive.")
        if code in mapping or name in mapping.values():
            raise SettingsError(f"label names {text!r}: {pair!r} repeats a code or a name.", "Name each code once.")
        mapping[code] = name
    return mapping


def as_label_mapping(label_names: Mapping[str, str] | str | None) -> dict[str, str]:
    """Return label names given either way as a mapping, empty where none are given."""
    if label_names is None:
        return {}
    return parse_label_names(label_names) if isinstance(label_names, str) else dict(label_names)


def check_seed(seed: int) -> None:
    """Raise `SettingsError` unless the seed is a whole number from 0 on."""
    check_count("seed", seed, least=0)
