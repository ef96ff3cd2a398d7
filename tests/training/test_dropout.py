import pytest
import torch
from torch import nn

from secondcoder.training.trainable import ByteDropout, cheap_dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_it_drops_as_many_as_it_says_and_keeps_the_mean(p):
    torch.manual_seed(0)
    found = ByteDropout(p)(torch.ones(1000, 1001))
    share = float((found == 0).float().mean())
    assert share == pytest.approx(round(p * 256) / 256, abs=0.002)
    assert float(found.mean()) == pytest.approx(1, abs=0.005)
    assert len(found.unique()) == 2


def test_every_bit_of_a_byte_is_drawn():
    """Were the top bit of each word always 0, every eighth number would be kept twice as often as the others."""
    torch.manual_seed(0)
    found = ByteDropout(0.5)(torch.ones(80_000)).view(-1, 8)
    shares = (found == 0).float().mean(dim=0)
    assert float(shares.min()) > 0.48
    assert float(shares.max()) < 0.52


def test_gradients_flow_where_numbers_were_kept():
    x = torch.randn(64, 33, requires_grad=True)
    out = ByteDropout(0.25)(x)
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)
    assert torch.allclose(x.grad[x.grad != 0], torch.tensor(256 / 192))


def test_it_is_repeatable_and_does_nothing_when_evaluating_or_at_zero():
    x = torch.randn(5, 7)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(ByteDropout(0.5)(x))
    assert torch.equal(*drawn)
    assert torch.equal(ByteDropout(0.5).eval()(x), x)
    assert torch.equal(ByteDropout(0.0)(x), x)


def test_a_network_has_its_own_dropout_back_afterwards():
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2), nn.AlphaDropout(0.2))
    with pytest.raises(RuntimeError), cheap_dropout(network):
        assert [type(m) for m in network] == [nn.Linear, ByteDropout, nn.AlphaDropout]
        raise RuntimeError
    assert [type(m) for m in network] == [nn.Linear, nn.Dropout, nn.AlphaDropout]
