import math

import numpy as np
import pytest
import torch

from hybridlit.photonics import use_kernel
from hybridlit.photonics.interferometer import (
    cells,
    haar_phases,
    unitaries,
    unitaries_in_torch,
)


def splitter_matrix():
    return np.array([[1, 1j], [1j, 1]]) / math.sqrt(2)


def mesh_by_hand(phases, modes, before):
    """Cell by cell from beam splitters and phase shifters."""
    total = np.eye(modes, dtype=complex)
    index = 0
    for column in range(modes):
        for upper in range(column % 2, modes - 1, 2):
            a, b = phases[index]
            outer = np.diag([np.exp(1j * b), 1])
            inner = splitter_matrix() @ np.diag([np.exp(1j * a), 1]) @ splitter_matrix()
            cell = np.eye(modes, dtype=complex)
            block = inner @ outer if before else outer @ inner
            cell[upper : upper + 2, upper : upper + 2] = block
            total = cell @ total
            index += 1
    return total


@pytest.mark.parametrize("modes", range(2, 9))
@pytest.mark.parametrize("meshes", [2, 4])
@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_unitaries_are_products_of_splitters_and_shifters(modes, meshes, kernel):
    phases = 10 * torch.randn(meshes, modes * (modes - 1) // 2, 2, dtype=torch.float64)
    with use_kernel(kernel):
        got = unitaries(phases)
    for index in range(meshes):
        expected = mesh_by_hand(phases[index].numpy(), modes, before=index == meshes - 1)
        np.testing.assert_allclose(got[index], expected, atol=1e-13)
    identity = torch.eye(modes, dtype=torch.complex128).expand(meshes, -1, -1)
    torch.testing.assert_close(got @ got.mH, identity, rtol=0, atol=1e-13)


def test_phases_of_any_size_stay_unitary():
    phases = 1e3 * torch.randn(2, 15, 2, dtype=torch.float64)
    got = unitaries(phases)
    torch.testing.assert_close(
        got @ got.mH, torch.eye(6, dtype=torch.complex128).expand(2, -1, -1), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("modes", range(2, 8))
def test_cells_are_a_rectangle(modes):
    found = cells(modes)
    assert len(found) == modes * (modes - 1) // 2
    assert all((upper - column) % 2 == 0 for column, upper in found)


@pytest.mark.parametrize("modes", [2, 3, 9, 17, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_gradient_is_torchs(modes, dtype):
    phases = torch.randn(2, 3, modes * (modes - 1) // 2, 2, dtype=dtype, requires_grad=True)
    expected = unitaries_in_torch(phases)
    got = unitaries(phases)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(got, expected, rtol=0, atol=30 * eps)
    weights = torch.randn_like(expected)
    found, wanted = (
        torch.autograd.grad((value * weights).abs().sum(), phases)[0] for value in (got, expected)
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1000 * eps)


def test_gradients():
    phases = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unitaries, phases)
    assert torch.autograd.gradgradcheck(unitaries, phases)


@pytest.mark.parametrize("modes", [2, 3, 5, 6])
def test_initial_interferometers_are_haar_random(modes):
    """Moments of Haar unitaries: E|u|^2 = 1/m, E|u|^4 = 2/(m(m+1)), E|u|^6 = 6/(m(m+1)(m+2)).

    The means are over 20,000 draws; the bound is five standard errors, taken from the draws.
    """
    draws = 20_000
    phases = haar_phases(draws, modes, dtype=torch.float64)
    weights = unitaries(phases).abs().square()
    moments = {1: 1 / modes, 2: 2 / (modes * (modes + 1))}
    moments[3] = 6 / (modes * (modes + 1) * (modes + 2))
    for power, expected in moments.items():
        values = weights**power
        error = values.std(0) / math.sqrt(draws)
        assert ((values.mean(0) - expected).abs() < 5 * error).all(), (power, values.mean(0))
    # Two entries of a row: E|u|^2|v|^2 = 1/(m(m+1)).
    pair = weights[:, 0, 0] * weights[:, 0, -1]
    assert abs(pair.mean() - 1 / (modes * (modes + 1))) < 5 * pair.std() / math.sqrt(draws)


def test_initial_phases_follow_torchs_generator():
    torch.manual_seed(3)
    first = haar_phases(2, 4, dtype=torch.float32)
    torch.manual_seed(3)
    torch.testing.assert_close(haar_phases(2, 4, dtype=torch.float32), first, rtol=0, atol=0)
    assert not torch.equal(haar_phases(2, 4, dtype=torch.float32), first)


@pytest.mark.parametrize("modes", [2, 3, 4, 5])
@pytest.mark.parametrize("before", [False, True])
def test_perceval_builds_the_same_mesh(modes, before):
    perceval = pytest.importorskip("perceval")
    phases = 2 * math.pi * torch.rand(2, modes * (modes - 1) // 2, 2, dtype=torch.float64)
    circuit = perceval.Circuit(modes)
    for (_, upper), (a, b) in zip(cells(modes), phases[int(before)].tolist(), strict=True):
        upper = int(upper)
        if before:
            circuit.add(upper, perceval.PS(b))
        circuit.add(upper, perceval.BS()).add(upper, perceval.PS(a)).add(upper, perceval.BS())
        if not before:
            circuit.add(upper, perceval.PS(b))
    expected = np.array(circuit.compute_unitary())
    np.testing.assert_allclose(unitaries(phases)[int(before)], expected, atol=1e-13)
