"""Whatever the disk refuses, and wherever the process is killed: no half output, and the same call then ends well.

This file is also the child process in which the faults happen.
"""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from secondcoder.errors import StorageError
from secondcoder.labelling import chunks, journal, label
from secondcoder.labelling.label import label_file
from tests.faults import Faults, Killed, run_with_faults
from tests.labelling.fake import FakeModel

FEW = 3
N = 20


@pytest.mark.parametrize("name", ["out.csv", pytest.param("out", marks=pytest.mark.slow)])
def test_labelling_is_whole_or_goes_on_after_faults_at_some_calls(tmp_path: Path, name: str) -> None:
    run_with_faults(__file__, name, "few", folder=tmp_path, timeout=280)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["out.csv", "out"])
def test_labelling_is_whole_or_goes_on_after_a_fault_at_any_call(tmp_path: Path, name: str) -> None:
    run_with_faults(__file__, name, "all", folder=tmp_path, timeout=1700)


def label_with_faults(faults: Faults, disk: Path, name: str, extent: str) -> None:
    label.CHUNK_ROWS = chunks.CHUNK_ROWS = 4
    journal.PART_ROWS = 8
    source = Path.cwd() / "in.csv"
    source.write_text("n,text\n" + "".join(f"{i},text {i}\n" for i in range(N)) + "x,one,too many\n", "utf-8")
    output = disk / name
    expected: list[dict[str, bytes]] = []

    def label_once() -> None:
        label_file(FakeModel(), source, output)

    def prepare() -> None:
        for path in disk.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def check(stopped: StorageError | Killed | None) -> None:
        if output.exists():
            assert (disk / f"{name}.manifest.json").exists(), "an output without its manifest"
            assert not expected or whole_files(disk) == expected[0]
        if isinstance(stopped, StorageError):
            assert str(disk) in stopped.what
        if stopped is not None:
            label_once()
        assert output.exists()
        if not expected:
            expected.append(whole_files(disk))
        assert whole_files(disk) == expected[0]

    choose = every if extent == "all" else spread
    refused = faults.sweep(disk, label_once, prepare=prepare, check=check, choose=choose)["refused"]
    assert refused > 0
    assert faults.sweep_kills(disk, label_once, prepare=prepare, check=check, choose=choose) > 0


def whole_files(disk: Path) -> dict[str, bytes]:
    """Return what is there, without the manifest, which has times in it, and what is not finished."""
    names = {str(path.relative_to(disk)): path for path in disk.rglob("*") if path.is_file()}
    return {name: p.read_bytes() for name, p in names.items() if "manifest" not in name and ".parts" not in name}


def every(calls: list[str]) -> Iterable[int]:
    return range(1, len(calls) + 1)


def spread(calls: list[str]) -> Iterable[int]:
    """Some calls far from each other, and those that put the output in its place."""
    some = {len(calls) * i // FEW + 1 for i in range(FEW)}
    last = [i for i, call in enumerate(calls, 1) if "manifest" in call or " link" in call or "rename /out" in call]
    return sorted(some | set(last))


if __name__ == "__main__":
    label_with_faults(Faults(), Path(sys.argv[1]), sys.argv[2], sys.argv[3])
