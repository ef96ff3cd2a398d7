"""The methods paragraph: what was done, in the words of a paper, with references.

In: `ReportContent` and what is shown of it. Out: sentences and references, for the report and the model card. A
sentence stands there only if the thing was done, a reference only if a sentence cites it.
"""

from dataclasses import dataclass

from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.reporting.content import ReportContent
from secondcoder.reporting.formatting import MODEL, format_metric, joined, name_of
from secondcoder.reporting.references import GROUPED, GROUPED_REFERENCES, INTERVALS, KINDS, KINDS_OF_SETS, REFERENCES
from secondcoder.reporting.showing import Shown
from secondcoder.reporting.training_told import training_told

_LONGEST_LIST = 6
_NAMED = {
    "multi-class": ("macro-f1", "accuracy"),
    "ordinal": ("macro-f1", "quadratic-kappa", "mean-absolute-error", "accuracy"),
    "multi-label": ("macro-f1", "micro-f1", "exact-match", "hamming-loss"),
}
_PARTS = {"test": "the test part", "dev": "the dev part", "folds": "all texts, by cross-fitting,"}


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


def methods(content: ReportContent, shown: Shown) -> Methods:
    """Return the methods paragraph of a run."""
    cited: list[str] = ["wolf2020"]
    paragraphs = [
        " ".join(filter(None, sentences))
        for sentences in (
            (
                _task(content),
                _parts(content),
                _lengths(content),
                training_told(content, cited),
                _temperature(content, cited),
            ),
            (
                _thresholds(content, shown, cited),
                _results(shown, cited),
                _intervals(shown, cited),
                _calibration(shown, cited),
                _guarantee(shown, cited),
            ),
            (_openings(content), _software(content)),
        )
    ]
    known = sorted(REFERENCES[key] for key in set(cited) if key in REFERENCES)
    return Methods(tuple(filter(None, paragraphs)), tuple(known))


def _task(c: ReportContent) -> str:
    names = [f"“{name}”" for name in c.label_names]
    classes = joined(names) if len(names) <= _LONGEST_LIST else f"{len(names)} classes"
    if c.task == "ordinal":
        classes = f"ordered classes, from low to high {classes if len(names) <= _LONGEST_LIST else joined(names)}"
    several = ", any number of which a text may have," if c.task == "multi-label" else ""
    revision = c.settings.get("revision")
    what = "; ".join(filter(None, [f"revision {revision}" if revision else "", c.model_description]))
    version = c.versions.get("secondcoder", "")
    return (
        f"Texts were classified into {classes} (variable “{c.label_column}”){several} by fine-tuning the pre-trained "
        f"language model {c.model}{f' ({what})' if what else ''} with secondcoder{f' {version}' if version else ''}, "
        "which builds on the transformers library (Wolf et al. 2020)."
    )


def _parts(c: ReportContent) -> str:
    total = sum(part.rows for part in c.parts.values())
    kept = 0 if c.guarantee is None else int(c.guarantee["n"])  # of dev, for choosing a confidence and nothing else
    roles = {
        "train": "trained the classifier",
        "dev": "chose among its epochs",
        "test": "judged it" if "test" in c.evaluations else "were set aside",
    }
    used = joined(
        [
            f"{part.rows - kept * (name == 'dev'):,} {roles[name]} ({name})"
            for name, part in c.parts.items()
            if name in roles
        ]
    )
    seed = c.settings.get("split_seed")
    drawn = f" (seed {seed})" if seed is not None else ""
    match c.split_by:
        case "group":
            groups = [f"{p.groups:,} in {name}" for name, p in c.parts.items() if p.groups is not None]
            counts = f": {joined(groups)}" if groups else ""
            how = f" The parts were drawn by {c.group_column or 'group'}, so that none stands in two{drawn}{counts}."
        case "stratified":
            how = f" The parts were drawn at random, with the classes equally frequent in each{drawn}."
        case "random":
            how = f" The parts were drawn at random{drawn}."
        case "given":
            how = " The parts were given with the data."
        case _:
            how = ""
    leaks = [finding.message for finding in c.findings if finding.kind == "leaks-allowed"]
    return " ".join([f"Of {total:,} hand-coded texts, {used}.{how}", *leaks])


def _lengths(c: ReportContent) -> str:
    if c.lengths is None:
        return ""
    if not c.lengths.share_longer:
        return f"No text exceeded the limit of {c.lengths.max_length:,} tokens."
    longer = f"Texts of more than {c.lengths.max_length:,} tokens ({c.lengths.share_longer:.1%}) were"
    if c.lengths.long_texts == "windows":
        pooled = "highest" if c.settings.get("window_pooling") == "max" else "mean"
        return (
            f"{longer} read in overlapping windows of equal length, in training and in prediction; the {pooled} logit "
            "over a text's windows counts for each class."
        )
    kept = "their beginning and end were kept" if c.lengths.long_texts == "head-tail" else "their beginning was kept"
    return f"{longer} cut; {kept}."


def _temperature(c: ReportContent, cited: list[str]) -> str:
    if c.temperature is None:
        return ""
    cited.append("guo2017")
    return (
        f"Probabilities were calibrated by a temperature of {c.temperature:.2f}, fitted on dev by log loss "
        "(Guo et al. 2017)."
    )


def _with(evaluation: Evaluation, name: str) -> str:
    value, interval = evaluation.figure(name), evaluation.interval(name)
    limits = f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""
    return f"{value:.3f}{limits}"


