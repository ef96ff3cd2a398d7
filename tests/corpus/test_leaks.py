import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.errors import SplitError
from secondcoder.splits.split import split
from tests.corpus.make import make_corpus
from tests.splits.test_split import assert_sound, given_corpus, kinds, sizes

TOPICS = "tax school health pension police europe border farm energy housing crime growth wage rail youth".split()


def sentences(n: int, seed: int = 0) -> list[str]:
    """Sentences of which none is like another."""
    rng = np.random.default_rng(seed)
    return [f"{' '.join(rng.choice(TOPICS, 9))} {rng.integers(10**9)}" for _ in range(n)]


def planted(n: int, every: int) -> list[str]:
    """Sentences of which each so many is followed by nearly the same one."""
    texts = sentences(n)
    for i in range(1, n, every):
        texts[i] = texts[i - 1].capitalize() + " now."
    return texts


@pytest.mark.parametrize("by", ["random", "stratified", "group"])
def test_near_duplicates_go_together_and_are_counted(by: str) -> None:
    texts = planted(300, 10)
    corpus = make_corpus(texts, ["a", "b", "b"] * 100, groups=[f"g{i}" for i in range(300)])
    for seed in range(5):
        found = split(corpus, by=by, seed=seed)
        assert_sound(found, corpus)
        part = found.part_of()
        assert all(part[f"r{i}"] == part[f"r{i - 1}"] for i in range(1, 300, 10))
        (finding,) = [one for one in found.findings if one.kind == "near-duplicate"]
        assert (finding.rows, finding.severity) == (60, "note")
        assert finding.examples[0].split(" (")[0] in {f"r{i - 1} ~ r{i}" for i in range(1, 300, 10)}
        assert sizes(found)["test"] == pytest.approx(60, abs=1 if by == "group" else 0)


@given(st.integers(0, 10**6), st.sampled_from(["random", "stratified", "group"]))
@settings(max_examples=40, deadline=None)
def test_near_duplicates_keep_splits_sound_and_free_of_row_order(seed: int, by: str) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(30, 120))
    texts = sentences(n, seed)
    for i in np.flatnonzero(rng.random(n) < 0.4):
        texts[i] = texts[int(rng.integers(n))] + str(rng.choice(["", " ", ".", " now", f" {rng.choice(TOPICS)}"]))
    labels = [str(label) for label in rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])]
    corpus = make_corpus(texts, labels, groups=[f"g{g}" for g in rng.integers(0, 20, n)])
    try:
        found = split(corpus, by=by)
    except SplitError:
        with pytest.raises(SplitError):
            split(corpus.take(rng.permutation(n).tolist()), by=by)
        return
    assert_sound(found, corpus)
    again = split(corpus.take(rng.permutation(n).tolist()), by=by)
    assert again.part_of() == found.part_of()
    assert [f.to_dict() | {"examples": ()} for f in again.findings] == [
        f.to_dict() | {"examples": ()} for f in found.findings
    ]


def test_near_duplicates_do_not_make_a_rare_label_impossible_to_divide() -> None:
    texts = sentences(60)
    texts[1], texts[2] = texts[0] + " now", texts[0] + " too"
    found = split(make_corpus(texts, ["rare"] * 3 + ["a", "b", "b"] * 19))
    assert [getattr(found, part).label_counts()["rare"] for part in PARTS] == [1, 1, 1]
    (finding,) = [one for one in found.findings if one.kind == "near-duplicate-in-two-parts"]
    assert finding.rows == 3
    assert "of test 1 of 12 rows" in finding.message


def test_a_form_letter_does_not_fill_a_part() -> None:
    letter = sentences(1)[0]
    texts = [f"{letter} {i:03}" for i in range(200)] + sentences(200, seed=1)
    found = split(make_corpus(texts, ["a", "b"] * 200))
    assert sizes(found) == {"train": 240, "dev": 80, "test": 80}
    assert "near-duplicate-in-two-parts" in kinds(found)


def test_documents_with_near_duplicates_are_joined_while_they_are_small() -> None:
    texts = sentences(200)
    texts[7] = texts[0] + " again"
    corpus = make_corpus(texts, ["a", "b"] * 100, groups=[f"g{i // 5:02}" for i in range(200)])
    (joined,) = [one for one in split(corpus).findings if one.kind == "groups-joined"]
    assert joined.examples == ("g00 + g01",)
    large = make_corpus(texts, ["a", "b"] * 100, groups=["g0"] * 5 + [f"g{1 + i // 30}" for i in range(195)])
    apart = [split(large, seed=seed) for seed in range(8)]
    assert all("groups-joined" not in kinds(found) for found in apart)
    assert any("near-duplicate-in-two-parts" in kinds(found) for found in apart)
    assert not any(found.unused for found in apart)


def leaky(n_near: int, n_exact: int = 0, **columns) -> Corpus:
    texts = sentences(400)
    for i in range(n_near):
        texts[300 + i] = texts[i] + " now"
    for i in range(n_near, n_near + n_exact):
        texts[300 + i] = texts[i]
    return given_corpus(texts=texts, **columns)


def test_given_parts_with_too_many_near_duplicates_are_refused_with_the_pairs() -> None:
    message = r"2 of the 100 rows .* 1 word for word, 1 nearly .*r301 = r1: .*r300 ~ r0 \(0.9[0-9]\)"
    with pytest.raises(SplitError, match=message) as caught:
        split(leaky(1, 1))
    assert "--allow-leaks" in caught.value.cure


def test_few_near_duplicates_in_given_parts_stay_and_are_reported() -> None:
    found = split(leaky(1))
    assert sizes(found) == {"train": 200, "dev": 100, "test": 100}
    (finding,) = [one for one in found.findings if one.kind == "near-duplicate-in-two-parts"]
    assert (finding.severity, finding.rows) == ("warning", 2)
    assert "of test 1 of 100 rows (1.0%)" in finding.message
    assert finding.examples[0].startswith("r300 ~ r0 (0.9")
    assert "different labels" in finding.cure


@pytest.mark.parametrize("parts", [None, ["train"] * 300 + ["test"] * 100])
def test_allowed_leaks_leave_every_row_where_it_is_and_are_told(parts: list | None) -> None:
    corpus = leaky(3, 4, **({} if parts is None else {"parts": parts}))
    found = split(corpus, allow_leaks=True)
    assert not found.unused
    assert len(found.test) == 100
    assert found.settings.allow_leaks
    (finding,) = [one for one in found.findings if one.kind == "leaks-allowed"]
    assert (finding.severity, finding.rows) == ("warning", 7)
    assert "7 of the 100 rows of the given test part (7.0%)" in finding.message
    assert "4 word for word, 3 nearly" in finding.message
    assert len(finding.examples) == 5


def test_to_allow_leaks_where_there_are_none_changes_nothing() -> None:
    found = split(given_corpus(), allow_leaks=True)
    assert kinds(found) == []
    assert found.part_of() == split(given_corpus()).part_of()
