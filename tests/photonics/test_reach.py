"""Every feature reaches the output, or construction refuses: random circuits of every kind."""

import numpy as np
import pytest
import torch

from hybridlit.photonics import (
    CircuitType,
    DistinguishableLayer,
    Experiment,
    OutputMappingStrategy,
    QuantumLayer,
    StatePattern,
)
from hybridlit.templates import ParallelBankHybrid, ParallelHybrid, ResidualHybrid, SequentialHybrid

GROUPINGS = ("grouping", "lexgrouping", "modgrouping")


def pick(draw, options):
    return options[draw.integers(len(options))]


def random_encoding(draw, modes, features):
    """Sparse or dense, of integers, halves or anything; may hold features that do nothing."""
    shape = (draw.integers(1, 4), modes, features)
    values = pick(draw, [draw.integers(-2, 3, shape) / 2, draw.normal(size=shape)])
    return (values * (draw.random(shape) < draw.choice([0.2, 0.5, 1.0]))).tolist()


def random_layer(draw, mapping, explicit):
    modes, features, unbunched = draw.integers(2, 7), draw.integers(1, 5), draw.random() < 0.4
    photons = draw.integers(1, modes if unbunched else 7)
    circuit = dict(n_modes=modes, n_photons=photons, use_bandwidth_tuning=draw.random() < 0.3)
    circuit["computation_space"] = "unbunched" if unbunched else "fock"
    if explicit:
        circuit["encoding"] = random_encoding(draw, modes, features)
    else:
        circuit["circuit_type"] = pick(draw, list(CircuitType))
    if draw.random() < 0.5:
        circuit["input_state"] = draw.multinomial(photons, np.full(modes, 1 / modes))
    else:
        circuit["state_pattern"] = pick(draw, list(StatePattern))
    experiment = Experiment(**circuit)
    size = {"linear": draw.integers(1, 4)}.get(mapping)
    if mapping in GROUPINGS:
        size = draw.integers(2, experiment.fock_space.size + 1)
    kind = pick(draw, [QuantumLayer, QuantumLayer, DistinguishableLayer])
    return kind(features, size, experiment=experiment, output_mapping_strategy=mapping)


@pytest.mark.parametrize("mapping", [strategy.value for strategy in OutputMappingStrategy])
@pytest.mark.parametrize("explicit", [False, True])
def test_no_column_of_the_jacobian_is_zero(mapping, explicit):
    draw, built = np.random.default_rng(7), 0
    for _ in range(80):
        try:
            layer = random_layer(draw, mapping, explicit).double()
        except ValueError as error:
            assert "reach" in str(error) or "needs computation_space='fock'" in str(error), error
            continue
        built += 1
        x = torch.rand(4, layer.input_size, dtype=torch.float64, requires_grad=True)
        output = layer(x)
        (output * torch.randn_like(output)).sum().backward()
        reached = x.grad.abs().amax(0)
        assert (reached > 1e-9).all(), (layer, layer.experiment.encoding, reached)
    assert built > 20


@pytest.mark.parametrize("photons", [1, 2])
@pytest.mark.parametrize("modes", [2, 3, 4])
def test_what_is_refused_is_constant_and_its_neighbours_are_not(modes, photons):
    def experiment(state):
        return Experiment("series", modes, sum(state), input_state=state)

    even = experiment((photons,) * modes)
    with pytest.raises(ValueError, match=r"no feature reaches the output; change n_photons"):
        QuantumLayer(3, experiment=even, output_mapping_strategy="mode_expectations")
    x = torch.rand(5, 3, dtype=torch.float64)
    layer = QuantumLayer(3, experiment=even, output_mapping_strategy="none").double()
    means = layer(x).detach().numpy() @ layer.fock_space.states
    np.testing.assert_allclose(means, photons, atol=1e-13)
    QuantumLayer(3, experiment=even, output_mapping_strategy="pair_correlations")

    single = experiment((0, 1) + (0,) * (modes - 2))
    with pytest.raises(ValueError, match="n_photons of at least 2, got 1"):
        QuantumLayer(3, experiment=single, output_mapping_strategy="pair_correlations")
    QuantumLayer(3, experiment=single, output_mapping_strategy="mode_expectations")


@pytest.mark.parametrize("quantum", ["photonic", "mlp"])
@pytest.mark.parametrize(
    "make", [SequentialHybrid, ParallelHybrid, ParallelBankHybrid, ResidualHybrid]
)
def test_templates_refuse_the_same(make, quantum):
    sizes = dict(input_dim=3, output_dim=2, n_modes=4, quantum=quantum)
    if make is SequentialHybrid:
        sizes["quantum_dim"] = 2
    with pytest.raises(ValueError, match="no feature reaches the output"):
        make(**sizes, n_photons=4, output_mapping_strategy="mode_expectations")
    with pytest.raises(ValueError, match="no feature reaches it"):
        make(**sizes, n_photons=1, output_mapping_strategy="pair_correlations")
    make(**sizes, n_photons=3, output_mapping_strategy="mode_expectations")


@pytest.mark.parametrize("encoding", [[[[1.0], [1.0 + 1e-9]]], [[[1e-50], [0.0]]]])
def test_a_feature_that_float32_cannot_tell_from_a_global_phase_is_refused(encoding):
    with pytest.raises(ValueError, match=r"feature\(s\) \[0\]"):
        Experiment(n_modes=2, n_photons=1, encoding=encoding)


def test_an_encoding_beyond_float32_is_refused():
    with pytest.raises(ValueError, match="finite in float32"):
        Experiment(n_modes=2, n_photons=1, encoding=[[[1e300], [0.0]]])
