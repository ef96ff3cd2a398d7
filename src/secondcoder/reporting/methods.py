"""The methods paragraph: what was done, in the words of a paper, with references.

In: `ReportContent` and what is shown of it. Out: sentences and references, for the report and the model card. A
sentence stands there only if the thing was done, a reference only if a sentence cites it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.selective import Guarantee
from secondcoder.evaluation.tasks import task_rules
from secondcoder.reporting.content import ReportContent, Shown
from secondcoder.reporting.formatting import MODEL, format_metric, joined, name_of


def training_told(c: ReportContent, cited: list[str]) -> str:
    """Return how the model was trained, in sentences; what they cite is added to `cited`."""
    s = c.settings
    if s.get("epochs") == 0:
        frozen = "The encoder stayed as pre-trained; its head is a logistic regression on what the encoder says."
        return " ".join([frozen, *_chosen(s)])
    epochs, batch, rate = s.get("epochs"), s.get("batch_size"), s.get("learning_rate")
    how = f"{epochs} epoch{'s' if epochs != 1 else ''}" if epochs else "some epochs"
    how += f" in steps of {batch} texts" if batch else ""
    how += f" by AdamW with a peak learning rate of {rate:g}" if isinstance(rate, float) else ""
    text = f"Training took {how}."
    if s.get("label_shares") and c.best_epoch != 0:  # the head before any step learned one class a text
        text += (
            " It learned the share of coders that gave each class; the figures are against the class that most gave."
        )
    if s.get("recipe") == "contrastive":
        cited.append("tunstall2022")
        text += (
            " It drew texts of one class together and pushed those of different classes apart, by the cosine of what "
            "the head reads; the head is a logistic regression on that (after Tunstall et al. 2022)."
        )
    if s.get("freeze"):
        text += f" The lower {s['freeze']:.0%} of the layers stayed as pre-trained."
    if s.get("lora"):
        cited.append("hu2022")
        text += f" Low-rank adapters (rank {s['lora']}) and the head were trained, and merged (Hu et al. 2022)."
    if s.get("class_weights"):
        same = task_rules(c.task).balanced_means
        each = f", so that {same} the same" if s["class_weights"] == "balanced" else ""
        text += f" Classes were weighted in the loss{each}; probabilities are those of so weighted classes."
    if c.metric and c.best_epoch is not None:
        text += f" The epoch with the best {format_metric(c.metric)} on dev was kept (epoch {c.best_epoch})."
    if len(c.seed_figures) > 1:
        values = list(c.seed_figures.values())
        mean = sum(values) / len(values)
        spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
        text += (
            f" Of {len(values)} trainings with different random seeds (on dev: mean {mean:.3f}, standard deviation "
            f"{spread:.3f}) the best on dev was kept."
        )
    return " ".join([text.strip(), *_chosen(s)])


def _chosen(s: Mapping[str, Any]) -> list[str]:
    """Return how recipe and settings were chosen, where others were tried."""
    said = []
    if s.get("recipes_on_train"):
        said.append(
            f"The recipe “{s['recipe']}” was chosen by cross-validation on the train part ({s['recipes_on_train']})."
        )
    if s.get("tuned"):
        said.append(f"The settings were chosen by their figure on dev: they are {s['tuned']}.")
    return said


REFERENCES = {
    "brier1950": "Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. "
    "Monthly Weather Review, 78(1), 1–3. doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    "angelopoulos2021": "Angelopoulos, A. N., Bates, S., Candès, E. J., Jordan, M. I., & Lei, L. (2021). Learn "
    "then test: Calibrating predictive algorithms to achieve risk control. arXiv:2110.01052",
    "cohen1968": "Cohen, J. (1968). Weighted kappa: Nominal scale agreement with provision for scaled disagreement or "
    "partial credit. Psychological Bulletin, 70(4), 213–220. doi:10.1037/h0026256",
    "fleiss1969": "Fleiss, J. L., Cohen, J., & Everitt, B. S. (1969). Large sample standard errors of kappa and "
    "weighted kappa. Psychological Bulletin, 72(5), 323–327. doi:10.1037/h0028106",
    "lipton2014": "Lipton, Z. C., Elkan, C., & Naryanaswamy, B. (2014). Optimal thresholding of classifiers to "
    "maximize F1 measure. ECML PKDD 2014, 225–239. doi:10.1007/978-3-662-44851-9_15",
    "geifman2017": "Geifman, Y., & El-Yaniv, R. (2017). Selective classification for deep neural networks. "
    "Advances in Neural Information Processing Systems, 30. arXiv:1705.08500",
    "guo2017": "Guo, C., Pleiss, G., Sun, Y., & Weinberger, K. Q. (2017). On calibration of modern neural networks. "
    "Proceedings of the 34th International Conference on Machine Learning. arXiv:1706.04599",
    "hall1992": "Hall, P. (1992). On the removal of skewness by transformation. "
    "Journal of the Royal Statistical Society B, 54(1), 221–228. doi:10.1111/j.2517-6161.1992.tb01876.x",
    "hu2022": "Hu, E. J., Shen, Y., Wallis, P., Allen-Zhu, Z., Li, Y., Wang, S., Wang, L., & Chen, W. (2022). LoRA: "
    "Low-rank adaptation of large language models. ICLR 2022. arXiv:2106.09685",
    "korn1998": "Korn, E. L., & Graubard, B. I. (1998). Confidence intervals for proportions with small expected "
    "number of positive counts estimated from survey data. Survey Methodology, 24(2), 193–201.",
    "kumar2019": "Kumar, A., Liang, P., & Ma, T. (2019). Verified uncertainty calibration. Advances in Neural "
    "Information Processing Systems, 32. arXiv:1909.10155",
    "lam2023": "Lam, K. F. Y., Gopal, V., & Qian, J. (2023). Confidence intervals for the F1 score: A comparison of "
    "four methods. arXiv:2309.14621",
    "mackinnon2023": "MacKinnon, J. G., Nielsen, M. Ø., & Webb, M. D. (2023). Fast and reliable jackknife and "
    "bootstrap methods for cluster-robust inference. Journal of Applied Econometrics, 38(5), 671–694. "
    "doi:10.1002/jae.2969",
    "naeini2015": "Naeini, M. P., Cooper, G. F., & Hauskrecht, M. (2015). Obtaining well calibrated probabilities "
    "using Bayesian binning. Proceedings of the AAAI Conference on Artificial Intelligence, 29(1). "
    "doi:10.1609/aaai.v29i1.9602",
    "northcutt2021": "Northcutt, C. G., Jiang, L., & Chuang, I. L. (2021). Confident learning: Estimating uncertainty "
    "in dataset labels. Journal of Artificial Intelligence Research, 70, 1373–1411. doi:10.1613/jair.1.12125",
    "wilson1927": "Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. "
    "Journal of the American Statistical Association, 22(158), 209–212. doi:10.1080/01621459.1927.10502953",
    "wolf2020": "Wolf, T., et al. (2020). Transformers: State-of-the-art natural language processing. Proceedings of "
    "EMNLP 2020: System Demonstrations, 38–45. doi:10.18653/v1/2020.emnlp-demos.6",
    "zou2008": "Zou, G. Y., & Donner, A. (2008). Construction of confidence limits about effect measures: A general "
    "approach. Statistics in Medicine, 27(10), 1693–1702. doi:10.1002/sim.3095",
    "tunstall2022": "Tunstall, L., Reimers, N., Jo, U. E. S., Bates, L., Korat, D., Wasserblat, M., & Pereg, O. "
    "(2022). Efficient few-shot learning without prompts. arXiv:2209.11055",
}
GROUPED = "grouped-"
"""Begins the key of an interval that takes groups as the units."""
GROUPED_REFERENCES = ("korn1998", "mackinnon2023")
INTERVALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "wilson": ("Wilson’s (1927) score interval", ("wilson1927",)),
    "wilson-f1": ("Wilson’s interval of TP/(TP+FP+FN), carried over to F1 (Lam et al. 2023)", ("lam2023",)),
    "wilson-effective": ("Wilson’s interval at the effective number of texts", ("wilson1927",)),
    "wilson-decisions": (
        "Wilson’s interval at the effective number of decisions, those on one text hanging together",
        ("wilson1927",),
    ),
    "fisher": ("the delta method (Fleiss et al. 1969) on Fisher’s scale", ("fleiss1969",)),
    "mover": ("recovery of variance from the classes’ intervals (MOVER; Zou and Donner 2008)", ("zou2008",)),
    "hall": ("Student’s t corrected for skewness (Hall 1992)", ("hall1992",)),
}
"""For each kind, what it is called and whom to cite."""
KINDS = {
    "accuracy": "accuracy",
    "exact-match": "exact match",
    "hamming-loss": "Hamming loss",
    "samples-f1": "samples-F1",
    "quadratic-kappa": "quadratic kappa",
    "mean-absolute-error": "mean absolute error",
    "precision": "precision and recall",
    "recall": "precision and recall",
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
_LONGEST_LIST = 6
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
    rules = task_rules(c.task)
    classes = rules.described(classes, joined(names))
    revision = c.settings.get("revision")
    what = "; ".join(filter(None, [f"revision {revision}" if revision else "", c.model_description]))
    version = c.versions.get("secondcoder", "")
    return (
        f"Texts were classified into {classes} (variable “{c.label_column}”){rules.how_many} by fine-tuning the "
        f"pre-trained language model {c.model}{f' ({what})' if what else ''} with "
        f"secondcoder{f' {version}' if version else ''}, which builds on the transformers library (Wolf et al. 2020)."
    )


def _parts(c: ReportContent) -> str:
    total = sum(part.rows for part in c.parts.values())
    kept = 0 if c.guarantee is None else c.guarantee.n  # of dev, for choosing a confidence and nothing else
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
    return task_rules(c.task).thresholds_told(found, why)


def _results(shown: Shown, cited: list[str]) -> str:
    if not shown.judged_on:
        return ""
    model = shown.main[MODEL]
    metric = model.headline[0]
    names = list(dict.fromkeys((metric, *model.names.paper)))
    rules = task_rules(model.task)
    cited.extend(rules.cited)
    names += [f"f1:{label}" for label in model.label_names if len(model.label_names) <= _LONGEST_LIST]
    figures = joined([f"{format_metric(name)} {_with(model, name)}" for name in dict.fromkeys(names)])
    groups = f" from {model.n_groups:,} groups" if model.n_groups else ""
    text = f"On {_PARTS[shown.judged_on]} ({model.n:,} texts{groups}), the classifier reaches {figures}."
    text += rules.figures_note
    rivals = [f"{name_of(who, model.task)} {_with(e, metric)}" for who, e in shown.main.items() if who != MODEL]
    if rivals:
        text += f" For comparison, trained on the same texts: {joined(rivals)} ({format_metric(metric)})."
    return text


def _intervals(shown: Shown, cited: list[str]) -> str:
    if not shown.judged_on:
        return ""
    model = shown.main[MODEL]
    by_method: dict[str, list[str]] = {}
    special = task_rules(model.task).interval_kinds
    for name, interval in model.intervals.items():
        if interval is not None:
            figure = name.partition(":")[0]
            kind = special.get(figure) or KINDS.get(figure, "averages")
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
    cited += ["naeini2015", "kumar2019", "brier1950"]
    model = shown.main[MODEL]
    what, units = task_rules(model.task).judged_probabilities(tuned=bool(model.thresholds))
    error, brier = (
        f"{value:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")
        for value, interval in ((found.error or 0.0, found.error_interval), (found.brier, found.brier_interval))
    )
    if found.error is None:
        return f"The Brier score is {brier} (Brier 1950); the calibration error is not given: {found.reason}."
    return (
        f"The expected calibration error of {what} (Naeini et al. 2015), over {len(found.bins)} bins with equally many "
        f"{units} and less what chance adds to the plain figure (Kumar et al. 2019), is {error}, the Brier score "
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


def _independent(found: Guarantee) -> str:
    groups = "" if found.n_groups is None else f", though they come from {found.n_groups:,} groups"
    return f"taken as independent{groups}"


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
