"""Training and prediction by torch while other programs compute: how long should OpenMP's threads spin as they wait?

In: nothing but the demo's model. Out: texts a second by setting, number of neighbours and length, as JSON lines. Each
figure is of a fresh process, as OpenMP reads its settings once; settings alternate, so that a drift falls on all.

    python benchmarks/busy_machine.py [--pairs 5] [--busy 0 1 2] [--tokens 24 32 128 512] [--seconds 6] --result FILE
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

SETTINGS: dict[str, dict[str, str]] = {
    "nothing set": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 3,000": {"GOMP_SPINCOUNT": "3000"},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 30,000": {"GOMP_SPINCOUNT": "30000"},
    "spin 100,000": {"GOMP_SPINCOUNT": "100000"},
}
# Of LLVM's OpenMP, which macOS and Windows have; milliseconds. On Linux it stands in for GNU's with --preload.
SETTINGS_OF_LLVM: dict[str, dict[str, str]] = {
    "nothing set": {},
    "block 0": {"KMP_BLOCKTIME": "0"},
    "block 1": {"KMP_BLOCKTIME": "1"},
}
ROWS = 16


def measure(work: str, tokens: int, seconds: float) -> None:
    """Print texts a second of whole training steps, or of predictions."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForSequenceClassification

    from secondcoder.model.pretrained import locate

    # As secondcoder trains: without dropout of attention, which has no fast way on a CPU.
    network = AutoModelForSequenceClassification.from_pretrained(
        locate("minilm"), num_labels=3, attention_probs_dropout_prob=0.0
    )
    ids = torch.randint(1000, 20000, (ROWS, tokens), generator=torch.Generator().manual_seed(tokens))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)
    labels = torch.zeros(ROWS, dtype=torch.long)

    def step() -> None:
        if work == "predict":
            with torch.inference_mode():
                network(**inputs)
            return
        torch.nn.functional.cross_entropy(network(**inputs).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    network.train(work == "train")
    step()
    begun, steps = time.monotonic(), 0
    while time.monotonic() - begun < seconds or steps < 2:
        step()
        steps += 1
    print(ROWS * steps / (time.monotonic() - begun))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tokens", type=int, nargs="+", default=[24, 32, 128, 512])
    parser.add_argument("--work", nargs="+", default=["train", "predict"])
    parser.add_argument("--settings", nargs="+")
    parser.add_argument("--preload", type=Path, help="LLVM's libomp.so, in place of the OpenMP that torch brings")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--result", type=Path)
    parser.add_argument("--measure", nargs=3)
    told = parser.parse_args()
    if told.measure:
        measure(told.measure[0], int(told.measure[1]), float(told.measure[2]))
        return
    settings = SETTINGS_OF_LLVM if told.preload else SETTINGS
    preload = {"LD_PRELOAD": str(told.preload)} if told.preload else {}
    told.settings = told.settings or list(settings)
    for busy, work, tokens in product(told.busy, told.work, told.tokens):
        found: dict[str, list[float]] = {name: [] for name in told.settings}
        neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            for pair in range(told.pairs):
                turn = pair % len(told.settings)  # each comes first, last and between
                for name in [*told.settings[turn:], *told.settings[:turn]]:
                    command = [sys.executable, __file__, "--measure", work, str(tokens), str(told.seconds)]
                    told_by = {**os.environ, **preload, **settings[name]}
                    done = subprocess.run(command, env=told_by, capture_output=True, text=True, check=True)
                    found[name].append(float(done.stdout.split()[-1]))
        finally:
            for neighbour in neighbours:
                neighbour.kill()
        first = found[told.settings[0]]
        for name, rates in found.items():
            ratio = statistics.median(rate / base for rate, base in zip(rates, first, strict=True))
            row = {"busy": busy, "work": work, "tokens": tokens, "setting": name, "ratio": round(ratio, 3)}
            line = json.dumps({**row, "texts_a_second": [round(rate, 2) for rate in rates]})
            print(line, flush=True)
            if told.result:
                with told.result.open("a", encoding="utf-8") as stream:
                    stream.write(line + "\n")


if __name__ == "__main__":
    main()
