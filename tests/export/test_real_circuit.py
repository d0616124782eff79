"""Real arithmetic computes what the layers do, and what permanents say."""

import numpy as np
import pytest
import torch
from permanents import all_amplitudes
from small_layers import COMPONENTS

from hybridlit import (
    DistinguishableLayer,
    DistinguishableLayerStack,
    QuantumLayer,
    QuantumLayerStack,
    RealCircuit,
)
from hybridlit.export.slots import slots, slots_bytes
from hybridlit.photonics import CircuitType, FockSpace, OutputMappingStrategy
from hybridlit.photonics.amplitudes import occupied_modes

MAPPINGS = [strategy.value for strategy in OutputMappingStrategy]
SIZED = ("linear", "grouping", "lexgrouping", "modgrouping")


def layer_of(cls=QuantumLayer, mapping="linear", features=3, count=(), **circuit):
    arguments = dict(n_modes=5, n_photons=3, output_mapping_strategy=mapping) | circuit
    outputs = 4 if mapping in SIZED else None
    layer = cls(*count, features, outputs, **arguments)
    if layer.bandwidth is not None:
        torch.nn.init.uniform_(layer.bandwidth, 0.5, 2.0)
    return layer.double()


def difference(layer, x, each=False):
    got, wanted = (
        module(x, each=True) if each else module(x) for module in (RealCircuit(layer), layer)
    )
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    return (got - wanted).abs().max().item()


@pytest.mark.parametrize(
    "state,space",
    [((1, 0, 2), "fock"), ((1, 1, 0, 1), "fock"), ((0, 1, 1, 1, 0), "unbunched"), ((3, 1), "fock")],
)
@pytest.mark.parametrize("kind", list(CircuitType))
def test_probabilities_are_those_of_permanents(state, space, kind):
    layer = layer_of(
        mapping="none",
        features=2,
        input_state=state,
        n_modes=len(state),
        n_photons=sum(state),
        circuit_type=kind,
        computation_space=space,
    )
    x = torch.randn(6, 2, dtype=torch.float64)
    unitaries = layer.unitary(x).detach().numpy()
    unbunched = space == "unbunched"
    wanted = np.stack([np.abs(all_amplitudes(u, state, unbunched)) ** 2 for u in unitaries])
    wanted /= wanted.sum(1, keepdims=True)
    np.testing.assert_allclose(RealCircuit(layer)(x).detach(), wanted, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("kind", [QuantumLayer, DistinguishableLayer])
@pytest.mark.parametrize("tuned", [False, True])
def test_layers_of_every_readout(mapping, space, kind, tuned):
    if mapping in ("mode_expectations", "pair_correlations"):
        space = "fock"  # the only one they have
    layer = layer_of(kind, mapping, computation_space=space, use_bandwidth_tuning=tuned)
    assert difference(layer, 3 * torch.randn(9, 3, dtype=torch.float64)) < 1e-12


@pytest.mark.parametrize("circuit", [*CircuitType, None])
def test_layers_of_every_encoding(circuit):
    given = {"encoding": np.random.default_rng(0).normal(size=(3, 5, 3))}
    given = given if circuit is None else {"circuit_type": circuit, "reservoir_mode": True}
    layer = layer_of(**given)
    assert difference(layer, torch.randn(9, 3, dtype=torch.float64)) < 1e-12
    assert difference(layer, torch.randn(2, 4, 3, dtype=torch.float64)) < 1e-12
    assert difference(layer, torch.randn(3, dtype=torch.float64)) < 1e-12


@pytest.mark.parametrize("mapping", ["linear", "mode_expectations", "pair_correlations"])
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_superpositions(mapping, space):
    """Terms with the same and with different photons in a mode."""
    states = (2, 0, 0, 1, 0), (0, 1, 2, 0, 0), (0, 1, 1, 0, 1)
    if space == "unbunched":
        states = (1, 0, 0, 1, 1), (0, 1, 1, 0, 1)
        mapping = "linear"
    state = dict(zip(states, (0.5, -1j, 0.3 + 1j), strict=False))
    layer = layer_of(mapping=mapping, n_photons=None, input_state=state, computation_space=space)
    assert difference(layer, torch.randn(9, 3, dtype=torch.float64)) < 1e-12


def test_a_circuit_without_data():
    layer = layer_of(features=0)
    assert difference(layer, torch.zeros(4, 0, dtype=torch.float64)) < 1e-12


@pytest.mark.parametrize("mapping", ["linear", "pair_correlations"])
@pytest.mark.parametrize("count", [(), (3,)])
def test_circuits_of_components(mapping, count):
    kind = QuantumLayerStack if count else QuantumLayer
    given = dict(circuit=COMPONENTS, n_modes=4, use_bandwidth_tuning=True)
    layer = layer_of(kind, mapping, count=count, **given)
    assert difference(layer, torch.randn(9, 3, dtype=torch.float64)) < 1e-12


@pytest.mark.parametrize("mapping", ["linear", "none", "modgrouping", "pair_correlations"])
@pytest.mark.parametrize("kind", [QuantumLayerStack, DistinguishableLayerStack])
@pytest.mark.parametrize("tuned", [False, True])
def test_stacks(mapping, kind, tuned):
    layer = layer_of(kind, mapping, count=(4,), use_bandwidth_tuning=tuned)
    assert difference(layer, torch.randn(9, 3, dtype=torch.float64)) < 1e-12
    each = torch.randn(9, 4, 3, dtype=torch.float64)
    assert difference(layer, each, each=True) < 1e-12
    torch.testing.assert_close(RealCircuit(layer).each(each), layer.each(each))


def test_many_photons_in_few_modes_do_not_lose_digits():
    layer = layer_of(mapping="none", n_modes=2, n_photons=40, features=1)
    assert difference(layer, torch.rand(5, 1, dtype=torch.float64)) < 1e-12
    single = layer.float()
    assert difference(single, torch.rand(5, 1)) < 1e-5


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_float32_layers_stay_close_for_features_of_any_size(space):
    layer = layer_of(computation_space=space).float()
    for size in (1.0, 1e3, 1e6):
        assert difference(layer, size * torch.randn(50, 3)) < 1e-5


def test_outcomes_too_rare_for_float32_are_computed_as_the_layer_does():
    """Two photons in mode 0 of meshes that keep nearly all light in its mode."""
    given = dict(n_modes=3, n_photons=2, input_state=(2, 0, 0), computation_space="unbunched")
    layer = layer_of(mapping="none", features=2, **given).float()
    with torch.no_grad():
        layer.phases[..., 0] = torch.pi  # in float32, 9e-8 beyond pi
    x = torch.rand(5, 2)
    assert layer.success_probability(x).max() < 1e-13
    found = RealCircuit(layer)(x)
    assert found.std() > 0.1
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer.double()(x.double()).float(), rtol=0, atol=1e-6)


