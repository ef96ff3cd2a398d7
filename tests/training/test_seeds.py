import json
import statistics

import numpy as np
import pytest

from secondcoder.evaluation.metrics import ONE_LABEL
from secondcoder.evaluation.tasks import gold_of
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training.seeds import fit_pretrained, spread


@pytest.fixture
def settings(encoder_folder) -> TrainSettings:
    chosen = TrainSettings(model=str(encoder_folder), device="cpu", epochs=1, freeze=0.0, learning_rate=5e-3)
    return chosen.resolved()


def test_several_seeds_leave_the_figures_of_each_with_mean_and_spread(settings, corpus, tmp_path):
    train, dev = corpus.take(range(0, 80)), corpus.take(range(80, 120))
    several = TrainSettings(**settings.to_dict() | {"seeds": 2})
    model, result = fit_pretrained(
        train, dev, settings=several, seed=5, checkpoints=tmp_path / "two", progress=Progress()
    )
    stored = json.loads(json.dumps(result.summary()))["seeds"]
    assert stored["figures"].keys() == {"5", "6"}
    for by_name in stored["figures"].values():
        assert set(by_name) == set(ONE_LABEL.of(corpus.label_names))
    assert {seed: by_name["macro-f1"] for seed, by_name in stored["figures"].items()} == result.seed_figures
    recalls = [by_name["recall:social"] for by_name in stored["figures"].values()]
    assert stored["mean"]["recall:social"] == pytest.approx(statistics.mean(recalls))
    assert stored["standard_deviation"]["recall:social"] == pytest.approx(statistics.stdev(recalls))
    gold = gold_of(dev, corpus.label_names)
    accuracy = np.mean(model.predict_proba(dev.texts).argmax(axis=1) == gold)
    assert stored["figures"][str(result.seed)]["accuracy"] == pytest.approx(accuracy)


def test_one_seed_has_no_spread(settings, corpus, tmp_path):
    train, dev = corpus.take(range(0, 80)), corpus.take(range(80, 120))
    _, result = fit_pretrained(train, dev, settings=settings, seed=5, checkpoints=tmp_path / "one", progress=Progress())
    assert "seeds" not in result.summary()
    assert spread([{"accuracy": 0.5}]).standard_deviation == {}
