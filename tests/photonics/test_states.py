"""States in and out: superpositions, amplitudes as input, amplitudes of outcomes."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from permanents import all_amplitudes, all_states, amplitude

from hybridlit.photonics import (
    Circuit,
    DistinguishableLayer,
    Experiment,
    FockSpace,
    Interferometer,
    QuantumLayer,
    QuantumLayerStack,
    evolution,
    state_sizes,
    use_kernel,
)
from hybridlit.photonics.cost import estimate
from hybridlit.photonics.superposition import Superposition

TERMS = {(1, 0, 1, 0): 1, (0, 1, 0, 1): 1j, (2, 0, 0, 0): -0.5}


def layer(features=3, kind="series", dtype=torch.float64, mapping="none", **options):
    options = {"n_modes": 4, "n_photons": 2, **options}
    if options.get("input_state") is not None:
        del options["n_photons"]
    experiment = Experiment(kind, **options)
    return QuantumLayer(
        features, experiment=experiment, output_mapping_strategy=mapping, dtype=dtype
    )


def fock_matrix(unitary, modes, photons, rows_unbunched=False, columns_unbunched=False):
    into, out = (all_states(modes, photons, u) for u in (columns_unbunched, rows_unbunched))
    unitary = unitary.detach().numpy()
    return np.array([[amplitude(unitary, s, t) for s in into] for t in out])


def conditional(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def random_states(*shape, dtype=torch.complex128):
    return torch.randn(*shape, dtype=dtype)


@pytest.fixture(params=["term by term", "column by column", "in parts"])
def way(request, monkeypatch):
    """Each way through a circuit, whatever would be cheaper."""
    if request.param == "in parts":
        monkeypatch.setattr(evolution, "MOST_NUMBERS", 64)
    monkeypatch.setattr(evolution, "few_terms", lambda *sizes: request.param == "term by term")


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("kind", ["series", "parallel"])
def test_amplitudes_of_an_occupation_are_permanents(kind, space):
    one = layer(kind=kind, computation_space=space)
    x = torch.rand(3, 3, dtype=torch.float64)
    found, unitaries = one.amplitudes(x), one.unitary(x).detach().numpy()
    unbunched = space == "unbunched"
    expected = np.stack([all_amplitudes(u, one.input_state, unbunched) for u in unitaries])
    if unbunched:
        share = (np.abs(expected) ** 2).sum(1)
        torch.testing.assert_close(one.success_probability(x), torch.tensor(share))
        expected = conditional(expected)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-13, rtol=0)
    torch.testing.assert_close(found.abs().square(), one.probabilities(x), atol=1e-13, rtol=0)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
@pytest.mark.parametrize("kind", ["series", "parallel_columns"])
def test_states_pass_by_the_fock_matrix(kind, space, way):
    one = layer(kind=kind, computation_space=space)
    unbunched = space == "unbunched"
    assert one.input_space == FockSpace(4, 2, space)
    x = torch.rand(3, 3, dtype=torch.float64)
    for columns_unbunched in {False, unbunched}:
        state = random_states(3, 6 if columns_unbunched else 10)
        raw = np.stack(
            [
                fock_matrix(u, 4, 2, unbunched, columns_unbunched) @ psi.numpy()
                for u, psi in zip(one.unitary(x), state, strict=True)
            ]
        )
        expected = conditional(raw) if unbunched else raw
        found = one.amplitudes(x, state)
        torch.testing.assert_close(found, torch.tensor(expected), atol=1e-13, rtol=0)
        share = one.success_probability(x, state)
        mass = (np.abs(raw) ** 2).sum(1) / state.norm(dim=1).square().numpy()
        torch.testing.assert_close(share, torch.tensor(mass if unbunched else np.ones(3)))
        torch.testing.assert_close(one(x, state=state), found.abs().square())


def test_a_superposition_is_the_sum_of_its_terms(way):
    one = layer(input_state=TERMS)
    x = torch.rand(3, 3, dtype=torch.float64)
    unitaries = one.unitary(x).detach().numpy()
    terms = [[c * all_amplitudes(u, s) for s, c in TERMS.items()] for u in unitaries]
    expected = np.array([sum(each) for each in terms]) / 1.5
    torch.testing.assert_close(one.amplitudes(x), torch.tensor(expected), atol=1e-13, rtol=0)
    torch.testing.assert_close(one(x).sum(1), torch.ones(3, dtype=torch.float64))
    state = torch.zeros(10, dtype=torch.complex128)
    for occupation, value in TERMS.items():
        state[one.fock_space.index(occupation)] = value / 1.5
    torch.testing.assert_close(one.probabilities(x, state), one(x))


def test_rows_of_either_may_be_one_for_all(way):
    one = layer()
    x, state = torch.rand(5, 3, dtype=torch.float64), random_states(5, 10)
    torch.testing.assert_close(
        one.amplitudes(x, state[0]), one.amplitudes(x, state[:1].expand(5, -1))
    )
    torch.testing.assert_close(
        one.amplitudes(x[0], state), one.amplitudes(x[:1].expand(5, -1), state)
    )
    grid = one.amplitudes(x.view(5, 1, 3), state.view(5, 1, 10))
    torch.testing.assert_close(grid.view(5, 10), one.amplitudes(x, state))
    assert one.amplitudes(x[0], state[0]).shape == (10,)
    assert one.amplitudes(x[:0], state[:0]).shape == (0, 10)
    assert one.amplitudes(x[:0], state[0]).shape == (0, 10)


def test_norms_are_kept_and_products_are_products(way):
    first, second, both = (
        Circuit(5).add(Interferometer()),
        Circuit(5).add(Interferometer()),
        Circuit(5).add(Interferometer()).add(Interferometer()),
    )
    make = lambda circuit: QuantumLayer(  # noqa: E731
        0,
        experiment=Experiment(circuit=circuit, n_photons=3),
        output_mapping_strategy="none",
        dtype=torch.float64,
    )
    one, two, whole = map(make, (first, second, both))
    with torch.no_grad():
        whole.phases.copy_(torch.cat([one.phases, two.phases]))
    state = random_states(7, 35)
    behind = one.amplitudes(state=state)
    assert (behind.norm(dim=1) - state.norm(dim=1)).abs().max() < 1e-12
    difference = two.amplitudes(state=behind) - whole.amplitudes(state=state)
    assert difference.abs().max() < 1e-12
    matrix = one.amplitudes(state=torch.eye(35, dtype=torch.complex128))
    assert (matrix @ matrix.mH - torch.eye(35)).abs().max() < 1e-12


@pytest.mark.parametrize(
    "check",
    [
        torch.autograd.gradcheck,
        pytest.param(torch.autograd.gradgradcheck, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_gradients_in_state_phases_and_data(space, check, way):
    one = layer(computation_space=space, n_modes=3, features=2)
    x = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    state = random_states(2, one.input_space.size).requires_grad_()

    def outputs(x, state, phases):
        given = {"phases": phases}
        return torch.func.functional_call(one, given, (x,), {"state": state})

    phases = one.phases.detach().clone().requires_grad_()
    assert check(outputs, (x, state, phases))


@pytest.mark.parametrize("mapping", ["mode_expectations", "pair_correlations"])
def test_expectations_of_states_are_averages_over_outcomes(mapping):
    one = layer(mapping=mapping, n_modes=3, n_photons=2, features=2)
    x, state = torch.rand(4, 2, dtype=torch.float64), random_states(4, 6)
    found = one(x, state=state)
    states, probabilities = one.fock_space.states.astype(float), one.probabilities(x, state)
    if mapping == "mode_expectations":
        table = states
    else:
        pairs = [(i, j) for i in range(3) for j in range(i, 3)]
        table = np.stack([states[:, i] * (states[:, j] - (i == j)) for i, j in pairs], 1)
    torch.testing.assert_close(found, probabilities @ torch.tensor(table))
    basis = torch.zeros(6, dtype=torch.complex128)
    basis[one.fock_space.index(one.input_state)] = 1
    torch.testing.assert_close(one(x, state=basis), one(x))


def test_means_that_no_circuit_changes_are_refused():
    mixed = {(1, 0): 1.0, (0, 1): 1.0}
    layer(1, n_modes=2, input_state=mixed, mapping="mode_expectations")  # which interferes
    even = {(2, 0): 1.0, (0, 2): 1.0}  # for which it takes both photons to see anything
    with pytest.raises(ValueError, match="differs from mode to mode"):
        layer(1, n_modes=2, input_state=even, mapping="mode_expectations")


def test_stacks_share_a_state_or_have_their_own(way):
    torch.manual_seed(0)
    layers = [layer() for _ in range(3)]
    stack = QuantumLayerStack.from_layers(layers)
    x, state = torch.rand(4, 3, dtype=torch.float64), random_states(4, 10)
    shared = torch.stack([one(x, state=state) for one in layers], 1)
    torch.testing.assert_close(stack(x, state=state), shared)
    own = random_states(4, 3, 10)
    expected = torch.stack([one(x, state=own[:, k]) for k, one in enumerate(layers)], 1)
    torch.testing.assert_close(stack(x, state=own), expected)
    each = torch.rand(4, 3, 3, dtype=torch.float64)
    expected = torch.stack([one(each[:, k], state=own[:, k]) for k, one in enumerate(layers)], 1)
    torch.testing.assert_close(stack(each, each=True, state=own), expected)


def test_rare_outcomes_of_states_are_computed_in_float64():
    one = layer(dtype=torch.float32, computation_space="unbunched")
    exact = copy.deepcopy(one).double()
    whole = layer()
    whole.load_state_dict(dict(exact.state_dict()))
    x = torch.zeros(1, 3)  # whose phases are the same in both precisions
    matrix = whole.amplitudes(x[0].double(), torch.eye(10, dtype=torch.complex128))
    behind = torch.zeros(10, dtype=torch.complex128)
    behind[0], behind[1] = 1, 1e-5  # (2, 0, 0, 0) and (1, 1, 0, 0)
    before = (behind @ matrix.mH).to(torch.complex64)
    share = one.success_probability(x, before)
    torch.testing.assert_close(share, torch.tensor([1e-10]), rtol=0.2, atol=0)
    found = one.amplitudes(x, before)
    assert found.dtype == torch.complex64
    expected = exact.amplitudes(x.double(), before).to(torch.complex64)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    behind[1] = 0
    with pytest.raises(ValueError, match="probability of at most"):
        exact.amplitudes(x.double(), behind @ matrix.mH)
    with pytest.raises(ValueError, match=r"got 0 in row\(s\) \[1\]"):
        one(x.expand(2, -1), state=torch.stack([before, 0 * before]))


def test_the_order_of_many_photons_in_a_mode_keeps_float32(way):
    one = layer(1, n_modes=2, n_photons=40, dtype=torch.float32)
    double = copy.deepcopy(one).double()
    x = torch.rand(2, 1)
    state = random_states(2, 41, dtype=torch.complex64)
    state = state / state.norm(dim=1, keepdim=True)
    found, exact = one(x, state=state), double(x.double(), state=state)
    assert (found - exact).abs().max() < 1e-5


@pytest.mark.slow
def test_transforms_graphs_and_other_kernels_agree():
    one = layer(dtype=torch.float32)
    x, state = torch.rand(4, 3), random_states(4, 10, dtype=torch.complex64)
    expected = one(x, state=state)
    mapped = torch.func.vmap(lambda row, psi: one(row, state=psi))(x, state)
    torch.testing.assert_close(mapped, expected)

    def of_parts(row, real, imaginary):
        return one(row, state=torch.complex(real, imaginary))

    rows = x, state.real, state.imag
    jacobian, forward = (
        torch.func.vmap(jacobian(of_parts, (0, 1, 2)))(*rows)
        for jacobian in (torch.func.jacrev, torch.func.jacfwd)
    )
    torch.testing.assert_close(forward, jacobian, atol=1e-5, rtol=1e-4)
    with use_kernel("torch"):
        torch.testing.assert_close(one(x, state=state), expected)
    compiled = torch.compile(one, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, state=state), expected)
    shape = {"x": {0: torch.export.Dim("batch")}, "state": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(one, (x, state), dynamic_shapes=shape).module()
    torch.testing.assert_close(exported(x[:3], state[:3]), expected[:3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(one(x, state=state), expected)
    meta = copy.deepcopy(one).to("meta")
    assert meta.amplitudes(x.to("meta"), state.to("meta")).shape == (4, 10)
    assert meta.amplitudes(x.to("meta"), state.to("meta")).dtype == torch.complex64


def test_superpositions_are_plain_data():
    experiment = Experiment("series", 4, input_state=TERMS)
    assert experiment.n_photons == 2
    assert experiment.input_state.states == ((2, 0, 0, 0), (1, 0, 1, 0), (0, 1, 0, 1))
    np.testing.assert_allclose(experiment.input_state.amplitudes, np.array([-0.5, 1, 1j]) / 1.5)
    plain = experiment.input_state.plain()
    assert plain[0] == {"state": [2, 0, 0, 0], "amplitude": [-1 / 3, 0.0]}
    again = Experiment("series", 4, input_state=plain)
    assert again == experiment
    assert hash(again) == hash(experiment)
    assert copy.deepcopy(again) == experiment
    turned = {state: 1j * value for state, value in TERMS.items()}
    assert Experiment("series", 4, input_state=turned) != experiment
    assert Experiment("series", 4, input_state={(1, 0, 1, 0): 7}).input_state == (1, 0, 1, 0)
    number = Experiment("series", 4, input_state=[{"state": [1, 0, 1, 0], "amplitude": 2.5}])
    assert number.input_state == (1, 0, 1, 0)


def test_normalising_again_changes_no_bit():
    generator = np.random.default_rng(0)
    for size in (2, 5, 56):
        for scale in (1.0, 1e-200, 1e200):
            values = generator.normal(size=size) + 1j * generator.normal(size=size)
            states = all_states(6, 3)[:size]
            once = Superposition.of(dict(zip(states, scale * values, strict=True)))
            assert Superposition.of(once.plain()) == once
            assert abs(np.linalg.norm(once.amplitudes) - 1) < 1e-15


def test_states_of_perceval_are_taken():
    pcvl = pytest.importorskip("perceval")
    state = pcvl.StateVector([1, 0, 1, 0]) + 1j * pcvl.StateVector([0, 1, 0, 1])
    expected = Experiment("series", 4, input_state={(1, 0, 1, 0): 1, (0, 1, 0, 1): 1j})
    found = Experiment("series", 4, input_state=state)
    assert found.input_state.states == expected.input_state.states
    np.testing.assert_allclose(found.input_state.amplitudes, expected.input_state.amplitudes)
    occupation = Experiment("series", 4, input_state=pcvl.BasicState([1, 0, 1, 0]))
    assert occupation.input_state == (1, 0, 1, 0)
    with pytest.raises(ValueError, match="without annotations"):
        Experiment("series", 2, input_state=pcvl.StateVector("|{_:0},{_:1}>"))


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ({}, ValueError, "must be some"),
        ({(1, 0): 0}, ValueError, "not all 0"),
        ({(1, 0): float("nan")}, ValueError, "finite"),
        ({(1, 0): 1, (0, 1): float("nan")}, ValueError, "finite"),
        ({(1, 0): 1, (0, 1): complex(0, float("inf"))}, ValueError, "finite"),
        ({(1, 0): 1, (2, 0): 1}, ValueError, "one number of modes and of photons"),
        ({(1, 0): 1, (0, 1, 0): 1}, ValueError, "one number of modes and of photons"),
        ({(1, 0): "1"}, TypeError, "must be a number"),
        ({(1, 0): True}, TypeError, "must be a number"),
        ({"10": 1}, TypeError, "sequence of ints"),
        ({(1, -1): 1}, ValueError, "each entry of input_state"),
        ({(0, 0): 1}, ValueError, "n_photons"),
        ({(1, 0, 0): 1, (0, 0, 1): 1}, ValueError, "in n_modes=2"),
        ([{"state": [1, 0]}], TypeError, "state and amplitude"),
        ([{"state": [1, 0], "amplitude": [1, 2, 3]}], TypeError, "real and imaginary"),
        ([{"state": [1, 0], "amplitude": 1}] * 2, ValueError, "twice"),
        ([{"state": [1, 0], "amplitude": 1}, 3], TypeError, "state and amplitude"),
    ],
)
def test_what_is_no_superposition_is_refused(state, error, words):
    with pytest.raises(error, match=words):
        Experiment("series", 2, input_state=state)


@pytest.mark.parametrize("text", ["|{a:0},{a:1}>", "|{P:H},1>", "|{0},{1}>"])
def test_photons_of_perceval_that_can_be_told_apart_are_refused(text):
    pcvl = pytest.importorskip("perceval")
    assert Experiment("series", 2, input_state=pcvl.BasicState("|1,1>")).input_state == (1, 1)
    for state in (pcvl.BasicState(text), {pcvl.BasicState(text): 1.0}):
        with pytest.raises(ValueError, match="input_state must be of indistinguishable photons"):
            Experiment("series", 2, input_state=state)


def test_what_is_no_state_is_refused():
    one = layer(dtype=torch.float32)
    x = torch.rand(2, 3)
    for state, error, words in [
        (torch.ones(2, 9), ValueError, r"shape \(\.\.\., 10\)"),
        (torch.ones(3, 10), ValueError, "a row for each row of x"),
        (torch.ones(2, 10, dtype=torch.int64), TypeError, "complex or real floating"),
        ([1.0] * 10, TypeError, "complex or real floating"),
        (torch.ones(2, 10, dtype=torch.complex128), TypeError, "float32 layer"),
        (torch.full((2, 10), torch.nan), ValueError, r"finite, got NaN or infinity in row\(s\)"),
    ]:
        with pytest.raises(error, match=words):
            one(x, state=state)
    with pytest.raises(TypeError, match="x must be"):
        one(state=torch.ones(2, 10))
    with pytest.raises(NotImplementedError, match="QuantumLayer"):
        DistinguishableLayer.from_layer(one)(x, state=torch.ones(2, 10))
    with pytest.raises(ValueError, match="input_state must be photons in each mode"):
        DistinguishableLayer.from_layer(layer(input_state=TERMS))
    with pytest.raises(ValueError, match="superposition of 3 occupations"):
        _ = Experiment("series", 4, input_state=TERMS).occupation


def test_a_state_dict_knows_its_superposition():
    one, other = layer(input_state=TERMS), layer(input_state={**TERMS, (2, 0, 0, 0): 0.5})
    one.load_state_dict(layer(input_state=TERMS).state_dict())
    with pytest.raises(ValueError, match="input_state=3 terms"):
        one.load_state_dict(other.state_dict())
    assert "input_state={(2, 0, 0, 0)" in repr(one)


def test_unbunched_states_are_kept_by_how_many_photons_they_show():
    """All of two photons: what is kept without a number as well."""
    given = dict(input_state={(1, 1, 0, 0): 1, (0, 0, 1, 1): 1j}, computation_space="unbunched")
    one, other = (
        QuantumLayer(
            2, n_modes=4, output_mapping_strategy="none", dtype=torch.float64, **given, **kept
        )
        for kept in ({}, {"min_detected_photons": 2})
    )
    other.load_state_dict(dict(one.state_dict()), strict=False)
    x = torch.rand(5, 2, dtype=torch.float64)
    assert list(one.outcomes) == list(map(tuple, other.outcomes.states.tolist()))
    torch.testing.assert_close(other(x), one(x))
    torch.testing.assert_close(other.success_probability(x), one.success_probability(x))


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch):
    one = layer(dtype=torch.float32, n_modes=10, n_photons=5, features=9)
    state = torch.zeros(2002, dtype=torch.complex64)
    monkeypatch.setattr(state_sizes, "available_memory", lambda: 2**30)
    x = torch.zeros(2**16, 9)
    with pytest.raises(MemoryError, match=r"2,002 states: a batch of 65536 .* a batch of 4096"):
        one(x, state=state)
    superposed = Experiment("series", 10, input_state={state: 1 for state in one.fock_space[:8]})
    assert 150 * 2**20 < estimate(superposed, 9, 512, calibrate=False).peak_bytes < 300 * 2**20


MEASURE = """
import ctypes
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, which count where a few bytes are used
import torch
from pathlib import Path
from hybridlit.photonics import Experiment, QuantumLayer

