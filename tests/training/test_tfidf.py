"""What the rival of a transformer is given: terms, strength and weights by folds of train, the rest by dev."""

from itertools import product
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from secondcoder.corpus.corpus import Corpus, Source
from secondcoder.corpus.near_duplicates import normalise
from secondcoder.evaluation.tasks import task_rules
from secondcoder.evaluation.thresholds import tune_threshold
from secondcoder.storage import read_arrays
from secondcoder.training import tfidf
from secondcoder.training.baselines import TfidfLogistic, fit_baselines
from secondcoder.training.tfidf import Learner, TfidfSettings, choose_settings, described, terms_a_kind

NAMES = ("economic", "social")
STEMS = {
    "economic": "tax trade budget invest bank tariff".split(),
    "social": "school nurse teach pension child care".split(),
}
FORMS = [
    (a, b) for a, b in product(("", "re", "over", "non", "mis"), ("", "s", "ing", "ed", "er", "wise", "ful", "less"))
]
FILLER = "the we more of our for less this about any".split()


def corpus_of(texts, labels, names=NAMES, **more) -> Corpus:
    ids = tuple(str(i) for i in range(len(texts)))
    return Corpus(
        ids=ids, texts=tuple(texts), labels=tuple(labels), label_names=names, columns=pa.table({"text": texts}),
        source=Source("test", "0"), **more,
    )  # fmt: skip


def answers(n: int, seed: int, *, forms=FORMS, wrong: float = 0.0) -> tuple[list[str], list[str]]:
    """Return short open answers whose subject is told by the stem of one word, in one of many forms."""
    random, texts, labels = Random(seed), [], []
    for i in range(n):
        label = NAMES[i % 2]
        before, after = random.choice(forms)
        words = [*random.choices(FILLER, k=2), before + random.choice(STEMS[label]) + after]
        random.shuffle(words)
        texts.append(" ".join(words))
        labels.append(label if random.random() >= wrong else NAMES[1 - i % 2])
    return texts, labels


def former(texts, labels, new):
    """Return the labels that the rival gave until November 2026: by words and pairs of words."""
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    fitted = LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)
    return fitted.fit(vectors.fit_transform(texts), labels).predict(vectors.transform(new))


def test_it_reads_words_in_forms_that_it_has_not_seen():
    texts, labels = answers(120, 0, forms=FORMS[:20])
    new, gold = answers(200, 1, forms=FORMS[20:])
    rival = TfidfLogistic().fit(corpus_of(texts, labels))
    given = np.array(NAMES)[rival.predict_proba(new).argmax(axis=1)]
    found, before = (f1_score(gold, said, average="macro") for said in (given, former(texts, labels, new)))
    assert before < 0.7
    assert found > 0.9
    assert rival.settings.kind != "words"


def test_words_are_chosen_where_characters_mislead():
    random = Random(0)
    letters = "abcdefghij"
    words = ["".join(random.choices(letters, k=2)) for _ in range(40)]
    pairs = [random.choices(words, k=2) for _ in range(200)]
    # A class by which of two words comes first: pairs of words tell it, characters within words cannot.
    texts, labels = zip(*[(" ".join(pair), NAMES[pair[0] < pair[1]]) for pair in pairs for _ in range(2)], strict=True)
    chosen = choose_settings(corpus_of([f"{text} {i % 2}" for i, text in enumerate(texts)], labels))
    assert chosen.kind != "characters"


def test_it_is_the_same_twice_and_in_any_order_of_the_rows():
    texts, labels = answers(80, 0, wrong=0.1)
    train, dev = corpus_of(texts, labels), corpus_of(*answers(40, 1, wrong=0.1))
    one, two = (TfidfLogistic().fit(train, dev) for _ in range(2))
    assert one.given == two.given
    np.testing.assert_array_equal(one.predict_proba(dev.texts), two.predict_proba(dev.texts))
    turned = TfidfLogistic().fit(train.take(range(79, -1, -1)), dev)
    assert (turned.settings.kind, turned.settings.strength) == (one.settings.kind, one.settings.strength)
    np.testing.assert_allclose(turned.predict_proba(dev.texts), one.predict_proba(dev.texts), atol=1e-3)


def folds_seen(train: Corpus, monkeypatch) -> tuple[TfidfSettings, list[tuple[set[str], set[str]]]]:
    """Return what is chosen, and of each fold what names of rows stand in it and what names in the others."""
    seen, real = [], tfidf._folds

    def spy(rows, gold, k):
        units = rows.units or rows.texts
        for fold in real(rows, gold, k):
            others = set(range(len(rows))) - set(fold.tolist())
            seen.append(({units[i] for i in fold}, {units[i] for i in others}))
            yield fold

    monkeypatch.setattr(tfidf, "_folds", spy)
    return choose_settings(train), seen


