"""Killed at any moment and resumed, a training ends with the same bits as one that was left alone.

Processes are killed with SIGKILL at moments drawn at random, up to three times in a row: some at any moment of a whole
training, more of them while they do something drawn first, so that what takes no time is hit as well. With the
environment variable SECONDCODER_TALLY naming a file, the long test writes down there what it did.
"""

import hashlib
import json
import os
import platform
import signal
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from secondcoder.errors import RunError
from secondcoder.runs.create import require_ours
from secondcoder.runs.run import Run
from tests.training.processes import PLACES, Commands, Ended, Order

RECIPES = {
    "all layers trained": ["--freeze", "0"],
    "half of the layers frozen, two seeds": ["--freeze", "0.5", "--seeds", "2"],
    "head read off the encoder": ["--freeze", "0.5", "--head-start", "logistic"],
}
MOST_IN_A_ROW = 3
AT_ANY_MOMENT = 0.2  # of the kills


@dataclass(frozen=True)
class Kill:
    """One kill, as the tally shows it."""

    recipe: str
    drawn: str
    place: str
    resumed: str
    equal: bool


@pytest.fixture
def words(labelled_file, encoder_folder):
    """A training with dropout that saves after every step."""
    columns = ["--text", "text", "--label", "area", "--id", "id"]
    options = [
        "--epochs",
        "3",
        "--learning-rate",
        "5e-3",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--checkpoint-minutes",
        "0",
        "--backend",
        "torch",
        "--resume",
    ]
    return ["train", labelled_file, *columns, "--model", encoder_folder, *options]


