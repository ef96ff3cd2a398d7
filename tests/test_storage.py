import errno
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from secondcoder import storage
from secondcoder.errors import DataError, RunError, StorageError
from secondcoder.storage import (
    HOLDER_FILE,
    LOCK_FILE,
    LOCK_FILES,
    Stored,
    append_json_line,
    atomic_path,
    from_plain,
    locked,
    read_arrays,
    read_json,
    read_json_lines,
    sha256_file,
    sha256_strings,
    storage_errors,
    write_arrays,
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
    monkeypatch.setattr(storage, "_swap", lambda _one, _other: False)

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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps names in one step")
def test_a_folder_is_swapped_in_one_step(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert storage._swap(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "other").exists()
    assert (tmp_path / "other" / "one").exists()
    assert not storage._swap(tmp_path / "one", tmp_path / "none")


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links only for administrators")
def test_a_link_to_a_folder_is_replaced_and_what_it_points_to_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    (tmp_path / "model").symlink_to("elsewhere")
    with atomic_path(tmp_path / "model") as temporary:
        temporary.mkdir()
    assert not (tmp_path / "model").is_symlink()
    assert (tmp_path / "elsewhere" / "precious").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "model"]


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, r"^Free space \([\d,]+\.\d MB were left on the disk\) or choose another folder\.$"),
        (errno.EDQUOT, "^Free space .* or choose another folder"),
        (errno.EROFS, "folder that you may write to"),
        (errno.EACCES, "folder that you may write to"),
        (errno.EPERM, "folder that you may write to"),
        (errno.EIO, "device failed: copy what is there elsewhere"),
        (errno.ENAMETOOLONG, "Check the path"),
    ],
)
@pytest.mark.parametrize("wording", ["python", "rust", "arrow"])
def test_what_to_do_depends_on_what_the_system_says(tmp_path, number, cure, wording):
    error = {
        "python": OSError(number, os.strerror(number)),
        "rust": Exception(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})"),
        "arrow": OSError(f"Error writing bytes to file. Detail: [errno {number}] {os.strerror(number)}"),
    }[wording]
    path = tmp_path / "none" / "a.parquet"
    with pytest.raises(StorageError) as caught, storage_errors(path):
        raise error
    assert caught.value.what == f"Cannot write {path}: {os.strerror(number)}."
    assert re.search(cure, caught.value.cure)
    assert caught.value.__cause__ is error


