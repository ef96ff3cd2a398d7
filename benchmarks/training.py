"""Training speed: the notebook's recipe on Hugging Face's `Trainer` against secondcoder, in alternating slices.

In: hand-labelled texts (by default the demo's news). Out: texts a second of each, their ratios, the matrix peak of this
machine in the same run and the share of it that was reached. All weights are trained by both: the same texts, tokens,
batch size and number of steps; what differs is how. A last row freezes the lower half of the layers.

    python benchmarks/training.py [--data FILE --text COL --label COL --split-column COL | --group COL] --result FILE

Slices alternate in one process, so that a busy moment of the machine falls on both. A notebook step on long texts takes
ten seconds and more on two cores: choose --steps and --slices by that.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
import transformers
from notebook_recipe import notebook_trainer

import secondcoder as sc
from secondcoder.cli.demo import articles
from secondcoder.corpus.corpus import Corpus
from secondcoder.environment import machine, versions
from secondcoder.evaluation.tasks import gold_of
from secondcoder.model.batches import training_steps
from secondcoder.model.loading import start_model
from secondcoder.model.pretrained import rate_for, seeded
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training.activation_cache import TokenInputs, cache_activations
from secondcoder.training.distributed import ALONE
from secondcoder.training.steps import Stepper
from secondcoder.training.trainable import cheap_dropout, freeze, upper_layers


@dataclass
class Slices:
    """What was measured of one way to train: seconds, texts and real (unpadded) tokens of each slice."""

    seconds: list[float] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    flops: list[float] = field(default_factory=list)

    def add(self, seconds: float, lengths: np.ndarray, flops: float) -> None:
        self.seconds.append(seconds)
        self.texts.append(len(lengths))
        self.tokens.append(int(lengths.sum()))
        self.flops.append(flops)

    def rates(self, what: str) -> list[float]:
        return [n / s for n, s in zip(getattr(self, what), self.seconds, strict=True)]


class Secondcoder:
    """secondcoder's training steps on a train part, a few at a time."""

    def __init__(self, train: Corpus, share_frozen: float, folder: Path) -> None:
        self.settings = TrainSettings(model="minilm", freeze=share_frozen, device="cpu").resolved()
        self.model = start_model(self.settings, label_names=train.label_names, seed=42)
        self.encoded = self.model.encoder.encode(train.texts)
        network = self.model.network
        self.frozen = freeze(network, share_frozen)
        parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        started = time.perf_counter()
        kept = cache_activations(
            network,
            self.model.encoder,
            self.encoded,
            self.frozen,
            precision=self.model.precision,
            path=folder / "activations",
            progress=Progress(),
        )
        self.seconds_once = time.perf_counter() - started if kept else 0.0
        self.cut = self.frozen if kept else None
        self.stepper = Stepper(
            network,
            parameters,
            kept or TokenInputs(self.model.encoder, self.encoded),
            gold_of(train, train.label_names),
            settings=self.settings,
            precision=self.model.precision,
            token_budget=2048,
            ranks=ALONE,
            say=print,
        )
        order = np.random.default_rng(0)
        self.steps = iter(
            [s for _ in range(99) for s in training_steps(self.encoded.lengths, batch_size=16, generator=order)]
        )
        self.slices = Slices()

    def run(self, n_steps: int, *, measured: bool = True) -> None:
        network = self.model.network
        network.train()
        self.frozen.stay_still()
        rate = rate_for(network.config)
        rows = [next(self.steps) for _ in range(n_steps)]
        with seeded(1), cheap_dropout(network), upper_layers(network, self.cut) if self.cut else seeded(1):
            started = time.perf_counter()
            for step in rows:
                self.stepper.take(step, rate, name="a step")
            seconds = time.perf_counter() - started
        if measured:
            lengths = self.encoded.lengths[np.concatenate(rows)]
            self.slices.add(seconds, lengths, flops(lengths, network.config, self.frozen.layers))


