import errno
import os
import subprocess
import sys

import pytest

from secondcoder import storage
from secondcoder.errors import RunError, StorageError
from secondcoder.storage import (
    append_json_line,
    atomic_path,
    locked,
    read_json,
    read_json_lines,
    sha256_file,
    sha256_strings,
    write_json,
    write_text,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"old": 1})
    write_json(path, {"new": "ä"})
    assert read_json(path) == {"new": "ä"}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_when_the_disk_refuses_the_old_file_is_still_there(tmp_path, monkeypatch, call):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", refuse)
    elif call == "replace":
        monkeypatch.setattr(storage.Path, "replace", refuse)
    else:
        monkeypatch.setattr(storage.Path, "write_text", refuse)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_text(path, "new")
    assert "Free space" in caught.value.cure
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_block_that_fails_leaves_the_old_state_and_nothing_else(tmp_path):
    folder = tmp_path / "model"
    for content in ("old", "newer"):
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text(content)
    with pytest.raises(KeyboardInterrupt), atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("half")
        raise KeyboardInterrupt
    assert (folder / "weights").read_text() == "newer"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("old")
    real = storage.Path.rename

    def refuse_new(self, target):
        if ".partial-" in self.name and "old-" not in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(storage.Path, "rename", refuse_new)
    with pytest.raises(StorageError), atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("new")
    assert (folder / "weights").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_not_a_number_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"f1": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StorageError, match=r"a\.json"):
        read_json(tmp_path / "a.json")
    with pytest.raises(StorageError, match=r"a\.json"):
        read_json_lines(tmp_path / "a.json")


def test_lines_are_appended_and_odd_line_separators_survive(tmp_path):
    path = tmp_path / "lines.jsonl"
    values = [{"text": "a\u2028b\u0085c\nd"}, {"n": 1}]
    for value in values:
        append_json_line(path, value)
    assert read_json_lines(path) == values
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_hashes_tell_contents_apart(tmp_path):
    assert sha256_strings(["ab", "c"]) != sha256_strings(["a", "bc"])
    assert sha256_strings(["a"], ["b"]) != sha256_strings(["a", "b"])
    assert sha256_strings([None]) != sha256_strings([""])
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_second_process_is_refused_while_one_holds_the_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from secondcoder.storage import locked\n"
        f"with locked(Path({str(tmp_path)!r})): pass"
    )

    def other():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    with locked(tmp_path):
        done = other()
        assert done.returncode == 1
        assert RunError.__name__ in done.stderr
        assert "in use" in done.stderr
    assert other().returncode == 0
