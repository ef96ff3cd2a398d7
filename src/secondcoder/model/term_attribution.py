"""Which words push a text to a class, by TF-IDF with logistic regression: exactly, from weights and values.

In: a model and texts. Out: `Attribution`s, as those of transformers have them (`secondcoder.model.attribution`).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from secondcoder.evaluation.tasks import task_rules
from secondcoder.model.attribution import CHECKED, FEWEST_COMPARED, SHORT, Attribution, Explained, Word
from secondcoder.model.tfidf_model import TfidfModel


def explain_terms(model: TfidfModel, texts: Sequence[str], labels: Sequence[str]) -> Explained:
    """Return how the words of each text push it to a label, and how well that agrees with leaving each word out.

    A term adds its weight times its value in the text to the margin. That is divided equally among the places where it
    stands, and there among the words, cut at blanks, that hold a part of it. Nothing is estimated; leaving a word out
    still does something else, as a text's values are of unit length together.
    """
    found = [_explained(model, text, label) for text, label in zip(texts, labels, strict=True)]
    short = [one for one in found if len(one.words) <= SHORT][:CHECKED]
    agreements = [agreed for one in short if (agreed := _agreement(model, one)) is not None]
    return Explained(tuple(found), float(np.mean(agreements)) if agreements else None)


def _explained(model: TfidfModel, text: str, label: str) -> Attribution:
    spans = [found.span() for found in re.finditer(r"\S+", text)]
    pushes = _pushes(model, text, label, np.array(spans))
    strongest = float(np.abs(pushes).max(initial=0.0))
    weights = pushes / strongest if strongest > 0 else pushes
    words = tuple(Word(text[a:b], a, b, float(w)) for (a, b), w in zip(spans, weights, strict=True))
    margin = float(_margins(model, [text], label)[0])
    return Attribution(text, label, margin, words, float(pushes.sum()), strongest, None)


def _pushes(model: TfidfModel, text: str, label: str, spans: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what each word of a text adds to the margin of a label, shape (words,), from where to where they stand."""
    found = np.zeros(len(spans))
    held = np.array(model.learned.terms.held(text))  # (places, 3)
    if not len(held):
        return found
    columns, term, often = np.unique(held[:, 0], return_inverse=True, return_counts=True)
    values = model.learned.terms.transform([text])[:, columns].toarray()[0]
    weights, known = model.learned.weights[columns], model.learned.regressions.known
    logits = np.zeros((len(columns), len(model.label_names)))
    logits[:, known[-weights.shape[1] :]] = weights  # of two classes the second has the weights
    push = (values * _margin(model, logits, label) / often)[term]  # (places,)
    first = np.searchsorted(spans[:, 1], held[:, 1], side="right")
    n_words = np.searchsorted(spans[:, 0], held[:, 2], side="left") - first
    within = np.arange(n_words.sum()) - np.repeat(np.cumsum(n_words) - n_words, n_words)
    np.add.at(found, np.repeat(first, n_words) + within, np.repeat(push / n_words, n_words))
    return found


def _margins(model: TfidfModel, texts: Sequence[str], label: str) -> NDArray[np.float64]:
    """Return how far a label is ahead in each text, shape (n,); of an empty text as little as no term makes it."""
    logits = model.learned.regressions.logits(model.learned.products(texts))
    return _margin(model, logits, label)


def _margin(model: TfidfModel, logits: NDArray[np.float64], label: str) -> NDArray[np.float64]:
    own = logits[:, model.label_names.index(label)]
    found: Any = task_rules(model.card.task).margin(own, logits.sum(axis=1), logits.shape[1])
    return np.asarray(found / model.card.temperature, np.float64)


def _agreement(model: TfidfModel, explained: Attribution) -> float | None:
    """Return the rank correlation of words' weights with the fall of the margin when each is left out."""
    text, words = explained.text, explained.words
    if len(words) < FEWEST_COMPARED:
        return None
    without = [f"{text[: word.start]} {text[word.end :]}" for word in words]
    falls = explained.margin - _margins(model, without, explained.label)
    weights = np.array([word.weight for word in words])
    return float(spearmanr(weights, falls).statistic) if np.ptp(weights) > 0 and np.ptp(falls) > 0 else None
