"""Labelling speed: transformers' pipeline, bare backends and `secondcoder label`, in alternating slices of one run.

In: a run (a trained model with its data) and a corpus to label. Out: texts a second of each, their ratios, the share of
the matrix peak measured in the same run, what fixed shapes cost, and on dev and test how often int8 labels as fp32.

    python benchmarks/labelling.py RUN CORPUS --text COL [--rows N] [--rounds N] --result FILE

CORPUS is Parquet or CSV; where it has fewer than N rows it is repeated, and every text numbered, so that none is like
another. A slice of pipeline takes --slice texts. Set a high priority from outside: timings want a quiet machine.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
import transformers

import secondcoder as sc
from secondcoder.environment import machine, versions
from secondcoder.evaluation import metrics
from secondcoder.model.backends import TorchBackend
from secondcoder.model.batches import fixed_shapes
from secondcoder.model.concurrency import side_by_side
from secondcoder.model.loading import load_model
from secondcoder.model.model import Model
from secondcoder.model.openvino_backend import compressed, convert, quantised
from secondcoder.model.tokenisation import Encoded
from secondcoder.runs.run import Run


def peaks() -> dict[str, float]:
    """Return the matrix products of this machine, in G operations a second, in fp32."""
    a, b = torch.randn(2048, 384), torch.randn(384, 1536)
    best = 9.0
    for _ in range(40):
        started = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - started)
    return {"fp32_gflops": 2 * 2048 * 384 * 1536 / best / 1e9}


def operations(model: Model, lengths: np.ndarray) -> float:
    """Return the operations of the encoder's matrix products on unpadded texts, attention included."""
    config = model.network.config
    h, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    return float(layers * sum(2 * n * (4 * h * h + 2 * h * inner) + 4 * n * n * h for n in lengths.tolist()))


