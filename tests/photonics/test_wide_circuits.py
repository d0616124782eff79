"""More modes than seven bits count, and meshes that are applied to few columns cell by cell."""

import math
from unittest import mock

import pytest
import torch

from hybridlit.photonics import FockSpace, use_kernel
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.interferometer import unitaries
from hybridlit.photonics.kernels import compiled
from hybridlit.photonics.kernels.choice import compiled_refuses, kernel_for
from hybridlit.photonics.kernels.compiled import calls, threads
from hybridlit.photonics.kernels.compiled.columns import columns_backward, columns_forward
from hybridlit.photonics.kernels.compiled.plans import plan_for
from hybridlit.photonics.noise.compiled import light_of_columns
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.program import program_for
from hybridlit.photonics.outcomes import Outcomes
from hybridlit.photonics.simulation import probabilities

MODES, INPUTS = 130, (3, 129)


def parameters(batch, depth=2, modes=MODES, stack=(), dtype=torch.float64):
    torch.manual_seed(batch)
    cells = modes * (modes - 1) // 2
    phases = 6 * torch.rand(*stack, depth + 1, cells, 2, dtype=torch.float64)
    data = 6 * torch.rand(*stack, depth, modes, batch, dtype=torch.float64)
    return phases.to(dtype).requires_grad_(), data.to(dtype).requires_grad_()


def columns_of(matrices, data, inputs):
    """Those of the circuits' unitaries by matrix products, shape (inputs, modes, batch)."""
    columns = matrices[0][:, list(inputs)].mT[..., None]
    for matrix, shift in zip(matrices[1:], torch.exp(1j * data), strict=True):
        columns = matrix @ (columns * shift)
    return columns


def of_two_photons(columns, unbunched):
    """The closed form: a permanent of two rows, shape (batch, D)."""
    first, second = columns
    left, right = torch.triu_indices(len(first), len(first), int(unbunched))
    amplitudes = first[left] * second[right] + first[right] * second[left]
    same = (left == right)[:, None]
    weights = torch.where(same, amplitudes / math.sqrt(2), amplitudes).abs().square().mT
    return weights / weights.sum(-1, keepdim=True) if unbunched else weights


@pytest.mark.parametrize(
    "space, batch, recompute",
    [("fock", 3, False), ("fock", 9, True), ("unbunched", 70, False)],
    ids=["by cells", "by cells, computed again", "by unitaries"],
)
def test_two_photons_in_many_modes(space, batch, recompute):
    """Probabilities and all gradients, of several circuits' worth of columns of data."""
    phases, data = parameters(batch)
    assert compiled.goes_by_cells(True, len(INPUTS), MODES, batch, 8) == (batch < 10)
    outcomes = Outcomes(FockSpace(MODES, 2, space))
    assert kernel_for(outcomes.space, data) == "compiled"
    given = Lowered(phases, data, INPUTS)
    found = probabilities(given, outcomes, recompute=recompute)[0]
    columns = columns_of(unitaries(phases), data, INPUTS)
    expected = of_two_photons(columns, space == "unbunched")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    weights = torch.rand_like(expected)
    ours, theirs = (torch.autograd.grad((p * weights).sum(), given[:2]) for p in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def found_by(kernel, given, outcomes, weights):
    """Probabilities, and the gradients of a sum of them with weights."""
    with use_kernel(kernel):
        values = probabilities(given, outcomes)[0]
    return [values, *torch.autograd.grad((values * weights).sum(), given[:2])]


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-14), (torch.float32, 5e-6)])
def test_a_stack_by_cells(dtype, atol):
    """Two circuits in one call, more than one tile of each in double precision."""
    modes, batch, inputs = 33, 9, (3, 30)
    assert compiled.goes_by_cells(True, 2, modes, 2 * batch, dtype.itemsize, circuits=2)
    given = Lowered(*parameters(batch, modes=modes, stack=(2,), dtype=dtype), inputs)
    double = Lowered(*(each.detach().double().requires_grad_() for each in given[:2]), inputs)
    outcomes = Outcomes(FockSpace(modes, 2))
    weights = torch.rand(2, batch, len(outcomes), dtype=torch.float64)
    ours = found_by("compiled", given, outcomes, weights.to(dtype))
    theirs = found_by("torch", double, outcomes, weights)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=0, atol=atol)


