"""Partial measurement and feed-forward, against sums over outcomes and against Perceval."""

import copy

import numpy as np
import pytest
import torch
from permanents import all_amplitudes, all_states, haar

from hybridlit import (
    BeamSplitter,
    Circuit,
    Data,
    DistinguishableLayer,
    Experiment,
    FeedForward,
    FixedUnitary,
    FockSpace,
    PartialMeasurement,
    PhaseShifter,
    QuantumLayer,
    Trainable,
)


def layer(features, modes, photons, **fields):
    fields = {"circuit_type": "series"} | fields if "circuit" not in fields else fields
    experiment = Experiment(n_modes=modes, n_photons=photons, **fields)
    return QuantumLayer(
        features, experiment=experiment, output_mapping_strategy="none", dtype=torch.float64
    )


def rows(count, features):
    return torch.rand(count, features, dtype=torch.float64)


def fixed(matrix):
    modes = len(matrix)
    return layer(0, modes, 1, circuit=Circuit(modes).add(FixedUnitary(matrix), range(modes)))


def phase(features=None):
    """Modes that interfere, with a phase between: trained, or given."""
    angle = Trainable("turn") if features is None else Data(features)
    mixer = haar(2, np.random.default_rng(3))
    circuit = Circuit(2).add(FixedUnitary(mixer), range(2)).add(PhaseShifter(angle), 0)
    circuit.add(FixedUnitary(mixer.T), range(2))
    return layer(0 if features is None else 1, 2, 1, circuit=circuit)


# --- brute force: amplitudes by permanents, a sum over outcomes -----------------------------------


def amplitudes_of(unitary, amplitudes, photons):
    """Send a state, a dictionary of occupations, through a unitary."""
    modes = len(unitary)
    found = dict.fromkeys(all_states(modes, photons), 0)
    for state, amplitude in amplitudes.items():
        for outcome, value in zip(found, all_amplitudes(unitary, state), strict=True):
            found[outcome] = found[outcome] + amplitude * value
    return found


def mixture(amplitudes, measured, unitary_of):
    """Probabilities of the outcomes of all modes by the definition."""
    modes = len(next(iter(amplitudes)))
    others = [mode for mode in range(modes) if mode not in measured]
    total, weights = dict.fromkeys(amplitudes, 0.0), {}
    for found in {tuple(state[mode] for mode in measured) for state in amplitudes}:
        left = {
            tuple(state[mode] for mode in others): value
            for state, value in amplitudes.items()
            if tuple(state[mode] for mode in measured) == found
        }
        weights[found] = sum(abs(value) ** 2 for value in left.values())
        photons = sum(next(iter(left)))
        unitary = unitary_of(found) if photons else None
        if unitary is not None:
            left = amplitudes_of(unitary, left, photons)
        for state, value in left.items():
            whole = [0] * modes
            for mode, count in [
                *zip(measured, found, strict=True),
                *zip(others, state, strict=True),
            ]:
                whole[mode] = count
            total[tuple(whole)] += abs(value) ** 2
    return total, weights


def of_layer(first, x):
    values = first.amplitudes(x).detach().numpy()
    return [dict(zip(first.outcomes, row, strict=True)) for row in values]


@pytest.mark.parametrize("measured", [(0,), (2, 0), (3,), (1, 2, 3)])
def test_branches_are_the_state_split(measured):
    first, x = layer(3, 4, 3), rows(5, 3)
    branches = PartialMeasurement(first, measured)(x)
    assert len(branches.outcomes) == len(set(branches.outcomes)) == branches.probabilities.shape[1]
    torch.testing.assert_close(branches.probabilities.sum(1), torch.ones(5, dtype=torch.float64))
    others = [mode for mode in range(4) if mode not in measured]
    for row, amplitudes in enumerate(of_layer(first, x)):
        _, weights = mixture(amplitudes, measured, lambda found: None)
        for branch, found in enumerate(branches.outcomes):
            probability = branches.probabilities[row, branch].item()
            assert probability == pytest.approx(weights[found], abs=1e-12)
            state = branches.states[branch][row].detach().numpy()
            assert np.linalg.norm(state) == pytest.approx(1, abs=1e-12)
            for value, occupation in zip(state, branches.spaces[branch], strict=True):
                whole = dict(zip(measured, found, strict=True))
                whole |= dict(zip(others, occupation, strict=True))
                expected = amplitudes[tuple(whole[mode] for mode in range(4))]
                assert value * np.sqrt(probability) == pytest.approx(expected, abs=1e-12)


