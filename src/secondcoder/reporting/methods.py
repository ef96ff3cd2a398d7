"""The methods paragraph: what was done, in the words of a paper, with references.

In: `ReportContent` and what is shown of it. Out: sentences and references, for the report and the model card. A
sentence stands there only if the thing was done, a reference only if a sentence cites it. Here is what is told of the
figures; how the run came about is told in `secondcoder.reporting.provenance`.
"""

import re
from dataclasses import dataclass

from secondcoder.evaluation.comparison import Comparison, Difference, shown_p
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.intervals import DECIDED_BY_FEW, Interval
from secondcoder.evaluation.likeness import LIKENESS, LIKENESS_DOUBT
from secondcoder.evaluation.permutation import MOST_FOR_ALL
from secondcoder.evaluation.selective import Guarantee
from secondcoder.evaluation.tasks import task_rules
from secondcoder.reporting.content import ReportContent, Shown
from secondcoder.reporting.formatting import MAJORITY, MODEL, counted, format_metric, joined, name_of
from secondcoder.reporting.provenance import (
    FILL_IN,
    LONGEST_LIST,
    computing_told,
    lengths_told,
    model_told,
    openings_told,
    parts_told,
    population_told,
    task_told,
    temperature_told,
    trained_told,
)
from secondcoder.reporting.references import REFERENCES
from secondcoder.splits.units import FEW_GROUPS

GROUPED = "grouped-"
"""Begins the key of an interval that takes groups as the units."""
GROUPED_REFERENCES = ("crowder1978", "wilson1927", "kish1965", "newcombe2016")
"""Cited wherever groups are the units."""
INTERVALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "wilson": (
        "at each end the wider of Wilson’s (1927) score interval and that of Jeffreys (Brown et al. 2001)",
        ("wilson1927", "brown2001"),
    ),
    "wilson-f1": (
        "the wider of Wilson’s and Jeffreys’ limits of TP/(TP+FP+FN), carried over to F1 (Lam et al. 2023)",
        ("wilson1927", "brown2001", "lam2023"),
    ),
    "wilson-effective": (
        "the wider of Wilson’s and Jeffreys’ limits at the effective number of texts",
        ("wilson1927", "brown2001"),
    ),
    "wilson-decisions": (
        "Wilson’s limits averaged over the numbers of independent decisions that those on one text may be worth, by a "
        "beta-binomial model (Crowder 1978)",
        ("wilson1927", "crowder1978"),
    ),
    "fisher": ("the delta method (Fleiss et al. 1969) on Fisher’s scale", ("fleiss1969",)),
    "mover": (
        "at each end the widest of Wilson’s and Jeffreys’ limits at the effective number of texts and of those that "
        "recover the variance from the classes’ intervals (MOVER; Zou and Donner 2008)",
        ("wilson1927", "brown2001", "zou2008"),
    ),
    "hall": ("Student’s t corrected for skewness (Hall 1992)", ("hall1992",)),
}
"""For each kind of interval of independent texts, what it is called and whom to cite."""
KINDS = {
    "accuracy": "accuracy",
    "exact-match": "exact match",
    "hamming-loss": "Hamming loss",
    "samples-f1": "samples-F1",
    "quadratic-kappa": "quadratic kappa",
    "mean-absolute-error": "mean absolute error",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1 of a class",
    "log-loss": "log loss",
    "balanced-accuracy": "averages over classes",
    "macro-f1": "averages over classes",
    "macro-precision": "averages over classes",
    "macro-recall": "averages over classes",
    "weighted-f1": "weighted averages",
    "weighted-precision": "weighted averages",
    "weighted-recall": "accuracy",
    "micro-f1": "accuracy",
    "micro-precision": "accuracy",
    "micro-recall": "accuracy",
}
"""What a paper calls a figure, of which many have one kind of interval."""
_LEVEL = (
    "The level of 95 % holds on average over the values that a true figure may have; at single values coverage may be "
    "a few points lower or higher."
)
_BY_GROUP = "paired-jackknife-t"
_PARTS = {"test": "the test part", "dev": "the dev part", "folds": "all texts, by cross-fitting"}


@dataclass(frozen=True)
class Methods:
    """What to paste into a paper.

    Attributes
    ----------
    paragraphs
        Plain text.
    references
        Those that the paragraphs cite, in alphabetical order.
    """

    paragraphs: tuple[str, ...]
    references: tuple[str, ...]

    @property
    def has_gaps(self) -> bool:
        """Whether there is something for the author to fill in."""
        return any(FILL_IN in paragraph for paragraph in self.paragraphs)


