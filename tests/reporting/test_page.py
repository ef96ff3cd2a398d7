import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.reporting.content import LengthContent, PartContent, ReportContent
from secondcoder.reporting.formatting import format_duration, format_metric, format_value
from secondcoder.reporting.page import render

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
) -> dict[str, Any]:
    """Evaluation of so many right answers out of `of`, half of them of each of the first two classes."""
    gold = np.arange(of) % 2
    predicted = np.where(np.arange(of) < right, gold, 1 - gold)
    probabilities = np.full((of, len(names)), 0.1 / (len(names) - 1))
    probabilities[np.arange(of), predicted] = 0.9 - np.arange(of) % 7 / 100
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    groups = None if n_groups is None else [f"group {i % n_groups}" for i in range(of)]
    labels = [names[i] for i in gold]
    return evaluate(labels, probabilities, names, positive=positive, groups=groups, temperature=temperature).to_dict()


def compared(
    model: int, tfidf: int, *, names: tuple[str, ...] = NAMES, positive: str | None = None
) -> dict[str, dict[str, Any]]:
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


def test_everything_handed_over_is_on_the_page() -> None:
    text = Page(render(content())).text
    for expected in (
        "economic or social?",
        "tiny-encoder learned area from 1,234 of 1,434 hand-labelled texts in manifestos.csv",
        "2 min 11 s",
        "1,000 81.0%",  # economic in train
        "groups (manifesto)",
        "95 of 100 at most 57",
        "3.4% of the texts are cut",
        "no label 17",
        "41 texts stand twice. Drop one copy. We will act.",
        "training loss",
        "0.612",
        "1,156",
        "ab" * 32,
        "4711",
        "learning rate 2e-05",
        "year, party",
        "torch 2.13.0",
        "cores 2",
    ):
        assert expected in text
    assert re.search(r"0\.880 \[0\.\d{3}, 0\.\d{3}\] macro-F1 on test", text)


def test_the_confusion_matrix_shows_counts_and_row_shares() -> None:
    text = Page(render(content())).text
    assert "→ economic → social texts economic 44 88.0% 6 12.0% 50" in text


def test_the_tags_close_in_order() -> None:
    for page in (content(), content(evaluations={}, history=[], findings=[], unused={}, lengths=None)):
        parsed = Page(render(page))
        assert parsed.faults == []
        assert parsed.open == []


def test_the_page_asks_nothing_of_the_network_and_runs_no_script() -> None:
    html = render(content())
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {name for name, _ in page.attributes if name in {"src", "srcset", "data"} or name.startswith("on")}
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    assert not re.search(r"url\(|@import|https?://", html)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes


def test_text_from_the_data_is_escaped_wherever_it_appears() -> None:
    evil = "<script>alert('x')</script>"
    names = ("economic", evil)
    html = render(
        content(
            run=evil,
            text_column=evil,
            label_column=evil,
            group_column=evil,
            source=evil,
            model=evil,
            model_description=evil,
            label_names=names,
            positive=evil,
            evaluations={"test": compared(88, 80, names=names, positive=evil)},
            unused={evil: 1},
            findings=[Finding("kind", "note", evil, evil, 1, (evil,))],
            history=[{"epoch": 1, f"f1:{evil}": 0.5}],
            settings={evil: evil},
            machine={"cpu": [evil]},
        )
    )
    assert "<script" not in html
    assert Page(html).text.count(evil) > 20


def test_a_model_that_loses_to_tfidf_is_seen_to_lose() -> None:
    html = render(content(evaluations={"dev": compared(90, 80), "test": compared(80, 85)}))
    page = Page(html)
    assert "This model loses to TF-IDF + logistic regression." in page.text
    assert "Its macro-F1 is 0.800; it is 0.850 for the simple method" in page.text
    assert ("class", "verdict loses") in page.attributes
    assert page.text.index("loses") < page.text.index("Data and split")
    assert "It beats" not in page.text


