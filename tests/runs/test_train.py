import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import secondcoder as sc
from secondcoder.errors import DataError, InterruptedRunError, ModelError, RunError, SettingsError
from secondcoder.model.tokenisation import TextEncoder
from secondcoder.runs.evaluate import evaluate_on
from secondcoder.runs.mistakes import judged_rows, store_mistakes
from secondcoder.runs.run import Run
from secondcoder.splits.split import RULES
from secondcoder.training import checkpoints
from secondcoder.training.steps import Stepper
from tests.tiny import make_rows


@pytest.fixture(scope="module")
def run(encoder_folder, tmp_path_factory) -> Run:
    """A complete run, with its test part closed; tests that change it work on a copy."""
    return sc.train(
        sc.split(read_rows(), seed=7),
        output=tmp_path_factory.mktemp("runs") / "area",
        model=str(encoder_folder),
        learning_rate=5e-3,
        epochs=4,
        device="cpu",
        seed=5,
    )


@pytest.fixture
def copied(run, tmp_path) -> Run:
    shutil.copytree(run.folder, tmp_path / "runs" / "area")
    return Run(tmp_path / "runs" / "area")


def read_rows(n: int = 120, seed: int = 0):
    rows = [{"id": f"t{i}", "text": text, "area": label} for i, (text, label) in enumerate(make_rows(n, seed))]
    rows.append({"id": "uncoded", "text": "not coded yet", "area": None})
    return sc.read(rows, text="text", label="area", id="id")


def test_a_run_from_before_there_were_windows_is_read_reported_and_resumed(copied, encoder_folder):
    info = json.loads((copied.folder / "run.json").read_text())
    settings, lengths = info["settings"]["train"], info["results"]["lengths"]
    assert settings.pop("long_texts") == lengths.pop("long_texts") == "truncate"
    assert [settings.pop(name) for name in ("window_overlap", "window_pooling")] == [None, None]
    settings["truncation"] = lengths["truncation"] = "head"
    lengths["share_truncated"] = lengths.pop("share_longer")
    (copied.folder / "run.json").write_text(json.dumps(info))
    old = Run(copied.folder)
    old.write_report()
    assert "None is cut" in (old.folder / "report.html").read_text(encoding="utf-8")
    options = {"model": str(encoder_folder), "learning_rate": 5e-3, "epochs": 4, "device": "cpu", "seed": 5}
    split = sc.split(read_rows(), seed=7)
    assert sc.train(split, output=old.folder, resume=True, **options).status == "complete"
    with pytest.raises(RunError, match="long_texts 'truncate', now 'head-tail'"):
        sc.train(split, output=old.folder, resume=True, long_texts="head-tail", **options)


def test_a_run_leaves_what_the_architecture_promises(run):
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        ".lock",
        "run.json",
        "split.parquet",
        "data.parquet",
        "model",
        "history.jsonl",
        "predictions.parquet",
        "evaluation.json",
        "mistakes.json",
        "leads.json",
        "tfidf.safetensors",
        "report.html",
    }
    assert (run.status, Run(run.folder).info) == ("complete", run.info)
    assert {"settings", "versions", "machine", "seed", "data", "started", "finished", "results"} <= run.info.keys()
    assert len(run.history) == 4
    assert (run.folder.parent / "test-use.jsonl").exists() is False


def test_both_seeds_are_written_down(run):
    assert run.info["settings"]["split"]["seed"] == 7
    assert run.info["seed"] == 5
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "split_seed" in page or "split seed" in page


def test_how_the_data_was_read_is_written_down(tmp_path, encoder_folder):
    rows = [
        {"text": text, "code": str(label == "social"), "part": ("train", "dev", "test")[i % 3]}
        for i, (text, label) in enumerate(make_rows(120))
    ]
    corpus = sc.read(
        rows,
        text="text",
        label="code",
        split_column="part",
        sample_train=30,
        label_names={"False": "economic", "True": "social"},
    )
    run = sc.train(sc.split(corpus), output=tmp_path / "run", model=str(encoder_folder), epochs=1)
    assert run.info["settings"]["read"] == {
        "label_names": {"False": "economic", "True": "social"},
        "sample_train": 30,
        "sample_seed": 42,
    }


