import pytest
import torch

from secondcoder.training.steps import binary_cross_entropy, cross_entropy, loss_for


def test_shares_that_are_all_one_class_are_that_class():
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 2, 1, 1, 0])
    soft = torch.nn.functional.one_hot(targets, 3).double()
    assert cross_entropy(logits, soft).item() == pytest.approx(cross_entropy(logits, targets).item())


def test_soft_labels_weigh_the_log_probabilities():
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    shares = torch.tensor([[0.25, 0.75], [0.5, 0.5]], dtype=torch.float64)
    expected = -(shares * logits.log_softmax(1)).sum()
    assert cross_entropy(logits, shares).item() == pytest.approx(expected.item())


def test_several_labels_are_the_mean_of_their_decisions():
    logits = torch.tensor([[0.5, -2.0, 1.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    p = torch.sigmoid(logits)[0]
    expected = -(p[0].log() + (1 - p[1]).log() + (1 - p[2]).log()) / 3
    assert binary_cross_entropy(logits, targets).item() == pytest.approx(expected.item())
    assert loss_for("multi-label")(logits, targets).item() == pytest.approx(expected.item())
