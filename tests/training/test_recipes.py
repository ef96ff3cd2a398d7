import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import secondcoder as sc
from secondcoder import settings as options
from secondcoder.errors import InterruptedRunError, SettingsError
from secondcoder.evaluation.evaluate import evaluate_points
from secondcoder.progress import Progress
from secondcoder.settings import TrainSettings
from secondcoder.training import recipes, tfidf
from secondcoder.training.baselines import TfidfLogistic
from secondcoder.training.recipes import (
    CHEAP,
    COMPARED,
    DEAR,
    FEW,
    RecipeComparison,
    compare_recipes,
    fewest_labels,
    require_possible,
    wants_comparison,
)
from tests.tiny import make_rows

RIGHT = {"frozen": 0.6, "tfidf": 0.5, "contrastive": 0.9, "full": 0.75}
"""How often the pretended models are right."""


class Told(Progress):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture(autouse=True)
def however_few(monkeypatch):
    monkeypatch.setattr(recipes, "_FEWEST_COMPARED", 0)


@pytest.fixture
def settings(encoder_folder):
    return TrainSettings(model=str(encoder_folder), device="cpu", precision="fp32")


def afforded(dear=DEAR, seconds=10.0):
    """What stands in the place of estimating what recipes cost: dear ones are judged on the first five folds."""
    return lambda work, rounds: (dict.fromkeys(CHEAP, len(rounds)) | dict.fromkeys(dear, 5), seconds)


@pytest.fixture
def pretended(monkeypatch):
    """Put models that are right as often as `RIGHT` says in the place of trained ones; return what they were given."""
    given = []

    def judge(work, recipe, rows, where):
        train, dev = work.train.take(work._others(rows)), work.train.take(rows)
        given.append(SimpleNamespace(recipe=recipe, train=train, dev=dev, where=where))
        chance = [int(id_[1:]) * 37 % 100 / 100 for id_ in dev.ids]
        hits = [c < RIGHT[recipe] for c in chance]
        gold = [dev.label_names.index(label) for label in dev.labels]
        said = [label if hit else 1 - label for label, hit in zip(gold, hits, strict=True)]
        return np.eye(2)[said] * 0.8 + 0.1, 1.0

    monkeypatch.setattr(recipes._Work, "judge", judge)
    monkeypatch.setattr(recipes._Work, "_afforded", afforded())
    return given


def few(corpus, n=40):
    return replace(corpus.take(range(n)), groups=None)


def test_every_text_is_judged_by_models_that_have_not_learned_from_it(corpus, settings, pretended, tmp_path):
    train = few(corpus)
    found = compare_recipes(train, settings, seed=1, folder=tmp_path, progress=Progress())
    assert (found.n_folds, found.repeats, found.trainings) == (5, 3, 15)
    for recipe in COMPARED:
        made = [one for one in pretended if one.recipe == recipe]
        divisions = 1 if recipe in DEAR else 3
        assert sorted(id_ for one in made for id_ in one.dev.ids) == sorted(train.ids * divisions)
        for one in made:
            assert set(one.train.ids) == set(train.ids) - set(one.dev.ids)
            assert set(one.dev.labels) == {"economic", "social"}


def test_the_figures_are_those_of_all_rows_and_the_best_is_taken(corpus, settings, pretended, tmp_path):
    train = few(corpus)
    found = compare_recipes(train, settings, seed=1, folder=tmp_path, progress=Progress())
    lines = [json.loads(line) for line in (tmp_path / "folds.jsonl").read_text().splitlines()]
    made = [one for one in pretended if one.recipe == "frozen"]
    frozen = [line for line in lines if line["recipe"] == "frozen"]
    repeats, spread = [], []
    for repeat in range(3):
        pairs = list(zip(made, frozen, strict=True))[5 * repeat : 5 * repeat + 5]
        labels = [label for one, _ in pairs for label in one.dev.labels]
        said = np.concatenate([line["probabilities"] for _, line in pairs])
        repeats.append(evaluate_points(labels, said, train.label_names).figure("macro-f1"))
        spread += [
            evaluate_points(list(one.dev.labels), np.array(line["probabilities"]), train.label_names).figure("macro-f1")
            for one, line in pairs
        ]
    assert found.figures["frozen"] == pytest.approx(np.mean(repeats))
    assert found.spread["frozen"] == pytest.approx(np.std(spread, ddof=1))
    assert found.chosen == "contrastive" == max(found.figures, key=found.figures.get)
    assert found.settings == {"recipe": "contrastive", "epochs": 10, "freeze": 0.5, "head_start": "logistic"}
    assert "Taken: contrastive." in found.sentence
    assert "5 folds, 3 times (contrastive on 5 of them, full on 5 of them);" in found.sentence
    assert f"full {found.figures['full']:.3f} ± {found.spread['full']:.3f}" in found.sentence
    assert RecipeComparison.from_dict(json.loads(json.dumps(found.to_dict() | {"asked": {}}))) == found