def test_no_group_stands_in_two_folds(monkeypatch):
    texts, labels = answers(90, 0)
    groups = tuple(f"g{i // 10}" for i in range(90))
    chosen, seen = folds_seen(corpus_of(texts, labels, groups=groups), monkeypatch)
    assert (chosen.grouped, chosen.folds, len(seen)) == (True, 4, 4)
    for own, others in seen:
        assert own
        assert not own & others
    assert "whole groups" in chosen.description


def test_copies_of_a_text_stand_in_one_fold(monkeypatch):
    texts, labels = answers(40, 0)
    chosen, seen = folds_seen(corpus_of(texts * 3, labels * 3), monkeypatch)
    assert (chosen.grouped, len(seen)) == (False, 4)
    for own, others in seen:
        assert not own & others


def test_texts_that_differ_in_case_and_punctuation_are_copies_and_stand_in_one_fold(monkeypatch):
    texts, labels = answers(40, 0)
    written = [form(text) for form in (str, str.upper, "{}.".format, "“{}”!".format) for text in texts]
    _, seen = folds_seen(corpus_of(written, labels * 4), monkeypatch)
    for own, others in seen:
        assert not {normalise(text) for text in own} & {normalise(text) for text in others}


def test_with_two_groups_there_are_two_folds_and_with_one_its_texts_are_divided(monkeypatch):
    texts, labels = answers(60, 0)
    two = corpus_of(texts, labels, groups=tuple(f"g{i // 30}" for i in range(60)))
    assert (choose_settings(two).folds, choose_settings(two).grouped) == (2, True)
    one = corpus_of(texts, labels, groups=("g",) * 60)
    assert (choose_settings(one).folds, choose_settings(one).grouped) == (4, False)