def _thresholds(c: ReportContent, shown: Shown, cited: list[str]) -> str:
    found = shown.main[MODEL].thresholds if shown.judged_on else {}
    if not found:
        return ""
    cited.append("lipton2014")
    why = "chosen on dev for its F1, and drawn to 0.5 where texts are few (Lipton et al. 2014)"
    if c.task == "multi-label":
        limits = f"{min(found.values()):.2f} to {max(found.values()):.2f}"
        return f"Each class was given from a probability on that was {why}: {limits}."
    name, threshold = next(iter(found.items()))
    return f"“{name}” was given from a probability of {threshold:.2f} on, {why}."


def _results(shown: Shown, cited: list[str]) -> str:
    if not shown.judged_on:
        return ""
    model = shown.main[MODEL]
    metric = model.headline[0]
    names = list(dict.fromkeys((metric, *_NAMED[model.task])))
    if model.order:
        cited.append("cohen1968")
    names += [f"f1:{label}" for label in model.label_names if len(model.label_names) <= _LONGEST_LIST]
    figures = joined([f"{format_metric(name)} {_with(model, name)}" for name in dict.fromkeys(names)])
    groups = f" from {model.n_groups:,} groups" if model.n_groups else ""
    text = f"On {_PARTS[shown.judged_on]} ({model.n:,} texts{groups}), the classifier reaches {figures}."
    if model.order:
        text += " Quadratic kappa is that of Cohen (1968); the error is counted in steps."
    rivals = [f"{name_of(who, model.task)} {_with(e, metric)}" for who, e in shown.main.items() if who != MODEL]
    if rivals:
        text += f" For comparison, trained on the same texts: {joined(rivals)} ({format_metric(metric)})."
    return text


def _intervals(shown: Shown, cited: list[str]) -> str:
    if not shown.judged_on:
        return ""
    model = shown.main[MODEL]
    by_method: dict[str, list[str]] = {}
    for name, interval in model.intervals.items():
        if interval is not None:
            figure = name.partition(":")[0]
            kind = (KINDS_OF_SETS.get(figure) if model.sets else None) or KINDS.get(figure, "averages")
            kinds = by_method.setdefault(interval.method.removeprefix(GROUPED), [])
            if kind not in kinds:
                kinds.append(kind)
    if not by_method:
        return ""
    said = []
    for method, kinds in by_method.items():
        phrase, keys = INTERVALS.get(method, (f"the method “{method}”", ()))
        cited.extend(keys)
        said.append(f"{phrase} ({joined(kinds)})")
    text = f"Brackets hold 95 % confidence intervals: {'; '.join(said)}."
    if model.n_groups is not None:
        cited.extend(GROUPED_REFERENCES)
        text += (
            f" Their unit is the group ({model.n_groups:,}), by the leave-one-group-out jackknife "
            "(MacKinnon et al. 2023) and the effective number of texts (Korn and Graubard 1998)."
        )
    return text


def _calibration(shown: Shown, cited: list[str]) -> str:
    found = shown.main[MODEL].calibration if shown.judged_on else None
    if found is None:
        return ""
    cited += ["naeini2015", "brocker2007", "brier1950"]
    model = shown.main[MODEL]
    what, units = ("the probabilities of all classes", "decisions") if model.sets else (
        "the class that was given" if model.thresholds else "the most probable class", "texts"
    )  # fmt: skip
    error, brier = (
        f"{value:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")
        for value, interval in ((found.error, found.error_interval), (found.brier, found.brier_interval))
    )
    return (
        f"The expected calibration error of {what}, over {len(found.bins)} bins with equally many "
        f"{units} (Naeini et al. 2015) and less what chance adds to it (Bröcker and Smith 2007), is {error}, the Brier "
        f"score {brier} (Brier 1950)."
    )


def _guarantee(shown: Shown, cited: list[str]) -> str:
    found = shown.guarantee
    if found is None:
        return ""
    labels = "sets of labels" if shown.judged_on and shown.main[MODEL].sets else "labels"
    cited += ["geifman2017", "angelopoulos2021"]
    if found.min_confidence is None:
        return (
            f"From no probability on could an error of at most {found.max_error:.1%} be promised by the {found.n:,} "
            "texts of dev kept for that (Geifman and El-Yaniv 2017; Angelopoulos et al. 2021)."
        )
    return (
        f"Texts with a probability below {found.min_confidence:.3f} were to be left to human coders, so that with a "
        f"confidence of {100 * (1 - found.delta):.0f} % at most {found.max_error:.1%} of the {labels} given are wrong "
        "(Geifman and El-Yaniv 2017, by tests in a fixed order: Angelopoulos et al. 2021; "
        f"chosen on {found.n:,} texts of dev used for nothing else, taken as independent)."
    )


def _openings(c: ReportContent) -> str:
    match c.test_openings:
        case 0:
            return ""
        case 1:
            return "The test part was opened once."
        case n:
            return f"The test part was opened {n} times."


def _software(c: ReportContent) -> str:
    packages = joined([f"{name} {version}" for name, version in c.versions.items()])
    backend, precision = c.settings.get("backend"), c.settings.get("precision")
    scored = f"Figures and labels were computed with {backend} in {precision}. " if backend and precision else ""
    return f"{scored}Software: {packages}. Random seed {c.seed}; SHA-256 of the data {c.source_sha256[:16]}…"