def test_what_few_texts_say_is_held_against_what_is_expected_of_a_recipe(
    corpus, settings, pretended, tmp_path, monkeypatch
):
    monkeypatch.setattr(recipes._Work, "_afforded", afforded(()))
    chosen = {}
    for lead in (0.05, 0.4):
        monkeypatch.setitem(RIGHT, "tfidf", RIGHT["frozen"] + lead)
        progress = Told()
        folder = tmp_path / str(lead)
        found = compare_recipes(few(corpus), settings, seed=1, folder=folder, progress=progress)
        assert found.figures["tfidf"] > found.figures["frozen"]
        assert set(found.figures) == {"frozen", "tfidf"}
        assert "Not compared, as that would take too long: contrastive, full." in progress.said[0]
        chosen[lead] = found
    assert chosen[0.05].chosen == "frozen"
    assert "; tfidf not better by enough for so few texts. Taken: frozen." in chosen[0.05].sentence
    assert chosen[0.4].chosen == "tfidf"
    assert "not better by enough" not in chosen[0.4].sentence
    assert "Taken: tfidf, TF-IDF with logistic regression, as by --model tfidf." in chosen[0.4].sentence
    taken = replace(settings.resolved(), **chosen[0.4].settings)
    assert taken == TrainSettings(model="tfidf", seeds=1)


def test_the_frozen_recipe_says_in_folds_what_its_training_would(corpus, settings, tmp_path):
    train = few(corpus)
    work = recipes._Work(train, settings, 1, tmp_path)
    rows = list(range(0, 40, 5))
    quick, _ = work.judge("frozen", rows, "")
    frozen = replace(settings, recipe="frozen").resolved()
    model = recipes.start_for(train, frozen, seed=1)
    learned = train.take(work._others(rows))
    fit = recipes.fit(
        model, learned, train.take(rows), settings=frozen, seed=1, checkpoints=tmp_path / "c", judge_each=False
    )
    assert np.allclose(quick, fit.best_scores.probabilities, atol=1e-4)
    simple, _ = work.judge("tfidf", rows, "")
    assert np.array_equal(simple, TfidfLogistic().fit(learned).predict_proba(train.take(rows).texts))


def test_dear_recipes_are_trained_for_as_long_as_they_would_be_and_left_out_where_that_takes_too_long(
    corpus, settings, tmp_path, monkeypatch
):
    given = []

    def fit(model, train, dev, *, settings, judge_each, **_others):
        given.append((settings.recipe, settings.epochs, judge_each))
        return SimpleNamespace(best_scores=SimpleNamespace(probabilities=np.full((len(dev), 2), 0.5)))

    real = recipes._Work.judge

    def judge(work, recipe, rows, where):
        return (np.full((len(rows), 2), 0.5), 1.0) if recipe in CHEAP else real(work, recipe, rows, where)

    monkeypatch.setattr(recipes, "fit", fit)
    monkeypatch.setattr(recipes._Work, "judge", judge)
    monkeypatch.setattr(recipes, "_MOST_REPEATS", 1)
    monkeypatch.setattr(recipes, "_DEAR_SECONDS", 1e9)
    found = compare_recipes(few(corpus), settings, seed=1, folder=tmp_path / "a", progress=Progress())
    assert given == [("contrastive", 10, False), ("full", 30, False)] * 5
    assert set(found.figures) == set(COMPARED)
    monkeypatch.setattr(recipes, "_DEAR_SECONDS", 0.0)
    found = compare_recipes(few(corpus), settings, seed=1, folder=tmp_path / "b", progress=Progress())
    assert len(given) == 10
    assert set(found.figures) == set(CHEAP)


