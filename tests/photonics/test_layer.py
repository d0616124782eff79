"""What a photonic layer computes: physics, gradients, and no dead feature or phase."""

import numpy as np
import pytest
import torch
from permanents import all_amplitudes
from small_layers import TYPES, jacobian, make

from hybridlit.photonics import Experiment, QuantumLayer, amplitudes, use_kernel


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("features", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("modes", [2, 3, 4, 5])
@pytest.mark.parametrize("tuning", [False, True])
def test_every_feature_and_parameter_reaches_the_output(circuit, features, modes, tuning):
    layer = make(features, 2, circuit, modes, 2, use_bandwidth_tuning=tuning).double()
    per_feature = jacobian(layer).abs().amax(dim=(0, 1))
    assert (per_feature > 1e-6).all(), per_feature
    output = layer(torch.rand(16, features, dtype=torch.float64))
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in layer.named_parameters():
        assert (parameter.grad.abs() > 0).all(), name


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("mapping", ["lexgrouping", "modgrouping", "none", "linear"])
def test_no_zero_column_with_any_readout_or_space(circuit, mapping):
    outputs = None if mapping == "none" else 3
    for space in ("fock", "unbunched"):
        layer = make(5, outputs, circuit, 5, 2, mapping, computation_space=space).double()
        x = torch.rand(4, 5, dtype=torch.float64)
        columns = torch.func.vmap(torch.func.jacrev(layer))(x).abs().amax(dim=(0, 1))
        assert (columns > 1e-6).all()


@pytest.mark.parametrize("modes", [2, 3, 4, 5, 6, 7])
def test_no_phase_is_dead(modes):
    """The usual block has m + m // 2 phases that no output feels; here there are none."""
    features = min(2, modes - 1)
    layer = make(features, None, "series", modes, (modes + 1) // 2, "none").double()
    x = torch.rand(8, features, dtype=torch.float64)
    gradient = torch.func.jacrev(
        lambda phases: torch.func.functional_call(layer, {"phases": phases}, x)
    )(layer.phases.detach())
    assert layer.phases.shape == (2, modes * (modes - 1) // 2, 2)
    assert (gradient.abs().amax(dim=(0, 1)) > 1e-6).all()


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_probabilities_are_permanents_of_the_unitary(circuit, space):
    layer = make(3, None, circuit, 4, 2, "none", computation_space=space).double()
    x = torch.rand(5, 3, dtype=torch.float64)
    unitary = layer.unitary(x).detach().numpy()
    raw = np.abs([all_amplitudes(u, layer.input_state, space == "unbunched") for u in unitary]) ** 2
    kept = raw.sum(1)
    np.testing.assert_allclose(layer.probabilities(x).detach(), raw / kept[:, None], atol=1e-14)
    np.testing.assert_allclose(layer.success_probability(x).detach(), kept, atol=1e-14)
    np.testing.assert_allclose(layer(x).detach(), raw / kept[:, None], atol=1e-14)
    via_amplitudes = amplitudes(layer.unitary(x), layer.input_state, space=space).abs().square()
    np.testing.assert_allclose(via_amplitudes.detach(), raw, atol=1e-14)


@pytest.mark.parametrize(
    "modes,photons,space", [(2, 60, "fock"), (3, 30, "fock"), (5, 4, "unbunched")]
)
@pytest.mark.parametrize("kernel", ["auto", "torch"])
def test_float32_serves_many_photons_in_few_modes(modes, photons, space, kernel):
    state = (photons - photons // 2, photons // 2) + (0,) * (modes - 2)
    experiment = Experiment("series", modes, photons, input_state=state, computation_space=space)
    layer = QuantumLayer(2, experiment=experiment, output_mapping_strategy="none")
    x = torch.rand(4, 2)
    with use_kernel(kernel):
        single, single_mass = layer(x), layer.success_probability(x)
        double, mass = layer.double()(x.double()), layer.success_probability(x.double())
    torch.testing.assert_close(single.sum(1), torch.ones(4), rtol=0, atol=2e-5)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-5)
    torch.testing.assert_close(single_mass.double(), mass, rtol=1e-4, atol=0)


def test_unitary_is_the_circuit_written_out():
    """U_2 Phi_2(x) U_1 Phi_1(x) U_0 for an explicit data re-uploading circuit."""
    encoding = [[[1.0, 0.0], [0.0, 0.5], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0], [1.0, 1.0]]]
    experiment = Experiment(n_modes=3, n_photons=2, encoding=encoding)
    layer = QuantumLayer(2, 4, experiment=experiment).double()
    x = torch.tensor([0.3, 0.8], dtype=torch.float64)
    from hybridlit.photonics.interferometer import unitaries

    total, *rest = unitaries(layer.phases.detach())
    for column, mesh in zip(encoding, rest, strict=True):
        shifts = torch.exp(1j * torch.pi * (torch.tensor(column, dtype=torch.float64) @ x))
        total = mesh @ torch.diag(shifts) @ total
    torch.testing.assert_close(layer.unitary(x).detach(), total, rtol=0, atol=1e-14)


def test_mach_zehnder_fringes():
    """Two photons in a Mach-Zehnder interferometer see twice the phase."""
    experiment = Experiment(n_modes=2, n_photons=2, encoding=[[[1.0], [0.0]]])
    layer = QuantumLayer(1, 3, experiment=experiment, output_mapping_strategy="none").double()
    with torch.no_grad():  # a=pi/2, b=0: each mesh a 50:50 splitter up to phases
        layer.phases.zero_()
        layer.phases[:, :, 0] = torch.pi / 2
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    coincidence = layer.probabilities(x)[:, 1].detach()
    shifted = torch.cos(torch.pi * x[:, 0] + _offset(layer)) ** 2
    torch.testing.assert_close(coincidence, shifted, rtol=0, atol=1e-14)


def _offset(layer):
    unitary = layer.unitary(torch.zeros(1, dtype=torch.float64)).detach()
    return torch.arccos((unitary[0, 0] * unitary[1, 1] + unitary[0, 1] * unitary[1, 0]).abs())


@pytest.mark.parametrize("circuit", TYPES)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_gradcheck(circuit, space):
    layer = make(2, 3, circuit, 3, 2, use_bandwidth_tuning=True, computation_space=space).double()
    names = [name for name, _ in layer.named_parameters()]
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)

    def function(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(function, (x, *layer.parameters()))


def test_second_derivatives():
    layer = make(2, 3, modes=3).double()
    x = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, x)


def test_features_are_not_clamped():
    layer = make().double()
    x = torch.rand(4, 3, dtype=torch.float64)
    outside = (x + torch.tensor([2.0, -4.0, 6.0])).requires_grad_()
    torch.testing.assert_close(layer(outside), layer(x))  # single features: period 2
    layer(outside).square().sum().backward()
    assert (outside.grad.abs() > 0).all()


def test_bandwidth_starts_at_one():
    plain, tuned = make(), make(use_bandwidth_tuning=True)
    tuned.load_state_dict({**plain.state_dict(), "bandwidth": tuned.bandwidth})
    x = torch.rand(5, 3)
    torch.testing.assert_close(tuned(x), plain(x), rtol=0, atol=0)
    assert tuned.bandwidth.tolist() == [1.0, 1.0, 1.0]


def test_reservoir_phases_are_saved_but_not_trained():
    torch.manual_seed(1)
    first = make(reservoir_mode=True)
    assert {name for name, _ in first.named_parameters()} == {"readout.weight", "readout.bias"}
    assert "phases" in first.state_dict()
    second = make(reservoir_mode=True)
    assert not torch.equal(first.phases, second.phases)
    torch.manual_seed(1)
    torch.testing.assert_close(make(reservoir_mode=True).phases, first.phases, rtol=0, atol=0)
    second.load_state_dict(first.state_dict())
    x = torch.rand(5, 3)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
