import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from hybridlit.blocks import NormalizationLayer

METHODS = ["sigmoid", "tanh", "minmax", "standard"]


def layer_for(method, features=4):
    layer = NormalizationLayer(method, num_features=features)
    if method == "standard":
        layer.fit(torch.randn(50, features, dtype=torch.float64) * 3 + 1)
    return layer.double()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 3, 4), (0, 4)])
def test_shapes_and_range(method, shape):
    x = torch.randn(shape, dtype=torch.float64)
    y = layer_for(method)(x)
    assert y.shape == x.shape and y.dtype == x.dtype
    assert ((y >= 0) & (y <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_gradients(method):
    layer = layer_for(method)
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)


def test_values():
    x = torch.tensor([[-1.0, 0.0, 3.0]])
    assert torch.allclose(NormalizationLayer("sigmoid")(x), 1 / (1 + (-x).exp()))
    assert torch.allclose(NormalizationLayer("tanh")(x), (x.tanh() + 1) / 2)
    assert torch.allclose(NormalizationLayer("minmax")(x), torch.tensor([[0.0, 0.25, 1.0]]))


def test_minmax_works_row_by_row():
    layer = NormalizationLayer("minmax")
    x = torch.randn(6, 4)
    rows = torch.stack([layer(row) for row in x])
    assert torch.equal(layer(x), rows)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e30, 1e-42])
def test_a_constant_row_is_one_half_with_finite_gradient(value):
    x = torch.full((2, 3), value)
    x[1] = torch.tensor([1.0, 2.0, 3.0])
    x.requires_grad_()
    y = NormalizationLayer("minmax")(x)
    assert torch.equal(y[0], torch.full((3,), 0.5))
    y.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[0] == 0).all() and x.grad[1, 1] != 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_minmax_does_not_hide_bad_values(bad, monkeypatch):
    """Not even where looking for them would cost too much."""
    monkeypatch.setattr("hybridlit.photonics.finite.can_look_at", lambda tensor: False)
    y = NormalizationLayer("minmax")(torch.tensor([[bad] * 3, [0.0, bad, 1.0], [0.0, 1.0, 2.0]]))
    assert y[:2].isnan().any(dim=1).all() and not y[2].isnan().any()


@pytest.mark.parametrize("features", [1, 2])
def test_minmax_of_features_of_which_nothing_is_left_is_refused(features):
    with pytest.raises(ValueError, match=r"needs at least 3: .*; use 'sigmoid'"):
        NormalizationLayer("minmax", num_features=features)
    with pytest.raises(ValueError, match="needs at least 3"):
        NormalizationLayer("minmax")(torch.randn(3, features))


def test_standard_maps_three_deviations_to_the_unit_interval():
    data = torch.randn(1000, 3) * torch.tensor([1.0, 10.0, 0.1]) + torch.tensor([0.0, -5.0, 100.0])
    layer = NormalizationLayer("standard", 3).fit(data)
    mean, std = data.mean(0), data.std(0, correction=0)
    assert torch.allclose(layer(mean - 3 * std), torch.zeros(3), atol=1e-4)
    assert torch.allclose(layer(mean), torch.full((3,), 0.5), atol=1e-4)
    assert torch.allclose(layer(mean + 6 * std), torch.full((3,), 1.5), atol=1e-4)  # no clamp


@pytest.mark.parametrize("sizes", [[100], [1, 99], [37, 1, 40, 22], [1] * 100])
def test_streaming_equals_fitting_at_once(sizes):
    data = torch.from_numpy(np.random.default_rng(0).normal(50, 3, (100, 4)))
    layer = NormalizationLayer("standard", 4).double()
    for part in data.split(sizes):
        layer.partial_fit(part)
    assert layer.count == 100
    np.testing.assert_allclose(layer.mean, data.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(layer.std, data.numpy().std(0), rtol=1e-9)


def test_fit_forgets_what_came_before():
    a, b = torch.randn(20, 2), torch.randn(20, 2) + 9
    again = NormalizationLayer("standard", 2).fit(a).fit(b)
    fresh = NormalizationLayer("standard", 2).fit(b)
    assert again.count == 20 and torch.equal(again.mean, fresh.mean)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_feature_is_safe(constant, streaming, dtype):
    data = torch.randn(64, 2, dtype=dtype)
    data[:, 1] = constant
    layer = NormalizationLayer("standard", 2)
    for part in data.split(8) if streaming else [data]:
        layer.partial_fit(part)
    x = data[:3].float().requires_grad_()
    y = layer(x)
    assert torch.allclose(y[:, 1], torch.full((3,), 0.5))
    y.sum().backward()
    assert torch.allclose(x.grad[:, 1], torch.full((3,), 1 / 6))


def test_a_feature_constant_in_the_first_batches_only():
    data = torch.tensor([[1.0], [1.0], [1.0], [5.0]])
    layer = NormalizationLayer("standard", 1)
    for part in data.split(2):
        layer.partial_fit(part)
    assert torch.allclose(layer.std, data.std(0, correction=0))


def test_unfitted_use_says_what_to_do():
    layer = NormalizationLayer("standard", 3)
    assert not layer.fitted
    with pytest.raises(RuntimeError, match=r"call \.fit\(x\)"):
        layer(torch.randn(2, 3))
    layer.fit(torch.randn(9, 3)).reset()
    with pytest.raises(RuntimeError, match="seen no training data"):
        layer(torch.randn(2, 3))


def test_statistics_travel_with_the_state_dict():
    model = nn.Sequential(nn.Linear(3, 3), NormalizationLayer("standard", 3))
    model[1].fit(torch.randn(30, 3) + 2)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = nn.Sequential(nn.Linear(3, 3), NormalizationLayer("standard", 3))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    x = torch.randn(5, 3)
    assert other[1].fitted and torch.equal(model(x), other(x))
    unfitted = nn.Sequential(nn.Linear(3, 3), NormalizationLayer("standard", 3))
    other.load_state_dict(unfitted.state_dict())
    assert not other[1].fitted


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(copied):
    layer = NormalizationLayer("standard", 2).fit(torch.randn(20, 2))
    other = copied(layer)
    x = torch.randn(4, 2)
    assert torch.equal(layer(x), other(x))
    empty = NormalizationLayer("standard", 2)
    other.load_state_dict(empty.state_dict())
    assert layer.fitted and not other.fitted


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(method="zscore"), ValueError, "method must be one of .* got 'zscore'"),
        (dict(method="standard"), ValueError, "give num_features"),
        (dict(num_features=0), ValueError, "num_features must be at least 1"),
        (dict(num_features=2.0), TypeError, "num_features must be an integer"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        NormalizationLayer(**arguments)


def test_bad_data():
    layer = NormalizationLayer("standard", 3)
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 3\), got \(2, 4\)"):
        layer.fit(torch.randn(2, 4))
    with pytest.raises(ValueError, match="at least one row"):
        layer.fit(torch.empty(0, 3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        layer.fit(torch.tensor([[1.0, torch.nan, 0.0]]))
    assert not layer.fitted
    with pytest.raises(TypeError, match="has no statistics to fit"):
        NormalizationLayer("tanh").fit(torch.randn(2, 3))