def test_a_stopped_comparison_repeats_no_training_that_was_finished(corpus, settings, pretended, tmp_path, monkeypatch):
    train, progress = few(corpus), Told()
    whole = compare_recipes(train, settings, seed=1, folder=tmp_path / "whole", progress=progress)
    n = len(pretended)
    assert progress.said[0].startswith(
        f"Few labels (40 texts of train, at most {FEW}): frozen, tfidf, contrastive, full"
    )
    real = recipes._Work.judge
    pretended.clear()

    def stopping(*given):
        if len(pretended) == 7:
            raise InterruptedRunError(
                "Training was interrupted at step 3.", "Go on with the same command and --resume."
            )
        return real(*given)

    with monkeypatch.context() as stopped:
        stopped.setattr(recipes._Work, "judge", stopping)
        with pytest.raises(InterruptedRunError, match="Training was interrupted") as caught:
            compare_recipes(train, settings, seed=1, folder=tmp_path / "two", progress=Progress())
    assert "--resume" in caught.value.cure
    again = compare_recipes(train, settings, seed=1, folder=tmp_path / "two", progress=Progress())
    assert len(pretended) == n == 2 * 15 + 2 * 5
    assert again == whole
    elsewhere = replace(settings, device="auto", token_budget=512, checkpoint_minutes=1.0)
    assert compare_recipes(train, elsewhere, seed=1, folder=tmp_path / "two", progress=Progress()) == again
    assert len(pretended) == n
    other = compare_recipes(train, settings, seed=2, folder=tmp_path / "two", progress=Progress())
    assert len(pretended) == 2 * n  # of another seed nothing can be used
    assert other.trainings == 15


def test_a_stop_says_in_which_fold_and_recipe(corpus, settings, tmp_path, monkeypatch):
    def fit(*_given, **_named):
        raise InterruptedRunError("Training was interrupted at step 3.", "Go on with the same command and --resume.")

    monkeypatch.setattr(recipes, "fit", fit)
    with pytest.raises(InterruptedRunError, match=r"fold 1 of 15, contrastive: Training was interrupted"):
        compare_recipes(few(corpus), settings, seed=1, folder=tmp_path, progress=Progress())


def test_folds_of_long_texts_are_made_once(corpus, settings, pretended, tmp_path):
    train = few(corpus)
    train = replace(train, texts=tuple(f"{text} {'the ' * 200}" for text in train.texts))
    found = compare_recipes(train, settings, seed=1, folder=tmp_path, progress=Progress())
    assert (found.repeats, found.trainings) == (1, 5)


def test_when_the_time_is_over_whole_folds_decide(corpus, settings, pretended, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes._Work, "_afforded", afforded(seconds=-recipes._LEAST_PATIENCE))
    progress = Told()
    found = compare_recipes(few(corpus), settings, seed=1, folder=tmp_path, progress=progress)
    assert found.trainings == 1
    assert len(pretended) == len(COMPARED)
    assert found.spread == {}
    assert "Timeout reached: recipes are compared on 1 of 15 folds." in progress.said


def test_where_the_first_division_leaves_nothing_to_learn_from_the_next_one_judges_all_recipes(
    corpus, settings, pretended, tmp_path, monkeypatch
):
    later = [this for this in recipes._Work(few(corpus), settings, 1, tmp_path).rounds() if this.repeat]
    monkeypatch.setattr(recipes._Work, "rounds", lambda work: later)
    found = compare_recipes(few(corpus), settings, seed=1, folder=tmp_path, progress=Progress())
    assert set(found.figures) == set(COMPARED)
    assert len([one for one in pretended if one.recipe == "full"]) == 5


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
    many = corpus.take([i % 110 for i in range(FEW + 1)])
    assert wants_comparison(settings, many.take(range(FEW)))
    assert not wants_comparison(settings, many)
    assert wants_comparison(replace(settings, effort="quick"), many)
    assert not wants_comparison(replace(settings, effort="thorough"), few(corpus))
    for named in (
        {"epochs": 2},
        {"freeze": 0.5},
        {"head_start": "random"},
        {"recipe": "full"},
        {"lora": 8},
        {"class_weights": "balanced"},
    ):
        assert not wants_comparison(replace(settings, **named), few(corpus)), named
    several = replace(few(corpus), task="multi-label", positive=None)
    assert not wants_comparison(settings, several)
    assert wants_comparison(replace(settings, effort="quick"), several)
    with pytest.raises(SettingsError, match="may have several"):
        require_possible(replace(settings, recipe="contrastive"), several, processes=1)
    with pytest.raises(SettingsError, match="2 processes"):
        require_possible(replace(settings, recipe="contrastive"), few(corpus), processes=2)
    require_possible(replace(settings, recipe="full"), several, processes=2)
    soft = replace(few(corpus), shares=np.full((len(few(corpus)), 2), 0.5))
    assert not wants_comparison(replace(settings, effort="quick"), soft)
    for named in ({"recipe": "frozen"}, {"epochs": 0, "head_start": "logistic"}):
        with pytest.raises(SettingsError, match="shares of coders would not be used"):
            require_possible(replace(settings, **named), soft, processes=1)
    require_possible(replace(settings, recipe="full"), soft, processes=1)


