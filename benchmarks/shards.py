"""Two shard processes and two workers on Ray against one process with two threads: python benchmarks/shards.py DATA

In: a folder with manifestos.csv and imdb_corpus.parquet. Out: Markdown tables on standard output. The model is the
packaged MiniLM with a head of random weights, which computes as long as a trained one. Ways are alternated; all are
ready, with the model loaded, before the clock starts, and it stops with the last of them. Each labels, writes a Parquet
file and its manifest. The labels of all ways are compared.

The last table is what one process can read and write when others compute: rows a second with an engine that answers at
once, and what a share costs that only reads past the rows of others.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from secondcoder.labelling import chunks

ROUNDS = {"sentences": 3, "reviews": 1}
SENTENCES, REPEATS, REVIEWS, WINDOW, ROWS = 2000, 4, 512, 256, 400_000
WAYS = {
    "one process, 2 threads": [("", "local", "2")],
    "two shards, 1 thread each": [("1/2", "local", "1"), ("2/2", "local", "1")],
    "Ray, 2 workers, 1 thread each": [("", "ray", "1")],
}


def make(folder: Path, data: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    from secondcoder.model.loading import start_model
    from secondcoder.settings import TrainSettings

    sentences = pc.read_csv(data / "manifestos.csv", parse_options=pc.ParseOptions(newlines_in_values=True))
    texts = sentences["text"].to_pylist()[:SENTENCES]
    numbered = [f"{i}: {text}" for i in range(REPEATS) for text in texts]
    pq.write_table(pa.table({"text": numbered}), folder / "sentences.parquet")
    reviews = pq.read_table(data / "imdb_corpus.parquet", columns=["text"]).slice(0, REVIEWS)
    pq.write_table(reviews, folder / "reviews.parquet", row_group_size=WINDOW)
    rows = [f'We will cut taxes, said "{n * 7919}", {"and more of that " * (n % 9)}{n}' for n in range(ROWS)]
    pq.write_table(pa.table({"n": range(ROWS), "text": rows}), folder / "rows.parquet", row_group_size=65_536)
    settings = TrainSettings(model="minilm", device="cpu", backend="torch")
    model = start_model(settings, label_names=("economic", "social", "neither"), seed=1, text_column="text")
    model.save(folder / "model")


def label_one(folder: Path, corpus: str, output: str, shard: str, engine: str, threads: str) -> None:
    """Load, say so, wait, label, tell the seconds."""
    import torch

    from secondcoder.labelling import chunks, label
    from secondcoder.labelling.label import open_engine
    from secondcoder.model.loading import load_model
    from secondcoder.progress import Progress
    from secondcoder.settings import LabelSettings

    if corpus == "reviews":  # so few that they would be one window
        label.CHUNK_ROWS = chunks.CHUNK_ROWS = WINDOW
    torch.set_num_threads(int(threads))
    settings = LabelSettings() if engine == "local" else LabelSettings(engine="ray", workers=2, cpus=int(threads))
    with open_engine(lambda: load_model(folder / "model"), settings, Progress()) as opened:
        tell_when(folder, opened, corpus, output, shard)


def reading_one(folder: Path, shard: str, output: str) -> None:
    """Do all but compute."""
    import pyarrow as pa

    from secondcoder.labelling.engines import Engine, text_cells

    class Instant(Engine):
        label_names, text_column, sha256, min_confidence = ("a", "b"), "text", "0" * 64, None

        def summary(self) -> dict[str, Any]:
            return {"device": "none"}

        def label(self, windows: Iterable[Any], added: Any, *, text: str, task: Any) -> Iterator[Any]:
            for window in chunks:
                n = text_cells(window, text).num_rows
                values = [["a"], [0.9], [False], [None]]
                yield (
                    window,
                    [pa.array(value * n, field.type) for value, field in zip(values, added.fields(), strict=True)],
                )

    tell_when(folder, Instant(), "rows", output, shard)


def tell_when(folder: Path, engine: Any, corpus: str, output: str, shard: str) -> None:
    from secondcoder.labelling.label import label_file

    print("ready", flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    label_file(engine, folder / f"{corpus}.parquet", Path(output), probabilities=corpus != "rows", shard=shard or None)
    print(json.dumps(time.monotonic() - started), flush=True)


def run(words: list[list[str]]) -> float:
    """Start processes, let them begin together, return the seconds of the last."""
    running = [
        subprocess.Popen(
            [sys.executable, __file__, *one],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": one[-1], "RAYON_NUM_THREADS": one[-1]},
        )
        for one in words
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [float(process.stdout.readline()) for process in running if process.stdout]
    assert not any(process.wait() for process in running)
    return max(found)


def main(data: Path) -> None:
    import pyarrow.parquet as pq

    from secondcoder.labelling.shards import merge

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, data)
        for corpus, n in (("sentences", SENTENCES * REPEATS), ("reviews", REVIEWS)):
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for turn in range(ROUNDS[corpus]):
                for way, processes in WAYS.items():
                    outputs = [folder / f"{corpus}-{turn}-{len(seconds[way])}-{way[:3]}-{i}.parquet" for i in range(2)]
                    calls = [
                        ["--one", name, corpus, str(output), *about]
                        for about, output in zip(processes, outputs, strict=False)
                    ]
                    seconds[way].append(run(calls))
                    if len(processes) > 1:
                        merge(outputs, folder / f"{corpus}-{turn}-merged.parquet")
            first = pq.read_table(folder / f"{corpus}-0-0-one-0.parquet")
            two = [pq.read_table(folder / f"{corpus}-0-{end}.parquet") for end in ("merged", "0-Ray-0")]
            assert two[0].equals(two[1]), "shards and Ray differ"
            same = first["label"].equals(two[0]["label"])
            moved = max(
                abs(a - b)
                for a, b in zip(first["probability"].to_pylist(), two[0]["probability"].to_pylist(), strict=True)
            )
            print(f"\n{corpus}: {n:,} rows\n\n| | texts/s, median | each | against one process |\n|---|---:|---|---:|")
            rates = {way: [n / s for s in found] for way, found in seconds.items()}
            base = statistics.median(rates["one process, 2 threads"])
            for way, found in rates.items():
                middle = statistics.median(found)
                each = ", ".join(f"{rate:.1f}" for rate in found)
                print(f"| {way} | {middle:.1f} | {each} | {middle / base:.2f} |", flush=True)
            print(
                f"\nShards and Ray: the same bits. Against one process with 2 threads: labels equal: {same}, ", end=""
            )
            print(f"probabilities differ by at most {moved:.1e}.")
        print("\n| one process, nothing computed | rows/s |\n|---|---:|")
        for what, shard in (("reads and writes all rows", ""), ("reads all rows, writes one share of 1,000", "1/1000")):
            taken = [run([["--reading", name, shard, str(folder / f"read-{i}-{len(shard)}"), "1"]]) for i in range(2)]
            print(f"| {what} | {ROWS / min(taken):,.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        label_one(Path(sys.argv[2]), *sys.argv[3:8])
    elif sys.argv[1:2] == ["--reading"]:
        reading_one(Path(sys.argv[2]), *sys.argv[3:5])
    else:
        main(Path(sys.argv[1]))
