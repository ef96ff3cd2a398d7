"""What a report shows.

In: nothing. Out: `ReportContent`, which whoever has the run fills in and `secondcoder.reporting.page.render` shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from secondcoder.corpus.corpus import Part, TaskName
from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.comparison import Comparison
from secondcoder.evaluation.error_analysis import Mistakes
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.label_errors import LabelError
from secondcoder.evaluation.learning_curve import LearningCurve
from secondcoder.evaluation.selective import Guarantee
from secondcoder.reporting.formatting import MAJORITY, MODEL, NAMES, chose_epoch

if TYPE_CHECKING:
    from secondcoder.reporting.svg import Picture


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


@dataclass(frozen=True)
class OpeningContent:
    """One opening of the test part, by this run or another one on the same rows.

    Attributes
    ----------
    run
        Name of the run.
    time
        When it was begun.
    judged
        What was judged, as ``"5 folds"``; empty for the run's model.
    state
        ``"seen"`` counts; ``"crashed"`` ended before a figure was written or printed; ``"begun"`` has not come so far.
    same_model
        Whether the counted opening before was of the same model; of the first one, whether it was of the run's own.
    changed
        Settings that were others at the counted opening before, each as ``epochs 4 (before: 2)``; None where that is
        not known, and of the first one.
    """

    run: str
    time: str
    judged: str = ""
    state: str = "seen"
    same_model: bool = False
    changed: tuple[str, ...] | None = None


@dataclass(frozen=True)
class AgreementContent:
    """How a faster arithmetic, which labels, compares on dev with that of the training, by torch.

    Attributes
    ----------
    n
        Texts of dev.
    agreement
        Share of them that get the same label, or set of labels.
    macro_f1, reference_macro_f1
        Of what labels, and of what was trained.
    reference
        The arithmetic of the training.
    """

    n: int
    agreement: float
    macro_f1: float
    reference_macro_f1: float
    reference: str = "fp32"


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything that the report of one run shows.

    Attributes
    ----------
    run
        The run folder as the user would type it; the report prints commands with it.
    text_column, label_column, group_column
        Names in the source; the last is None where texts are not grouped.
    population
        What the hand-labelled texts are and how they were drawn, in the author's words; empty where that was not said.
    source, source_sha256
        The file or data set, and its hash.
    label_names, positive
        The classes in their order; the positive one of a two-class task, or None.
    model, model_kind, model_description
        The pre-trained model's name, transformers' name of its kind, and a few words about it (layers, parameters); the
        last two may be empty.
    pretrained_sha256
        Of its weights, where these came from a folder.
    tfidf
        Where the model is TF-IDF with logistic regression, and so not pre-trained: what it was given, as a phrase.
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
        ``evaluations[part][who]``; part is ``"dev"``, ``"test"`` or ``"folds"``; who is ``"model"`` or a baseline's
        name. Without a test entry the test part has not been opened. Part ``"folds"`` is
        cross-fitting: every row judged by a model that has not learned from its fold.
    test_openings
        How often this test part has been opened, by any run.
    openings
        These openings in their order, and those that crashed; empty where no book of them is beside the run.
    n_folds
        Of the cross-fitting, where it was done and that is known.
    agreement
        Where a faster arithmetic labels than the one that was trained in.
    seed
        The one seed.
    settings, versions, machine
        What is needed to repeat the run: options, package versions, hardware.
    temperature
        What the logits were divided by so that probabilities are calibrated; None where they were left as they came.
    seed_figures
        The choosing figure on dev of each seed, where there were several.
    guarantee
        Of the error, where a threshold was chosen.
    mistakes
        By part: ``"mistakes"``, what `Mistakes.to_dict` gave; ``"words"``, what `Attribution.to_dict` gave for each of
        the confident ones, in their order; ``"label_errors"``, what `LabelError.to_dict` gave;
        ``"occlusion"``, how well the words agree with leaving each out.
    leads
        ``leads[part][baseline]`` is the comparison of the baseline with the model.
    baselines
        ``baselines[part][name]`` is what a baseline was given for the figures on that part, as a phrase.
    curve
        Where it was run.
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
    evaluations: Mapping[str, Mapping[str, Evaluation]]
    seed: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    group_column: str | None = None
    positive: str | None = None
    population: str = ""
    model_kind: str = ""
    model_description: str = ""
    pretrained_sha256: str | None = None
    tfidf: str = ""
    task: TaskName = "multi-class"
    metric: str = ""
    best_epoch: int | None = None
    best_seed: int | None = None
    split_by: str = ""
    lengths: LengthContent | None = None
    unused: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    history: Sequence[Mapping[str, Any]] = ()
    test_openings: int = 0
    openings: Sequence[OpeningContent] = ()
    n_folds: int | None = None
    agreement: AgreementContent | None = None
    temperature: float | None = None
    seed_figures: Mapping[str, float] = field(default_factory=dict)
    guarantee: Guarantee | None = None
    mistakes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    leads: Mapping[str, Mapping[str, Comparison]] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    curve: LearningCurve | None = None
    started: str = ""
    seconds: float | None = None

    @property
    def chose_epoch(self) -> bool:
        """Whether dev chose among several epochs."""
        return chose_epoch(self.history)

    @property
    def counted(self) -> list[OpeningContent]:
        """The openings that count."""
        return [one for one in self.openings if one.state == "seen"]

    @property
    def crashed(self) -> int:
        """How many openings ended before a figure was written or printed."""
        return sum(one.state == "crashed" for one in self.openings)

    @property
    def always_same_model(self) -> bool:
        """Whether each opening that counts is known to have been of the run's own model, so that none chose."""
        counted = self.counted
        return len(counted) == self.test_openings > 0 and all(one.same_model for one in counted)


