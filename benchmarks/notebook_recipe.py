"""The teaching notebook's recipe, as people run it: Hugging Face's `Trainer` with the notebook's arguments.

In: a labelled Parquet file with the parts train and dev. Out: a JSON file with the history: loss, figures on dev after
each epoch, and the seconds of every optimizer step (their median says more than their sum on a machine that does other
things too). Nothing is handicapped: the current `Trainer`, its default fused AdamW, as many threads as torch takes.

    python benchmarks/notebook_recipe.py --data FILE --rate 1e-4 --result FILE
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pyarrow.parquet as pq
import transformers
from datasets import Dataset
from sklearn.metrics import accuracy_score, f1_score

from secondcoder.environment import machine, versions
from secondcoder.model.pretrained import locate, quiet_transformers

Rows = tuple[list[str], list[int]]


class StepClock(transformers.TrainerCallback):
    """Writes down how long each optimizer step takes, from the end of the one before."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = time.perf_counter()

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self._last = time.perf_counter()

    def on_step_end(self, *_: object, **__: object) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


def notebook_trainer(
    train: Rows, dev: Rows, *, folder: Path, rate: float, label_names: list[str], max_steps: int = -1
) -> transformers.Trainer:
    """Return the notebook's trainer: fp32, 2 epochs, random batches of 16, padded to the longest of each."""
    location = locate("minilm")
    tokenizer = transformers.AutoTokenizer.from_pretrained(location, model_max_length=512)
    with quiet_transformers():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            location, num_labels=len(label_names), id2label=dict(enumerate(label_names)), dtype="float32"
        )

    def tokenized(rows: Rows) -> Dataset:
        data = Dataset.from_dict({"text": rows[0], "label": rows[1]})
        return data.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)

    def figures(prediction: transformers.EvalPrediction) -> dict[str, float]:
        found = np.argmax(prediction.predictions, axis=1)
        return {
            "accuracy": float(accuracy_score(prediction.label_ids, found)),
            "f1": float(f1_score(prediction.label_ids, found, average="binary" if len(label_names) == 2 else "macro")),
            "macro-f1": float(f1_score(prediction.label_ids, found, average="macro")),
        }

    return transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            learning_rate=rate,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=16,
            num_train_epochs=2,
            max_steps=max_steps,
            weight_decay=0.01,
            eval_strategy="epoch" if max_steps < 0 else "no",
            save_strategy="epoch" if max_steps < 0 else "no",
            load_best_model_at_end=max_steps < 0,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=tokenized(train),
        eval_dataset=tokenized(dev),
        processing_class=tokenizer,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        compute_metrics=figures,
    )


def read_part(path: Path, part: str, *, text: str = "text", label: str = "label") -> tuple[Rows, list[str]]:
    """Return a part's texts and class numbers, and the names of the classes, in alphabetical order."""
    table = pq.read_table(path)
    names = sorted(set(table[label].to_pylist()))
    rows = [row for row in table.select([text, label, "split"]).to_pylist() if row["split"] == part]
    return ([row[text] for row in rows], [names.index(row[label]) for row in rows]), names


def main() -> None:
    """Run the recipe to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=2e-5)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    train, names = read_part(options.data, "train")
    dev, _ = read_part(options.data, "dev")
    test, _ = read_part(options.data, "test")
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = notebook_trainer(train, dev, folder=Path(folder), rate=options.rate, label_names=names)
        trainer.add_callback(clock)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        dataset = Dataset.from_dict({"text": test[0], "label": test[1]})
        tokenizer = trainer.processing_class
        on_test = trainer.predict(
            dataset.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)
        ).metrics
    options.result.write_text(
        json.dumps(
            {
                "recipe": "notebook: Trainer, fp32, random batches of 16, dropout 0.1, 2 epochs",
                "learning_rate": options.rate,
                "train_texts": len(train[0]),
                "seconds": round(seconds, 1),
                "median_step_seconds": round(statistics.median(clock.seconds), 3),
                "step_seconds": [round(s, 2) for s in clock.seconds],
                "history": trainer.state.log_history,
                "test": on_test,
                "machine": machine(),
                "versions": versions(),
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
