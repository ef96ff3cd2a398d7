from dataclasses import replace

import numpy as np
import pytest

from secondcoder.corpus.column_leaks import revealing_findings
from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.findings import Finding
from secondcoder.splits.split import split
from tests.corpus.make import make_corpus

N = 400
RNG = np.random.default_rng(0)
LABELS = [str(label) for label in RNG.choice(["a", "b"], N)]


def corpus(labels: list = LABELS, **columns) -> Corpus:
    return make_corpus([f"t{i}" for i in range(len(labels))], labels, **columns)


def of(found: list[Finding]) -> dict[str, str]:
    return {finding.examples[0]: finding.kind for finding in found}


def test_a_speaker_who_always_says_the_same_is_pointed_out() -> None:
    speakers = [f"{label}{RNG.integers(20)}" for label in LABELS]
    (found,) = revealing_findings(corpus(speaker=speakers))
    assert (found.kind, found.severity, found.examples) == ("column-reveals-label", "note", ("speaker",))
    assert "right for 100%, which saves 100% of the mistakes" in found.message
    assert "--group speaker" in found.cure


def test_columns_that_say_little_are_not() -> None:
    columns = {
        "year": [int(year) for year in RNG.integers(1980, 2020, N)],
        "note": [f"note {i}" for i in range(N)],
        "number": list(range(N)),
        "constant": ["x"] * N,
        "empty": [None] * N,
        "score": [float(score) for score in RNG.random(N)],
        "mostly": [label if RNG.random() < 0.4 else "b" for label in LABELS],
    }
    assert revealing_findings(corpus(groups=[f"g{i // 10}" for i in range(N)], **columns)) == []


def test_values_that_are_all_different_say_nothing_but_their_beginnings_may() -> None:
    numbers = RNG.permutation(N)
    ids = [f"{label}_{number:04}" for label, number in zip(LABELS, numbers, strict=True)]
    (found,) = revealing_findings(corpus(ids=ids))
    assert found.examples == ("id",)
    assert "before the first number" in found.message
    assert "--group" not in found.cure
    assert revealing_findings(corpus(ids=[f"id_{number:04}" for number in numbers])) == []


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("https://{}.example.org/{}", "by its host"),
        ("{}/page/{}", "before the first number"),
        ("1{}-{}", "by its first piece"),
        ("2020/{}{}", "without its last number"),
    ],
)
def test_addresses_are_read_by_host_and_beginning(pattern: str, what: str) -> None:
    addresses = [pattern.format(label, i) for i, label in enumerate(LABELS)]
    (found,) = revealing_findings(corpus(url=addresses))
    assert what in found.message


def test_numbers_are_read_in_tenths() -> None:
    scores = [float(RNG.random() + (label == "b")) for label in LABELS]
    (found,) = revealing_findings(corpus(score=scores))
    assert "in tenths of its range" in found.message


def test_groups_of_one_label_are_pointed_out_as_groups() -> None:
    groups = [f"{label}{RNG.integers(10)}" for label in LABELS]
    (found,) = revealing_findings(corpus(groups=groups))
    assert found.message.startswith("Most groups (the column 'group') have one label")


def test_a_column_that_tells_the_given_parts_apart_is_pointed_out() -> None:
    parts = ["train"] * 240 + ["dev"] * 80 + ["test"] * 80
    years = [2001] * 240 + [2002] * 80 + [2003] * 80
    ids = [f"{part}-{i}" for i, part in enumerate(parts)]
    found = revealing_findings(corpus(parts=parts, ids=ids, year=years, speaker=[f"s{i // 2}" for i in range(N)]))
    assert of(found) == {"year": "column-reveals-part"}


def test_few_rows_reveal_nothing() -> None:
    labels = ["a"] * 10 + ["b"] * 10
    assert revealing_findings(corpus(labels, same=labels)) == []
    assert revealing_findings(corpus([], same=[])) == []


def test_the_order_of_the_rows_makes_no_difference() -> None:
    data = corpus(speaker=[f"{label}{RNG.integers(30)}" if RNG.random() < 0.9 else "c" for label in LABELS])
    found = revealing_findings(data)
    assert found
    assert revealing_findings(data.take(list(RNG.permutation(N)))) == found


def test_a_split_says_so_too() -> None:
    assert of(list(split(corpus(same=LABELS)).findings))["same"] == "column-reveals-label"