def test_a_state_goes_on_into_the_next_layer():
    first, x = layer(3, 4, 3), rows(5, 3)
    branches = PartialMeasurement(first, [1])(x)
    branch = branches.outcomes.index((1,))
    second = layer(0, 3, 2)
    found = second(state=branches.states[branch])
    torch.testing.assert_close(found.sum(1), torch.ones(5, dtype=torch.float64))
    adaptive = FeedForward(
        first, [1], lambda seen: second if seen == (1,) else None, output_mapping_strategy="none"
    )
    weighted = found * branches.probabilities[:, branch, None]
    chosen = [
        adaptive.outcomes.index((state[0], 1, *state[1:])) for state in branches.spaces[branch]
    ]
    torch.testing.assert_close(adaptive(x)[:, chosen], weighted)


@pytest.mark.parametrize("measured", [(0,), (2, 0), (1, 3)])
def test_the_mixture_is_the_sum_over_outcomes(measured):
    first, x, generator = layer(3, 5, 3), rows(4, 3), np.random.default_rng(1)
    left = 5 - len(measured)
    unitaries = {}

    def unitary_of(found):
        if sum(found) == 1 and found[0] == 0:
            return None
        return unitaries.setdefault(found, haar(left, generator))

    adaptive = FeedForward(
        first, measured,
        lambda found: None if unitary_of(found) is None else fixed(unitary_of(found)),
        output_mapping_strategy="none",
    )  # fmt: skip
    result = adaptive(x).detach().numpy()
    for row, amplitudes in enumerate(of_layer(first, x)):
        expected, _ = mixture(amplitudes, measured, unitary_of)
        assert list(expected) == list(adaptive.outcomes)
        np.testing.assert_allclose(result[row], list(expected.values()), rtol=0, atol=1e-12)


def test_features_of_samples_and_of_outcomes():
    """A phase that is trained, that follows the sample, or that follows what was found."""
    first, own, given, trained = layer(1, 3, 2), phase([1.0]), phase([2.0]), phase()

    def then(found):
        return {(0,): own, (1,): (given, [0.3 * found[0] + 0.1])}.get(found, trained)

    adaptive, x = FeedForward(first, [1], then, output_mapping_strategy="none"), rows(4, 1)
    assert len(adaptive.circuits) == 2 and adaptive.input_size == 1  # none without photons
    result = adaptive(x).detach().numpy()
    for row, amplitudes in enumerate(of_layer(first, x)):
        unitaries = {
            (0,): own.unitary(x[row]),
            (1,): given.unitary(torch.tensor([0.4], dtype=torch.float64)),
        }
        expected, _ = mixture(
            amplitudes, (1,), lambda found, unitaries=unitaries: unitaries[found].detach().numpy()
        )
        np.testing.assert_allclose(result[row], list(expected.values()), rtol=0, atol=1e-12)


def test_a_bare_circuit_will_do():
    """Also one of which a layer's own input would see nothing, such as a phase on an empty mode."""
    first, x = layer(1, 3, 2), rows(4, 1)
    turned = Circuit(2).add(PhaseShifter(Data(0)), 1).add(BeamSplitter(0.7), 0)
    trained = Circuit(2).add(BeamSplitter(Trainable("mix")), 0)

    def then(found):
        return (turned, [0.9]) if found == (1,) else trained

    adaptive = FeedForward(first, [1], then, output_mapping_strategy="none")
    assert [len(list(each.parameters())) for each in adaptive.circuits] == [1, 0]
    matrices = {
        (0,): adaptive.circuits[0].unitary(x[0, :0]),
        (1,): adaptive.circuits[1].unitary(torch.tensor([0.9], dtype=torch.float64)),
    }
    c, s = np.cos(0.35), 1j * np.sin(0.35)
    expected = np.array([[c, s], [s, c]]) @ np.diag([1, np.exp(0.9j)])
    np.testing.assert_allclose(matrices[(1,)].detach(), expected, atol=1e-12)
    for row, amplitudes in enumerate(of_layer(first, x)):
        total, _ = mixture(amplitudes, (1,), lambda found: matrices[found].detach().numpy())
        result = adaptive(x)[row].detach().numpy()
        np.testing.assert_allclose(result, list(total.values()), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="a layer of the 2 modes that are left, got 3"):
        FeedForward(first, [1], lambda found: Circuit(3), 2)