def fitted(lengths: np.ndarray, budget: int) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """Return sorted batches padded to the longest text of each, as if bits did not matter."""
    order, plan, start = np.argsort(-lengths, kind="stable"), [], 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = order[start : start + max(1, budget // longest)]
        plan.append((rows, (len(rows), longest)))
        start += len(rows)
    return plan


def bare(model: Model, backend: Any, encoded: Encoded, shapes: str) -> Callable[[], None]:
    """Return work: a backend on sorted batches that are there before the clock starts."""
    if shapes == "fitted":
        plan = fitted(encoded.lengths, backend.token_budget)
    else:
        plan = [
            (batch.rows, batch.shape)
            for batch in fixed_shapes(
                encoded.lengths,
                token_budget=backend.token_budget,
                max_length=model.encoder.max_length,
                rest_budget=backend.rest_budget,
            )
        ]
    batches = [model.encoder.batch(encoded, rows, shape) for rows, shape in plan]

    def compute(batch: dict[str, torch.Tensor]) -> None:
        if shapes == "fitted":  # in the shape that it has, without a look at its bits
            backend._infer([batch[name].numpy() for name in backend.names])
        else:
            backend.logits(batch)

    def work() -> None:
        for _ in side_by_side(compute, batches, backend.at_once):
            pass

    return work


def agreement(run: Run, model: Model, backends: dict[str, Any]) -> dict[str, Any]:
    """Return, for dev and test, how often each backend labels as fp32 does, and its macro-F1."""
    found: dict[str, Any] = {}
    k = len(model.label_names)
    for part in ("dev", "test"):
        rows = run.part(part)
        gold = np.array([model.label_names.index(label) for label in rows.labels])
        encoded = model.encoder.encode(rows.texts)
        labels = {}
        for name, backend in backends.items():
            model.use(backend)
            labels[name] = model.score_encoded(encoded).logits.argmax(axis=1)
        expected = labels["OpenVINO fp32"]
        found[part] = {
            name: {
                "n": len(gold),
                "agreement": float((given == expected).mean()),
                "macro_f1": metrics.macro_average(metrics.confusion_matrix(gold, given, k)).f1,
            }
            for name, given in labels.items()
        }
    return found


def read(corpus: Path, text: str, n: int) -> tuple[list[str], pa.Table]:
    """Return n texts and the table with them, every one of its own."""
    table = pq.read_table(corpus) if corpus.suffix == ".parquet" else pa.csv.read_csv(corpus)
    texts = table[text].to_pylist()
    if len(texts) >= n:
        return texts[:n], table.slice(0, n)
    texts = [f"{i} {texts[i % len(texts)]}" for i in range(n)]
    return texts, pa.table({"id": [str(i) for i in range(n)], text: texts})


def end_to_end(model: Model, table: pa.Table, text: str, folder: Path) -> Callable[[], None]:
    """Return work: `secondcoder label` of a CSV file with a model that is loaded, to a CSV file."""
    source = folder / "corpus.csv"
    if not source.exists():
        pa.csv.write_csv(table.select([name for name in table.column_names if table[name].type != pa.null()]), source)

    def work() -> None:
        output = folder / "labelled.csv"
        for path in folder.glob("labelled.csv*"):
            path.unlink()
        sc.label(model, source, output=output, text=text)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--slice", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calibration", type=int, default=256, help="texts that fixed ranges are measured on")
    parser.add_argument("--agreement", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    run, model = Run(args.run), load_model(args.run, device="cpu", precision="fp32")
    plain = convert(model.network, model.encoder, "fp32")
    learned = run.part("train").texts
    learned = learned[:: max(1, len(learned) // args.calibration)]
    backends = {
        "torch fp32": TorchBackend(model.network, "fp32"),
        "OpenVINO fp32": plain,
        "OpenVINO int8, fixed ranges": quantised(plain, model.encoder, learned),
        "OpenVINO int8, ranges by token": compressed(plain),
    }
    texts, table = read(args.corpus, args.text, args.rows)
    encoded = model.encoder.encode(texts)
    few = texts[:: max(1, len(texts) // args.slice)][: args.slice]
    pipe = transformers.pipeline(
        "text-classification", model=model.network, tokenizer=model.encoder.tokenizer, device="cpu", truncation=True
    )
    work: dict[str, tuple[Callable[[], Any], int]] = {
        "pipeline, one by one": (lambda: pipe(few, batch_size=1), len(few)),
        "pipeline, batches of 16": (lambda: pipe(few, batch_size=16), len(few)),
    }
    some = model.encoder.encode(texts[: max(64, len(texts) // 8)])
    for name, backend in backends.items():
        given = some if isinstance(backend, TorchBackend) else encoded
        work[f"{name}, bare"] = (bare(model, backend, given, "fixed"), len(given))
    fast = backends["OpenVINO int8, fixed ranges"]
    work["OpenVINO int8, fixed ranges, bare, fitted shapes"] = (bare(model, fast, encoded, "fitted"), len(texts))
    seconds: dict[str, list[float]] = {name: [] for name in work}
    with tempfile.TemporaryDirectory() as name:
        for kind in list(backends)[2:]:
            labelling = Model(model.network, model.encoder, model.card, "0" * 64)
            labelling.use(backends[kind])
            work[f"secondcoder label, {kind}"] = (end_to_end(labelling, table, args.text, Path(name)), len(texts))
            seconds[f"secondcoder label, {kind}"] = []
        peak = peaks()
        for _ in range(args.rounds):  # slices alternate, so that a busy moment of the machine falls on all
            for what, (do, _n) in work.items():
                started = time.perf_counter()
                do()
                seconds[what].append(time.perf_counter() - started)
    single = one_text(model, fast, texts[0])
    rates = {what: rate(work[what][1], seconds[what]) for what in work}
    per_text = operations(model, encoded.lengths) / len(texts)
    result = {
        "corpus": args.corpus.name,
        "rows": len(texts),
        "mean_tokens": float(encoded.lengths.mean()),
        "texts_per_second": rates,
        "giga_operations_per_second": {what: r["median"] * per_text / 1e9 for what, r in rates.items()},
        "peak": peak,
        "one_text_seconds": single,
        "agreement": agreement(run, model, backends) if args.agreement else None,
        "machine": machine(),
        "versions": versions(),
    }
    args.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def one_text(model: Model, backend: Any, text: str) -> float:
    model.use(backend)
    taken = []
    for _ in range(10):
        started = time.perf_counter()
        model.predict([text])
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def rate(n: int, seconds: Sequence[float]) -> dict[str, float]:
    rates = [n / s for s in seconds]
    return {"min": min(rates), "median": statistics.median(rates), "max": max(rates)}


if __name__ == "__main__":
    main()
