import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from permanents import all_amplitudes, all_states, fourier, haar

from hybridlit.photonics import FockSpace, amplitudes, use_kernel
from hybridlit.photonics.amplitudes import occupied_modes
from hybridlit.photonics.kernels import reference

SPLITTER = torch.tensor([[1, 1j], [1j, 1]], dtype=torch.complex128) / math.sqrt(2)


def probabilities(unitary, state, space="fock"):
    return amplitudes(torch.as_tensor(unitary), state, space=space).abs().square()


def table(unitary, state):
    values = probabilities(unitary, state)
    return dict(zip(FockSpace(len(state), sum(state)), values.tolist(), strict=True))


@pytest.mark.parametrize(
    "state",
    [(1, 0), (1, 1), (3, 1), (1, 0, 1), (2, 0, 2), (0, 3, 0), (1, 1, 1, 1), (0, 2, 0, 1, 1)],
)
@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_amplitudes_are_permanents(state, space, generator):
    if space == "unbunched" and sum(state) > len(state):
        pytest.skip("more photons than modes")
    unitary = haar(len(state), generator, count=3)
    expected = np.stack([all_amplitudes(u, state, space == "unbunched") for u in unitary])
    got = amplitudes(torch.tensor(unitary), state, space=space)
    np.testing.assert_allclose(got, expected, atol=1e-14)


def test_a_transfer_matrix_need_not_be_unitary(generator):
    matrix = generator.normal(size=(3, 3)) + 1j * generator.normal(size=(3, 3))
    np.testing.assert_allclose(
        amplitudes(torch.tensor(matrix), (1, 2, 0)), all_amplitudes(matrix, (1, 2, 0)), atol=1e-12
    )


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.7, math.pi / 2, 2.0])
def test_hong_ou_mandel(angle):
    c, s = math.cos(angle / 2), math.sin(angle / 2)
    splitter = torch.tensor([[c, 1j * s], [1j * s, c]], dtype=torch.complex128)
    bunched = math.sin(angle) ** 2 / 2
    expected = torch.tensor([bunched, math.cos(angle) ** 2, bunched], dtype=torch.float64)
    torch.testing.assert_close(probabilities(splitter, (1, 1)), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("photons", range(1, 7))
def test_one_full_port_of_a_splitter_is_binomial(photons):
    expected = [math.comb(photons, k) / 2**photons for k in range(photons + 1)]
    np.testing.assert_allclose(probabilities(SPLITTER, (photons, 0)), expected, atol=1e-14)


@pytest.mark.parametrize("photons", [1, 2, 3, 15])
def test_twin_fock_states_leave_in_even_numbers(photons):
    """Holland and Burnett 1993."""
    got = probabilities(SPLITTER, (photons, photons)).numpy()
    n = photons
    even = [math.comb(2 * k, k) * math.comb(2 * n - 2 * k, n - k) / 4**n for k in range(n + 1)]
    np.testing.assert_allclose(got[::2], even, atol=1e-14)
    np.testing.assert_allclose(got[1::2], 0, atol=1e-14)


@pytest.mark.parametrize("space", ["fock", "unbunched"])
def test_no_photon_leaves_no_photon(space):
    """The permanent of an empty matrix is 1, whatever the unitary."""
    unitary = torch.randn(2, 3, 4, 4, dtype=torch.complex64, requires_grad=True)
    vacuum = amplitudes(unitary, (0, 0, 0, 0), space=space)
    assert torch.equal(vacuum, torch.ones(2, 3, 1, dtype=torch.complex64))
    vacuum.real.sum().backward()
    assert torch.equal(unitary.grad, torch.zeros_like(unitary))


@pytest.mark.parametrize(
    "state", [(30, 30), (12, 12), (17, 16), (75, 75), (50, 10), (3, 97), (1, 1, 40)]
)
@pytest.mark.parametrize("dtype,per_photon", [(torch.complex64, 1e-7), (torch.complex128, 1e-15)])
def test_many_photons_in_few_modes_lose_no_digits(state, dtype, per_photon, generator):
    """Mode after mode, 30 photons in each of two modes lost all of float32."""
    modes, photons = len(state), sum(state)
    unitary = haar(modes, generator, count=8)
    unitary[0], unitary[1] = fourier(modes), np.eye(modes)
    got = amplitudes(torch.tensor(unitary, dtype=dtype), state)
    norm = got.abs().square().sum(-1).double()
    torch.testing.assert_close(norm, torch.ones_like(norm), rtol=0, atol=2 * photons * per_photon)
    exact = amplitudes(torch.tensor(unitary), state)
    error = (got.to(exact.dtype) - exact).abs().square().sum(-1).sqrt()
    assert error.max() < photons * per_photon


def test_many_photons_are_exact_permanents():
    """Against the closed form in integers, which shares no step with the recursion."""
    theta, state = 0.7, (20, 14)
    c, s = math.cos(theta), math.sin(theta)
    rotation = torch.tensor([[c, -s], [s, c]], dtype=torch.complex128)
    n, first, second = sum(state), *state
    exact = []
    for out in range(n, -1, -1):  # (c x + s y)^first (-s x + c y)^second at x^out
        terms = [
            Fraction(math.comb(first, k) * math.comb(second, out - k))
            * Fraction(c) ** (k + second - out + k)
            * Fraction(s) ** (first - k + out - k)
            * (-1) ** (out - k)
            for k in range(max(0, out - second), min(first, out) + 1)
        ]
        scale = math.comb(n, first) / math.comb(n, out)
        exact.append(float(sum(terms)) * math.sqrt(scale))
    got = amplitudes(rotation, state)
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-14)
    np.testing.assert_allclose(amplitudes(rotation.to(torch.complex64), state), exact, atol=5e-6)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_gradients_with_many_photons_lose_no_digits(kernel, generator):
    weights = torch.tensor(generator.normal(size=31))
    unitary = torch.tensor(haar(2, generator, count=4))
    grads = []
    for dtype in (torch.complex64, torch.complex128):
        leaf = unitary.to(dtype).requires_grad_()
        with use_kernel(kernel):
            probabilities = amplitudes(leaf, (15, 15)).abs().square()
            (probabilities * weights).sum().backward()
        grads.append(leaf.grad.to(torch.complex128))
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-5 * grads[1].abs().max())


