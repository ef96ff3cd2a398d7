"""The commands label and merge, from the words typed to the exit code, with a model that needs no weights."""

import json
from pathlib import Path

import pytest

from secondcoder.cli.main import main
from tests.labelling.fake import FakeModel


@pytest.fixture(autouse=True)
def _fake_model_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("secondcoder.labelling.label.load_model", lambda *_args, **_options: FakeModel())
    rows = [f"{i},text {i}\n" for i in range(20)] + ["20,one,too many\n"]
    Path("in.csv").write_text("n,text\n" + "".join(rows), "utf-8")


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert isinstance(left.value.code, int)
    return left.value.code


def test_rejected_rows_leave_with_3_unless_they_are_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("label", "model", "in.csv", "--output", "out.csv") == 3
    said = capsys.readouterr()
    assert "1 lines of the input could not be parsed" in said.out
    assert "out.csv.rejected.jsonl" in said.out
    assert "biased" in said.out
    assert "line 22 of in.csv" in said.err
    assert run("label", "model", "in.csv", "--output", "again.csv", "--allow-rejects") == 0
    Path("good.csv").write_text("n,text\n1,a\n", "utf-8")
    assert run("label", "model", "good.csv", "--output", "good-out.csv") == 0
    assert not Path("good-out.csv.rejected.jsonl").exists()


def test_shards_are_labelled_and_merged(capsys: pytest.CaptureFixture[str]) -> None:
    for i in (1, 2):
        assert run("label", "model", "in.csv", "--output", f"s/{i}", "--shard", f"{i}/2", "--allow-rejects") == 0
    assert run("merge", "s/1", "--output", "out.csv") == 2
    assert "1 are missing: 2" in capsys.readouterr().err
    assert run("merge", "s/*", "--output", "out.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 20
    assert run("label", "model", "in.csv", "--output", "whole.csv", "--allow-rejects") == 0
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_a_shard_that_is_none_leaves_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("label", "model", "in.csv", "--output", "out.csv", "--shard", "3/2") == 2
    assert "3/40" in capsys.readouterr().err