def test_of_many_rows_some_are_compared_on_and_fewer_of_long_texts(monkeypatch):
    monkeypatch.setattr(tfidf, "SEARCHED", 50)
    monkeypatch.setattr(tfidf, "_LEAST_SEARCHED", 30)
    texts, labels = answers(120, 0)
    chosen = choose_settings(corpus_of(texts, labels))
    assert chosen.rows == 50
    assert "on 50 texts of train" in chosen.description
    monkeypatch.setattr(tfidf, "_SEARCHED_CHARACTERS", sum(map(len, texts)) // 3)
    assert 35 < choose_settings(corpus_of(texts, labels)).rows < 45
    assert choose_settings(corpus_of([text + " and" * 200 for text in texts], labels)).rows == 30


def test_with_fewer_texts_of_a_class_than_folds_nothing_is_compared():
    train = corpus_of(
        ["cut taxes", "more trade", "budget", "school meals", "nurses"], ["economic"] * 3 + ["social"] * 2
    )
    rival = TfidfLogistic().fit(train)
    assert rival.settings == TfidfSettings(unchosen="its texts are too few")
    assert "not chosen, as its texts are too few" in rival.description
    assert rival.predict_proba(["taxes and trade"]).argmax() == 0


def test_texts_that_are_all_the_same_are_not_said_to_be_too_few():
    rival = TfidfLogistic().fit(corpus_of(["taxes"] * 40, NAMES * 20))
    assert rival.settings == TfidfSettings(unchosen="all its texts are the same")
    assert "not chosen, as all its texts are the same" in rival.description


def test_folds_that_learn_from_texts_without_words_are_no_obstacle():
    train = corpus_of([*["😀", "🎉"] * 10, "good"], [*NAMES * 10, "social"])
    rival = TfidfLogistic().fit(train)
    assert rival.settings.folds > 0
    assert rival.predict_proba(["😀", "🎉"]).argmax(axis=1).tolist() == [0, 1]


def test_where_no_text_has_words_characters_are_read():
    for n in (8, 40):
        rival = TfidfLogistic().fit(corpus_of(["😀", "🎉"] * (n // 2), NAMES * (n // 2)))
        assert rival.settings.kind == "characters"
        assert rival.predict_proba(["😀", "🎉"]).argmax(axis=1).tolist() == [0, 1]


def test_where_all_are_labelled_the_same_the_description_says_that_nothing_was_learned():
    rival = TfidfLogistic().fit(corpus_of(["taxes", "schools"], ["social", "social"]))
    assert (
        rival.description
        == "the shares of the classes in train for every text, as all texts of train are labelled the same"
    )
    assert described([rival.settings] * 3) == rival.description


def test_a_class_of_one_text_does_not_keep_others_from_being_compared():
    texts, labels = answers(60, 0)
    train = corpus_of([*texts, "weather is fine"], [*labels, "other"], ("economic", "other", "social"))
    rival = TfidfLogistic().fit(train, train)
    assert rival.settings.folds == 4
    assert rival.predict_proba(["fine weather"]).argmax() == 1


def test_characters_are_left_out_where_they_would_fill_memory(monkeypatch):
    monkeypatch.setattr(tfidf, "_MOST_ENTRIES", 1000)
    chosen = choose_settings(corpus_of(*answers(60, 0)))
    assert (chosen.kind, chosen.words_alone) == ("words", True)
    assert "words and word pairs, without characters, which would not fit into memory" in chosen.description
    assert (terms_a_kind(2), terms_a_kind(40)) == (200_000, 50_000)


def test_it_is_said_where_only_the_most_frequent_terms_are_kept(monkeypatch):
    train = corpus_of(*answers(60, 0))
    assert TfidfLogistic().fit(train).settings.most_terms is None
    assert "most frequent" not in TfidfLogistic().fit(train).description
    monkeypatch.setattr(tfidf, "MOST_TERMS", 30)
    cut = TfidfLogistic().fit(train)
    assert cut.settings.most_terms == 30
    assert ", the 30 most frequent" in cut.description


def test_the_figure_is_that_of_the_positive_class_where_there_is_one():
    chosen = choose_settings(corpus_of(*answers(60, 0), positive="social"))
    assert chosen.metric == "f1:social"
    assert "F1 of “social”" in chosen.description


def noisy() -> tuple[Corpus, Corpus]:
    """Train and dev of two classes, one rare, some of which are wrong: to be sure of them is to be too sure."""
    parts = []
    for seed, n in ((0, 120), (1, 80)):
        texts, labels = answers(n, seed, wrong=0.2)
        kept = [i for i in range(n) if labels[i] == "economic" or i % 4 < 2]
        parts.append(corpus_of([texts[i] for i in kept], [labels[i] for i in kept], positive="social"))
    return parts[0], parts[1]


def test_the_temperature_is_the_best_on_dev():
    train, dev = noisy()
    plain, fitted = TfidfLogistic().fit(train), TfidfLogistic().fit(train, dev)
    gold = np.array([NAMES.index(label) for label in dev.labels])
    p = np.clip(plain.predict_proba(dev.texts), 1e-12, 1)

    def loss(temperature: float) -> float:
        scaled = p ** (1 / temperature)
        soft = (np.eye(2)[gold] * len(gold) + 0.5) / (len(gold) + 1)  # one imagined text, as for the model
        return float(-(soft * np.log(scaled / scaled.sum(axis=1, keepdims=True))).sum())

    best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x
    assert fitted.temperature == pytest.approx(best, rel=1e-3)
    assert fitted.temperature != 1.0
    assert f"temperature {fitted.temperature:.2f}" in fitted.description
    scaled = p ** (1 / fitted.temperature)
    np.testing.assert_allclose(fitted.predict_proba(dev.texts), scaled / scaled.sum(axis=1, keepdims=True))


def test_without_a_class_on_dev_there_is_no_temperature_as_the_model_has_none():
    train, dev = noisy()
    only = dev.take([i for i, label in enumerate(dev.labels) if label == "economic"])
    assert TfidfLogistic().fit(train, only).temperature == 1.0


def test_a_threshold_is_chosen_on_dev_where_the_models_is():
    train, dev = noisy()
    assert TfidfLogistic().fit(train, dev).thresholds == {}
    tuned = TfidfLogistic().fit(train, dev, tune_threshold=True)
    p = tuned.predict_proba(dev.texts)[:, 1]
    expected = tune_threshold(np.array([label == "social" for label in dev.labels]), p)
    assert tuned.thresholds == {"social": expected}
    assert expected != 0.5
    assert f"'social' from a probability of {expected:.2f} on" in tuned.description


def several(n: int, seed: int) -> Corpus:
    """Texts of none, one or two of the classes; ``never`` is of none, ``always`` of all."""
    random, texts, labels = Random(seed), [], []
    for _ in range(n):
        own = [name for name, share in (("economic", 0.5), ("social", 0.2)) if random.random() < share]
        words = [random.choice(STEMS[name]) + random.choice(FORMS)[1] for name in own if random.random() < 0.8]
        texts.append(" ".join([*random.choices(FILLER, k=3), *words]))
        labels.append(";".join(["always", *own]))
    return corpus_of(texts, labels, ("always", "economic", "never", "social"), task="multi-label")


def labelled(n: int, seed: int) -> Corpus:
    texts, labels = answers(n, seed)
    return corpus_of(texts, labels)


def without_words(n: int, seed: int) -> Corpus:
    return corpus_of(["?!"] * n, ["economic", "social"] * (n // 2), ("economic", "social"))


@pytest.mark.parametrize("make", [labelled, several, without_words])
def test_what_was_kept_is_not_learned_again(make, tmp_path, monkeypatch):
    train, dev = make(120, 0), make(80, 1)
    first = fit_baselines(train, dev, kept=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(TfidfLogistic, "fit", lambda *args, **named: pytest.fail("learned again"))
        again = fit_baselines(train, dev, kept=tmp_path)
    assert list(again) == list(first)
    for name, baseline in first.items():
        assert again[name].given == baseline.given
        np.testing.assert_array_equal(again[name].predict_proba(dev.texts), baseline.predict_proba(dev.texts))


@pytest.mark.parametrize("damage", ["cut", "other byte", "gone"])
def test_what_was_kept_and_is_damaged_is_learned_again(damage, tmp_path):
    train, dev, kept = labelled(120, 0), labelled(80, 1), tmp_path / "tfidf.safetensors"
    first = fit_baselines(train, dev, kept=tmp_path)["tfidf-logistic"]
    whole, learned = kept.read_bytes(), read_arrays(kept)
    other = bytearray(whole)
    other[-3] ^= 1
    kept.write_bytes({"cut": whole[: len(whole) // 2], "other byte": bytes(other), "gone": b""}[damage])
    if damage == "gone":
        kept.unlink()
    again = fit_baselines(train, dev, kept=tmp_path)["tfidf-logistic"]
    np.testing.assert_array_equal(again.predict_proba(dev.texts), first.predict_proba(dev.texts))
    mended = read_arrays(kept)
    assert mended is not None
    assert learned is not None
    assert mended[1] == learned[1]


def test_of_several_labels_each_class_has_its_threshold_chosen_on_dev():
    train, dev = several(150, 0), several(100, 1)
    rival = TfidfLogistic().fit(train, dev)
    assert rival.settings.metric == "macro-f1"
    assert rival.temperature != 1.0
    p = rival.predict_proba(dev.texts)
    assert (p[:, 0] == 1).all()
    assert (p[:, 2] == 0).all()
    has = np.array([["social" in own] for own in dev.label_sets])[:, 0]
    assert rival.thresholds["social"] == pytest.approx(tune_threshold(has, p[:, 3]))
    assert list(rival.thresholds) == list(dev.label_names)
    assert TfidfLogistic().fit(train).thresholds == {}


def test_of_ordered_classes_macro_f1_counts():
    texts, labels = answers(60, 0)
    assert choose_settings(corpus_of(texts, labels, task="ordinal")).metric == "macro-f1"


def test_folds_are_described_together():
    each = [
        TfidfSettings(strength=3.0, folds=4, temperature=1.2, thresholds={"social": 0.3}),
        TfidfSettings(kind="words", balanced=False, folds=4, thresholds={"social": 0.45}),
        TfidfSettings(folds=4, temperature=0.9, thresholds={"social": 0.4}),
    ]
    said = described(each)
    assert "(2 of 3)" in said
    assert "C = 3 or 10" in said
    assert "chosen anew in each fold" in said
    assert "balanced class weights in 2 of 3 folds" in said
    assert "temperature 0.90 to 1.20, fitted on dev" in said
    assert "'social' from a probability of 0.30 to 0.45 on, chosen on dev" in said


def test_folds_in_which_nothing_was_chosen_or_learned_are_counted():
    each = [TfidfSettings(folds=4), TfidfSettings(unchosen="its texts are too few"), TfidfSettings(unlearned="so")]
    said = described(each)
    assert "(2 of 3)" in said
    assert "chosen anew in 1 of 3 folds" in said
    assert "in 1 of 3 folds the shares of the classes in train" in said
    assert "temperature" not in said


def test_what_balanced_weights_do_to_probabilities_is_said():
    random = np.random.default_rng(0)
    rare = (random.random(2000) < 0.08).astype(int)
    features = rare[:, np.newaxis] + random.normal(0, 1, (2000, 3))
    means = {}
    for balanced in (True, False):
        learner = Learner(task_rules("multi-class"), balanced=balanced)
        regressions = learner.fit(features, rare, 2, strength=10.0)
        means[balanced] = regressions.probabilities(features @ regressions.weights.T)[:, 1].mean()
    assert means[False] == pytest.approx(rare.mean(), abs=0.01)
    assert means[True] > 2 * rare.mean()
    for balanced in (True, False):
        settings = TfidfSettings(balanced=balanced, folds=4)
        assert ("calibration worse" in settings.description) is balanced
        assert ("calibration worse" in described([settings, settings])) is balanced


def test_what_was_given_comes_back_from_json():
    rival = TfidfLogistic().fit(*noisy(), tune_threshold=True)
    assert TfidfSettings.from_dict(rival.given["settings"]) == rival.settings
