"""How a run came about, in the words of a paper: texts, pre-trained model, training, openings of test, machine.

In: `ReportContent`. Out: sentences for `secondcoder.reporting.methods`; what they cite is added to a list. What only
the author knows is left open: ``[Fill in: …]``.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.families import BY_TYPE
from secondcoder.reporting.content import OpeningContent, ReportContent
from secondcoder.reporting.formatting import counted, format_metric, joined
from secondcoder.reporting.references import MODELS, cited_for, cited_for_kind

FILL_IN = "[Fill in: "
"""Begins what the author has to write, which ends with the next bracket."""
LONGEST_LIST = 6
"""Of so many classes each is named."""
_MOST_CHANGES = 8
_BACKENDS = {"torch": "PyTorch", "openvino": "OpenVINO"}
_PACKAGES = {
    "secondcoder": "secondcoder",
    "python": "Python",
    "torch": "PyTorch",
    "transformers": "transformers",
    "scikit-learn": "scikit-learn",
}


def task_told(c: ReportContent, cited: list[str]) -> str:
    """Return what texts were classified into."""
    names = [f"“{name}”" for name in c.label_names]
    classes = joined(names) if len(names) <= LONGEST_LIST else f"{len(names)} classes"
    rules = task_rules(c.task)
    classes = rules.described(classes, joined(names))
    return f"Texts were classified into {classes} (variable “{c.label_column}”){rules.how_many.rstrip(',')}."


def population_told(c: ReportContent, cited: list[str]) -> str:
    """Return what the hand-labelled texts are, as far as the author has said it."""
    told = " ".join(c.population.split()).rstrip(".")
    if told:
        return f"The hand-labelled texts are {told}."
    return (
        f"The hand-labelled texts are {FILL_IN}what they were drawn from, how, when, and by whom they were coded; "
        'secondcoder report RUN --population "…" puts it here].'
    )


def parts_told(c: ReportContent, cited: list[str]) -> str:
    """Return what became of the hand-labelled texts, and how they were divided."""
    total = sum(part.rows for part in c.parts.values())
    kept = 0 if c.guarantee is None else c.guarantee.n  # of dev, for choosing a confidence and nothing else
    roles = {
        "train": "trained the classifier",
        "dev": "calibrated it" if c.tfidf else "chose among its epochs",
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
    groups = [f"{p.groups:,} in {name}" for name, p in c.parts.items() if p.groups is not None]
    column = c.group_column or "group"
    counts = f" The texts come from groups ({column}): {joined(groups)}." if groups else ""
    match c.split_by:
        case "group":
            counts = f": {joined(groups)}" if groups else ""
            how = f" The parts were drawn by {column}, so that none stands in two{drawn}{counts}."
        case "stratified":
            how = f" The parts were drawn at random, with the classes equally frequent in each{drawn}.{counts}"
        case "random":
            how = f" The parts were drawn at random{drawn}.{counts}"
        case "given":
            how = f" The parts were given with the data.{counts}"
        case _:
            how = counts
    leaks = [finding.message for finding in c.findings if finding.kind == "leaks-allowed"]
    return " ".join([f"Of {total:,} hand-labelled texts, {used}.{how}", *leaks])


def lengths_told(c: ReportContent, cited: list[str]) -> str:
    """Return what became of long texts."""
    if c.lengths is None:
        return ""
    if not c.lengths.share_longer:
        return f"No text exceeded the limit of {c.lengths.max_length:,} tokens."
    longer = f"Texts of more than {c.lengths.max_length:,} tokens ({c.lengths.share_longer:.1%}) were"
    if c.lengths.long_texts == "windows":
        pooled = "highest" if c.settings.get("window_pooling") == "max" else "mean"
        return (
            f"{longer} read in overlapping windows of equal length, in training and in prediction; the {pooled} logit "
            "over a text’s windows counts for each class."
        )
    kept = "their beginning and end were kept" if c.lengths.long_texts == "head-tail" else "their beginning was kept"
    return f"{longer} cut; {kept}."


def model_told(c: ReportContent, cited: list[str]) -> str:
    """Return the pre-trained model: its name, paper and revision; of weights that are not listed, what is known."""
    version = c.versions.get("secondcoder", "")
    tool = f"secondcoder{f' {version}' if version else ''}"
    if c.tfidf:
        cited.append("pedregosa2011")
        return (
            "The classifier is a logistic regression on TF-IDF weights (sublinear term frequency, rows of unit length) "
            f"of the texts in lower case, fitted by scikit-learn (Pedregosa et al. 2011), with {tool}; no language "
            f"model was used. It counts {c.tfidf}."
        )
    cited.append("wolf2020")
    keys = cited_for(c.model, c.model_kind)
    known = [MODELS[key][0] for key in keys]
    revision, sha256 = c.settings.get("revision"), c.pretrained_sha256
    name = {"minilm": "all-MiniLM-L6-v2"}.get(c.model, c.model)
    if not keys:
        keys = cited_for_kind(c.model_kind)
        network = BY_TYPE[c.model_kind].title.partition(",")[0] if keys else ""
        kind = "".join(f"; its network is that of {network} ({MODELS[key][0]})" for key in keys)
        if sha256 or PurePath(c.model).is_absolute() or c.model.startswith((".", "~")):
            name = f"in the folder “{PurePath(c.model).name}”"
        known = [f"{FILL_IN}where it comes from, and its paper]{kind}"]
    cited += keys
    about = [
        *known,
        f"revision {revision}" if revision else "",
        f"SHA-256 of its weights {sha256[:16]}…" if sha256 else "",
        c.model_description,
    ]
    return (
        f"The classifier is built on the pre-trained language model {name} ({'; '.join(filter(None, about))}), with "
        f"{tool} on the transformers library (Wolf et al. 2020)."
    )


def trained_told(c: ReportContent, cited: list[str]) -> str:
    """Return how the model was trained, of whichever kind it is."""
    if not c.tfidf:
        return training_told(c, cited)
    fixed = "Nothing in its training is random: the same texts give the same classifier."
    if tried := c.settings.get("recipes_on_train"):
        fixed += (
            " It was chosen by cross-validation on the train part, over ways to train the language model "
            f"{c.settings['recipes_of']} ({tried})."
        )
    if why_not := c.settings.get("recipes_not_compared"):
        fixed += (
            f" Ways to train the language model {c.settings['recipes_of']} were not compared with it, as {why_not}."
        )
    return fixed


def training_told(c: ReportContent, cited: list[str]) -> str:
    """Return how the model was trained, in sentences; what they cite is added to `cited`."""
    s = c.settings
    if s.get("epochs") == 0:
        frozen = "The encoder stayed as pre-trained; its head is a logistic regression on what the encoder says."
        return " ".join([frozen, *_chosen(s)])
    text = _optimisation(s, cited)
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
    text += _kept(c)
    if len(c.seed_figures) > 1:
        values = list(c.seed_figures.values())
        mean = sum(values) / len(values)
        spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
        text += (
            f" Of {len(values)} trainings with different random seeds ({format_metric(c.metric)} on dev: mean "
            f"{mean:.3f}, standard deviation {spread:.3f}) the best on dev was kept."
        )
    else:
        text += f" The classifier was trained once, with one random seed ({c.seed})."
    return " ".join([text.strip(), *_chosen(s)])


def _kept(c: ReportContent) -> str:
    """Return which epoch's weights were kept, as a sentence with a blank before it."""
    if not c.metric or c.best_epoch is None:
        return ""
    best = f"the best {format_metric(c.metric)} on dev"
    kept = f"the weights after the one with {best} were kept (epoch {c.best_epoch})"
    if c.best_epoch == 0:
        kept = f"none had {best}: the weights before the first were kept"
    if c.history and not c.chose_epoch:
        kept = "the weights after the last one were kept, as dev is too small to choose"
    return f" There was no early stopping: all epochs were trained, and {kept}."


