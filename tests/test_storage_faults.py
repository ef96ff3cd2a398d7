"""Whatever the disk refuses, and wherever the process is killed: the old state or the new one, never half.

This file is also the child process in which the faults happen.
"""

import contextlib
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from secondcoder import storage
from secondcoder.errors import StorageError
from secondcoder.storage import append_json_line, atomic_path, locked, read_json_lines, storage_errors
from tests.faults import Faults, Killed, run_with_faults

NAME = "kept"


@dataclass(frozen=True)
class Case:
    """Something that is written: `write` an old and a new content under a path, `read` what is there."""

    write: Callable[[Path, str], object]
    read: Callable[[Path], str]


def write_folder(path: Path, content: str) -> None:
    with atomic_path(path) as temporary, storage_errors(path):
        (temporary / "deep").mkdir(parents=True)
        (temporary / "weights").write_text(content * 1000)
        (temporary / "deep" / "card").write_text(content)
        if content == "new":
            (temporary / "only-in-new").write_text(content)


def write_folder_in_two_steps(path: Path, content: str) -> None:
    """As where names cannot be swapped."""
    swap, storage._swap = storage._swap, lambda _one, _other: False
    try:
        write_folder(path, content)
    finally:
        storage._swap = swap


def read_folder(path: Path) -> str:
    content = (path / "deep" / "card").read_text()
    assert (path / "weights").read_text() == content * 1000
    assert (path / "only-in-new").exists() == (content == "new")
    return content


def write_safetensors(path: Path, content: str) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary, storage_errors(path):
        save_file({"a": np.full(100_000, len(content), np.uint8), content: np.zeros(3)}, temporary)


def read_safetensors(path: Path) -> str:
    from safetensors.numpy import load_file

    found = load_file(path)
    (content,) = found.keys() - {"a"}
    assert (found["a"] == len(content)).all()
    return content


