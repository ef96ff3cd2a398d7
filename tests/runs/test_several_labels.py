"""The whole way where a text may have several labels: train, judge, label, and label again in pieces."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import pipeline

import secondcoder as sc
from secondcoder.corpus.corpus import Corpus
from secondcoder.labelling.shards import merge
from secondcoder.runs.cross_fitting import cross_fit
from secondcoder.runs.run import Run
from secondcoder.settings import ReadSettings
from tests.precision import tolerance
from tests.several import made_sets

SETTINGS = {
    "epochs": 10,
    "freeze": 0.0,
    "learning_rate": 0.005,
    "device": "cpu",
    "backend": "torch",
    "effort": "normal",
}


def read(n: int, seed: int = 0) -> Corpus:
    texts, sets = made_sets(n, seed)
    rows = [
        {"id": f"r{i}", "text": text, "topics": sorted(own), "doc": f"d{i // 8}"}
        for i, (text, own) in enumerate(zip(texts, sets, strict=True))
    ]
    return sc.read(rows, text="text", label="topics", id="id", group="doc")


@pytest.fixture(scope="module")
def run(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "topics"
    return sc.train(sc.split(read(160)), model=str(encoder_folder), output=folder, **SETTINGS)


@pytest.fixture
def corpus_file(tmp_path: Path) -> Path:
    texts, _ = made_sets(40, 5)
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": [*texts, None, ""]}), path)
    return path


def test_a_run_learns_sets_and_remembers_what_they_are(run):
    assert run.info["data"]["task"] == "multi-label"
    assert run.part("dev").task == "multi-label"
    dev = run.evaluations["dev"]
    assert dev["model"].figure("macro-f1") > dev["majority"].figure("macro-f1") + 0.1
    thresholds = run.info["results"]["thresholds"]
    assert set(thresholds) == {"economic", "social"}
    model = sc.load(run.folder)
    assert (model.card.task, model.card.thresholds) == ("multi-label", thresholds)
    predictions = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    first = predictions[0]
    expected = [name for name in model.label_names if first[f"probability_{name}"] >= thresholds[name]]
    assert first["predicted"] == ";".join(expected)


@pytest.mark.numeric
def test_a_model_says_each_class_by_itself_as_transformers_does(run):
    model = sc.load(run.folder, device="cpu")
    texts = list(run.part("dev").texts[:6])
    p = model.predict_proba(texts)
    limits = np.array([model.card.thresholds[name] for name in model.label_names])
    expected = [tuple(np.array(model.label_names)[row]) for row in p >= limits]
    assert model.predict(texts) == expected
    said = pipeline("text-classification", model=str(run.model_folder), top_k=None)(texts)
    near = tolerance(1e-5, bf16=1e-2)  # the pipeline computes in fp32
    for row, scores in zip(p, said, strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        assert [by_name[name] for name in model.label_names] == pytest.approx(row.tolist(), abs=near)


def test_labels_are_lists_in_parquet_and_joined_in_csv(run, corpus_file, tmp_path):
    summary = sc.label(run, corpus_file, output=tmp_path / "out.parquet", probabilities=True)
    sc.label(run, corpus_file, output=tmp_path / "out.csv")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("label").type == pa.list_(pa.string())
    rows = table.to_pylist()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        joined = list(csv.DictReader(stream))
    model = run.model
    expected = model.predict([row["text"] for row in rows[:40]])
    assert [tuple(row["label"]) for row in rows[:40]] == expected
    assert [row["label"] for row in joined[:40]] == [";".join(names) for names in expected]
    assert [(row["label"], row["reason"]) for row in rows[40:]] == [(None, "empty text")] * 2
    for row, names in zip(rows[:40], expected, strict=True):
        sure = [row[f"probability_{n}"] if n in names else 1 - row[f"probability_{n}"] for n in model.label_names]
        assert row["probability"] == pytest.approx(min(sure))
    assert summary.label_counts == {n: sum(n in names for names in expected) for n in model.label_names}
    assert (summary.labelled, summary.no_class) == (40, expected.count(()))
    assert summary.label_shares["social"] == summary.label_counts["social"] / 40
    manifest = json.loads((tmp_path / "out.parquet.manifest.json").read_text())
    assert (manifest["model"]["task"], manifest["model"]["thresholds"]) == ("multi-label", model.card.thresholds)


def test_shards_put_together_are_the_whole(run, corpus_file, tmp_path):
    sc.label(run, corpus_file, output=tmp_path / "whole.parquet")
    shards = [tmp_path / f"shard{i}.parquet" for i in (1, 2)]
    for i, shard in enumerate(shards, 1):
        sc.label(run, corpus_file, output=shard, shard=f"{i}/2")
    summary = merge(shards, tmp_path / "merged.parquet")
    whole = pq.read_table(tmp_path / "whole.parquet")
    assert pq.read_table(tmp_path / "merged.parquet").equals(whole)
    sets = [names for names in whole["label"].to_pylist() if names is not None]
    assert (summary.labelled, summary.no_class) == (40, sets.count([]))


def test_labels_that_are_not_sure_enough_are_left_out(run, corpus_file, tmp_path):
    summary = sc.label(run, corpus_file, output=tmp_path / "sure.jsonl", min_confidence=0.9)
    rows = [json.loads(line) for line in (tmp_path / "sure.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["label"] is not None]
    assert all(row["probability"] >= 0.9 for row in kept)
    assert summary.labelled == len(kept) < 40


def test_new_data_is_read_as_the_run_s_was_and_judged_by_its_thresholds(run, tmp_path):
    from secondcoder.runs.evaluate import evaluate_on, read_new

    texts, sets = made_sets(40, 9)
    path = tmp_path / "new.jsonl"
    path.write_text(
        "".join(json.dumps({"text": t, "topics": sorted(s)}) + "\n" for t, s in zip(texts, sets, strict=True))
    )
    rows = read_new(run, path, ReadSettings())
    assert rows.task == "multi-label"
    found, _ = evaluate_on(run, rows)
    right = [tuple(sorted(own)) == given for own, given in zip(sets, run.model.predict(texts), strict=True)]
    assert found.figure("exact-match") == pytest.approx(sum(right) / 40)


@pytest.mark.slow
def test_folds_have_thresholds_of_their_own(encoder_folder, tmp_path):
    made = sc.train(
        sc.split(read(120)), model=str(encoder_folder), output=tmp_path / "run", **(SETTINGS | {"epochs": 1})
    )
    found = cross_fit(made, 3)
    assert found.n == 120
    rows = pq.read_table(made.folder / "folds.parquet").to_pylist()
    each = {fold["fold"]: fold["thresholds"] for fold in made.info["folds"]["each"]}
    for row in rows:
        limits = each[row["fold"]]
        assert row["predicted"] == ";".join(n for n in limits if row[f"probability_{n}"] >= limits[n])


def test_shares_of_coders_are_learned_and_kept(encoder_folder, tmp_path):
    texts, _ = made_sets(60)
    rows = [{"text": text, "a": 3 if i % 3 else 1, "b": 2, "c": i % 2} for i, text in enumerate(texts)]
    corpus = sc.read(rows, text="text", label_shares=["a", "b", "c"])
    made = sc.train(sc.split(corpus), model=str(encoder_folder), output=tmp_path / "run", **(SETTINGS | {"epochs": 1}))
    train = made.part("train")
    assert train.shares.shape == (len(train), 3)
    assert train.shares.sum(axis=1) == pytest.approx(np.ones(len(train)))
    known = dict(zip(corpus.ids, corpus.shares.tolist(), strict=True))
    assert train.shares.tolist() == [known[id_] for id_ in train.ids]
    assert made.evaluations["dev"]["model"].n == len(made.part("dev"))