def test_three_hundred_photons_do_not_overflow():
    got = probabilities(SPLITTER, (300, 0))
    expected = [math.exp(_log_binomial(300, k) - 300 * math.log(2)) for k in range(301)]
    np.testing.assert_allclose(got, expected, atol=1e-12)
    torch.testing.assert_close(got.sum(), torch.tensor(1.0, dtype=torch.float64))


def _log_binomial(n, k):
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def test_tritter():
    got = table(fourier(3), (1, 1, 1))
    assert got[1, 1, 1] == pytest.approx(1 / 3, abs=1e-14)
    for bunched in [(3, 0, 0), (0, 3, 0), (0, 0, 3)]:
        assert got[bunched] == pytest.approx(2 / 9, abs=1e-14)
    assert sum(got.values()) == pytest.approx(1)


@pytest.mark.parametrize("state", [(1, 1), (1, 1, 1), (1, 1, 1, 1), (1, 0, 1, 0, 1, 0)])
def test_fourier_suppression_law(state):
    """Lim and Beige 2005, Tichy et al. 2010: sum of output modes not divisible by n -> 0."""
    modes, photons = len(state), sum(state)
    for output, probability in table(fourier(modes), state).items():
        if sum(occupied_modes(output)) % photons:
            assert probability < 1e-28


def test_fourier_values():
    four, six = table(fourier(4), (1, 1, 1, 1)), table(fourier(6), (1, 0, 1, 0, 1, 0))
    assert four[4, 0, 0, 0] == pytest.approx(3 / 32)
    assert four[2, 0, 2, 0] == pytest.approx(1 / 16)
    assert four[2, 1, 0, 1] == pytest.approx(1 / 8)
    assert sum(p < 1e-28 for p in four.values()) == 25
    assert six[3, 0, 0, 0, 0, 0] == pytest.approx(1 / 36)
    assert six[1, 1, 1, 0, 0, 0] == pytest.approx(1 / 24)
    assert sum(p < 1e-28 for p in six.values()) == 36


def test_a_single_photon_follows_the_unitary(generator):
    unitary = haar(5, generator)
    np.testing.assert_allclose(
        probabilities(unitary, (0, 0, 1, 0, 0)), np.abs(unitary[:, 2]) ** 2, atol=1e-15
    )


@pytest.mark.parametrize("photons", [2, 3, 4])
def test_bunching_is_enhanced_by_n_factorial(photons, generator):
    """All photons in one mode: n! times the probability of distinguishable photons."""
    unitary = haar(photons, generator)
    got = table(unitary, (1,) * photons)[(photons,) + (0,) * (photons - 1)]
    distinguishable = np.prod(np.abs(unitary[0]) ** 2)
    assert got == pytest.approx(math.factorial(photons) * distinguishable)


def test_symmetries(generator):
    unitary = haar(4, generator)
    base = table(unitary, (1, 0, 2, 0))
    assert sum(base.values()) == pytest.approx(1)
    phases = np.exp(1j * generator.normal(size=(2, 4)))
    for same in (unitary.conj(), phases[0][:, None] * unitary * phases[1]):
        np.testing.assert_allclose(list(table(same, (1, 0, 2, 0)).values()), list(base.values()))
    backwards = table(unitary.conj().T, (0, 1, 1, 1))
    assert backwards[1, 0, 2, 0] == pytest.approx(base[0, 1, 1, 1])


def test_composition_is_a_product_of_fock_matrices(generator):
    first, second = haar(3, generator), haar(3, generator)

    def matrix(unitary):
        return np.stack([amplitudes(torch.tensor(unitary), s) for s in all_states(3, 2)], axis=1)

    np.testing.assert_allclose(matrix(second @ first), matrix(second) @ matrix(first), atol=1e-14)
    np.testing.assert_allclose(
        matrix(first).conj().T @ matrix(first), np.eye(len(all_states(3, 2))), atol=1e-14
    )


