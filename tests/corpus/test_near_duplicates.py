import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.corpus.near_duplicates import SIMILAR, NearDuplicates, find_near_duplicates, normalise, similar_pairs

WORDS = "tax school health pension police europe border farm energy housing crime growth wage rail youth peace".split()


def sentence(rng: np.random.Generator, n_words: int) -> str:
    return " ".join(rng.choice(WORDS, n_words)) + f" {rng.integers(10**6)}"


def cosine(one: str, other: str) -> float:
    a, b = ({text[i : i + 5] for i in range(len(text) - 4)} for text in (normalise(one), normalise(other)))
    return len(a & b) / math.sqrt(len(a) * len(b))


def pairs(found: NearDuplicates) -> set[tuple[int, int]]:
    """The pairs of rows, where every text stands on one."""
    return {
        tuple(sorted((found.copies[i][0], found.copies[j][0]))) for i, j in zip(found.first, found.second, strict=True)
    }


def changed_texts(seed: int, n: int) -> list[str]:
    """Texts of different lengths, some of them made from others by changes of all sizes; all different."""
    rng = np.random.default_rng(seed)
    texts = {sentence(rng, int(rng.integers(5, 40))): None for _ in range(n)}
    for text in list(texts):
        if rng.random() < 0.6:
            words = text.split()
            for _ in range(int(rng.integers(1, 8))):
                words[int(rng.integers(len(words)))] = str(rng.choice(WORDS))
            cut = int(rng.integers(0, 1 + len(words) // 3))
            texts[" ".join(words[cut:])] = None
    return [text for text in texts if len(text) >= 30]


@given(st.integers(0, 10**6), st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_all_pairs_from_the_threshold_on_are_found_and_no_others(seed: int, n: int) -> None:
    texts = changed_texts(seed, n)
    found = find_near_duplicates(texts, range(len(texts)))
    expected = {
        (i, j) for i, j in itertools.combinations(range(len(texts)), 2) if cosine(texts[i], texts[j]) >= SIMILAR - 1e-12
    }
    assert found.is_exact
    assert pairs(found) == expected
    for i, j, close in zip(found.first, found.second, found.closeness, strict=True):
        own = cosine(texts[found.copies[i][0]], texts[found.copies[j][0]])
        assert close == pytest.approx(own * own * 1e6, abs=1.001)
    assert list(found.closeness) == sorted(found.closeness, reverse=True)


def test_a_pair_exactly_at_the_threshold_counts() -> None:
    # 20 and 20 different 5-grams, 16 of them shared: a cosine of exactly 0.8
    alphabet = "abcdefghijklmnopqrstuvwxyzäöüßéèà"
    one, other = alphabet[:20] + "1234", alphabet[:20] + "5678"
    assert cosine(one, other) == 0.8
    first, _, closeness, _ = similar_pairs(sorted([one, other]))
    assert (len(first), closeness[0]) == (1, 640_000)
    first, *_ = similar_pairs(sorted([one + "9", other + "0"]))
    assert len(first) == 0


def test_hashing_finds_nearly_all_of_the_pairs_and_no_others() -> None:
    texts = sorted(set(changed_texts(3, 1500)))
    exact = set(zip(*map(list, similar_pairs(texts)[:2]), strict=True))
    *found, is_exact = similar_pairs(texts, exact_up_to=0)
    hashed = set(zip(*map(list, found[:2]), strict=True))
    assert not is_exact
    assert hashed <= exact
    assert len(exact) > 100
    assert len(hashed) > 0.97 * len(exact)


def test_copies_of_a_form_letter_become_one_set_without_comparing_all_with_all() -> None:
    rng = np.random.default_rng(0)
    letter = sentence(rng, 60)
    texts = [f"{letter} Yours, {sentence(rng, 2)}" for _ in range(400)] + changed_texts(1, 100)
    found = find_near_duplicates(texts, range(len(texts)))
    assert len(found.first) >= 400 * 399 / 2
    first, second, closeness, is_exact = similar_pairs(sorted(texts), most_work=100_000)
    assert not is_exact
    assert len(first) < 20_000
    hashed = NearDuplicates(tuple((row,) for row in range(len(texts))), first, second, closeness, is_exact)
    assert max(map(len, hashed.clusters(10**6))) == 400


def test_case_blanks_and_unicode_forms_make_no_difference() -> None:
    text = "The caf\u00e9 on the corner of the \ufb01rst street"
    same = ["THE CAFE\u0301  on the corner\nof the first street ", text, text]
    found = find_near_duplicates(same, range(3))
    assert found.copies == ((0, 1, 2),)
    assert found.clusters(10) == [(0, 1, 2)]
    assert found.rows(same) == [0, 1, 2]


def test_exact_copies_alone_are_no_near_duplicates() -> None:
    texts = ["We will cut the basic rate of income tax."] * 3
    found = find_near_duplicates(texts, range(3))
    assert found.rows(texts) == []
    assert found.closest(texts) == {}


def test_short_texts_are_not_compared() -> None:
    found = find_near_duplicates(["Yes, I agree.", "Yes, I do agree.", "Yes, I did agree."], range(3))
    assert (sorted(found.copies), len(found.first)) == ([(0,), (1,), (2,)], 0)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Crime and roads", "CRIME  and\nroads "),
        ("Crime and roads", "crime and roads."),
        ("Crime and roads", "\u201cCrime and roads \u2026 !\u201d"),
        ("We will cut taxes for all.", "we will cut  taxes for all!"),
        ("\u201cNo\u201d", "no"),
        ("\ufb01rst", "FIRST?"),
        ("Stra\u00dfe", "STRASSE"),
    ],
)
def test_copies_differ_in_case_blanks_and_outer_punctuation_at_any_length(text: str, same: str) -> None:
    assert normalise(text) == normalise(same)
    found = find_near_duplicates([text, same], range(2))
    assert (found.copies, found.rows([text, same])) == (((0, 1),), [0, 1])


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("?!", "..."),
        ("?", "??"),
        ("\U0001f600", "\U0001f621"),
        ("+1", "1"),
        ("it's", "its"),
        ("well-known", "well known"),
    ],
)
def test_texts_of_punctuation_or_emoji_alone_and_marks_within_make_no_copies(text: str, other: str) -> None:
    assert normalise(text) != normalise(other)
    assert find_near_duplicates([text, other, text], range(3)).clusters(3) == [(0, 2)]


