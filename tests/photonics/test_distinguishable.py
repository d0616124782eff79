"""Distinguishable photons against brute force: permanents of |U|^2, and every assignment."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from permanents import all_states, modes_of, permanent

from hybridlit import is_photonic, split_parameters
from hybridlit.photonics import Experiment, QuantumLayer, QuantumLayerStack
from hybridlit.photonics.distinguishable import DistinguishableLayer, DistinguishableLayerStack
from hybridlit.photonics.fock import ComputationSpace
from hybridlit.photonics.noise.mixture import mixture
from hybridlit.photonics.noise.program import program_for
from hybridlit.photonics.readouts.expectations import distinguishable_pair_correlations

STATES = [(1, 0, 1, 0), (2, 0, 1, 0), (1, 1, 1, 0), (0, 3, 0, 0)]


def make(mapping="none", outputs=None, state=(1, 0, 1, 0), space="fock", count=None, **options):
    experiment = Experiment(
        "series",
        len(state),
        sum(state),
        input_state=state,
        computation_space=space,
        use_bandwidth_tuning=True,
        **options,
    )
    kwargs = dict(experiment=experiment, output_mapping_strategy=mapping)
    if count is None:
        return QuantumLayer(3, outputs, **kwargs).double()
    return QuantumLayerStack(count, 3, outputs, **kwargs).double()


def by_permanents(unitary, state, unbunched):
    """p(t) = perm(|U[t, s]|^2) / prod t!, from the definition."""
    chosen = all_states(len(state), sum(state), unbunched)
    squares = np.abs(unitary) ** 2
    return np.array(
        [
            permanent(squares[np.ix_(modes_of(t), modes_of(state))])
            / math.prod(map(math.factorial, t))
            for t in chosen
        ]
    )


def by_assignments(unitary, state):
    """Every photon takes one mode on its own: sum over all modes**photons ways."""
    modes, squares = len(state), np.abs(unitary) ** 2
    found = dict.fromkeys(all_states(modes, sum(state)), 0.0)
    for ways in itertools.product(range(modes), repeat=sum(state)):
        outcome = tuple(ways.count(mode) for mode in range(modes))
        pairs = zip(ways, modes_of(state), strict=True)
        found[outcome] += math.prod(squares[out, into] for out, into in pairs)
    return np.array(list(found.values()))


@pytest.mark.parametrize("state", STATES)
def test_probabilities_are_permanents_of_squared_moduli(state):
    layer = DistinguishableLayer.from_layer(make(state=state))
    x = torch.rand(4, 3, dtype=torch.float64)
    got = layer.probabilities(x).detach().numpy()
    unitaries = layer.unitary(x).detach().numpy()
    np.testing.assert_allclose(got, [by_permanents(u, state, False) for u in unitaries], atol=1e-14)
    np.testing.assert_allclose(got, [by_assignments(u, state) for u in unitaries], atol=1e-14)
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-14)


@pytest.mark.parametrize("state", [(1, 0, 1, 0), (1, 1, 1, 0)])
def test_unbunched_outcomes_are_renormalised(state):
    layer = DistinguishableLayer.from_layer(make(state=state, space="unbunched"))
    x = torch.rand(4, 3, dtype=torch.float64)
    unitaries = layer.unitary(x).detach().numpy()
    raw = np.array([by_permanents(unitary, state, True) for unitary in unitaries])
    kept = layer.success_probability(x).detach().numpy()
    np.testing.assert_allclose(kept, raw.sum(1), atol=1e-14)
    expected = raw / raw.sum(1, keepdims=True)
    np.testing.assert_allclose(layer.probabilities(x).detach().numpy(), expected, atol=1e-13)


def test_hong_ou_mandel():
    """Behind a balanced splitter two photons part half of the time, instead of never."""
    half = torch.full((2, 2, 1), 0.5, dtype=torch.float64)
    program = program_for(None, (0, 1), 2, ComputationSpace.FOCK, interferes=False)
    columns = half.sqrt().to(torch.complex128)
    got = mixture(columns, torch.ones(1, dtype=torch.float64), program)[0]
    torch.testing.assert_close(got, torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64))
    pairs = distinguishable_pair_correlations(half, torch.ones(2, dtype=torch.float64))[0]
    assert pairs.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("mapping", ["none", "mode_expectations"])
def test_one_photon_has_nothing_to_interfere_with(mapping):
    layer = make(mapping, state=(0, 1, 0, 0))
    x = torch.rand(5, 3, dtype=torch.float64)
    other = DistinguishableLayer.from_layer(layer)
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=1e-15)


@pytest.mark.parametrize("state", STATES)
def test_mean_photon_numbers_are_the_same_with_interference(state):
    layer = make("mode_expectations", state=state)
    x = torch.rand(5, 3, dtype=torch.float64)
    other = DistinguishableLayer.from_layer(layer)
    numbers = torch.tensor(layer.fock_space.states, dtype=torch.float64)
    torch.testing.assert_close(other.probabilities(x) @ numbers, layer(x), rtol=0, atol=1e-13)
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("state", STATES)
def test_pair_correlations_are_factorial_moments_over_all_outcomes(state):
    layer = DistinguishableLayer.from_layer(make("pair_correlations", state=state))
    x = torch.rand(5, 3, dtype=torch.float64)
    numbers = torch.tensor(layer.fock_space.states, dtype=torch.float64)
    pairs = numbers[:, :, None] * numbers[:, None] - torch.diag_embed(numbers)
    moments = torch.einsum("bd,dij->bij", layer.probabilities(x), pairs)
    first, second = torch.triu_indices(4, 4)
    torch.testing.assert_close(layer(x), moments[:, first, second], rtol=0, atol=1e-13)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_gradients_of_phases_bandwidths_and_data(space):
    layer = DistinguishableLayer.from_layer(make(space=space, state=(1, 1, 0, 1)))
    parameters = dict(layer.named_parameters())

    def outputs(x, *values):
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, named, x)

    x = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
    inputs = (x, *(p.detach().clone().requires_grad_() for p in parameters.values()))
    assert torch.autograd.gradcheck(outputs, inputs)


@pytest.mark.parametrize("mapping,outputs", [("linear", 3), ("pair_correlations", None)])
@pytest.mark.parametrize("each", [False, True])
def test_a_stack_is_its_layers(mapping, outputs, each):
    stack = DistinguishableLayerStack.from_stack(make(mapping, outputs, count=2))
    layers = stack.layers()
    assert {type(layer) for layer in layers} == {DistinguishableLayer}
    x = torch.rand(5, *([2] if each else []), 3, dtype=torch.float64)
    columns = [x[:, index] if each else x for index in range(2)]
    expected = [layer(rows) for layer, rows in zip(layers, columns, strict=True)]
    torch.testing.assert_close(stack(x, each=each), torch.stack(expected, 1), rtol=0, atol=1e-13)
    again = DistinguishableLayerStack.from_layers(layers)
    assert torch.equal(again(x, each=each), stack(x, each=each))


def test_it_copies_everything_and_is_a_layer_like_any_other():
    layer = make("linear", 3).float()
    layer.readout.weight.requires_grad_(False)
    other = DistinguishableLayer.from_layer(layer.eval())
    assert not other.training and not other.readout.weight.requires_grad
    for name, value in layer.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert is_photonic(other)
    assert set(split_parameters(other)["photonic"]) == {"phases", "bandwidth"}
    x = torch.rand(4, 3)
    assert other(x).shape == (4, 3) and not torch.allclose(other(x), layer(x))
    assert torch.equal(pickle.loads(pickle.dumps(other))(x), copy.deepcopy(other)(x))
    assert repr(other).count("distinguishable photons") == 1 and "kernel" not in repr(other)


def test_bad_features_are_refused_as_by_a_layer():
    layer = DistinguishableLayer.from_layer(make())
    with pytest.raises(ValueError, match="must be finite"):
        layer(torch.full((2, 3), torch.nan, dtype=torch.float64))
    with pytest.raises(ValueError, match="input_size=3"):
        layer(torch.rand(2, 4, dtype=torch.float64))


def test_a_stack_is_made_of_layers_with_its_own_kind_of_photons():
    layer = QuantumLayer(2, 3, n_modes=4, n_photons=2)
    classical, x = DistinguishableLayer.from_layer(layer), torch.rand(5, 2)
    stack = DistinguishableLayerStack.from_layers([classical])
    torch.testing.assert_close(stack(x)[:, 0], classical(x))
    assert [type(one) for one in stack.layers()] == [DistinguishableLayer]
    for kind, wrong in [
        (QuantumLayerStack, classical),
        (DistinguishableLayerStack, layer),
        (QuantumLayerStack, torch.nn.Identity()),
    ]:
        with pytest.raises(TypeError, match=f"kind .*Layer, got {type(wrong).__name__}"):
            kind.from_layers([wrong])
