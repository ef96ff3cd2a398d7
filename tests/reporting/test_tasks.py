"""Reports of tasks with several classes a text, and with ordered classes: no sentence that is wrong there."""

import re

import pytest

from secondcoder.reporting.card import render_card
from secondcoder.reporting.content import read
from secondcoder.reporting.methods import methods
from secondcoder.reporting.page import render
from tests.reporting.made import Page, ordered_content, sets_content

MANY = ("economic", "welfare", "defence", "farming", "schools", "crime", "other")


@pytest.fixture(scope="module")
def sets_page() -> Page:
    return Page(render(sets_content()))


def test_the_page_of_sets_is_whole_and_says_what_holds_for_them(sets_page):
    assert not sets_page.faults
    text = sets_page.text
    assert "Which of economic, social and other?" in text
    assert re.search(r"Of 100 texts that it calls economic, \d+ \[\d+, \d+\] are; of 100 that are, it finds \d+", text)
    assert "get exactly the classes that a person gave" in text
    for said in (
        "rightly not given", "How many classes a text has", "Most frequent set", "a regression for each class",
        "exact match", "Hamming loss", "from 0, best, to 1", "have not exactly the classes given by hand",
        "from which probability on each class is given", "shares need not add up", "given from",
        "sure that it is not", "confident learning, for each class by itself", "its least sure decision",
        "share that has the class",
    ):  # fmt: skip
        assert said in text, said
    assert re.search(r"by hand [\w, ]+ · model [\w, ]+, \d\d\.\d% sure that it is (not )?(economic|social|other)", text)


def test_the_page_of_sets_says_nothing_that_is_wrong_there(sets_page):
    for wrong in (
        "Confusion matrix", "the most frequent label", "Majority class", "equal the accuracy",
        "balanced accuracy",
        "from 0, best, to 2", "gives a label with a probability", "most probable class", "economic, social or other",
        "the label that the model gave", "get the label that a person gave",
    ):  # fmt: skip
        assert wrong not in sets_page.text, wrong


def test_with_many_classes_the_most_given_one_leads():
    page = Page(render(sets_content(names=MANY)))
    assert not page.faults
    assert "which of 7 classes" in page.text
    assert re.search(r"Of 100 texts that it calls \w+, the class that it gives most, \d+ \[\d+, \d+\] are\.", page.text)


def test_before_test_is_opened_the_thresholds_are_said_to_be_optimistic():
    content = sets_content()
    page = Page(render(sets_content(evaluations={"dev": content.evaluations["dev"]}, test_openings=0)))
    assert "it was chosen on dev, so that these figures are optimistic" in page.text


def test_the_card_and_the_methods_of_sets():
    content = sets_content()
    card, found = render_card(content), methods(content, read(content))
    assert "which of economic, social and other?" in card
    assert "top_k=None" in card
    assert "economic 0.400, social 0.420, other 0.440" in card
    assert "| exact match |" in card
    assert "accuracy |" not in card
    text = " ".join(found.paragraphs)
    assert "any number of which a text may have" in text
    assert "0.40 to 0.44" in text
    assert "of the probabilities of all classes" in text
    assert "Their unit is the group (12)" in text
    assert "shares of all texts or decisions have Wilson’s (1927) limits" in text
    assert "most probable class" not in text
    assert "the most frequent set" in text
    assert any("Lipton" in reference for reference in found.references)


def test_the_page_of_ordered_classes_says_how_far_off_labels_are():
    content = ordered_content()
    page = Page(render(content))
    assert not page.faults
    for said in (
        "The classes have an order, from left to right", "How far off", "nothing: right", "1 step", "2 steps",
        "quadratic kappa", "mean absolute error", "the farther from the diagonal, the worse",
        "that one or its neighbour",
        "left, centre or right?", "Confusion matrix",
    ):  # fmt: skip
        assert said in page.text, said
    found = methods(content, read(content))
    text = " ".join(found.paragraphs)
    assert "ordered classes, from low to high “left”, “centre” and “right”" in text
    assert "quadratic kappa 0." in text
    assert {"Cohen", "Fleiss"} <= {reference.split(",")[0] for reference in found.references}
    card = render_card(content)
    assert "| quadratic kappa |" in card
    assert "ordered from low to high" in card
