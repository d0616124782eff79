"""Features of any size: a phase counts modulo a whole turn, so that none loses a digit."""

import copy

import pytest
import torch
from small_layers import TYPES, make
from torch.utils.checkpoint import checkpoint

from hybridlit.photonics import (
    DistinguishableLayer,
    Experiment,
    QuantumLayer,
    QuantumLayerStack,
    use_kernel,
)
from hybridlit.photonics.circuit.data_phases import without_turns

LARGE = torch.tensor([[1e6, -3e6, 2.5], [1e6 + 0.25, 7e5, -1e6], [-12345.5, 0.0, 8.0e6]])
CLOSE = dict(rtol=0, atol=2e-5)


def exact(layer, x):
    """The layer in float64, where a million costs no more than six of sixteen digits."""
    return copy.deepcopy(layer).double()(x.double()).float()


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("mapping", ["none", "pair_correlations"])
@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("tuning", [False, True])
def test_float32_follows_large_features(circuit, mapping, kernel, tuning):
    layer = make(3, None, circuit, 5, 2, mapping, use_bandwidth_tuning=tuning)
    if tuning:
        with torch.no_grad():
            layer.bandwidth.uniform_(0.5, 1.5)
    with use_kernel(kernel):
        torch.testing.assert_close(layer(LARGE), exact(layer, LARGE), **CLOSE)
        distinguishable = DistinguishableLayer.from_layer(layer)
        torch.testing.assert_close(distinguishable(LARGE), exact(distinguishable, LARGE), **CLOSE)


def test_turns_are_counted_in_float64():
    """What exported graphs and devices do, who look at no number: within a turn each way."""
    half_turns = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, -1.0]], dtype=torch.float64)
    rows = torch.tensor([[2.0**21 + 0.25, 3.5], [-(2.0**30), 0.25], [0.5, torch.inf]])
    rows.requires_grad_()
    found = without_turns(half_turns, rows, torch.float32)
    nan = torch.nan  # 0 times infinity is none either
    expected = torch.tensor([[0.25, 0.0, nan], [1.125, -1.5, nan], [-1.5, -0.25, nan]])
    torch.testing.assert_close(found, expected * torch.pi, rtol=1e-6, atol=0, equal_nan=True)
    (slope,) = torch.autograd.grad(found[:, :2].sum(), rows)
    torch.testing.assert_close(slope[:2], torch.tensor([[1.5, 1.0]] * 2) * torch.pi)


@pytest.mark.parametrize("whole", [1e6, -2e6, 2.0**40, 1e30])
@pytest.mark.parametrize("circuit", TYPES)
def test_whole_turns_are_nothing(whole, circuit):
    """These are even float32 numbers, and single features have the period 2."""
    layer = make(2, None, circuit, 3, 2, "none")
    got = layer(torch.tensor([[whole, 0.5]]))
    torch.testing.assert_close(got, layer(torch.tensor([[0.0, 0.5]])), **CLOSE)


def test_stacks_follow_large_features():
    stack = QuantumLayerStack(2, 3, 4, experiment=Experiment("series", 4, 2))
    torch.testing.assert_close(stack(LARGE), exact(stack, LARGE), **CLOSE)
    own = torch.stack([LARGE, LARGE.flip(0)], dim=1)
    expected = torch.stack([layer(own[:, k]) for k, layer in enumerate(stack.layers())], dim=1)
    torch.testing.assert_close(stack.each(own), expected, **CLOSE)
    torch.testing.assert_close(stack(LARGE)[:, 0], expected[:, 0], **CLOSE)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_gradients_at_large_features(kernel):
    single = make(use_bandwidth_tuning=True)
    double = copy.deepcopy(single).double()
    weights, slopes = torch.rand(3, 4), []
    for layer in (single, double):
        x = LARGE.clone().to(layer.phases.dtype).requires_grad_()
        with use_kernel(kernel):
            (layer(x) * weights).sum().backward()
        slopes.append(x.grad.float())
    torch.testing.assert_close(*slopes, **CLOSE)
    for name, parameter in single.named_parameters():
        expected = double.get_parameter(name).grad.float()
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=2e-5 * scale)


@pytest.mark.slow
def test_transforms_and_graphs_follow_large_features():
    layer = make()
    expected = exact(layer, LARGE)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(LARGE), expected, **CLOSE)
    torch.testing.assert_close(torch.func.vmap(layer)(LARGE), expected, **CLOSE)
    exported = torch.export.export(layer, (LARGE,)).module()
    torch.testing.assert_close(exported(LARGE), expected, **CLOSE)
    slope = torch.func.vmap(torch.func.jacrev(layer))(LARGE)
    double = torch.func.vmap(torch.func.jacrev(copy.deepcopy(layer).double()))(LARGE.double())
    torch.testing.assert_close(slope, double.float(), rtol=0, atol=1e-4)


