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