PARTS = ("test", "folds", "dev")
"""The order in which they lead: what judged once, what was not learned from, what chose."""


@dataclass(frozen=True)
class Shown:
    """What the report shows, read and drawn.

    Attributes
    ----------
    evaluations
        By part, in the order of `PARTS`, and there by who: the model first, then the baselines.
    mistakes
        By part, in the same order.
    words
        Of the part whose mistakes are shown: the words of each confident mistake with their weights, and what was not
        read, as stored.
    occlusion
        How well these weights agree with leaving each word out; None where that was not looked at.
    label_errors
        Of the same part, the most doubtful first.
    guarantee, curve
        As `secondcoder.evaluation` has them.
    pictures
        By name; what could not be drawn for want of numbers is not in it.
    """

    evaluations: Mapping[str, Mapping[str, Evaluation]]
    mistakes: Mapping[str, Mistakes] = field(default_factory=dict)
    words: Sequence[Mapping[str, Any]] = ()
    occlusion: float | None = None
    label_errors: tuple[LabelError, ...] = ()
    guarantee: Guarantee | None = None
    curve: LearningCurve | None = None
    pictures: Mapping[str, "Picture"] = field(default_factory=dict)

    @property
    def judged_on(self) -> str | None:
        """The part whose figures lead, or None where nothing was judged."""
        return next(iter(self.evaluations), None)

    @property
    def main(self) -> Mapping[str, Evaluation]:
        """The evaluations of the part that leads."""
        return self.evaluations[self.judged_on] if self.judged_on else {}

    @property
    def prospects(self) -> tuple[str, ...]:
        """What more labels would bring, in sentences: half as many again, and twice as many, in round numbers."""
        if self.curve is None:
            return ()
        rounded = [int(float(f"{share * self.curve.largest:.1g}")) for share in (0.5, 1.0)]
        return tuple(dict.fromkeys(self.curve.sentence(max(1, more)) for more in rounded))

    @property
    def erring_on(self) -> str | None:
        """The part whose mistakes are shown: that with most rows of those that were not learned from."""
        return max(self.mistakes, key=lambda part: self.mistakes[part].overall.n, default=None)


def read(content: ReportContent) -> Shown:
    """Return the content as objects, without pictures."""
    shown = Shown(
        evaluations={
            part: {who: content.evaluations[part][who] for who in _in_order(content.evaluations[part])}
            for part in PARTS
            if MODEL in content.evaluations.get(part, {})
        },
        mistakes={
            part: Mistakes.from_dict(content.mistakes[part]["mistakes"]) for part in PARTS if part in content.mistakes
        },
        guarantee=content.guarantee,
        curve=content.curve,
    )
    if shown.erring_on:
        stored = content.mistakes[shown.erring_on]
        errors = tuple(LabelError.from_dict(error) for error in stored.get("label_errors", ()))
        shown = replace(shown, words=stored.get("words", ()), occlusion=stored.get("occlusion"), label_errors=errors)
    return shown


def _in_order(whos: Iterable[str]) -> list[str]:
    """Return the model first, then the baselines, the stronger kind before the weaker."""
    known = [*NAMES, MAJORITY]
    return sorted(whos, key=lambda who: known.index(who) if who in known else len(known))
