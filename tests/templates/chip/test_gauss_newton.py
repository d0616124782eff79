"""Fits of simulated chips: recovered without noise, within intervals with noise."""

import math

import pytest
import torch
from torch.func import functional_call, jacrev

import hybridlit as ML
from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip.fitted import RESPONSE, Fitted
from hybridlit.templates.chip.gauss_newton import GaussNewton, conjugate_gradients
from hybridlit.templates.chip.intervals import RELATIVE
from hybridlit.templates.chip.linearized import Linearized
from hybridlit.templates.chip.preconditioner import Preconditioner
from hybridlit.templates.chip.priors import prior_vectors, priors_of

MODES, PHASES, ROWS = 4, 12, 300
KINDS = {
    "dense": {},
    "fewer heaters": dict(heaters=[3, 0, 7, 10, 5, 1, 8]),
    "distance": dict(crosstalk="distance", positions=[[p // 3, p % 3] for p in range(PHASES)]),
    "none": dict(crosstalk="none", full_turn=2.0),
}


def chip(kind="dense", measured="intensities"):
    cells, half = range(PHASES // 2), math.pi / 2
    mesh = ML.Interferometer(
        angles=[(ML.Data(2 * c), ML.Data(2 * c + 1)) for c in cells],
        splitters=[[ML.Trainable(f"{side}{c}", init=half) for side in "ab"] for c in cells],
    )
    heaters = HeaterResponse(PHASES, dtype=torch.float64, **KINDS[kind])
    return heaters, ChipLayer(ML.Circuit(MODES).add(mesh), measured, dtype=torch.float64)


@torch.no_grad()
def device(kind="dense", measured="intensities", seed=0):
    """A chip that is drawn from its priors."""
    torch.manual_seed(seed)
    heaters, layer = chip(kind, measured)
    fitted = Fitted(heaters, layer)
    mean, precision = prior_vectors(fitted, priors_of(heaters, layer))
    sd = torch.where(precision > 0, precision.rsqrt(), 1.0)
    fitted.write(mean + sd * torch.randn_like(mean) * torch.where(sd > 0.5, 0.3, 1.0))
    heaters.offset.uniform_(0, 2 * math.pi)
    for name in RELATIVE:
        loss = getattr(layer, name)
        loss.sub_(loss.mean())
    if heaters.leak is not None and heaters.apart is None:
        heaters.leak.mul_(heaters.away)
    return heaters, layer


@torch.no_grad()
def measured_on(heaters, layer, count=ROWS, noise=0.0):
    settings = heaters.full_turn * torch.rand(count, heaters.heaters, dtype=torch.float64)
    lights = 1 + (layer.measured == "coincidences")
    lit = torch.rand(count, MODES).argsort(1) < lights
    seen = layer(torch.cat([heaters(settings), lit.double()], 1))
    return settings, lit.double(), seen + noise * torch.randn_like(seen)


def near(heaters, layer, kind="dense"):
    """A model whose offsets are about right, and nothing else is."""
    model = chip(kind, layer.measured)
    with torch.no_grad():
        model[0].offset.copy_(heaters.offset + 0.1 * torch.randn(PHASES))
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_the_linear_map_is_the_derivative_of_light(kind):
    measured = "coincidences" if kind == "distance" else "intensities"
    heaters, layer = device(kind, measured)
    settings, light, seen = measured_on(heaters, layer, 5)
    linear = Linearized(heaters, layer, settings, light, 1 + seen, torch.float64)
    fitted = linear.fitted

    def of(parameters):
        parts = {n: p for n, p in parameters.items() if n in RESPONSE}
        phases = functional_call(heaters, parts, (settings,))
        rest = {n: p for n, p in parameters.items() if n not in parts}
        return (1 + seen) * functional_call(layer, rest, (torch.cat([phases, light], 1),))

    found = jacrev(of)({name: p.detach() for name, p in fitted.tensors.items()})
    shape = tuple(seen.shape)
    expected = fitted.joined(
        {n: p.reshape(*shape, *fitted.tensors[n].shape) for n, p in found.items()}, shape
    )
    every = torch.eye(fitted.size, dtype=torch.float64)
    ahead = linear.forward(every).permute(1, 2, 0)
    torch.testing.assert_close(ahead, expected, rtol=0, atol=1e-12)
    units = torch.eye(seen.numel(), dtype=torch.float64).view(-1, *shape)
    torch.testing.assert_close(linear.backward(units), expected.flatten(0, 1), rtol=0, atol=1e-12)


def test_blocks_are_the_normal_matrix_where_each_phase_is_alone():
    """Each phase with a detector of its own, no crosstalk, and no losses."""
    heaters, layer = device("fewer heaters")
    settings, light, seen = measured_on(heaters, layer, 40)
    linear = Linearized(heaters, layer, settings, light, torch.ones_like(seen), torch.float64)
    linear.own = torch.rand(40, 2 * PHASES, linear.own.shape[-1], dtype=torch.float64)
    linear.own[:, :PHASES] = 0.0
    alone = torch.cat([torch.eye(PHASES), torch.zeros(PHASES, PHASES)]).double()
    linear.turned = alone * torch.rand(40, 1, PHASES, dtype=torch.float64)
    linear.mixing = heaters.home
    extra = 1.0 + torch.rand(linear.fitted.size, dtype=torch.float64)
    vectors = torch.randn(3, linear.fitted.size, dtype=torch.float64)
    pushed = linear.backward(linear.forward(vectors)) + extra * vectors
    found = Preconditioner(linear, extra)(pushed)
    torch.testing.assert_close(found, vectors, rtol=1e-4, atol=1e-4)
    right = torch.randn(2, linear.fitted.size, dtype=torch.float64)
    solved, _ = conjugate_gradients(
        lambda x: linear.backward(linear.forward(x)) + extra * x,
        Preconditioner(linear, extra),
        right,
        iterations=9,
        tolerance=1e-12,
    )
    expected = torch.linalg.solve(linear.matrix() + torch.diag(extra), right.mT).mT
    torch.testing.assert_close(solved, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_chip_is_recovered_where_there_is_no_noise(kind):
    heaters, layer = device(kind)
    rows = measured_on(heaters, layer)
    model = near(heaters, layer, kind)
    fit = GaussNewton(*model, iterations=200, tolerance=1e-4)
    for _ in range(12):
        step = fit.step(*rows, 1e-9)
        assert step.cost_after <= step.cost_before
    assert step.misfit < 1e3
    voltages = torch.rand(100, heaters.heaters, dtype=torch.float64)
    with torch.no_grad():
        found, true = (b.matrices(a(voltages)).abs() for a, b in (model, (heaters, layer)))
    torch.testing.assert_close(found, true, rtol=0, atol=1e-6)
