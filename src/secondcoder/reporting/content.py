"""What a report shows, as plain values.

In: nothing. Out: `ReportContent`, which whoever has the run fills in and `secondcoder.reporting.page.render` shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secondcoder.corpus.corpus import Part, Task
from secondcoder.corpus.findings import Finding


@dataclass(frozen=True)
class PartContent:
    """One part of the split.

    Attributes
    ----------
    rows
        Number of texts.
    label_counts
        Texts of each class.
    groups
        Number of groups, or None where texts are not grouped.
    """

    rows: int
    label_counts: Mapping[str, int]
    groups: int | None = None


@dataclass(frozen=True)
class LengthContent:
    """How long the texts are, in tokens.

    Attributes
    ----------
    shortest, median, mean, longest
        Tokens a text.
    p95
        95 of 100 texts have at most so many tokens.
    max_length
        Most tokens that are read at once.
    share_longer
        Share of texts that are longer, from 0 to 1.
    long_texts
        What becomes of them: ``"truncate"``, ``"head-tail"`` or ``"windows"``.
    """

    shortest: int
    median: float
    mean: float
    p95: float
    longest: int
    max_length: int
    share_longer: float
    long_texts: str = "truncate"


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything that the report of one run shows.

    Attributes
    ----------
    run
        The run folder as the user would type it; the report prints commands with it.
    text_column, label_column, group_column
        Names in the source; the last is None where texts are not grouped.
    source, source_sha256
        The file or data set, and its hash.
    label_names, positive
        The classes in their order; the positive one of a two-class task, or None.
    model, model_description
        The pre-trained model's name, and a few words about it (layers, parameters); may be empty.
    task
        Whether a text has one class, one of ordered classes, or any number of them.
    metric, best_epoch, best_seed
        The figure on dev that chose the epoch, and the epoch that it chose, or None.
    split_by
        How the parts were made: ``"group"``, ``"stratified"``, ``"random"`` or ``"given"``; may be empty.
    parts
        ``"train"``, ``"dev"`` and ``"test"``.
    lengths
        Lengths of the hand-labelled texts, or None.
    unused
        Rows of the source that were not used, by reason.
    findings
        What was noticed about the data.
    history
        One mapping per epoch: numbers by name, such as ``epoch``, ``step``, ``train_loss``, ``macro-f1``, ``seconds``.
    evaluations
        ``evaluations[part][who]`` is what `Evaluation.to_dict` gave; part is ``"dev"``, ``"test"`` or ``"folds"``; who
        is
        ``"model"`` or a baseline's name. Without a test entry the test part has not been opened. Part ``"folds"`` is
        cross-fitting: every row judged by a model that has not learned from its fold.
    test_openings
        How often this test part has been opened, by any run.
    seed
        The one seed.
    settings, versions, machine
        What is needed to repeat the run: options, package versions, hardware.
    temperature
        What the logits were divided by so that probabilities are calibrated; None where they were left as they came.
    seed_figures
        The choosing figure on dev of each seed, where there were several.
    guarantee
        What `Guarantee.to_dict` gave, where a threshold was chosen.
    mistakes
        By part: ``"mistakes"``, what `Mistakes.to_dict` gave; ``"words"``, what `Attribution.to_dict` gave for each of
        the confident ones, in their order; ``"label_errors"``, what `LabelError.to_dict` gave;
        ``"occlusion"``, how well the words agree with leaving each out.
    leads
        ``leads[part][baseline]`` is what `Comparison.to_dict` gave for the model against the baseline.
    curve
        What `LearningCurve.to_dict` gave, where the curve was run.
    started, seconds
        When training began, as text, and how long the run took.
    """

    run: str
    text_column: str
    label_column: str
    source: str
    source_sha256: str
    label_names: Sequence[str]
    model: str
    parts: Mapping[Part, PartContent]
    evaluations: Mapping[str, Mapping[str, Mapping[str, Any]]]
    seed: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    group_column: str | None = None
    positive: str | None = None
    model_description: str = ""
    task: Task = "multi-class"
    metric: str = ""
    best_epoch: int | None = None
    best_seed: int | None = None
    split_by: str = ""
    lengths: LengthContent | None = None
    unused: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    history: Sequence[Mapping[str, Any]] = ()
    test_openings: int = 0
    temperature: float | None = None
    seed_figures: Mapping[str, float] = field(default_factory=dict)
    guarantee: Mapping[str, Any] | None = None
    mistakes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    leads: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    curve: Mapping[str, Any] | None = None
    started: str = ""
    seconds: float | None = None
