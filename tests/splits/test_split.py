import inspect
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

from secondcoder.corpus.corpus import PARTS, Corpus
from secondcoder.errors import ColumnError, SplitError
from secondcoder.settings import DEFAULT_SEED, SplitSettings
from secondcoder.splits.assignment import GOOD, assign_groups
from secondcoder.splits.split import Split, split
from secondcoder.splits.units import Unit
from tests.corpus.make import make_corpus


def sizes(found: Split) -> dict[str, int]:
    return {part: len(getattr(found, part)) for part in PARTS}


def kinds(found: Split) -> list[str]:
    return [finding.kind for finding in found.findings]


def assert_sound(found: Split, corpus: Corpus) -> None:
    """No row, exact text or (by group) group stands in two parts, and every row is accounted for once."""
    ids = [id_ for part in PARTS for id_ in getattr(found, part).ids] + [unused.id for unused in found.unused]
    assert sorted(ids) == sorted(corpus.ids)
    row = {id_: i for i, id_ in enumerate(corpus.ids)}
    for one, other in itertools.combinations(PARTS, 2):
        a, b = getattr(found, one), getattr(found, other)
        assert not set(a.texts) & set(b.texts)
        if found.by == "group":
            assert not set(filter(None, a.groups)) & set(filter(None, b.groups))
    for part in PARTS:
        rows = getattr(found, part)
        assert len(rows)
        assert rows.label_names == corpus.label_names
        numbers = [row[id_] for id_ in rows.ids]
        assert numbers == sorted(numbers)
        assert rows.texts == tuple(corpus.texts[i] for i in numbers)
        assert rows.labels == tuple(corpus.labels[i] for i in numbers)
        assert all(label is not None and text.strip() for label, text in zip(rows.labels, rows.texts, strict=True))
    for unused in found.unused:
        i = row[unused.id]
        assert unused.reason in {"no label", "empty text", "text also in dev", "text also in test"}
        assert (unused.reason == "no label") == (corpus.labels[i] is None)
        if unused.reason.startswith("text also in"):
            assert corpus.texts[i] in getattr(found, unused.reason.split()[-1]).texts


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """Rows with groups of very different sizes, repeated and empty texts, missing labels and groups."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(12, 160))
    n_groups = draw(st.integers(2, 40))
    weights = rng.pareto(draw(st.sampled_from([0.7, 2.0, 10.0])), n_groups) + 0.05
    groups = rng.choice(n_groups, n, p=weights / weights.sum())
    labels = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    repeated = draw(st.sampled_from([0.0, 0.05, 0.4]))
    missing = draw(st.sampled_from([0.0, 0.1]))
    return make_corpus(
        [
            " " if rng.random() < missing else f"Yes {rng.integers(3)}." if rng.random() < repeated else f"text {i}"
            for i in range(n)
        ],
        [None if rng.random() < missing else str(label) for label in labels],
        ids=[str(i) for i in rng.permutation(10 * n)[:n]],
        groups=["" if rng.random() < missing else f"g{group}" for group in groups],
    )


def is_impossible(corpus: Corpus, by: str, size: float = 0.2) -> bool:
    """Whether a split into three parts may be refused, by a rule that is simpler than the code's."""
    rows = corpus.usable()
    groups = {corpus.groups[i] or corpus.ids[i] for i in rows}
    texts = Counter(corpus.texts[i] for i in rows)
    by_label = [{corpus.texts[i] for i in rows if corpus.labels[i] == name} for name in corpus.label_names]
    # Where a text of many rows outweighs a part, what is left of the part may be nothing.
    heavy = max(texts.values(), default=0) > 0.05 * len(rows)
    if by == "group":
        return len(groups) < 3 or heavy
    if by == "stratified" and (min(map(len, by_label), default=0) < 3 or len(rows) * size + 0.5 < len(by_label)):
        return True
    return len(texts) < 3 or heavy


