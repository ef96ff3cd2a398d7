from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from secondcoder.corpus.checks import check
from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.splits.assignment import assign_sets, rarest_labels
from secondcoder.splits.folds import assign_folds
from secondcoder.splits.split import split
from secondcoder.splits.units import Unit
from tests.corpus.make import make_corpus

NAMES = ("army", "economy", "health", "schools")


def sets_corpus(n: int = 300, *, groups: int = 0, seed: int = 1, copies: int = 0) -> Corpus:
    """Return rows with sets of labels, of which "army" is rare; some texts stand on two rows."""
    random = Random(seed)
    shares = dict(zip(NAMES, (0.04, 0.5, 0.3, 0.2), strict=True))
    texts = [f"text {i if i >= copies else i // 2} {random.random() if i >= copies else ''}" for i in range(n)]
    labels = [";".join(name for name in NAMES if random.random() < shares[name]) for _ in range(n)]
    of_group = [f"g{i * groups // n}" for i in range(n)] if groups else None
    corpus = make_corpus(texts, labels, groups=of_group)
    return replace(corpus, label_names=NAMES, task="multi-label")


def shares_of(corpus: Corpus) -> dict[str, float]:
    return {name: count / len(corpus) for name, count in corpus.label_counts().items()}


def test_each_label_is_as_frequent_in_every_part_and_sizes_are_as_asked():
    corpus = sets_corpus()
    parts = split(corpus, seed=3)
    whole = shares_of(corpus)
    for part in PARTS:
        rows = getattr(parts, part)
        assert abs(len(rows) - {"train": 180, "dev": 60, "test": 60}[part]) <= 3
        for name, share in shares_of(rows).items():
            assert share == pytest.approx(whole[name], abs=1.01 / 60 + 0.01), (part, name)


def test_a_division_does_not_depend_on_the_order_of_rows_and_does_on_the_seed():
    corpus = sets_corpus(120, copies=20)
    order = Random(5).sample(range(120), 120)
    parts = split(corpus, seed=3).part_of()
    assert split(corpus.take(order), seed=3).part_of() == parts
    assert split(corpus, seed=4).part_of() != parts


def test_rows_of_one_text_stay_together_though_their_sets_differ():
    corpus = sets_corpus(120, copies=40)
    parts = split(corpus, seed=3).part_of()
    for i in range(0, 40, 2):
        assert parts[f"r{i}"] == parts[f"r{i + 1}"]


def test_a_label_with_as_many_texts_as_parts_stands_in_each():
    corpus = sets_corpus(100)
    labels = [label.replace("army", "").strip(";") for label in corpus.labels]
    for row in (10, 50, 90):
        labels[row] = "army" if not labels[row] else f"army;{labels[row]}"
    parts = split(replace(corpus, labels=tuple(labels)), seed=1)
    assert [getattr(parts, part).label_counts()["army"] for part in PARTS] == [1, 1, 1]


def test_a_label_too_rare_for_all_parts_is_warned_of():
    corpus = sets_corpus(100)
    labels = ["army" if row == 7 else label.replace("army", "").strip(";") for row, label in enumerate(corpus.labels)]
    parts = split(replace(corpus, labels=tuple(labels)), seed=1)
    assert "label-not-in-part" in {finding.kind for finding in parts.findings}


def test_groups_stay_whole_and_shares_of_labels_near():
    corpus = sets_corpus(600, groups=60)
    parts = split(corpus, by="group", seed=2)
    names = [set(getattr(parts, part).groups) for part in PARTS]
    assert not (names[0] & names[1])
    assert not ((names[0] | names[1]) & names[2])
    whole = shares_of(corpus)
    for part in PARTS:
        for name, share in shares_of(getattr(parts, part)).items():
            assert share == pytest.approx(whole[name], abs=0.06)


def test_folds_are_even_in_size_and_labels():
    corpus = sets_corpus(200)
    of_row = assign_folds(corpus, 4, seed=1)
    sizes = Counter(of_row.tolist())
    assert max(sizes.values()) - min(sizes.values()) <= 4
    counts = [corpus.take([r for r in range(200) if of_row[r] == f]).label_counts()["economy"] for f in range(4)]
    assert max(counts) - min(counts) <= 4


@given(
    st.lists(st.sets(st.sampled_from("abcd")), min_size=6, max_size=40),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
@trials(max_examples=60)
def test_every_unit_gets_a_part_whatever_its_place(sets, seed, random):
    units = [Unit(f"u{i}", (i,)) for i in range(len(sets))]
    by_row = {i: tuple(sorted(own)) for i, own in enumerate(sets)}
    n = len(sets)
    wanted = {"train": n - 2 * (n // 4), "dev": n // 4, "test": n // 4}
    found = dict(zip((u.key for u in units), assign_sets(units, by_row, wanted, seed=seed), strict=True))
    random.shuffle(units)
    again = dict(zip((u.key for u in units), assign_sets(units, by_row, wanted, seed=seed), strict=True))
    assert found == again
    for name in "abcd":
        own = Counter(found[f"u{i}"] for i in range(n) if name in by_row[i])
        if own.total() >= 3 and sum(len(s) for s in sets) == own.total():  # the only label there is
            assert set(own) == set(wanted)


def test_the_rarest_label_of_a_row_stands_for_its_set():
    corpus = replace(make_corpus("abc", ["army;economy", "economy", ""]), label_names=NAMES, task="multi-label")
    assert rarest_labels(corpus) == ["army", "economy", ""]


def test_check_says_how_many_labels_texts_have():
    corpus = sets_corpus(100, copies=4)
    found = check(corpus)
    kinds = {finding.kind: finding for finding in found.findings}
    assert {"label-sets", "no-class"} <= set(kinds)
    assert kinds["no-class"].rows == corpus.labels.count("")
    assert found.label_shares["all"]["economy"] == corpus.label_counts()["economy"] / 100
    assert set(found.examples) == set(NAMES)
    assert all(example.id in corpus.ids for example in found.examples["army"])