def test_gradients_of_cells_are_summed_in_waves(monkeypatch):
    """Where there is little memory for sums: those of one thread, to the last digit."""
    modes, batch, inputs = 33, 32, (5, 5)  # of one column four tiles
    given = Lowered(*parameters(batch, modes=modes), inputs)
    layer = calls.layer_of(plan_for(modes, inputs, False), 2, 8, by_cells=True)
    monkeypatch.setattr(layer, "_least_group", 1)
    monkeypatch.setattr(calls, "SUMS_BYTES", 1)
    monkeypatch.setattr(threads, "THREAD_WORK", 1)
    shared = mock.Mock(wraps=threads.together)
    monkeypatch.setattr(calls, "together", shared)
    outcomes = Outcomes(FockSpace(modes, 2))
    weights = torch.rand(batch, len(outcomes), dtype=torch.float64)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(found_by("compiled", given, outcomes, weights))
    finally:
        torch.set_num_threads(before)
    assert [call.args[0] for call in shared.call_args_list].count(layer.kernels[1]) == 2
    found.append(found_by("torch", given, outcomes, weights))
    for one, two, theirs in zip(*found, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(two, theirs, rtol=0, atol=1e-13)


def test_second_derivatives_in_many_modes():
    """By jets, which make unitaries."""
    phases, data = parameters(2, depth=1)
    matrices = unitaries(phases).detach()

    def bent(found):
        (slope,) = torch.autograd.grad(found[:, 77].sum(), data, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), data)[0]

    ours = probabilities(Lowered(phases, data, INPUTS), Outcomes(FockSpace(MODES, 2)))[0]
    theirs = of_two_photons(columns_of(matrices, data, INPUTS), False)
    torch.testing.assert_close(bent(ours), bent(theirs), rtol=1e-9, atol=1e-14)


def test_noisy_light_in_many_modes():
    """Partly alike photons of which some are lost: a mixture of closed forms, and its gradient."""
    program = program_for(
        Noise(transmittance=0.7, indistinguishability=0.8), INPUTS, MODES, FockSpace(4, 2).space
    )
    phases, data = parameters(2, depth=1)
    columns = columns_of(unitaries(phases), data, INPUTS).detach().movedim(0, 1).contiguous()
    columns.requires_grad_()
    weights = torch.rand(program.weights, dtype=torch.float64, requires_grad=True)
    slopes, found = None, []
    for kernel in ("compiled", "torch"):
        with use_kernel(kernel):
            light = light_of_columns(columns, weights, program)
        slopes = torch.rand_like(light) if slopes is None else slopes
        found.append([light, *torch.autograd.grad((light * slopes).sum(), [columns, weights])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("batch", [2, 40], ids=["by cells", "by unitaries"])
def test_columns_alone(batch):
    """In single precision, of more than one tile."""
    phases, data = (each.detach().float() for each in parameters(batch, modes=70))
    inputs = (0, 33)
    assert compiled.goes_by_cells(True, len(inputs), 70, batch, 4) == (batch == 2)
    found, saved = columns_forward(phases, data, inputs)
    grad = torch.randn_like(found)
    ours = columns_backward(phases, data, inputs, saved, grad)
    double = phases.double().requires_grad_(), data.double().requires_grad_()
    columns = columns_of(unitaries(double[0]), double[1], inputs)
    planes = torch.stack([columns.real, columns.imag])[None].transpose(2, 3)
    torch.testing.assert_close(found.double(), planes, rtol=0, atol=1e-5)
    theirs = torch.autograd.grad((planes * grad).sum(), double)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-4)


def test_what_links_hold():
    """Of the photon number on the way at which there are most states."""
    cpu, dtype = "cpu", torch.float32
    for modes, photons, space in [(200, 3, "fock"), (1024, 2, "fock"), (28, 20, "unbunched")]:
        assert compiled_refuses(FockSpace(modes, photons, space), cpu, dtype) is None
    for modes, photons, space in [(300, 3, "fock"), (34, 30, "unbunched")]:
        reason = compiled_refuses(FockSpace(modes, photons, space), cpu, dtype)
        assert reason == (
            f"with {modes} modes it has links for {compiled.most_states(modes)} states of as many "
            "photons"
        )