@given(
    corpora(), st.sampled_from(["random", "stratified", "group"]), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.3])
)
def test_parts_are_disjoint_in_rows_groups_and_texts_and_complete(
    corpus: Corpus, by: str, seed: int, size: float
) -> None:
    try:
        found = split(corpus, by=by, dev=size, test=size, seed=seed)
    except SplitError:
        assert is_impossible(corpus, by, size)
        return
    assert_sound(found, corpus)


@given(
    corpora(), st.sampled_from(["random", "stratified", "group"]), st.integers(0, 5), st.randoms(use_true_random=False)
)
def test_the_split_is_the_same_whatever_the_row_order(corpus: Corpus, by: str, seed: int, random) -> None:
    order = list(range(len(corpus)))
    random.shuffle(order)
    shuffled = corpus.take(order)
    try:
        found = split(corpus, by=by, seed=seed)
    except SplitError:
        with pytest.raises(SplitError):
            split(shuffled, by=by, seed=seed)
        return
    again = split(shuffled, by=by, seed=seed)
    assert again.part_of() == found.part_of()
    assert sorted((u.id, u.reason) for u in again.unused) == sorted((u.id, u.reason) for u in found.unused)


@given(corpora(), st.sampled_from(["random", "stratified", "group"]), st.sampled_from([0.1, 0.2, 0.3]))
def test_sizes_are_near_to_what_was_asked(corpus: Corpus, by: str, size: float) -> None:
    try:
        found = split(corpus, by=by, dev=size, test=size)
    except SplitError:
        assert is_impossible(corpus, by, size)
        return
    rows = corpus.usable()
    asked = int(len(rows) * size + 0.5)
    left_out = sum(unused.reason.startswith("text also") for unused in found.unused)
    if by == "group":
        largest = max(Counter(corpus.groups[i] for i in rows if corpus.groups[i]).values(), default=1)
        tolerance = left_out + max(largest, asked / 2)
    else:
        assert left_out == 0
        repeated = max(Counter(corpus.texts[i] for i in rows).values())
        tolerance = 0 if repeated == 1 else repeated * len(corpus.label_names)
    for part in ("dev", "test"):
        assert abs(len(getattr(found, part)) - asked) <= tolerance


def test_the_assignment_of_ids_never_changes() -> None:
    corpus = make_corpus([f"t{i}" for i in range(20)], ["a", "b"] * 10, groups=[f"g{i // 2}" for i in range(20)])
    found = {
        by: {part: " ".join(getattr(split(corpus, by=by), part).ids) for part in ("dev", "test")}
        for by in ("random", "stratified", "group")
    }
    assert found == {
        "random": {"dev": "r4 r9 r14 r18", "test": "r0 r3 r7 r11"},
        "stratified": {"dev": "r4 r7 r9 r14", "test": "r0 r3 r11 r18"},
        "group": {"dev": "r10 r11 r12 r13", "test": "r8 r9 r14 r15"},
    }


def test_the_signature_spells_out_the_settings() -> None:
    parameters = inspect.signature(split).parameters
    expected = {name: getattr(SplitSettings(), name) for name in SplitSettings.__dataclass_fields__}
    found = {name: parameters[name].default for name in parameters if name not in ("corpus", "seed")}
    assert found == expected
    assert parameters["seed"].default == DEFAULT_SEED


