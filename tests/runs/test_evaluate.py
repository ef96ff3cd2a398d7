"""A run judged on newly labelled data: which columns are read, and what is said of the rows."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from time import process_time

import pytest

import secondcoder as sc
from secondcoder.corpus import reading
from secondcoder.errors import ColumnError
from secondcoder.formats.files import read_table
from secondcoder.runs import evaluate
from secondcoder.runs.evaluate import evaluate_on, read_new
from secondcoder.runs.run import Run
from secondcoder.settings import ReadSettings
from tests.tiny import make_rows

COLUMNS = ("id", "text", "area", "manifesto")


@pytest.fixture(scope="module")
def trained(encoder_folder, tmp_path_factory) -> Run:
    """A complete run on 120 texts of 12 groups."""
    rows = [
        dict(zip(COLUMNS, (f"t{i}", text, label, f"g{i // 10}"), strict=True))
        for i, (text, label) in enumerate(make_rows(120))
    ]
    corpus = sc.read(rows, text="text", label="area", id="id", group="manifesto")
    folder = tmp_path_factory.mktemp("runs") / "area"
    return sc.train(sc.split(corpus, seed=7), output=folder, model=str(encoder_folder), epochs=1, device="cpu", seed=5)


@pytest.fixture
def run(trained, tmp_path) -> Run:
    shutil.copytree(trained.folder, tmp_path / "runs" / "area")
    return Run(tmp_path / "runs" / "area")


@pytest.fixture
def new_file(tmp_path):
    """Write 30 new rows with some of the columns."""

    def write(*columns: str, change=lambda row: row) -> Path:
        path = tmp_path / "new.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore")
            writer.writeheader()
            for i, (text, label) in enumerate(make_rows(30, seed=99)):
                writer.writerow(change(dict(zip(COLUMNS, (f"n{i}", text, label, f"new{i // 6}"), strict=True))))
        return path

    return write


def test_groups_and_ids_are_read_by_the_runs_columns(run, new_file):
    corpus = read_new(run, new_file(*COLUMNS), ReadSettings())
    assert (corpus.ids[0], corpus.groups[0], len(set(corpus.groups))) == ("n0", "new0", 5)
    evaluation, findings = evaluate_on(run, corpus)
    assert (evaluation.n_groups, findings) == (5, [])
    assert corpus.source.columns == run.info["data"]["columns"]


def test_where_the_file_has_no_groups_its_texts_are_said_to_be_taken_as_independent(run, new_file):
    corpus = read_new(run, new_file("text", "area"), ReadSettings())
    evaluation, (finding,) = evaluate_on(run, corpus)
    assert (evaluation.n_groups, finding.kind, finding.severity) == (None, "no-groups", "warning")
    assert "taken as independent" in finding.message
    assert "--group" in finding.cure
    assert corpus.ids[0] == "1"


def test_a_named_column_is_not_overruled_and_not_forgiven(run, new_file):
    path = new_file(*COLUMNS)
    assert read_new(run, path, ReadSettings(group="id")).groups[0] == "n0"
    with pytest.raises(ColumnError, match="'nonsense'"):
        read_new(run, path, ReadSettings(group="nonsense"))
    # the run's group column, named as the labels here
    assert read_new(run, path, ReadSettings(label="manifesto")).groups is None
    with pytest.raises(ColumnError, match="'area'"):
        read_new(run, new_file("text", "manifesto"), ReadSettings())


def test_ids_that_are_none_give_way_to_row_numbers(run, new_file):
    corpus = read_new(run, new_file(*COLUMNS, change=lambda row: row | {"id": "same"}), ReadSettings())
    assert (corpus.ids[:2], corpus.groups[0]) == (("1", "2"), "new0")
    assert [finding.kind for finding in corpus.findings] == ["no-ids"]
    assert "come more than once" in corpus.findings[0].message


def test_the_file_is_read_once(run, new_file, monkeypatch):
    read = []
    monkeypatch.setattr(reading, "read_table", lambda path: read.append(path) or read_table(path))
    corpus = read_new(run, new_file(*COLUMNS), ReadSettings())
    assert (len(read), corpus.ids[0], corpus.groups[0]) == (1, "n0", "new0")
    alone = sc.read(read[0], text="text", label="area", id="id", group="manifesto")
    assert (corpus.sha256(), corpus.source, corpus.columns) == (alone.sha256(), alone.source, alone.columns)


def test_a_short_answer_that_was_learned_in_another_spelling_is_said_to_be_seen(run, new_file, monkeypatch):
    part = run.part("train")
    learned = replace(part, texts=("Crime and roads", *part.texts[1:]))
    monkeypatch.setattr(Run, "part", lambda _, name: learned if name == "train" else part.take([]))
    path = new_file(*COLUMNS, change=lambda row: row | ({"text": "crime  and ROADS."} if row["id"] == "n4" else {}))
    (finding,) = evaluate._seen(run, read_new(run, path, ReadSettings()))
    assert (finding.kind, finding.rows) == ("seen", 1)
    assert "0 word for word, 1 nearly (but for case, blanks or punctuation" in finding.message
    assert finding.examples[0].startswith(f"n4 ~ train {part.ids[0]} (1.00)")


def test_copies_and_near_copies_of_what_was_learned_are_counted_once_each(run, new_file):
    train, dev = run.part("train"), run.part("dev")
    long = [max(part.texts, key=len) for part in (train, dev)]
    taken = {"n0": long[0], "n1": f"{long[1]} indeed", "n2": long[0].upper(), "n3": min(train.texts, key=len)}
    path = new_file(*COLUMNS, change=lambda row: row | {"text": taken.get(row["id"], row["text"])})
    corpus = read_new(run, path, ReadSettings())
    _, (finding,) = evaluate_on(run, corpus)
    assert (finding.kind, finding.rows) == ("seen", 4)
    assert "4 of the 30 texts" in finding.message
    assert "2 word for word, 2 nearly" in finding.message
    assert len(finding.examples) == 4
    shown = " ".join(finding.examples)
    assert f"n0 = train {train.ids[train.texts.index(long[0])]}" in shown
    assert f"n1 ~ dev {dev.ids[dev.texts.index(long[1])]}" in shown


def test_new_rows_that_are_copies_of_each_other_are_not_said_to_be_seen(run, new_file):
    corpus = read_new(
        run, new_file(*COLUMNS, change=lambda row: row | {"text": "a text of its own, of some length"}), ReadSettings()
    )
    assert evaluate_on(run, corpus)[1] == []


def test_copies_among_a_thousand_new_rows_are_found_quickly(run, monkeypatch):
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("r", "nt", "sk", "ld")]
    random, of = Random(3), run.part("train")
    texts = [" ".join(random.choices(words, k=25)) for _ in range(3000)]

    def made(name, texts):
        ids = tuple(f"{name}{i}" for i in range(len(texts)))
        return replace(of.take([0] * len(texts)), ids=ids, texts=tuple(texts))

    learned = {"train": made("r", texts[:1500]), "dev": made("d", texts[1500:2000])}
    monkeypatch.setattr(Run, "part", lambda _, name: learned[name])
    rows = made("n", [*texts[2000:2990], *(f"{text} again" for text in texts[:10])])
    started = process_time()  # of this process alone: the machine may be busy
    (finding,) = evaluate._seen(run, rows)
    assert process_time() - started < 5
    assert finding.rows == 10
