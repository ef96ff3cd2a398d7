"""Whatever the disk refuses while a model is trained, and wherever the process is killed: whole, or to be resumed.

This file is also the child process in which the faults happen.
"""

import errno
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import secondcoder as sc
from secondcoder.errors import StorageError
from secondcoder.progress import Progress
from secondcoder.runs.run import Run
from secondcoder.storage import TEMPORARY_MARK
from tests.faults import CURES, Faults, Killed, run_with_faults
from tests.tiny import make_encoder, make_rows

KILLED = "SIGKILL"
FAULTS = ["ENOSPC", "EROFS", "EIO", KILLED]
FEW = 2
WHOLE = {
    ".lock",
    "data.parquet",
    "evaluation.json",
    "history.jsonl",
    "leads.json",
    "mistakes.json",
    "model",
    "predictions.parquet",
    "report.html",
    "tfidf.safetensors",
    "run.json",
    "split.parquet",
}


class Told(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """A fork of a process that has threads waits for them for ever."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


def test_a_training_is_whole_or_can_be_resumed(tmp_path):
    """At a few calls spread over all of them, others for each fault."""
    run_with_faults(__file__, "few", *FAULTS, folder=tmp_path, timeout=280)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_training_is_whole_or_can_be_resumed_after_a_fault_at_any_call(tmp_path, fault):
    run_with_faults(__file__, "all", fault, folder=tmp_path, timeout=3500)


def train_with_faults(faults: Faults, disk: Path, extent: str, tried: list[str]) -> None:
    encoder = make_encoder(Path.cwd() / "encoder", [text for text, _ in make_rows(60)])
    corpus = sc.read([{"text": text, "area": label} for text, label in make_rows(60)], text="text", label="area")
    split = sc.split(corpus)
    folder = disk / "runs" / "area"
    expected: list[str] = []
    told = Told()

    def work(*, resume: bool = False) -> Run:
        return sc.train(
            split,
            output=folder,
            model=str(encoder),
            epochs=2,
            freeze=0.5,
            learning_rate=5e-3,
            device="cpu",
            backend="torch",
            resume=resume,
            progress=told,
        )

    def prepare() -> None:
        shutil.rmtree(folder.parent, ignore_errors=True)
        told.said.clear()

    def check(stopped: StorageError | Killed | None) -> None:
        if isinstance(stopped, StorageError):
            assert str(disk) in stopped.what
        if stopped is not None:
            if (folder / "model").exists():
                assert sc.load(folder / "model").sha256 == expected[0]
            made = work(resume=True)
        else:
            made = Run(folder)
        expected.append(made.model.sha256)
        assert made.status == "complete"
        # A disk that refuses the activations is done without, which rounds differently, and is said.
        assert expected[-1] == expected[0] or any("is not kept on disk" in said for said in told.said)
        assert len(made.history) == 2
        assert {path.name for path in folder.iterdir()} == WHOLE
        # Beside the run nobody can tell a dead writer's leftovers from what another one is writing just now.
        left = (folder if isinstance(stopped, Killed) else folder.parent).rglob("*")
        assert not [path for path in left if TEMPORARY_MARK in path.name]

    for fault in tried:
        choose = spread(FAULTS.index(fault)) if extent == "few" else every
        if fault == KILLED:
            done = {"killed": faults.sweep_kills(disk, work, prepare=prepare, check=check, choose=choose)}
        else:
            number = getattr(errno, fault)
            cure = {number: CURES[number]}
            done = faults.sweep(disk, work, prepare=prepare, check=check, errors=cure, choose=choose)
        print(fault, done)  # noqa: T201
        assert done.get("killed", 0) + done.get("refused", 0) > 0


def every(calls: list[str]) -> Iterable[int]:
    return range(1, len(calls) + 1)


def spread(i: int) -> Callable[[list[str]], Iterable[int]]:
    """Return a choice of a few calls that are far from each other, others for each i."""
    return lambda calls: [len(calls) * (j * len(FAULTS) + i) // (FEW * len(FAULTS)) + 1 for j in range(FEW)]


if __name__ == "__main__":
    train_with_faults(Faults(), Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