def test_negations_and_sums_of_money_make_near_duplicates_of_long_texts_and_no_copies() -> None:
    texts = [
        "We will raise the tax on fuel for lorries by 5 % in 2027",
        "We will not raise the tax on fuel for lorries by 5 % in 2027",
    ]
    found = find_near_duplicates(texts, range(2))
    assert (sorted(found.copies), len(found.first)) == ([(0,), (1,)], 1)


def test_texts_in_scripts_beyond_the_basic_plane_are_compared() -> None:
    one = "".join(chr(0x1F600 + i) for i in range(60))
    found = find_near_duplicates([one, one[:-2] + "!?", "x" * 80], range(3))
    assert pairs(found) == {(0, 1)}


def test_no_texts_have_no_pairs() -> None:
    found = find_near_duplicates([], [])
    assert (len(found.first), found.clusters(3), found.across({}, [], [])) == (0, [], {})
    assert len(similar_pairs([], exact_up_to=-1)[0]) == 0


def chain(n: int) -> list[str]:
    """Texts of which each is nearly the next, and the first is nothing like the last."""
    rng = np.random.default_rng(5)
    words = [f"{rng.choice(WORDS)}{rng.integers(1000)}" for _ in range(20 + n)]
    return [" ".join(words[i : i + 20]) for i in range(n)]


def test_a_chain_is_one_set_unless_that_becomes_too_large() -> None:
    texts = chain(30)
    assert cosine(texts[0], texts[29]) < 0.3
    found = find_near_duplicates(texts, range(30))
    assert len(found.clusters(30)) == 1
    pieces = found.clusters(10)
    assert max(map(len, pieces)) <= 10
    assert sum(map(len, pieces)) >= 20
    for piece in pieces:
        assert cosine(*(texts[row] for row in sorted(piece)[:2])) >= SIMILAR


def test_sets_do_not_depend_on_the_order_of_the_rows() -> None:
    texts = chain(30)
    order = list(np.random.default_rng(1).permutation(30))
    shuffled = find_near_duplicates([texts[i] for i in order], range(30)).clusters(10)
    expected = {frozenset(piece) for piece in find_near_duplicates(texts, range(30)).clusters(10)}
    assert {frozenset(int(order[row]) for row in piece) for piece in shuffled} == expected


def test_rows_with_a_near_copy_in_another_part_are_named_with_the_closest() -> None:
    text = "We will recruit an extra 10,000 teachers and 3,000 police officers"
    texts = [text, text + " soon", text + " now", text + " soon too", "Something else altogether, of some length"]
    assert cosine(texts[3], texts[1]) > cosine(texts[3], texts[0])
    found = find_near_duplicates(texts, range(5))
    across = found.across({0: "train", 1: "train", 2: "test", 3: "test", 4: "dev"}, list("abcde"), texts)
    assert set(across) == {0, 1, 2, 3}
    assert across[3] == (1, pytest.approx(cosine(texts[3], texts[1]), abs=1e-3))
    assert across[2][0] == 0
    assert found.across({0: "train", 1: "train", 2: "train", 3: "train"}, list("abcd"), texts) == {}
    assert set(found.among([0, 2, 4]).across({0: "train", 2: "test"}, list("abcde"), texts)) == {0, 2}


def test_of_copies_in_another_part_one_that_is_the_same_word_for_word_is_named_first() -> None:
    texts = ["Jobs", "jobs.", "JOBS", "Jobs", "jobs.", "Rents"]
    parts = dict(zip(range(6), ("train", "train", "train", "test", "test", "test"), strict=True))
    across = find_near_duplicates(texts, range(6)).across(parts, list("abcdef"), texts)
    assert across == {0: (3, 1.0), 1: (4, 1.0), 2: (3, 1.0), 3: (0, 1.0), 4: (1, 1.0)}
