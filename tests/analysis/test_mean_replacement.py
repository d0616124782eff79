"""What is left of a model when a part says the same about every row."""

import pytest
import torch
from torch import nn

from hybridlit.analysis.replacement import losses_without


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.unused = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(1, 1)
        self.pair = Pair()

    def forward(self, x):
        return self.left(x) + self.pair(self.right(x))[0]


class Pair(nn.Module):
    def forward(self, x):
        return x, None


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Sum()


def test_one_part_at_a_time_says_its_mean(model):
    reference, x = torch.randn(7, 3), torch.randn(4, 3)
    whole = model(x)
    found = losses_without(
        {"left": [model.left], "both": [model.left, model.right]},
        lambda: (model(reference[:3]), model(reference[3:])),
        lambda: model(x),
    )
    mean, other = model.left(reference).mean(0), model.right(reference).mean(0)
    assert torch.allclose(found["left"], mean + model.right(x), atol=1e-6)
    assert torch.allclose(found["both"], (mean + other).expand(4, 2), atol=1e-6)
    assert torch.equal(model(x), whole)


def test_what_has_no_mean_is_left_out(model):
    parts = {"unused": [model.unused], "pair": [model.pair], "none": [], "left": [model.left]}
    parts["half"] = [model.left, model.pair]
    x = torch.randn(4, 3)
    assert list(losses_without(parts, lambda: model(x), lambda: model(x))) == ["left"]


def test_hooks_are_gone_after_an_error(model):
    def fail():
        model(torch.randn(2, 3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        losses_without({"left": [model.left]}, fail, fail)
    with pytest.raises(KeyboardInterrupt):
        losses_without({"left": [model.left]}, lambda: model(torch.randn(2, 3)), fail)
    assert not model.left._forward_hooks
