import pytest
import torch
from torch import nn

from secondcoder.errors import ModelError
from secondcoder.model.backends import attention_for, computing
from secondcoder.training.trainable import ByteDropout, cheap_dropout, freeze, recomputing
from tests.precision import PRECISION
from tests.training.networks import batch, network_of


def gradients(network, *, again, precision=PRECISION, cheap=True):
    """Return gradients, loss, and the random number that is drawn after two passes."""
    network.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    network.train()
    total = 0.0
    with recomputing(network, again):
        for seed in range(2):
            with computing(network.device, precision), attention_for(network, precision, 12):
                logits = network(**batch(seed=seed)).logits
            loss = nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 1, 0]))
            loss.backward()
            total += loss.item()
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return found, total, torch.rand(1).item()


def assert_same(found, expected):
    assert found[1:] == expected[1:]
    assert found[0].keys() == expected[0].keys()
    assert all(torch.equal(found[0][name], expected[0][name]) for name in expected[0])
    assert any(gradient.abs().max() > 0 for gradient in expected[0].values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "mpnet"])
def test_gradients_are_the_same_to_the_last_bit_dropout_included(family, precision):
    network = network_of(family)
    with cheap_dropout(network):
        expected = gradients(network, again=False, precision=precision)
        assert_same(gradients(network, again=True, precision=precision), expected)
        assert any(isinstance(m, ByteDropout) for m in network.modules()) or family == "llama"


def test_in_bf16_layers_are_computed_again_with_the_attention_that_they_had():
    network = network_of("bert")
    assert network.config._attn_implementation == "sdpa"
    expected = gradients(network, again=False, precision="bf16")
    assert_same(gradients(network, again=True, precision="bf16"), expected)
    assert network.config._attn_implementation == "sdpa"


@pytest.mark.numeric
def test_above_frozen_layers_it_works_too_and_frozen_ones_are_computed_once(monkeypatch):
    network = network_of("bert")
    frozen = freeze(network, 0.5)
    network.train = lambda: (type(network).train(network), frozen.stay_still())  # as the loop does
    expected = gradients(network, again=False)
    layers = network.bert.encoder.layer
    calls = [0, 0]
    for i in range(2):
        layers[i].attention.register_forward_hook(lambda *_, i=i: calls.__setitem__(i, calls[i] + 1))
    assert_same(gradients(network, again=True), expected)
    assert calls == [2, 4]


def test_what_layers_compute_is_not_kept():
    network = network_of("bert", num_hidden_layers=6)
    network.train()

    def kept(again):
        seen = []
        with (
            recomputing(network, again),
            torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t.numel()) or t, lambda t: t),
        ):
            network(**batch()).logits.sum().backward()
        return sum(seen)

    assert kept(again=True) < kept(again=False) / 2


def test_behind_it_the_network_is_as_it_was():
    network = network_of("llama")
    network.config.use_cache = True
    with recomputing(network):
        assert not network.config.use_cache
    assert network.config.use_cache
    assert not any("forward" in module.__dict__ for module in network.modules())
    with recomputing(network, False):
        assert network.config.use_cache


def test_a_network_without_layers_of_its_own_is_refused():
    network = network_of("bert")
    network.bert.encoder.layer = nn.ModuleList()
    with pytest.raises(ModelError, match="computed again") as caught, recomputing(network):
        pass
    assert "--checkpoint-activations" in caught.value.cure