def write_parquet(path: Path, content: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary, storage_errors(path):
        pq.write_table(pa.table({"text": [content] * 1000}), temporary)


def write_parquet_to_stream(path: Path, content: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary, storage_errors(path), temporary.open("wb") as stream:
        pq.write_table(pa.table({"text": [content] * 1000}), stream)


def read_parquet(path: Path) -> str:
    import pyarrow.parquet as pq

    column = pq.read_table(path)["text"].to_pylist()
    assert column == [column[0]] * 1000
    return str(column[0])


def write_file(path: Path, content: str) -> None:
    with atomic_path(path) as temporary, storage_errors(path), temporary.open("w") as stream:
        for _ in range(5000):  # more than one buffer
            stream.write(content)


def read_file(path: Path) -> str:
    found = path.read_text()
    content = found[:3]
    assert found == content * 5000
    return content


def read_lines(path: Path) -> str:
    """Return the last value; those before it must all be there."""
    values = [value["content"] for value in read_json_lines(path)]
    assert values[:2] == ["first", "old"]
    assert set(values[2:]) <= {"new"}
    return str(values[-1])


def write_line(path: Path, content: str) -> None:
    if content == "old":
        path.unlink(missing_ok=True)
        append_json_line(path, {"content": "first"})
    append_json_line(path, {"content": content})


CASES = {
    "text": Case(storage.write_text, Path.read_text),
    "json": Case(storage.write_json, storage.read_json),
    "file": Case(write_file, read_file),
    "folder": Case(write_folder, read_folder),
    "folder-in-two-steps": Case(write_folder_in_two_steps, read_folder),
    "line": Case(write_line, read_lines),
    "safetensors": Case(write_safetensors, read_safetensors),
    "parquet": Case(write_parquet, read_parquet),
    "parquet-stream": Case(write_parquet_to_stream, read_parquet),
}


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def names(folder: Path) -> set[str]:
    """Return what is in a folder, save the lock file, which stays, and temporaries that storage does not make."""
    strays = storage.LOCK_FILE, ".tmp"  # safetensors writes .tmpXXXXXX beside the file and forgets it when killed
    return {path.name for path in folder.iterdir() if not path.name.startswith(strays)}


def refuse_each_call(faults: Faults, folder: Path, case: Case) -> None:
    path = folder / NAME

    def prepare() -> None:
        clear(folder)
        case.write(path, "old")

    def check(stopped: StorageError | Killed | None) -> None:
        assert case.read(path) in (("new",) if stopped is None else ("old", "new"))
        assert stopped is None or str(path) in str(stopped)
        there = names(folder)
        if case.read(path) == "new" and stopped is not None and case.write is write_folder_in_two_steps:
            there = {name for name in there if storage._ASIDE not in name}  # for the next writer to clear away
        assert there == {NAME}

    tally = faults.sweep(folder, lambda: case.write(path, "new"), prepare=prepare, check=check)
    assert tally["refused"] > 0


def kill_at_each_call(faults: Faults, folder: Path, case: Case) -> None:
    path = folder / NAME

    def prepare() -> None:
        clear(folder)
        case.write(path, "old")

    def check(_stopped: StorageError | Killed | None) -> None:
        if case.write is write_folder_in_two_steps:  # the old one may be aside, until the next writer, even one in vain
            with contextlib.suppress(KeyError), atomic_path(path):
                raise KeyError
        assert case.read(path) in ("old", "new")
        with locked(folder):
            case.write(path, "new")
        assert names(folder) == {NAME}
        assert case.read(path) == "new"

    assert faults.sweep_kills(folder, lambda: case.write(path, "new"), prepare=prepare, check=check) > 0


def show_calls(faults: Faults, folder: Path, name: str) -> None:
    faults.watch(folder)
    print(*(f"{name}: {call}" for call in faults.calls(lambda: CASES[name].write(folder / name, "new"))), sep="\n")  # noqa: T201


@pytest.mark.parametrize("name", CASES)
def test_the_old_or_the_new_is_there_whole(tmp_path, name):
    run_with_faults(__file__, name, folder=tmp_path)


def test_the_calls_of_each_language_are_seen(tmp_path):
    seen = run_with_faults(__file__, "--show", "safetensors", "parquet", "text", "line", "folder", folder=tmp_path)
    assert re.search(r"safetensors: \d+ write /\.tmp\w+", seen)  # Rust
    assert re.search(r"parquet: \d+ write /\.parquet\.partial-", seen)  # C++
    assert re.search(r"text: \d+ write /\.text\.partial-", seen)  # Python, as all below
    assert re.search(r"text: \d+ fsync /\.text\.partial-", seen)
    assert re.search(r"text: \d+ rename /text", seen)
    assert re.search(r"line: \d+ write /line", seen)
    assert re.search(r"folder: \d+ mkdir /\.folder\.partial-[\w-]+/deep", seen)


def test_a_folder_that_is_not_watched_is_left_in_peace(tmp_path):
    code = """
        import errno, sys
        from pathlib import Path
        from tests.faults import Faults
        disk, faults = Path(sys.argv[1]), Faults()
        (disk / "watched").mkdir()
        (disk / "watched-not").mkdir()
        faults.watch(disk / "watched")
        faults.arm(1, errno.EIO)
        (disk / "watched-not" / "a").write_text("a")
        assert faults.count == 0
        try:
            (disk / "watched" / "a").write_text("a")
        except OSError as error:
            assert error.errno == errno.EIO
        assert faults.struck and faults.trace == ["1 open64 /a  <- Input/output error"], faults.trace
        (disk / "watched" / "a").write_text("a")
    """
    run_with_faults(textwrap.dedent(code), folder=tmp_path)


def test_a_full_disk_takes_half_and_stays_full(tmp_path):
    code = """
        import errno, os, sys
        from tests.faults import Faults
        faults = Faults()
        faults.watch(sys.argv[1])
        descriptor = os.open(sys.argv[1] + "/a", os.O_WRONLY | os.O_CREAT)
        faults.arm(1, errno.ENOSPC)
        assert os.write(descriptor, b"12345678") == 4
        for _ in range(2):
            try:
                os.write(descriptor, b"5")
            except OSError as error:
                assert error.errno == errno.ENOSPC
            else:
                raise AssertionError
        os.fsync(descriptor)
        faults.disarm()
        assert os.write(descriptor, b"5678") == 4
    """
    run_with_faults(textwrap.dedent(code), folder=tmp_path)


if __name__ == "__main__":
    disk, *cases = sys.argv[1:]
    if cases[0] == "--show":
        for case in cases[1:]:
            show_calls(Faults(), Path(disk), case)
    else:
        refuse_each_call(Faults(), Path(disk), CASES[cases[0]])
        kill_at_each_call(Faults(), Path(disk), CASES[cases[0]])
