"""Killed at any moment and given again, a labelling ends with the bytes of one that was left alone.

Processes are killed with SIGKILL at moments drawn at random from the time that one labelling takes, up to three times
in a row. With the environment variable SECONDCODER_TALLY naming a file, the long test writes down there what it did.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.labelling.killing import Labellings

N = 2000
WAYS = [("in.csv", "out.csv"), ("in.parquet", "out"), ("in.csv", "out.jsonl.gz")]


@pytest.fixture(scope="module")
def labellings() -> Iterator[Labellings]:
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked, which this system cannot")
    opened = Labellings()
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a CSV file in which three rows are none, and a Parquet file."""
    rows = [f'{i},"text {i % 700}\nof ""some"" lines",x\n' if i % 9 else f"{i},,\n" for i in range(N)]
    for i in (7, 1000, 1999):
        rows[i] = f'{i},"never closed,x\n'
    (tmp_path / "in.csv").write_text("n,text,note\n" + "".join(rows), "utf-8")
    texts = [f"text {i}" if i % 9 else None for i in range(N)]
    pq.write_table(pa.table({"n": range(N), "text": texts}), tmp_path / "in.parquet", row_group_size=300)
    return tmp_path


def test_a_kill_changes_no_byte(labellings: Labellings, folder: Path) -> None:
    generator = np.random.default_rng(3)
    assert len(kill_and_go_on(labellings, folder, WAYS[0], 1, generator)) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_five_kills_change_no_byte(labellings: Labellings, folder: Path) -> None:
    generator = np.random.default_rng(25)
    kills = [
        kill
        for way, n in zip(WAYS, (8, 9, 8), strict=True)
        for kill in kill_and_go_on(labellings, folder, way, n, generator)
    ]
    assert len(kills) == 25
    if tally := os.environ.get("SECONDCODER_TALLY"):
        Path(tally).write_text(describe(kills), encoding="utf-8")


def kill_and_go_on(
    labellings: Labellings, folder: Path, way: tuple[str, str], n: int, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Kill labellings n times, each up to three times in a row, and compare each with one that was left alone."""
    source, name = folder / way[0], way[1]
    alone = folder / f"alone-{WAYS.index(way)}" / name
    code, seconds = labellings.run(source, alone)
    assert code == 0
    expected = everything(alone)
    kills: list[dict[str, Any]] = []
    labelled = 0
    while len(kills) < n:
        labelled += 1
        output = folder / f"killed-{WAYS.index(way)}-{labelled}" / name
        pending = []
        for _ in range(min(n - len(kills), int(generator.integers(1, 4)))):
            after = float(generator.uniform(0, seconds))
            code, _ = labellings.run(source, output, kill_after=after)
            assert code in (0, -signal.SIGKILL)
            if code == 0:  # it was quicker
                break
            pending.append({"way": " to ".join(way), "after": after / seconds, "found": found(output)})
            if finished(output):  # killed between its last step and its end
                break
        if code != 0 and not finished(output):
            assert labellings.run(source, output)[0] == 0
        assert everything(output) == expected, f"killed: {pending}"
        kills += pending
    return kills


def finished(output: Path) -> bool:
    """Whether nothing is left to do; the command would say that the output is there."""
    return output.exists() and not output.with_name(f".{output.name}.parts").exists()


def found(output: Path) -> str:
    """Return in words what a killed labelling left."""
    work = output.with_name(f".{output.name}.parts")
    blocks, parts = len(list(work.glob("blocks/*/*.arrow"))), len(list(work.glob("parts/part-*")))
    return f"{blocks} blocks, {parts} parts{', the output' if output.exists() else ''}"


def everything(output: Path) -> dict[str, Any]:
    """Return what a labelling left, without times and names of its own; and all rows of the input are in it."""
    manifest = json.loads(output.with_name(output.name + ".manifest.json").read_text("utf-8"))
    for name in ("id", "summary"):
        del manifest[name]
    files = sorted(path for path in output.parent.rglob("*") if path.is_file() and not path.name.endswith("t.json"))
    names = [path.relative_to(output.parent).as_posix() for path in files]
    return {"manifest": manifest, **{name: path.read_bytes() for name, path in zip(names, files, strict=True)}}


def describe(kills: list[dict[str, Any]]) -> str:
    """Return the tally as a page."""
    rows = "\n".join(
        f"| {i} | {kill['way']} | {kill['after']:.2f} | {kill['found']} |" for i, kill in enumerate(kills, 1)
    )
    return f"""# Labelling, killed and gone on with

Labellings of {N:,} rows ({N // 50} blocks, 5 parts in a folder) were killed with SIGKILL at random moments and given
again, up to three times in a row, until there were {len(kills)} kills. Output, rejected lines and manifest (without id
and times) were then compared, byte by byte, with those of a labelling that was left alone.

**{len(kills)} kills, {len(kills)} ended with the same bytes.**

| | labelled | killed after (share of the time) | what was there |
|---:|---|---:|---|
{rows}
"""