@pytest.mark.parametrize("state,space", [((1, 0, 2), "fock"), ((1, 1, 0, 1), "unbunched")])
def test_gradients(state, space):
    unitary = torch.randn(2, len(state), len(state), dtype=torch.complex128, requires_grad=True)

    def function(value):
        return amplitudes(value, state, space=space)

    assert torch.autograd.gradcheck(function, unitary)
    assert torch.autograd.gradgradcheck(function, unitary)


@pytest.mark.parametrize(
    "modes,state,space",
    [
        (4, (1, 0, 2, 0), "fock"),
        (5, (1, 1, 0, 1, 0), "unbunched"),
        (2, (2, 2), "fock"),
        (7, (1, 0, 0, 0, 0, 0, 0), "fock"),
    ],
)
def test_own_backward_is_plain_autograds(modes, state, space):
    unitary = torch.randn(3, modes, modes, dtype=torch.complex128, requires_grad=True)
    values = amplitudes(unitary, state, space=space)
    weights = torch.randn_like(values)
    (ours,) = torch.autograd.grad((values * weights).real.sum(), unitary)
    occupied = occupied_modes(state)
    plain = reference.layers(
        unitary[..., occupied].permute(1, 2, 0), occupied, FockSpace(2, 1, space).space
    )[-1].T
    torch.testing.assert_close(values, plain, rtol=0, atol=1e-13)
    (theirs,) = torch.autograd.grad((plain * weights).real.sum(), unitary)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_chunks_over_modes_change_nothing(monkeypatch):
    unitary = torch.randn(4, 5, 5, dtype=torch.complex128, requires_grad=True)
    whole = amplitudes(unitary, (1, 1, 1, 0, 0))
    (grad,) = torch.autograd.grad(whole.real.sum(), unitary)
    monkeypatch.setattr(reference, "CHUNK", 64)
    parts = amplitudes(unitary, (1, 1, 1, 0, 0))
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts.real.sum(), unitary)[0], grad)


def test_vmap_and_functional_gradients():
    unitary = torch.randn(6, 3, 3, dtype=torch.complex128)
    batched = amplitudes(unitary, (1, 1, 0))
    mapped = torch.func.vmap(lambda u: amplitudes(u, (1, 1, 0)))(unitary)
    torch.testing.assert_close(mapped, batched)

    def loss(u):
        return amplitudes(u, (1, 1, 0)).abs().pow(4).sum()

    each = torch.func.vmap(torch.func.grad(loss))(unitary)
    leaf = unitary.clone().requires_grad_()
    torch.testing.assert_close(each, torch.autograd.grad(loss(leaf), leaf)[0])


def test_operator_is_well_formed():
    columns = torch.randn(3, 2, 4, dtype=torch.complex128, requires_grad=True)
    torch.library.opcheck(
        torch.ops.hybridlit.fock_amplitudes.default,
        (columns, [0, 2], "fock"),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_empty_batch_and_leading_dimensions():
    assert amplitudes(torch.empty(0, 3, 3, dtype=torch.complex64), (1, 1, 0)).shape == (0, 6)
    assert amplitudes(torch.empty(2, 5, 3, 3, dtype=torch.complex64), (1, 1, 0)).shape == (2, 5, 6)


@pytest.mark.parametrize(
    "unitary,state,space,error,message",
    [
        (torch.eye(2), (1, 0), "fock", TypeError, "unitary must be a complex64 or complex128"),
        ("U", (1, 0), "fock", TypeError, "got str"),
        (SPLITTER, (1, 0, 0), "fock", ValueError, r"unitary must have shape \(..., 3, 3\)"),
        (torch.empty(0, 0, dtype=torch.complex64), (), "fock", ValueError, "at least one mode"),
        (SPLITTER, (1, -1), "fock", ValueError, "each entry of input_state must be at least 0"),
        (SPLITTER, (True, 0), "fock", TypeError, r"input_state\[0\] must be an integer"),
        (SPLITTER, (2, 1), "unbunched", ValueError, "photons must be at most modes=2"),
        (SPLITTER, (1, 0), "dual", ValueError, "space must be one of"),
    ],
)
def test_bad_arguments(unitary, state, space, error, message):
    with pytest.raises(error, match=message):
        amplitudes(unitary, state, space=space)


def test_perceval_agrees(generator):
    perceval = pytest.importorskip("perceval")
    unitary = haar(4, generator)
    state = (1, 0, 2, 0)
    backend = perceval.SLOSBackend()
    backend.set_circuit(perceval.Unitary(perceval.Matrix(unitary)))
    backend.set_input_state(perceval.BasicState(list(state)))
    got = table(unitary, state)
    for output, probability in got.items():
        theirs = backend.probability(perceval.BasicState(list(output)))
        assert probability == pytest.approx(theirs, abs=1e-12)
