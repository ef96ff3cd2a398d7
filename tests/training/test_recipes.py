import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from secondcoder import settings as options
from secondcoder.errors import InterruptedRunError, SettingsError
from secondcoder.evaluation.evaluate import evaluate_points
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training import recipes
from secondcoder.training.recipes import (
    COMPARED,
    FEW,
    MOST_TEXTS,
    RecipeComparison,
    compare_recipes,
    fewest_labels,
    require_possible,
    wants_comparison,
)

RIGHT = {"frozen": 0.6, "contrastive": 0.9, "full": 0.75}
"""How often the pretended models are right."""


class Told(Progress):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture
def settings(encoder_folder):
    return TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32")


@pytest.fixture
def pretended(monkeypatch):
    """Put models that are right as often as `RIGHT` says in the place of trained ones; return what they were given."""
    given = []

    def fit(_model, train, dev, *, settings, judge_each, **_others):
        given.append(SimpleNamespace(train=train, dev=dev, settings=settings, judge_each=judge_each))
        chance = [int(id_[1:]) * 37 % 100 / 100 for id_ in dev.ids]
        hits = [c < RIGHT[settings.recipe] for c in chance]
        gold = [dev.label_names.index(label) for label in dev.labels]
        said = [label if hit else 1 - label for label, hit in zip(gold, hits, strict=True)]
        return SimpleNamespace(best_scores=SimpleNamespace(probabilities=np.eye(2)[said] * 0.8 + 0.1))

    made, start = [], recipes.start_for

    def start_once(*args, **named):
        made.extend([] if made else [start(*args, **named)])
        return made[0]

    monkeypatch.setattr(recipes, "fit", fit)
    monkeypatch.setattr(recipes, "start_for", start_once)
    return given


def few(corpus, n=40):
    return replace(corpus.take(range(n)), groups=None)


def test_every_text_is_judged_by_models_that_have_not_learned_from_it(corpus, settings, pretended, tmp_path):
    train = few(corpus)
    found = compare_recipes(train, settings, seed=1, folder=tmp_path, progress=Progress())
    assert (found.n_folds, found.repeats, found.trainings) == (5, 3, 15)
    for recipe in COMPARED:
        made = [one for one in pretended if one.settings.recipe == recipe]
        assert sorted(id_ for one in made for id_ in one.dev.ids) == sorted(train.ids * 3)
        for one in made:
            assert set(one.train.ids) == set(train.ids) - set(one.dev.ids)
            assert set(one.dev.labels) == {"economic", "social"}
            assert not one.judge_each
    epochs = {one.settings.recipe: one.settings.epochs for one in pretended}
    assert epochs == {"frozen": 0, "contrastive": 30, "full": 30}


def test_the_figures_are_those_of_all_rows_and_the_best_is_taken(corpus, settings, pretended, tmp_path):
    train = few(corpus)
    found = compare_recipes(train, settings, seed=1, folder=tmp_path, progress=Progress())
    lines = [json.loads(line) for line in (tmp_path / "folds.jsonl").read_text().splitlines()]
    by_round = {one.dev.ids: one for one in pretended if one.settings.recipe == "full"}
    full = [line for line in lines if line["recipe"] == "full"]
    repeats, spread = [], []
    for repeat in range(3):
        pairs = list(zip(list(by_round.values()), full, strict=True))[5 * repeat : 5 * repeat + 5]
        labels = [label for one, _ in pairs for label in one.dev.labels]
        said = np.concatenate([line["probabilities"] for _, line in pairs])
        repeats.append(evaluate_points(labels, said, train.label_names).figure("macro-f1"))
        spread += [
            evaluate_points(list(one.dev.labels), np.array(line["probabilities"]), train.label_names).figure("macro-f1")
            for one, line in pairs
        ]
    assert found.figures["full"] == pytest.approx(np.mean(repeats))
    assert found.spread["full"] == pytest.approx(np.std(spread, ddof=1))
    assert found.chosen == "contrastive" == max(found.figures, key=found.figures.get)
    assert found.settings == {"recipe": "contrastive", "epochs": 20, "freeze": 0.0, "head_start": "logistic"}
    assert "Taken: contrastive." in found.sentence
    assert f"full {found.figures['full']:.3f} ± {found.spread['full']:.3f}" in found.sentence
    assert RecipeComparison.from_dict(json.loads(json.dumps(found.to_dict() | {"asked": {}}))) == found


def test_a_stopped_comparison_repeats_no_training_that_was_finished(corpus, settings, pretended, tmp_path, monkeypatch):
    train, progress = few(corpus), Told()
    whole = compare_recipes(train, settings, seed=1, folder=tmp_path / "whole", progress=progress)
    assert "20 of the rarest class, under 50" in progress.said[0]
    real = recipes.fit
    pretended.clear()

    def stopping(*given, **named):
        if len(pretended) == 7:
            raise InterruptedRunError(
                "Training was interrupted at step 3.", "Go on with the same command and --resume."
            )
        return real(*given, **named)

    with monkeypatch.context() as stopped:
        stopped.setattr(recipes, "fit", stopping)
        with pytest.raises(InterruptedRunError, match=r"fold 3 of 15, contrastive: Training was interrupted") as caught:
            compare_recipes(train, settings, seed=1, folder=tmp_path / "two", progress=Progress())
    assert "--resume" in caught.value.cure
    again = compare_recipes(train, settings, seed=1, folder=tmp_path / "two", progress=Progress())
    assert len(pretended) == 45
    assert replace(again, seconds={}) == replace(whole, seconds={})
    elsewhere = replace(settings, device="auto", token_budget=512, checkpoint_minutes=1.0)
    assert compare_recipes(train, elsewhere, seed=1, folder=tmp_path / "two", progress=Progress()) == again
    assert len(pretended) == 45
    other = compare_recipes(train, settings, seed=2, folder=tmp_path / "two", progress=Progress())
    assert len(pretended) == 90  # of another seed nothing can be used
    assert other.trainings == 15


