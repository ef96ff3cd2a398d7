"""Ctrl-C and SIGTERM: the step is finished, everything is saved, and --resume goes on."""

import os
import signal
import threading

import pytest

from secondcoder.errors import InterruptedRunError
from secondcoder.progress import Progress
from secondcoder.runs.run import Run
from secondcoder.storage import read_json
from secondcoder.training.signals import Stop, StoppableProgress, Stopped, listening
from tests.training.processes import Order

INTERRUPTED = 130


@pytest.fixture(scope="module")
def trainings(commands, encoder_folder, tmp_path_factory):
    """Trainings on one file: called with a name for the run, and orders; two epochs of five steps."""
    from tests.tiny import make_rows

    folder = tmp_path_factory.mktemp("stopped")
    rows = [f"{text},{label}" for text, label in make_rows(120)]
    (folder / "coded.csv").write_text("\n".join(["text,area", *rows]), encoding="utf-8")
    words = ["train", "coded.csv", "--text", "text", "--label", "area", "--model", encoder_folder, "--device", "cpu"]
    words += ["--precision", "fp32", "--backend", "torch", "--epochs", "2", "--learning-rate", "5e-3"]

    def train(output, *more, orders=()):
        return commands.run(*words, "--output", output, *more, folder=folder, orders=orders), folder / output

    return train


@pytest.fixture(scope="module")
def expected(trainings):
    """The weights of a training that nobody stopped."""
    ended, folder = trainings("alone")
    assert ended.code == 0, ended.said
    return Run(folder).model.sha256


@pytest.mark.parametrize(
    ("number", "place", "nth", "step"),
    [
        pytest.param(signal.SIGINT, "step", 7, 7, id="Ctrl-C in a step"),
        pytest.param(signal.SIGINT, "dev", 1, 5, id="Ctrl-C in dev", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "step", 2, 2, id="SIGTERM in a step", marks=pytest.mark.slow),
    ],
)
def test_stopped_training_saves_everything_and_goes_on(trainings, expected, number, place, nth, step):
    output = f"stopped-{number}-{place}"
    ended, folder = trainings(output, orders=[Order(number, place, nth)])
    assert ended.code == INTERRUPTED, ended.said
    assert f"error: Training was interrupted at step {step} of 10; everything is saved." in ended.said
    assert "--resume" in ended.said
    assert "Traceback" not in ended.said
    assert Run(folder).status == "interrupted"
    newest = max((folder / "checkpoints").glob("*/checkpoint-*"))
    assert read_json(newest / "state.json")["state"]["step"] == step
    resumed, _ = trainings(output, "--resume")
    assert f"Resuming from step {step} of 10." in resumed.said
    assert resumed.code == 0, resumed.said
    assert Run(folder).model.sha256 == expected


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, INTERRUPTED, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, -signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_the_second_signal_ends_it_at_once_and_what_was_saved_before_counts(trainings, expected, number, code):
    """The second one comes while the first one's checkpoint is written, after those of eight steps and an epoch."""
    output = f"twice-{number}"
    orders = [Order(number, "step", 8), Order(number, "checkpoint", 9)]
    ended, folder = trainings(output, "--checkpoint-minutes", "0", orders=orders)
    assert (ended.code, ended.sent) == (code, 2), ended.said
    assert ended.places[-2 if code > 0 else -1][0] == "checkpoint"
    assert Run(folder).status == ("interrupted" if code > 0 else "running")
    resumed, _ = trainings(output, "--checkpoint-minutes", "0", "--resume")
    assert "Resuming from step 7 of 10." in resumed.said
    assert resumed.code == 0, resumed.said
    assert Run(folder).model.sha256 == expected


@pytest.mark.parametrize("place", ["saving the model", pytest.param("baselines", marks=pytest.mark.slow)])
def test_stopped_after_training_it_is_interrupted_and_not_failed(trainings, expected, place):
    output = place.replace(" ", "-")
    ended, folder = trainings(output, orders=[Order(signal.SIGINT, place)])
    assert ended.code == INTERRUPTED, ended.said
    assert Run(folder).status == "interrupted"
    assert not [path for path in folder.iterdir() if ".partial-" in path.name]
    resumed, _ = trainings(output, "--resume")
    assert resumed.code == 0, resumed.said
    assert "epoch 1/2:" not in resumed.said
    assert Run(folder).model.sha256 == expected


def test_ctrl_c_in_the_last_checkpoint_of_a_seed_is_not_forgotten(trainings):
    ended, folder = trainings("seeds", "--seeds", "2", orders=[Order(signal.SIGINT, "checkpoint", 2)])
    assert ended.code == INTERRUPTED, ended.said
    assert "--resume" in ended.said
    assert not (folder / "checkpoints" / "seed-43").exists()
    assert Run(folder).status == "interrupted"


@pytest.mark.slow
def test_stopped_before_the_first_step_it_starts_again(trainings, expected):
    ended, folder = trainings("early", orders=[Order(signal.SIGINT, "frozen layers")])
    assert ended.code == INTERRUPTED, ended.said
    assert Run(folder).status == "interrupted"
    again, _ = trainings("early")
    assert again.code == 0, again.said
    assert Run(folder).model.sha256 == expected


@pytest.mark.slow
def test_a_finished_run_that_was_stopped_while_it_cleared_away_is_cleared_by_the_next(trainings):
    ended, folder = trainings("clearing", orders=[Order(signal.SIGINT, "clearing away")])
    assert ended.code == INTERRUPTED, ended.said
    (folder / "run.json").write_text((folder / "run.json").read_text().replace('"interrupted"', '"complete"'))
    assert (folder / "checkpoints").exists()
    again, _ = trainings("clearing", "--resume")
    assert (again.code, "nothing is left to do" in again.said) == (0, True), again.said
    assert not (folder / "checkpoints").exists()


def test_work_is_stopped_where_it_says_how_far_it_is():
    stop = Stop()
    with StoppableProgress(Progress(), stop).task("any", 2) as task:
        task.advance()
        stop.asked = True
        with pytest.raises(Stopped):
            task.advance()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_and_the_next_goes_where_it_went_before(number):
    came = []
    before = signal.signal(number, lambda number, _: came.append(number))
    try:
        with pytest.raises(KeyError), listening() as stop:
            assert not stop.asked
            os.kill(os.getpid(), number)
            assert stop.asked
            assert came == []
            os.kill(os.getpid(), number)
            assert came == [number]
            raise KeyError
        os.kill(os.getpid(), number)
        assert came == [number, number]
    finally:
        signal.signal(number, before)


@pytest.fixture
def ctrl_c_is_heard():
    """It is ignored where the tests were started in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_that_nobody_heeded_is_not_lost(ctrl_c_is_heard):
    with pytest.raises(InterruptedRunError) as caught, listening():
        os.kill(os.getpid(), signal.SIGINT)
    assert "--resume" in caught.value.cure
    with listening():
        pass


def test_in_another_thread_signals_stay_as_they_are():
    handlers = []

    def listen():
        with listening() as stop:
            handlers.append((signal.getsignal(signal.SIGINT), stop.asked))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert handlers == [(signal.getsignal(signal.SIGINT), False)]