def test_safetensors_says_it_as_expected(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    with pytest.raises(StorageError, match="No such file or directory"), storage_errors(tmp_path / "a"):
        save_file({"a": np.zeros(1)}, tmp_path / "none" / "a")


@pytest.mark.parametrize("error", [ValueError("5 rows"), KeyboardInterrupt(), RunError("No. (os error 28)")])
def test_other_errors_are_not_the_disk(tmp_path, error):
    with pytest.raises(type(error)) as caught, storage_errors(tmp_path):
        raise error
    assert caught.value is error


def leave_behind(folder: Path, name: str, *, days: float = 0) -> Path:
    """Leave what another process that was killed would leave."""
    path = folder / f"{name}12345678-abcdef12"
    path.mkdir(parents=True)
    (path / "weights").touch()
    for changed in (path / "weights", path):
        os.utime(changed, (time.time() - days * 24 * 3600,) * 2)
    return path


def test_what_a_killed_writer_left_in_a_held_folder_is_cleared_away(tmp_path):
    left = leave_behind(tmp_path / "run" / "deep", ".a.txt.partial-")
    another = leave_behind(tmp_path / "run" / "deep", ".another.txt.partial-")
    similar = leave_behind(tmp_path / "run" / "deep", "a.txt.partial-")
    with locked(tmp_path / "run"), atomic_path(tmp_path / "run" / "deep" / "a.txt") as mine:
        mine.touch()
        assert not left.exists()
        write_text(tmp_path / "run" / "deep" / "a.txt", "from another thread")
        assert mine.exists()
    assert another.exists()
    assert similar.exists()
    left = leave_behind(tmp_path / "run" / "deep", ".a.txt.partial-")
    write_text(tmp_path / "run" / "deep" / "a.txt", "the folder is no longer held")
    assert left.exists()


def test_elsewhere_only_what_is_old_is_cleared_away(tmp_path):
    young, old = leave_behind(tmp_path, ".a.txt.partial-0", days=6), leave_behind(tmp_path, ".a.txt.partial-1", days=8)
    growing = leave_behind(tmp_path, ".a.txt.partial-2", days=8)
    (growing / "weights").write_text("just now")
    with locked(tmp_path / "another-folder"):
        write_text(tmp_path / "a.txt", "new")
    assert young.exists()
    assert growing.exists()
    assert not old.exists()


def test_a_folder_that_was_moved_aside_by_a_killed_writer_is_put_back(tmp_path):
    leave_behind(tmp_path, ".model.partial-old-")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "model"):
        assert (tmp_path / "model" / "weights").exists()
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_not_a_number_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"f1": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StorageError, match=r"a\.json"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{\n{"n": 2}\n')
    with pytest.raises(StorageError, match=r"a\.jsonl"):
        read_json_lines(tmp_path / "a.jsonl")


def test_lines_are_appended_and_odd_line_separators_survive(tmp_path):
    path = tmp_path / "lines.jsonl"
    values = [{"text": "a\u2028b\u0085c\nd"}, {"n": 1}]
    for value in values:
        append_json_line(path, value)
    assert read_json_lines(path) == values
    assert read_json_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("torn", [b'{"n": 2', '{"text": "ä"'.encode()[:-2], b'"', b"{"])
def test_a_half_written_last_line_is_left_out_and_then_cut_off(tmp_path, torn, caplog):
    path = tmp_path / "lines.jsonl"
    append_json_line(path, {"n": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert read_json_lines(path) == [{"n": 1}]
    append_json_line(path, {"n": 3})
    assert path.read_bytes() == whole + b'{"n": 3}\n'
    assert "half-written" in caplog.text


def test_a_last_line_that_lacks_only_its_end_is_kept(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"n": 1}\r\n\n{"n": 2}')
    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]
    append_json_line(path, {"n": 3})
    assert read_json_lines(path) == [{"n": 1}, {"n": 2}, {"n": 3}]


@pytest.mark.parametrize(("there", "left"), [(b"", b""), (b"1\n", b"1\n"), (b"1", b"1"), (b"1\n{", b"1\n")])
def test_a_line_that_the_disk_refuses_leaves_no_trace(tmp_path, monkeypatch, there, left):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(there)

    def refuse(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=r"lines\.jsonl"):
        append_json_line(path, {"n": 1})
    assert path.read_bytes() == left


@pytest.mark.skipif(os.name == "nt", reason="writers do not take turns on Windows")
def test_writers_of_lines_take_turns(tmp_path):
    import fcntl

    path = tmp_path / "lines.jsonl"
    with ThreadPoolExecutor(1) as pool:
        with path.open("ab", buffering=0) as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            other.write(b'{"n": ')
            mine = pool.submit(append_json_line, path, {"n": 2})
            with pytest.raises(TimeoutError):
                mine.result(timeout=0.1)
            other.write(b"1}\n")
        mine.result()
    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]


def test_hashes_tell_contents_apart(tmp_path):
    assert sha256_strings(["ab", "c"]) != sha256_strings(["a", "bc"])
    assert sha256_strings(["a"], ["b"]) != sha256_strings(["a", "b"])
    assert sha256_strings([None]) != sha256_strings([""])
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def lock_in_another_process(folder: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from pathlib import Path; from secondcoder.storage import locked\n"
        "with locked(Path(sys.argv[1])): pass"
    )
    return subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "emmy")
    with locked(tmp_path):
        assert {p.name for p in tmp_path.iterdir()} == set(LOCK_FILES)
        done = lock_in_another_process(tmp_path)
        assert done.returncode == 1
        since = read_json(tmp_path / HOLDER_FILE)["since"]
        assert (
            f"{RunError.__name__}: {tmp_path} is in use by another secondcoder process: "
            f"{os.getpid()} of user emmy on host {platform.node()}, since {since}." in done.stderr
        )
    assert [p.name for p in tmp_path.iterdir()] == [LOCK_FILE]
    assert lock_in_another_process(tmp_path).returncode == 0


