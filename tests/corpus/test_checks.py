import json

import numpy as np
import pytest

from secondcoder.corpus.checks import check
from secondcoder.corpus.findings import Finding
from secondcoder.errors import DataError
from secondcoder.splits.split import split
from tests.corpus.make import make_corpus

WORDS = [f"sentence number {i}" for i in range(60)]


def finding(report, kind: str) -> Finding:
    (found,) = [finding for finding in report.findings if finding.kind == kind]
    return found


def kinds(report) -> list[str]:
    return [finding.kind for finding in report.findings]


def test_sound_data_has_no_findings() -> None:
    report = check(make_corpus(WORDS, ["a", "b"] * 30))
    assert report.findings == ()
    assert (report.rows, report.labelled) == (60, 60)
    assert report.columns == {"id": "id", "text": "text", "label": "label"}
    assert report.groups is None


def test_a_column_may_have_no_role_or_two() -> None:
    corpus = make_corpus(WORDS, ["a", "b"] * 30, year=["1997"] * 60)
    corpus.source.columns["group"] = "id"
    assert check(corpus).columns == {"id": "id, group", "text": "text", "label": "label", "year": ""}


def test_labels_are_counted_over_all_and_by_part_of_the_split() -> None:
    corpus = make_corpus(WORDS, ["a", "a", "b"] * 20)
    report = check(corpus, split=split(corpus))
    assert report.label_counts == {
        "all": {"a": 40, "b": 20},
        "train": {"a": 24, "b": 12},
        "dev": {"a": 8, "b": 4},
        "test": {"a": 8, "b": 4},
    }
    assert report.label_shares["dev"] == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}


def test_given_parts_are_counted_without_a_split() -> None:
    report = check(make_corpus(WORDS, ["a", "b"] * 30, parts=["train"] * 50 + [None] * 5 + ["test"] * 5))
    assert report.label_counts["train"] == {"a": 25, "b": 25}
    assert report.label_counts["dev"] == {"a": 0, "b": 0}
    assert report.label_counts["test"] == {"a": 2, "b": 3}


def test_examples_are_three_of_each_label_whatever_the_row_order() -> None:
    corpus = make_corpus(["x" * 500, *WORDS[1:]], ["a", "b"] * 30)
    report = check(corpus)
    assert {name: len(found) for name, found in report.examples.items()} == {"a": 3, "b": 3}
    assert check(corpus.take(range(59, -1, -1))).examples == report.examples
    assert [example.id for example in report.examples["a"]] != ["r0", "r2", "r4"]
    for name, found in report.examples.items():
        assert {corpus.labels[corpus.ids.index(example.id)] for example in found} == {name}


def test_examples_are_shortened() -> None:
    report = check(make_corpus(["x" * 500, "y" * 200], ["a", "b"]))
    assert report.examples["a"][0].text == "x" * 199 + "…"
    assert report.examples["b"][0].text == "y" * 200


def test_lengths_are_those_of_the_tokens() -> None:
    lengths = np.arange(1, 101)
    report = check(make_corpus([f"text {i}" for i in range(100)], ["a", "b"] * 50), lengths=lengths, max_length=90)
    spread = report.lengths
    assert (spread.unit, spread.n, spread.smallest, spread.largest) == ("tokens", 100, 1, 100)
    assert (spread.median, spread.mean) == (50.5, 50.5)
    assert (spread.p90, spread.p95, spread.p99) == (91, 96, 100)
    assert (report.truncated, report.share_truncated, report.max_length) == (10, 0.1, 90)
    assert finding(report, "truncated-text").rows == 10


def test_a_text_of_exactly_the_maximum_length_is_not_cut() -> None:
    report = check(make_corpus(WORDS, ["a", "b"] * 30), lengths=[64] * 60, max_length=64)
    assert report.truncated == 0
    assert report.findings == ()


