import pytest
import torch
from torch import nn

from hybridlit.blocks import MultiScale


def test_vectors_are_averaged_along_their_features():
    block = MultiScale([7], [1, 2, 4])
    x = torch.randn(5, 7)
    fine, middle, coarse = block(x).unbind(1)
    pairs = torch.stack([x[:, 0:2].mean(1), x[:, 2:4].mean(1), x[:, 4:6].mean(1), x[:, 6]], 1)
    assert torch.allclose(fine, block.projections[0](x), atol=1e-6)
    assert torch.allclose(middle, block.projections[1](pairs), atol=1e-6)
    assert isinstance(block.projections[2], nn.Identity)
    expected = torch.stack([x[:, :4].mean(1), x[:, 4:].mean(1)], 1)
    assert torch.allclose(coarse, expected, atol=1e-6)


def test_images_are_averaged_over_squares():
    block = MultiScale([2, 3, 4], [2], 8)
    x = torch.randn(5, 2, 3, 4)
    pooled = block(x).reshape(5, 2, 2, 2)
    assert torch.allclose(pooled[:, :, 0, 1], x[:, :, :2, 2:].mean((2, 3)), atol=1e-6)
    assert torch.allclose(pooled[:, :, 1, 0], x[:, :, 2, :2].mean(2), atol=1e-6)


def test_sequences_are_averaged_along_their_steps():
    block = MultiScale([3, 2], [3])
    x = torch.randn(5, 3, 2)
    assert torch.allclose(block(x)[:, 0], x.mean(1), atol=1e-6)


@pytest.mark.parametrize("shape", [[5], [6], [7, 2], [1, 5, 4], [3, 4, 7]])
@pytest.mark.parametrize("width", [None, 3])
def test_nothing_is_left_out(shape, width):
    block = MultiScale(shape, [1, 2, 4], width)
    for scale in range(3):
        x = torch.randn(6, *shape, requires_grad=True)
        outputs = block(x)
        assert outputs.shape == (6, 3, block.width)
        chosen = outputs[:, scale]
        chosen.backward(torch.randn_like(chosen))
        assert x.grad.any(0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([4], []), ValueError, "scales must be at least one window of at most 4"),
        (([1, 6, 3], [1, 4]), ValueError, r"at most 3, the shortest side .*got \[1, 4\]"),
        (([6, 9], [7]), ValueError, "at most 6"),
        (([4], [0]), ValueError, "each entry of scales must be at least 1"),
        (([4], [1.5]), TypeError, r"scales\[0\] must be an integer"),
        (([], [1]), ValueError, r"shape must be \[features\]"),
        (([1, 2, 3, 4], [1]), ValueError, r"shape must be \[features\]"),
        (([4], [1], 0), ValueError, "width must be at least 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        MultiScale(*arguments)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, 4\), got \(3, 5\)"):
        MultiScale([4], [1])(torch.randn(3, 5))
