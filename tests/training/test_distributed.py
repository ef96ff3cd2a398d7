"""Training in two processes that talk by gloo: the same path as one process, one writer, one end."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import multiprocessing

import secondcoder as sc
from secondcoder.cli.main import main
from secondcoder.errors import InterruptedRunError, RunError, SettingsError
from secondcoder.model.loading import start_model
from secondcoder.runs.run import Run
from secondcoder.settings import TrainSettings
from secondcoder.training.distributed import ALONE, LeaderFailedError, Ranks, join_ranks
from secondcoder.training.loop import fit
from tests.tiny import make_rows

# Starting two processes of torch on two cores takes half a minute.
pytestmark = pytest.mark.slow

WINDOWS = {"long_texts": "windows", "max_length": 8}  # most texts have several
LONGEST = 40  # padded tokens that the second process has memory for, where it has little
WRITING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}


# What follows is run by the processes; `two_processes` starts them.


def parts(n_train: int = 80) -> tuple[sc.Corpus, sc.Corpus]:
    rows = [{"text": text, "area": label} for text, label in make_rows(120)]
    corpus = sc.read(rows, text="text", label="area")
    return corpus.take(range(n_train)), corpus.take(range(80, 120))


def start(encoder: Path, **changes: object):
    settings = TrainSettings(
        **{
            "model": str(encoder),
            "device": "cpu",
            "precision": "fp32",
            "learning_rate": 5e-3,
            "epochs": 2,
            "freeze": 0.0,
            **changes,
        }
    )
    return settings, start_model(settings, label_names=("economic", "social"), seed=1)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def exact_weights(
    ranks: Ranks, encoder: Path, folder: Path, *, n_train: int = 80, short_of_memory: bool = False, **changes: object
) -> dict[str, torch.Tensor]:
    """Return the weights after two epochs in float64 without dropout, where only rounding may tell paths apart."""
    settings, model = start(encoder, **changes)
    for module in model.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.network.double()
    refused = []

    def refuse(network, _given, named):
        if network.training and named["input_ids"].numel() > LONGEST:
            refused.append(named["input_ids"].shape)
            raise torch.OutOfMemoryError("made up")

    if short_of_memory:
        model.network.register_forward_pre_hook(refuse, with_kwargs=True)
    last: dict[str, torch.Tensor] = {}  # `fit` leaves those of the best epoch
    fit(
        model,
        *parts(n_train),
        settings=settings,
        seed=1,
        checkpoints=folder,
        ranks=ranks,
        on_evaluation=lambda _: last.update(weights(model)),
    )
    assert bool(refused) == short_of_memory
    return last


class Interrupted(Ranks):
    """Processes, the first of which gets a Ctrl-C in the midst of hearing whether any of them was to stop."""

    heard = 0

    def add_up(self, tensors):
        tensors = list(tensors)
        super().add_up(tensors)
        if tensors and tensors[0].dtype == torch.int32:
            Interrupted.heard += 1
            if self.index == 0 and Interrupted.heard == 5:
                os.kill(os.getpid(), signal.SIGINT)


def inexact_weights(
    ranks: Ranks, encoder: Path, folder: Path, *, stop_in: int | None = None
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Return weights and history after three epochs with dropout, which draws other numbers in each process.

    One that is to be stopped gets a Ctrl-C in that process after the first epoch, and goes on.
    """
    settings, model = start(encoder, epochs=3, token_budget=128)

    last: dict[str, torch.Tensor] = {}

    def press(entry):
        last.update(weights(model))
        if entry["epoch"] == 1 and ranks.index == stop_in:
            os.kill(os.getpid(), signal.SIGINT)

    if stop_in is not None or isinstance(ranks, Interrupted):
        with pytest.raises(InterruptedRunError, match="step 6 of 15"):
            fit(model, *parts(), settings=settings, seed=1, checkpoints=folder, ranks=ranks, on_evaluation=press)
        _, model = start(encoder)
    going_on = {"seed": 1, "checkpoints": folder, "ranks": ranks, "resume": True}
    result = fit(model, *parts(), settings=settings, on_evaluation=lambda _: last.update(weights(model)), **going_on)
    history = [{name: value for name, value in entry.items() if "second" not in name} for entry in result.history]
    return last, history