def test_a_recipe_takes_enough_steps_and_never_fewer_epochs_than_the_effort():
    least = options.LEAST_STEPS["full"]
    for n, epochs in ((16, least), (32, least // 2), (10_000, 2)):
        assert TrainSettings(recipe="full").sized(n).epochs == epochs
    for n, epochs in ((16, 10), (32, 10), (48, 10), (64, 8), (10_000, 2)):
        assert TrainSettings(recipe="contrastive").sized(n).epochs == epochs
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


def test_of_very_few_texts_what_is_expected_of_recipes_decides(corpus, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "_FEWEST_COMPARED", 41)
    monkeypatch.setattr(recipes, "start_for", None)  # nothing is read
    two_groups = replace(few(corpus), groups=tuple("ab" * 20))  # which could not be cross-validated
    found = compare_recipes(two_groups, settings, seed=1, folder=tmp_path, progress=Progress())
    assert (found.chosen, found.figures, found.trainings, found.fewest) == ("contrastive", {}, 0, 20)
    assert found.settings == {"recipe": "contrastive", "epochs": 10, "freeze": 0.5, "head_start": "logistic"}
    assert "figures of 40 texts (fewer than 41) would be mostly chance" in found.sentence
    assert RecipeComparison.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    earlier = {name: value for name, value in found.to_dict().items() if name != "why_not"}
    assert RecipeComparison.from_dict(earlier).why_not == "only one fits into the time"


def test_of_more_texts_dear_recipes_are_judged_on_as_few_folds_as_judge_200(corpus, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "_DEAR_SECONDS", 1e9)
    many = corpus.take([i % 120 for i in range(FEW)])
    for n, folds in ((120, 5), (300, 4), (FEW, 2)):
        work = recipes._Work(replace(many.take(range(n)), groups=None), settings, 1, tmp_path)
        rows = np.array_split(np.arange(n), 5)
        assert work._afforded([recipes._Round(0, part.tolist()) for part in rows])[0] == {
            "frozen": 5, "tfidf": 5, "contrastive": folds, "full": folds,
        }  # fmt: skip


def test_quick_compares_what_costs_a_minute_at_most_and_of_many_texts_some(settings, tmp_path, monkeypatch):
    quick, progress = replace(settings, effort="quick"), Told()
    rows = [{"text": f"{text} {i}", "label": label} for i, (text, label) in enumerate(make_rows(FEW + 100))]
    train = sc.read(rows, text="text", label="label")
    monkeypatch.setattr(tfidf, "SEARCHED", 210)
    monkeypatch.setattr(tfidf, "_LEAST_SEARCHED", 210)
    found = compare_recipes(train, quick, seed=1, folder=tmp_path / "a", progress=progress)
    assert progress.said[0].startswith("frozen, tfidf are compared on train (210 texts of it), in 3 folds.")
    assert (set(found.figures), found.n_folds, found.trainings) == ({"frozen", "tfidf"}, 3, 3)
    monkeypatch.setattr(recipes, "_QUICK_SECONDS", 0.0)
    found = compare_recipes(train, quick, seed=1, folder=tmp_path / "b", progress=progress)
    assert (found.chosen, found.figures, found.trainings) == ("tfidf", {}, 0)
    assert found.sentence == (
        "Recipes are not compared, as reading all of train by the model takes more than 0 s; --recipe frozen does it. "
        "Taken: tfidf, TF-IDF with logistic regression, as by --model tfidf."
    )


def test_quick_compares_where_texts_have_several_classes_too(settings, tmp_path):
    rows = [
        {"text": f"{text} {i}", "label": [label] if i % 3 else ["economic", "social"]}
        for i, (text, label) in enumerate(make_rows(60))
    ]
    train = sc.read(rows, text="text", label="label")
    assert train.task == "multi-label"
    quick = replace(settings, effort="quick")
    found = compare_recipes(train, quick, seed=1, folder=tmp_path, progress=Progress())
    assert set(found.figures) == {"frozen", "tfidf"}
    assert 0 < found.figures["tfidf"] <= 1
