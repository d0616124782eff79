import pytest
import torch

from hybridlit.blocks import CNNFront, Conv1dFront, GRUFront
from hybridlit.blocks.fronts import make_front

SHAPES = [
    ("cnn", [1, 8, 8]),
    ("cnn", [3, 5, 9]),
    ("cnn", [2, 1, 1]),
    ("cnn", [1, 28, 28]),
    ("conv1d", [12, 3]),
    ("conv1d", [7, 1]),
    ("conv1d", [1, 2]),
    ("gru", [9, 3]),
    ("gru", [2, 1]),
]


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_every_value_of_the_input_reaches_the_features(kind, shape):
    front = make_front(kind, shape, 10)
    x = torch.randn(16, *shape, requires_grad=True)
    features = front(x)
    assert features.shape == (16, 10) and front.output_size == 10
    assert (features < 0).any() and (features > 0).any()
    features.backward(torch.randn_like(features))
    assert x.grad.any(0).all()
    assert all(parameter.grad.any() for parameter in front.parameters())
    assert torch.allclose(front(x[3:4]), features[3:4], atol=1e-5)


def test_features_at_the_end_of_a_linear_layer_have_both_signs():
    for kind, shape in SHAPES:
        assert isinstance(list(make_front(kind, shape, 4).modules())[-1], torch.nn.Linear)


def test_a_large_image_takes_no_larger_head():
    small, large = CNNFront([1, 16, 16], 10), CNNFront([1, 64, 48], 10)
    assert small.layers[-1].weight.shape == large.layers[-1].weight.shape == (10, 512)


@pytest.mark.parametrize(
    ("make", "shape", "size", "error", "message"),
    [
        (CNNFront, [8, 8], 4, ValueError, r"\[channels, height, width\] with front='cnn', got \["),
        (Conv1dFront, [8], 4, ValueError, r"\[steps, features\] with front='conv1d', got \[8\]"),
        (GRUFront, [1, 8, 8], 4, ValueError, r"\[steps, features\] with front='gru'"),
        (CNNFront, [1, 0, 8], 4, ValueError, "each entry of shape must be at least 1"),
        (GRUFront, [3, 2.0], 4, TypeError, r"shape\[1\] must be an integer"),
        (GRUFront, [3, 2], 0, ValueError, "output_size must be at least 1"),
    ],
)
def test_bad_arguments(make, shape, size, error, message):
    with pytest.raises(error, match=message):
        make(shape, size)


def test_unknown_fronts_are_refused():
    with pytest.raises(ValueError, match=r"front must be one of \['cnn', 'conv1d', 'gru'\]"):
        make_front("resnet", [1, 8, 8], 4)