def test_lengths_are_characters_without_tokens_and_leave_out_empty_texts() -> None:
    report = check(make_corpus(["", "abcdef", "abcdefgh"], ["a", "a", "b"]), max_length=3)
    assert (report.lengths.unit, report.lengths.n, report.lengths.smallest) == ("characters", 2, 6)
    assert report.truncated is None


def test_lengths_of_other_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(3,\), the corpus 60 rows"):
        check(make_corpus(WORDS, ["a", "b"] * 30), lengths=[1, 2, 3])


def test_groups_are_measured_without_the_rows_that_have_none() -> None:
    report = check(make_corpus(WORDS, ["a", "b"] * 30, groups=["x"] * 40 + ["y"] * 10 + [""] * 10))
    assert (report.groups.n, report.groups.smallest, report.groups.largest) == (2, 10, 40)


def test_missing_labels_and_empty_texts_are_found() -> None:
    report = check(make_corpus(["", "\t", *WORDS], ["a", None, None, *(["a", "b"] * 30)[1:]]))
    assert (finding(report, "missing-label").rows, finding(report, "missing-label").examples) == (2, ("r1", "r2"))
    assert (finding(report, "empty-text").rows, finding(report, "empty-text").examples) == (2, ("r0", "r1"))
    assert kinds(report) == ["empty-text", "missing-label"]  # two empty texts are not duplicates of each other


def test_duplicates_and_contradictions_are_told_apart() -> None:
    texts = [*WORDS, WORDS[0], WORDS[0], WORDS[1], WORDS[3]]
    report = check(make_corpus(texts, [*(["a", "b"] * 30), "a", None, "a", "b"]))
    same = finding(report, "duplicate-text")
    assert (same.rows, same.severity) == (3, "note")
    assert same.examples == (repr(WORDS[0]), repr(WORDS[3]))
    twofold = finding(report, "text-under-two-labels")
    assert (twofold.rows, twofold.severity) == (2, "warning")
    assert twofold.examples == ("'sentence number 1': a, b",)


def test_texts_that_differ_in_blanks_are_noted_and_not_called_duplicates() -> None:
    report = check(make_corpus([*WORDS[:59], WORDS[0] + " "], ["a", "b"] * 30))
    assert kinds(report) == ["near-duplicate"]
    assert finding(report, "near-duplicate").rows == 2


def test_labels_of_few_rows_are_named() -> None:
    report = check(make_corpus(WORDS, ["a"] * 25 + ["b"] * 25 + ["c"] * 10))
    assert report.findings == ()
    few = finding(check(make_corpus(WORDS, ["a"] * 25 + ["b"] * 26 + ["c"] * 9)), "few-rows")
    assert (few.severity, few.rows) == ("warning", 9)
    assert "'c' (9)" in few.message


@pytest.mark.parametrize(("labels", "kind"), [(["a"] * 60, "one-label"), ([None] * 60, "no-labels")])
def test_fewer_than_two_labels_are_an_error(labels: list, kind: str) -> None:
    report = check(make_corpus(WORDS, labels))
    assert finding(report, kind).severity == "error"


def test_a_dominant_label_is_noted() -> None:
    texts = [f"sentence {i}" for i in range(200)]
    assert kinds(check(make_corpus(texts, ["a"] * 180 + ["b"] * 20))) == []
    dominant = finding(check(make_corpus(texts, ["a"] * 181 + ["b"] * 19)), "dominant-label")
    assert "90.5%" in dominant.message


@pytest.mark.parametrize(
    "damage", ["caf\ufffd au lait", "cafÃ© au lait", "donâ€™t know", "nul\x00 byte", "half \ud83d pair"]
)
def test_damaged_encoding_is_found_and_shown_in_ascii(damage: str) -> None:
    corpus = make_corpus(WORDS, ["a", "b"] * 30)
    object.__setattr__(corpus, "texts", (damage, *WORDS[1:]))  # Arrow would not take half a pair
    found = finding(check(corpus), "damaged-text")
    assert (found.rows, found.severity) == (1, "warning")
    assert found.examples[0].isascii()


