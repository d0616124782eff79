"""Every feature reaches the output, or construction refuses: random circuits of every kind."""

import re
from random import Random

import numpy as np
import pytest
import torch
from postselection_rules import random_rule
from random_circuits import random_circuit

from hybridlit.photonics import (
    Ansatz,
    BeamSplitter,
    Circuit,
    CircuitType,
    Data,
    DistinguishableLayer,
    Experiment,
    Interferometer,
    OutputMappingStrategy,
    Permutation,
    PhaseShifter,
    QuantumLayer,
    StatePattern,
    Trainable,
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
    if draw.random() < 0.3:
        circuit["postselect"] = random_rule(Random(int(draw.integers(2**32))), modes, photons)[0]
    experiment = Experiment(**circuit)
    size = {"linear": draw.integers(1, 4)}.get(mapping)
    if mapping in GROUPINGS:
        size = draw.integers(2, experiment.outcomes.size + 1)
    kind = pick(draw, [QuantumLayer, QuantumLayer, DistinguishableLayer])
    return kind(features, size, experiment=experiment, output_mapping_strategy=mapping)


@pytest.mark.parametrize("mapping", [strategy.value for strategy in OutputMappingStrategy])
@pytest.mark.parametrize("explicit", [False, True])
def test_no_column_of_the_jacobian_is_zero(mapping, explicit):
    draw, built = np.random.default_rng(7), 0
    for _ in range(30):
        try:
            layer = random_layer(draw, mapping, explicit).double()
        except ValueError as error:
            assert "reach" in str(error) or "postselect must keep" in str(error), error
            continue
        built += 1
        x = torch.rand(4, layer.input_size, dtype=torch.float64, requires_grad=True)
        output = layer(x)
        (output * torch.randn_like(output)).sum().backward()
        reached = x.grad.abs().amax(0)
        assert (reached > 1e-9).all(), (layer, layer.experiment.encoding, reached)
    assert built > 7


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


# --- circuits of components -----------------------------------------------------------------------


def random_components(draw, mapping):
    modes, photons = int(draw.integers(2, 6)), int(draw.integers(1, 4))
    circuit = random_circuit(draw, modes, 3, length=int(draw.integers(2, 9)))
    terms = int(draw.integers(1, 3)) if mapping == "none" else 1
    states = draw.multinomial(photons, np.full(modes, 1 / modes), size=terms)
    state = {tuple(n): draw.normal() + 1j for n in states.tolist()}
    experiment = Experiment(circuit=circuit, input_state=state if terms > 1 else next(iter(state)))
    sizes = (circuit.input_size,)
    return lambda: QuantumLayer(
        *sizes, experiment=experiment, output_mapping_strategy=mapping, dtype=torch.float64
    )


@pytest.mark.parametrize("mapping", ["none", "mode_expectations", "pair_correlations"])
def test_components_are_refused_exactly_where_a_feature_changes_nothing(mapping, monkeypatch):
    draw, seen = np.random.default_rng(3), [0, 0]
    for _ in range(60):
        make, refusal = random_components(draw, mapping), None
        try:
            layer = make()
        except ValueError as error:
            refusal = str(error)
            if "feature(s)" not in refusal:  # of readouts that are constant for all circuits
                continue
            with monkeypatch.context() as patch:
                patch.setattr("hybridlit.photonics.ansatz.refuse_unreached", lambda *_: None)
                layer = make()
        if not layer.input_size:
            continue
        layer.phases.data.uniform_(0, 6)
        x = torch.randn(4, layer.input_size, dtype=torch.float64, requires_grad=True)
        output = layer(x)
        output.backward(torch.randn_like(output))
        lost = np.flatnonzero(x.grad.abs().amax(0) < 1e-9).tolist()
        if refusal is None:
            assert not lost, layer.experiment
        else:
            named = re.search(r"feature\(s\) \[([\d, ]+)\]", refusal)[1].split(", ")
            assert {*map(int, named)} <= {*lost}, (layer.experiment, refusal, lost)
        seen[bool(lost)] += 1
    assert min(seen) > 5


EXAMPLES = {
    "an input phase": lambda c: c.add(PhaseShifter(Data(0)), 0).add(Interferometer()),
    "an output phase": lambda c: c.add(Interferometer()).add(PhaseShifter(Data(0)), 0),
    "the vacuum": lambda c: c.add(BeamSplitter(), 0).add(BeamSplitter(Data(0)), [3, 4]),
    "all modes alike": lambda c: [
        c.add(Interferometer()),
        *(c.add(PhaseShifter(Data(0)), mode) for mode in range(5)),
        c.add(Interferometer()),
    ],
    "a phase taken back": lambda c: [
        c.add(Interferometer()),
        c.add(PhaseShifter(Data(0)), 0).add(PhaseShifter(Data(0, scale=-1.0)), 0),
        c.add(Interferometer()),
    ],
    "an output phase behind a permutation": lambda c: [
        c.add(Interferometer()).add(PhaseShifter(Data(0)), 0),
        c.add(Permutation([4, 0, 1, 2, 3])),
    ],
    "an unused one": lambda c: [c.add(Interferometer()).add(PhaseShifter(Data(1)), 0)],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_features_that_no_count_feels_are_refused(name):
    circuit = Circuit(5)
    EXAMPLES[name](circuit)
    with pytest.raises(ValueError, match=r"every feature reach the output, but feature\(s\) \[0\]"):
        QuantumLayer(
            circuit.input_size, 2, circuit=circuit, input_state=(1, 1, 0, 0, 0), n_photons=2
        )


def test_phases_between_the_terms_of_a_superposition_reach_the_output():
    circuit = Circuit(2).add(PhaseShifter(Data(0)), 0).add(BeamSplitter())
    QuantumLayer(1, 2, circuit=circuit, input_state={(1, 0): 1, (0, 1): 1})
    with pytest.raises(ValueError, match=r"feature\(s\) \[0\] turn only phases"):
        QuantumLayer(1, 2, circuit=circuit, input_state=(1, 0))


def test_expectations_that_do_not_change_are_refused_by_name():
    circuit = Circuit(4).add(BeamSplitter(Data(0)), 0).add(BeamSplitter(), 2)
    options = dict(circuit=circuit, input_state=(1, 1, 1, 0))
    with pytest.raises(ValueError, match="change no mean photon numbers: change output_map"):
        QuantumLayer(1, **options, output_mapping_strategy="mode_expectations")
    QuantumLayer(1, **options, output_mapping_strategy="pair_correlations")


def test_what_post_selection_makes_constant_is_refused():
    circuit = Circuit(4).add(BeamSplitter(Data(0)), 0).add(BeamSplitter(), 2)
    options = dict(circuit=circuit, input_state=(1, 1, 1, 0))
    QuantumLayer(1, 2, **options)
    for kept in (dict(computation_space="unbunched"), dict(postselect="[0]==1 & [1]==1")):
        with pytest.raises(ValueError, match=r"\[0\] change no probability of those outcomes that"):
            QuantumLayer(1, 2, **options, **kept)


@pytest.mark.parametrize("shape", ["rectangular", "triangular"])
def test_light_comes_through_large_meshes(shape):
    circuit = Circuit(60).add(Interferometer(shape=shape))
    for mode in range(59):
        circuit.add(PhaseShifter(Data(mode)), mode)
    circuit.add(Interferometer(shape=shape, phases="input"))
    Ansatz(Experiment(circuit=circuit, input_state=[1] + 59 * [0]), 59, 2)


def test_a_large_circuit_is_looked_at_in_polynomial_time():
    angles = [[Data({k % 30: 1.0}), Trainable()] for k in range(276)]
    circuit = Circuit(24).add(Interferometer()).add(Interferometer(angles=angles))
    circuit.add(PhaseShifter(Data(30)), 0)
    ok = Circuit(24, circuit.plain()["components"]).add(Interferometer(phases="input"))
    assert Ansatz(Experiment(circuit=ok, n_photons=12), 31, 5).input_size == 31
    with pytest.raises(ValueError, match=r"feature\(s\) \[30\] turn only phases"):
        Ansatz(Experiment(circuit=circuit, n_photons=12), 31, 5)