def test_fifty_documents_of_ten_sentences_do_not_leak() -> None:
    n = 500
    groups = np.repeat(np.arange(50), 10)
    # The notebook's split: the positions of the second split are used as if they were rows of the whole.
    train, rest = next(GroupShuffleSplit(1, test_size=0.4, random_state=0).split(np.arange(n), groups=groups))
    _, test = next(GroupShuffleSplit(1, test_size=0.5, random_state=0).split(rest, groups=groups[rest]))
    assert len(set(test) & set(train)) > 0.3 * len(test)

    corpus = make_corpus([f"s{i}" for i in range(n)], ["a", "b"] * (n // 2), groups=[f"d{g}" for g in groups])
    found = split(corpus)
    assert found.by == "group"
    assert_sound(found, corpus)
    assert sizes(found) == {"train": 300, "dev": 100, "test": 100}


def test_sizes_count_rows_also_where_groups_differ_in_size() -> None:
    groups = [f"g{g}" for g in range(30) for _ in range(1 + g * g // 3)]
    corpus = make_corpus(
        [f"t{i}" for i in range(len(groups))],
        ["a", "b"] * (len(groups) // 2) + ["a"] * (len(groups) % 2),
        groups=groups,
    )
    found = split(corpus, dev=0.1, test=300)
    assert abs(len(found.test) - 300) <= 15
    assert abs(len(found.dev) - len(corpus) / 10) <= 0.05 * len(corpus) / 10 + 1


def test_labels_are_as_even_as_groups_allow() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 1200)
    tilt = rng.random(60)  # the share of "a" differs from group to group
    labels = ["a" if rng.random() < tilt[g] else "b" for g in groups]
    corpus = make_corpus([f"t{i}" for i in range(1200)], labels, groups=[f"g{g}" for g in groups])
    whole = labels.count("a") / 1200
    for seed in range(5):
        found = split(corpus, seed=seed)
        for part in PARTS:
            rows = getattr(found, part)
            assert abs(rows.label_counts()["a"] / len(rows) - whole) < 0.02


def test_seeds_give_different_grouped_splits_even_of_a_dozen_groups() -> None:
    rng = np.random.default_rng(1)
    groups = [f"g{g}" for g, size in enumerate(rng.integers(30, 120, 12)) for _ in range(size)]
    labels = [str(label) for label in rng.choice(["a", "b"], len(groups))]
    corpus = make_corpus([f"t{i}" for i in range(len(groups))], labels, groups=groups)
    found = [split(corpus, seed=seed) for seed in range(20)]
    assert len({tuple(sorted(set(one.test.groups))) for one in found}) >= 6
    for one in found:
        for part in ("dev", "test"):
            assert abs(len(getattr(one, part)) - 0.2 * len(corpus)) < 0.1 * 0.2 * len(corpus)


def cost_of(owner: tuple[int, ...], counts: np.ndarray, wanted: np.ndarray) -> float:
    """The documented cost, computed in the plainest way."""
    total = 0.0
    for p, n in enumerate(wanted):
        mine = counts[[u for u, own in enumerate(owner) if own == p]].sum(axis=0)
        expected = n * counts.sum(axis=0) / counts.sum()
        total += ((mine.sum() - n) / n) ** 2 + ((mine - expected) ** 2 / (expected * n)).sum()
    return total


@pytest.mark.parametrize("case", range(12))
def test_the_search_comes_near_the_best_of_all_assignments(case: int) -> None:
    rng = np.random.default_rng(case)
    counts = rng.integers(1, 40, (7, 2)).astype(float)
    wanted = {"train": 0, "dev": int(0.2 * counts.sum()), "test": int(0.25 * counts.sum())}
    wanted["train"] = int(counts.sum()) - wanted["dev"] - wanted["test"]
    units, strata, row = [], {}, 0
    for u, (a, b) in enumerate(counts.astype(int)):
        units.append(Unit(f"u{u}", tuple(range(row, row + a + b))))
        strata |= {row + i: "a" if i < a else "b" for i in range(a + b)}
        row += a + b
    asked = np.array([wanted[part] for part in PARTS])
    least = min(
        cost_of(owner, counts, asked) for owner in itertools.product(range(3), repeat=7) if len(set(owner)) == 3
    )
    found = tuple(PARTS.index(part) for part in assign_groups(units, strata, wanted, seed=case))
    assert set(found) == {0, 1, 2}
    assert cost_of(found, counts, asked) <= max(GOOD, 2 * least) + 1e-9


def test_stratified_counts_are_those_of_scikit_learn() -> None:
    labels = ["a"] * 233 + ["b"] * 61 + ["c"] * 7
    corpus = make_corpus([f"t{i}" for i in range(301)], labels)
    found = split(corpus, dev=60, test=75)
    assert sizes(found) == {"train": 166, "dev": 60, "test": 75}
    _, test = next(StratifiedShuffleSplit(1, test_size=75, random_state=0).split(labels, labels))
    theirs = Counter(labels[i] for i in test)
    assert all(abs(count - theirs[name]) <= 1 for name, count in found.test.label_counts().items())
    assert min(min(getattr(found, part).label_counts().values()) for part in PARTS) >= 1


def test_rows_can_be_stratified_by_other_columns() -> None:
    years = ["1987", "1992", "1997"] * 40
    parties = (["Lab"] * 3 + ["Con"] * 3) * 20
    corpus = make_corpus([f"t{i}" for i in range(120)], ["a", "b"] * 60, year=years, party=parties)
    found = split(corpus, stratify=("year", "party"))
    for part, each in (("train", 12), ("dev", 4), ("test", 4)):
        rows = getattr(found, part)
        counts = Counter(zip(rows.column("year"), rows.column("party"), strict=True))
        assert counts == {(year, party): each for year in set(years) for party in set(parties)}


def test_one_column_to_stratify_by_may_be_named_as_it_is() -> None:
    corpus = make_corpus([f"t{i}" for i in range(60)], ["a", "b"] * 30, year=["1", "2", "3"] * 20)
    assert split(corpus, stratify="year").settings.stratify == ("year",)


def test_a_column_to_stratify_by_that_is_not_there_names_the_nearest() -> None:
    corpus = make_corpus([f"t{i}" for i in range(60)], ["a", "b"] * 30, year=["1", "2", "3"] * 20)
    with pytest.raises(ColumnError, match="did you mean 'year'"):
        split(corpus, stratify=("yaer",))


def test_rows_of_one_text_go_together() -> None:
    texts = [f"t{i % 40}" for i in range(120)]
    corpus = make_corpus(texts, [("a", "b")[i % 2] for i in range(120)])
    for by in ("random", "stratified"):
        found = split(corpus, by=by)
        assert_sound(found, corpus)
        assert not found.unused


def test_each_part_gets_one_of_three_texts_even_if_they_fill_many_rows() -> None:
    texts = [f"t{i}" for i in range(60)] + ["x"] * 10 + ["y"] * 10 + ["z"] * 10
    corpus = make_corpus(texts, ["a"] * 60 + ["b"] * 30)
    for seed in range(10):
        found = split(corpus, seed=seed)
        assert [getattr(found, part).label_counts()["b"] for part in PARTS] == [10, 10, 10]


def test_small_groups_that_share_a_text_are_joined() -> None:
    groups = [f"g{i // 5:02}" for i in range(200)]
    texts = [f"t{i}" for i in range(200)]
    texts[7] = texts[0]  # groups g00 and g01
    corpus = make_corpus(texts, ["a", "b"] * 100, groups=groups)
    for seed in range(10):
        found = split(corpus, seed=seed)
        assert_sound(found, corpus)
        part = found.part_of()
        assert part["r0"] == part["r5"]
        assert not found.unused
    (joined,) = [finding for finding in found.findings if finding.kind == "groups-joined"]
    assert joined.examples == ("g00 + g01",)


def test_a_sentence_of_every_document_does_not_chain_them_into_one() -> None:
    groups = [f"g{i // 10}" for i in range(400)]
    texts = ["Yes." if i % 10 == 0 else f"t{i}" for i in range(400)]
    corpus = make_corpus(texts, ["a", "b"] * 200, groups=groups)
    found = split(corpus)
    assert_sound(found, corpus)
    assert sizes(found) == {"train": 240 - 24, "dev": 80 - 8, "test": 80}
    assert Counter(unused.reason for unused in found.unused) == {"text also in test": 32}
    assert {"groups-kept-apart", "text-in-two-parts"} <= set(kinds(found))
    (finding,) = [finding for finding in found.findings if finding.kind == "text-in-two-parts"]
    assert finding.rows == 32
    assert "24 of train" in finding.message
    assert finding.examples == ("Yes.",)


def test_groups_are_not_joined_where_fewer_than_three_would_be_left() -> None:
    groups = ["a"] * 3 + ["b"] * 3 + ["c"] * 3 + ["d"] * 41
    texts = [f"t{i}" for i in range(50)]
    texts[0] = texts[3] = texts[6] = "Same."
    found = split(make_corpus(texts, ["x", "y"] * 25, groups=groups), dev=20, test=20)
    assert "groups-joined" not in kinds(found)
    assert "groups-kept-apart" in kinds(found)


def test_a_row_without_group_is_a_group_of_its_own() -> None:
    corpus = make_corpus([f"t{i}" for i in range(60)], ["a", "b"] * 30, groups=["", "x", "y"] * 20)
    found = split(corpus)
    assert_sound(found, corpus)
    assert "missing-group" in kinds(found)
    assert {found.part_of()[f"r{i}"] for i in range(0, 60, 3)} >= {"dev", "test"}


def test_rows_without_label_or_text_are_counted() -> None:
    texts = ["", " ", *(f"t{i}" for i in range(60))]
    corpus = make_corpus(texts, ["a", None, None, *(["a", "b"] * 30)[:59]])
    found = split(corpus)
    assert [(unused.id, unused.reason) for unused in found.unused] == [
        ("r0", "empty text"),
        ("r1", "no label"),
        ("r2", "no label"),
    ]
    assert {finding.kind: finding.rows for finding in found.findings} == {"missing-label": 2, "empty-text": 1}


def given_corpus(n: int = 400, **changes) -> Corpus:
    values = {
        "texts": [f"t{i}" for i in range(n)],
        "labels": ["a", "b"] * (n // 2),
        "parts": (["train"] * (n // 2) + ["dev"] * (n // 4) + ["test"] * (n // 4)),
    } | changes
    return make_corpus(values.pop("texts"), values.pop("labels"), **values)


def test_given_parts_are_kept() -> None:
    corpus = given_corpus(groups=["g"] * 400)
    found = split(corpus)
    assert found.by == "given"
    assert found.part_of() == dict(zip(corpus.ids, corpus.parts, strict=True))
    assert kinds(found) == ["group-in-two-parts"]


def test_given_parts_lose_a_text_that_stands_in_two_from_train_and_from_dev() -> None:
    texts = [f"t{i}" for i in range(400)]
    texts[0] = texts[1] = texts[200]  # train, train, dev
    texts[201] = texts[300]  # dev, test
    found = split(given_corpus(texts=texts))
    assert {unused.id: unused.reason for unused in found.unused} == {
        "r0": "text also in dev",
        "r1": "text also in dev",
        "r201": "text also in test",
    }
    assert sizes(found) == {"train": 198, "dev": 99, "test": 100}
    (finding,) = found.findings
    assert (finding.severity, finding.rows) == ("warning", 3)


def test_given_parts_that_leak_into_more_than_one_percent_of_test_are_refused() -> None:
    texts = [f"t{i}" for i in range(400)]
    texts[0], texts[201] = texts[300], texts[301]
    with pytest.raises(SplitError, match=r"2 of the 100 rows .*r300 = r0: 't300'"):
        split(given_corpus(texts=texts))


def test_dev_is_taken_out_of_a_given_train_part() -> None:
    parts = ["train"] * 300 + ["test"] * 100
    found = split(given_corpus(parts=parts))
    assert sizes(found) == {"train": 240, "dev": 60, "test": 100}
    assert found.by == "given"
    assert kinds(found) == ["dev-from-train"]
    grouped = split(given_corpus(parts=parts, groups=[f"g{i // 10}" for i in range(400)]))
    assert sizes(grouped) == {"train": 240, "dev": 60, "test": 100}
    assert not set(grouped.train.groups) & set(grouped.dev.groups)


def test_where_only_train_is_given_it_is_divided_afresh() -> None:
    found = split(given_corpus(parts=["train"] * 400))
    assert found.by == "stratified"
    assert sizes(found) == {"train": 240, "dev": 80, "test": 80}
    assert kinds(found) == ["only-train-given"]


def test_rows_that_the_given_split_does_not_name_are_unused() -> None:
    found = split(given_corpus(parts=["train"] * 200 + ["dev"] * 100 + ["test"] * 99 + [None]))
    assert [(unused.id, unused.reason) for unused in found.unused] == [("r399", "no part given")]
    assert kinds(found) == ["no-part-given"]


def test_a_label_that_a_part_lacks_is_noted() -> None:
    labels = ["a", "b"] * 200
    labels[0] = "rare"
    found = split(given_corpus(labels=labels))
    assert [f.message for f in found.findings] == [
        "dev has no text with the label 'rare'.",
        "test has no text with the label 'rare'.",
    ]


def test_lopsided_groups_are_split_and_pointed_out() -> None:
    groups = ["huge"] * 180 + [f"g{i}" for i in range(20)]
    found = split(make_corpus([f"t{i}" for i in range(200)], ["a", "b"] * 100, groups=groups))
    assert set(found.train.groups) == {"huge"}
    assert "sizes-off" in kinds(found)


def test_groups_torn_apart_by_another_way_of_splitting_are_pointed_out() -> None:
    found = split(rows(40, groups=[f"g{i // 4}" for i in range(40)]), by="stratified")
    assert "group-in-two-parts" in kinds(found)


def rows(n: int, **columns) -> Corpus:
    return make_corpus([f"t{i}" for i in range(n)], (["a", "b"] * n)[:n], **columns)


@pytest.mark.parametrize(
    ("corpus", "options", "message"),
    [
        (rows(20), {"by": "group"}, "has no groups"),
        (rows(20), {"by": "given"}, "gives no parts"),
        (rows(20), {"by": "random", "stratify": ("text",)}, "--by random ignores --stratify text"),
        (rows(20), {"dev": 0.5, "test": 0.5}, "leave no train rows out of 20"),
        (rows(20), {"dev": 15, "test": 15}, r"dev 15 \(15 rows\) and test 15 \(15 rows\) leave no train rows"),
        (rows(2), {"by": "random"}, "has 2 different|leave no train"),
        (rows(20, groups=["x", "y"] * 10), {}, r"2 group\(s\) for 3 parts"),
        (make_corpus(["t"] * 20, ["a"] * 20), {"by": "random"}, r"The data has 1 different text"),
        (make_corpus([f"t{i}" for i in range(20)], ["a"] * 19 + ["b"]), {}, "The label 'b' has 1 different text"),
        (make_corpus([f"t{i}" for i in range(20)], ["a"] * 18 + ["b"] * 2), {}, "The label 'b' has 2 different text"),
        (make_corpus(["s"] * 5 + [f"t{i}" for i in range(20)], ["b"] * 5 + ["a"] * 20), {}, "The label 'b' has 1 diff"),
        (rows(20), {"dev": 1, "test": 5}, "1 rows were asked for dev"),
        (make_corpus(["", "x"], ["a", None]), {}, "None of the 2 rows has both"),
        (rows(20, parts=["train"] * 10 + ["dev"] * 10), {}, "no usable rows for test"),
        (rows(20, parts=["dev"] * 10 + ["test"] * 10), {}, "no usable rows for train"),
    ],
)
def test_the_impossible_is_refused_with_reason_and_remedy(corpus: Corpus, options: dict, message: str) -> None:
    with pytest.raises(SplitError, match=message) as caught:
        split(corpus, **options)
    assert caught.value.cure


def test_a_notebook_shows_label_counts_by_part() -> None:
    corpus = make_corpus([f"t{i}" for i in range(40)], ["<a>", "b"] * 20)
    page = split(corpus)._repr_html_()
    assert "<td>&lt;a&gt;</td><td>12</td><td>4</td><td>4</td>" in page
    assert "<a>" not in page