def test_measurements_in_turn():
    first, middle, last = layer(2, 4, 2), layer(2, 3, 2), phase()
    inner = FeedForward(
        middle, [2], lambda found: last if found == (0,) else None, output_mapping_strategy="none"
    )
    adaptive = FeedForward(
        first, [0], lambda found: inner if found[0] < 2 else None, output_mapping_strategy="none"
    )
    x = rows(3, 2)
    result = adaptive(x).detach().numpy()
    turn = last.unitary(torch.empty(0, dtype=torch.float64)).detach().numpy()
    for row, amplitudes in enumerate(of_layer(first, x)):
        expected = dict.fromkeys(amplitudes, 0.0)
        for found in ((0,), (1,), (2,)):
            left = {state[1:]: v for state, v in amplitudes.items() if state[:1] == found}
            photons = 2 - found[0]
            if photons:
                behind = amplitudes_of(middle.unitary(x[row]).detach().numpy(), left, photons)
                inner_of, _ = mixture(behind, (2,), lambda seen: turn if seen == (0,) else None)
            else:
                inner_of = {state: abs(value) ** 2 for state, value in left.items()}
            for state, value in inner_of.items():
                expected[(*found, *state)] += value
        np.testing.assert_allclose(result[row], list(expected.values()), rtol=0, atol=1e-12)