def test_a_seed_below_zero_is_refused(tmp_path, encoder_folder):
    with pytest.raises(SettingsError, match="seed is -1"):
        sc.split(read_rows(), seed=-1)
    with pytest.raises(SettingsError, match="seed is -1"):
        sc.train(sc.split(read_rows()), output=tmp_path / "run", model=str(encoder_folder), seed=-1)


def test_a_saved_model_that_differs_is_removed(tmp_path, encoder_folder, monkeypatch):
    real = Run.store_model

    def damage(self, model):
        with torch.no_grad():
            model.network.classifier.bias += 1
        real(self, model)
        with torch.no_grad():
            model.network.classifier.bias -= 1

    monkeypatch.setattr(Run, "store_model", damage)
    with pytest.raises(ModelError, match="gives other logits"):
        sc.train(sc.split(read_rows()), output=tmp_path / "run", model=str(encoder_folder), epochs=1)
    assert not (tmp_path / "run" / "model").exists()
    assert Run(tmp_path / "run").status == "failed"


def test_the_count_of_openings_does_not_fall_when_a_run_is_moved(copied, tmp_path):
    copied.evaluate()
    copied.evaluate()
    moved = tmp_path / "elsewhere" / "area"
    shutil.move(copied.folder, moved)
    run = Run(moved)
    run.evaluate()
    assert run.info["test_openings"] == 3


def test_a_precision_for_a_model_that_is_loaded_already_is_refused(run, tmp_path):
    with pytest.raises(SettingsError, match="loaded already"):
        sc.label(run, tmp_path / "any.csv", output=tmp_path / "out.csv", precision="fp32")


def test_texts_that_were_removed_from_a_run_are_missed_with_a_cure(copied):
    (copied.folder / "data.parquet").unlink()
    with pytest.raises(RunError, match="no longer holds its texts"):
        copied.evaluate()
    assert not (copied.folder.parent / "test-use.jsonl").exists()


def test_every_row_is_in_one_part_or_has_a_reason(run):
    table = pq.read_table(run.folder / "split.parquet").to_pylist()
    assert len(table) == 121
    assert all((row["part"] is None) == (row["reason"] is not None) for row in table)
    assert [row["reason"] for row in table if row["id"] == "uncoded"] == ["no label"]


@pytest.mark.numeric
def test_training_reports_dev_beside_the_baselines(run):
    figures = run.evaluations
    assert list(figures) == ["dev"]
    assert list(figures["dev"]) == ["model", "majority", "tfidf-logistic"]
    rows = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    dev = run.part("dev")
    assert [row["id"] for row in rows] == list(dev.ids)
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert figures["dev"]["model"].accuracy == pytest.approx(right)
    # dev was scored before the temperature went into the weights, which rounds otherwise
    told = [row["probability_social"] for row in rows]
    np.testing.assert_allclose(told, run.model.predict_proba(dev.texts)[:, 1], atol=1e-6)


def test_opening_test_is_written_down_and_counted(copied):
    book = copied.folder.parent / "test-use.jsonl"
    evaluation = copied.evaluate()
    assert evaluation.n == len(copied.part("test"))
    assert list(Run(copied.folder).evaluations) == ["dev", "test"]
    copied.evaluate()
    lines = [json.loads(line) for line in book.read_text().splitlines()]
    assert [line["state"] for line in lines] == ["begun", "seen"] * 2
    assert len({line["test"] for line in lines}) == 1
    assert Run(copied.folder).info["test_openings"] == 2
    parts = pq.read_table(copied.folder / "predictions.parquet")["part"].to_pylist()
    assert {part: parts.count(part) for part in parts} == {name: len(copied.part(name)) for name in ("dev", "test")}


def test_another_run_on_the_same_test_rows_counts_as_another_look(copied):
    copied.evaluate()
    shutil.copytree(copied.folder, copied.folder.parent / "other")
    other = Run(copied.folder.parent / "other")
    other.evaluate()
    assert other.info["test_openings"] == 2