def step(modes, photons, batch, terms):
    inputs = Experiment("series", modes, photons).fock_space[:terms]
    experiment = Experiment("series", modes, input_state=dict.fromkeys(inputs, 1.0))
    layer = QuantumLayer(modes - 1, experiment=experiment, output_mapping_strategy="none")
    probabilities = layer(torch.rand(batch, modes - 1))
    probabilities.backward(torch.ones_like(probabilities))

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))

step(4, 2, 8, 2), step(4, 2, 8, 10)
ctypes.CDLL(None).malloc_trim(0)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
step({modes}, {photons}, {batch}, {terms})
print(resident("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("modes", "photons", "batch", "terms"),
    [(10, 5, 512, 2), (10, 5, 512, 8), (10, 5, 64, 2002), (10, 5, 1024, 2002), (12, 5, 64, 4368)],
)
def test_memory_is_what_a_step_takes(modes, photons, batch, terms):
    small = MEASURE.format(modes=4, photons=2, batch=8, terms=2)  # compiles what is not yet
    subprocess.run([sys.executable, "-c", small], check=True, capture_output=True)
    code = MEASURE.format(modes=modes, photons=photons, batch=batch, terms=terms)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    space, sizes = FockSpace(modes, photons), {"terms": terms, "columns": 1}
    said = state_sizes.state_bytes(space, batch, torch.float32, **sizes)
    assert 0.9 < said / int(run.stdout) < 1.8  # where little is taken, 1.6 to 1.71 were seen


def test_one_state_serves_all_rows_whatever_leads_it():
    layer = QuantumLayer(3, n_modes=4, n_photons=2, dtype=torch.float64)
    x = torch.rand(5, 3, dtype=torch.float64)
    psi = torch.randn(layer.input_space.size, dtype=torch.complex128)
    for state in (psi, psi[None], psi[None, None]):
        each = layer(x, state=psi.expand(5, -1))
        torch.testing.assert_close(layer(x, state=state), each, rtol=0, atol=1e-12)