def _optimisation(s: Mapping[str, Any], cited: list[str]) -> str:
    epochs, batch, rate = s.get("epochs"), s.get("batch_size"), s.get("learning_rate")
    how = counted(epochs, "epoch") if epochs else "some epochs"
    how += f" in batches of {batch} texts" if batch else ""
    details = []
    if isinstance(rate, float):
        cited.append("loshchilov2019")
        how += " with AdamW"
        details += ["Loshchilov and Hutter 2019", f"peak learning rate {rate:g}"]
        if (warmup := s.get("warmup")) is not None:
            rise = f"after a warm-up over the first {warmup:.0%} of the steps" if warmup else "without warm-up"
            details[-1] += f" {rise}, falling linearly to zero"
    if (decay := s.get("weight_decay")) is not None:
        details.append(f"weight decay {decay:g}")
    if (norm := s.get("max_grad_norm")) is not None:
        details.append(f"gradients clipped at a norm of {norm:g}")
    return f"Training took {how} ({'; '.join(details)})." if details else f"Training took {how}."


def _chosen(s: Mapping[str, Any]) -> list[str]:
    """Return how recipe and settings were chosen, where others were tried."""
    said = []
    if s.get("recipes_on_train"):
        said.append(
            f"The recipe “{s['recipe']}” was chosen by cross-validation on the train part ({s['recipes_on_train']})."
        )
    if why_not := s.get("recipes_not_compared"):
        said.append(f"Recipes were not compared, as {why_not}; “{s['recipe']}” was taken.")
    if s.get("tuned"):
        said.append(f"The settings were chosen by their figure on dev: they are {s['tuned']}.")
    return said or ["Hyper-parameters were not searched in this training."]