def test_training_cannot_reach_the_test_part(encoder_folder, tmp_path, monkeypatch):
    seen: list[str] = []

    def spy(self, texts):
        seen.extend(texts)
        return real(self, texts)

    real = TextEncoder.encode
    monkeypatch.setattr("secondcoder.model.tokenisation.TextEncoder.encode", spy)
    split = sc.split(read_rows())
    sc.train(split, output=tmp_path / "run", model=str(encoder_folder), epochs=1)
    assert set(split.train.texts) <= set(seen)
    assert not set(split.test.texts) & set(seen)


def test_figures_on_test_are_those_of_the_labels_that_the_saved_model_gives(copied):
    evaluation = copied.evaluate()
    test = copied.part("test")
    predicted = sc.load(copied.folder).predict(test.texts)
    assert evaluation.accuracy == np.mean([a == b for a, b in zip(predicted, test.labels, strict=True)])


def test_a_finished_run_is_not_overwritten(run, encoder_folder):
    with pytest.raises(RunError, match="already holds a finished run"):
        sc.train(sc.split(read_rows()), output=run.folder, model=str(encoder_folder))
    assert Run(run.folder).status == "complete"


def test_a_strangers_folder_is_left_alone(tmp_path, encoder_folder):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="something else"):
        sc.train(sc.split(read_rows()), output=tmp_path, model=str(encoder_folder))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_training_says_so_and_can_be_started_again(tmp_path, encoder_folder, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as broken:
        broken.setattr(
            checkpoints.TrainingCheckpoints,
            "save",
            lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")),
        )
        with pytest.raises(OSError, match="No space"):
            sc.train(sc.split(read_rows()), output=folder, model=str(encoder_folder), epochs=1)
    assert Run(folder).status == "failed"
    with pytest.raises(RunError, match="holds no model"):
        Run(folder).evaluate()
    sc.train(sc.split(read_rows()), output=folder, model=str(encoder_folder), epochs=1)
    assert Run(folder).status == "complete"
    assert len(Run(folder).history) == 1


def test_an_interrupted_training_keeps_everything_and_goes_on(run, tmp_path, encoder_folder, monkeypatch):
    """Ctrl-C in the middle of an epoch, then --resume: the end is that of the run without a break."""
    options = {"model": str(encoder_folder), "learning_rate": 5e-3, "epochs": 4, "device": "cpu", "seed": 5}
    folder = tmp_path / "run"
    real, calls = Stepper.take, []

    def press(self, *given, **named):
        calls.append(given)
        if len(calls) == 9:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *given, **named)

    with monkeypatch.context() as pressed:
        pressed.setattr(Stepper, "take", press)
        with pytest.raises(InterruptedRunError, match=r"at step 9 of 20; everything is saved") as caught:
            sc.train(sc.split(read_rows(), seed=7), output=folder, **options)
    assert "--resume" in caught.value.cure
    assert Run(folder).status == "interrupted"
    for attempt in (Run(folder).write_report, Run(folder).evaluate, lambda: Run(folder).model):
        with pytest.raises(RunError, match="holds no model: its training is interrupted"):
            attempt()
    with pytest.raises(RunError, match="did not come to its end") as caught:
        sc.train(sc.split(read_rows(), seed=7), output=folder, **options)
    assert "--resume" in caught.value.cure
    resumed = sc.train(sc.split(read_rows(), seed=7), output=folder, resume=True, **options)
    assert resumed.status == "complete"
    assert resumed.model.sha256 == run.model.sha256
    assert timeless(resumed.history) == timeless(run.history)
    assert not resumed.checkpoints.exists()
    again = sc.train(sc.split(read_rows(), seed=7), output=folder, resume=True, **options)
    assert again.info["finished"] == resumed.info["finished"]


