import json
from dataclasses import replace

import pytest

from secondcoder.errors import RunError, StorageError
from secondcoder.settings import TrainSettings
from secondcoder.training.finished import FinishedTrainings, trainings_key

ONE, TWO = {"size": 10, "seed": 1, "figure": 0.5}, {"size": 20, "seed": 1, "figure": 0.1 + 0.2}


@pytest.fixture(params=["listed", "lines"])
def reopened(request, tmp_path):
    """A function that opens the journal of a key, in either layout."""
    lines = tmp_path / "all.jsonl" if request.param == "lines" else None
    return lambda key="k": FinishedTrainings(tmp_path / "all.json", key, by=("size", "seed"), lines=lines)


def test_what_was_added_is_there_again_in_its_order(reopened):
    journal = reopened()
    assert not journal.begun
    journal.begin(limit=3.5)
    journal.add(TWO)
    journal.add(ONE)
    again = reopened()
    again.require_same("trainings", "")
    assert again.begun
    assert again.head["limit"] == 3.5
    assert list(again.done.items()) == [((20, 1), TWO), ((10, 1), ONE)]


def test_a_journal_of_another_key_is_refused_or_counts_for_nothing(reopened, tmp_path):
    journal = reopened()
    journal.begin()
    journal.add(ONE)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = reopened("other")
    assert not other.begun
    assert other.done == {}
    with pytest.raises(RunError, match="holds a curve of other data or settings") as caught:
        other.require_same("a curve", "Choose another.")
    assert caught.value.cure == "Choose another."
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_line_that_a_killed_process_left_half_is_a_training_to_be_made(tmp_path):
    lines = tmp_path / "all.jsonl"
    journal = FinishedTrainings(tmp_path / "all.json", "k", by=("size",), lines=lines)
    journal.begin()
    journal.add(ONE)
    with lines.open("a") as stream:
        stream.write(json.dumps(TWO)[:-3])
    again = FinishedTrainings(tmp_path / "all.json", "k", by=("size",), lines=lines)
    assert list(again.done) == [(10,)]
    again.add(TWO)
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [ONE, TWO]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path):
    journal = FinishedTrainings(tmp_path / "all.json", "k", by=("size",), name="trials")
    journal.add(ONE)
    before = (tmp_path / "all.json").read_bytes()
    assert json.loads(before) == {"key": "k", "trials": [ONE]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.add(TWO | {"figure": float("nan")})
    assert (tmp_path / "all.json").read_bytes() == before


def test_a_damaged_file_is_an_error_and_one_without_a_key_is_another_ones(tmp_path):
    (tmp_path / "all.json").write_text("{")
    with pytest.raises(StorageError):
        FinishedTrainings(tmp_path / "all.json", "k", by=("size",))
    (tmp_path / "all.json").write_text("{}")
    with pytest.raises(RunError):
        FinishedTrainings(tmp_path / "all.json", "k", by=("size",)).require_same("trainings", "")


def test_the_key_is_of_data_settings_and_seed(corpus):
    settings = TrainSettings()
    train, dev = corpus.take(range(0, 80)), corpus.take(range(80, 120))
    key = trainings_key(settings, train, dev, seed=1)
    assert key == trainings_key(replace(settings, device="cpu"), train, dev, seed=1)
    others = [
        trainings_key(settings, train, dev),
        trainings_key(settings, train, dev, seed=2),
        trainings_key(settings, dev, train, seed=1),
        trainings_key(settings, train, seed=1),
        trainings_key(replace(settings, epochs=3), train, dev, seed=1),
    ]
    assert len({key, *others}) == 6
