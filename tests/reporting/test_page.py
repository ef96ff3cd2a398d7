import re
from dataclasses import replace

import numpy as np
import pytest

from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.comparison import Comparison, Difference
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.intervals import Interval
from secondcoder.evaluation.multiclass import compare
from secondcoder.reporting.card import render_card
from secondcoder.reporting.content import PartContent
from secondcoder.reporting.formatting import format_duration, format_metric, format_value
from secondcoder.reporting.page import render
from tests.reporting.made import Page, compared, content, judged


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time would go into pictures; test_full_page.py has them."""
    monkeypatch.setattr("secondcoder.reporting.plots.draw_all", lambda content, shown: {})


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
    assert "It beats the baselines. Its macro-F1 is 0.080 above TF-IDF + logistic regression" in text
    assert "loses" not in text


def test_figures_that_look_equal_are_called_level() -> None:
    text = Page(render(content(evaluations={"test": compared(85, 85)}))).text
    assert "It is level with TF-IDF + logistic regression." in text


def test_without_baselines_nothing_is_claimed() -> None:
    text = Page(render(content(evaluations={"test": {"model": judged(88)}}))).text
    assert "There is no baseline to compare with." in text
    assert "beats" not in text


def test_without_test_the_page_judges_on_dev_and_says_that_this_is_optimistic() -> None:
    text = Page(render(content(evaluations={"dev": compared(90, 80)}, test_openings=0))).text
    assert re.search(r"0\.900 \[0\.8\d\d, 0\.9\d\d\] macro-F1 on dev", text)
    assert "Dev chose the epoch, so this is optimistic. Run secondcoder evaluate runs/area to open test" in text
    fitted = {"dev": {"model": replace(judged(90, temperature=1.4), thresholds={"social": 0.3})}}
    text = Page(render(content(evaluations=fitted, test_openings=0))).text
    assert "Dev chose the epoch, the temperature and the threshold, so this is optimistic." in text
    assert "on test" not in text
    assert "is optimistic" not in Page(render(content())).text


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


def test_folds_are_offered_where_groups_are_few_and_not_where_they_are_there_or_groups_are_many() -> None:
    offer = "secondcoder evaluate runs/area --folds 5"
    few = content(evaluations={"test": {"model": judged(88, n_groups=19)}})
    many = content(evaluations={"test": {"model": judged(88, n_groups=20)}})
    assert offer in Page(render(few)).text
    assert "Few documents. The test texts come from 19 groups" in Page(render(few)).text
    assert "intraclass correlation" in Page(render(few)).text
    for absent in ("For these documents only", "Few documents", offer):
        assert absent not in Page(render(many)).text
    assert offer not in Page(render(content(evaluations={**few.evaluations, "folds": few.evaluations["test"]}))).text


def test_allowed_leaks_stand_on_the_first_screen() -> None:
    finding = Finding("leaks-allowed", "warning", "23 test texts are nearly the same as one in train.")
    text = Page(render(content(findings=[finding]))).text
    assert text.index("Leaks were allowed. 23 test texts") < text.index("Data and split")
    assert "Leaks were allowed" not in Page(render(content())).text


def test_a_simple_method_ahead_by_chance_is_no_defeat_and_how_to_train_it_is_said():
    gold, names = np.tile([0, 1], 50), ["economic", "social"]
    right, chance = np.eye(2)[gold] * 0.8 + 0.1, np.full((100, 2), 0.5)
    almost = right.copy()
    almost[0] = almost[0, ::-1]
    labels = [names[i] for i in gold]
    for model, certain in ((chance, True), (almost, False)):
        lead = compare(gold, right, model, tuple(names))
        figures = {
            "model": evaluate(labels, model, names),
            "majority": evaluate(labels, chance, names),
            "embedding-logistic": evaluate(labels, right, names),
        }
        leads = {"test": {"embedding-logistic": lead}}
        page = Page(render(content(evaluations={"test": figures}, leads=leads))).text
        assert ("Do not use this model as it is" in page) == certain
        assert ("The difference may be chance." in page) != certain
        assert "--recipe frozen trains the simple method." in page


def test_a_lead_that_may_be_chance_is_not_sold_as_certain():
    gold = np.tile([0, 1], 50)
    right, chance = np.eye(2)[gold] * 0.8 + 0.1, np.full((100, 2), 0.5)
    almost = right.copy()
    almost[0] = almost[0, ::-1]
    for baseline, certain in ((chance, True), (almost, False)):
        lead = compare(gold, baseline, right, ("economic", "social"))
        names = ["economic", "social"]
        labels = [names[i] for i in gold]
        figures = {
            "model": evaluate(labels, right, names),
            "majority": evaluate(labels, baseline, names),
        }
        page = Page(render(content(evaluations={"test": figures}, leads={"test": {"majority": lead}}))).text
        assert ("may be chance" not in page) == certain
        assert ("It beats the baselines" in page) == certain
        assert ("not shown to be better than the baselines" not in page) == certain
        assert "interval of the lead" in page


@pytest.mark.parametrize(("method", "by"), [("paired-t", "text by text"), ("paired-jackknife-t", "group by group")])
def test_the_lead_is_said_to_be_paired_by_what_was_swapped(method: str, by: str) -> None:
    figures = {who: evaluation for who, evaluation in compared(88, 60).items() if who != "majority"}
    found = Difference("macro-f1", 0.6, 0.88, 0.28, Interval(0.1, 0.4, method), 0.001)
    leads = {"test": {"tfidf-logistic": Comparison(100, ("economic", "social"), "macro-f1", (found,), 0.7, None)}}
    assert (
        f"interval of the lead, {by}: +0.100 to +0.400"
        in Page(render(content(evaluations={"test": figures}, leads=leads))).text
    )


def test_a_lead_on_a_part_that_lacks_a_class_is_not_judged():
    gold = np.zeros(40, dtype=np.int64)
    right, worse = np.tile([0.9, 0.1], (40, 1)), np.tile([0.9, 0.1], (40, 1))
    worse[:9] = [0.1, 0.9]
    names = ["economic", "social"]
    figures = {
        "model": evaluate(["economic"] * 40, right, names),
        "majority": evaluate(["economic"] * 40, worse, names),
    }
    lead = compare(gold, worse, right, names)
    page = Page(render(content(evaluations={"test": figures}, leads={"test": {"majority": lead}}))).text
    assert "It beats the baselines" not in page
    assert "Whether that is more than chance cannot be said: class 'social' is not in this part." in page


def test_a_class_that_no_test_text_has_is_said_beside_the_headline() -> None:
    lacking = evaluate(["economic"] * 50, [[0.9, 0.1]] * 50, ["economic", "social"])
    text = Page(render(content(evaluations={"test": {"model": lacking}}))).text
    at = text.index("No text judged here is “social”: macro-F1 is the mean over the other classes")
    assert at < text.index("There is no baseline to compare with")
    assert "No text judged here is “social”" in render_card(content(evaluations={"test": {"model": lacking}}))


def test_that_a_baseline_says_the_same_of_every_text_is_told_with_its_exact_figures() -> None:
    majority = evaluate(["economic"] * 30 + ["social"] * 20, [[0.6, 0.4]] * 50, ["economic", "social"])
    text = Page(render(content(evaluations={"test": {"model": judged(44, 50), "majority": majority}}))).text
    assert (
        "Majority class labels every text alike, so that its figures without brackets do not depend on which texts "
        "were drawn."
    ) in text
