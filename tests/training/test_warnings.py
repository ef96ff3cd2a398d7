"""What goes wrong in a training is said loudly, where it is seen: on standard error, in the run, in the report."""

import csv
import json

import numpy as np
import pytest
import torch
from transformers import BertModel, BertTokenizerFast

from secondcoder.cli.main import main
from secondcoder.model.loading import start_model
from secondcoder.model.model import Scores
from secondcoder.progress import Progress
from secondcoder.runs.run import Run
from secondcoder.settings import TrainSettings
from secondcoder.training import loop
from secondcoder.training.loop import predicts_one_class
from secondcoder.training.seeds import below_majority
from tests.tiny import make_rows


def scores_of(logits: list[list[float]]) -> Scores:
    n = len(logits)
    return Scores(np.array(logits, np.float32), np.zeros(n, bool), np.ones(n, np.int64))


@pytest.fixture
def train_command(tmp_path, encoder_folder, capsys):
    """Train by the command line on texts that tell nothing about their labels; return exit code and standard error."""

    def run(model: object = encoder_folder) -> tuple[int, str]:
        source = tmp_path / "rows.csv"
        with source.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "area"])
            writer.writerows((text, "rare" if i % 8 == 0 else "often") for i, (text, _) in enumerate(make_rows(120)))
        words = ["train", source, "--text", "text", "--label", "area", "--model", model, "--device", "cpu"]
        words += ["--output", tmp_path / "run", "--freeze", 0, "--learning-rate", 5e-3, "--epochs", 1]
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return left.value.code, capsys.readouterr().err

    return run


def test_one_label_for_all_of_dev_is_an_alarm(corpus):
    dev = corpus.take(range(3))
    alarm = predicts_one_class(dev, scores_of([[0.0, 1.0], [2.0, 3.0], [-1.0, 0.0]]), epoch=2)
    assert (alarm.kind, alarm.severity) == ("one-class", "warning")
    for expected in ("epoch 2", "3 dev texts", "'social'"):
        assert expected in alarm.message
    assert "--learning-rate" in alarm.cure


def test_two_labels_are_no_alarm_nor_is_a_single_text(corpus):
    assert predicts_one_class(corpus.take(range(2)), scores_of([[0.0, 1.0], [1.0, 0.0]]), epoch=1) is None
    assert predicts_one_class(corpus.take(range(1)), scores_of([[0.0, 1.0]]), epoch=1) is None


@pytest.mark.parametrize(
    ("metric", "as_bad", "better"),
    [("accuracy", 0.5, 0.525), ("macro-f1", 1 / 3, 0.34), ("log-loss", np.log(2), 0.69)],
)
def test_a_model_no_better_than_the_majority_is_an_alarm(corpus, metric, as_bad, better):
    train, dev = corpus.take(range(80)), corpus.take(range(80, 120))
    alarm = below_majority(train, dev, metric, as_bad)
    assert (alarm.kind, alarm.severity) == ("below-majority", "warning")
    assert f"{metric} {as_bad:.3f} against {as_bad:.3f}" in alarm.message
    assert "--epochs" in alarm.cure
    assert below_majority(train, dev, metric, better) is None


def test_alarms_stand_on_standard_error_in_the_run_and_in_the_report(train_command, tmp_path):
    code, err = train_command()
    assert code == 0
    run = Run(tmp_path / "run")
    findings = {finding["kind"]: finding for finding in run.info["results"]["findings"]}
    assert findings.keys() == {"one-class", "below-majority"}
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    for finding in findings.values():
        assert f"warning: {finding['message']}\n  {finding['cure']}\n" in err
    assert "every one of the 24 dev texts the label" in page
    assert "no better than always giving the most frequent label" in page
    assert "Do not use its labels." in page


def test_a_training_that_learns_raises_no_alarm(corpus, encoder_folder, tmp_path):
    said, result = fit_with(corpus, encoder_folder, tmp_path, epochs=8)
    assert result.findings == []
    assert not any("warning" in sentence for sentence in said[-2:])


def test_an_alarm_is_kept_with_the_best_epoch_only(corpus, encoder_folder, tmp_path, monkeypatch):
    """Figures 0.5, 0.9, 0.7; one label for all in the first epoch and the last, which are not the best."""
    figures, one_label = iter([0.5, 0.9, 0.7]), iter([True, False, True])
    monkeypatch.setattr(loop, "dev_figures", lambda dev, scores, metric: {metric: next(figures)})
    always = scores_of([[0.0, 1.0]] * 40)
    monkeypatch.setattr(
        loop,
        "predicts_one_class",
        lambda dev, scores, epoch: predicts_one_class(dev, always, epoch) if next(one_label) else None,
    )
    said, result = fit_with(corpus, encoder_folder, tmp_path, epochs=3)
    assert result.best_epoch == 2
    assert result.findings == []
    assert sum("warning" in sentence for sentence in said) == 2


def test_an_alarm_of_the_best_epoch_stays(corpus, encoder_folder, tmp_path, monkeypatch):
    figures = iter([0.9, 0.5])
    monkeypatch.setattr(loop, "dev_figures", lambda dev, scores, metric: {metric: next(figures)})
    always = scores_of([[0.0, 1.0]] * 40)
    monkeypatch.setattr(loop, "predicts_one_class", lambda dev, scores, epoch: predicts_one_class(dev, always, epoch))
    _, result = fit_with(corpus, encoder_folder, tmp_path, epochs=2)
    assert [finding.message.split(",")[0] for finding in result.findings] == ["After epoch 1"]


def test_a_loss_that_is_no_number_ends_the_command_with_a_cure(train_command, encoder_folder, tmp_path):
    network = BertModel.from_pretrained(encoder_folder)
    with torch.no_grad():
        network.encoder.layer[1].output.dense.weight[0, 0] = float("nan")
    network.save_pretrained(tmp_path / "damaged")
    BertTokenizerFast.from_pretrained(encoder_folder).save_pretrained(tmp_path / "damaged")
    code, err = train_command(tmp_path / "damaged")
    assert code == 2
    assert "error: The loss became nan at step 1 of 5.\n  Lower --learning-rate" in err
    info = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert info["status"] == "failed"
    assert "The loss became nan" in info["error"]
    assert not (tmp_path / "run" / "model").exists()


class Listening(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def fit_with(corpus, encoder_folder, folder, *, epochs: int):
    settings = TrainSettings(
        model=str(encoder_folder), device="cpu", precision="fp32", learning_rate=5e-3, epochs=epochs, freeze=0.0
    )
    model = start_model(settings, label_names=corpus.label_names, seed=1)
    progress = Listening()
    train, dev = corpus.take(range(80)), corpus.take(range(80, 120))
    result = loop.fit(model, train, dev, settings=settings, seed=1, checkpoints=folder, progress=progress)
    return progress.said, result