def test_outcomes_too_rare_for_float64_are_nan_in_their_row_alone():
    """One photon each in a Mach-Zehnder interferometer, which always bunch at x = 1/2."""
    given = dict(n_modes=3, n_photons=2, input_state=(1, 1, 0), computation_space="unbunched")
    layer = layer_of(mapping="none", features=1, encoding=[[[1.0], [0.0], [0.0]]], **given)
    with torch.no_grad():
        layer.phases.zero_()
        layer.phases[..., 0] = torch.pi
        layer.phases[:, 0, 0] = torch.pi / 2
    found = RealCircuit(layer)(torch.tensor([[0.1], [0.5]], dtype=torch.float64))
    assert found.isnan().all(1).tolist() == [False, True]


def test_what_is_not_finite_is_nan_in_its_row_alone():
    layer = layer_of()
    x = torch.rand(4, 3, dtype=torch.float64)
    x[1, 0], x[2, 2] = float("nan"), float("inf")
    found = RealCircuit(layer)(x)
    assert found.isnan().all(1).tolist() == [False, True, True, False]
    torch.testing.assert_close(found[[0, 3]], layer(x[[0, 3]]))


def test_nothing_of_it_is_trained_but_the_readout_and_the_layer_stays():
    layer = layer_of(use_bandwidth_tuning=True)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    circuit = RealCircuit(layer)
    assert all(name.startswith("readout.") for name, _ in circuit.named_parameters())
    assert circuit.readout is not layer.readout
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_readout_without_a_real_form_is_named(monkeypatch):
    monkeypatch.setattr("hybridlit.export.expectations._REAL", {})
    with pytest.raises(ValueError, match=r"pair_correlations.*no form in real numbers"):
        RealCircuit(layer_of(mapping="pair_correlations"))


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_tables_are_as_large_as_was_estimated(space):
    outcomes = FockSpace(6, 4, space)
    order = occupied_modes([1, 1, 1, 1, 0, 0])
    tables = [slots(outcomes, order, photon, True) for photon in range(1, 4)]
    found = sum(table.nbytes for each in tables for table in each.values())
    assert slots_bytes(outcomes, 8) == found


def test_constants_are_no_views_of_more_than_they_need():
    for name, buffer in RealCircuit(layer_of(computation_space="unbunched")).named_buffers():
        assert buffer.untyped_storage().nbytes() == buffer.nbytes, name


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (dict(noise=dict(transmittance=0.5)), "transmittance=0.5"),
        (dict(noise=dict(phase_error=0.1)), "phase_error=0.1"),
        (dict(detectors="threshold"), "detectors=threshold"),
        (dict(min_detected_photons=3), "min_detected_photons=3"),
        (dict(shots=10), "shots=None"),
    ],
)
def test_light_that_is_not_ideal_is_refused_by_name(changes, named):
    with pytest.raises(ValueError, match=named):
        RealCircuit(layer_of(**changes))
    if "shots" not in changes and "phase_error" not in str(changes):
        with pytest.raises(ValueError, match=named):
            RealCircuit(layer_of(DistinguishableLayer, **changes))