def test_gradients():
    first, second = layer(1, 3, 2), phase([1.0])
    adaptive = FeedForward(first, [0], lambda found: second, output_mapping_strategy="none")
    x = rows(2, 1).requires_grad_()
    assert torch.autograd.gradcheck(adaptive, x)
    names = [name for name, _ in adaptive.named_parameters()]

    def of_parameters(*values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(adaptive, given, x.detach())

    values = [value.detach().requires_grad_() for value in adaptive.parameters()]
    assert torch.autograd.gradcheck(of_parameters, values)
    branches = PartialMeasurement(first, [0])

    def parts(x):
        found = branches(x)
        return found.probabilities, *(torch.view_as_real(state) for state in found.states)

    assert torch.autograd.gradcheck(parts, x)


def test_probabilities_of_branches_sum_to_the_norm_of_what_entered():
    state = torch.randn(4, 6, dtype=torch.complex128)
    found = PartialMeasurement(layer(2, 3, 2), [0])(rows(4, 2), state)
    torch.testing.assert_close(found.probabilities.sum(1), state.abs().square().sum(1))


def test_an_impossible_outcome_has_no_state_and_harmless_gradients():
    straight = layer(0, 3, 2, circuit=Circuit(3).add(PhaseShifter(Trainable()), 1),
                     input_state=(1, 1, 0))  # fmt: skip
    branches = PartialMeasurement(straight, [0])(1)
    assert branches.probabilities.tolist() == [[0, 1, 0]]
    assert not branches.states[0].any() and branches.states[1].abs().sum() == 1
    total = sum(state.abs().square().sum() for state in branches.states)
    total.backward()
    assert straight.phases.grad.isfinite().all()


def test_readouts_and_postselection_of_the_whole():
    first, second = layer(2, 4, 2), layer(0, 3, 1)
    settings = dict(output_mapping_strategy="none")
    everything = FeedForward(first, [0], lambda found: second, **settings)
    x = rows(4, 2)
    whole = everything(x)
    torch.testing.assert_close(everything.success_probability(x), whole.new_ones(4))
    means = FeedForward(
        first, [0], lambda found: second, output_mapping_strategy="mode_expectations"
    )
    states = torch.tensor(everything.outcomes.states, dtype=torch.float64)
    torch.testing.assert_close(means(x), whole @ states)
    some = FeedForward(first, [0], lambda found: second, postselect="[0]==1 & [1]<1", **settings)
    chosen = [everything.outcomes.index(state) for state in some.outcomes]
    mass = whole[:, chosen].sum(1)
    torch.testing.assert_close(some.success_probability(x), mass)
    torch.testing.assert_close(some(x), whole[:, chosen] / mass[:, None])
    linear = FeedForward(first, [0], lambda found: second, 3)
    assert linear(x.view(2, 2, 2)).shape == (2, 2, 3)
    again = copy.deepcopy(linear)
    torch.testing.assert_close(again(x), linear(x))
    assert len(linear.state_dict()) == len(set(linear.state_dict())) == 4
    assert linear(x[:0]).shape == (0, 3)
    state = torch.randn(4, 10, dtype=torch.complex128)
    norms = state.abs().square().sum(1)
    torch.testing.assert_close(everything(x, state).sum(1), norms)
    torch.testing.assert_close(some(x, state).sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(some(x, 2 * state), some(x, state))


def test_what_is_too_rare_for_float32_is_mixed_in_float64():
    """Meshes that keep nearly all light in its mode, whatever the features and the branch."""
    first = layer(2, 3, 2, input_state=(2, 0, 0)).float()
    with torch.no_grad():
        first.phases[..., 0] = torch.pi  # in float32, 9e-8 beyond
    rare = FeedForward(
        first, [0], lambda found: layer(2, 2, 1).float(), output_mapping_strategy="none",
        postselect="[0]==1",
    )  # fmt: skip
    exact = copy.deepcopy(rare).double()
    x = rows(5, 2).float().requires_grad_()
    y = x.detach().double().requires_grad_()
    kept = rare.success_probability(x)
    assert 0 < kept.min() and kept.max() < 1e-11
    torch.testing.assert_close(kept, exact.success_probability(y).float())
    got, expected = rare(x), exact(y)
    torch.testing.assert_close(got, expected.float())
    for each in (got, expected):
        each[:, 0].square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad.float(), rtol=1e-4, atol=1e-6)
    for own, other in zip(rare.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad.float(), rtol=1e-4, atol=1e-6)


def test_without_data_and_with_data_behind_only():
    first, second = layer(0, 3, 2), phase([1.0])
    assert FeedForward(first, [0], lambda found: phase(), output_mapping_strategy="none")(
        5
    ).shape == (5, 6)
    late = FeedForward(first, [0], lambda found: second, output_mapping_strategy="none")
    x = rows(4, 1)
    (amplitudes,) = of_layer(first, 1)
    for row, found in enumerate(late(x).detach().numpy()):
        unitary = second.unitary(x[row]).detach().numpy()
        expected, _ = mixture(amplitudes, (0,), lambda seen, unitary=unitary: unitary)
        np.testing.assert_allclose(found, list(expected.values()), atol=1e-12)
    with pytest.raises(ValueError, match="state must be None where only later"):
        late(x, torch.ones(6, dtype=torch.complex128))


def test_equals_perceval():
    """Its own feed-forward, with a circuit for each outcome."""
    perceval = pytest.importorskip("perceval")
    generator = np.random.default_rng(5)
    start = haar(4, generator)
    behind = {found: haar(2, generator) for found in [(1, 0), (0, 1), (1, 1), (0, 0), (2, 0)]}
    experiment = Experiment(
        circuit=Circuit(4).add(FixedUnitary(start), range(4)), input_state=(1, 1, 1, 0)
    )
    first = QuantumLayer(
        0, experiment=experiment, output_mapping_strategy="none", dtype=torch.float64
    )
    circuits = {found: fixed(unitary) for found, unitary in behind.items()}
    ours = FeedForward(first, [0, 1], circuits.get, output_mapping_strategy="none")(1)[0]

    def unitary(matrix):
        return perceval.Unitary(perceval.Matrix(matrix))

    provider = perceval.FFCircuitProvider(2, 0, perceval.Circuit(2))
    for found, matrix in behind.items():
        provider.add_configuration(list(found), unitary(matrix))
    processor = perceval.Processor("SLOS", 4)
    processor.add(0, unitary(start))
    for mode in (0, 1):
        processor.add(mode, perceval.Detector.pnr())
    processor.add(0, provider)
    processor.with_input(perceval.BasicState([1, 1, 1, 0]))
    processor.min_detected_photons_filter(3)
    theirs = processor.probs()["results"]
    for state, probability in zip(FockSpace(4, 3), ours.tolist(), strict=True):
        assert theirs[perceval.BasicState(list(state))] == pytest.approx(probability, abs=1e-10)


def adaptive_with_data():
    first, second = layer(2, 4, 2), layer(2, 3, 1)
    return first, FeedForward(first, [0], lambda found: second if found[0] else None, 3)


@pytest.mark.slow
def test_graphs():
    first, adaptive = adaptive_with_data()
    x, measured = rows(4, 2), PartialMeasurement(first, [0])
    graph = torch.compile(adaptive, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(graph(x), adaptive(x))
    parts = torch.compile(lambda x: measured(x).probabilities, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(parts(x), measured(x).probabilities)
    exported = torch.export.export(adaptive, (x,)).module()
    torch.testing.assert_close(exported(x), adaptive(x))


def test_transforms_precisions_and_the_meta_device():
    _, adaptive = adaptive_with_data()
    x = rows(4, 2)
    expected = adaptive(x)
    torch.testing.assert_close(torch.func.vmap(adaptive)(x), expected)
    slope = torch.autograd.functional.jacobian(adaptive, x[0])
    torch.testing.assert_close(torch.func.jacrev(adaptive)(x[0]), slope)
    torch.testing.assert_close(torch.func.jacfwd(adaptive)(x[0]), slope)
    single = copy.deepcopy(adaptive).float()
    torch.testing.assert_close(single(x.float()).double(), expected, rtol=0, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert single(x.float()).dtype == torch.float32
    assert single.to("meta")(x.float().to("meta")).shape == (4, 3)


def test_features_of_outcomes_are_not_rounded_to_the_precision_of_samples():
    first, behind = layer(2, 3, 2).float(), phase(features=0).float()
    adaptive = FeedForward(
        first, [0], lambda found: (behind, [100.3]), output_mapping_strategy="none"
    )
    x = torch.rand(4, 2).bfloat16()
    assert torch.equal(adaptive(x), adaptive(x.float()).bfloat16())


# --- refusals -------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_by_name(monkeypatch):
    first = layer(2, 4, 2)
    for modes, error, message in [
        ([], ValueError, "modes must be at least one of 0 to 3 and not all, each once, got"),
        ([0, 1, 2, 3], ValueError, "not all"),
        ([1, 1], ValueError, "each once"),
        ([4], ValueError, "0 to 3"),
        ([0.5], TypeError, r"modes\[0\] must be an integer"),
        ("01", TypeError, "modes must"),
    ]:
        with pytest.raises(error, match=message):
            PartialMeasurement(first, modes)
    selected = layer(2, 4, 2, postselect="[0]==1")
    with pytest.raises(ValueError, match="must have computation_space='fock' and no postselect"):
        PartialMeasurement(selected, [0])
    classical = DistinguishableLayer.from_layer(first)
    with pytest.raises(TypeError, match="layer must be a QuantumLayer, whose states"):
        PartialMeasurement(classical, [0])

    def make(returned, **others):
        return FeedForward(
            first, [0], lambda found: returned, **{"output_mapping_strategy": "none"} | others
        )

    with pytest.raises(ValueError, match="a layer of the 3 modes that are left, got 2"):
        make(phase())
    with pytest.raises(TypeError, match=r"what then returns for \(0,\) must be a QuantumLayer"):
        make("nothing")
    with pytest.raises(ValueError, match="output_mapping_strategy='none', since its readout"):
        make(QuantumLayer(0, 2, n_modes=3, n_photons=1, dtype=torch.float64))
    with pytest.raises(ValueError, match="layers must take the same features or none"):
        make(layer(1, 3, 1))
    with pytest.raises(ValueError, match=r"return input_size=1 features for its layer, got 2 for"):
        make((layer(1, 3, 1), [0.1, 0.2]))
    with pytest.raises(ValueError, match=r"layers of torch.float64, as the first one"):
        make(layer(2, 3, 1).float())
    with pytest.raises(ValueError, match="output_size must be given"):
        make(None, output_mapping_strategy="linear")
    with pytest.raises(ValueError, match="output_size must be 2 to 10, got 1"):
        make(None, output_mapping_strategy="modgrouping", output_size=1)
    small = make(None)
    monkeypatch.setattr("hybridlit.photonics.feed_forward._LARGE", 1)
    monkeypatch.setattr(
        "hybridlit.photonics.feed_forward.available_memory", lambda: 12 * 16 * 10 * 7
    )
    with pytest.raises(
        MemoryError, match=r"a batch of 8 needs about .* what would fit: a batch of 7"
    ):
        small(rows(8, 2))
    small(rows(7, 2))
