"""Fits of simulated chips: recovered without noise, within intervals with noise."""

import math

import pytest
import torch
from torch.func import functional_call, jacrev

import hybridlit as ML
from hybridlit.blocks.heaters import HeaterResponse
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.templates.chip import linearized
from hybridlit.templates.chip.first_guess import first_losses
from hybridlit.templates.chip.fitted import RESPONSE, Fitted
from hybridlit.templates.chip.gauss_newton import GaussNewton, conjugate_gradients
from hybridlit.templates.chip.intervals import RELATIVE, standard_errors, unseen_offsets
from hybridlit.templates.chip.linearized import Linearized
from hybridlit.templates.chip.preconditioner import Preconditioner
from hybridlit.templates.chip.priors import Prior, leak_around, prior_vectors, priors_of

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
def test_the_linear_map_is_the_derivative_of_light(kind, monkeypatch):
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
    flat = expected.flatten(0, 1)
    torch.testing.assert_close(linear.backward(units), flat, rtol=0, atol=1e-12)
    found = linear.jacobian(slice(1, 4))
    torch.testing.assert_close(found, expected[1:4], rtol=0, atol=1e-12)
    monkeypatch.setattr(linearized, "_NUMBERS", 2 * flat[0].numel() * shape[1])  # two rows at once
    torch.testing.assert_close(linear.matrix(), flat.mT @ flat, rtol=0, atol=1e-11)


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


@pytest.mark.parametrize(
    "kind",
    ["dense", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("distance", "none"))],
)
def test_a_chip_is_recovered_where_there_is_no_noise(kind):
    """And a third of the detectors are missing."""
    heaters, layer = device(kind)
    settings, light, seen = measured_on(heaters, layer)
    seen[torch.rand_like(seen) < 0.3] = math.nan
    model = near(heaters, layer, kind)
    fit = GaussNewton(*model)
    for _ in range(9):
        step = fit.step(settings, light, seen, 1e-9)
        assert step.cost_after <= step.cost_before
    voltages = torch.rand(100, heaters.heaters, dtype=torch.float64)
    with torch.no_grad():
        found, true = (b.matrices(a(voltages)).abs() for a, b in (model, (heaters, layer)))
    torch.testing.assert_close(found, true, rtol=0, atol=1e-6)


def test_conjugate_gradients_make_the_step_that_equations_make():
    """With weights, in float64, and with a frozen parameter that stays."""
    heaters, layer = device()
    settings, light, seen = measured_on(heaters, layer, 100, noise=1e-2)
    sigma = 0.01 + 0.1 * torch.rand_like(seen)
    found = []
    for exact in (0, 1000):
        torch.manual_seed(1)
        model = near(heaters, layer)
        model[0].linear.requires_grad_(False)
        fit = GaussNewton(*model, exact_up_to=exact, iterations=500, tolerance=1e-9)
        step = fit.step(settings, light, seen, sigma)
        assert (step.iterations > 0) == (exact == 0)
        assert not model[0].linear.any()
        found.append(Fitted(*model).read())
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


def test_the_indistinguishability_is_recovered_from_coincidences():
    heaters, layer = device("none", "coincidences")
    with torch.no_grad():
        layer.overlap.fill_(0.92)
    rows = measured_on(heaters, layer, noise=1e-3)
    model = near(heaters, layer, "none")
    fit = GaussNewton(*model)
    for _ in range(6):
        step = fit.step(*rows, 1e-3)
    assert step.misfit < 1.05
    errors = standard_errors(*model, *rows, 1e-3)
    assert errors["overlap"] < 0.005
    assert abs(model[1].overlap.item() - 0.92) < 3 * errors["overlap"]


def test_no_step_is_taken_from_the_optimum():
    heaters, layer = device()
    rows = measured_on(heaters, layer, 50)
    before = Fitted(heaters, layer).read()
    step = GaussNewton(heaters, layer, {}).step(*rows, 1e-3)
    assert step.cost_after == step.cost_before
    assert torch.equal(Fitted(heaters, layer).read(), before)