def test_a_row_is_the_same_bit_for_bit_beside_large_ones():
    layer = QuantumLayer(3, 4, experiment=Experiment("parallel_columns", 6, 3))
    small = torch.rand(8, 3) * 2 - 1
    beside = layer(torch.cat([small, LARGE]))[:8]
    assert torch.equal(beside, layer(small))


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("mapping", ["none", "mode_expectations"])
@pytest.mark.parametrize("circuit", TYPES)
def test_a_row_is_the_same_bit_for_bit_after_large_ones(kernel, mapping, circuit):
    """Also where a phase, or the terms of a mean, are nearly, or just, too large: 25 radians."""
    layer = make(3, None, circuit, 8, 2, mapping)
    assert not layer._turns
    near = torch.linspace(24.999, 25.001, 60).view(20, 3) / torch.pi
    with use_kernel(kernel):
        first, before = layer(near[:9]), copy.deepcopy(layer)
        layer(LARGE)
        assert layer._turns
        signs = torch.tensor([1.0, -1.0, 1.0])
        for x in (near[:9], near, near[10:], 0.3 * near, near[:9] * signs, near * signs):
            assert torch.equal(layer(x), copy.deepcopy(before)(x))
        assert torch.equal(first, layer(near[:9]))


def test_sums_that_hide_large_terms_are_always_reduced():
    """Explicit sums without their terms alone, and means of another bandwidth than their terms."""
    hidden = [[[1.0, 1.0], [0.0, 0.0], [0.5, 0.0]]]
    layer = QuantumLayer(
        2,
        experiment=Experiment(n_modes=3, n_photons=2, encoding=hidden),
        output_mapping_strategy="none",
    )
    assert layer._turns
    x = torch.tensor([[7.0, -7.25]]) * torch.tensor([[1.0], [1.0], [2e6]])
    torch.testing.assert_close(layer(x), exact(layer, x), **CLOSE)
    tuned = make(2, None, "series", 5, 2, "none", use_bandwidth_tuning=True)
    with torch.no_grad():
        tuned.bandwidth.copy_(torch.tensor([1e-6, 1e-6, 1.0]))  # the last one is the mean's
    x = torch.tensor([[3e6, -3e6 + 0.25]])
    torch.testing.assert_close(tuned(x), exact(tuned, x), **CLOSE)


def test_casts_keep_what_float64_knows():
    """A third, 1/3, is not a float32: the encoding is never read back from one."""
    layer = make(3, None, "series", 8, 1, "none")
    torch.testing.assert_close(layer.double().float()(LARGE), exact(layer, LARGE), **CLOSE)
    torch.testing.assert_close(layer.half()(LARGE), exact(layer, LARGE), **CLOSE)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_phases_beyond_float32_raise(kernel):
    with use_kernel(kernel), pytest.raises(ValueError, match="x and the phases must be finite"):
        make()(torch.full((2, 3), 3e38))


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("mapping", ["none", "pair_correlations"])
@pytest.mark.parametrize("kind", ["plain", "distinguishable"])
def test_transforms_of_the_bandwidth_follow_large_features(kernel, mapping, kind):
    """The features can be looked at then, and the data phases cannot."""
    layer = make(3, None, "parallel_columns", 5, 2, mapping, use_bandwidth_tuning=True)
    with torch.no_grad():
        layer.bandwidth.uniform_(0.5, 1.5)
    if kind == "distinguishable":
        layer = DistinguishableLayer.from_layer(layer)
    expected = exact(layer, LARGE)
    tuned = layer.bandwidth.detach()

    def outputs(bandwidth):
        return torch.func.functional_call(layer, {"bandwidth": bandwidth}, (LARGE,))

    with use_kernel(kernel):
        torch.testing.assert_close(torch.func.vjp(outputs, tuned)[0], expected, **CLOSE)
        torch.testing.assert_close(torch.func.vmap(outputs)(tuned[None])[0], expected, **CLOSE)
        found = torch.func.jvp(outputs, (tuned,), (torch.ones_like(tuned),))[0]
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("mapping", ["none", "mode_expectations", "pair_correlations"])
@pytest.mark.parametrize("tuning", [False, True])
def test_checkpoints_of_activations_take_large_features(kernel, mapping, tuning):
    """The first time a layer sees some it computes twice, the second time it knows."""
    layer = make(3, None, "series", 6, 2, mapping, use_bandwidth_tuning=tuning)
    x = LARGE.clone().requires_grad_()
    with use_kernel(kernel):
        output = checkpoint(layer, x, use_reentrant=False)
        (found,) = torch.autograd.grad(output.square().sum(), x)
        (expected,) = torch.autograd.grad(layer(x).square().sum(), x)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("tuning", [False, True])
def test_a_checkpoint_does_not_mind_what_the_layer_learned_since(circuit, tuning):
    """A layer that serves two inputs sees large ones between a forward pass and its repetition."""
    layer = make(3, None, circuit, 6, 2, "none", use_bandwidth_tuning=tuning)
    small = torch.rand(4, 3).requires_grad_()
    first = checkpoint(layer, small, use_reentrant=False).square().sum()
    second = checkpoint(layer, LARGE.clone().requires_grad_(), use_reentrant=False).square().sum()
    (found,) = torch.autograd.grad(first + second, small)
    (expected,) = torch.autograd.grad(layer(small).square().sum(), small)
    assert torch.equal(found, expected)
