from dataclasses import replace

from secondcoder.reporting.content import ReportContent, read
from secondcoder.reporting.methods import INTERVALS, REFERENCES, methods
from tests.reporting.made import NAMES, content, full_content, judged, sets_content


def said(made: ReportContent) -> tuple[str, str]:
    found = methods(made, read(made))
    return " ".join(found.paragraphs), " ".join(found.references)


def test_the_paragraph_tells_what_was_done() -> None:
    text, references = said(full_content())
    for expected in (
        "Texts were classified into “economic” and “social” (variable “area”)",
        "Of 1,434 hand-coded texts, 1,234 trained the classifier (train), 65 chose among its epochs (dev) and 100",
        "drawn by manifesto, so that none stands in two: 7 in train, 2 in dev and 3 in test.",
        "Of 3 trainings with different random seeds (on dev: mean 0.864, standard deviation 0.007)",
        "a temperature of 1.40, fitted on dev by log loss (Guo et al. 2017)",
        "On the test part (100 texts from 3 groups), the classifier reaches macro-F1 0.880 [",
        "Their unit is the group (3)",
        "The test part was opened once.",
    ):
        assert expected in text
    for author in ("Guo", "Wilson", "Zou", "Lam", "MacKinnon", "Naeini", "Brier", "Geifman", "Wolf"):
        assert f"{author}, " in references


def test_nothing_is_cited_that_was_not_done() -> None:
    text, references = said(content(evaluations={}, lengths=None, history=[], test_openings=0))
    assert "Guo" not in text + references
    assert "Brier" not in text + references
    assert "test part" not in text
    assert references.count("doi:") == 1  # the library beneath


def test_rows_that_are_independent_are_not_said_to_come_in_groups() -> None:
    text, references = said(content(evaluations={"test": {"model": judged(88)}}, group_column=None, split_by="random"))
    assert "unit is the group" not in text
    assert "MacKinnon" not in references
    assert "The parts were drawn at random." in text


def test_every_kind_of_interval_that_is_given_has_its_words_and_its_paper() -> None:
    evaluations = [judged(88), judged(88, n_groups=12), judged(70, names=(*NAMES, "other"))]
    given = {i.method.removeprefix("grouped-") for e in evaluations for i in e.intervals.values() if i}
    assert given <= set(INTERVALS)
    assert all(key in REFERENCES for _, keys in INTERVALS.values() for key in keys)


def test_how_it_was_chosen_and_what_it_learned_is_told() -> None:
    made = content()
    plain, _ = said(made)
    assert "share of coders" not in plain
    assert "cross-validation on the train part" not in plain
    assert "trials" not in plain
    more = {
        "recipe": "full",
        "recipes_on_train": "frozen 0.800, full 0.820",
        "tuned": "the best on dev of 20 trials",
        "label_shares": ["n_e", "n_s"],
        "class_weights": "balanced",
    }
    text, _ = said(replace(made, settings=made.settings | more))
    assert "The recipe “full” was chosen by cross-validation on the train part (frozen 0.800, full 0.820)." in text
    assert "they are the best on dev of 20 trials." in text
    assert "It learned the share of coders that gave each class" in text
    assert "so that each counts the same" in text
    assert "share of coders" not in said(replace(made, settings=made.settings | more, best_epoch=0))[0]
    frozen = made.settings | more | {"epochs": 0, "recipe": "frozen"}
    assert "The recipe “frozen” was chosen" in said(replace(made, settings=frozen))[0]
    sets = sets_content()
    text, _ = said(replace(sets, settings=sets.settings | {"class_weights": "balanced"}))
    assert "so that having and not having it count the same" in text