def split_at_gaps(paragraph: str) -> list[str]:
    """Return a paragraph in pieces, every second of which the author has to fill in; no line breaks before a %."""
    return re.split(rf"({re.escape(FILL_IN)}[^\]]*\])", paragraph.replace(" %", "\N{NO-BREAK SPACE}%"))


def methods(content: ReportContent, shown: Shown) -> Methods:
    """Return the methods paragraph of a run."""
    cited: list[str] = []
    came_about = (
        (task_told, population_told, parts_told, lengths_told),
        (model_told, trained_told, temperature_told),
    )
    paragraphs = [" ".join(filter(None, (tell(content, cited) for tell in tellers))) for tellers in came_about]
    paragraphs += [
        " ".join(filter(None, sentences))
        for sentences in (
            (
                _thresholds(content, shown, cited),
                _results(shown, cited),
                _leads(content, shown, cited),
                _headline(shown),
                _folds(content, shown),
            ),
            (_intervals(shown, cited), _training_again(content, shown)),
            (_calibration(shown, cited), _guarantee(shown, cited), _shares(cited)),
            (openings_told(content), computing_told(content)),
        )
    ]
    known = sorted(REFERENCES[key] for key in set(cited) if key in REFERENCES)
    return Methods(tuple(filter(None, paragraphs)), tuple(known))


def _with(evaluation: Evaluation, name: str) -> str:
    value, interval = evaluation.figure(name), evaluation.interval(name)
    return f"{value:.3f}{_limits(interval)}"


def _limits(interval: Interval | None) -> str:
    return f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""


def _thresholds(c: ReportContent, shown: Shown, cited: list[str]) -> str:
    found = shown.main[MODEL].thresholds if shown.judged_on else {}
    if not found:
        return ""
    cited.append("lipton2014")
    why = "chosen on dev for its F1, and drawn to 0.5 where texts are few (Lipton et al. 2014)"
    return task_rules(c.task).thresholds_told(found, why)


def _rows(evaluation: Evaluation) -> str:
    groups = f" from {counted(evaluation.n_groups, 'group')}" if evaluation.n_groups else ""
    return f"{counted(evaluation.n, 'text')}{groups}"


def _results(shown: Shown, cited: list[str]) -> str:
    if not shown.judged_on:
        return ""
    model = shown.main[MODEL]
    metric = model.headline[0]
    names = list(dict.fromkeys((metric, *model.names.paper)))
    rules = task_rules(model.task)
    cited.extend(rules.cited)
    names += [f"f1:{label}" for label in model.label_names if len(model.label_names) <= LONGEST_LIST]
    figures = joined([f"{format_metric(name)} {_with(model, name)}" for name in dict.fromkeys(names)])
    text = f"On {_PARTS[shown.judged_on]} ({_rows(model)}), the classifier reaches {figures}."
    return text + rules.figures_note


def _leads(c: ReportContent, shown: Shown, cited: list[str]) -> str:
    """Tell how far the model leads its rivals, paired: two figures side by side would hide that it may be chance."""
    if not shown.judged_on:
        return ""
    model, compared = shown.main[MODEL], c.leads.get(shown.judged_on, {})
    metric = model.headline[0]
    found = {who: _difference(compared.get(who), metric) for who in shown.main if who != MODEL}
    said = [
        _lead(_baseline(who, model), model, shown.main[who], difference, tested=who in compared)
        for who, difference in found.items()
    ]
    if not said:
        return ""
    given = "".join(
        f" {name_of(who, model.task)} uses {given}." for who, given in c.baselines.get(shown.judged_on, {}).items()
    )
    tested = [one for one in found.values() if one is not None and one.interval is not None]
    tests = _tests([one for one in tested if one.p_value is not None], cited)
    by_group = any(one.interval.method == _BY_GROUP for one in tested if one.interval is not None)
    by = "" if not compared else " group by group" if by_group else " text by text"
    return (
        f"Compared{by} with baselines trained on the same texts, the difference "
        f"in {format_metric(metric)}, classifier minus baseline, is {joined(said)}.{tests}{given}"
    )


def _difference(compared: Comparison | None, metric: str) -> Difference | None:
    return None if compared is None else next((d for d in compared.differences if d.name == metric), None)