def test_a_run_is_resumed_with_the_data_and_options_it_was_begun_with(copied, encoder_folder):
    options = {"model": str(encoder_folder), "learning_rate": 5e-3, "epochs": 4, "device": "cpu", "seed": 5}
    free = {"device": "auto", "token_budget": 512, "checkpoint_minutes": 1.0}
    resumed = sc.train(sc.split(read_rows(), seed=7), output=copied.folder, resume=True, **options | free)
    assert resumed.status == "complete"
    copied.update(status="interrupted")
    with pytest.raises(RunError, match="epochs 4, now 5"):
        sc.train(sc.split(read_rows(), seed=7), output=copied.folder, resume=True, **options | {"epochs": 5})
    with pytest.raises(RunError, match="other data"):
        sc.train(sc.split(read_rows(110), seed=7), output=copied.folder, resume=True, **options)
    read = copied.info["settings"]["read"] | {"ordinal": "natural"}  # begun with an order, which is missed now
    copied.update(settings=copied.info["settings"] | {"read": read})
    with pytest.raises(RunError, match="ordinal 'natural', now None"):
        sc.train(sc.split(read_rows(), seed=7), output=copied.folder, resume=True, **options)


def test_a_run_that_an_earlier_version_began_goes_on_with_the_parts_that_it_has(tmp_path, encoder_folder):
    rows, options = read_rows(), {"model": str(encoder_folder), "epochs": 1, "device": "cpu", "seed": 5}
    now = sc.split(rows, seed=7)
    place = {id_: row for row, id_ in enumerate(rows.ids)}
    mine, theirs = (next(i for i in part.ids if rows.labels[place[i]] == "social") for part in (now.train, now.test))
    swapped = {mine: theirs, theirs: mine}  # parts of the same sizes and label counts, and yet others
    before = replace(
        now,
        **{
            name: rows.take(sorted(place[swapped.get(id_, id_)] for id_ in getattr(now, name).ids))
            for name in ("train", "dev", "test")
        },
    )
    begun = sc.train(before, output=tmp_path / "run", **options)
    trained, info = begun.model.sha256, begun.info
    assert info.pop("split_rules") == RULES
    (begun.folder / "run.json").write_text(json.dumps(info | {"status": "interrupted"}), encoding="utf-8")
    shutil.rmtree(begun.model_folder)
    again = sc.train(now, output=begun.folder, resume=True, **options)
    assert {name: again.part(name).ids for name in ("train", "dev", "test")} == {
        name: getattr(before, name).ids for name in ("train", "dev", "test")
    }
    assert (again.status, again.model.sha256) == ("complete", trained)
    (begun.folder / "run.json").write_text(json.dumps(info | {"status": "interrupted"}), encoding="utf-8")
    with pytest.raises(RunError, match="other data"):
        sc.train(sc.split(read_rows(110), seed=7), output=begun.folder, resume=True, **options)
    with pytest.raises(RunError, match="seed 7, now 8"):
        sc.train(sc.split(rows, seed=8), output=begun.folder, resume=True, **options)


def test_resume_with_nothing_there_begins(tmp_path, encoder_folder):
    made = sc.train(
        sc.split(read_rows()), output=tmp_path / "run", model=str(encoder_folder), epochs=1, device="cpu", resume=True
    )
    assert made.status == "complete"


def timeless(history):
    return [{name: value for name, value in entry.items() if "second" not in name} for entry in history]


def test_new_data_are_judged_and_what_was_seen_is_pointed_out(copied):
    fresh = sc.read([{"text": text, "area": label} for text, label in new_rows()], text="text", label="area")
    evaluation, findings = evaluate_on(copied, fresh)
    assert (evaluation.n, findings) == (30, [])
    assert len(list((copied.folder / "evaluations").iterdir())) == 1
    _, findings = evaluate_on(copied, copied.part("train"))
    assert [finding.kind for finding in findings] == ["seen"]


def test_new_data_with_unknown_labels_are_refused(copied):
    fresh = sc.read([{"text": "x", "area": "other"}, {"text": "y", "area": "social"}], text="text", label="area")
    with pytest.raises(DataError, match="'other'"):
        evaluate_on(copied, fresh)


def new_rows():
    return make_rows(30, seed=99)


def test_a_run_can_be_shown_in_a_notebook(run):
    assert "macro-f1" in run._repr_html_()


