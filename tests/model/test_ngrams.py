import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from secondcoder.model.ngrams import Terms, _Table, counters, gram_matrix, has_words

TEXTS = ["We cut taxes, we cut them!", "a  b\tc\n", "Ünïcode — „Größe“", "1234567 sevens", "", "no\u00a0break"]
NEW = ["they cut the Grösse", "zzz", " "]


def test_characters_are_those_of_scikit_learn() -> None:
    theirs = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    ours = Terms("characters", 10**6)
    expected, found = (
        np.vstack([terms.fit_transform(TEXTS).toarray(), terms.transform(NEW).toarray()]).round(12)
        for terms in (theirs, ours)
    )
    # Columns have another order; those that are alike in all texts stand for each other.
    np.testing.assert_allclose(*(columns[:, np.lexsort(columns)] for columns in (found, expected)), atol=1e-11)
    assert expected[-3].any()


@pytest.mark.parametrize("kind", ["words", "characters", "both"])
def test_only_the_most_frequent_terms_are_kept(kind) -> None:
    terms = Terms(kind, 3)
    width = terms.fit_transform(["aa aa aa ab", "aa ab aa", "xyz"]).shape[1]
    assert width == {"words": 3, "characters": 3, "both": 6}[kind]
    assert terms.full
    wide = Terms(kind, 1000)
    wide.fit_transform(["aa aa aa ab", "aa ab aa", "xyz"])
    assert not wide.full
    found = terms.transform(["aa", "zzz"]).toarray()
    assert (found[0] > 0).any()
    assert not found[1].any()


def test_the_gram_matrix_is_that_of_terms_learned_from_some_of_the_texts() -> None:
    texts = [f"{'common ' * (i % 2)}only{i} few{i // 30}" for i in range(90)]  # columns that are dense, and others
    learned = np.arange(0, 90, 2)
    theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit([texts[i] for i in learned]).transform(texts)
    (counter,) = counters("words", 10**6)
    found = gram_matrix(counter.fit_transform(texts), learned)
    np.testing.assert_allclose(found, (theirs @ theirs.T).toarray(), atol=1e-12)


def test_texts_have_nothing_in_common_where_no_term_was_learned() -> None:
    (counter,) = counters("words", 10**6)
    found = gram_matrix(counter.fit_transform(["😀", "🎉", "good"]), np.array([0, 1]))
    np.testing.assert_array_equal(found, np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("texts", "expected"), [(["!?", "…"], False), (["!?", "a"], True), (["大"], True), ([], False)]
)
def test_words_are_letters_or_digits(texts, expected) -> None:
    assert has_words(texts) is expected


def test_words_and_pairs_are_counted_as_by_scikit_learn() -> None:
    theirs = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, max_features=9)
    ours = Terms("words", 9)
    new = ["we cut, cut them We", "„Größe“ 1234567", "zzz them", "", "a b a b a", "ΟΔΟΣ cut"]
    expected = [theirs.fit_transform(TEXTS), theirs.transform(new)]
    for one, other in zip(expected, [ours.fit_transform(TEXTS), ours.transform(new)], strict=True):
        np.testing.assert_allclose(one.toarray(), other.toarray(), atol=1e-12)


def test_numbers_are_found_among_known_ones() -> None:
    random = np.random.default_rng(0)
    for n in (0, 1, 2, 1000):
        known = np.unique(random.integers(0, 2**63, n, dtype=np.uint64))
        keys = np.concatenate([known, known + np.uint64(1), np.zeros(1, np.uint64)])
        expected = {key: place for place, key in enumerate(known.tolist())}
        found = _Table(known).places(keys)
        assert found.tolist() == [expected.get(key, len(known)) for key in keys.tolist()]


def test_products_are_those_of_the_matrix() -> None:
    terms = Terms("both", 1000)
    weights = np.random.default_rng(0).normal(size=(terms.fit_transform(TEXTS).shape[1], 2)).astype(np.float32)
    np.testing.assert_allclose(terms.products(NEW, weights), terms.transform(NEW) @ weights, atol=1e-12)
