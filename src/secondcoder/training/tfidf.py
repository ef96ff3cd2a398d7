"""How TF-IDF with logistic regression is set: terms, strength and class weights, by cross-validation on train.

In: texts, gold labels and groups of train. Out: `TfidfSettings`, and the logistic regressions of a label scheme.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.near_duplicates import normalise
from secondcoder.evaluation.evaluation import Predictions
from secondcoder.evaluation.tasks import Task, gold_of, task_rules
from secondcoder.model.ngrams import KINDS, Characters, Kind, Words, gram_matrix, has_words
from secondcoder.model.regressions import Regressions
from secondcoder.reporting.formatting import format_metric
from secondcoder.storage import Stored, sha_key

STRENGTHS = (1.0, 10.0), (3.0, 30.0)
"""Values of C: those at which kinds of terms are compared, and more for the best kind; the larger, the freer."""
FOLDS = 4
SEARCHED = 2_000
"""Most rows of train that settings are compared on; of more, so many are drawn by their ids. On twelve draws of 2,500
and 4,500 sentences of manifestos the choice on 2,000 had 0.008 macro-F1 more on new texts than that on 1,000."""
# Fewer where texts are long or classes many, which takes as long, but not fewer than these.
_LEAST_SEARCHED, _SEARCHED_CHARACTERS, _SEARCHED_CLASSES = 1_000, 1_300_000, 10
MOST_TERMS = 200_000
"""Most words, and most runs of characters; 3,000 film reviews have 313,000 words and pairs."""
# The solver keeps some twenty vectors of so many numbers: 640 MB.
_MOST_WEIGHTS = 4_000_000
# Characters of a thousand film reviews are 2.3 million entries of a sparse matrix, of a thousand sentences 0.4.
_MOST_ENTRIES = 20_000_000
# Of the identity, so that texts that are alike in all terms can be told apart by the factorisation.
_JITTER = 1e-6
# What a kind by itself must be better by than both together. With 300 texts the figures of kinds are chance in their
# second digit: on eleven draws of 300 reviews and sentences this was worth 0.003 macro-F1 on new texts on average, and
# 0.033 where words alone were taken by luck; with it the choice was 0.006 below the best there was.
_PREFERENCE = 0.01


@dataclass(frozen=True)
class TfidfSettings(Stored, name="a setting of TF-IDF with logistic regression", cure="Evaluate the run again."):
    """What TF-IDF with logistic regression was given.

    Attributes
    ----------
    kind
        What is counted: a key of `KINDS`.
    strength
        C of scikit-learn's `LogisticRegression`.
    balanced
        Whether each class counts the same, however many texts it has.
    metric, figure
        By what settings were compared, and what these had; None where they were not compared, for want of texts.
    rows, folds
        On how many rows of train they were compared, in how many folds.
    grouped
        Whether no group stands in two folds.
    temperature
        What its logits are divided by: fitted on dev.
    thresholds
        From which probability on a class is given, where the model's were tuned too: on dev.
    unchosen
        Why nothing was compared, as a clause; empty where it was.
    unlearned
        Why nothing was learned, so that every text gets the shares of the classes in train; empty where it was.
    most_terms
        How many terms of each kind are kept, where others may have been left out; else None.
    words_alone
        Whether characters were not compared, as they would not fit into memory.
    """

    kind: Kind = "both"
    strength: float = 10.0
    balanced: bool = True
    metric: str | None = None
    figure: float | None = None
    rows: int = 0
    folds: int = 0
    grouped: bool = False
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    unchosen: str = ""
    unlearned: str = ""
    most_terms: int | None = None
    words_alone: bool = False

    @property
    def terms(self) -> str:
        """What is counted, for people."""
        told = KINDS[self.kind]
        if self.most_terms is not None:
            told += f", the {self.most_terms:,} most frequent{' of each' if self.kind == 'both' else ''}"
        return told + ", without characters, which would not fit into memory" * self.words_alone

    @property
    def description(self) -> str:
        """What it uses, for people."""
        if self.unlearned:
            return _shares_told(self.unlearned)
        said = f"{self.terms} ({_INVERSE.format(f'{self.strength:g}')}; {_WEIGHTS[self.balanced]} class weights)"
        if self.folds:
            figure, over = format_metric(self.metric or ""), " of whole groups" if self.grouped else ""
            said += f", chosen by {figure} in {self.folds} folds{over} on {self.rows:,} texts of train"
        else:
            said += f", not chosen, as {self.unchosen or 'its texts are too few'}"
        return said + _dev_told([self]) + _LEANING * self.balanced


_INVERSE = "C = {}, the inverse strength of regularisation"
_WEIGHTS = {True: "balanced", False: "no"}
_LEANING = (
    "; balanced weights make the probabilities of rare classes too high, which makes log loss and calibration worse"
)


def described(each: Sequence[TfidfSettings]) -> str:
    """Return what it uses in several folds, each set by itself, for people."""
    learned = [settings for settings in each if not settings.unlearned]
    if not learned:
        return _shares_told(" or ".join(sorted({settings.unlearned for settings in each})))
    counts = Counter(settings.terms for settings in learned)
    terms = " or ".join(f"{kind} ({n} of {len(each)})" for kind, n in counts.most_common())
    strengths = " or ".join(f"{c:g}" for c in sorted({settings.strength for settings in learned}))
    chosen, balanced = sum(settings.folds > 0 for settings in learned), sum(settings.balanced for settings in learned)
    how = "chosen anew in each fold" if chosen == len(each) else f"chosen anew in {chosen} of {len(each)} folds"
    said = f"{terms} ({_INVERSE.format(strengths)}), {how}; balanced class weights in {balanced} of {len(each)} folds"
    if len(learned) < len(each):
        said += f"; in {len(each) - len(learned)} of {len(each)} folds the shares of the classes in train"
    return said + _dev_told(learned) + _LEANING * (balanced > 0)


def _shares_told(why: str) -> str:
    return f"the shares of the classes in train for every text, as {why}"


def _dev_told(each: Sequence[TfidfSettings]) -> str:
    """Return what was fitted and chosen on dev, of one setting or of several folds, to stand behind the rest."""
    said, temperatures = "", [settings.temperature for settings in each]
    if any(temperature != 1.0 for temperature in temperatures):
        said = f"; temperature {_range(temperatures)}, fitted on dev"
    limits = [(name, threshold) for settings in each for name, threshold in settings.thresholds.items()]
    if not limits:
        return said
    names = {name for name, _ in limits}
    which = repr(names.pop()) if len(names) == 1 else "each class"
    return f"{said}; {which} from a probability of {_range([limit for _, limit in limits])} on, chosen on dev"


def _range(values: Sequence[float]) -> str:
    """Return the least and the largest of some numbers with two decimals; one number where both look the same."""
    return " to ".join(dict.fromkeys((f"{min(values):.2f}", f"{max(values):.2f}")))


class Learner:
    """Fits logistic regressions: one of all classes, or where a text may have several, one of each.

    Parameters
    ----------
    rules
        The label scheme.
    balanced
        Whether each class counts the same.
    """

    def __init__(self, rules: Task, *, balanced: bool) -> None:
        self._rules, self._weights = rules, "balanced" if balanced else None
        self._fitted: dict[int | None, LogisticRegression] = {}  # None: one for all classes

    def fit(self, features: Any, gold: NDArray[Any], k: int, *, strength: float) -> Regressions:
        """Learn from features, shape (n, f), and gold labels; a fit before is where this one starts."""
        for i, target in self._rules.regressions(gold, k).items():
            if len(np.unique(target)) > 1:
                new = LogisticRegression(class_weight=self._weights, max_iter=2000, warm_start=True)
                self._fitted.setdefault(i, new).set_params(C=strength).fit(features, target)
        joint, every = None in self._fitted, [self._fitted[i] for i in sorted(self._fitted, key=_first_none)]
        return Regressions(
            self._rules,
            self._rules.majority(gold, k),
            np.array(every[0].classes_ if joint else sorted(self._fitted), np.int64),  # type: ignore[type-var]
            np.concatenate([one.coef_ for one in every]) if every else np.empty((0, features.shape[1])),
            np.concatenate([one.intercept_ for one in every]) if every else np.empty(0),
            joint,
        )


def _first_none(key: int | None) -> int:
    return -1 if key is None else key


def choose_settings(train: Corpus, *, tune_threshold: bool = False) -> TfidfSettings:
    """Return what is best counted, how strongly weights are held to zero, and how classes are weighted.

    By the main figure of the task (macro-F1, the F1 of a positive class), of predictions for rows that were not learned
    from: four folds, of whole groups where there are any, else of whole texts, with like shares of the labels. Where
    thresholds of the model are tuned, the figure is that at the best thresholds. Words, characters and both are
    compared at C of 1 and 10 with balanced class weights, what is best of them at 3 and 30 too, and the best of all
    without weights; one kind is taken instead of both if it is better by 0.01.

    Of more than 2,000 rows so many are drawn; of texts with more than 650 characters on average, or of more than ten
    classes, fewer, down to 1,000. Where characters would make more than 20 million entries of a matrix
    (some 9,000 film reviews, 45,000 sentences), words alone are compared. Terms and their document frequencies are
    those of the rows learned from: a word that only judged rows have would take up its share of their unit length,
    which made words look worse by up to 0.14 macro-F1 on manifestos.

    Where fewer than two classes have as many texts as there are folds, or all texts are the same, nothing is compared:
    words and characters, C = 10 and balanced weights. Where no text has a word (emoji, say), there are characters only.

    Parameters
    ----------
    train
        Rows that all have a text and a label.
    tune_threshold
        Whether the threshold of the positive class is tuned, of a task that has one.
    """
    some = searched(train)
    judge = _Judge(some, tune_threshold)
    folds = list(_folds(some, judge.gold, len(some.label_names)))
    if not folds:
        why = "all its texts are the same" if len(set(_units(some))) < 2 else "its texts are too few"
        return TfidfSettings(kind="both" if has_words(train.texts) else "characters", unchosen=why)
    features = _features(some.texts, folds, len(train) / len(some))
    about = TfidfSettings(
        metric=judge.metric,
        rows=len(some),
        folds=len(folds),
        grouped=some.groups is not None and _n_units(some) > 1,
        words_alone="characters" not in features,
    )

    def tried(settings: TfidfSettings, strengths: Sequence[float]) -> list[TfidfSettings]:
        found = judge.figures(list(zip(folds, features[settings.kind], strict=True)), strengths, settings.balanced)
        return [replace(settings, strength=strength, figure=figure) for strength, figure in found]

    best = max((one for kind in features for one in tried(replace(about, kind=kind), STRENGTHS[0])), key=_worth)
    best = max((best, *tried(best, STRENGTHS[1])), key=_worth)
    return max((best, *tried(replace(best, balanced=False), [best.strength])), key=_worth)


def searched(train: Corpus) -> Corpus:
    """Return the rows that settings are compared on."""
    rows = sorted(range(len(train)), key=lambda row: sha_key(0, train.ids[row]))[:SEARCHED]
    fit = np.searchsorted(np.cumsum([len(train.texts[row]) for row in rows]), _SEARCHED_CHARACTERS, side="right")
    most = min(int(fit), SEARCHED * _SEARCHED_CLASSES // max(_SEARCHED_CLASSES, len(train.label_names)))
    return train.take(rows[: max(_LEAST_SEARCHED, most)])


def _worth(settings: TfidfSettings) -> float:
    return (settings.figure or 0.0) - (_PREFERENCE if settings.kind != TfidfSettings().kind else 0.0)


def terms_a_kind(k: int) -> int:
    """Return how many terms of each kind are counted for k classes."""
    return min(MOST_TERMS, _MOST_WEIGHTS // (2 * k))


class _Judge:
    """Judges settings by predictions for rows that were not learned from."""

    def __init__(self, rows: Corpus, tune_threshold: bool) -> None:
        self._names, self._positive = rows.label_names, rows.positive
        self._tuned = rows.positive if tune_threshold else None
        self._rules = task_rules(rows.task)
        self.gold = gold_of(rows, rows.label_names)
        self.metric = self._rules.figures.resolve("auto", rows.positive, rows.label_names)

    def figures(
        self, folds: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]], strengths: Sequence[float], balanced: bool
    ) -> Iterator[tuple[float, float]]:
        """Yield each strength and its figure, from the rows of each fold and features of all rows, shape (n, f)."""
        n, k = len(self.gold), len(self._names)
        learners = [Learner(self._rules, balanced=balanced) for _ in folds]
        found = np.empty((n, k))
        for strength in strengths:
            for (fold, features), learner in zip(folds, learners, strict=True):
                learned = np.setdiff1d(np.arange(n), fold)
                regressions = learner.fit(features[learned], self.gold[learned], k, strength=strength)
                found[fold] = regressions.probabilities(features[fold] @ regressions.weights.T)
            thresholds = self._rules.thresholds(self.gold, found, self._names, self._tuned)
            said = Predictions(self.gold, found, self._names, self._positive, thresholds)
            yield strength, self._rules.points(said).figure(self.metric)


def _features(
    texts: Sequence[str], folds: Sequence[NDArray[np.int64]], times: float
) -> dict[Kind, list[NDArray[np.float32]]]:
    """Return by kind, for each fold, features of all rows whose inner products are those of the terms, shape (n, n).

    They are few where terms are many, and a regression on them is that on the terms, as its weights are sums of rows.
    """
    characters = Characters(MOST_TERMS).fit_transform(texts)
    kinds: tuple[Kind, ...] = ("characters",)
    if has_words(texts):
        words = Words(MOST_TERMS).fit_transform(texts)
        kinds = ("words",) if characters.nnz * times > _MOST_ENTRIES else ("both", "characters", "words")
    found: dict[Kind, list[NDArray[np.float32]]] = {kind: [] for kind in kinds}
    for fold in folds:
        learned = np.setdiff1d(np.arange(len(texts)), fold)
        products: dict[Kind, NDArray[np.float64]] = {}
        if "words" in found:
            products["words"] = gram_matrix(words, learned)
        if "characters" in found:
            products["characters"] = gram_matrix(characters, learned)
        for kind in kinds:
            both = kind == "both"
            found[kind].append(_root(products["words"] + products["characters"] if both else products[kind]))
    return found


def _root(products: NDArray[np.float64]) -> NDArray[np.float32]:
    found: NDArray[np.float64] = linalg.cholesky(products + _JITTER * np.eye(len(products)), lower=True)
    return found.astype(np.float32)  # half the time, and the choice is the same


def _n_units(rows: Corpus) -> int:
    return len(set(rows.units or ()))


def _units(rows: Corpus) -> Sequence[str]:
    """Return what must not stand in two folds: of each row its group, or where there are not two, its text."""
    return [normalise(text) for text in rows.texts] if _n_units(rows) < 2 else rows.units or ()


def _folds(rows: Corpus, gold: NDArray[Any], k: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each fold; none where nothing can be compared."""
    targets = task_rules(rows.task).regressions(gold, k).values()
    second = [sorted(Counter(target.tolist()).values())[-2:][0] for target in targets if len(np.unique(target)) > 1]
    if max(second, default=0) < FOLDS:
        return
    units = _units(rows)
    n_folds = min(FOLDS, len(set(units)))
    if n_folds < 2:
        return
    strata = _strata([str(label) for label in rows.labels], n_folds)
    whole = len(set(units)) < len(units)
    folds = StratifiedGroupKFold(n_folds) if whole else StratifiedKFold(n_folds)
    for _, judged in folds.split(strata, strata, units if whole else None):
        yield judged


def _strata(labels: list[str], n_folds: int) -> list[str]:
    """Return labels, of which those of fewer rows than folds are one; together with the most frequent if still few."""
    counts = Counter(labels)
    rare = {label for label, count in counts.items() if count < n_folds}
    usual = counts.most_common(1)[0][0]
    instead = usual if sum(counts[label] for label in rare) < n_folds else min(rare)
    return [instead if label in rare else label for label in labels]
