"""Frozen random features: the kernel that they stand for, and what of them trains."""

import pytest
import torch

from hybridlit.blocks.stand_ins import RandomFeatures
from hybridlit.blocks.wrappers import ModuleStack


def test_their_inner_products_are_a_gaussian_kernel():
    x = torch.rand(6, 3, dtype=torch.float64)
    features = RandomFeatures(3, 200_000, scale=0.7).double()(x)
    squared = (torch.pi * 0.7 * torch.cdist(x, x)).square()
    got = features @ features.T / features.shape[1]
    torch.testing.assert_close(got, torch.exp(-squared / 2), rtol=0, atol=0.015)


def test_only_the_readout_trains():
    block = RandomFeatures(3, 2, features=20)
    assert sum(p.numel() for p in block.parameters()) == 20 * 2 + 2
    x = torch.rand(50, 3)
    before = block.frequencies.clone()
    block(x).square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in block.parameters())
    assert torch.equal(block.frequencies, before)
    assert {"frequencies", "offsets"} <= set(block.state_dict())


def test_without_a_readout_the_features_are_the_outputs():
    block = RandomFeatures(3, 5)
    assert block(torch.rand(4, 3)).shape == (4, 5) and not list(block.parameters())
    assert block.output_size == 5


def test_other_draws_are_other_features():
    torch.manual_seed(1)
    block = RandomFeatures(3, 5)
    before = block(x := torch.rand(4, 3))
    block.reset_parameters()
    assert not torch.allclose(block(x), before)
    torch.manual_seed(1)
    assert torch.equal(RandomFeatures(3, 5)(x), before)


def test_they_go_into_a_stack():
    stack = ModuleStack(RandomFeatures(3, 5, features=7) for _ in range(2))
    assert stack.each(torch.rand(4, 2, 3)).shape == (4, 2, 5) and stack.output_size == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(input_size=0), "input_size must be at least 1, got 0"),
        (dict(output_size=0), "output_size must be at least 1, got 0"),
        (dict(features=0), "features must be at least 1, got 0"),
        (dict(scale=0.0), "scale must be above 0, got 0.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomFeatures(**(dict(input_size=2, output_size=2) | arguments))