def test_folds_of_long_texts_are_made_once(corpus, settings, pretended, tmp_path):
    train = few(corpus)
    train = replace(train, texts=tuple(f"{text} {'the ' * 200}" for text in train.texts))
    found = compare_recipes(train, settings, seed=1, folder=tmp_path, progress=Progress())
    assert (found.repeats, found.trainings) == (1, 5)


def test_when_the_time_is_over_whole_folds_decide(corpus, settings, pretended, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes._Work, "_expect", lambda work, n: -recipes._LEAST_PATIENCE)
    progress = Told()
    found = compare_recipes(few(corpus), settings, seed=1, folder=tmp_path, progress=progress)
    assert found.trainings == 1
    assert len(pretended) == len(COMPARED)
    assert found.spread == {}
    assert "Timeout reached: recipes are compared on 1 of 15 folds." in progress.said


def test_groups_stay_together_and_too_few_of_them_are_no_error(corpus, settings, pretended, tmp_path):
    compare_recipes(corpus.take(range(40)), settings, seed=1, folder=tmp_path / "a", progress=Progress())
    assert pretended
    assert all(set(one.train.groups).isdisjoint(one.dev.groups) for one in pretended)
    progress = Told()
    assert compare_recipes(corpus.take(range(20)), settings, seed=1, folder=tmp_path / "b", progress=progress) is None
    assert "not compared" in progress.said[0]
    assert "2 group(s)" in progress.said[0]


def test_recipes_are_compared_where_labels_are_few_and_nothing_was_named(corpus, settings):
    assert fewest_labels(corpus.take(range(0, 120, 2))) == 60  # of one class; the other does not occur
    assert wants_comparison(settings, few(corpus, 2 * FEW - 2))
    assert not wants_comparison(settings, few(corpus, 2 * FEW))
    rare = corpus.take([i % 110 for i in range(0, 240, 2)] * 10)
    assert len(rare) > MOST_TEXTS
    assert not wants_comparison(settings, replace(rare, labels=("economic", *["social"] * (len(rare) - 1))))
    for named in (
        {"epochs": 2},
        {"freeze": 0.5},
        {"head_start": "random"},
        {"recipe": "full"},
        {"effort": "quick"},
        {"lora": 8},
        {"class_weights": "balanced"},
    ):
        assert not wants_comparison(replace(settings, **named), few(corpus)), named
    several = replace(few(corpus), task="multi-label", positive=None)
    assert not wants_comparison(settings, several)
    with pytest.raises(SettingsError, match="may have several"):
        require_possible(replace(settings, recipe="contrastive"), several, processes=1)
    with pytest.raises(SettingsError, match="2 processes"):
        require_possible(replace(settings, recipe="contrastive"), few(corpus), processes=2)
    require_possible(replace(settings, recipe="full"), several, processes=2)
    soft = replace(few(corpus), shares=np.full((len(few(corpus)), 2), 0.5))
    for named in ({"recipe": "frozen"}, {"epochs": 0, "head_start": "logistic"}):
        with pytest.raises(SettingsError, match="shares of coders would not be used"):
            require_possible(replace(settings, **named), soft, processes=1)
    require_possible(replace(settings, recipe="full"), soft, processes=1)


def test_a_recipe_takes_enough_steps_and_never_fewer_epochs_than_the_effort():
    least = options.LEAST_STEPS["full"]
    for n, epochs in ((16, least), (32, least // 2), (10_000, 2)):
        assert TrainSettings(recipe="full").sized(n).epochs == epochs
    assert TrainSettings(recipe="full", epochs=7).sized(16).epochs == 7
    assert TrainSettings().sized(16).epochs is None
    frozen = TrainSettings(recipe="frozen").sized(16).resolved()
    assert (frozen.epochs, frozen.freeze, frozen.head_start) == (0, 1.0, "logistic")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"recipe": "frozen", "epochs": 3}, "epochs is 3, and the recipe frozen has 0"),
        ({"recipe": "full", "freeze": 0.5}, "freeze is 0.5, and the recipe full has 0.0"),
        ({"recipe": "contrastive", "head_start": "random"}, "head_start"),
        ({"recipe": "contrastive", "epochs": 0}, "epochs is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"recipe": "full", "lora": 8}, "--lora"),
        ({"recipe": "frozen", "class_weights": "balanced"}, "does not weigh"),
        ({"recipe": "setfit"}, "recipe is 'setfit'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_cure(named, said):
    with pytest.raises(SettingsError, match=said) as caught:
        TrainSettings(**named)
    assert caught.value.cure