def _tests(found: list[Difference], cited: list[str]) -> str:
    """Return by what tests differences in F1 or macro-F1 were judged; empty where none was."""
    methods = {one.interval.method for one in found if one.interval is not None}
    if not methods:
        return ""
    cited += ["yeh2000", "dror2018", "agresti2005"]
    papers = ["Yeh 2000", "Dror et al. 2018"]
    whole, error = "a text", "of the delta method"
    if _BY_GROUP in methods:
        cited += ["canay2017", "mackinnon2023", "carter2017"]
        papers.append("Canay et al. 2017")
        whole = "all texts of a group"
        error = (
            "of the jackknife over groups (MacKinnon et al. 2023; degrees of freedom by the effective number of "
            "groups, Carter et al. 2017), never less than that of independent texts by the delta method"
        )
    if any(one.differing is None or one.differing > MOST_FOR_ALL for one in found):
        cited.append("phipson2010")
        papers.append("Phipson and Smyth 2010")
    return (
        " The p value is the larger of two: that of the paired permutation test, which swaps what both predicted for "
        f"{whole} ({'; '.join(papers)}), and that of Student’s t with the standard error {error}, which takes in half "
        "a text on either side for each class (after Agresti and Min 2005). The interval is that of t, widened to 0 "
        "where the permutation test does not reject 0."
    )


def _baseline(who: str, model: Evaluation) -> str:
    """Return what a baseline is called within a sentence."""
    name = name_of(who, model.task)
    return f"the {name[:1].lower()}{name[1:]}" if who == MAJORITY else name


def _lead(name: str, model: Evaluation, rival: Evaluation, found: Difference | None, *, tested: bool) -> str:
    """Return the model's lead over a rival, on the same texts, and whether it may be chance."""
    metric, value = model.headline
    plain = value - rival.figure(metric)
    lead = f"{_signed(plain)} for {name} ({format_metric(metric)} {rival.figure(metric):.3f}; "
    if found is None or found.interval is None:
        return f"{lead}{'no interval can be given' if tested else 'not tested'}, and it may be chance)"
    limits = f"95 % interval of the difference {_signed(found.interval.low)} to {_signed(found.interval.high)}"
    p = "" if found.p_value is None else f", {shown_p(found.p_value, 'p')}"
    return f"{lead}{limits}{p}{'' if found.shown else ', which may be chance'})"


def _signed(value: float) -> str:
    """Return a difference with its sign, as papers print it."""
    return f"{value:+.3f}".replace("-", "−")


def _headline(shown: Shown) -> str:
    if not shown.judged_on:
        return ""
    headline = format_metric(shown.main[MODEL].headline[0])
    return (
        f"The headline figure, fixed in advance, is {headline}; all other figures are exploratory, and no interval or "
        "p value is adjusted for multiple comparisons."
    )


def _folds(c: ReportContent, shown: Shown) -> str:
    if "folds" not in shown.evaluations:
        return ""
    made = f"{c.n_folds} folds" if c.n_folds else "folds"
    how = (
        f"divided into {made}{', by group' if shown.evaluations['folds'][MODEL].n_groups else ''}, and each fold was "
        "judged by a model trained as this one on the others"
    )
    if shown.judged_on == "folds":
        return f"For cross-fitting all hand-labelled texts were {how}."
    model = shown.evaluations["folds"][MODEL]
    metric = model.headline[0]
    return (
        f"By cross-fitting, {format_metric(metric)} is {_with(model, metric)} ({_rows(model)}): "
        f"all hand-labelled texts were {how}."
    )


def _intervals(shown: Shown, cited: list[str]) -> str:
    if not shown.judged_on:
        return ""
    model = shown.main[MODEL]
    given = {interval.method for interval in model.intervals.values() if interval is not None}
    over_groups = {method.removeprefix(GROUPED) for method in given if method.startswith(GROUPED)}
    if over_groups and model.n_groups is not None:
        return f"Brackets hold 95 % confidence intervals. {_LEVEL} {_over_groups(model.n_groups, over_groups, cited)}"
    by_method: dict[str, list[str]] = {}
    special = task_rules(model.task).interval_kinds
    for name, interval in model.intervals.items():
        if interval is not None:
            figure = name.partition(":")[0]
            kind = special.get(figure) or KINDS.get(figure, "averages")
            kinds = by_method.setdefault(interval.method, [])
            if kind not in kinds:
                kinds.append(kind)
    if not by_method:
        return ""
    said = []
    for method, kinds in by_method.items():
        phrase, keys = INTERVALS.get(method, (f"the method “{method}”", ()))
        cited.extend(keys)
        said.append(f"for {joined(kinds)}, {phrase}")
    text = f"Brackets hold 95 % confidence intervals: {'; '.join(said)}. {_LEVEL}"
    if model.n_groups is None:
        return f"{text} Texts are taken as independent draws."
    return (
        f"{text} They hold for these documents only ({counted(model.n_groups, 'group')}): texts are taken as "
        "independent within them, and how the classifier does on other documents is not known from so few."
    )


