import sys

import pytest
import torch
from torch import nn

from secondcoder.errors import MissingExtraError, ModelError
from secondcoder.training.trainable import Frozen, add_adapters, freeze, merge_adapters
from tests.training.networks import batch, network_of

NOTHING = Frozen(0, ())


def logits(network):
    network.eval()
    with torch.no_grad():
        return network(**batch()).logits


def learn(network):
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(**batch()).logits, torch.tensor([0, 1, 1, 0])).backward()
        optimizer.step()


@pytest.mark.parametrize(("family", "n_maps"), [("bert", 12), ("gpt2", 8), ("llama", 14), ("mpnet", 12)])
def test_adapters_and_head_are_trained_and_merged_into_an_ordinary_network(family, n_maps):
    network, untouched = network_of(family), network_of(family)
    add_adapters(network, NOTHING, rank=3)
    torch.testing.assert_close(logits(network), logits(untouched))  # they start at nothing
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    adapters = {name for name in trained if ".lora_" in name}
    assert len(adapters) == 2 * n_maps  # every linear map of attention and feed-forward, by whatever name
    assert {name.split(".")[0] for name in trained - adapters} <= {"classifier", "score", network.base_model_prefix}
    assert all("pooler" in name for name in trained - adapters if name.startswith(network.base_model_prefix + "."))
    before = {name: p.clone() for name, p in network.named_parameters() if not p.requires_grad}
    learn(network)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters() if name in before)
    learned = logits(network)
    assert not torch.allclose(learned, logits(untouched), atol=1e-2)

    assert merge_adapters(network)

    torch.testing.assert_close(logits(network), learned, atol=1e-5, rtol=1e-4)
    assert network.state_dict().keys() == untouched.state_dict().keys()
    assert [type(m) for m in network.modules()] == [type(m) for m in untouched.modules()]
    assert not hasattr(network, "peft_config")
    assert not merge_adapters(network)


def test_a_merged_network_is_saved_as_an_ordinary_one(tmp_path):
    network = network_of("gpt2")
    add_adapters(network, NOTHING, rank=2)
    learn(network)
    merge_adapters(network)
    network.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(type(network).from_pretrained(tmp_path)), logits(network))


def test_frozen_layers_get_no_adapters_and_stay_as_they_are():
    network = network_of("bert")
    add_adapters(network, freeze(network, 0.5), rank=2)
    adapters = {name for name, p in network.named_parameters() if p.requires_grad and ".lora_" in name}
    assert adapters
    assert all(name.startswith("bert.encoder.layer.1.") for name in adapters)


def test_with_all_layers_frozen_nothing_can_be_adapted():
    network = network_of("bert")
    with pytest.raises(ModelError, match="no layers left"):
        add_adapters(network, freeze(network, 1.0), rank=2)


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError) as caught:
        add_adapters(network_of("bert"), NOTHING, rank=2)
    assert "secondcoder[lora]" in caught.value.cure