def temperature_told(c: ReportContent, cited: list[str]) -> str:
    """Return how probabilities were calibrated."""
    if c.temperature is None:
        return ""
    cited.append("guo2017")
    return (
        f"Probabilities were calibrated by a temperature of {c.temperature:.2f}, fitted on dev by log loss "
        "(Guo et al. 2017)."
    )


def openings_told(c: ReportContent) -> str:
    """Return how often the test part was opened, what changed in between, and what that means for its figures."""
    told, crashed = "", c.crashed
    if c.test_openings == 1:
        told = "The test part was opened once."
    elif c.test_openings:
        told = f"The test part was opened {c.test_openings} times"
        if c.always_same_model:
            told += ", each time to judge this same model, so that nothing was chosen by a look at it."
        else:
            told += (
                f"{_between(c.counted, c.test_openings)}. What was changed after a look may have been chosen by it: "
                "figures on test are to be read as those of dev, which are optimistic."
            )
    if crashed:
        many = "One further opening" if crashed == 1 else f"{crashed} further openings"
        how = "ended before a figure was seen, and is" if crashed == 1 else "ended before a figure was seen, and are"
        told += f" {many if told else many.replace(' further', '')} of the test part {how} not counted."
    return told.strip()


def _between(openings: list[OpeningContent], n: int) -> str:
    """Return what changed from each opening that counts, of which there were n, to the next, as far as is recorded."""
    if len(openings) < 2:
        return f" {FILL_IN}what was changed between the openings]"
    said = [f"first for the run “{openings[0].run}” ({openings[0].time[:10]}{_of_folds(openings[0])})"]
    for one in openings[1:]:
        if one.same_model:
            what = "for the same model"
        elif one.changed is None:
            what = f"{FILL_IN}what was changed; it was not recorded]"
        else:
            changed = [*one.changed[:_MOST_CHANGES]]
            if more := len(one.changed) - len(changed):
                changed.append(f"{more} more settings")
            what = f"with {joined(changed)}" if changed else "with the same settings"
        said.append(f"then for “{one.run}” ({one.time[:10]}{_of_folds(one)}) {what}")
    if not (missing := n - len(openings)):
        return f": {'; '.join(said)}"
    which = "1 of these openings is" if missing == 1 else f"{missing} of these openings are"
    return f". {which} not recorded {FILL_IN}when, and what was changed]; the recorded ones: {'; '.join(said)}"


def _of_folds(one: OpeningContent) -> str:
    return f", {one.judged}" if one.judged.endswith("folds") else ""


def computing_told(c: ReportContent) -> str:
    """Return by what figures and labels were computed, how that agrees with the training's arithmetic, and where."""
    told = []
    backend, precision = c.settings.get("backend"), c.settings.get("precision")
    if backend and precision:
        told.append(f"Figures and labels were computed by {_BACKENDS.get(backend, backend)} in {precision}")
        if found := c.agreement:
            one, other = (f"{value:.3f}" for value in (found.macro_f1, found.reference_macro_f1))
            told[-1] += (
                f"; on dev ({found.n:,} texts) {found.agreement:.1%} of its labels are those of PyTorch in "
                f"{found.reference}, and macro-F1 is {f'{one} rather than {other}' if one != other else 'the same'}"
            )
        told[-1] += "."
    processor, cores, device = (c.machine.get(name) for name in ("processor", "cores", "device"))
    if processor and cores:
        where = "a CPU" if device == "cpu" else f"a GPU ({device}) beside a CPU"
        told.append(f"Training ran on {where} ({processor}, {counted(cores, 'core')}).")
    used = _PACKAGES | ({"openvino": "OpenVINO"} if backend == "openvino" else {})
    if c.tfidf:
        used = {name: shown for name, shown in used.items() if name not in ("torch", "transformers")}
    packages = [f"{shown} {c.versions[name]}" for name, shown in used.items() if name in c.versions]
    if packages:
        told.append(f"Software: {joined(packages)}.")
    return " ".join([*told, f"Random seed {c.seed}; SHA-256 of the data {c.source_sha256[:16]}…"])
