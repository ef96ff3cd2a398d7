"""Copies that differ in case, blanks and outer punctuation: they go together, and are named where they do not."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.corpus.checks import check
from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.corpus.leaks import MAY_DIFFER
from secondcoder.errors import SplitError
from secondcoder.splits.folds import make_folds
from secondcoder.splits.split import Split, split
from tests.corpus.make import make_corpus
from tests.splits.test_split import assert_sound, kinds, sizes

FIRST = "Crime Schools Health Taxes Immigration Housing Wages Buses Pensions Police Climate Debt".split()
SECOND = "roads jobs prices rents parking trees dogs noise doctors youth".split()
ANSWERS = [f"{one} and {two}" for one in FIRST for two in SECOND]
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.lower,
    lambda text: text.upper() + " ",
    lambda text: text.lower() + ".",
    lambda text: text.replace(" ", "  ") + "!",
)


def survey(**changes: object) -> Corpus:
    """600 open answers: 120 different ones, each in five spellings."""
    texts = [spell(answer) for answer in ANSWERS for spell in SPELLINGS]
    order = np.random.default_rng(3).permutation(600).tolist()
    labels = ["ab"[i // 5 % 2] for i in order]
    return make_corpus([texts[i] for i in order], labels, **changes)  # type: ignore[arg-type]


def plain(text: str) -> str:
    """The answer behind a spelling; written without the code that is tested."""
    return " ".join(text.lower().strip(" .!").split())


def in_train_or_dev(found: Split) -> int:
    """How many rows of test are an answer that train or dev has."""
    learned = {plain(text) for part in (found.train, found.dev) for text in part.texts}
    return sum(plain(text) in learned for text in found.test.texts)


@pytest.mark.parametrize("by", ["stratified", "random"])
@pytest.mark.parametrize("seed", range(4))
def test_no_answer_of_a_survey_stands_in_test_and_in_train_however_it_is_spelled(by: str, seed: int) -> None:
    corpus = survey()
    found = split(corpus, by=by, seed=seed)
    assert_sound(found, corpus)
    assert (in_train_or_dev(found), found.unused) == (0, ())
    assert sizes(found) == {"train": 360, "dev": 120, "test": 120}


def test_groups_that_share_an_answer_in_another_spelling_are_joined() -> None:
    corpus = survey(groups=[f"person {i}" for i in range(600)])
    found = split(corpus)
    assert (found.by, in_train_or_dev(found), found.unused) == ("group", 0, ())
    assert "groups-joined" in kinds(found)


def test_where_groups_are_too_large_to_join_no_row_is_left_out_for_a_spelling_and_the_leak_is_told() -> None:
    corpus = survey(groups=[f"region {i % 6}" for i in range(600)])
    found = split(corpus)
    assert_sound(found, corpus)  # word for word, no text stands in two parts
    learned = {text for part in (found.train, found.dev) for text in part.texts}
    leaks = in_train_or_dev(found)
    assert leaks > 20
    assert not learned & set(found.test.texts)
    (finding,) = [one for one in found.findings if one.kind == "near-duplicate-in-two-parts"]
    assert finding.severity == "warning"
    assert f"of test {leaks:,} of {len(found.test):,} rows" in finding.message


@pytest.mark.parametrize("groups", [None, [f"person {i}" for i in range(600)]])
def test_no_fold_is_judged_by_a_model_that_learned_an_answer_in_another_spelling(groups: list[str] | None) -> None:
    for fold in make_folds(survey(groups=groups), 5, dev=0.25, seed=2):
        parts = [{plain(text) for text in part.texts} for part in (fold.judged, fold.train, fold.dev)]
        assert not any(one & other for one, other in itertools.combinations(parts, 2))
        assert len(fold.rows) == 120


def test_a_given_split_with_such_copies_is_refused_and_told_and_can_be_allowed() -> None:
    corpus = survey(parts=["train"] * 360 + ["dev"] * 120 + ["test"] * 120)
    with pytest.raises(
        SplitError, match=r"1[0-2][0-9] of the 120 rows of the given test part .* nearly \(but for case"
    ):
        split(corpus)
    allowed = split(corpus, allow_leaks=True)
    assert (sizes(allowed)["test"], kinds(allowed)[0]) == (120, "leaks-allowed")


def test_one_such_copy_in_a_given_split_is_a_finding_and_stays() -> None:
    texts = [f"answer number {i}" for i in range(400)]
    texts[0], texts[300] = "We will cut taxes for all.", "we will cut  taxes for all!"
    corpus = make_corpus(texts, ["a", "b"] * 200, parts=["train"] * 200 + ["dev"] * 100 + ["test"] * 100)
    found = split(corpus)
    assert (sizes(found), found.unused) == ({"train": 200, "dev": 100, "test": 100}, ())
    (finding,) = found.findings
    assert (finding.kind, finding.rows, finding.severity) == ("near-duplicate-in-two-parts", 2, "warning")
    assert "of test 1 of 100 rows" in finding.message
    assert finding.examples == ("r300 ~ r0 (1.00): 'we will cut taxes for all!' / 'We will cut taxes for all.'",)


def test_copies_in_another_spelling_are_never_called_mistakes_nor_a_text_under_two_labels() -> None:
    texts = [f"answer number {i}" for i in range(60)]
    texts[0], texts[1], texts[2] = "Not at all!", "not at all", "NOT  AT ALL?"
    found = check(make_corpus(texts, ["a", "b", "c"] * 20), split=None)
    (finding,) = [one for one in found.findings if "near" in one.kind or "text" in one.kind]
    assert (finding.kind, finding.severity, finding.rows, finding.cure) == ("near-duplicate", "note", 3, MAY_DIFFER)
    assert "mistake" not in finding.cure.lower() + finding.message.lower()
    assert "remove" not in finding.cure.lower() + finding.message.lower()


def test_a_boilerplate_of_280_characters_is_told_without_advice_to_remove_it() -> None:
    rng = np.random.default_rng(0)
    shared = " ".join(rng.choice(FIRST + SECOND, 44))[:280]
    own = ["".join(rng.choice(list("abcdefghijklmnop"), 36)) for _ in range(60)]
    corpus = make_corpus([f"{shared} {text}" for text in own], ["a", "b"] * 30)
    (finding,) = [one for one in check(corpus).findings if one.kind == "near-duplicate"]
    assert finding.rows == 60
    assert "0.8" in finding.examples[0] or "0.9" in finding.examples[0]
    assert finding.cure == MAY_DIFFER


def test_texts_of_nothing_but_punctuation_or_emoji_are_copies_of_themselves_alone() -> None:
    texts = [f"answer number {i}" for i in range(60)]
    texts[:6] = ["?!", "?!", "...", "!!", "\U0001f600", "\U0001f621"]
    found = split(make_corpus(texts, ["a", "b"] * 30))
    assert kinds(found) == []
    assert found.part_of()["r0"] == found.part_of()["r1"]


@given(st.integers(0, 10**6), st.sampled_from(["random", "stratified"]))
@settings(max_examples=40, deadline=None)
def test_whatever_the_spellings_and_the_order_of_the_rows_an_answer_stands_in_one_part(seed: int, by: str) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 160))
    texts = [SPELLINGS[int(rng.integers(5))](ANSWERS[int(rng.integers(60))]) for _ in range(n)]
    corpus = make_corpus(texts, [str(label) for label in rng.choice(["a", "b"], n)])
    found = split(corpus, by=by, seed=seed)
    parts = [{plain(text) for text in getattr(found, part).texts} for part in PARTS]
    assert not any(one & other for one, other in itertools.combinations(parts, 2))
    again = split(corpus.take(rng.permutation(n).tolist()), by=by, seed=seed)
    assert again.part_of() == found.part_of()


def test_few_groups_are_told_before_training_with_what_gives_the_figure_for_a_paper() -> None:
    texts = [f"sentence number {i}" for i in range(240)]
    corpus = make_corpus(texts, ["a", "b"] * 120, groups=[f"manifesto {i // 20}" for i in range(240)])
    (finding,) = [one for one in split(corpus).findings if one.kind == "few-groups"]
    n = len(set(split(corpus).test.groups or ()))
    assert (
        finding.message
        == f"The texts come from 12 groups, {n} of them in test: figures on test tell little about others."
    )
    assert "secondcoder evaluate RUN --folds 5" in finding.cure
    assert "opens the test part" in finding.cure
    four = split(replace(corpus, groups=tuple(f"g{i // 60}" for i in range(240))))
    assert "--folds 4." in next(one.cure for one in four.findings if one.kind == "few-groups")
    assert "few-groups" not in kinds(split(replace(corpus, groups=tuple(f"g{i // 12}" for i in range(240)))))
    assert "few-groups" not in kinds(split(replace(corpus, groups=None)))
