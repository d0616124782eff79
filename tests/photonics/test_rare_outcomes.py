"""Post-selection of outcomes that hardly ever happen."""

import copy
import math

import numpy as np
import pytest
import torch
from permanents import all_amplitudes

from hybridlit.photonics import (
    BeamSplitter,
    Circuit,
    Data,
    DistinguishableLayer,
    Experiment,
    QuantumLayer,
    use_kernel,
)


def bunched(below_pi=0.0):
    """Two photons in mode 0 of meshes that keep nearly all light in its mode."""
    experiment = Experiment("series", 3, 2, input_state=(2, 0, 0), computation_space="unbunched")
    layer = QuantumLayer(2, experiment=experiment, output_mapping_strategy="none")
    if below_pi:
        layer.double()
    with torch.no_grad():
        layer.phases[..., 0] = torch.pi - below_pi  # in float32, 9e-8 beyond pi
    return layer


def interferometer():
    """One photon each in a Mach-Zehnder interferometer, which always bunch at x = 1/2."""
    experiment = Experiment(
        n_modes=3, n_photons=2, input_state=(1, 1, 0), encoding=[[[1.0], [0.0], [0.0]]],
        computation_space="unbunched",
    )  # fmt: skip
    layer = QuantumLayer(1, experiment=experiment, output_mapping_strategy="none").double()
    with torch.no_grad():
        layer.phases.zero_()
        layer.phases[..., 0] = torch.pi
        layer.phases[:, 0, 0] = torch.pi / 2
    return layer


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("below_pi,least,most", [(0.0, 1e-16, 1e-13), (3e-10, 1e-22, 1e-17)])
def test_rare_outcomes_are_right(kernel, below_pi, least, most):
    layer = bunched(below_pi)
    x = torch.rand(5, 2, dtype=layer.phases.dtype)
    raw = np.abs(
        [
            all_amplitudes(u, (2, 0, 0), unbunched=True)
            for u in copy.deepcopy(layer).double().unitary(x.double()).detach().numpy()
        ]
    )
    expected = raw**2 / (raw**2).sum(1, keepdims=True)
    with use_kernel(kernel):
        got, kept = layer(x), layer.success_probability(x).detach()
        (got * torch.rand_like(got)).sum().backward()
    assert got.dtype == kept.dtype == x.dtype
    assert least < kept.min() and kept.max() < most
    np.testing.assert_allclose(kept, (raw**2).sum(1), rtol=1e-4)
    np.testing.assert_allclose(got.detach(), expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.1  # several outcomes share what is kept
    assert layer.phases.grad.isfinite().all() and layer.phases.grad.abs().max() > 0


def test_rare_outcomes_with_transforms():
    layer, x = bunched(), torch.rand(5, 2)
    expected = layer(x)
    torch.testing.assert_close(torch.func.vmap(layer)(x), expected)
    slope = torch.autograd.functional.jacobian(layer, x[0])
    torch.testing.assert_close(torch.func.jacrev(layer)(x[0]), slope)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_impossible_outcomes_are_refused_by_row(kernel):
    layer, x = interferometer(), torch.tensor([[0.1], [0.5], [0.3]], dtype=torch.float64)
    only = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    with use_kernel(kernel):
        torch.testing.assert_close(layer(x[[0, 2]]), only.expand(2, 3))
        for rows in (x, x.view(3, 1, 1)):
            with pytest.raises(ValueError, match=r"row\(s\) \[1\] of x .* and float64 tells"):
                layer(rows)
        with pytest.raises(ValueError, match=r"row\(s\) \[0, 1, 2, 3, 4\] and 3 more of x"):
            layer(torch.full((8, 1), 0.5, dtype=torch.float64))


def bunching(features, **options):
    """A photon each in both modes of a balanced splitter with phases: they always bunch."""
    corners = BeamSplitter(phi_tl=0.3, phi_bl=1.7, phi_tr=0.9, phi_br=2.1)
    circuit = Circuit(3).add(corners, 0)
    if features:  # balanced at 1/2
        first, behind = BeamSplitter(Data(0, math.pi)), BeamSplitter(Data(0, 2.0, -1.0))
        circuit = Circuit(3).add(first, 0).add(behind, 1)
    return QuantumLayer(
        features, circuit=circuit, n_photons=2, input_state=(1, 1, 0),
        computation_space="unbunched", output_mapping_strategy="none", **options,
    )  # fmt: skip


@pytest.mark.parametrize("features", [0, 1])
@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("enters", ["state", "photons"])
def test_rounded_matrices_are_not_taken_for_a_circuit(kernel, features, enters):
    """Where float32 keeps what its own rounding errors let through, it is refused as in float64."""
    x = torch.full((2, features), 0.5)
    state = torch.zeros(6, dtype=torch.complex64)
    state[1] = 1  # (1, 1, 0)
    with use_kernel(kernel):
        for layer in (bunching(features), bunching(features).double()):
            own = state.to(torch.promote_types(torch.complex64, layer.phases.dtype))
            with pytest.raises(ValueError, match="float64 tells them from rounding errors"):
                layer(x.to(layer.phases.dtype), state=own if enters == "state" else None)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_rare_outcomes_of_a_circuit_of_components_are_right(kernel):
    layer, x = bunching(1), torch.tensor([[0.5 + 2**-17]])
    exact = copy.deepcopy(layer).double()
    with use_kernel(kernel):
        kept, expected = layer.success_probability(x), exact.success_probability(x.double())
        assert 0 < expected.item() < 1e-8
        torch.testing.assert_close(kept, expected.float())
        torch.testing.assert_close(layer(x), exact(x.double()).float(), rtol=0, atol=1e-6)
        x.requires_grad_()
        layer(x)[0, 0].backward()
    y = x.detach().double().requires_grad_()
    exact(y)[0, 0].backward()
    torch.testing.assert_close(x.grad, y.grad.float())


@pytest.mark.parametrize("offset", [1e-4, 1e-7, 1e-9, 1e-11])
def test_coincidences_near_a_dark_fringe(offset):
    """cos(pi x)**2 of the pairs, down to 1e-21 of them, is all that is kept."""
    layer, x = interferometer(), torch.tensor([[0.5 + offset]], dtype=torch.float64)
    kept = np.pi**2 * offset**2
    assert layer.success_probability(x).item() == pytest.approx(kept, rel=1e-3)
    single = layer.float().success_probability(torch.tensor([[0.5 + 1e-4]]))
    x = torch.tensor([[0.5 + 1e-4]]).double()  # as float32 has it
    expected = copy.deepcopy(layer).double().success_probability(x)
    assert single.item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_graph_that_cannot_compute_again_names_the_remedy():
    layer = bunched()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with pytest.raises(ValueError, match=r"float32 tells .*\.double\(\)"):
        compiled(torch.rand(2, 2))


@pytest.mark.parametrize("traced", [False, True])
def test_where_nothing_looks_too_rare_rows_become_nan(monkeypatch, traced):
    """As on an accelerator, where looking would cost a synchronisation each step."""
    monkeypatch.setattr("hybridlit.photonics.outcomes.can_look_at", lambda tensor: False)
    layer, x = interferometer(), torch.tensor([[0.1], [0.5], [0.3]], dtype=torch.float64)
    call = torch.compile(layer, backend="aot_eager", fullgraph=True) if traced else layer
    with use_kernel("torch"):
        got = call(x)
    assert got[1].isnan().all() and got[[0, 2]].isfinite().all()


def test_distinguishable_photons_do_not_cancel():
    layer, x = interferometer(), torch.tensor([[0.1], [0.5]], dtype=torch.float64)
    dark = DistinguishableLayer.from_layer(layer)
    torch.testing.assert_close(
        dark.success_probability(x[1:]), torch.tensor([0.5], dtype=torch.float64)
    )
    rare = DistinguishableLayer.from_layer(bunched())
    again = copy.deepcopy(rare).double()
    x = torch.rand(4, 2)
    assert rare.success_probability(x).max() < 1e-13
    torch.testing.assert_close(rare(x), again(x.double()).float(), rtol=0, atol=1e-3)