class Alternate(transformers.TrainerCallback):
    """Times the notebook's slices, and lets the others have theirs in between."""

    def __init__(self, others: list[Secondcoder], collator: transformers.DataCollatorWithPadding, n_steps: int) -> None:
        self.others, self.n_steps, self.collator = others, n_steps, collator
        self.slices, self.done, self.started = Slices(), 0, 0.0
        self.batches: list[list[int]] = []  # lengths in tokens, in the order in which they were drawn

    def collate(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        self.batches.append([len(row["input_ids"]) for row in rows])
        return self.collator(rows)

    def on_step_begin(self, *_: object, **__: object) -> None:
        if (self.done - 1) % self.n_steps == 0:  # the first step of all warms up
            self.started = time.perf_counter()

    def on_step_end(self, *_: object, **__: object) -> None:
        seconds = time.perf_counter() - self.started
        self.done += 1
        if self.done == 1:
            for other in self.others:
                other.run(2, measured=False)
        elif (self.done - 1) % self.n_steps == 0:
            lengths = np.concatenate(self.batches[self.done - self.n_steps : self.done])
            self.slices.add(seconds, lengths, flops(lengths, self.others[0].model.network.config, 0))
            for other in self.others:
                other.run(self.n_steps)


def flops(lengths: np.ndarray, config: object, frozen: int) -> float:
    """Return the multiplications and additions that these texts need without padding, forward and backward."""
    h, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers - frozen
    per_token = 2 * layers * (4 * h * h + 2 * h * f)
    attention = 4 * layers * h * (lengths.astype(float) ** 2).sum()
    return 3 * (per_token * float(lengths.sum()) + attention)


def peak(dtype: torch.dtype) -> float:
    """Return the best of 20 products of two 2,048 × 2,048 matrices, in floating-point operations a second."""
    a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * 2048**3 / min(seconds)


def read_train(options: argparse.Namespace) -> tuple[Corpus, str]:
    """Return the train part to measure on."""
    if options.data is None:
        rows = [{"text": a.text, "label": a.desk, "id": a.id} for a in articles()]
        return sc.split(sc.read(rows, text="text", label="label", id="id")).train, "the demo's news"
    corpus = sc.read(
        options.data, text=options.text, label=options.label, group=options.group, split_column=options.split_column
    )
    return sc.split(corpus).train, options.data.name


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--group")
    parser.add_argument("--split-column")
    parser.add_argument("--steps", type=int, default=30, help="of a slice")
    parser.add_argument("--slices", type=int, default=3)
    parser.add_argument("--result", type=Path)
    options = parser.parse_args()
    train, name = read_train(options)
    peaks = {"fp32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    with tempfile.TemporaryDirectory() as folder:
        ours = {
            "secondcoder, all weights": Secondcoder(train, 0.0, Path(folder)),
            "secondcoder, lower half frozen": Secondcoder(train, 0.5, Path(folder)),
        }
        first = next(iter(ours.values()))
        targets = gold_of(train, train.label_names).tolist()
        trainer = notebook_trainer(
            (list(train.texts), targets),
            (list(train.texts[:16]), targets[:16]),
            folder=Path(folder) / "notebook",
            rate=2e-5,
            label_names=list(train.label_names),
            max_steps=1 + options.steps * options.slices,
        )
        clock = Alternate(list(ours.values()), trainer.data_collator, options.steps)
        trainer.data_collator = clock.collate
        trainer.add_callback(clock)
        trainer.train()
    report = summarise(clock.slices, {who: o.slices for who, o in ours.items()}, peaks, first.model.precision)
    frozen_seconds = ours["secondcoder, lower half frozen"].seconds_once
    report |= {"data": name, "train_texts": len(train), "steps_per_slice": options.steps}
    report |= {"seconds_to_compute_frozen_layers_once": round(frozen_seconds, 1)}
    report |= {
        "mean_tokens": round(float(first.encoded.lengths.mean()), 1),
        "machine": machine(),
        "versions": versions(),
    }
    print(json.dumps(report, indent=1))
    if options.result:
        options.result.write_text(json.dumps(report, indent=1) + "\n")


def summarise(notebook: Slices, ours: dict[str, Slices], peaks: dict[str, float], precision: str) -> dict[str, object]:
    """Return rates and ratios: minimum, median, maximum over the slices."""

    def three(values: list[float], digits: int = 2) -> list[float]:
        return [round(v, digits) for v in (min(values), statistics.median(values), max(values))]

    rows = {"notebook": notebook, **ours}
    base = notebook.rates("texts")
    base_tokens = notebook.rates("tokens")
    return {
        "peak_gflops": {name: round(value / 1e9) for name, value in peaks.items()},
        "precision": precision,
        "rows": {
            who: {
                "texts_per_second": three(s.rates("texts")),
                "tokens_per_second": three(s.rates("tokens"), 0),
                "share_of_peak": three(
                    [f / peaks["fp32" if who == "notebook" else precision] for f in s.rates("flops")]
                ),
                "times_the_notebook_in_texts": three([a / b for a, b in zip(s.rates("texts"), base, strict=True)]),
                "times_the_notebook_in_tokens": three(
                    [a / b for a, b in zip(s.rates("tokens"), base_tokens, strict=True)]
                ),
                "seconds_by_slice": [round(v, 2) for v in s.seconds],
            }
            for who, s in rows.items()
        },
    }


if __name__ == "__main__":
    main()