def written_below(folder: Path) -> list[str]:
    """Return the list to which every writing access below the folder is added from now on, with what it did."""
    found = []

    def listen(event, arguments):
        if event == "open":
            _, mode, flags = arguments
            writes = set(mode or "") & set("wax+") or (not mode and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            writes = event in WRITING
        if writes and str(folder) in str(arguments[0]):
            found.append(f"{event} {arguments}")

    sys.addaudithook(listen)
    return found


def run_command(*words: object) -> tuple[int, str, str]:
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as left,
    ):
        main([str(word) for word in words])
    return left.value.code, out.getvalue(), err.getvalue()


def take_part(index: int, port: int, folder: Path, encoder: Path) -> None:
    """Do everything that is tested here in one of two processes, and write down what came of it."""
    os.environ |= {"RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = join_ranks(on_cpu=True)
    found = {"ranks": [ranks.index, ranks.count, ranks.here]}

    ended = {
        "even": exact_weights(ranks, encoder, folder / "even"),
        "accumulated": exact_weights(ranks, encoder, folder / "accumulated", token_budget=64),
        "uneven": exact_weights(ranks, encoder, folder / "uneven", n_train=76, batch_size=15),
        "windows": exact_weights(ranks, encoder, folder / "windows", token_budget=64, **WINDOWS),
        "memory": exact_weights(ranks, encoder, folder / "memory", short_of_memory=index == 1),
    }
    histories = {}
    interrupted = Interrupted(ranks.index, ranks.count)
    for name, among, stop_in in (("unbroken", ranks, None), ("broken", ranks, 1), ("late", interrupted, None)):
        ended[name], histories[name] = inexact_weights(among, encoder, folder / name, stop_in=stop_in)
    for name, values in ended.items():
        save_file(values, folder / f"{name}.{index}.safetensors")
    found |= {"histories": histories, "generators": [torch.equal(a, b) for a, b in generators(ranks, folder)]}

    with pytest.raises(RunError) as caught:
        fit_on_different_texts(ranks, encoder, folder / "different")
    found["different texts"] = caught.value.what

    written = written_below(folder / "runs")
    words = ["train", folder / "rows.csv", "--text", "text", "--label", "area", "--model", encoder, "--device", "cpu"]
    words += ["--backend", "torch"]
    words += ["--output", folder / "runs" / "area", "--epochs", 3]
    with pytest.raises(RunError) as caught:
        sc.train(sc.split(parts()[0]), output=folder / "full", model=str(encoder), device="cpu")
    found["full"] = [type(caught.value).__name__, caught.value.what]
    found["train"] = run_command(*words)
    found["written"] = written
    (folder / f"found.{index}.json").write_text(json.dumps(found), encoding="utf-8")


def generators(ranks: Ranks, folder: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    newest = max((folder / "unbroken").glob("checkpoint-*"))
    tensors = load_file(newest / "state.safetensors")
    yield tensors["generator.0.cpu"], tensors["generator.1.cpu"]


def fit_on_different_texts(ranks: Ranks, encoder: Path, folder: Path) -> None:
    settings, model = start(encoder)
    train, dev = parts(80 - ranks.index)
    fit(model, train, dev, settings=settings, seed=1, checkpoints=folder, ranks=ranks)


# What follows is run by pytest.


@pytest.fixture(scope="module")
def two_processes(encoder_folder, tmp_path_factory) -> Path:
    """The folder in which two processes have left what they found."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").touch()
    write_rows(folder / "rows.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        multiprocessing.start_processes(
            take_part, (free_port(), folder, encoder_folder), nprocs=2, start_method="spawn"
        )
    return folder


@pytest.fixture(scope="module")
def found(two_processes) -> list[dict]:
    return [json.loads((two_processes / f"found.{index}.json").read_text(encoding="utf-8")) for index in (0, 1)]


def weights_of(folder: Path, name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return load_file(folder / f"{name}.0.safetensors"), load_file(folder / f"{name}.1.safetensors")


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((value - other[name]).abs().max()) for name, value in one.items() if value.is_floating_point())


def write_rows(path: Path) -> None:
    lines = [f"{text},{label}\n" for text, label in make_rows(120)]
    path.write_text("text,area\n" + "".join(lines), encoding="utf-8")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@given(
    lengths=st.lists(st.integers(1, 600), max_size=70),
    count=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_a_step_is_shared_out_whole_and_evenly(lengths, count, seed):
    of_all = np.concatenate([np.array(lengths, np.int64), np.full(5, 1000)])  # five texts are not in this step
    rows = np.random.default_rng(seed).permutation(len(lengths))
    shares = [Ranks(index, count).share(rows, of_all) for index in range(count)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(lengths)))
    loads = [int(of_all[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= max(lengths, default=0)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_longest_texts_go_round_to_and_fro():
    lengths = np.array([80, 70, 60, 50, 40, 30, 20, 10])
    shares = [Ranks(index, 2).share(np.arange(8), lengths) for index in (0, 1)]
    assert [int(lengths[share].sum()) for share in shares] == [180, 180]


def test_a_process_that_was_started_plainly_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_ranks(on_cpu=True) is ALONE
    assert ALONE.gather(3) == [3]
    assert ALONE.from_leader(3) == 3
    tensor = torch.ones(2)
    ALONE.add_up([tensor])
    assert tensor.tolist() == [1, 1]


def test_processes_that_cannot_talk_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(SettingsError, match="2 processes") as caught:
        join_ranks(on_cpu=False)
    assert "torchrun" in caught.value.cure


def test_alone_an_error_of_the_leader_is_the_error_itself():
    error = RunError("made up")
    with pytest.raises(RunError) as caught, ALONE.sharing_failure():
        raise error
    assert caught.value is error


def test_sigterm_is_disregarded_among_several_only():
    before = signal.getsignal(signal.SIGTERM)
    with ALONE.ignoring_sigterm():
        assert signal.getsignal(signal.SIGTERM) == before
    with Ranks(0, 2).ignoring_sigterm():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) == before


def test_processes_know_their_place(found):
    assert [one["ranks"] for one in found] == [[0, 2, 2], [1, 2, 2]]


@pytest.mark.parametrize("name", ["even", "accumulated", "uneven", "windows", "memory"])
def test_two_processes_follow_the_path_of_one(name, two_processes, encoder_folder, tmp_path):
    # Uneven: six steps, the last one of a single text.
    changes = {"uneven": {"n_train": 76, "batch_size": 15}, "windows": WINDOWS}.get(name, {})
    alone = exact_weights(ALONE, encoder_folder, tmp_path, **changes)
    first, second = weights_of(two_processes, name)
    assert difference(first, second) == 0
    assert difference(first, alone) < 1e-8
    untrained = start(encoder_folder)[1].network.state_dict()
    assert difference(alone, untrained) > 1e-2


def test_the_comparison_would_notice_another_batch_size(two_processes, encoder_folder, tmp_path):
    assert difference(weights_of(two_processes, "even")[0], exact_weights(ALONE, encoder_folder, tmp_path)) < 1e-8
    other = exact_weights(ALONE, encoder_folder, tmp_path / "other", batch_size=15)
    assert difference(weights_of(two_processes, "even")[0], other) > 1e-3


def test_ctrl_c_in_one_process_stops_both_and_they_go_on_with_the_same_bits(two_processes, found):
    first, *others = [one for name in ("unbroken", "broken", "late") for one in weights_of(two_processes, name)]
    assert all(torch.equal(value, other[name]) for other in others for name, value in first.items())
    expected, *histories = [history for one in found for history in one["histories"].values()]
    assert len(expected) == 3
    assert histories == [expected] * 5


def test_each_process_draws_its_own_dropout(found):
    assert found[0]["generators"] == [False]


def test_different_texts_in_the_processes_are_refused(found):
    assert all("different texts" in one["different texts"] for one in found)


def test_what_stops_the_leader_stops_all(found, two_processes):
    assert [one["full"][0] for one in found] == ["RunError", LeaderFailedError.__name__]
    assert found[0]["full"][1] == found[1]["full"][1]
    assert "already holds something else" in found[0]["full"][1]
    assert [path.name for path in (two_processes / "full").iterdir()] == ["thesis.tex"]


def test_only_the_leader_writes_and_speaks(found, two_processes):
    (code, out, err), (other_code, other_out, other_err) = (one["train"] for one in found)
    assert (code, other_code) == (0, 0), err
    assert "Dev (24 texts)" in out
    assert "epoch 3/3" in err
    assert (other_out, other_err) == ("", "")
    run = Run(two_processes / "runs" / "area")
    assert run.status == "complete"
    assert len(run.history) == 3
    assert len(run.model.predict(["more tax and trade"])) == 1
    assert found[0]["written"]
    assert found[1]["written"] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduler_s_signals_under_torchrun_lose_nothing(encoder_folder, tmp_path):
    """SIGTERM reaches torchrun and the processes, and torchrun passes it on: twice in all for each process."""
    write_rows(tmp_path / "rows.csv")
    assert launch(tmp_path, encoder_folder, "unbroken") == 0
    assert launch(tmp_path, encoder_folder, "broken", meanwhile=terminate_in_the_middle) == 1  # torchrun's own code
    told = (tmp_path / "broken.err").read_text(encoding="utf-8")
    assert told.count("everything is saved") == 1
    assert "--resume" in told
    assert Run(tmp_path / "broken").status == "interrupted"
    assert any((tmp_path / "broken" / "checkpoints").rglob("checkpoint-*"))
    assert launch(tmp_path, encoder_folder, "broken", "--resume") == 0
    assert "Resuming from step" in (tmp_path / "broken.err").read_text(encoding="utf-8")
    unbroken, broken = Run(tmp_path / "unbroken"), Run(tmp_path / "broken")
    assert broken.status == "complete"
    assert broken.info["results"]["best_epoch"] > 2
    one, other = (load_file(run.model_folder / "model.safetensors") for run in (unbroken, broken))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    timeless = [[{k: v for k, v in e.items() if "second" not in k} for e in r.history] for r in (unbroken, broken)]
    assert timeless[0] == timeless[1]


def launch(
    folder: Path,
    encoder: Path,
    name: str,
    *more: str,
    meanwhile: Callable[[subprocess.Popen, Path], None] = lambda process, errors: None,
) -> int:
    """Train in two processes by torchrun; return its exit code."""
    errors = folder / f"{name}.err"
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    words += ["-m", "secondcoder", "train", "rows.csv", "--text", "text", "--label", "area", "--output", name]
    words += ["--model", str(encoder), "--device", "cpu", "--epochs", "30", "--freeze", "0", "--backend", "torch"]
    words += ["--precision", "fp32"]
    words += ["--learning-rate", "5e-3", "--metric", "log-loss", *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with errors.open("w") as stream:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=stream)
        try:
            meanwhile(process, errors)
            return process.wait(timeout=250)
        finally:
            if process.poll() is None:
                for left in psutil.Process(process.pid).children(recursive=True):
                    left.kill()
                process.kill()
                process.wait()


def terminate_in_the_middle(process: subprocess.Popen, errors: Path) -> None:
    deadline = time.monotonic() + 200
    while "epoch 2/30" not in errors.read_text(encoding="utf-8"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for child in psutil.Process(process.pid).children():
        child.terminate()
    process.terminate()