@pytest.mark.parametrize("note", [None, "", "[]", "{}", '"text"', json.dumps({"process": 1, "user": None})])
def test_a_second_holder_is_refused_where_the_note_cannot_be_read(tmp_path, note):
    with locked(tmp_path):
        (tmp_path / HOLDER_FILE).unlink()
        if note is not None:
            (tmp_path / HOLDER_FILE).write_text(note)
        with pytest.raises(RunError, match="is in use by another secondcoder process\\."), locked(tmp_path):
            pass


def test_the_note_of_a_killed_holder_is_in_nobodys_way(tmp_path):
    (tmp_path / HOLDER_FILE).write_text('{"process": 1')
    (tmp_path / LOCK_FILE).touch()
    with locked(tmp_path):
        assert read_json(tmp_path / HOLDER_FILE)["process"] == os.getpid()


def test_a_user_without_a_name_can_hold_a_folder(tmp_path, monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", unknown)
    with locked(tmp_path), pytest.raises(RunError, match=rf"process: {os.getpid()} on host"), locked(tmp_path):
        pass


def test_who_waits_for_the_lock_file_and_who_comes_later_wait_for_the_same_one(tmp_path):
    with locked(tmp_path):
        before = (tmp_path / LOCK_FILE).stat().st_ino
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).stat().st_ino == before


def test_a_folder_is_free_again_after_an_error_within(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_folder_that_may_only_be_read_says_what_to_do():
    with tempfile.TemporaryDirectory() as outer:  # not tmp_path, which another user cannot even look into
        folder = Path(outer) / "run"
        with locked(folder):
            pass  # and everything that is needed has been imported
        Path(outer).chmod(0o755)
        (folder / LOCK_FILE).unlink()
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # permissions do not hold for root
        try:
            with (
                pytest.raises(StorageError, match=f"Cannot write {folder}: Permission denied") as caught,
                locked(folder),
            ):
                pass
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
    assert "may write to" in caught.value.cure


def test_the_lock_is_let_go_when_the_note_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(storage.Path, "write_text", refuse)
        with pytest.raises(StorageError, match="No space left"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


@dataclass(frozen=True)
class Point:
    at: tuple[int, float]
    path: Path | None = None


@dataclass(frozen=True)
class Line(Stored, name="a line", cure="Draw it again."):
    points: tuple[Point, ...]
    named: dict[str, Point | None]
    level: float = 0.5


def test_what_goes_to_disk_as_plain_values_comes_back():
    line = Line((Point((1, 2.5)), Point((3, 4.0))), {"first": Point((1, 2.5)), "none": None})
    assert line.to_dict()["points"] == [{"at": [1, 2.5], "path": None}, {"at": [3, 4.0], "path": None}]
    assert Line.from_dict(json.loads(json.dumps(line.to_dict()))) == line
    assert from_plain(Point, {"at": [1, 2.0], "path": "a/b"}) == Point((1, 2.0), Path("a/b"))
    assert Line.from_dict({"points": [], "named": {}}) == Line((), {})  # as an earlier version wrote it


@pytest.mark.parametrize(
    "damaged",
    [{}, {"points": None, "named": {}}, {"points": [None], "named": {}}, {"points": [{"at": [1]}], "named": {}},
     {"points": [], "named": {}, "unknown": 1}],
)  # fmt: skip
def test_other_plain_values_are_refused(damaged):
    with pytest.raises(DataError, match="not a line as secondcoder writes it") as caught:
        Line.from_dict(damaged)
    assert caught.value.cure == "Draw it again."


def test_a_subclass_inherits_what_it_is_called():
    class Longer(Line):
        pass

    with pytest.raises(DataError, match="not a line as secondcoder writes it: missing or unknown: colour"):
        Longer.from_dict({"points": [], "named": {}, "colour": "red"})


def test_arrays_are_read_as_they_were_whatever_their_order_in_memory(tmp_path):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    write_arrays(tmp_path / "a", {"a": array, "b": array[:, ::2]}, "about")
    found, about = read_arrays(tmp_path / "a")
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_array_equal(found["b"], array[:, ::2])
    assert about == "about"
