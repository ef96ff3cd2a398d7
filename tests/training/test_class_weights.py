import json

import numpy as np
import pytest
import torch

from secondcoder.errors import SettingsError
from secondcoder.training.class_weights import named_weights, resolve_weights, what_weights_do
from secondcoder.training.steps import loss_for

NAMES = ("left", "right", "none")
TARGETS = np.array([0] * 6 + [1] * 3 + [2])


def resolve(given, targets=TARGETS, *, task="multi-class"):
    return resolve_weights(given, targets, NAMES, task=task)


def test_balanced_classes_weigh_the_same_in_all_and_a_text_weighs_1_on_average():
    found = resolve("balanced")
    assert found == pytest.approx({"left": 10 / 18, "right": 10 / 9, "none": 10 / 3})
    shares = np.bincount(TARGETS) * np.array(list(found.values()))
    assert shares == pytest.approx([10 / 3] * 3)


def test_given_weights_keep_their_proportions_and_are_1_on_average_over_train():
    found = resolve({"left": 1, "right": 2, "none": 8})
    assert found["none"] / found["left"] == pytest.approx(8)
    assert np.mean([found[NAMES[i]] for i in TARGETS]) == pytest.approx(1)
    assert resolve({"left": 10, "right": 20, "none": 80}) == pytest.approx(found)


def test_equal_weights_and_equally_frequent_classes_change_nothing():
    assert resolve({"left": 3, "right": 3, "none": 3}) == dict.fromkeys(NAMES, 1.0)
    assert resolve("balanced", np.array([0, 1, 2] * 4)) == pytest.approx(dict.fromkeys(NAMES, 1.0))
    assert resolve(None) is None


def test_a_class_without_texts_takes_no_part():
    found = resolve("balanced", np.array([0, 0, 0, 1]))
    assert found == pytest.approx({"left": 4 / 6, "right": 2.0, "none": 1.0})


def test_shares_of_coders_count_as_parts_of_texts():
    shares = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]])
    assert resolve("balanced", shares) == pytest.approx({"left": 0.5, "right": 2.0, "none": 2.0})


def test_of_several_classes_a_text_a_weight_is_that_of_having_the_class():
    gold = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32)
    assert resolve("balanced", gold, task="multi-label") == pytest.approx({"left": 1 / 3, "right": 3.0, "none": 3.0})
    given = {"left": 1.0, "right": 5.0, "none": 2.0}
    assert resolve(given, gold, task="multi-label") == given


def write(tmp_path, text):
    path = tmp_path / "weights.json"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_is_read_in_the_order_of_the_classes(tmp_path):
    path = write(tmp_path, json.dumps({"none": 3, "left": 1, "right": 0.5}))
    assert list(named_weights(path, NAMES).items()) == [("left", 1.0), ("right", 0.5), ("none", 3.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"left": 1, "right": 1, "noen": 1}', "'noen'"),
        ('{"left": 1, "right": 1}', "'none'"),
        ('{"left": 1, "right": 0, "none": 1}', "'right' is 0"),
        ('{"left": 1, "right": NaN, "none": 1}', "'right' is nan"),
        ('{"left": 1, "right": Infinity, "none": 1}', "'right' is inf"),
        ('{"left": 1, "right": "2", "none": 1}', "'right' is '2'"),
        ('{"left": 1, "right": true, "none": 1}', "'right' is True"),
        ('{"left": 1, "left": 2, "right": 1, "none": 1}', "'left' stands there twice"),
        ("[1, 2, 3]", "not an object"),
        ('{"left": 1', "not JSON"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_the_place_is_named(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        named_weights(path, NAMES)
    assert said in caught.value.what
    assert path in caught.value.what
    assert caught.value.cure


def test_what_is_neither_balanced_nor_a_file_is_refused():
    with pytest.raises(SettingsError, match="did you mean 'balanced'"):
        named_weights("balancd", NAMES)


@pytest.mark.parametrize("task", ["multi-class", "multi-label"])
def test_a_weighted_loss_is_the_same_however_a_step_is_cut(task):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    gold = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    targets = gold if task == "multi-class" else torch.eye(3)[gold]
    loss = loss_for(task, {"left": 0.5, "right": 1.0, "none": 4.0})
    whole = loss(logits, targets)
    parts = sum(loss(logits[rows], targets[rows]) for rows in (slice(0, 3), slice(3, 4), slice(4, 8)))
    torch.testing.assert_close(parts, whole)
    assert whole != loss_for(task)(logits, targets)


def test_weights_multiply_each_text_s_loss():
    logits, targets = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]), torch.tensor([0, 2])
    plain = [loss_for("multi-class")(logits[i : i + 1], targets[i : i + 1]).item() for i in range(2)]
    found = loss_for("multi-class", {"left": 2.0, "right": 1.0, "none": 5.0})(logits, targets).item()
    assert found == pytest.approx(2 * plain[0] + 5 * plain[1])
    soft = loss_for("multi-class", {"left": 2.0, "right": 1.0, "none": 5.0})(logits, torch.eye(3)[targets]).item()
    assert soft == pytest.approx(found)


def test_where_several_classes_are_possible_only_having_one_is_weighted():
    logits = torch.tensor([[0.5, -1.0]])
    loss = loss_for("multi-label", {"a": 3.0, "b": 7.0})(logits, torch.tensor([[1.0, 0.0]])).item()
    assert loss == pytest.approx((3 * np.log1p(np.exp(-0.5)) + np.log1p(np.exp(-1.0))) / 2)


@pytest.mark.parametrize(("positive", "cure"), [("right", "--tune-threshold"), (None, "Leave the weights out")])
def test_a_cure_is_one_that_the_task_has(positive, cure):
    """A threshold is tuned on demand for a positive class only."""
    (found,) = what_weights_do({"left": 0.5, "right": 1.5}, positive=positive)
    assert cure in found.cure
    assert "'right' 1.5" in found.message
    assert what_weights_do(None, positive=positive) == []