def test_one_label_cannot_be_learned(tmp_path, encoder_folder):
    corpus = read_rows()
    rows = [i for i, label in enumerate(corpus.labels) if label == "social"]
    split = sc.split(corpus)
    one = sc.Split(train=corpus.take(rows), dev=split.dev, test=split.test, by="given", settings=split.settings, seed=1)
    with pytest.raises(DataError, match="only the label"):
        sc.train(one, output=tmp_path / "run", model=str(encoder_folder))
    assert not (tmp_path / "run").exists()


def test_labelling_takes_a_run_a_model_or_a_folder(run, tmp_path):
    source = tmp_path / "corpus.csv"
    source.write_text("text\nmore tax\nour school\n", encoding="utf-8")
    outputs = [tmp_path / f"{i}.csv" for i in range(3)]
    for model, output in zip((run, run.model, run.folder), outputs, strict=True):
        sc.label(model, source, output=output)
    assert len({output.read_text(encoding="utf-8") for output in outputs}) == 1


def test_every_figure_of_a_run_has_its_interval_or_none(run):
    evaluation = run.evaluations["dev"]["model"]
    name, value = evaluation.headline
    assert set(evaluation.intervals) == set(evaluation.figures())
    assert evaluation.interval(name).low <= value <= evaluation.interval(name).high
    assert evaluation.n_groups is None
    assert evaluation.calibration.brier >= 0
    assert evaluation.risk_coverage.points


@pytest.mark.numeric
def test_the_temperature_lowers_the_loss_on_dev_and_stands_in_the_weights(run):
    temperature = run.info["results"]["temperature"]
    assert temperature == run.model.card.temperature != 1.0
    dev = run.part("dev")
    labels = np.array([run.model.label_names.index(label) for label in dev.labels])
    logits = run.model.logits(dev.texts)
    before, after = (
        float(torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(labels)))
        for x in (logits * temperature, logits)
    )
    assert after < before


def test_the_confidence_that_keeps_an_error_is_chosen_on_texts_that_chose_nothing_else(
    encoder_folder, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "secondcoder.evaluation.multiclass.MultiClass.temperature",
        lambda rules, gold, logits: seen.append(len(gold)) or 1.5,
    )
    split = sc.split(read_rows(), seed=7)
    run = sc.train(
        split,
        output=tmp_path / "run",
        model=str(encoder_folder),
        learning_rate=5e-3,
        epochs=4,
        freeze=0.0,
        max_error=0.4,
        device="cpu",
    )
    promise = run.info["results"]["selection"]
    judged = run.evaluations["dev"]["model"].n
    assert seen == [judged, judged]  # of the model, and of its rival
    assert promise["n"] + judged == len(split.dev)
    assert promise["max_error"] == 0.4
    assert promise["n_groups"] is None
    assert 0 <= promise["chance"] <= 1
    assert run.model.card.min_confidence == promise["min_confidence"]


def test_mistakes_are_stored_with_their_words(copied):
    copied.evaluate()
    stored = json.loads((copied.folder / "mistakes.json").read_text())
    assert set(stored) == {"dev", "test"}
    for part in stored.values():
        for mistake, words in zip(part["mistakes"]["confident"], part["words"], strict=True):
            assert all(mistake["text"][w["start"] : w["end"]] == w["text"] for w in words["words"])


def test_mistakes_in_long_texts_are_explained_without_leaving_words_out(copied):
    rows = copied.part("dev")
    rows = replace(rows, texts=tuple(" ".join([text] * 20) for text in rows.texts))
    wrong = np.eye(2)[[1 - rows.label_names.index(label) for label in rows.labels]] * 0.8 + 0.1
    store_mistakes(copied, "dev", judged_rows(rows, wrong), copied.model)
    stored = json.loads((copied.folder / "mistakes.json").read_text())["dev"]
    assert stored["words"]
    assert stored["occlusion"] is None


def test_the_model_has_a_card_with_its_figures_and_loads_with_it(copied):
    copied.write_report()
    card = (copied.model_folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert f"{copied.evaluations['dev']['model'].headline[1]:.3f}" in card
    assert sc.load(copied.folder).label_names == copied.model.label_names
