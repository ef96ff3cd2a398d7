"""Adapters and layers computed again, for every family of models."""

import numpy as np
import pytest
import torch

from secondcoder.errors import ModelError
from secondcoder.model.loading import start_model
from secondcoder.settings import TrainSettings
from secondcoder.training.trainable import being_trained, hold, release
from tests.families import FAMILIES, build
from tests.tiny import make_rows

TEXTS = [text for text, _ in make_rows(6, seed=3, longest=8)]


def gradients(network, tensors, settings):
    """Return the gradients of one pass, with dropout, by name."""
    network.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    network.train()
    with being_trained(network, None, settings):
        loss = torch.nn.functional.cross_entropy(network(**tensors).logits, torch.arange(len(TEXTS)) % 2)
        loss.backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_through_adapters_and_computes_layers_again_with_the_same_bits(family, tmp_path):
    settings = TrainSettings(model=str(build(family, tmp_path)), device="cpu", precision="fp32", lora=3).resolved()
    model = start_model(settings, label_names=("economic", "social"), seed=1)
    network = model.network
    encoded = model.encoder.encode(TEXTS)
    tensors = model.encoder.batch(encoded, np.arange(len(TEXTS)), (len(TEXTS), int(encoded.lengths.max())))
    names = list(network.state_dict())
    hold(network, settings)
    expected = gradients(network, tensors, settings)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    # An adapter's second matrix starts at zero, so the first has no gradient yet, but a zero one; none is left out.
    assert {name for name in trained if "lora" in name} <= expected.keys()
    again = TrainSettings(**{**settings.to_dict(), "checkpoint_activations": True})
    if family == "albert":
        with pytest.raises(ModelError, match="computed again"):
            gradients(network, tensors, again)
    else:
        found = gradients(network, tensors, again)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in expected:
                parameter.sub_(0.5 * (expected[name] + 0.01))
    before = model.score(TEXTS).logits
    assert release(network)
    np.testing.assert_allclose(model.score(TEXTS).logits, before, atol=2e-4)
    assert list(network.state_dict()) == names