def test_a_model_that_loses_to_the_majority_class_is_seen_to_lose_to_it() -> None:
    evaluations = {"test": {"model": judged(30), "majority": judged(50), "tfidf-logistic": judged(40)}}
    assert "This model loses to Majority class." in Page(render(content(evaluations=evaluations))).text


def test_a_model_that_wins_says_by_how_much() -> None:
    text = Page(render(content())).text
    assert "It beats the simple methods. Its macro-F1 is 0.080 above TF-IDF + logistic regression" in text
    assert "loses" not in text


def test_figures_that_look_equal_are_called_level() -> None:
    text = Page(render(content(evaluations={"test": compared(85, 85)}))).text
    assert "It is level with TF-IDF + logistic regression." in text


def test_without_baselines_nothing_is_claimed() -> None:
    text = Page(render(content(evaluations={"test": {"model": judged(88)}}))).text
    assert "There is no baseline to compare with." in text
    assert "beats" not in text


def test_without_test_the_page_judges_on_dev_and_says_that_this_flatters() -> None:
    text = Page(render(content(evaluations={"dev": compared(90, 80)}, test_openings=0))).text
    assert re.search(r"0\.900 \[0\.8\d\d, 0\.9\d\d\] macro-F1 on dev", text)
    assert "Dev chose the epoch, so this flatters. Run secondcoder evaluate runs/area to open test" in text
    assert "on test" not in text
    assert "flatters" not in Page(render(content())).text


def test_a_test_part_opened_again_is_pointed_out() -> None:
    assert "treat its figures as those of dev" in Page(render(content(test_openings=4))).text
    assert "treat its figures as those of dev" not in Page(render(content())).text


def test_the_positive_class_leads() -> None:
    evaluations = {"test": compared(88, 80, positive="social")}
    text = Page(render(content(evaluations=evaluations, positive="social"))).text
    assert re.search(r"0\.880 \[[\d., ]+\] F1 of “social” on test", text)
    assert re.search(r"Of 100 texts that it calls social, 88 \[\d+, \d+\] are; of 100 that are, it finds 88 \[", text)
    assert "it calls economic" not in text


def test_an_undefined_figure_is_a_dash_and_not_a_zero() -> None:
    names = ("economic", "social", "other")
    text = Page(render(content(label_names=names, evaluations={"test": compared(88, 80, names=names)}))).text
    assert "other – – – 0 0" in text
    assert "It calls no text other." in text


def test_many_classes_are_counted_in_the_title_and_every_one_is_listed() -> None:
    names = tuple(f"class {i}" for i in range(7))
    text = Page(render(content(label_names=names, evaluations={"test": compared(88, 80, names=names)}))).text
    assert "area: 7 classes" in text
    assert all(f"F1 of “{name}”" in text for name in names)


@pytest.mark.parametrize("name", ["items", "keys", "get", "values"])
def test_a_label_named_like_a_method_does_no_harm(name: str) -> None:
    names = ("economic", name)
    parts = {"train": PartContent(10, {"economic": 7, name: 3})}
    page = content(label_names=names, parts=parts, evaluations={"test": compared(88, 80, names=names)})
    assert f"{name} 3 30.0%" in Page(render(page)).text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("macro-f1", "macro-F1"),
        ("log-loss", "log loss"),
        ("balanced-accuracy", "balanced accuracy"),
        ("f1:a:b-f1", "F1 of “a:b-f1”"),
        ("recall:pos", "recall of “pos”"),
    ],
)
def test_figures_are_named_as_people_write_them(name: str, shown: str) -> None:
    assert format_metric(name) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (4.21, "4.2 s"), (59.98, "1 min 00 s"), (131, "2 min 11 s"), (7260, "2 h 01 min")],
)
def test_times_are_said_as_people_say_them(seconds: float | None, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (True, "yes"), (False, "no"), (2e-05, "2e-05"), ((), "–"), (["a", 1], "a, 1")]
)
def test_settings_are_shown_as_text(value: object, shown: str) -> None:
    assert format_value(value) == shown
