"""Invented reports, and a reader of pages."""

from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
from scipy.special import expit

from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.error_analysis import JudgedRows, find_mistakes
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.label_errors import find_label_errors
from secondcoder.evaluation.learning_curve import fit_power_law
from secondcoder.evaluation.selective import Guarantee
from secondcoder.reporting.content import LengthContent, PartContent, ReportContent

NAMES = ("economic", "social")
VOID = {"meta", "br", "hr", "img", "link", "input", "col"}


class Page(HTMLParser):
    """Collects the visible text and every attribute; notes tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag in {"td", "th", "dd", "dt", "small", "p"}:
            self.pieces.append(" ")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> inside {self.open[-3:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())


@cache
def judged(
    right: int,
    of: int = 100,
    *,
    names: tuple[str, ...] = NAMES,
    positive: str | None = None,
    n_groups: int | None = None,
    temperature: float = 1.0,
) -> Evaluation:
    """Evaluation of so many right answers out of `of`, half of them of each of the first two classes."""
    gold = np.arange(of) % 2
    predicted = np.where(np.arange(of) < right, gold, 1 - gold)
    probabilities = np.full((of, len(names)), 0.1 / (len(names) - 1))
    probabilities[np.arange(of), predicted] = 0.9 - np.arange(of) % 7 / 100
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    groups = None if n_groups is None else [f"group {i % n_groups}" for i in range(of)]
    labels = [names[i] for i in gold]
    return evaluate(labels, probabilities, names, positive=positive, groups=groups, temperature=temperature)


def compared(
    model: int, tfidf: int, *, names: tuple[str, ...] = NAMES, positive: str | None = None
) -> dict[str, Evaluation]:
    rights = {"majority": 50, "model": model, "tfidf-logistic": tfidf}
    return {who: judged(right, names=names, positive=positive) for who, right in rights.items()}


def content(**changes: Any) -> ReportContent:
    whole = ReportContent(
        run="runs/area",
        text_column="sentence",
        label_column="area",
        group_column="manifesto",
        source="manifestos.csv",
        source_sha256="ab" * 32,
        label_names=NAMES,
        model="tiny-encoder",
        model_description="2 layers",
        parts={
            "train": PartContent(1234, {"economic": 1000, "social": 234}, groups=7),
            "dev": PartContent(100, {"economic": 50, "social": 50}, groups=2),
            "test": PartContent(100, {"economic": 50, "social": 50}, groups=3),
        },
        evaluations={"dev": compared(90, 80), "test": compared(88, 80)},
        test_openings=1,
        metric="macro-f1",
        best_epoch=2,
        split_by="group",
        lengths=LengthContent(2, 21.0, 25.0, 57.0, 163, 128, 0.034),
        unused={"no label": 17},
        findings=[
            Finding("duplicate-text", "warning", "41 texts stand twice.", "Drop one copy.", 41, ("We will act.",))
        ],
        history=[
            {"epoch": 1, "step": 78, "train_loss": 0.61234, "macro-f1": 0.8512, "seconds": 12.34},
            {"epoch": 2, "step": 1156, "train_loss": 0.31234, "macro-f1": 0.8712, "seconds": 12.21},
        ],
        seed=4711,
        settings={"learning_rate": 2e-05, "max_length": None, "stratify": ["year", "party"]},
        versions={"torch": "2.13.0"},
        machine={"cores": 2},
        started="2026-11-24 10:12",
        seconds=131.0,
    )
    return replace(whole, **changes)


def full_content(**changes: Any) -> ReportContent:
    """A report of everything that there can be."""
    n = 120
    random = np.random.default_rng(0)
    gold = random.integers(0, 2, n)
    likely = np.clip(random.normal(0.65, 0.25, n), 0.02, 0.98)
    probabilities = np.where(gold[:, np.newaxis] == np.arange(2), likely[:, np.newaxis], 1 - likely[:, np.newaxis])
    rows = JudgedRows(
        ids=[f"id{i}" for i in range(n)],
        texts=[f"We will act on <b>schools</b> & taxes, number {i}." for i in range(n)],
        gold=gold,
        probabilities=probabilities,
        label_names=NAMES,
        groups=[f"Labour {1950 + i % 6}" for i in range(n)],
        n_tokens=random.integers(3, 90, n),
    )
    found = find_mistakes(rows)
    word = {"text": "act", "start": 8, "end": 11, "weight": 1.0}
    evaluations = {
        "dev": compared(90, 80),
        "test": {"model": judged(88, n_groups=3, temperature=1.4), "tfidf-logistic": judged(80, n_groups=3)},
        "folds": {"model": judged(170, 200, n_groups=20)},
    }
    sizes = [100, 200, 400, 800] * 2
    whole: dict[str, Any] = {
        "evaluations": evaluations,
        "temperature": 1.4,
        "seed_figures": {"42": 0.861, "43": 0.872, "44": 0.858},
        "best_seed": 43,
        "history": [
            {"seed": seed, "epoch": e, "step": 9 * e, "train_loss": 1 / e, "macro-f1": 0.8 + 0.01 * e + 0.001 * seed}
            for seed in (42, 43, 44)
            for e in (1, 2)
        ],
        "guarantee": Guarantee(0.1, 0.05, 0.871, 33 / 35, 0.0, bound=0.087, n=35, n_groups=4, chance=0.31),
        "mistakes": {
            "test": {
                "mistakes": found.to_dict(),
                "words": [{"words": [word], "not_seen": [20, 30]} for _ in found.confident],
                "label_errors": [
                    {"id": f"odd{i}", "text": "Taxes & <i>cuts</i>.", "label": "social", "suggested": "economic",
                     "score": 0.01 * i}
                    for i in range(12)
                ],
            }
        },
        "curve": fit_power_law(sizes, [1 - n**-0.4 for n in sizes], name="macro-f1"),
    }  # fmt: skip
    return content(**{**whole, **changes})


def sets_content(*, names: tuple[str, ...] = ("economic", "social", "other"), **changes: Any) -> ReportContent:
    """A report of a task in which a text may have several classes."""
    return content(**{**judged_sets(names), **changes})


@cache
def judged_sets(names: tuple[str, ...]) -> dict[str, Any]:
    """What is particular to such a report."""
    random = np.random.default_rng(1)
    n, k = 200, len(names)
    gold = random.random((n, k)) < np.linspace(0.5, 0.1, k)
    p = expit(np.where(gold, 1.2, -1.8) + random.normal(0, 1.2, (n, k)))
    thresholds = {name: 0.4 + 0.02 * i for i, name in enumerate(names)}
    labels = [tuple(name for name, has in zip(names, row, strict=True) if has) for row in gold]
    groups = [f"Labour {1950 + i % 12}" for i in range(n)]
    given = {
        "model": evaluate(labels, p, names, task="multi-label", thresholds=thresholds, groups=groups, temperature=1.4),
        "tfidf-logistic": evaluate(labels, p**2, names, task="multi-label", groups=groups),
        "majority": evaluate(labels, np.full((n, k), 0.3), names, task="multi-label", groups=groups),
    }
    rows = JudgedRows(
        ids=[f"id{i}" for i in range(n)],
        texts=[f"We will act on <b>schools</b> & taxes, number {i}." for i in range(n)],
        gold=gold,
        probabilities=p,
        label_names=names,
        groups=groups,
        n_tokens=random.integers(3, 90, n),
        given=p >= np.array(list(thresholds.values())),
    )
    found = {
        "mistakes": find_mistakes(rows).to_dict(),
        "label_errors": [error.to_dict() for error in find_label_errors(rows)],
        "words": [{"words": [{"text": "act", "start": 8, "end": 11, "weight": 1.0}], "not_seen": None}],
        "occlusion": 0.4,
    }
    counts = dict(zip(names, gold.sum(axis=0).tolist(), strict=True))
    return {
        "task": "multi-label",
        "label_names": names,
        "parts": {part: PartContent(n, counts, groups=12) for part in ("train", "dev", "test")},
        "evaluations": {"dev": given, "test": given},
        "mistakes": {"test": found},
        "temperature": 1.4,
    }


def ordered_content(**changes: Any) -> ReportContent:
    """A report of a task with ordered classes."""
    names = ("left", "centre", "right")
    random = np.random.default_rng(2)
    gold = random.integers(0, 3, 150)
    said = np.clip(np.round(gold + random.normal(0, 0.6, 150)), 0, 2).astype(int)
    given = {
        who: evaluate([names[i] for i in gold], np.eye(3)[labels] * 0.8 + 0.2 / 3, names, task="ordinal")
        for who, labels in (("model", said), ("majority", np.ones(150, int)))
    }
    counts = dict(zip(names, np.bincount(gold).tolist(), strict=True))
    parts = {part: PartContent(150, counts) for part in ("train", "dev", "test")}
    whole: dict[str, Any] = {"task": "ordinal", "label_names": names, "parts": parts, "evaluations": {"test": given}}
    return content(**{**whole, **changes})
