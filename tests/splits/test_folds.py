from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondcoder.corpus.corpus import Corpus, Source
from secondcoder.corpus.near_duplicates import NearDuplicates, find_near_duplicates
from secondcoder.errors import SplitError
from secondcoder.splits.folds import assign_folds, make_folds


def make(labels, groups=None, texts=None) -> Corpus:
    n = len(labels)
    return Corpus(
        ids=tuple(f"t{i}" for i in range(n)),
        texts=tuple(texts or (f"text {i}" for i in range(n))),
        labels=tuple(labels),
        label_names=("a", "b"),
        groups=None if groups is None else tuple(groups),
        columns=pa.table({"n": list(range(n))}),
        source=Source("made up", "0" * 64),
    )


grouped = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), min_size=12, max_size=80).filter(
    lambda rows: len({group for _, group in rows}) >= 4
)


@settings(max_examples=40)
@given(rows=grouped, seed=st.integers(0, 9), order=st.randoms(use_true_random=False))
def test_groups_stay_whole_no_fold_is_empty_and_the_order_of_rows_does_not_matter(rows, seed, order):
    corpus = make([label for label, _ in rows], [f"g{group}" for _, group in rows])
    found = assign_folds(corpus, 4, seed=seed)
    assert set(found.tolist()) == {0, 1, 2, 3}
    folds_of = {}
    for group, fold in zip(corpus.groups, found.tolist(), strict=True):
        assert folds_of.setdefault(group, fold) == fold
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    again = assign_folds(corpus.take(shuffled), 4, seed=seed)
    assert again.tolist() == found[shuffled].tolist()


@settings(max_examples=40)
@given(share=st.floats(0.1, 0.5), n=st.integers(60, 300), k=st.integers(2, 10))
def test_without_groups_folds_have_equal_sizes_and_label_shares(share, n, k):
    labels = ["a" if i < share * n else "b" for i in range(n)]
    found = assign_folds(make(labels), k, seed=3)
    for counts in (
        np.bincount(found, minlength=k),
        *(np.bincount(found[[label == name for label in labels]], minlength=k) for name in "ab"),
    ):
        assert counts.max() - counts.min() <= 1


def test_unequal_groups_are_dealt_evenly():
    sizes = [200, 180, 170, 160, 150, 120, 100, 90, 80, 70, 60, 50, 40, 30, 20]
    groups = [f"g{g}" for g, size in enumerate(sizes) for _ in range(size)]
    labels = ["a" if (i * 7 + g) % 10 < 2 + g % 3 else "b" for g, size in enumerate(sizes) for i in range(size)]
    corpus = make(labels, groups)
    found = assign_folds(corpus, 4, seed=1)
    rows = np.bincount(found)
    assert abs(rows / rows.mean() - 1).max() < 0.05
    shares = [np.mean([labels[i] == "a" for i in np.flatnonzero(found == fold)]) for fold in range(4)]
    assert max(shares) - min(shares) < 0.04


def test_a_text_of_many_groups_is_not_learned_from_where_it_is_judged():
    groups = [f"g{i // 6}" for i in range(72)]
    texts = ["Thank you." if i % 6 == 0 else f"text {i}" for i in range(72)]
    folds = make_folds(make(["ab"[i % 2] for i in range(72)], groups, texts), 3, dev=0.25, seed=1)
    assert Counter(row for fold in folds for row in fold.rows) == dict.fromkeys(range(72), 1)
    for fold in folds:
        parts = fold.judged, fold.train, fold.dev
        assert "Thank you." in fold.judged.texts
        for names in ([set(part.texts) for part in parts], [set(part.groups) for part in parts]):
            assert not any(names[i] & names[j] for i in range(3) for j in range(i))


def test_near_duplicates_are_looked_for_once_and_folds_are_as_if_each_had_looked_for_itself(monkeypatch):
    story = "The council met on Tuesday to discuss the new budget for the schools of the town and put off the vote"
    texts = [f"{story} until {'June July August'.split()[i % 3]} {i // 12}." for i in range(72)]
    corpus, calls = make(["ab"[i // 3 % 2] for i in range(72)], texts=texts), []

    def counted(*args):
        calls.append(args)
        return find_near_duplicates(*args)

    for module in ("draft", "folds"):
        monkeypatch.setattr(f"secondcoder.splits.{module}.find_near_duplicates", counted)
    once = make_folds(corpus, 4, dev=0.25, seed=1)
    assert len(calls) == 1
    monkeypatch.setattr(NearDuplicates, "taken", lambda near, rows: None)
    again = make_folds(corpus, 4, dev=0.25, seed=1)
    assert len(calls) == 6
    assert [(f.rows, f.train.ids, f.dev.ids) for f in once] == [(f.rows, f.train.ids, f.dev.ids) for f in again]


def test_rows_of_one_text_stay_together():
    texts = [f"text {i // 3}" for i in range(60)]
    found = assign_folds(make(["ab"[i // 3 % 2] for i in range(60)], texts=texts), 5, seed=1)
    assert all(len(set(found[3 * i : 3 * i + 3].tolist())) == 1 for i in range(20))
    assert np.bincount(found).tolist() == [12] * 5


def test_another_seed_gives_other_folds():
    corpus = make("ab" * 30)
    assert assign_folds(corpus, 5, seed=1).tolist() != assign_folds(corpus, 5, seed=2).tolist()


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(SplitError, match=r"5 different text\(s\) for 6 folds"):
        assign_folds(make("ababa"), 6, seed=1)
    rows = make(["a"] * 20 + ["b"] * 20, [f"g{i // 20}" for i in range(40)])
    with pytest.raises(SplitError, match="need 3"):
        assign_folds(rows, 2, seed=1)
    with pytest.raises(SplitError, match="Fold 1 of 2"):  # a fold of one group leaves one for train and dev
        make_folds(replace(rows, groups=tuple(f"g{i // 14}" for i in range(40))), 2, dev=0.25, seed=1)
