"""The light of a chip against its formula, its derivatives against autograd's, its two paths."""

import math

import pytest
import torch
from permanents import all_states, modes_of, permanent
from torch.func import functional_call, jacrev

import hybridlit as ML
from hybridlit.photonics import chip_amplitudes
from hybridlit.photonics.chip_jacobian import OWN, chip_jacobian
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.photonics.kernels.choice import use_kernel
from hybridlit.photonics.noise.compiled import compiled_columns

MODES = 4


def mesh(shape="rectangular", modes=MODES):
    """Every phase a feature, every splitter an angle of its own."""
    cells = range(modes * (modes - 1) // 2)
    half = math.pi / 2
    return ML.Circuit(modes).add(
        ML.Interferometer(
            shape=shape,
            angles=[(ML.Data(2 * c), ML.Data(2 * c + 1)) for c in cells],
            splitters=[[ML.Trainable(f"{side}{c}", init=half) for side in "ab"] for c in cells],
        )
    )


def tied():
    """Features that turn several places, a phase of two of them, and a trainable phase."""
    circuit = ML.Circuit(3)
    circuit.add(ML.PhaseShifter(ML.Data(0)), 0)
    circuit.add(ML.BeamSplitter(ML.Trainable("s", init=1.4)), (0, 1))
    circuit.add(ML.PhaseShifter(ML.Data({0: -0.5, 1: 2.0}, offset=0.3)), 1)
    circuit.add(ML.BeamSplitter(), (1, 2))
    circuit.add(ML.PhaseShifter(ML.Trainable("s", scale=2.0)), 2)
    circuit.add(ML.PhaseShifter(ML.Data(1)), 2)
    return circuit.add(ML.BeamSplitter(), (0, 1))


def imperfect(circuit, measured="intensities"):
    torch.manual_seed(3)
    layer = ChipLayer(circuit, measured, indistinguishability=0.9, dtype=torch.float64)
    with torch.no_grad():
        layer.phases.add_(0.1 * torch.randn_like(layer.phases))
        for loss in (layer.input_loss, layer.mode_loss, layer.output_loss):
            loss.uniform_(0, 2)
    return layer


def rows(layer, count=7, lights=1):
    phases = 2 * math.pi * torch.rand(count, layer.turned, dtype=torch.float64)
    light = torch.zeros(count, layer.modes, dtype=torch.float64)
    for row in light:
        row[torch.randperm(layer.modes)[:lights]] = 0.5 + torch.rand(1, dtype=torch.float64)
    return phases, light


@pytest.mark.parametrize(
    ("circuit", "measured"),
    [
        (mesh(), "intensities"),
        (mesh("triangular"), "coincidences"),
        (tied(), "intensities"),
        (tied(), "coincidences"),
        (tied(), "full_counts"),
    ],
)
def test_the_jacobian_is_that_of_autograd(circuit, measured):
    layer = imperfect(circuit, measured)
    phases, light = rows(layer, lights=1 + (measured != "intensities"))

    def seen(parameters, phases):
        return functional_call(layer, parameters, (torch.cat([phases, light], 1),))

    given = {name: value.detach() for name, value in layer.named_parameters()}
    own, turned = jacrev(seen, argnums=(0, 1))(given, phases)
    found = chip_jacobian(layer, phases, light, rows=3)
    torch.testing.assert_close(found.measured, seen(given, phases), rtol=0, atol=1e-14)
    expected = turned.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    torch.testing.assert_close(found.turned, expected, rtol=0, atol=1e-13)
    expected = torch.cat([own[name].reshape(*found.measured.shape, -1) for name in OWN], -1)
    torch.testing.assert_close(found.own, expected, rtol=0, atol=1e-13)


def test_full_counts_are_those_of_permanents():
    """In the order of Fock states; of photons that interfere in 0.9 of the cases, or not at all."""
    layer = imperfect(mesh(), "full_counts")
    phases, light = rows(layer, lights=2)
    kept = layer.leaving().detach()[:, None]
    through = layer.matrices(phases).detach()
    found = layer(torch.cat([phases, light], 1)).detach().numpy()
    for row, matrix in enumerate(through):
        places, entering = layer.entering(light[row : row + 1])
        scaled = (kept * matrix)[:, places[0]] * entering.detach()
        for number, state in enumerate(all_states(layer.modes, 2)):
            sub = scaled[modes_of(state)].numpy()
            norm = math.prod(math.factorial(photons) for photons in state)
            alike, apart = abs(permanent(sub)) ** 2, permanent(abs(sub) ** 2)
            expected = (0.9 * alike + 0.1 * apart) / norm
            assert found[row, number] == pytest.approx(expected, rel=1e-12)
    assert number + 1 == layer.output_size == found.shape[1]


@pytest.mark.parametrize("measured", ["intensities", "coincidences"])
def test_light_at_one_input_goes_through_the_compiled_kernel(measured, monkeypatch):
    """With losses along the modes as well, and what torch operations give."""
    layer = imperfect(mesh(), measured)
    phases, light = rows(layer, lights=1 + (measured == "coincidences"))
    calls = []

    def counted(circuit):
        calls.append(circuit.inputs)
        return compiled_columns(circuit)

    monkeypatch.setattr(chip_amplitudes, "compiled_columns", counted)
    found = []
    for kernel in ("torch", "auto"):
        x = torch.cat([phases, light[:1].expand_as(light)], 1).requires_grad_()
        layer.zero_grad()
        with use_kernel(kernel):
            layer(x).square().sum().backward()
            found.append([layer(x), x.grad, *(p.grad for p in layer.parameters())])
    assert calls == 2 * [tuple(light[0].nonzero().flatten().tolist())]
    torch.testing.assert_close(*found, rtol=0, atol=1e-13)
    layer(torch.cat([phases, light], 1))  # torch operations serve mixed rows as fast
    assert len(calls) == 2