M = 1000
RARE = np.random.default_rng(11).permutation(M) < 30  # 3 % of the rows


def rare(n: int = M, has: np.ndarray = RARE, **columns) -> Corpus:
    return make_corpus([f"t{i}" for i in range(n)], ["x" if own else "y" for own in has], **columns)


def test_a_score_above_a_cut_that_is_a_rare_label_is_pointed_out() -> None:
    rng = np.random.default_rng(5)
    score = rng.random(M)
    (found,) = revealing_findings(rare(has=score > 0.97, score=score.tolist(), noise=rng.random(M).tolist()))
    assert (found.kind, found.examples) == ("column-reveals-label", ("score",))
    assert "The label 'x' almost follows from the column 'score' (above 0.96" in found.message
    below = [-float(value) for value in score]
    (found,) = revealing_findings(rare(has=score > 0.97, score=below))
    assert "(up to -0.97" in found.message


def test_the_end_of_an_address_that_is_a_rare_label_is_pointed_out() -> None:
    numbers = np.random.default_rng(6).permutation(10**6)[:M]
    columns = {
        "end": [f"https://example.org/a/{i}?lab={int(own)}" for i, own in zip(numbers, RARE, strict=True)],
        "middle": [f"https://example.org/{i}?lab={int(own)}&s={i % 97}" for i, own in zip(numbers, RARE, strict=True)],
        "path": [f"/{i}/{'blog' if own else 'news'}/{i % 89}" for i, own in zip(numbers, RARE, strict=True)],
        "neither": [f"https://example.org/a/{i}?lab={i % 2}" for i in numbers],
    }
    found = revealing_findings(rare(**columns))
    assert of(found) == dict.fromkeys(("end", "middle", "path"), "column-reveals-label")
    assert "where it holds 'lab=1'" in found[0].message
    assert "where it holds 'blog'" in found[2].message


def test_a_second_coder_of_a_rare_label_is_pointed_out_and_one_who_hardly_agrees_is_not() -> None:
    rng = np.random.default_rng(7)
    columns = {
        "errs in 3 %": np.where(rng.random(M) < 0.03, ~RARE, RARE),
        "finds three quarters": np.where(RARE, rng.random(M) < 0.85, rng.random(M) < 0.006),
        "finds half": np.where(RARE, rng.random(M) < 0.4, rng.random(M) < 0.018),
        "has all of it and much else": RARE | (rng.random(M) < 0.17),
    }
    found = revealing_findings(rare(**{name: [str(value) for value in values] for name, values in columns.items()}))
    assert set(of(found)) == {"errs in 3 %", "finds three quarters"}


def test_one_of_many_labels_is_told_from_the_others_and_one_of_a_set() -> None:
    rng = np.random.default_rng(8)
    labels = [str(label) for label in rng.choice(["a", "b", "c", "d", "e"], 600, p=[0.3, 0.3, 0.2, 0.15, 0.05])]
    flags = [label == "e" for label in labels]
    (found,) = revealing_findings(corpus(labels, flag=flags))
    assert "The label 'e'" in found.message
    sets = [";".join(sorted({label, other})) for label, other in zip(labels, rng.choice(["a", "b"], 600), strict=True)]
    several = replace(corpus(sets, flag=flags), label_names=("a", "b", "c", "d", "e"), task="multi-label")
    (found,) = revealing_findings(several)
    assert "The label 'e'" in found.message


def test_nothing_is_said_of_a_label_with_fewer_than_five_rows() -> None:
    for n, expected in ((4, []), (8, ["flag"])):
        has = np.arange(300) % 300 < n
        found = revealing_findings(rare(300, has, flag=[str(own) for own in has]))
        assert [one.examples[0] for one in found] == expected


def test_noise_dates_ids_and_long_texts_give_no_alarm() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        has = rng.permutation(400) < 16
        columns = {
            "score": rng.random(400).tolist(),
            "many": [f"v{value}" for value in rng.integers(0, 150, 400)],
            "date": [
                f"2024-{m:02}-{d:02}" for m, d in zip(rng.integers(1, 13, 400), rng.integers(1, 29, 400), strict=True)
            ],
            "id of it": [f"doc-{value}" for value in rng.permutation(10**5)[:400]],
            "remarks": [" ".join(rng.choice(["tax", "jobs", "rail", "farm", "wage"], 60)) for _ in range(400)],
        }
        assert revealing_findings(rare(400, has, **columns)) == []