@pytest.mark.parametrize(
    "text", ["Ça va à Ålesund?", "line\r\nbreak\tand tab", "São Paulo, “quoted” – 5 €", "日本語の文です"]
)
def test_text_in_any_language_is_not_taken_for_damage(text: str) -> None:
    assert check(make_corpus([text, *WORDS[1:]], ["a", "b"] * 30)).findings == ()


def test_very_short_texts_are_noted() -> None:
    report = check(make_corpus(["Yes.", " No. ", *WORDS[2:]], ["a", "b"] * 30))
    assert finding(report, "short-text").examples == ("r0: 'Yes.'", "r1: 'No.'")


def test_findings_come_errors_first_each_kind_once_and_with_a_cure() -> None:
    corpus = make_corpus(["", "hm", *WORDS, *WORDS], [None] * 2 + ["a"] * 120)
    known = Finding("one-label", "error", "As reading has it.", "Do.")
    object.__setattr__(corpus, "findings", (Finding("odd", "note", "Odd.", "Look."), known))
    found = check(corpus, split=split(corpus, by="random")).findings
    severities = [one.severity for one in found]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert [one.kind for one in found].count("one-label") == 1
    assert known in found
    assert {"odd", "missing-label", "empty-text", "short-text", "duplicate-text"} <= {one.kind for one in found}
    assert [one.kind for one in found].count("missing-label") == 1
    assert all(one.cure for one in found)


def test_what_the_split_noticed_is_among_the_findings() -> None:
    corpus = make_corpus(WORDS, ["a", "b"] * 30, groups=["x"] * 50 + ["y"] * 5 + ["z"] * 5)
    assert "sizes-off" in kinds(check(corpus, split=split(corpus)))


def test_near_duplicates_are_counted_and_shown() -> None:
    texts = [
        "We will cut the basic rate of income tax to 20p.",
        "we will cut the basic rate of income tax to 25p",
        *WORDS[2:],
    ]
    near = finding(check(make_corpus(texts, ["a", "b"] * 30)), "near-duplicate")
    assert (near.rows, near.severity) == (2, "note")
    assert near.examples[0].startswith("r")
    assert "20p" in near.examples[0]
    assert "25p" in near.examples[0]


def test_columns_that_reveal_the_label_are_shown_once() -> None:
    corpus = make_corpus(WORDS, ["a", "b"] * 30, coder=["x", "y"] * 30)
    assert kinds(check(corpus, split=split(corpus))) == ["column-reveals-label"]


def test_the_report_is_plain_json() -> None:
    corpus = make_corpus(["", *WORDS[1:]], ["a", "b"] * 30, groups=["x", "y", "z"] * 20)
    report = check(corpus, lengths=np.full(60, 9), max_length=8, split=split(corpus))
    stored = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert stored["rows"] == 60
    assert stored["share_truncated"] == 1.0
    assert stored["label_shares"]["all"] == {"a": 0.5, "b": 0.5}
    assert stored["lengths"]["largest"] == 9
    assert [one["kind"] for one in stored["findings"]] == kinds(report)


def test_an_empty_corpus_is_reported_too() -> None:
    report = check(make_corpus([], []))
    assert (report.rows, report.lengths, report.groups) == (0, None, None)
    assert kinds(report) == ["no-labels"]
    assert report.to_dict()["share_truncated"] is None


def test_a_notebook_shows_escaped_tables() -> None:
    page = check(
        make_corpus(["<script>", *WORDS[1:]], ["a", "b<i>"] * 30), lengths=[20] * 60, max_length=10
    )._repr_html_()
    assert "<script>" not in page
    assert "<td>b&lt;i&gt;</td><td>30 (50.0%)</td>" in page
    assert "100.0% cut at 10 tokens" in page