def test_errors_are_those_of_the_inverse():
    """Of what light does not see, and with losses and offsets in their gauges."""
    heaters, layer = device("none")
    settings, light, seen = measured_on(heaters, layer, noise=1e-3)
    seen[:, 1] = math.nan
    errors = standard_errors(heaters, layer, settings, light, seen, 1e-2)
    fitted = Fitted(heaters, layer)
    precision = prior_vectors(fitted, priors_of(heaters, layer))[1]
    weights = torch.where(seen.isnan(), 0.0, 100.0)
    normal = Linearized(heaters, layer, settings, light, weights, torch.float64).matrix()
    covariance = torch.linalg.pinv(normal + torch.diag(precision), rtol=1e-11, hermitian=True)
    places = fitted.places()
    for name in ("quadratic", "linear", "phases", "input_loss"):
        expected = covariance.diagonal()[places[name]].sqrt()
        torch.testing.assert_close(errors[name], expected, rtol=1e-5, atol=0)
    some = covariance[places["output_loss"]][:, places["output_loss"]]
    apart = torch.eye(MODES, dtype=torch.float64) - 1 / MODES
    expected = (apart @ some @ apart).diagonal().sqrt()
    torch.testing.assert_close(errors["output_loss"], expected, rtol=1e-5, atol=0)
    seen_offsets = errors["offset"].isfinite()
    assert 0 < int((~seen_offsets).sum()) < PHASES
    expected = covariance.diagonal()[places["offset"]].sqrt()
    torch.testing.assert_close(
        errors["offset"][seen_offsets], expected[seen_offsets], rtol=1e-4, atol=0
    )
    guessed = standard_errors(
        heaters, layer, settings, light, seen, 1e-2,
        exact_up_to=0, probes=200, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for name in ("quadratic", "phases", "output_loss"):
        torch.testing.assert_close(guessed[name], errors[name], rtol=0.25, atol=0)


def test_unseen_offsets_change_nothing():
    """Three directions of four modes: a phase for each output, but one for all."""
    heaters, layer = device()
    settings, light, seen = measured_on(heaters, layer, 100)
    unseen = unseen_offsets(heaters, layer, settings, light)
    assert unseen.shape == (PHASES, MODES - 1)
    with torch.no_grad():
        heaters.offset.add_(unseen @ torch.randn(MODES - 1, dtype=torch.float64))
        again = layer(torch.cat([heaters(settings), light], 1))
    torch.testing.assert_close(again, seen, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_the_truth_is_within_the_intervals():
    inside: dict[str, list[torch.Tensor]] = {}
    for seed in range(4):
        heaters, layer = device(seed=seed)
        rows = measured_on(heaters, layer, 600, noise=1e-3)
        model = near(heaters, layer)
        fit = GaussNewton(*model)
        for _ in range(8):
            fit.step(*rows, 1e-3)
        unseen = unseen_offsets(*model, *rows[:2])
        true, found = Fitted(heaters, layer), Fitted(*model)
        away = true.parts(found.read() - true.read())
        away["offset"] = away["offset"] - unseen @ (unseen.mT @ away["offset"])
        for name, error in standard_errors(*model, *rows, 1e-3).items():
            off = away[name] - away[name].mean() if name in RELATIVE else away[name]
            known = heaters.away > 0 if name == "leak" else error.isfinite()
            inside.setdefault(name, []).append(off[known].abs() < 1.96 * error[known])
    for name, each in inside.items():
        share = torch.cat(each).double()
        assert share.mean() > 0.95 - 4 * (0.05 / len(share)) ** 0.5, name
    share = torch.cat([one for each in inside.values() for one in each]).double()
    assert 0.93 < share.mean() < 0.97, "intervals that are too wide are wrong as well"


def test_first_losses_are_those_of_a_chip():
    """Exactly where the mean light of a chip is known, here of all permutations of its outputs."""
    _, layer = chip()
    into = torch.tensor([0.3, 1.0, 2.0, 0.0], dtype=torch.float64)
    out = torch.tensor([-0.6, 0.1, 0.7, -0.2], dtype=torch.float64)
    power = torch.tensor([1.0, 2.0, 0.5, 3.0]).double()
    light = torch.diag(power).repeat_interleave(MODES, 0)
    even = power.repeat_interleave(MODES)[:, None] * torch.eye(MODES).double().repeat(MODES, 1)
    kept = 10 ** (-(into.repeat_interleave(MODES)[:, None] + out) / 10)
    first_losses(layer, light, even * kept)
    torch.testing.assert_close(layer.input_loss.data, into, rtol=0, atol=1e-9)
    torch.testing.assert_close(layer.output_loss.data, out, rtol=0, atol=1e-9)
    seen = (even * kept).masked_fill(torch.arange(MODES) == 2, math.nan)
    first_losses(layer, light, seen)
    assert torch.isfinite(layer.output_loss).all()
    assert layer.input_loss.argsort().tolist() == into.argsort().tolist()
    _, pairs = chip(measured="coincidences")
    lit = torch.rand(4000, MODES).argsort(1) < 2
    rows = torch.cat([2 * math.pi * torch.rand(4000, PHASES), lit], 1).double()
    with torch.no_grad():
        seen = pairs(rows) * 10**-0.3
    first_losses(pairs, lit.double(), seen)
    torch.testing.assert_close(
        pairs.input_loss.data, torch.full((4,), 1.5).double(), rtol=0, atol=0.1
    )


def test_priors_follow_the_design():
    circuit = ML.Circuit(2)
    circuit.add(ML.BeamSplitter(ML.Trainable(init=1.5)), 0).add(ML.PhaseShifter(ML.Data(0)), 0)
    circuit.add(ML.PhaseShifter(ML.Trainable(init=0.2)), 0).add(ML.BeamSplitter(ML.Trainable()), 0)
    layer, heaters = ChipLayer(circuit), HeaterResponse(1, full_turn=2.0)
    priors = priors_of(heaters, layer)
    assert priors["quadratic"].mean == math.pi / 2
    mean, precision = prior_vectors(Fitted(heaters, layer), {"phases": priors["phases"]})
    fitted = Fitted(heaters, layer)
    assert fitted.parts(mean)["phases"][0] == 1.5
    assert (fitted.parts(precision)["phases"] > 0).tolist() == [True, False, False]
    assert not fitted.parts(precision)["offset"].any()
    near = leak_around(torch.tensor([[0.02, -0.04]]))
    torch.testing.assert_close(near.sd, torch.tensor([[0.0105, 0.0205]]))
    near = leak_around(torch.tensor([[0.02, -0.04]]), torch.tensor([[0.026, -0.028]]))
    torch.testing.assert_close(near.sd, torch.tensor([[0.0065, 0.0125]]))  # 0.3 of each away
    with pytest.raises(ValueError, match="sd must be above 0, got 0"):
        prior_vectors(fitted, {"offset": Prior(0.0, 0.0)})


def test_what_cannot_be_fitted_is_refused():
    heaters, layer = device()
    settings, light, seen = measured_on(heaters, layer, 3)
    fit = GaussNewton(heaters, layer)
    with pytest.raises(ValueError, match="sigma must be above 0, got 0"):
        fit.step(settings, light, seen, 0.0)
    with pytest.raises(ValueError, match="got NaN only"):
        fit.step(settings, light, seen * math.nan, 1.0)
    with pytest.raises(ValueError, match="require gradients"):
        Fitted(heaters.requires_grad_(False), layer.requires_grad_(False))
