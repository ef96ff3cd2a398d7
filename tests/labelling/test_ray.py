"""Labelled by workers on Ray, a corpus comes out as labelled by one process: row by row, part by part, to the last bit.

Ray is started on this machine with two cores. The model is a small network on random weights, computed in the workers
with as many threads as here: one.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from secondcoder.errors import MissingExtraError, ModelError, SettingsError
from secondcoder.labelling import chunks, ray_engine
from secondcoder.labelling.label import label
from secondcoder.labelling.ray_engine import Needs, choose_needs
from secondcoder.model.loading import start_model
from secondcoder.progress import Progress
from secondcoder.settings import LabelSettings, TrainSettings
from secondcoder.storage import read_json
from tests.labelling.test_kills import everything
from tests.tiny import make_encoder, make_rows

N = 3000
with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray (the extra ray) is not installed")
RAY: dict[str, Any] = {"engine": "ray", "workers": 2, "cpus": 1}
GPU = {"CPU": 32.0, "GPU": 4.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a corpus, and what one process makes of it with one thread."""
    folder = tmp_path_factory.mktemp("ray")
    texts = [text for text, _ in make_rows(N, longest=60)]
    settings = TrainSettings(model=str(make_encoder(folder / "encoder", texts)), device="cpu", precision="fp32")
    start_model(settings, label_names=("a", "b", "c"), seed=1, text_column="text").save(folder / "model")
    rows = pa.table({"n": range(N), "text": [text if i % 9 else None for i, text in enumerate(texts)]})
    pq.write_table(rows.slice(0, 1000), folder / "in-0.parquet", row_group_size=300)
    pq.write_table(rows.slice(1000), folder / "in-1.parquet", row_group_size=700)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    label(folder / "model", folder / "in-*.parquet", output=folder / "local" / "out", probabilities=True)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secondcoder.labelling.label.CHUNK_ROWS", 100)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 100)


def on_ray(folder: Path, name: str, progress: Progress | None = None) -> Path:
    output = folder / name / "out"
    label(folder / "model", folder / "in-*.parquet", output=output, probabilities=True, progress=progress, **RAY)
    return output


def compare(folder: Path, output: Path) -> None:
    local = folder / "local" / "out"
    one, other = pq.read_table(local), pq.read_table(output)
    assert one.num_rows == N
    for i, (row, same) in enumerate(zip(one.to_pylist(), other.to_pylist(), strict=True)):
        assert row == same, i
    assert everything(output) == everything(local)
    assert read_json(output.parent / "out.manifest.json")["threads"] == [1]


@with_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_write_what_one_process_writes_and_one_that_is_killed_is_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    class Killing(Progress):
        """Looks at what listens, and kills a worker when a third is done."""

        def task(self, description: str, total: int | None, unit: str = "texts") -> Any:
            killing = self
            task = super().task(description, total, unit)

            class Task:
                done = 0

                def __enter__(self) -> "Task":
                    task.__enter__()
                    return self

                def __exit__(self, *error: Any) -> None:
                    task.__exit__(*error)

                def advance(self, n: int = 1, note: str = "") -> None:
                    self.done += n
                    if self.done > N // 3 and "killed" not in seen:
                        seen["killed"] = killing.kill()

            return Task()

        def kill(self) -> int:
            family = psutil.Process().children(recursive=True)
            seen["addresses"] = {
                connection.laddr.ip
                for process in family
                for connection in process.net_connections()
                if connection.status == psutil.CONN_LISTEN and connection.family != socket.AF_UNIX
            }
            worker = next(process for process in family if process.name().startswith("ray::Worker"))
            worker.kill()
            return int(worker.pid)

    output = on_ray(folder, "killed", Killing())
    assert seen["killed"]
    assert seen["addresses"]
    assert {address.removeprefix("::ffff:") for address in seen["addresses"]} == {"127.0.0.1"}
    compare(folder, output)
    assert not [process for process in psutil.Process().children(recursive=True) if "ray" in process.name()]


@with_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_work_that_was_killed_is_gone_on_with(folder: Path) -> None:
    output = folder / "resumed" / "out"
    code = (
        "from pathlib import Path; import secondcoder.labelling.label as s, secondcoder.labelling.chunks as w\n"
        "s.CHUNK_ROWS = w.CHUNK_ROWS = 100\n"
        "from secondcoder.labelling.label import label\n"
        f"label({str(folder / 'model')!r}, {str(folder / 'in-*.parquet')!r}, output={str(output)!r}, "
        f"probabilities=True, **{RAY!r})"
    )
    blocks = output.parent / ".out.parts" / "blocks"
    process = subprocess.Popen([sys.executable, "-c", code])
    pause = threading.Event()
    try:
        while process.poll() is None and len(list(blocks.glob("*/*.arrow"))) < 5:
            pause.wait(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert 5 <= len(list(blocks.glob("*/*.arrow"))) < N // 100
    compare(folder, on_ray(folder, "resumed"))


@with_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_error_in_a_worker_comes_with_its_cure(folder: Path) -> None:
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    started = time.monotonic()
    with pytest.raises(ModelError, match="nowhere is not a secondcoder model"):
        label(folder / "nowhere", folder / "in-0.parquet", output=folder / "out.csv", **RAY)
    assert time.monotonic() - started < ray_engine.START_SECONDS
    assert {name: os.environ.get(name) for name in before} == before


def test_without_ray_the_cure_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"secondcoder\[ray\]"):
        label(folder / "model", folder / "in-0.parquet", output=folder / "out.csv", engine="ray")


@pytest.mark.parametrize(
    ("nodes", "settings", "needs"),
    [
        ([{"CPU": 8.0}], LabelSettings(engine="ray"), Needs(8, 1, 0)),
        ([{"CPU": 8.0}, {"CPU": 3.0}], LabelSettings(engine="ray", cpus=4), Needs(2, 4, 0)),
        ([{"CPU": 8.0}, GPU, GPU], LabelSettings(engine="ray"), Needs(8, 8, 1)),
        ([GPU, {"CPU": 8.0, "GPU": 2.0}], LabelSettings(engine="ray"), Needs(6, 4, 1)),
        ([GPU], LabelSettings(engine="ray", cpus=16), Needs(2, 16, 1)),
        ([GPU], LabelSettings(engine="ray", device="cpu", cpus=2), Needs(16, 2, 0)),
        ([{"CPU": 8.0}], LabelSettings(engine="ray", device="cuda", workers=16), Needs(16, 1, 1)),
    ],
)
def test_workers_fill_the_machines(nodes: list[dict[str, float]], settings: LabelSettings, needs: Needs) -> None:
    assert choose_needs(nodes, settings) == needs


def test_no_room_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"8 cores, 0 GPUs.* 1 core and a GPU"):
        choose_needs([{"CPU": 8.0}], LabelSettings(engine="ray", device="cuda"))
    with pytest.raises(SettingsError, match="16 cores"):
        choose_needs([{"CPU": 8.0}], LabelSettings(engine="ray", cpus=16))
