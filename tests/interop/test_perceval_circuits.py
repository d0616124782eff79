"""Circuits to and from Perceval, against its own unitaries and probabilities."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import hybridlit as ML
from hybridlit.photonics.circuit.values import parameter_keys

pcvl = pytest.importorskip("perceval")

from perceval_circuits import (  # noqa: E402
    assign,
    between,
    perceval_probabilities,
    random_circuit,
    random_perceval_circuit,
    random_unitary,
)

DOUBLE = {"dtype": torch.float64}


def layer_of(circuit, state=None, **kind):
    state = state or [1, 0, 1, *[0] * circuit.n_modes][: circuit.n_modes]
    experiment = ML.Experiment(circuit=circuit, input_state=state, **kind)
    return ML.QuantumLayer(
        circuit.input_size, experiment=experiment, output_mapping_strategy="none", **DOUBLE
    )


def matrix(experiment):
    return np.asarray(experiment.unitary_circuit().compute_unitary())


def apart(first, second):
    return np.abs(np.asarray(first) - np.asarray(second)).max()


FEW_AND_MANY = [1, pytest.param(22, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", FEW_AND_MANY)
@pytest.mark.parametrize("modes", range(2, 11))
def test_random_components_are_perceval_s(modes, count):
    """And as symbols come back as the same function of the same number of parameters."""
    random = np.random.default_rng((modes, count))
    for _ in range(count):
        inner = random_circuit(random, modes, 3, int(random.integers(1, 8)))
        circuit = between(random, inner.add(ML.PhaseShifter(ML.Data([0.3, 0.7, 1.1])), 0))
        layer = layer_of(circuit)
        x = torch.tensor(random.normal(size=3))
        unitary = layer.unitary(x).detach().numpy()
        there = matrix(ML.to_perceval(layer, x))
        assert apart(there, unitary) < 1e-12
        expected, _ = perceval_probabilities(there, layer.input_state, layer.fock_space)
        assert apart(layer.probabilities(x).detach(), expected) < 1e-10
        symbolic = ML.to_perceval(layer)
        for feature, value in enumerate(x.tolist()):
            symbolic.get_circuit_parameters()[f"x{feature}"].set_value(value)
        assert apart(matrix(symbolic), unitary) < 1e-12
        again = layer_of(ML.from_perceval(symbolic).circuit)
        assert again.phases.numel() == layer.phases.numel()
        assert apart(again.unitary(x).detach(), unitary) < 1e-12


@pytest.mark.parametrize("count", FEW_AND_MANY)
@pytest.mark.parametrize("modes", range(2, 11))
def test_random_circuits_of_perceval_are_the_same_here(modes, count):
    random, refused = np.random.default_rng((modes, count, 1)), 0
    for _ in range(count):
        symbols = [pcvl.P(name) for name in ("x1", "x2", "x10", "theta1", "theta2")]
        given = random_perceval_circuit(random, modes, symbols, int(random.integers(1, 8)))
        given.add(0, pcvl.PS(symbols[2] + symbols[0] * 0.5)).add(0, pcvl.PS(symbols[1]))
        circuit = ML.from_perceval(given)
        assert circuit.input_size == 3
        assert ML.Circuit(**circuit.plain()) == circuit
        whole = between(random, circuit)
        x = random.uniform(0, 6, 3)
        try:
            layer = layer_of(whole)
        except ValueError as error:  # once in a while two phases of a feature cancel
            assert "every feature" in str(error)
            refused += 1
            continue
        with torch.no_grad():
            layer.phases.uniform_(0, 6)  # Perceval takes whole turns off the values of symbols
        trained = parameter_keys(circuit)
        values = dict(zip(trained, layer.phases.tolist(), strict=False))
        assign(given, {**dict(zip(("x1", "x2", "x10"), x, strict=True)), **values})
        front, _, back = whole.placed
        behind = layer_of(ML.Circuit(modes).add(back.component))
        with torch.no_grad():
            behind.phases.copy_(layer.phases[len(trained) :])
        expected = behind.unitary(1)[0].detach().numpy() @ np.asarray(given.compute_unitary())
        expected = expected @ front.component.array
        assert apart(layer.unitary(torch.tensor(x)).detach(), expected) < 1e-12
    assert refused <= 1


@pytest.mark.parametrize("modes", [2, 5, 7])
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_probabilities_are_perceval_s(modes, space):
    random = np.random.default_rng(modes)
    circuit = between(random, random_circuit(random, modes, 2, 5)).add(ML.Permutation([1, 0]), 0)
    layer = layer_of(
        circuit,
        [1, *[0] * (modes - 2), min(modes - 1, 2) - (space != "fock")],
        computation_space=space,
    )
    x = torch.tensor(random.normal(size=layer.input_size))
    unitary = matrix(ML.to_perceval(layer, x))
    expected, _ = perceval_probabilities(unitary, layer.input_state, layer.fock_space)
    assert apart(layer.probabilities(x).detach(), expected) < 1e-10


CATALOG = {
    **{
        name: {}
        for name in (
            *("klm cnot", "heralded cnot", "postprocessed cnot", "heralded cz", "postprocessed cz"),
            *("postprocessed ccz", "toffoli", "mzi phase first", "mzi phase last", "symmetric mzi"),
            *("generic 2 mode circuit", "h", "x", "y", "z", "s", "sdag", "t", "tdag"),
        )
    },
    **{name: {"theta": "theta"} for name in ("rx", "ry", "rz")},
    "ph": {"phi": "phi"},
    "postprocessed controlled gate": {"n": 2, "alpha": 0.7},
    "qloq ansatz": {"group_sizes": [pcvl.Encoding.DUAL_RAIL] * 2, "layers": ["X", "Z"]},
}


def test_the_whole_catalog_is_here():
    assert set(CATALOG) == set(pcvl.catalog.list())


@pytest.mark.parametrize("name", CATALOG)
def test_a_circuit_of_the_catalog_goes_there_and_back(name):
    given = pcvl.catalog[name].build_circuit(**CATALOG[name])
    circuit = ML.from_perceval(given, trainable_parameters=("theta", "phi"))
    layer = layer_of(circuit)
    values = dict(zip(parameter_keys(circuit), layer.phases.tolist(), strict=True))
    assert values.keys() == {parameter.name for parameter in given.get_parameters()}
    assign(given, values)
    unitary = layer.unitary(1)[0].detach()
    assert apart(given.compute_unitary(), unitary) < 1e-12
    expected, _ = perceval_probabilities(unitary.numpy(), layer.input_state, layer.fock_space)
    assert apart(layer.probabilities(1)[0].detach(), expected) < 1e-10
    there = ML.to_perceval(layer)
    again = layer_of(ML.from_perceval(there, trainable_parameters=("theta", "phi")).circuit)
    assert again.phases.tolist() == layer.phases.tolist()
    assert apart(again.unitary(1)[0].detach(), unitary) < 1e-12


@pytest.mark.parametrize("circuit_type", ["series", "parallel", "parallel_columns"])
@pytest.mark.parametrize("tuned", [False, True])
def test_every_circuit_type_goes_there_and_back(circuit_type, tuned):
    layer = ML.QuantumLayer(
        4,
        3,
        circuit_type=circuit_type,
        n_modes=4,
        n_photons=2,
        use_bandwidth_tuning=tuned,
        **DOUBLE,
    )
    if tuned:
        with torch.no_grad():
            layer.bandwidth.uniform_(0.5, 1.5)
    x = torch.rand(4, **DOUBLE)
    unitary = layer.unitary(x).detach()
    assert apart(matrix(ML.to_perceval(layer, x)), unitary) < 1e-12
    again = layer_of(ML.from_perceval(ML.to_perceval(layer)).circuit, layer.input_state)
    assert again.phases.numel() == layer.phases.numel()
    assert apart(again.unitary(x).detach(), unitary) < 1e-12


@pytest.mark.parametrize("whole", [False, True])
def test_bandwidths_of_components_are_numbers(whole):
    circuit = ML.Circuit(3).add(ML.Interferometer())
    if not whole:
        circuit.add(ML.BeamSplitter(ML.Data(0)), 1).add(ML.BeamSplitter("theta"), 0)
    circuit.add(ML.PhaseShifter(ML.Data([1.0, 2.0])), 1).add(ML.Interferometer(phases="input"))
    layer = layer_of(circuit, [1, 0, 1], use_bandwidth_tuning=True)
    assert (layer.lowering.slots is None) is whole
    with torch.no_grad():
        layer.bandwidth.uniform_(0.5, 1.5)
    x = torch.rand(2, **DOUBLE)
    unitary = layer.unitary(x).detach()
    assert apart(matrix(ML.to_perceval(layer, x)), unitary) < 1e-12
    again = layer_of(ML.from_perceval(ML.to_perceval(layer)).circuit, [1, 0, 1])
    assert apart(again.unitary(x).detach(), unitary) < 1e-12


def test_what_is_not_trained_is_a_number():
    x = torch.rand(2, **DOUBLE)
    reservoir = ML.QuantumLayer(2, 3, n_modes=3, n_photons=1, reservoir_mode=True, **DOUBLE)
    frozen = ML.QuantumLayer(2, 3, n_modes=3, n_photons=1, **DOUBLE)
    random = np.random.default_rng(0)
    frozen.set_unitary(0, random_unitary(random, 3), trainable=False)
    frozen.set_unitary(1, random_unitary(random, 3))
    circuit = frozen.experiment.circuit_for(2)
    whole = layer_of(circuit, [1, 0, 1], use_bandwidth_tuning=True)
    whole.set_unitary(0, random_unitary(random, 3), trainable=False)
    with torch.no_grad():
        whole.bandwidth.uniform_(0.5, 1.5)
    for layer, trained in ((reservoir, 0), (frozen, 6), (whole, 0)):
        there = ML.to_perceval(layer)
        assert len(there.get_circuit_parameters()) == trained + 2
        again = layer_of(ML.from_perceval(there).circuit)
        unitary = layer.unitary(x).detach()
        assert apart(again.unitary(x).detach(), unitary) < 1e-12
        assert apart(matrix(ML.to_perceval(layer, x)), unitary) < 1e-12


def test_layers_of_a_stack_go_one_by_one():
    stack = ML.QuantumLayerStack(3, 2, 4, n_modes=3, n_photons=2, **DOUBLE)
    x = torch.rand(2, **DOUBLE)
    for index, layer in enumerate(stack.layers()):
        there = ML.to_perceval(stack, x, index=index)
        assert apart(matrix(there), layer.unitary(x).detach()) < 1e-12
    for wrong in (None, 3, -1):
        with pytest.raises(ValueError, match="index must be"):
            ML.to_perceval(stack, x, wrong)
    with pytest.raises(ValueError, match="index must be None for a single layer, got 0"):
        ML.to_perceval(layer, x, 0)


def test_what_has_names_and_neighbours_comes_back_as_it_was():
    circuit = ML.Circuit(4).add(ML.BeamSplitter("theta1"), 0)
    circuit.add(ML.BeamSplitter(1.25, "h", phi_bl=ML.Data(0), phi_tr=0.5), 2)
    circuit.add(ML.PhaseShifter(ML.Trainable("theta2", scale=2.0, offset=0.25)), 1)
    circuit.add(ML.Permutation([2, 0, 1]), 1)
    inner = ML.Circuit(2).add(ML.BeamSplitter(ML.Data({0: 0.5, 1: -2.0}, offset=1.0), "ry"), 0)
    circuit.add(inner, 1).add(ML.BeamSplitter("theta1"), 2)
    circuit.add(ML.FixedUnitary(np.diag([1, 1j, -1])), 0).add(ML.BeamSplitter(), 0)
    layer = layer_of(circuit.add(ML.BeamSplitter(), 2))
    found = ML.from_perceval(ML.to_perceval(layer)).circuit
    values = dict(zip(("theta1", "theta2"), layer.phases.tolist(), strict=True))
    unnamed = found.plain()
    assert {
        entry[key]["trainable"]: entry[key].pop("init")
        for entry in unnamed["components"]
        for key in ("theta", "phi")
        if isinstance(entry.get(key), dict) and "trainable" in entry[key]
    } == values
    assert ML.Circuit(**unnamed) == circuit
    assert ML.from_perceval(ML.to_perceval(layer_of(found))).circuit == found


def test_features_are_in_the_natural_order_of_names_prefix_by_prefix():
    circuit = pcvl.Circuit(2)
    for name in ("x10", "b", "x2", "a1", "a0"):
        circuit.add(0, pcvl.PS(pcvl.P(name)))
    found = ML.from_perceval(circuit, ["a", "x", "b"])
    numbers = [component.phi.feature for component, _ in found]
    assert numbers == [3, 4, 2, 1, 0]
    found = ML.from_perceval(circuit, ["x10", "x", "a1", "a", "b"])  # whole names come first
    assert [component.phi.feature for component, _ in found] == [0, 4, 1, 2, 3]


def test_values_are_where_training_begins_or_stay():
    theta, other = pcvl.P("theta"), pcvl.P("other")
    theta.set_value(0.25)
    other.set_value(0.5)
    circuit = pcvl.Circuit(1).add(0, pcvl.PS(theta)).add(0, pcvl.PS(other + theta))
    circuit.add(0, pcvl.PS(pcvl.P("fixed", 1.5)))
    found = [component.phi for component, _ in ML.from_perceval(circuit)]
    assert found == [
        ML.Trainable("theta", 0.25),
        ML.Trainable("theta", 0.25, offset=0.5),
        ML.Fixed(1.5),
    ]


@pytest.mark.parametrize("convention", list(pcvl.BSConvention))
def test_sums_of_symbols_in_one_splitter_are_several(convention):
    names = ("x1", "x2", "theta1", "theta2")
    one, two, first, second = symbols = [pcvl.P(name) for name in names]
    given = pcvl.BS(
        one + first, two + second, first - second, one - first, second - two, convention
    )
    values = dict(zip(names, (0.3, 1.1, 2.0, 0.7), strict=True))
    assign(given, values)
    circuit = ML.from_perceval(given)
    assert len(circuit) == 6  # a splitter and a phase shifter more for each sum
    front = random_unitary(np.random.default_rng(0), 2)
    whole = ML.Circuit(2).add(ML.FixedUnitary(front)).add(circuit).add(ML.BeamSplitter())
    layer = layer_of(whole, [1, 0])
    found = layer.unitary(torch.tensor([0.3, 1.1], **DOUBLE)).detach()
    behind = np.asarray(pcvl.BS().compute_unitary())
    assert apart(found, behind @ np.asarray(given.compute_unitary()) @ front) < 1e-12
    assert all(symbol.defined for symbol in symbols)


def test_one_symbol_in_angles_of_several_periods_is_kept_whole():
    """Perceval takes turns off a value as the component does that has the symbol alone."""
    circuit = ML.Circuit(2).add(ML.BeamSplitter(ML.Data(0)), 0).add(ML.PhaseShifter(ML.Data(0)), 0)
    circuit.add(ML.BeamSplitter(), 0).add(ML.PhaseShifter(ML.Data(0, 0.5)), 0)
    layer = layer_of(circuit.add(ML.BeamSplitter(), 0), [1, 0])
    there = ML.to_perceval(layer)
    there.get_circuit_parameters()["x0"].set_value(9.0)
    assert apart(matrix(there), layer.unitary(torch.tensor([9.0], **DOUBLE)).detach()) < 1e-12


def test_a_trainable_angle_beyond_a_turn_is_kept():
    circuit = ML.Circuit(2).add(ML.BeamSplitter(ML.Trainable("theta", -20.0)), 0)
    layer = layer_of(circuit.add(ML.PhaseShifter(ML.Trainable("phi", 9.0)), 0), [1, 0])
    found = ML.from_perceval(ML.to_perceval(layer), "x", ["theta", "phi"]).circuit
    assert found == circuit


def test_the_code_of_the_readme_runs():
    readme = (Path(ML.__file__).parent / "interop" / "README.md").read_text(encoding="utf-8")
    found = {}
    exec(re.search(r"```python\n(.*?)```", readme, flags=re.DOTALL)[1], found)
    assert found["ready"].unitary_circuit().defined
    assert list(found["there"].get_circuit_parameters()) == ["theta1", "x0"]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "words"),
    [
        (lambda: pcvl.PBS(), "without polarisation, got a component 'PBS'"),
        (lambda: pcvl.WP(1, 2), "without polarisation, got a component 'WP'"),
        (lambda: pcvl.PS(1, max_error=0.1), "got one with max_error"),
        (lambda: pcvl.PS(pcvl.P("x1") * pcvl.P("theta1")), r"\(theta1\*x1\) of 'theta1', 'x1'"),
        (lambda: pcvl.PS(pcvl.E("sin(x1)", {pcvl.P("x1")})), r"\(sin\(x1\)\) of 'x1'"),
        (lambda: pcvl.PS(pcvl.P("phi")), "but 'phi' begin neither with one of input_parameters"),
    ],
)
def test_what_is_not_linear_optics_is_refused_by_name(component, words):
    with pytest.raises(ValueError, match=words):
        ML.from_perceval(component())


def test_prefixes_that_mean_nothing_are_refused():
    theta = pcvl.P("theta1")
    theta.set_value(1.0)  # a slip would make it a constant
    circuit = pcvl.Circuit(1) // pcvl.PS(theta)
    with pytest.raises(ValueError, match="none begins with 'tehta'; there are 'theta1'"):
        ML.from_perceval(circuit, trainable_parameters="tehta")
    with pytest.raises(ValueError, match="must differ, got \\['x'\\] in both"):
        ML.from_perceval(circuit, trainable_parameters=["x"])
    with pytest.raises(ValueError, match="must have letters, got ''"):
        ML.from_perceval(circuit, trainable_parameters=[""])
    with pytest.raises(TypeError, match=r"input_parameters\[0\] must be a string"):
        ML.from_perceval(circuit, [1])
    with pytest.raises(TypeError, match="must be a Circuit, an Experiment or a Processor"):
        ML.from_perceval(ML.Circuit(2))


@pytest.mark.parametrize("name", ["x3", "two words", "I", "2b"])
def test_names_that_are_no_symbols_are_refused(name):
    circuit = ML.Circuit(2).add(ML.BeamSplitter(ML.Trainable(name)), 0)
    with pytest.raises(ValueError, match=repr(name)):
        ML.to_perceval(layer_of(circuit, [1, 0]))


def test_rows_that_do_not_fit_are_refused():
    layer = ML.QuantumLayer(2, 3, n_modes=3, n_photons=1)
    for wrong in (torch.rand(3), torch.rand(1, 2), [math.nan, 0.0]):
        with pytest.raises(ValueError, match="x must be"):
            ML.to_perceval(layer, wrong)
    with pytest.raises(TypeError, match="layer must be a photonic layer, got Linear"):
        ML.to_perceval(torch.nn.Linear(2, 3))
