"""Unitaries as meshes: exact for any, also where angles are free."""

import math

import numpy as np
import pytest
import torch
from permanents import fourier, haar
from random_circuits import brute_force
from scipy.linalg import block_diag

from hybridlit import Circuit, Interferometer, phases_from_unitary


def rebuilt(angles, diagonal, shape, phases):
    """The unitary that phases stand for, by brute force."""
    modes = len(diagonal)
    circuit = Circuit(modes).add(Interferometer(shape=shape, phases=phases, angles=angles))
    mesh, on_modes = brute_force(circuit, ()), np.diag(np.exp(1j * diagonal.numpy()))
    return mesh @ on_modes if phases == "output" else on_modes @ mesh


def degenerate(modes, draw):
    """Unitaries with entries that are 0, and blocks that do not mix."""
    yield np.eye(modes)
    yield -np.eye(modes)
    yield np.diag(np.exp(2j * np.pi * draw.random(modes)))
    yield np.eye(modes)[draw.permutation(modes)]
    yield np.eye(modes)[::-1]
    yield fourier(modes)
    yield block_diag(haar(modes - 1, draw), [[1j]])
    yield block_diag([[1j]], haar(modes - 1, draw))
    yield block_diag(haar(modes // 2, draw), haar(modes - modes // 2, draw))
    near = np.eye(modes) + 1e-9 * draw.normal(size=(modes, modes))
    yield np.linalg.qr(near)[0]  # not quite the identity
    yield np.linalg.qr(np.eye(modes) * 1j + 1e-17)[0]


@pytest.mark.parametrize("shape", ["rectangular", "triangular"])
@pytest.mark.parametrize("phases", ["output", "input"])
@pytest.mark.parametrize("modes", [2, 3, 4, 5, 6, 9, 16])
def test_any_unitary_is_a_mesh_and_phases(modes, shape, phases):
    draw = np.random.default_rng(modes)
    for unitary in [*(haar(modes, draw) for _ in range(3)), *degenerate(modes, draw)]:
        angles, diagonal = phases_from_unitary(unitary, shape, phases)
        assert angles.shape == (modes * (modes - 1) // 2, 2) and diagonal.shape == (modes,)
        assert angles.dtype == diagonal.dtype == torch.float64
        assert angles.min() >= 0 and angles[:, 0].max() <= math.pi and angles.max() <= 2 * math.pi
        found = rebuilt(angles, diagonal, shape, phases)
        np.testing.assert_allclose(found, unitary, rtol=0, atol=1e-13)


def test_phases_of_a_mesh_come_back():
    draw = np.random.default_rng(0)
    for shape in ("rectangular", "triangular"):
        for phases in ("output", "input"):
            angles = torch.from_numpy(draw.random((15, 2)) * [math.pi, 2 * math.pi])
            unitary = rebuilt(angles, torch.zeros(6), shape, phases)
            found, diagonal = phases_from_unitary(torch.from_numpy(unitary), shape, phases)
            torch.testing.assert_close(torch.exp(1j * found), torch.exp(1j * angles))
            torch.testing.assert_close(torch.exp(1j * diagonal), torch.ones(6) + 0j * diagonal)


def test_single_precision_and_what_is_refused():
    unitary = haar(5, np.random.default_rng(0))
    found = phases_from_unitary(torch.from_numpy(unitary).to(torch.complex64))
    for single, double in zip(found, phases_from_unitary(unitary), strict=True):
        torch.testing.assert_close(
            torch.exp(1j * single), torch.exp(1j * double), rtol=0, atol=1e-5
        )
    with pytest.raises(ValueError, match=r"unitary must be unitary, got one that is 1\.3"):
        phases_from_unitary(1.5 * unitary)
    with pytest.raises(ValueError, match="unitary must have at least 2 modes, got 1"):
        phases_from_unitary([[1.0]])
    with pytest.raises(ValueError, match=r"unitary must have shape \(modes, modes\), got \(2, 3\)"):
        phases_from_unitary(np.ones((2, 3)))
    with pytest.raises(ValueError, match="shape must be one of"):
        phases_from_unitary(unitary, "square")


@pytest.mark.parametrize("phases", ["output", "input"])
def test_128_modes(phases):
    from hybridlit.photonics.interferometer import unitaries

    unitary = haar(128, np.random.default_rng(0))
    angles, diagonal = phases_from_unitary(unitary, phases=phases)
    meshes = [angles, angles] if phases == "input" else [angles, angles.new_zeros(angles.shape)]
    mesh = unitaries(torch.stack(meshes))[int(phases == "input")].numpy()
    on_modes = np.exp(1j * diagonal.numpy())
    found = mesh * on_modes if phases == "output" else on_modes[:, None] * mesh
    np.testing.assert_allclose(found, unitary, rtol=0, atol=1e-12)
