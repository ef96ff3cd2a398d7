"""Peak memory of labelling, by the number of rows: python benchmarks/labelling_memory.py [ROWS …]

In: numbers of rows. Out: a Markdown table on standard output. Each labelling runs in a process of its own, on rows made
up for it (a number, a text of about 120 characters over two lines, a note). The model is a stand-in that computes
nothing: what is measured is reading, labelling, keeping, gathering and writing, whose memory must not depend on the
rows; that of a real model comes on top and does not depend on them either, as it is handed 4,096 rows at a time.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROWS = (20_000, 200_000, 2_000_000)
WAYS = (("csv", "csv"), ("csv.zst", ""), ("jsonl", "jsonl"), ("parquet", "parquet"), ("parquet", ""))


@dataclass(frozen=True)
class Scores:
    probabilities: Any
    truncated: Any


class StandIn:
    label_names = ("left", "right", "neither")
    text_column = "text"
    sha256 = "0" * 64

    def summary(self) -> dict[str, Any]:
        return {"backend": "none", "precision": "none", "device": "cpu", "threads": 1}

    def score(self, texts: Sequence[str], *, progress: Any = None) -> Scores:
        import numpy as np

        lengths = np.array([[len(text) + 1, sum(map(ord, text[:4])), 50] for text in texts], np.float64)
        if progress is not None:
            progress.advance(len(texts))
        return Scores(lengths / lengths.sum(axis=1, keepdims=True), lengths[:, 0] > 120)


def make(path: Path, rows: int) -> None:
    import pyarrow as pa

    from secondcoder.formats.files import open_writer

    schema = pa.schema([("n", pa.string()), ("text", pa.string()), ("note", pa.string())])
    with open_writer(path, schema) as writer:
        for start in range(0, rows, 4096):
            numbers = range(start, min(start + 4096, rows))
            texts = [f'We will cut taxes, said "{n * 7919}",\n{"and more of that " * (n % 9)}{n}' for n in numbers]
            writer.write(pa.record_batch([[str(n) for n in numbers], texts, ["x"] * len(texts)], schema=schema))


def measure(folder: Path, rows: int, ending: str, output: str) -> None:
    from secondcoder.labelling.label import label_file

    started = time.monotonic()
    summary = label_file(StandIn(), folder / f"in.{ending}", folder / (f"out.{output}" if output else "out"))
    assert summary.rows == rows == summary.labelled
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "seconds": time.monotonic() - started}))


def main(counts: Sequence[int]) -> None:
    print("| input | output | rows | peak memory, MB | seconds |\n|---|---|---:|---:|---:|")
    for ending, output in WAYS:
        for rows in counts:
            with tempfile.TemporaryDirectory() as name:
                make(Path(name) / f"in.{ending}", rows)
                words = [sys.executable, __file__, "--one", name, str(rows), ending, output]
                found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            what = output or "folder"
            print(f"| {ending} | {what} | {rows:,} | {found['peak']:.0f} | {found['seconds']:.1f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
    else:
        main([int(word) for word in sys.argv[1:]] or ROWS)