def _over_groups(n: int, methods: set[str], cited: list[str]) -> str:
    """Tell how intervals over groups are made, by these methods, and what is assumed for them."""
    cited.extend(GROUPED_REFERENCES)
    told = [
        f"shares of all texts{' or decisions' * ('wilson-decisions' in methods)} have Wilson’s (1927) limits averaged "
        "over the numbers of independent texts that follow (Kish 1965)",
        "precision, recall and F1 join such limits of hits and of misses (MOVER for ratios; Newcombe 2016)",
    ]
    if methods & {"mover", "wilson-effective"}:
        told.append("averages over classes have such limits at the number of texts at which a share would vary as much")
    if "mover" in methods:
        cited.append("zou2008")
        told[-1] += (
            ", or at either end, if that is wider, what recovers the variance from the classes’ intervals (MOVER; Zou "
            "and Donner 2008)"
        )
    others = {"hall": "corrected for skewness (Hall 1992)", "fisher": "for kappa on Fisher’s scale"}
    if how := [phrase for method, phrase in others.items() if method in methods]:
        cited += ["mackinnon2023", "satterthwaite1946"] + ["hall1992"] * ("hall" in methods)
        told.append(
            "other figures have the leave-one-group-out jackknife (MacKinnon et al. 2023) with Student’s t at "
            f"Satterthwaite’s (1946) degrees of freedom, {joined(how)}"
        )
    text = (
        f"Their unit is the group ({n:,}). How alike texts of one group are in being classified correctly was "
        "estimated by a beta-binomial model (Crowder 1978) with a prior intraclass correlation of "
        f"{LIKENESS:g} (standard deviation {LIKENESS_DOUBT:g}); {'; '.join(told)}"
    )
    return f"{text}." if n >= FEW_GROUPS else f"{text}. With {n} groups the prior decides much of the width."


def _training_again(c: ReportContent, shown: Shown) -> str:
    """Say that training again would vary too, which no interval holds."""
    if not shown.judged_on or c.settings.get("epochs") == 0 or c.tfidf:
        return ""
    text = "The intervals cover the sampling of texts, not the variation between trainings with other seeds"
    return f"{text}." if len(c.seed_figures) > 1 else f"{text}, which one training cannot show."


def _calibration(shown: Shown, cited: list[str]) -> str:
    found = shown.main[MODEL].calibration if shown.judged_on else None
    if found is None:
        return ""
    cited += ["naeini2015", "kumar2019", "brier1950"]
    model = shown.main[MODEL]
    what, units = task_rules(model.task).judged_probabilities(tuned=bool(model.thresholds))
    lacking = f"there are too few {'groups' if model.n_groups is not None else 'texts'} for one", DECIDED_BY_FEW
    error, brier = (
        f"{value:.3f}{_limits(interval) or f' (without an interval: {why})'}"
        for value, interval, why in zip(
            (found.error or 0.0, found.brier), (found.error_interval, found.brier_interval), lacking, strict=True
        )
    )
    if found.error is None:
        return f"The Brier score is {brier} (Brier 1950); the calibration error is not given: {found.reason}."
    return (
        f"The expected calibration error (Naeini et al. 2015) of {what}, over {counted(len(found.bins), 'bin')} with "
        f"equally many {units} and less what chance adds to it (Kumar et al. 2019), is {error}, the Brier score "
        f"{brier} (Brier 1950)."
    )


def _guarantee(shown: Shown, cited: list[str]) -> str:
    found = shown.guarantee
    if found is None:
        return ""
    labels = task_rules(shown.main[MODEL].task).labels_name if shown.judged_on else "labels"
    cited += ["geifman2017", "angelopoulos2021"]
    if found.min_confidence is None:
        return (
            f"From no probability on could an error of at most {found.max_error:.1%} be promised by the {found.n:,} "
            f"texts of dev kept for that, {_independent(found)} (Geifman and El-Yaniv 2017; Angelopoulos et al. 2021); "
            f"it takes {found.fewest:,} texts, if all of them are labelled right."
        )
    return (
        f"Texts with a probability below {found.min_confidence:.3f} were to be left to human coders. The procedure "
        f"that chose this limit, which may also find none, keeps the share of wrong ones among the {labels} given at "
        f"{found.max_error:.1%} or less in at least {100 * (1 - found.delta):g} of 100 studies "
        "(Geifman and El-Yaniv 2017, by tests in a fixed order: Angelopoulos et al. 2021; "
        f"chosen on {found.n:,} texts of dev used for nothing else, {_independent(found)})."
    )


def _shares(cited: list[str]) -> str:
    cited += ["teblunthuis2024", "egami2023"]
    return (
        "Shares counted from the classifier’s labels, and regressions on them, are biased by its errors, however many "
        "texts are labelled (TeBlunthuis et al. 2024); they are no estimates until corrected with a sample coded by "
        "hand (Egami et al. 2023)."
    )


def _independent(found: Guarantee) -> str:
    groups = "" if found.n_groups is None else f", though they come from {counted(found.n_groups, 'group')}"
    return f"taken as independent{groups}"