class Draw:
    """Draws kills: no place comes twice before all have come."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self._deck: list[str] = []

    def how_often(self, most: int) -> int:
        """Return how many kills a training gets in a row."""
        return min(most, int(self.generator.integers(1, MOST_IN_A_ROW, endpoint=True)))

    def kill(self, alone: Ended) -> Order:
        """Return a kill at a random moment of a training like this one, or of what is done at a random place of it."""
        if self.generator.random() < AT_ANY_MOMENT:
            return Order(signal.SIGKILL, delay=float(self.generator.uniform(1e-3, alone.places[-1][1])))
        times: dict[str, list[float]] = {}
        for (place, begin), (_, end) in zip(alone.places, alone.places[1:], strict=False):
            if place in PLACES:
                times.setdefault(place, []).append(end - begin)
        if not set(self._deck) & set(times):
            self._deck = [str(place) for place in self.generator.permutation(list(PLACES))]
        place = next(place for place in self._deck if place in times)
        self._deck.remove(place)
        nth = int(self.generator.integers(1, len(times[place]), endpoint=True))
        return Order(signal.SIGKILL, place, nth, delay=float(self.generator.uniform(1e-6, np.mean(times[place]))))


def test_a_kill_changes_no_bit(commands, words, tmp_path):
    draw = Draw(seed=3)
    assert len(kill_and_resume(commands, words, tmp_path, next(iter(RECIPES)), 1, draw)) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_five_kills_change_no_bit(commands, words, tmp_path):
    draw = Draw(seed=25)
    kills = [
        kill
        for recipe, n in zip(RECIPES, (8, 9, 8), strict=True)
        for kill in kill_and_resume(commands, words, tmp_path, recipe, n, draw)
    ]
    assert len(kills) == 25
    if tally := os.environ.get("SECONDCODER_TALLY"):
        Path(tally).write_text(describe(kills), encoding="utf-8")


def test_what_a_kill_in_the_first_write_leaves_is_no_strangers(tmp_path):
    (tmp_path / ".run.json.partial-0123abcd-4567cdef").write_text("{")
    (tmp_path / ".lock").touch()
    require_ours(tmp_path)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(RunError, match="something else"):
        require_ours(tmp_path)


def kill_and_resume(
    commands: Commands, words: list[object], folder: Path, recipe: str, n: int, draw: Draw
) -> list[Kill]:
    """Kill trainings n times, each up to three times in a row, and compare each with one that was left alone."""
    folder = folder / str(list(RECIPES).index(recipe))
    folder.mkdir()
    words = [*words, *RECIPES[recipe]]
    alone = commands.run(*words, "--output", "alone", folder=folder)
    assert alone.code == 0, alone.said
    expected = content(folder / "alone")
    kills: list[Kill] = []
    trainings = 0
    while len(kills) < n:
        trainings += 1
        output = f"killed-{trainings}"
        pending: list[tuple[str, str]] = []  # of the kills of this training: how they were drawn, where they hit
        resumed: list[str] = []
        ended = None
        for _ in range(draw.how_often(n - len(kills))):
            order = draw.kill(alone)
            ended = commands.run(*words, "--output", output, folder=folder, orders=[order])
            if pending:
                resumed.append(beginning(ended))
            assert ended.code in (0, -signal.SIGKILL), ended.said
            if ended.code == 0:  # it was quicker than the order
                break
            pending.append(("place" if order.place else "moment", ended.last))
        if ended is None or ended.code:
            ended = commands.run(*words, "--output", output, folder=folder)
            assert ended.code == 0, ended.said
            resumed.append(beginning(ended))
        found = content(folder / output)
        equal = found == expected
        kills += [
            Kill(recipe, drawn, place, start, equal) for (drawn, place), start in zip(pending, resumed, strict=True)
        ]
        assert equal, f"killed at {pending}, resumed from {resumed}: {differences(found, expected)}\n{ended.said}"
    return kills


def beginning(ended: Ended) -> str:
    """Return where a training went on, in the words of the tally."""
    lines = [line.rstrip(".") for line in ended.said.splitlines()]
    starts = {
        "Going on from ": lambda line: line.removeprefix("Going on from "),
        "There is no whole checkpoint": lambda line: "the beginning",
        "nothing is left to do": lambda line: "the end",
    }
    found = [say(line) for line in lines for words, say in starts.items() if words in line]
    return ", then ".join(dict.fromkeys(found)) or "nothing: killed again first"


def content(folder: Path) -> dict[str, object]:
    """Return what a run is, without times of day and durations."""
    run = Run(folder)
    assert run.status == "complete"
    model = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.model_folder.iterdir()}
    return {
        "files": sorted(path.name for path in folder.iterdir()),
        "model": model,
        "history": [{name: value for name, value in entry.items() if "second" not in name} for entry in run.history],
        "evaluation": json.loads((folder / "evaluation.json").read_text(encoding="utf-8")),
        "predictions": pq.read_table(folder / "predictions.parquet").to_pylist(),
        "results": run.info["results"],
    }


def differences(found: dict[str, object], expected: dict[str, object]) -> str:
    return "\n".join(f"{name}: {found[name]} != {value}" for name, value in expected.items() if found[name] != value)


def describe(kills: list[Kill]) -> str:
    """Return the tally as a page."""
    equal = sum(kill.equal for kill in kills)
    places = ", ".join(f"{place} ({n})" for place, n in Counter(kill.place for kill in kills).most_common())
    places = "\n".join(textwrap.wrap(f"Hit were: {places}.", 120))
    rows = "\n".join(
        f"| {i} | {kill.recipe} | {kill.drawn} | {kill.place} | {kill.resumed} | {'yes' if kill.equal else 'NO'} |"
        for i, kill in enumerate(kills, 1)
    )
    return f"""# Killed and resumed

Trainings of a tiny encoder (dropout on, three epochs of five steps, a checkpoint after every step) were killed with
SIGKILL at random and resumed with `--resume`, some of them several times in a row, until there were {len(kills)} kills.
Each training was compared with one that was left alone: the SHA-256 of every file of the model folder, the history, the
evaluation, the predictions and the results, without times of day and durations.

**{len(kills)} kills, {equal} ended with the same bits.**
{places}

"Drawn" says how the moment was chosen: *moment*, at any time of a whole training; *place*, while it did something that
was drawn first (a process that was quicker is hit a little later). "Resumed from" is what the process that came next
said; one that was killed before it had looked says nothing.

| | training | drawn | killed in | resumed from | same bits |
|---:|---|---|---|---|---|
{rows}

Made by `SECONDCODER_TALLY=docs/kill-test.md pytest -m slow tests/training/test_kills.py` on {platform.system()}, Python
{platform.python_version()}, torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), one thread.
`make test` makes three such kills, `make test-all` these 25.
"""
