"""Activation checkpointing and adapters: peak memory and time of steps, and what adapters learn beside full training.

python benchmarks/lora_and_memory.py memory
python benchmarks/lora_and_memory.py learning --data manifestos.csv --text text --label area --group manifesto
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, LENGTH, STEPS = 8, 512, 3
WAYS = {
    "full": {},
    "full, layers computed again": {"checkpoint_activations": True},
    "half frozen": {"freeze": 0.5},
    "half frozen, layers computed again": {"freeze": 0.5, "checkpoint_activations": True},
    "lora 16": {"lora": 16},
    "lora 16, layers computed again": {"lora": 16, "checkpoint_activations": True},
}
RECIPES = {
    "full, 1e-4 (auto)": {},
    "lora 16, 1e-3 (auto)": {"lora": 16},
    "lora 16, 1e-4": {"lora": 16, "learning_rate": 1e-4},
    "lora 16, 3e-3": {"lora": 16, "learning_rate": 3e-3},
    "lora 4, 1e-3 (auto)": {"lora": 4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["memory", "learning", "step"])
    parser.add_argument("--way", default="full")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--data")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--group")
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args()
    if asked.what == "step":
        print(json.dumps(measure(asked.way, asked.precision)))
    elif asked.what == "memory":
        print(f"{'way':40} {'precision':9} {'peak MB':>8} {'s a step':>9} {'loss':>20}")
        for precision in ("fp32", "bf16"):
            for way in WAYS:
                # Each in a process of its own: a peak is a process's.
                command = [sys.executable, __file__, "step", "--way", way, "--precision", precision]
                found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                print(
                    f"{way:40} {precision:9} {found['mb']:8.0f} {found['seconds']:9.2f} {found['loss']:20.16f}",
                    flush=True,
                )
    else:
        learn(asked)


def measure(way: str, precision: str) -> dict[str, float]:
    """Return the peak of memory above that before, in MB, the median time of a step, and the last step's loss."""
    import psutil
    import torch

    from secondcoder.model.backends import attention_for, computing
    from secondcoder.model.pretrained import load_pretrained
    from secondcoder.settings import TrainSettings
    from secondcoder.training.steps import make_optimizer
    from secondcoder.training.trainable import being_trained, hold

    settings = TrainSettings(**{"freeze": 0.0, **WAYS[way]}).resolved()
    network = load_pretrained("minilm", label_names=("a", "b"), seed=0, attention_dropout=0.0).network
    torch.manual_seed(0)
    frozen = hold(network, settings)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = make_optimizer(trained, 0.01)
    ids = torch.randint(1000, 20000, (ROWS, LENGTH))
    before, times, last = psutil.Process().memory_info().rss, [], 0.0
    network.train()
    frozen.stay_still()
    with being_trained(network, None, settings):
        for _ in range(STEPS):
            started = time.perf_counter()
            with computing(network.device, precision), attention_for(network, precision, LENGTH):
                logits = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()
            loss = torch.nn.functional.cross_entropy(logits, torch.arange(ROWS) % 2)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            times.append(time.perf_counter() - started)
            last = loss.item()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"mb": (peak - before) / 1e6, "seconds": sorted(times)[STEPS // 2], "loss": last}


def learn(asked: argparse.Namespace) -> None:
    """Train by each recipe on the same rows; figures on dev, whose best epoch is taken."""
    import numpy as np

    import secondcoder as sc
    from secondcoder.splits.split import split

    corpus = sc.read(asked.data, text=asked.text, label=asked.label, group=asked.group)
    drawn = np.sort(np.random.default_rng(0).choice(len(corpus), min(asked.rows, len(corpus)), replace=False))
    parts = split(corpus.take(drawn.tolist()), seed=42)
    print(f"{len(parts.train)} train, {len(parts.dev)} dev")
    for name, settings in RECIPES.items():
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            # Frozen embeddings would make full fine-tuning cheaper, and another recipe: all weights against adapters.
            run = sc.train(
                parts,
                model="minilm",
                epochs=asked.epochs,
                max_length=128,
                backend="torch",
                output=Path(folder) / "run",
                **({} if "lora" in settings else {"freeze": 0.0}),
                **settings,
            )
            seconds = time.perf_counter() - started
            dev = run.evaluations["dev"]["model"]
            saved = run.model.n_parameters
            print(
                f"{name:24} macro-F1 {dev.figure('macro-f1'):.3f}  accuracy {dev.figure('accuracy'):.3f}  "
                f"log loss {dev.figure('log-loss'):.3f}  {seconds:.0f} s  {saved:,} weights",
                flush=True,
            )


if __name__ == "__main__":
    main()
