from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from secondcoder.corpus.corpus import Corpus, Source
from secondcoder.errors import DataError
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.thresholds import tune_threshold
from secondcoder.training.baselines import MajorityClass, TfidfLogistic, fit_baselines

ECONOMIC = ["cut taxes for business", "raise taxes on banks", "the budget and the economy", "trade and taxes grow"]
SOCIAL = ["more nurses for hospitals", "schools need teachers", "care for pensioners"]


def corpus_of(texts: list[str], labels: list[str | None], label_names: tuple[str, ...]) -> Corpus:
    ids = tuple(str(i) for i in range(len(texts)))
    return Corpus(
        ids=ids,
        texts=tuple(texts),
        labels=tuple(labels),
        label_names=label_names,
        columns=pa.table({"text": texts}),
        source=Source("test", "0"),
    )


def manifesto(label_names: tuple[str, ...] = ("economic", "social")) -> Corpus:
    labels: list[str | None] = ["economic"] * len(ECONOMIC) + ["social"] * len(SOCIAL)
    return corpus_of(ECONOMIC + SOCIAL, labels, label_names)


def test_the_majority_class_gives_everyone_the_shares_of_train() -> None:
    probabilities = MajorityClass().fit(manifesto()).predict_proba(["anything", ""])
    np.testing.assert_allclose(probabilities, [[4 / 7, 3 / 7]] * 2)


def test_words_tell_the_classes_apart() -> None:
    probabilities = TfidfLogistic().fit(manifesto()).predict_proba(["lower taxes for banks", "teachers and nurses"])
    assert probabilities.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_words_of_one_letter_count() -> None:
    train = corpus_of(["大 家", "小 家", "大 人", "小 人"], ["big", "small", "big", "small"], ("big", "small"))
    probabilities = TfidfLogistic().fit(train).predict_proba(["大", "小"])
    assert probabilities.argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("names", [("economic", "never", "social"), ("social", "never", "economic")])
def test_columns_stand_in_label_name_order_and_a_class_without_rows_gets_zero(names: tuple[str, ...]) -> None:
    train = manifesto(names)
    for baseline in fit_baselines(train).values():
        probabilities = baseline.predict_proba(train.texts)
        assert probabilities.shape == (len(train), 3)
        assert (probabilities[:, 1] == 0).all()
        assert names[probabilities[0].argmax()] == "economic"


def test_a_class_unknown_to_train_gives_a_finite_log_loss() -> None:
    baselines = fit_baselines(manifesto(("economic", "never", "social")))
    for baseline in baselines.values():
        judged = evaluate(["never"], baseline.predict_proba(["schools"]), ("economic", "never", "social"))
        assert judged.log_loss == pytest.approx(-np.log(np.finfo(float).eps))


def test_where_nothing_can_be_learned_the_shares_of_train_are_given() -> None:
    train = corpus_of(["taxes", "schools"], ["economic", "economic"], ("economic", "social"))
    baselines = fit_baselines(train)
    np.testing.assert_array_equal(
        baselines["tfidf-logistic"].predict_proba(["taxes"]), baselines["majority"].predict_proba(["taxes"])
    )


def test_rows_without_text_or_label_teach_nothing() -> None:
    plain = manifesto()
    holed = corpus_of([*plain.texts, "", "teachers"], [*plain.labels, "social", None], plain.label_names)
    for name, baseline in fit_baselines(holed).items():
        expected = fit_baselines(plain)[name].predict_proba(SOCIAL)
        np.testing.assert_array_equal(baseline.predict_proba(SOCIAL), expected)


def test_train_without_a_usable_row_is_refused() -> None:
    with pytest.raises(DataError, match="both a text and a label"):
        fit_baselines(corpus_of(["", "taxes"], ["economic", None], ("economic", "social")))


def test_no_texts_give_no_rows() -> None:
    for baseline in fit_baselines(manifesto()).values():
        assert baseline.predict_proba([]).shape == (0, 2)


def test_a_generator_of_texts_is_read_once_and_in_order() -> None:
    for baseline in fit_baselines(manifesto()).values():
        expected = baseline.predict_proba(SOCIAL)
        np.testing.assert_array_equal(baseline.predict_proba(text for text in SOCIAL), expected)


def several(labels: list[str | None]) -> Corpus:
    texts = (ECONOMIC + SOCIAL)[: len(labels)]
    return replace(corpus_of(texts, labels, ("economic", "social", "rare")), task="multi-label")


def test_the_most_frequent_set_is_given_to_everyone_and_its_probabilities_are_near_the_shares() -> None:
    train = several(["economic;social", "economic;social", "social", "", "", "", "rare"])
    probabilities = MajorityClass().fit(train).predict_proba(["anything"])
    assert not (probabilities >= 0.5).any()  # the empty set
    np.testing.assert_allclose(probabilities, [[2 / 7, 3 / 7, 1 / 7]])
    train = several(["economic;social", "economic;social", "economic;social", "economic", "economic", "economic", ""])
    probabilities = MajorityClass().fit(train).predict_proba(["anything"])  # of equally frequent ones the smallest
    assert (probabilities >= 0.5).tolist() == [[True, False, False]]
    np.testing.assert_allclose(probabilities, [[6 / 7, 3 / 7, 0]])
    train = several(["economic;social", "economic;social", "economic;rare", "economic", "", "rare", "rare;social"])
    probabilities = MajorityClass().fit(train).predict_proba(["anything"])
    assert (probabilities >= 0.5).tolist() == [[True, True, False]]
    np.testing.assert_allclose(probabilities, [[4 / 7, 0.5, 3 / 7]])


def test_each_class_of_a_set_has_a_regression_of_its_own() -> None:
    labels: list[str | None] = ["economic", "economic", "economic", "economic;social", "social", "social", ""]
    train = several(labels)
    probabilities = TfidfLogistic().fit(train).predict_proba(["lower taxes for banks", "teachers for schools"])
    assert (probabilities >= 0.5).tolist() == [[True, False, False], [False, True, False]]
    assert (probabilities[:, 2] == 0).all()  # no text of train has it
    found = evaluate([("economic",), ("social",)], probabilities, train.label_names, task="multi-label")
    assert found.figure("exact-match") == 1.0


def test_the_rival_has_thresholds_too_chosen_on_dev() -> None:
    random = np.random.default_rng(0)
    rare = random.random(300) < 0.1
    words = np.where(rare[:, None], random.integers(0, 12, (300, 4)), random.integers(3, 15, (300, 4)))
    texts = [" ".join(f"word{w}" for w in row) for row in words]
    labels: list[str | None] = ["rare" if own else "" for own in rare]
    train = replace(corpus_of(texts, labels, ("rare", "never")), task="multi-label")
    learned, chosen = train.take(range(200)), train.take(range(200, 300))
    baseline = TfidfLogistic().fit(learned, chosen)
    expected = tune_threshold(rare[200:], baseline.predict_proba(chosen.texts)[:, 0])
    assert expected != 0.5
    assert baseline.thresholds == {"rare": expected, "never": 0.5}
    few = replace(corpus_of(texts, ["rare"] * 2 + [""] * 298, ("rare", "never")), task="multi-label")
    assert TfidfLogistic().fit(few).thresholds == {}
